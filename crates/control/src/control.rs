//! The control plane, opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_fabric::Fabric;
use selvedge_model::AccountId;

use crate::error::ControlError;
use crate::secret::{Secret, SecretsKey};
use crate::starter::Starter;

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

/// Decides what may be done, and remembers what was.
pub struct Control {
    domain: String,
    clock: Clock,
    fabric: Arc<dyn Fabric>,
    starter: Arc<dyn Starter>,
}

pub(crate) fn pending<A, T>(_: A) -> Result<T, ControlError> {
    Err(ControlError::NotAvailable { what: "this".into() })
}

impl Control {
    /// Opens the control plane: reads what the log has beyond the view, and publishes what was not yet. At the very first
    /// start makes an account and a token for the platform's administrator.
    pub async fn open(
        config: ControlConfig,
        fabric: Arc<dyn Fabric>,
        starter: Arc<dyn Starter>,
    ) -> Result<Opened, ControlError> {
        pending((config, fabric, starter))
    }

    /// What workers' host names end with.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether commands can be decided: the fabric and the view answer.
    pub async fn ready(&self) -> Result<(), ControlError> {
        let _ = (&self.clock, &self.fabric, &self.starter);
        pending(())
    }

    /// One round of keeping house: prunes old versions, removes blobs that nothing refers to any more, forgets uploads
    /// that were not finished. To be called every few minutes.
    pub async fn maintain(&self) -> Result<(), ControlError> {
        pending(())
    }
}
