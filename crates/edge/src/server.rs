//! Listens, speaks HTTP/1.1 and HTTP/2 (with prior knowledge), and drains when told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::body::EdgeBody;
use crate::client_body::ClientBody;
use crate::connection::{self, HEAD_BYTES_MAX, Shared};
use crate::edge::Edge;
use crate::pages;
use crate::requests::{self, Inquiry, TlsTerms};

/// How long a drain waits for the requests that it accepted.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long connections are served as ever after the listener is closed: what clients sent before is read by then.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How often a drain looks whether the last event is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Why the edge does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: std::io::Error },
}

/// A listening edge.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then answers what it accepted and ends.
    pub async fn run(self, edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
        let (drain, draining) = watch::channel(false);
        let (alive, mut gone) = mpsc::channel(1);
        let shared = Shared { edge: Arc::clone(&edge), draining, _alive: alive };
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, client)) => connection::spawn(shared.clone(), stream, client),
                Err(error) => {
                    // Out of descriptors, or a client gone already: others may still be served.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        // Connections that the kernel accepted already are accepted requests too.
        while let Ok(Ok((stream, client))) = tokio::time::timeout(Duration::ZERO, self.listener.accept()).await {
            connection::spawn(shared.clone(), stream, client);
        }
        drop(self.listener);
        drop(shared);
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            tokio::time::sleep(LAST_CALL).await;
            // Nobody listens where no connection is left.
            let _ = drain.send(true);
            // Nothing is ever sent: this ends when the last connection does.
            gone.recv().await;
            while edge.in_flight() > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        });
        if drained.await.is_err() {
            tracing::warn!("requests were still unanswered after {DRAIN_MAX:?}; they are cut off");
        }
    }
}

/// What a request's head takes on the wire, nearly: the protocol's reader bounds its own buffer only.
fn head_bytes(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    parts.headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

pub(crate) async fn answer(
    edge: Arc<Edge>,
    mut request: Request<Incoming>,
    client: SocketAddr,
) -> Result<Response<EdgeBody>, Infallible> {
    let upgrade = request.headers().contains_key(http::header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    if head_bytes(&parts) > HEAD_BYTES_MAX {
        let message = format!("the request's head takes more than {HEAD_BYTES_MAX} bytes");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Ok(pages::plain(&parts.headers, status, "head_too_large", &message));
    }
    let body = ClientBody::Hyper(body);
    let inquiry = Inquiry { parts, body, upgrade, scheme: "http", tls: TlsTerms::default(), client: client.ip() };
    Ok(requests::serve(edge, inquiry).await)
}
