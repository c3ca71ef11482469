//! The answers to what an ACME server asks of those who answer at a name.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;

use super::AcmeError;
use crate::handshake::ACME_TLS_ALPN;
use crate::self_signed;

/// Where an ACME server asks by HTTP (RFC 8555, section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// The answers that stand ready now.
pub struct Challenges {
    provider: Arc<CryptoProvider>,
    tokens: RwLock<HashMap<String, String>>,
    proofs: RwLock<HashMap<String, Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Challenges").finish_non_exhaustive()
    }
}

/// An answer that stands ready until it is dropped.
pub struct Ready<'a> {
    challenges: &'a Challenges,
    token: Option<String>,
    name: Option<String>,
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            self.challenges.tokens.write().remove(token);
        }
        if let Some(name) = &self.name {
            self.challenges.proofs.write().remove(name);
        }
    }
}

// === impl Challenges ===

impl Challenges {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, tokens: RwLock::default(), proofs: RwLock::default() }
    }

    /// What to answer to a request by HTTP, if an ACME server asked for it. The body is plain text.
    pub fn answer(&self, path: &str) -> Option<String> {
        self.tokens.read().get(path.strip_prefix(PATH)?).cloned()
    }

    /// How to answer to a handshake by which an ACME server asks about `name`.
    pub fn proof(&self, name: &str) -> Option<Arc<ServerConfig>> {
        self.proofs.read().get(name).cloned()
    }

    pub(super) fn ready_http(&self, token: &str, answer: &str) -> Ready<'_> {
        self.tokens.write().insert(token.to_owned(), answer.to_owned());
        Ready { challenges: self, token: Some(token.to_owned()), name: None }
    }

    pub(super) fn ready_tls(&self, name: &str, digest: &[u8]) -> Result<Ready<'_>, AcmeError> {
        let certified = self_signed::proof(name, digest, &self.provider)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
        self.proofs.write().insert(name.to_owned(), Arc::new(config));
        Ok(Ready { challenges: self, token: None, name: Some(name.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::self_signed::tests::provider;

    #[test]
    fn an_answer_stands_for_as_long_as_its_order() {
        let challenges = Challenges::new(Arc::new(provider()));
        let ready = challenges.ready_http("token", "answer");
        let path = "/.well-known/acme-challenge/token";
        assert_eq!(challenges.answer(path).as_deref(), Some("answer"));
        assert_eq!(challenges.answer("/token"), None);
        assert_eq!(challenges.answer("/.well-known/acme-challenge/other"), None);
        drop(ready);
        assert_eq!(challenges.answer(path), None);
        let ready = challenges.ready_tls("site.test", &[7; 32]).unwrap();
        assert!(challenges.proof("site.test").is_some());
        drop(ready);
        assert!(challenges.proof("site.test").is_none());
    }
}
