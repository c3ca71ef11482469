//! How a worker's answer is coded for its client, as the platform's edge does it: what shrinks is compressed for a client
//! that accepts that, and what the worker had compressed is made plain for one that does not.
//! <https://developers.cloudflare.com/speed/optimization/content/compression/>
//!
//! An answer in a few bytes, or to a client that accepts no coding, costs a look at its head.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::{Body, Frame};
use parking_lot::{Mutex, const_mutex};
use selvedge_assets::{Coding, Decoder, Encoder, forbids_transform, vary_by_coding, weaken};
use selvedge_model::AccountId;
use selvedge_telemetry::Seldom;

use crate::body::{BodyError, EdgeBody};
use crate::pages;

/// Smaller bodies are not worth compressing, in bytes: as on the platform.
const GZIP_BYTES_MIN: u64 = 48;
const BROTLI_BYTES_MIN: u64 = 50;
/// A whole body of at most so many bytes is compressed at once, and goes out with its length.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;
/// Taken of a body at a time, in bytes, and between two turns of other work.
const STEP_BYTES: usize = 16 * 1024;
const TURN_BYTES: usize = 64 * 1024;
/// Bodies that are compressed while they are sent: each holds up to a megabyte meanwhile. More go out as they are.
const ENCODERS_MAX: usize = 512;
/// Bodies that are made plain while they are sent. Each holds what its coding looks back at, 32 KiB of gzip and up to 16 MiB
/// of Brotli: too much for no bound. Answers beyond it are refused, for their clients could not read them.
const DECODERS_MAX: usize = 1024;
const EVENTS: &[u8] = b"text/event-stream";

static ENCODERS: Coders = Coders::new(ENCODERS_MAX);
static DECODERS: Coders = Coders::new(DECODERS_MAX);
static NOT_DECODED: Seldom = Seldom::new();

/// A body that is coded, or decoded, while it is sent.
pub struct CodedBody {
    source: EdgeBody,
    coder: Coder,
    /// Of the source, and not coded yet.
    rest: Bytes,
    /// Since other work had its turn.
    turn_bytes: usize,
    is_over: bool,
    _permit: Permit,
}

enum Coder {
    /// And whether it holds something back that its client could read.
    Encode(Encoder, bool),
    Decode(Decoder),
}

/// Who codes how many bodies at once. A body takes as long as its worker and its client like, so no permit can be taken back:
/// an account gets another only while more are free than it has. One alone gets half of them, two a third each, and so on:
/// something is left for whoever comes next.
struct Coders {
    permits_max: usize,
    held: Mutex<BTreeMap<AccountId, usize>>,
}

/// What a body that is coded holds.
struct Permit {
    coders: &'static Coders,
    account: AccountId,
}

/// Codes an answer of an account's worker for its client, of whose request these are the method and the headers.
pub fn fit(
    account: &AccountId,
    method: &Method,
    request: &HeaderMap,
    mut response: Response<EdgeBody>,
) -> Response<EdgeBody> {
    if let Some(applied) = response.headers().get(header::CONTENT_ENCODING) {
        let Some(coding) = Coding::of_name(applied).filter(|_| may_decode(&response)) else {
            return response;
        };
        if !coding.is_accepted(request) {
            return decoded(account, method, request, coding, response);
        }
        // Others are sent other bytes.
        vary_by_coding(response.headers_mut());
        return response;
    }
    let bytes = known_bytes(method, &response);
    if bytes.is_some_and(|bytes| bytes < GZIP_BYTES_MIN) || !request.contains_key(header::ACCEPT_ENCODING) {
        return response;
    }
    if may_encode(&response) { encoded(account, method, request, bytes, response) } else { response }
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
    account: &AccountId,
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
        body => match ENCODERS.try_permit(account) {
            Some(permit) => EdgeBody::coded(CodedBody::new(body, Coder::Encode(Encoder::new(coding), false), permit)),
            None => return Response::from_parts(parts, body),
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

fn decoded(
    account: &AccountId,
    method: &Method,
    request: &HeaderMap,
    coding: Coding,
    response: Response<EdgeBody>,
) -> Response<EdgeBody> {
    let (mut parts, body) = response.into_parts();
    let body = if *method == Method::HEAD {
        body.of_no_known_length()
    } else if let Some(permit) = DECODERS.try_permit(account) {
        EdgeBody::coded(CodedBody::new(body, Coder::Decode(Decoder::new(coding)), permit))
    } else {
        if let Some(times) = NOT_DECODED.due() {
            tracing::warn!(%account, times, "too many answers are made plain at once: this account gets no more now");
        }
        let message = "too many answers are made plain at once now, and this one's coding is not accepted: ask again later, \
                       or accept gzip and br";
        return pages::plain(request, StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
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

// === impl Coders ===

impl Coders {
    const fn new(permits_max: usize) -> Self {
        Self { permits_max, held: const_mutex(BTreeMap::new()) }
    }

    fn try_permit(&'static self, account: &AccountId) -> Option<Permit> {
        let mut held = self.held.lock();
        let free = self.permits_max.saturating_sub(held.values().sum());
        let own = held.get(account).copied().unwrap_or_default();
        if own >= free {
            return None;
        }
        held.insert(account.clone(), own + 1);
        Some(Permit { coders: self, account: account.clone() })
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.coders.held.lock();
        if let Some(own) = held.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.account);
            }
        }
    }
}

// === impl CodedBody ===

impl CodedBody {
    fn new(source: EdgeBody, coder: Coder, permit: Permit) -> Self {
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

    fn fitted(method: &Method, request: &HeaderMap, response: Response<EdgeBody>) -> Response<EdgeBody> {
        fit(&AccountId::local(), method, request, response)
    }

    /// The account whose id is of this digit.
    fn account(digit: &str) -> AccountId {
        digit.repeat(32).parse().unwrap()
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
                let response =
                    fitted(&Method::GET, &request(accepted), answer("text/html; charset=utf-8", text.clone()));
                assert_eq!(coding_of(&response), Some(coding));
                assert_eq!(response.headers()["vary"], "Accept-Encoding");
                assert_eq!(response.headers()["etag"], "W/\"one\"");
                assert!(!response.headers().contains_key("content-length"));
                let coded = whole(response).await;
                assert!(coded.len() < bytes);
                // And is plain again for a client that does not.
                let mut response = answer("text/html", coded);
                response.headers_mut().insert("content-encoding", coding.parse().unwrap());
                let response = fitted(&Method::GET, &HeaderMap::new(), response);
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
            let response = fitted(&Method::GET, &request(accepted), response);
            assert_eq!(coding_of(&response), before.as_deref(), "{accepted} {:?}", response.headers());
            assert_eq!(response.headers()["etag"], "\"one\"");
            assert!(response.headers().contains_key("content-length"));
        }
        // No client that accepts nothing pays for those that do.
        assert!(!fitted(&Method::GET, &HeaderMap::new(), plain()).headers().contains_key("vary"));
    }

    #[tokio::test]
    async fn an_answer_that_its_worker_compressed_depends_on_what_the_client_accepts() {
        let content = "x".repeat(5_000);
        let coded = whole(fitted(&Method::GET, &request("gzip"), answer("text/plain", content.clone()))).await;
        for (accepted, is_coded) in [("gzip, br", true), ("br", false), ("identity", false)] {
            let mut response = answer("text/plain", coded.clone());
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            let response = fitted(&Method::GET, &request(accepted), response);
            assert_eq!(coding_of(&response), is_coded.then_some("gzip"), "{accepted}");
            assert_eq!(response.headers()["vary"], "Accept-Encoding", "{accepted}");
            assert_eq!(whole(response).await, if is_coded { coded.clone() } else { content.clone().into() });
        }
        // What is sent as it is to everybody does not.
        let mut response = answer("text/plain", coded);
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response.headers_mut().insert("cache-control", "no-transform".parse().unwrap());
        assert!(!fitted(&Method::GET, &request("gzip"), response).headers().contains_key("vary"));
    }

    #[test]
    fn permits_are_shared_among_accounts_and_come_back() {
        static FEW: Coders = Coders::new(12);
        let all = |digit: &str| -> Vec<Permit> { std::iter::from_fn(|| FEW.try_permit(&account(digit))).collect() };
        let first = all("a");
        assert_eq!(first.len(), 6);
        let second = all("b");
        assert_eq!(second.len(), 3);
        let third = all("c");
        assert!(!third.is_empty());
        drop((first, second, third));
        assert!(FEW.held.lock().is_empty());
        assert_eq!(all("c").len(), 6);
    }

    #[test]
    fn an_account_of_many_streams_leaves_others_what_they_need() {
        let (greedy, other) = (account("a"), account("b"));
        let long = Bytes::from("x".repeat(AT_ONCE_BYTES_MAX + 1));
        // Of each, nothing is read.
        let compressed =
            |account: &AccountId| fit(account, &Method::GET, &request("gzip"), answer("text/plain", long.clone()));
        let held: Vec<_> = std::iter::repeat_with(|| compressed(&greedy))
            .take(ENCODERS_MAX)
            .take_while(|response| coding_of(response).is_some())
            .collect();
        assert!((1..=ENCODERS_MAX / 2).contains(&held.len()), "{} are compressed", held.len());
        let refused = compressed(&greedy);
        assert_eq!((coding_of(&refused), refused.status()), (None, StatusCode::OK));
        assert_eq!(refused.headers()["vary"], "Accept-Encoding");
        assert_eq!(coding_of(&compressed(&other)), Some("gzip"));
    }

    #[test]
    fn who_reads_no_coding_is_sent_none_however_many_answers_are_decoded() {
        let (greedy, other) = (account("a"), account("b"));
        let plain = |account: &AccountId| {
            let mut response = answer("text/plain", "some of it");
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            fit(account, &Method::GET, &HeaderMap::new(), response)
        };
        let held: Vec<_> = std::iter::repeat_with(|| plain(&greedy))
            .take(DECODERS_MAX)
            .take_while(|response| response.status() == StatusCode::OK)
            .collect();
        assert!((1..=DECODERS_MAX / 2).contains(&held.len()), "{} are decoded", held.len());
        assert!(held.iter().all(|response| coding_of(response).is_none()));
        let refused = plain(&greedy);
        assert_eq!((coding_of(&refused), refused.status()), (None, StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(refused.headers()["cache-control"], "no-store");
        assert_eq!((coding_of(&plain(&other)), plain(&other).status()), (None, StatusCode::OK));
    }

    #[test]
    fn head_tells_what_get_would() {
        let response = fitted(&Method::HEAD, &request("gzip"), answer("text/plain", ""));
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
        let mut body = fitted(&Method::GET, &request("br"), response).into_body();
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
