//! HTTP/3: connections by QUIC.

mod body;
mod respond;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, ConnectionError};
use h3::server::{RequestResolver, RequestStream};
use http::request::Parts;
use http::{Method, Request};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{IdleTimeout, Incoming, TransportConfig, VarInt};
use rustls::{CipherSuite, ProtocolVersion};
use selvedge_tls::{cipher_name, version_name};
use tokio::task::JoinSet;

use crate::answer::{Common, HEAD_BYTES_MAX, Peer, answer};
use crate::client_body::ClientBody;
use crate::clients::Place;
use crate::connection::{HEAD_TIMEOUT, STREAMS_MAX, Shared};
use crate::requests::TlsTerms;

use respond::NotSent;
use transport::{BidiStream, RecvStream, Settled};

pub use body::{QuicBody, QuicBodyError};

/// Connections at once. From half of them on, a client must first show that it is where it says (RFC 9000, section 8.1).
pub const CONNECTIONS_MAX: usize = 10_000;
/// Handshakes that wait to be looked at.
const INCOMING_MAX: usize = 1024;
/// How long a handshake may take, and what HTTP/3 begins with.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection ends after so long without a word.
const IDLE_MAX_MS: u32 = 60_000;
/// Streams of one direction: HTTP/3 needs three.
const CONTROL_STREAMS_MAX: u32 = 16;
/// What a client may have under way that nobody took yet: in one request's body, and in all of a connection.
const STREAM_BYTES_MAX: u32 = 512 * 1024;
const CONNECTION_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// How long a client may take, once it has its last answer, to end the connection itself.
const LAST_WORD: Duration = Duration::from_millis(500);

type Connection = h3::server::Connection<transport::Connection, Bytes>;
type Stream = RequestStream<BidiStream, Bytes>;

/// Why a connection ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Http3Error {
    #[error("no handshake")]
    Handshake(#[source] quinn::ConnectionError),
    #[error("the handshake took more than {HANDSHAKE_TIMEOUT:?}")]
    Timeout,
    #[error("HTTP/3 did not begin")]
    Begin(#[source] ConnectionError),
    #[error("no order to stop could be sent")]
    Stop(#[source] ConnectionError),
}

/// How connections by QUIC are made: with bounds on what a client may have under way.
pub fn config(tls: rustls::ServerConfig) -> Result<quinn::ServerConfig, NoInitialCipherSuite> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(CONTROL_STREAMS_MAX))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MAX_MS))))
        .stream_receive_window(VarInt::from_u32(STREAM_BYTES_MAX))
        .receive_window(VarInt::from_u32(CONNECTION_BYTES_MAX))
        .send_window(u64::from(CONNECTION_BYTES_MAX))
        .datagram_receive_buffer_size(None);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport)).max_incoming(INCOMING_MAX);
    Ok(config)
}

/// Serves a connection, which has its `place` among those of its address.
pub async fn serve(mut shared: Shared, incoming: Incoming, _place: Place) -> Result<(), Http3Error> {
    let begun = tokio::select! {
        begun = tokio::time::timeout(HANDSHAKE_TIMEOUT, connect(incoming)) => begun,
        () = shared.drain() => return Ok(()),
    };
    let (peer, mut connection) = begun.map_err(|_| Http3Error::Timeout)??;
    // Requests of a connection that is lost end with it.
    let mut requests = JoinSet::new();
    let mut draining = false;
    while !draining || !requests.is_empty() {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Ok(Some(resolver)) => {
                    // Each request that is accepted comes with it.
                    if let Some(settled) = connection.inner.conn.settled.take() {
                        begin(&mut requests, &shared, peer, resolver, settled);
                    }
                }
                // The client is through, and has every answer.
                Ok(None) => break,
                // It is gone.
                Err(_) => return Ok(()),
            },
            Some(ended) = requests.join_next() => note(ended),
            () = shared.drain(), if !draining => {
                draining = true;
                // From here on the protocol itself refuses requests, as ones that may be sent again elsewhere.
                connection.shutdown(0).await.map_err(Http3Error::Stop)?;
            }
        }
    }
    // What has arrived need not have been read.
    let closed = async { while let Ok(Some(_)) = connection.accept().await {} };
    let _ = tokio::time::timeout(LAST_WORD, closed).await;
    Ok(())
}

/// Begins a connection; gives who is at its other end too.
async fn connect(incoming: Incoming) -> Result<(Peer, Connection), Http3Error> {
    let quic = incoming.await.map_err(Http3Error::Handshake)?;
    let tls = TlsTerms {
        version: version_name(ProtocolVersion::TLSv1_3),
        cipher: cipher_name(CipherSuite::TLS13_AES_128_GCM_SHA256),
    };
    // A client may move; who it was when it came is who it is.
    let peer = Peer::new(quic.remote_address().ip(), Some(tls));
    let mut builder = h3::server::builder();
    builder.max_field_section_size(HEAD_BYTES_MAX as u64);
    let connection = builder.build(transport::Connection::new(quic)).await.map_err(Http3Error::Begin)?;
    Ok((peer, connection))
}

fn begin(
    requests: &mut JoinSet<()>,
    shared: &Shared,
    peer: Peer,
    resolver: RequestResolver<transport::Connection, Bytes>,
    settled: Settled,
) {
    let common = Arc::clone(&shared.common);
    requests.spawn(async move {
        match tokio::time::timeout(HEAD_TIMEOUT, resolver.resolve_request()).await {
            Ok(Ok((request, stream))) => {
                if let Err(error) = hear(&common, peer, request, stream, settled).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "an answer was not sent whole");
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "a request did not come whole"),
            Err(_) => tracing::debug!("a request's head took more than {HEAD_TIMEOUT:?}"),
        }
    });
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request ended badly");
    }
}

/// Answers one request; over when the client has the whole answer, or wants none.
async fn hear(
    common: &Common,
    peer: Peer,
    request: Request<()>,
    stream: Stream,
    mut settled: Settled,
) -> Result<(), NotSent> {
    let (mut parts, ()) = request.into_parts();
    parts.version = http::Version::HTTP_3;
    let (mut send, receive) = stream.split();
    let body = match body_of(receive, &parts).await {
        Ok(body) => body,
        Err(code) => {
            send.stop_stream(code);
            return Ok(());
        }
    };
    let method = parts.method.clone();
    let answering = async {
        let response = answer(common, peer, parts, ClientBody::quic(body), None).await;
        respond::send(&mut send, &method, response).await
    };
    tokio::select! {
        sent = answering => sent?,
        // Nobody takes the answer: that it is dropped cancels the request.
        () = &mut settled => return Ok(()),
    }
    // Until then the protocol counts the request as one under way, and no drain closes the connection. There are
    // never more of these than streams, and a drain bounds how long they take.
    settled.await;
    drop(send);
    Ok(())
}

/// The body of a request; where it is none that a worker may be asked with, what its client is told.
async fn body_of(receive: RequestStream<RecvStream, Bytes>, parts: &Parts) -> Result<QuicBody, Code> {
    let mut body = QuicBody::new(receive, &parts.headers).map_err(|error| error.code())?;
    // Such requests hardly ever have a body, and a worker is to see that there is none.
    let bare = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE);
    if bare {
        let begun = tokio::time::timeout(HEAD_TIMEOUT, body.begin()).await;
        begun.map_err(|_| Code::H3_REQUEST_INCOMPLETE)?.map_err(|error| error.code())?;
    }
    Ok(body)
}
