//! Listens, and drains when told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_telemetry::Seldom;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::connection::{self, Addresses, Serving};
use crate::router::router;
use crate::secure::Secure;
use crate::state::ApiState;

/// Connections at once.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a drain waits for the requests that were accepted, where nobody says otherwise.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long nothing is accepted after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

static NOT_ACCEPTED: Seldom = Seldom::new();

/// Why the API does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: std::io::Error },
}

/// A listening API.
pub struct ApiServer {
    listener: TcpListener,
    address: SocketAddr,
    secure: Option<Arc<dyn Secure>>,
    drain_max: Duration,
}

impl ApiServer {
    /// Listens on `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ApiServerError> {
        let failed = |source| ApiServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, secure: None, drain_max: DRAIN_MAX })
    }

    /// Speaks TLS with its clients.
    #[must_use]
    pub fn secured(self, secure: Arc<dyn Secure>) -> Self {
        Self { secure: Some(secure), ..self }
    }

    /// How long a drain waits for the requests that were accepted.
    #[must_use]
    pub fn drain_max(self, drain_max: Duration) -> Self {
        Self { drain_max, ..self }
    }

    /// Whether it speaks TLS.
    pub fn is_secured(&self) -> bool {
        self.secure.is_some()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then answers what it accepted and ends.
    pub async fn run(self, state: Arc<ApiState>, mut stop: watch::Receiver<bool>) {
        let (router, _) = router(Arc::clone(&state));
        let (alive, mut gone) = mpsc::channel(1);
        let serving = Serving {
            router,
            timeouts: state.config.timeouts,
            secure: self.secure,
            addresses: Arc::new(Addresses::default()),
            draining: state.draining(),
            _alive: alive,
        };
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &connections) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, client, permit)) => connection::spawn(serving.clone(), stream, client, permit),
                Err(error) => {
                    // Out of descriptors, or a client gone already: others may still be served.
                    if let Some(times) = NOT_ACCEPTED.due() {
                        tracing::warn!(%error, times, "a connection could not be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        drop(serving);
        state.drain();
        // Nothing is ever sent: this ends when the last connection does.
        if tokio::time::timeout(self.drain_max, gone.recv()).await.is_err() {
            tracing::warn!("requests were still unanswered after {:?}; they are cut off", self.drain_max);
        }
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, client) = listener.accept().await?;
    Ok((stream, client, permit))
}
