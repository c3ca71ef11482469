//! Listens for HTTP and HTTPS, by TCP and by QUIC, and drains when told to stop.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime};
use selvedge_telemetry::Seldom;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::answer::Common;
use crate::clients::{Clients, Place, Seat};
use crate::connection::{self, Shared};
use crate::edge::Edge;
use crate::http3::{self, CONNECTIONS_MAX};
use crate::secure::{self, Security};

/// How long a drain waits for the requests that it accepted, unless told otherwise.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long connections are served as ever after the listener is closed: what clients sent before is read by then.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How often a drain looks whether the last event is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often a free port is looked for that is free for TCP and UDP.
const PORT_TRIES: usize = 16;
/// How long nothing is accepted after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// What a client without TLS is told that has too many connections.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain\r\ncontent-length: 41\r\n\r\nYour address has too many connections now";

static NOT_ACCEPTED: Seldom = Seldom::new();
static ALL_TAKEN: Seldom = Seldom::new();
static ADDRESS_FULL: Seldom = Seldom::new();

/// How long a browser remembers where HTTP/3 is: a day.
const ALT_SVC_SECONDS: u32 = 86_400;

/// Why the edge does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("cannot listen for HTTP/3 on {address}, UDP")]
    BindQuic { address: SocketAddr, source: std::io::Error },
}

/// A listening edge.
pub struct Server {
    http: TcpListener,
    address: SocketAddr,
    https: Option<Https>,
    drain_max: Duration,
}

/// Where HTTPS is listened for: one port, of TCP and of UDP.
struct Https {
    tcp: TcpListener,
    quic: Endpoint,
    address: SocketAddr,
}

// === impl Https ===

impl Https {
    async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let (tcp, bound) = listen(address).await?;
            match quic(bound) {
                Ok(quic) => return Ok(Self { tcp, quic, address: bound }),
                Err(source) if tries == 0 => return Err(ServerError::BindQuic { address: bound, source }),
                // Somebody has the port that was free for TCP.
                Err(_) => {}
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Takes the port for QUIC; nobody is served yet.
fn quic(address: SocketAddr) -> std::io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
}

// === impl Server ===

impl Server {
    /// Listens for HTTP on `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let (http, address) = listen(address).await?;
        Ok(Self { http, address, https: None, drain_max: DRAIN_MAX })
    }

    /// Listens for HTTPS too, on `address`; port 0 takes a free one.
    pub async fn bind_secure(mut self, address: SocketAddr) -> Result<Self, ServerError> {
        self.https = Some(Https::bind(address).await?);
        Ok(self)
    }

    /// Waits for so long in a drain.
    pub fn drain_max(self, drain_max: Duration) -> Self {
        Self { drain_max, ..self }
    }

    /// Where it listens for HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for HTTPS, if it does.
    pub fn secure_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|https| https.address)
    }

    /// Serves until `stop` turns true, then answers what it accepted and ends. Without `security` nobody is served by HTTPS.
    pub async fn run(self, edge: Arc<Edge>, security: Option<Arc<Security>>, stop: watch::Receiver<bool>) {
        let (drain, draining) = watch::channel(false);
        let (alive, mut gone) = mpsc::channel(1);
        edge.note_listening("http", self.address.port());
        if let Some(https) = &self.https {
            edge.note_listening("https", https.address.port());
        }
        let secure = self.https.zip(security);
        let common = Arc::new(Common {
            edge: Arc::clone(&edge),
            challenges: secure.as_ref().and_then(|(_, security)| security.challenges()),
            alt_svc: secure.as_ref().and_then(|(https, _)| alt_svc(https.address.port())),
        });
        let shared = Shared { common, draining, _alive: alive };
        let clients = Clients::new();
        let serve_plain = |stream, client, seat| plain(shared.clone(), stream, client, seat);
        let mut quic = None;
        if let Some((https, security)) = secure {
            https.quic.set_server_config(Some(security.quic()));
            quic = Some(https.quic.clone());
            tokio::join!(
                accept(self.http, &clients, stop.clone(), TOO_MANY, serve_plain),
                accept(https.tcp, &clients, stop.clone(), b"", |stream, client, seat| {
                    secured(shared.clone(), Arc::clone(&security), stream, client, seat);
                }),
                accept_quic(https.quic, &clients, stop, |incoming, place| by_quic(shared.clone(), incoming, place)),
            );
        } else {
            accept(self.http, &clients, stop, TOO_MANY, serve_plain).await;
        }
        drop(shared);
        let drained = tokio::time::timeout(self.drain_max, async {
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
            tracing::warn!("requests were still unanswered after {:?}; they are cut off", self.drain_max);
        }
        if let Some(endpoint) = quic {
            endpoint.close(quinn::VarInt::from_u32(0), b"the server stops");
            // Says so to who is connected still.
            endpoint.wait_idle().await;
        }
    }
}

/// Accepts connections by TCP until `stop` turns true. A client that has too many is told `refusal`.
async fn accept(
    listener: TcpListener,
    clients: &Arc<Clients>,
    mut stop: watch::Receiver<bool>,
    refusal: &[u8],
    serve: impl Fn(TcpStream, SocketAddr, Seat),
) {
    let seated = |stream: TcpStream, client: SocketAddr, permit| match clients.place(client.ip()) {
        Some(place) => serve(stream, client, place.seat(permit)),
        None => refuse(stream, client, refusal, clients.address_max()),
    };
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, clients) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, client, permit)) => seated(stream, client, permit),
            Err(error) => {
                // Out of descriptors, or a client gone already: others may still be served.
                if let Some(times) = NOT_ACCEPTED.due() {
                    tracing::warn!(%error, times, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Connections that the kernel accepted already are accepted requests too.
    while let Some(permit) = clients.try_permit()
        && let Ok(Ok((stream, client))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await
    {
        seated(stream, client, permit);
    }
}

/// The next connection, once there may be one more: until then the kernel keeps it.
async fn next(
    listener: &TcpListener,
    clients: &Clients,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = match clients.try_permit() {
        Some(permit) => permit,
        None => {
            if let Some(times) = ALL_TAKEN.due() {
                let most = clients.connections_max();
                tracing::warn!(times, "all {most} connections are taken: clients wait until one ends");
            }
            clients.permit().await.ok_or(std::io::ErrorKind::Other)?
        }
    };
    let (stream, client) = listener.accept().await?;
    Ok((stream, client, permit))
}

/// Turns a client away.
fn refuse(stream: TcpStream, client: SocketAddr, refusal: &[u8], most: usize) {
    if let Some(times) = ADDRESS_FULL.due() {
        tracing::warn!(client = %client.ip(), times, "a client with {most} connections wants one more");
    }
    // A client that takes nothing is not told.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(refusal);
    }
}

/// Accepts connections by QUIC until `stop` turns true.
async fn accept_quic(
    endpoint: Endpoint,
    clients: &Arc<Clients>,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(Incoming, Place),
) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some(incoming) = incoming else {
            break;
        };
        let open = endpoint.open_connections();
        let client = incoming.remote_address().ip();
        if open >= CONNECTIONS_MAX {
            incoming.refuse();
        } else if (open >= CONNECTIONS_MAX / 2 || clients.is_crowded(client)) && !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                tracing::debug!(%error, "a client cannot be asked to show where it is");
            }
        } else if let Some(place) = clients.place(client) {
            serve(incoming, place);
        } else {
            incoming.refuse();
        }
    }
    endpoint.set_server_config(None);
}

fn plain(shared: Shared, stream: TcpStream, client: SocketAddr, seat: Seat) {
    no_delay(&stream);
    tokio::spawn(async move {
        if let Err(error) = connection::serve(shared, stream, client, seat).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended badly");
        }
    });
}

fn secured(shared: Shared, security: Arc<Security>, stream: TcpStream, client: SocketAddr, seat: Seat) {
    no_delay(&stream);
    tokio::spawn(async move {
        if let Err(error) = secure::serve(shared, security, stream, client, seat).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a secured connection ended badly");
        }
    });
}

fn by_quic(shared: Shared, incoming: Incoming, place: Place) {
    tokio::spawn(async move {
        if let Err(error) = http3::serve(shared, incoming, place).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection by QUIC ended badly");
        }
    });
}

fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
}

/// Where HTTP/3 is, as `Alt-Svc` has it.
fn alt_svc(port: u16) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("h3=\":{port}\"; ma={ALT_SVC_SECONDS}")).ok()
}
