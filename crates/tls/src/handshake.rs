//! The beginning of a connection: what the client asks for, and with what it is answered.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;

use crate::acme::Acme;
use crate::certificates::{Certificates, CertificatesError};

/// The protocol by which an ACME server asks for a proof (RFC 8737).
pub(crate) const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// What a client asks for at the beginning of its handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The host's name, in lower case.
    pub name: Option<String>,
    /// An ACME server looks for a proof.
    pub acme: bool,
}

/// How a handshake goes on.
#[derive(Debug, Clone)]
pub enum Handshake {
    /// Then requests follow.
    Serve(Arc<ServerConfig>),
    /// Then nothing does: an ACME server saw what it wanted to see.
    Proof(Arc<ServerConfig>),
}

/// Answers the handshakes of a listener for HTTP/1.1 and HTTP/2.
#[derive(Clone)]
pub struct Handshakes {
    config: Arc<ServerConfig>,
    acme: Option<Arc<Acme>>,
}

// === impl Hello ===

impl Hello {
    /// What matters of a client's first message.
    pub fn of(hello: &ClientHello<'_>) -> Self {
        let acme = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_TLS_ALPN));
        Self { name: hello.server_name().map(normal), acme }
    }
}

// === impl Handshakes ===

impl Handshakes {
    /// With what the store has, and what `acme` may order.
    pub fn new(certificates: &Arc<Certificates>, acme: Option<Arc<Acme>>) -> Result<Self, CertificatesError> {
        Ok(Self { config: certificates.tcp_config()?, acme })
    }

    /// How the handshake goes on; none where an ACME server asks for what nobody ordered. Waits a while for a name's
    /// first certificate.
    pub async fn answer(&self, hello: &Hello) -> Option<Handshake> {
        if let (Some(acme), Some(name)) = (&self.acme, &hello.name) {
            if hello.acme {
                return acme.challenges().proof(name).map(Handshake::Proof);
            }
            acme.await_certificate(name).await;
        }
        (!hello.acme).then(|| Handshake::Serve(Arc::clone(&self.config)))
    }
}

/// A host's name as certificates are kept by.
pub(crate) fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
