//! One client's connection: HTTP/1.1, or HTTP/2 with prior knowledge.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use selvedge_telemetry::Seldom;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tower_service::Service;

use crate::body::{Pace, paced};
use crate::error::{ApiError, code};
use crate::secure::{Io, Secure};
use crate::stream::{Stream, bare_answer};
use crate::throttle::network;

/// The most that a request's head may take: 64 KiB.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Connections of one client at once: of an address of IPv4, of a /64 of IPv6.
const ADDRESS_CONNECTIONS_MAX: u32 = 512;
/// Streams that one HTTP/2 connection may have open at once.
const H2_STREAMS_MAX: u32 = 64;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may think.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a client that was too slow has for taking the answer that says so.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

static ADDRESS_FULL: Seldom = Seldom::new();

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a request's head, and for TLS' handshake.
    pub head: Duration,
    /// For a request's body.
    pub body: Pace,
    /// For taking anything of an answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), body: Pace::default(), answer: Duration::from_secs(30) }
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Client(pub SocketAddr);

/// A request came by TLS.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted(pub bool);

/// What connections have in common.
#[derive(Clone)]
pub struct Serving {
    pub router: axum::Router,
    pub timeouts: Timeouts,
    pub secure: Option<Arc<dyn Secure>>,
    pub addresses: Arc<Addresses>,
    /// Turns true when no further request is to be accepted.
    pub draining: watch::Receiver<bool>,
    /// Held until the connection is over.
    pub _alive: mpsc::Sender<()>,
}

/// How many connections each client has.
#[derive(Default)]
pub struct Addresses(Mutex<HashMap<IpAddr, u32>>);

struct Place {
    addresses: Arc<Addresses>,
    client: IpAddr,
}

impl Addresses {
    fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = network(client);
        let mut counts = self.0.lock();
        let count = counts.entry(client).or_insert(0);
        if *count >= ADDRESS_CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
        Some(Place { addresses: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Serves a connection in a task of its own.
pub fn spawn(serving: Serving, stream: TcpStream, client: SocketAddr, permit: OwnedSemaphorePermit) {
    let Some(place) = serving.addresses.take(client.ip()) else {
        if let Some(times) = ADDRESS_FULL.due() {
            let most = ADDRESS_CONNECTIONS_MAX;
            tracing::warn!(client = %client.ip(), times, "a client with {most} connections wants one more");
        }
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    tokio::spawn(async move {
        if let Err(error) = open(serving, stream, client).await {
            tracing::debug!(%error, "a connection ended badly");
        }
        drop((place, permit));
    });
}

async fn open(serving: Serving, stream: TcpStream, client: SocketAddr) -> io::Result<()> {
    let Some(secure) = serving.secure.clone() else {
        return serve(serving, Box::new(stream), client, Encrypted(false)).await;
    };
    let handshake = tokio::time::timeout(serving.timeouts.head, secure.accept(stream));
    let stream = handshake.await.map_err(io::Error::other)??;
    serve(serving, stream, client, Encrypted(true)).await
}

async fn serve(mut serving: Serving, stream: Box<dyn Io>, client: SocketAddr, tls: Encrypted) -> io::Result<()> {
    let mut stream = Stream::new(stream, serving.timeouts.answer);
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(serving.timeouts.head, stream.sniff()) => sniffed,
        () = drained(&mut serving.draining) => return Ok(()),
    };
    let Ok(begins_h2) = sniffed else { return farewell(stream).await };
    let router = serving.router.clone();
    let pace = serving.timeouts.body;
    let service = service_fn(move |request| answer(router.clone(), request, client, tls, pace));
    if begins_h2? {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(H2_PING_INTERVAL)
            .keep_alive_timeout(H2_PING_INTERVAL);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drained(&mut serving.draining) => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        return ended.map_err(io::Error::other);
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(serving.timeouts.head).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drained(&mut serving.draining) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    match ended {
        Err(error) if error.is_timeout() => match connection.into_parts() {
            Some(parts) => farewell(parts.io.into_inner()).await,
            None => Ok(()),
        },
        Err(error) if error.is_parse() => {
            if let Some(parts) = connection.into_parts() {
                linger(parts.io.into_inner()).await;
            }
            Err(io::Error::other(error))
        }
        ended => ended.map_err(io::Error::other),
    }
}

async fn drained(draining: &mut watch::Receiver<bool>) {
    // A server that is gone drains no more.
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn answer(
    mut router: axum::Router,
    request: Request<Incoming>,
    client: SocketAddr,
    tls: Encrypted,
    pace: Pace,
) -> Result<Response, Infallible> {
    let (mut parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    if head_bytes(&parts) > HEAD_BYTES_MAX {
        let message = format!("the request's head takes more than {HEAD_BYTES_MAX} bytes");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Ok(ApiError::new(status, code::HEAD_TOO_LARGE, message).into_response());
    }
    // HTTP/2 says it elsewhere.
    if !parts.headers.contains_key(header::HOST)
        && let Some(Ok(host)) = parts.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()))
    {
        parts.headers.insert(header::HOST, host);
    }
    parts.extensions.insert(Client(client));
    parts.extensions.insert(tls);
    let (body, rest) = paced(body, pace);
    let response = router.call(Request::from_parts(parts, Body::new(body))).await?;
    if response.status().is_client_error() || response.status().is_server_error() {
        // Beside the answer, which a client that sends no more waits for.
        rest.drain(&headers);
    }
    Ok(response)
}

/// What a request's head takes on the wire, nearly: the protocol's reader bounds its own buffer only.
fn head_bytes(parts: &http::request::Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    parts.headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

/// Takes what a refused client still sends, for a while: a connection that is closed before would be reset, and the answer
/// lost.
async fn linger(mut stream: Stream) {
    let taking = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whatever comes of it: the client has been told.
    let _ = tokio::time::timeout(FAREWELL_TIME_MAX, taking).await;
}

/// Tells a client that it was too slow with a request's head, if it began one.
async fn farewell(mut stream: Stream) -> io::Result<()> {
    if !stream.has_asked() {
        return Ok(());
    }
    let answer = bare_answer(StatusCode::REQUEST_TIMEOUT, code::TOO_SLOW, "the request's head came too slowly");
    let telling = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    };
    tokio::time::timeout(FAREWELL_TIME_MAX, telling).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_client_of_ipv6_has_no_more_connections_with_more_addresses() {
        let addresses = Arc::new(Addresses::default());
        let address = |number: u32| Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | u128::from(number));
        let places: Vec<_> =
            (0..ADDRESS_CONNECTIONS_MAX).map(|number| addresses.take(address(number).into())).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(addresses.take("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(addresses.take("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(places);
        assert!(addresses.0.lock().is_empty());
    }
}
