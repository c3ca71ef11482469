//! Listens, speaks HTTP/1.1 and HTTP/2 (with prior knowledge), and drains when told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::body::EdgeBody;
use crate::dispatch::{self, Inquiry};
use crate::edge::Edge;

/// The most that a request's head may take: 64 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a drain waits for the requests that it accepted.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Streams that one HTTP/2 connection may have open at once.
const H2_STREAMS_MAX: u32 = 256;

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
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, client)) => connection(&edge, &graceful, stream, client),
                Err(error) => {
                    // Out of descriptors, or a client gone already: others may still be served.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still unanswered after {DRAIN_MAX:?}; they are cut off");
        }
    }
}

fn connection(edge: &Arc<Edge>, graceful: &GracefulShutdown, stream: TcpStream, client: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let edge = Arc::clone(edge);
    let service = service_fn(move |request: Request<Incoming>| answer(Arc::clone(&edge), request, client));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error, "a connection ended badly");
        }
    });
}

async fn answer(
    edge: Arc<Edge>,
    mut request: Request<Incoming>,
    client: SocketAddr,
) -> Result<Response<EdgeBody>, Infallible> {
    let upgrade = request.headers().contains_key(http::header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let inquiry = Inquiry { parts, body, upgrade, scheme: "http", client: client.ip() };
    Ok(dispatch::serve(edge, inquiry).await)
}
