//! One client's connection by TCP: HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::answer::{Common, HEAD_BYTES_MAX, Peer, answer};
use crate::body::EdgeBody;
use crate::client_body::ClientBody;

/// How long a client may take to send a request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Streams that one connection of HTTP/2 or HTTP/3 may have open at once.
pub const STREAMS_MAX: u32 = 256;
/// How often a client of HTTP/2 is asked whether it is there still, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How an HTTP/2 connection begins, and no request of HTTP/1.1.
const H2_PREFACE: &[u8; 3] = b"PRI";
/// How often the first bytes are looked at while they could be the beginning of either.
const SNIFF_INTERVAL: Duration = Duration::from_millis(5);
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a connection has of the server that accepted it.
#[derive(Clone)]
pub struct Shared {
    pub common: Arc<Common>,
    /// Turns true when no further request is to be accepted.
    pub draining: watch::Receiver<bool>,
    /// Held until the connection is over.
    pub _alive: mpsc::Sender<()>,
}

/// Which protocol the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

// === impl Shared ===

impl Shared {
    /// Resolves when no further request is to be accepted.
    pub async fn drain(&mut self) {
        // A server that is gone drains no more.
        let _ = self.draining.wait_for(|draining| *draining).await;
    }
}

/// Serves a connection without TLS.
pub async fn serve(mut shared: Shared, stream: TcpStream, client: SocketAddr) -> Result<(), hyper::Error> {
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(HEAD_TIMEOUT, sniff(&stream)) => sniffed,
        () = shared.drain() => return Ok(()),
    };
    let protocol = match sniffed {
        Ok(Ok(Some(protocol))) => protocol,
        Ok(_) => return Ok(()),
        Err(_) => {
            let mut said = [0; H2_PREFACE.len()];
            if stream.try_read(&mut said).is_ok_and(|length| length > 0) {
                // A client that takes nothing is not told.
                let _ = stream.try_write(REQUEST_TIMEOUT);
            }
            return Ok(());
        }
    };
    let peer = Peer::new(client.ip(), None);
    match protocol {
        Protocol::Http1 => {
            let late = Arc::new(AtomicBool::new(false));
            let socket = Socket { stream, late: Arc::clone(&late), asked: false };
            serve_http1(&mut shared, peer, socket, &late).await
        }
        Protocol::Http2 => serve_http2(&mut shared, peer, stream).await,
    }
}

/// Serves requests by HTTP/1.1. `late` turns true if the client did not end its head in time.
pub async fn serve_http1(
    shared: &mut Shared,
    peer: Peer,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    late: &AtomicBool,
) -> Result<(), hyper::Error> {
    let common = Arc::clone(&shared.common);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let service = service_fn(move |request| hear(Arc::clone(&common), peer, request));
    let connection = builder.serve_connection(TokioIo::new(socket), service).with_upgrades();
    let mut connection = pin!(connection);
    let ended = until_drained(shared, connection.as_mut(), |connection| connection.graceful_shutdown()).await;
    late.store(ended.as_ref().is_err_and(hyper::Error::is_timeout), Ordering::Relaxed);
    ended
}

/// Serves requests by HTTP/2.
pub async fn serve_http2(
    shared: &mut Shared,
    peer: Peer,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), hyper::Error> {
    let common = Arc::clone(&shared.common);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let service = service_fn(move |request| hear(Arc::clone(&common), peer, request));
    let connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    until_drained(shared, connection, |connection| connection.graceful_shutdown()).await
}

/// Runs a connection to its end; in a drain, to the end of what it has.
async fn until_drained<C: Future>(
    shared: &mut Shared,
    mut connection: Pin<&mut C>,
    finish: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.drain() => {
            finish(connection.as_mut());
            connection.await
        }
    }
}

async fn hear(
    common: Arc<Common>,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<EdgeBody>, Infallible> {
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    // By HTTP/1.1 the body of such an answer is left out below this.
    let head_only = parts.method == Method::HEAD && parts.version == Version::HTTP_2;
    let response = answer(&common, peer, parts, ClientBody::Hyper(body), upgrade).await;
    Ok(if head_only { without_body(response) } else { response })
}

/// The head of a response, with the length of the body that it does not have.
fn without_body(response: Response<EdgeBody>) -> Response<EdgeBody> {
    let (mut parts, body) = response.into_parts();
    let may_have_one = !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = body.size_hint().exact().filter(|_| may_have_one) {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(parts, EdgeBody::full(Bytes::new()))
}

/// Which protocol the client speaks, by its first bytes; none if it closed before.
async fn sniff(stream: &TcpStream) -> io::Result<Option<Protocol>> {
    let mut first = [0; H2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        let seen = first.get(..length).unwrap_or_default();
        if seen.is_empty() {
            return Ok(None);
        }
        if !H2_PREFACE.starts_with(seen) {
            return Ok(Some(Protocol::Http1));
        }
        if length == H2_PREFACE.len() {
            return Ok(Some(Protocol::Http2));
        }
        tokio::time::sleep(SNIFF_INTERVAL).await;
    }
}

/// A client's socket that says why, where a request's head does not come to its end.
struct Socket {
    stream: TcpStream,
    /// The client took too long.
    late: Arc<AtomicBool>,
    /// It sent something since it was last told something.
    asked: bool,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.asked && self.late.load(Ordering::Relaxed) {
            // A client that takes nothing is not told.
            let _ = self.stream.try_write(REQUEST_TIMEOUT);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.asked |= buffer.filled().len() > before;
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = false;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.asked = false;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
