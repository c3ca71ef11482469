//! One order, from the account to the certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};

use super::challenges::Ready;
use super::client::Client;
use super::{Acme, AcmeError};
use crate::pair::{Pair, PairBytes};

/// How often a server is asked whether it is ready, at first; then ever more seldom.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
const ASK_BACKOFF: f32 = 1.5;
/// What a server says of an account that it does not have (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// How it is proved to a server who answers at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// By an answer on port 80.
    Http01,
    /// By a handshake on port 443.
    TlsAlpn01,
}

impl Challenge {
    fn kind(self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }
}

/// Whether the server has lost the account.
pub fn account_is_gone(error: &AcmeError) -> bool {
    matches!(error, AcmeError::Server(instant_acme::Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT))
}

impl Acme {
    /// Orders a certificate, keeps and serves it.
    pub(super) async fn order_by(&self, name: &str, kind: Challenge) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let identifiers = [Identifier::Dns(name.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let retries =
            RetryPolicy::new().initial_delay(ASK_INTERVAL).backoff(ASK_BACKOFF).timeout(self.config.timing.order_max);
        let ready = self.prove(&mut order, kind).await?;
        let proved = order.poll_ready(&retries).await;
        drop(ready);
        if !matches!(proved, Ok(OrderStatus::Ready)) {
            return Err(why_refused(&mut order, proved).await);
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&retries).await?;
        // Checked before it replaces anything.
        let pair = Pair { chain: "the ordered chain".into(), key: "its key".into() };
        let bytes = PairBytes { chain: chain.clone().into_bytes(), key: key.clone().into_bytes() };
        let certificate = pair.check(&bytes, self.certificates.provider())?;
        if !certificate.names.iter().any(|one| one == name) {
            return Err(AcmeError::OtherName(name.to_owned()));
        }
        self.disk.keep(name, &key, &chain)?;
        self.certificates.install(name, certificate);
        Ok(())
    }

    /// The account: kept, or made now.
    async fn account(&self) -> Result<Account, AcmeError> {
        let mut kept = self.account.lock().await;
        if let Some(account) = &*kept {
            return Ok(account.clone());
        }
        let client = Client::new(&self.config.roots, self.certificates.provider())?;
        let builder = Account::builder_with_http(Box::new(client));
        let account = match self.disk.account()? {
            Some(credentials) => builder.from_credentials(credentials).await?,
            None => {
                let contact: Vec<&str> = self.config.contacts.iter().map(String::as_str).collect();
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let (account, credentials) = builder.create(&new, self.config.directory.clone(), None).await?;
                self.disk.keep_account(&credentials)?;
                account
            }
        };
        *kept = Some(account.clone());
        Ok(account)
    }

    /// Makes answers ready, and tells the server.
    async fn prove(&self, order: &mut Order, kind: Challenge) -> Result<Vec<Ready<'_>>, AcmeError> {
        let mut ready = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                // Proved by an order before this one.
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(AcmeError::Refused(reason(&authorization))),
            }
            let mut challenge = authorization.challenge(kind.kind()).ok_or(AcmeError::NoChallenge(kind))?;
            let answer = challenge.key_authorization();
            let stands = match kind {
                Challenge::Http01 => self.challenges.ready_http(&challenge.token, answer.as_str()),
                Challenge::TlsAlpn01 => {
                    let name = challenge.identifier().to_string();
                    self.challenges.ready_tls(&name, answer.digest().as_ref())?
                }
            };
            ready.push(stands);
            challenge.set_ready().await?;
        }
        Ok(ready)
    }
}

/// What the server found wrong with an order's proofs.
async fn why_refused(order: &mut Order, proved: Result<OrderStatus, instant_acme::Error>) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_ok() && authorization.status == AuthorizationStatus::Invalid {
            return AcmeError::Refused(reason(&authorization));
        }
    }
    match proved {
        Ok(status) => AcmeError::Refused(format!("the order is {status:?}")),
        Err(error) => error.into(),
    }
}

/// In the server's words.
fn reason(authorization: &AuthorizationHandle<'_>) -> String {
    let said = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
    match said {
        Some(problem) => problem.to_string(),
        None => format!("the authorization is {:?}", authorization.status),
    }
}
