//! How a worker's answer is coded for its client, as the platform's edge does it: what shrinks is compressed for a client
//! that accepts that, and what the worker had compressed is made plain for one that does not.
//! <https://developers.cloudflare.com/speed/optimization/content/compression/>
//!
//! An answer in a few bytes, or to a client that accepts no coding, costs a look at its head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::{Body, Frame};
use selvedge_assets::{Coding, Decoder, Encoder, forbids_transform, vary_by_coding, weaken};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::body::{BodyError, EdgeBody};

/// Smaller bodies are not worth compressing, in bytes: as on the platform.
const GZIP_BYTES_MIN: u64 = 48;
const BROTLI_BYTES_MIN: u64 = 50;
/// A whole body of at most so many bytes is compressed at once, and goes out with its length.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;
/// Taken of a body at a time, in bytes, and between two turns of other work.
const STEP_BYTES: usize = 16 * 1024;
const TURN_BYTES: usize = 64 * 1024;
/// Bodies that are coded while they are sent: each holds up to a megabyte meanwhile. More go out as they are.
const CODERS_MAX: usize = 512;
const EVENTS: &[u8] = b"text/event-stream";

static CODERS: Semaphore = Semaphore::const_new(CODERS_MAX);

/// A body that is coded, or decoded, while it is sent.
pub struct CodedBody {
    source: EdgeBody,
    coder: Coder,
    /// Of the source, and not coded yet.
    rest: Bytes,
    /// Since other work had its turn.
    turn_bytes: usize,
    is_over: bool,
    _permit: SemaphorePermit<'static>,
}

enum Coder {
    /// And whether it holds something back that its client could read.
    Encode(Encoder, bool),
    Decode(Decoder),
}

/// Codes a worker's answer for its client, of whose request these are the method and the headers.
pub fn fit(method: &Method, request: &HeaderMap, response: Response<EdgeBody>) -> Response<EdgeBody> {
    if let Some(applied) = response.headers().get(header::CONTENT_ENCODING) {
        return match Coding::of_name(applied) {
            Some(coding) if !coding.is_accepted(request) && may_decode(&response) => decoded(method, coding, response),
            _ => response,
        };
    }
    let bytes = known_bytes(method, &response);
    if bytes.is_some_and(|bytes| bytes < GZIP_BYTES_MIN) || !request.contains_key(header::ACCEPT_ENCODING) {
        return response;
    }
    if may_encode(&response) { encoded(method, request, bytes, response) } else { response }
}

/// The length of a body, where it is known.
fn known_bytes(method: &Method, response: &Response<EdgeBody>) -> Option<u64> {
    match response.body() {
        EdgeBody::Full(Some(bytes)) => Some(bytes.len() as u64),
        EdgeBody::Full(None) if *method != Method::HEAD => Some(0),
        _ => response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok(),
    }
}

/// Errors other than these two may be of any length; parts are of what the worker has, not of what is sent.
fn may_encode(response: &Response<EdgeBody>) -> bool {
    let headers = response.headers();
    // Its reader waits for each event.
    let is_events = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..EVENTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
    });
    matches!(response.status(), StatusCode::OK | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
        && !is_events
        && !headers.contains_key(header::CONTENT_RANGE)
        && Coding::suits_kind(headers)
}

fn may_decode(response: &Response<EdgeBody>) -> bool {
    let bodiless = [StatusCode::PARTIAL_CONTENT, StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    !bodiless.contains(&response.status()) && !forbids_transform(response.headers())
}

fn encoded(
    method: &Method,
    request: &HeaderMap,
    bytes: Option<u64>,
    mut response: Response<EdgeBody>,
) -> Response<EdgeBody> {
    // Said of every such answer, or a shared cache would take one of them for all.
    vary_by_coding(response.headers_mut());
    let bytes_min = |coding: &Coding| match coding {
        Coding::Brotli => BROTLI_BYTES_MIN,
        Coding::Gzip => GZIP_BYTES_MIN,
    };
    let Some(coding) = Coding::choose(request).filter(|coding| bytes.is_none_or(|bytes| bytes >= bytes_min(coding)))
    else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let body = match body {
        body if *method == Method::HEAD => body.of_no_known_length(),
        EdgeBody::Full(Some(bytes)) if bytes.len() <= AT_ONCE_BYTES_MAX => match at_once(coding, &bytes) {
            Ok(coded) if coded.len() < bytes.len() => EdgeBody::full(coded),
            Ok(_) => return Response::from_parts(parts, EdgeBody::full(bytes)),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be compressed");
                return Response::from_parts(parts, EdgeBody::full(bytes));
            }
        },
        body => match CODERS.try_acquire() {
            Ok(permit) => EdgeBody::coded(CodedBody::new(body, Coder::Encode(Encoder::new(coding), false), permit)),
            Err(_) => return Response::from_parts(parts, body),
        },
    };
    parts.headers.insert(header::CONTENT_ENCODING, coding.name());
    changed(&mut parts.headers);
    Response::from_parts(parts, body)
}

fn at_once(coding: Coding, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(coding);
    let begun = encoder.encode(content)?;
    Ok([begun, encoder.finish()?].concat())
}

fn decoded(method: &Method, coding: Coding, response: Response<EdgeBody>) -> Response<EdgeBody> {
    let (mut parts, body) = response.into_parts();
    let body = match CODERS.try_acquire() {
        _ if *method == Method::HEAD => body.of_no_known_length(),
        Ok(permit) => EdgeBody::coded(CodedBody::new(body, Coder::Decode(Decoder::new(coding)), permit)),
        // The client may make something of it nevertheless.
        Err(_) => return Response::from_parts(parts, body),
    };
    parts.headers.remove(header::CONTENT_ENCODING);
    vary_by_coding(&mut parts.headers);
    changed(&mut parts.headers);
    Response::from_parts(parts, body)
}

/// The bytes of an answer are others than its worker sent.
fn changed(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    if let Some(etag) = headers.get(header::ETAG).map(weaken) {
        headers.insert(header::ETAG, etag);
    }
}

// === impl CodedBody ===

impl CodedBody {
    fn new(source: EdgeBody, coder: Coder, permit: SemaphorePermit<'static>) -> Self {
        Self { source, coder, rest: Bytes::new(), turn_bytes: 0, is_over: false, _permit: permit }
    }

    /// Codes some of what there is of the source.
    fn step(&mut self) -> io::Result<Bytes> {
        let coded = match &mut self.coder {
            Coder::Encode(encoder, holds) => {
                let content = self.rest.split_to(self.rest.len().min(STEP_BYTES));
                self.turn_bytes += content.len();
                *holds = true;
                encoder.encode(&content)?
            }
            Coder::Decode(decoder) => {
                let content = decoder.decode(&mut self.rest)?;
                self.turn_bytes += content.len();
                content
            }
        };
        Ok(coded)
    }

    fn has_more(&self) -> bool {
        !self.rest.is_empty() || matches!(&self.coder, Coder::Decode(decoder) if decoder.has_more())
    }

    /// What a client needs to read all that the source has given so far.
    fn flush(&mut self) -> io::Result<Bytes> {
        match &mut self.coder {
            Coder::Encode(encoder, holds) if *holds => {
                *holds = false;
                encoder.flush()
            }
            _ => Ok(Bytes::new()),
        }
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        match &mut self.coder {
            Coder::Encode(encoder, _) => encoder.finish(),
            Coder::Decode(decoder) => decoder.finish().map(|()| Bytes::new()),
        }
    }

    fn poll_coded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if self.has_more() {
                if self.turn_bytes >= TURN_BYTES {
                    self.turn_bytes = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match self.step() {
                    Ok(coded) if coded.is_empty() => continue,
                    coded => return Poll::Ready(Some(coded.map_err(Into::into))),
                }
            }
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    self.is_over = true;
                    let last: Result<Bytes, BodyError> = self.finish().map_err(Into::into);
                    return Poll::Ready(Some(last).filter(|last| !matches!(last, Ok(last) if last.is_empty())));
                }
                Poll::Pending => {
                    // Nobody knows when more comes: what there is goes out.
                    self.turn_bytes = 0;
                    return match self.flush() {
                        Ok(coded) if coded.is_empty() => Poll::Pending,
                        coded => Poll::Ready(Some(coded.map_err(Into::into))),
                    };
                }
            }
        }
    }
}

impl Body for CodedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let polled = this.poll_coded(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            this.is_over = true;
        }
        polled.map(|coded| coded.map(|coded| coded.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    fn request(accepted: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())])
    }

    fn answer(kind: &str, body: impl Into<Bytes>) -> Response<EdgeBody> {
        Response::builder()
            .header("content-type", kind)
            .header("etag", "\"one\"")
            .header("content-length", "5000")
            .body(EdgeBody::full(body))
            .unwrap()
    }

    fn coding_of(response: &Response<EdgeBody>) -> Option<&str> {
        response.headers().get("content-encoding").map(|coding| coding.to_str().unwrap())
    }

    async fn whole(response: Response<EdgeBody>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn what_shrinks_is_compressed_for_who_accepts_it() {
        for bytes in [100, 5_000, 500_000] {
            let text = "x".repeat(bytes);
            for (accepted, coding) in [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0.2, gzip;q=0.3", "gzip")] {
                let response = fit(&Method::GET, &request(accepted), answer("text/html; charset=utf-8", text.clone()));
                assert_eq!(coding_of(&response), Some(coding));
                assert_eq!(response.headers()["vary"], "Accept-Encoding");
                assert_eq!(response.headers()["etag"], "W/\"one\"");
                assert!(!response.headers().contains_key("content-length"));
                let coded = whole(response).await;
                assert!(coded.len() < bytes);
                // And is plain again for a client that does not.
                let mut response = answer("text/html", coded);
                response.headers_mut().insert("content-encoding", coding.parse().unwrap());
                let response = fit(&Method::GET, &HeaderMap::new(), response);
                assert_eq!(coding_of(&response), None);
                assert_eq!(whole(response).await, text.as_bytes());
            }
        }
    }

    #[test]
    fn what_is_not_to_be_compressed_is_left_alone() {
        let long = "x".repeat(5_000);
        let plain = || answer("text/plain", long.clone());
        let with = |name: &'static str, value: &'static str| {
            let mut response = plain();
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        };
        let of_status = |status| {
            let mut response = plain();
            *response.status_mut() = status;
            response
        };
        for (accepted, response) in [
            ("identity", plain()),
            ("zstd", plain()),
            ("br", answer("text/plain", "Hello, world")),
            ("br", answer("image/png", long.clone())),
            ("br", answer("text/event-stream", long.clone())),
            ("br", with("cache-control", "public, no-transform")),
            ("br", with("content-encoding", "zstd")),
            ("br", with("content-range", "bytes 0-4999/10000")),
            ("br", of_status(StatusCode::PARTIAL_CONTENT)),
            ("br", of_status(StatusCode::NOT_MODIFIED)),
            ("br", of_status(StatusCode::INTERNAL_SERVER_ERROR)),
        ] {
            let before = coding_of(&response).map(str::to_owned);
            let response = fit(&Method::GET, &request(accepted), response);
            assert_eq!(coding_of(&response), before.as_deref(), "{accepted} {:?}", response.headers());
            assert_eq!(response.headers()["etag"], "\"one\"");
            assert!(response.headers().contains_key("content-length"));
        }
        // No client that accepts nothing pays for those that do.
        assert!(!fit(&Method::GET, &HeaderMap::new(), plain()).headers().contains_key("vary"));
    }

    #[test]
    fn head_tells_what_get_would() {
        let response = fit(&Method::HEAD, &request("gzip"), answer("text/plain", ""));
        assert_eq!(coding_of(&response), Some("gzip"));
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(response.body().size_hint().exact(), None);
    }

    #[tokio::test]
    async fn each_piece_of_a_stream_can_be_read_when_it_has_come() {
        let (sender, mut receiver) = mpsc::unbounded_channel::<&'static str>();
        let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let frames = futures_util::StreamExt::map(pieces, |piece| {
            Ok::<_, BodyError>(Frame::data(Bytes::from_static(piece.as_bytes())))
        });
        let mut response = answer("text/plain", "");
        *response.body_mut() = EdgeBody::Boxed(StreamBody::new(frames).boxed());
        let mut body = fit(&Method::GET, &request("br"), response).into_body();
        let mut decoder = Decoder::new(Coding::Brotli);
        for piece in ["one", "two", "three"] {
            sender.send(piece).unwrap();
            let mut read = Vec::new();
            while read.len() < piece.len() {
                let mut coded = body.frame().await.unwrap().unwrap().into_data().unwrap();
                read.extend_from_slice(&decoder.decode(&mut coded).unwrap());
            }
            assert_eq!(read, piece.as_bytes());
        }
        drop(sender);
        while let Some(frame) = body.frame().await {
            decoder.decode(&mut frame.unwrap().into_data().unwrap()).unwrap();
        }
        decoder.finish().unwrap();
    }
}
