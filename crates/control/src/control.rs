//! The control plane, opened.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use selvedge_fabric::{Change, Fabric};
use selvedge_model::{AccountId, BlobHash, is_host_name};
use tokio::sync::RwLock;

use crate::account::Account;
use crate::bounds::SERVED_WAIT_MAX;
use crate::caller::{Caller, Permission, Scope};
use crate::core::{Core, Decided};
use crate::error::ControlError;
use crate::event::{By, Event};
use crate::make::Starts;
use crate::nearest::NearestPop;
use crate::pins::Pins;
use crate::secret::{Secret, SecretsKey, write_private};
use crate::store::{Store, View};
use crate::token::{Token, check_token, hash_of, new_token};

/// What time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self::of(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
    }

    /// One that says what the function says: milliseconds since 1970.
    pub fn of(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// How the control plane is opened.
#[derive(Debug)]
pub struct ControlConfig {
    /// The folder of the view. Made if it is not there.
    pub data: PathBuf,
    pub secrets_key: SecretsKey,
    /// What workers' host names end with.
    pub domain: String,
    /// Where the first token of the platform is written to, with mode 0600, before it is good for anything: so that it is
    /// not lost if the process ends before it was shown.
    pub admin_token: Option<PathBuf>,
    pub clock: Clock,
}

/// The control plane, and what its very first start made.
pub struct Opened {
    pub control: Arc<Control>,
    pub first_start: Option<FirstStart>,
}

/// What the first start made: to be shown once.
#[derive(Debug)]
pub struct FirstStart {
    pub account: AccountId,
    pub token: Secret,
}

/// The fabric's key that says which key secrets are sealed with, by a hash of it.
const SEALED_WITH: &str = "control/sealed-with";

/// Decides what may be done, and remembers what was.
pub struct Control {
    pub(crate) core: Arc<Core>,
    pub(crate) nearest: Arc<dyn NearestPop>,
    pub(crate) key: SecretsKey,
    /// Held for reading while blobs are noted and put, for writing while unused ones are removed.
    pub(crate) blobs: RwLock<()>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) starts: Starts,
    /// The manifest of assets that the operator was told last of that it cannot be listed.
    pub(crate) unlisted: Mutex<Option<BlobHash>>,
    domain: String,
}

impl Control {
    /// Opens the control plane: reads what the log has beyond the view, and publishes what was not yet. At the very first
    /// start makes an account and a token for the platform's administrator.
    ///
    /// # Errors
    /// [`ControlError::OtherKey`] if secrets were sealed with another key than this one.
    pub async fn open(
        config: ControlConfig,
        fabric: Arc<dyn Fabric>,
        nearest: Arc<dyn NearestPop>,
    ) -> Result<Opened, ControlError> {
        let domain = config.domain.to_ascii_lowercase();
        if !is_host_name(&domain) {
            return Err(ControlError::invalid("domain", format!("\"{}\" is not a host name", config.domain)));
        }
        check_key(&*fabric, &config.secrets_key).await?;
        let core = Core::open(Store::open(&config.data)?, fabric, config.clock).await?;
        core.publish().await?;
        let (blobs, pins, starts) = (RwLock::new(()), Arc::default(), Starts::new());
        let (key, unlisted) = (config.secrets_key, Mutex::default());
        let control = Arc::new(Self { core, nearest, key, blobs, pins, starts, unlisted, domain });
        let first_start = control.start_first(config.admin_token).await?;
        Ok(Opened { control, first_start })
    }

    /// Makes the first account, if there is none.
    async fn start_first(&self, token_file: Option<PathBuf>) -> Result<Option<FirstStart>, ControlError> {
        if self.core.store.read(|view| view.count_accounts()).await? > 0 {
            return Ok(None);
        }
        let token = new_token()?;
        if let Some(path) = token_file {
            write_private(&path, format!("{}\n", token.expose()).as_bytes())?;
        }
        let (account_id, token_id, hash) = (random_id(), random_id(), hash_of(token.expose()));
        let account: AccountId =
            account_id.parse().map_err(|_| ControlError::invalid("account", "its id could not be made"))?;
        let first = account.clone();
        let made = self
            .core
            .command(By::platform(), move |view, at_ms| {
                if view.count_accounts()? > 0 {
                    return Ok(Decided::new(Vec::new(), false));
                }
                let account =
                    Account { id: first.clone(), name: "Selvedge".into(), subdomain: None, created_ms: at_ms };
                let token = admin_token(&token_id, at_ms);
                let events = vec![Event::AccountCreated { account }, Event::TokenCreated { token, hash: hash.clone() }];
                Ok(Decided::new(events, true))
            })
            .await?;
        Ok(made.then_some(FirstStart { account, token }))
    }

    /// Makes another token for the platform's administrator, for who can write to its files but has no token any more.
    /// `file` is written as at the first start. The bound on tokens does not hold here: there must be a way in.
    pub async fn create_admin_token(&self, file: &Path) -> Result<Secret, ControlError> {
        let token = new_token()?;
        write_private(file, format!("{}\n", token.expose()).as_bytes())?;
        let (id, hash) = (random_id(), hash_of(token.expose()));
        self.core
            .command(By::platform(), move |_, at_ms| {
                let event = Event::TokenCreated { token: admin_token(&id, at_ms), hash: hash.clone() };
                Ok(Decided::new(vec![event], ()))
            })
            .await?;
        Ok(token)
    }

    /// What workers' host names end with.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What time it is, in milliseconds since 1970: what tokens expire by.
    pub fn now_ms(&self) -> u64 {
        self.core.clock.now_ms()
    }

    /// Whether commands can be decided: the fabric and the view answer.
    pub async fn ready(&self) -> Result<(), ControlError> {
        self.core.ready().await
    }

    /// The account that the first start made.
    pub async fn first_account(&self) -> Result<Option<AccountId>, ControlError> {
        self.core.store.read(|view| view.first_account()).await
    }

    /// Asks the view something about an account, if the caller may.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        caller: &Caller,
        account: &AccountId,
        permission: Permission,
        ask: impl FnOnce(&View<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        caller.require(account, permission)?;
        let (account, token, now_ms) = (account.clone(), caller.token_id.clone(), self.core.clock.now_ms());
        self.core
            .store
            .read(move |view| {
                check_token(view, &token, now_ms)?;
                view.account(&account)?;
                ask(view)
            })
            .await
    }

    /// Carries out a command on an account, if the caller may.
    pub(crate) async fn change<T, D>(
        &self,
        caller: &Caller,
        account: &AccountId,
        permission: Permission,
        decide: D,
    ) -> Result<T, ControlError>
    where
        T: Send + 'static,
        D: Fn(&View<'_>, u64) -> Result<Decided<T>, ControlError> + Send + Sync + 'static,
    {
        caller.require(account, permission)?;
        let account = account.clone();
        self.carry_out(By::caller(caller), move |view, at_ms| {
            view.account(&account)?;
            decide(view, at_ms)
        })
        .await
    }

    /// Carries out a command, and waits until the nearest point of presence serves what it changed: who then asks there
    /// gets that. Not for long: a point of presence that hangs behind delays commands, and fails none.
    pub(crate) async fn carry_out<T, D>(&self, by: By, decide: D) -> Result<T, ControlError>
    where
        T: Send + 'static,
        D: Fn(&View<'_>, u64) -> Result<Decided<T>, ControlError> + Send + Sync + 'static,
    {
        let answer = self.core.command(by, decide).await?;
        let published = self.core.published();
        if tokio::time::timeout(SERVED_WAIT_MAX, self.nearest.served(published)).await.is_err() {
            tracing::warn!(published = published.0, "what changed is not served yet after {SERVED_WAIT_MAX:?}");
        }
        Ok(answer)
    }
}

/// May everything, in every account, for ever.
fn admin_token(id: &str, at_ms: u64) -> Token {
    Token {
        id: id.to_owned(),
        name: "admin".into(),
        scope: Scope::AllAccounts,
        permissions: BTreeSet::from(Permission::ALL),
        created_ms: at_ms,
        expires_ms: None,
        author: "selvedge".into(),
    }
}

/// Refuses another key than the one before: what that one sealed would not open any more, and nobody would be told
/// until a worker needs it.
async fn check_key(fabric: &dyn Fabric, key: &SecretsKey) -> Result<(), ControlError> {
    let fingerprint = key.fingerprint();
    match fabric.get(SEALED_WITH).await?.and_then(|entry| entry.value) {
        Some(before) if before == fingerprint.as_bytes() => Ok(()),
        Some(_) => Err(ControlError::OtherKey),
        None => {
            let change = Change { key: SEALED_WITH.into(), value: Some(fingerprint.into()) };
            fabric.set(vec![change]).await?;
            Ok(())
        }
    }
}

/// A new id: 32 hexadecimal digits.
pub(crate) fn random_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
