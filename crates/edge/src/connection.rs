//! One client's connection by TCP: HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::answer::{Common, HEAD_BYTES_MAX, Peer, answer};
use crate::body::EdgeBody;
use crate::client_body::ClientBody;
use crate::client_stream::ClientStream;
use crate::clients::Seat;
use crate::http2::{Pieces, Streams};
use crate::sockets::Handover;

/// How long a client may take to send a request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Streams that one connection of HTTP/2 or HTTP/3 may have open at once.
pub const STREAMS_MAX: u32 = 256;
/// How often a client of HTTP/2 is asked whether it is there still, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
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

/// How a connection without TLS could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("nothing could be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
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
pub async fn serve(
    mut shared: Shared,
    stream: TcpStream,
    client: SocketAddr,
    seat: Seat,
) -> Result<(), ConnectionError> {
    let mut stream = ClientStream::new(stream, seat);
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(HEAD_TIMEOUT, stream.sniff()) => sniffed,
        () = shared.drain() => return Ok(()),
    };
    let Ok(begins_h2) = sniffed else {
        stream.farewell(REQUEST_TIMEOUT).await;
        return Ok(());
    };
    let peer = Peer::new(client.ip(), None);
    let served = if begins_h2? {
        serve_http2(&mut shared, peer, stream).await
    } else {
        serve_http1(&mut shared, peer, stream).await
    };
    Ok(served?)
}

/// Serves requests by HTTP/1.1.
pub async fn serve_http1<S>(shared: &mut Shared, peer: Peer, stream: ClientStream<S>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of_requests = Arc::new(shared.clone());
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let service = service_fn(move |request| hear(Arc::clone(&of_requests), peer, request));
    let mut connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let ended = until_drained(shared, Pin::new(&mut connection), |connection| connection.graceful_shutdown()).await;
    if ended.as_ref().is_err_and(hyper::Error::is_timeout)
        && let Some(parts) = connection.into_parts()
    {
        parts.io.into_inner().farewell(REQUEST_TIMEOUT).await;
    }
    ended
}

/// Serves requests by HTTP/2.
pub async fn serve_http2<S>(shared: &mut Shared, peer: Peer, mut stream: ClientStream<S>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The HTTP library would wait for the preface for ever, in a drain too. What is none, it has a word for.
    let begins = tokio::select! {
        biased;
        sniffed = tokio::time::timeout(HEAD_TIMEOUT, stream.sniff()) => sniffed.is_ok(),
        () = shared.drain() => false,
    };
    if !begins {
        return Ok(());
    }
    let of_requests = Arc::new(shared.clone());
    let mut builder = http2::Builder::new(Streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let service = service_fn(move |request| {
        let hearing = hear(Arc::clone(&of_requests), peer, request);
        async move { hearing.await.map(|response| response.map(Pieces::new)) }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
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
    shared: Arc<Shared>,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<EdgeBody>, Infallible> {
    let upgrade = request
        .headers()
        .contains_key(header::UPGRADE)
        .then(|| Handover { upgrade: hyper::upgrade::on(&mut request), shared: Shared::clone(&shared) });
    let (parts, body) = request.into_parts();
    // By HTTP/1.1 the body of such an answer is left out below this.
    let head_only = parts.method == Method::HEAD && parts.version == Version::HTTP_2;
    let response = answer(&shared.common, peer, parts, ClientBody::hyper(body), upgrade).await;
    Ok(if head_only { without_body(response) } else { response })
}

/// The head of a response, with the length of the body that it does not have. An empty one tells nothing: where only the
/// head is asked for, a worker or a file may leave out what they would send with it.
fn without_body(response: Response<EdgeBody>) -> Response<EdgeBody> {
    let (mut parts, body) = response.into_parts();
    let may_have_one = !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = body.size_hint().exact().filter(|length| may_have_one && *length > 0) {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(parts, EdgeBody::full(Bytes::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_length_that_is_known_or_said_and_none_for_no_body() {
        let length = |said: Option<&str>, body: &'static str| {
            let mut answer = Response::new(EdgeBody::full(body));
            if let Some(said) = said {
                answer.headers_mut().insert(header::CONTENT_LENGTH, said.parse().unwrap());
            }
            let head = without_body(answer);
            head.headers().get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned())
        };
        for (said, body, told) in
            [(None, "hello", Some("5")), (None, "", None), (Some("7"), "", Some("7")), (Some("0"), "", Some("0"))]
        {
            assert_eq!(length(said, body).as_deref(), told, "{said:?} {body:?}");
        }
    }
}
