//! One client's connection: HTTP/1.1, or HTTP/2 with prior knowledge.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::edge::Edge;
use crate::server::answer;

/// The most that a request's head may take: 64 KiB.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Streams that one HTTP/2 connection may have open at once.
const H2_STREAMS_MAX: u32 = 256;
/// How an HTTP/2 connection begins, and no request of HTTP/1.1.
const H2_PREFACE: &[u8; 3] = b"PRI";
/// How often the first bytes are looked at while they could be the beginning of either.
const SNIFF_INTERVAL: Duration = Duration::from_millis(5);
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What connections have in common.
#[derive(Clone)]
pub struct Shared {
    pub edge: Arc<Edge>,
    /// Turns true when no further request is to be accepted.
    pub draining: watch::Receiver<bool>,
    /// Held until the connection is over.
    pub _alive: mpsc::Sender<()>,
}

impl Shared {
    /// Resolves when no further request is to be accepted.
    async fn drain(&mut self) {
        // A server that is gone drains no more.
        let _ = self.draining.wait_for(|draining| *draining).await;
    }
}

/// Serves a connection in a task of its own.
pub fn spawn(shared: Shared, stream: TcpStream, client: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    tokio::spawn(async move {
        if let Err(error) = serve(shared, stream, client).await {
            tracing::debug!(%error, "a connection ended badly");
        }
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

async fn serve(mut shared: Shared, stream: TcpStream, client: SocketAddr) -> Result<(), hyper::Error> {
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(HEAD_TIMEOUT, sniff(&stream)) => sniffed,
        () = shared.drain() => return Ok(()),
    };
    let version = match sniffed {
        Ok(Ok(Some(version))) => version,
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
    let edge = Arc::clone(&shared.edge);
    let service = service_fn(move |request: Request<Incoming>| answer(Arc::clone(&edge), request, client));
    match version {
        Version::Http1 => {
            let late = Arc::new(AtomicBool::new(false));
            let socket = TokioIo::new(Socket { stream, late: Arc::clone(&late), asked: false });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
            let mut connection = pin!(builder.serve_connection(socket, service).with_upgrades());
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shared.drain() => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            };
            late.store(ended.as_ref().is_err_and(hyper::Error::is_timeout), Ordering::Relaxed);
            ended
        }
        Version::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(H2_STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32);
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shared.drain() => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            }
        }
    }
}

/// Which protocol the client speaks, by its first bytes; none if it closed before.
async fn sniff(stream: &TcpStream) -> io::Result<Option<Version>> {
    let mut first = [0; H2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        let seen = first.get(..length).unwrap_or_default();
        if seen.is_empty() {
            return Ok(None);
        }
        if !H2_PREFACE.starts_with(seen) {
            return Ok(Some(Version::Http1));
        }
        if length == H2_PREFACE.len() {
            return Ok(Some(Version::Http2));
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
