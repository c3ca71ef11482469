//! HTTPS: connections by TCP that begin with TLS, and what HTTP/3 needs of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_tls::{
    Acme, Certificates, CertificatesError, Challenges, Handshake, Handshakes, Hello, cipher_name, version_name,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answer::Peer;
use crate::client_stream::ClientStream;
use crate::clients::Seat;
use crate::connection::{self, Shared};
use crate::http3;
use crate::requests::TlsTerms;

/// How long a handshake may take, the wait for a name's first certificate included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// How every record begins that a client of TLS sends first (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
const H2: &[u8] = b"h2";
const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 45\r\n\r\n\
    This port speaks HTTPS: ask for https:// here";

/// Why connections cannot be secured.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error("HTTP/3 cannot be set up")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// How a connection could not be served.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    #[error("no handshake")]
    Handshake(#[source] io::Error),
    #[error("the handshake took more than {HANDSHAKE_TIMEOUT:?}")]
    Timeout,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// How connections are secured.
pub struct Security {
    handshakes: Handshakes,
    challenges: Option<Arc<Challenges>>,
    quic: quinn::ServerConfig,
}

// === impl Security ===

impl Security {
    /// With what `certificates` has, and what `acme` may order.
    pub fn new(certificates: &Arc<Certificates>, acme: Option<Arc<Acme>>) -> Result<Self, SecurityError> {
        let challenges = acme.as_ref().map(|acme| Arc::clone(acme.challenges()));
        let quic = http3::config(certificates.quic_config()?)?;
        Ok(Self { handshakes: Handshakes::new(certificates, acme)?, challenges, quic })
    }

    /// What an ACME server is answered by HTTP.
    pub(crate) fn challenges(&self) -> Option<Arc<Challenges>> {
        self.challenges.clone()
    }

    pub(crate) fn quic(&self) -> quinn::ServerConfig {
        self.quic.clone()
    }

    /// Secures a connection; none where nothing is to follow. The caller bounds the time.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first != [HANDSHAKE_RECORD] {
            // A client that takes nothing is not told.
            let _ = stream.try_write(NO_TLS);
            return Ok(None);
        }
        let begun = LazyConfigAcceptor::new(Default::default(), stream).await?;
        let hello = Hello::of(&begun.client_hello());
        match self.handshakes.answer(&hello).await {
            Some(Handshake::Serve(config)) => begun.into_stream(config).await.map(Some),
            Some(Handshake::Proof(config)) => {
                begun.into_stream(config).await?.shutdown().await?;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

/// Serves a connection that begins with TLS.
pub async fn serve(
    mut shared: Shared,
    security: Arc<Security>,
    stream: TcpStream,
    client: SocketAddr,
    seat: Seat,
) -> Result<(), SecureError> {
    let begun = tokio::select! {
        begun = tokio::time::timeout(HANDSHAKE_TIMEOUT, security.accept(stream)) => begun,
        () = shared.drain() => return Ok(()),
    };
    let Some(stream) = begun.map_err(|_| SecureError::Timeout)?.map_err(SecureError::Handshake)? else {
        return Ok(());
    };
    let (_, session) = stream.get_ref();
    let terms = TlsTerms {
        version: session.protocol_version().map_or("", version_name),
        cipher: session.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
    };
    let http2 = session.alpn_protocol() == Some(H2);
    let peer = Peer::new(client.ip(), Some(terms));
    let stream = ClientStream::new(stream, seat);
    let served = if http2 {
        connection::serve_http2(&mut shared, peer, stream).await
    } else {
        connection::serve_http1(&mut shared, peer, stream).await
    };
    Ok(served?)
}
