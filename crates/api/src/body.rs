//! A request's body, which comes in at a pace or ends.
//!
//! A client that sends a byte now and then would keep a connection, and what is held for it, for ever: in every span of
//! [`Pace::span`] at least [`Pace::bytes_min`] bytes must come. And a client that is refused while it still sends would
//! see its connection reset instead of the answer: what it sends is read away for a while ([`Rest::drain`]).

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::error::{ApiError, code};
use crate::log::memory_of;
use crate::memory::Held;

/// How much of a body is read away after a refusal, in bytes: 128 MiB.
const DRAIN_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// For how long a body is read away after a refusal.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// In which time a body of JSON must come: it is small, and memory is held for it.
const JSON_TIME_MAX: Duration = Duration::from_secs(30);
/// How much memory is taken at once for a body that comes, in bytes: 16 KiB.
const CHARGE_BYTES: usize = 16 * 1024;

/// When a body that lost its turn is worth sending again, in seconds.
const CONTENDED_RETRY_AFTER_S: u64 = 5;

/// How fast a body must come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Over which time it is measured.
    pub span: Duration,
    /// How many bytes must come in each such time.
    pub bytes_min: u64,
    /// In which time all of it must come.
    pub whole: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { span: Duration::from_secs(10), bytes_min: 4 * 1024, whole: Duration::from_secs(15 * 60) }
    }
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body came too slowly: {got} bytes in {span:?}, where {bytes_min} are needed")]
    Slow { got: u64, span: Duration, bytes_min: u64 },
    #[error("the body took more than {whole:?}")]
    Long { whole: Duration },
    #[error(
        "the body came too slowly while others wait: {got} bytes in {waited:?}, where {bytes_per_s} a second are needed"
    )]
    Contended { got: u64, waited: Duration, bytes_per_s: u64 },
    #[error("the body ended before its end")]
    Broken(#[source] hyper::Error),
}

impl From<&BodyError> for ApiError {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::Slow { .. } | BodyError::Long { .. } => {
                Self::new(StatusCode::REQUEST_TIMEOUT, code::TOO_SLOW, error.to_string())
            }
            // At another time the same body is taken, as slowly as it comes: clients send it again by themselves.
            BodyError::Contended { .. } => {
                let message = format!("{error}; send it again, in a while or by a faster network");
                let mut refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, code::TOO_SLOW, message);
                refused.retry_after_s = Some(CONTENDED_RETRY_AFTER_S);
                refused
            }
            BodyError::Broken(source) => Self::bad_body(format!("{error}: {source}; send it again, whole")),
        }
    }
}

struct Inner<B> {
    body: B,
    pace: Pace,
    deadline: Pin<Box<Sleep>>,
    /// When all of it must be here.
    end: Instant,
    /// Bytes since the span began.
    got: u64,
    /// Somebody began to read: a client that waits for `100 Continue` has been told to send.
    begun: bool,
}

/// A body that must keep its pace.
pub struct PacedBody<B>(Arc<Mutex<Inner<B>>>);

/// What is left of a body that was given away.
pub struct Rest<B>(Arc<Mutex<Inner<B>>>);

/// A body that must keep its pace from now on, and a hold on what is left of it.
pub fn paced<B>(body: B, pace: Pace) -> (PacedBody<B>, Rest<B>) {
    let deadline = Box::pin(tokio::time::sleep(pace.span));
    let end = Instant::now() + pace.whole;
    let inner = Arc::new(Mutex::new(Inner { body, pace, deadline, end, got: 0, begun: false }));
    (PacedBody(Arc::clone(&inner)), Rest(inner))
}

impl<B> Inner<B>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin,
{
    fn begin_span(&mut self) {
        self.deadline.as_mut().reset(self.end.min(Instant::now() + self.pace.span));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.begun {
            // The time before, in which a request waited for its turn, was not the client's.
            self.begun = true;
            self.end = Instant::now() + self.pace.whole;
            self.begin_span();
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let Some(frame) = frame else { return Poll::Ready(None) };
            let frame = frame.map_err(BodyError::Broken)?;
            self.got += frame.data_ref().map_or(0, |data| data.len() as u64);
            if self.got >= self.pace.bytes_min {
                self.got = 0;
                self.begin_span();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        ready!(self.deadline.as_mut().poll(cx));
        let Pace { span, bytes_min, whole } = self.pace;
        if Instant::now() >= self.end {
            return Poll::Ready(Some(Err(BodyError::Long { whole })));
        }
        Poll::Ready(Some(Err(BodyError::Slow { got: self.got, span, bytes_min })))
    }
}

impl<B> HttpBody for PacedBody<B>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.lock().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}

impl<B> Rest<B>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    /// Reads away what the client still sends, within bounds and in a task of its own, so that it comes to read the answer.
    pub fn drain(self, headers: &HeaderMap) {
        let waits = headers.contains_key(header::EXPECT) && !self.0.lock().begun;
        if !waits && !self.0.lock().body.is_end_stream() {
            tokio::spawn(self.read_away());
        }
    }

    async fn read_away(self) {
        let mut left = DRAIN_BYTES_MAX;
        let reading = async {
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| self.0.lock().poll(cx)).await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                if left == 0 {
                    return;
                }
            }
        };
        if tokio::time::timeout(DRAIN_TIME_MAX, reading).await.is_err() {
            tracing::debug!("a refused request's body was still coming after {DRAIN_TIME_MAX:?}");
        }
    }
}

/// Reads a body whole, up to `bytes_max`.
pub async fn read_whole(body: axum::body::Body, headers: &HeaderMap, bytes_max: usize) -> Result<Bytes, ApiError> {
    read(body, headers, bytes_max, |_| Ok(())).await
}

/// Reads a body whole. `charge` is told how much has come, and may refuse it.
async fn read(
    body: axum::body::Body,
    headers: &HeaderMap,
    bytes_max: usize,
    mut charge: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    refuse_encoding(headers)?;
    let too_large =
        || ApiError::too_large(format!("the body is larger than the {bytes_max} bytes that this call takes"));
    if HttpBody::size_hint(&body).lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut body = body;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| of_axum(&error))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            charge(whole.len() + data.len())?;
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

/// A body that was read whole, and the memory that it takes.
pub struct Whole {
    bytes: Bytes,
    _held: Vec<Held>,
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of JSON whole, up to `bytes_max`: in [`JSON_TIME_MAX`], into the memory of the request's account.
pub async fn read_json(body: axum::body::Body, parts: &Parts, bytes_max: usize) -> Result<Whole, ApiError> {
    let memory = memory_of(parts);
    let mut held = Vec::new();
    let mut held_bytes = 0;
    let charge = |bytes: usize| -> Result<(), ApiError> {
        let Some((memory, sharer)) = &memory else { return Ok(()) };
        while held_bytes < bytes {
            held.push(memory.take(sharer, CHARGE_BYTES)?);
            held_bytes += CHARGE_BYTES;
        }
        Ok(())
    };
    let reading = read(body, &parts.headers, bytes_max, charge);
    let bytes = match &memory {
        Some(_) => in_time(reading).await?,
        // Nobody's request, and no server's.
        None => reading.await?,
    };
    Ok(Whole { bytes, _held: held })
}

/// Memory of the request's account, for a body that is taken apart as it comes and is `bytes` at most.
pub fn reserve(parts: &Parts, bytes: usize) -> Result<Option<Held>, ApiError> {
    memory_of(parts).map(|(memory, sharer)| memory.take(&sharer, bytes)).transpose()
}

/// What becomes of a body of JSON, unless it takes longer than such a body may.
pub async fn in_time<T>(reading: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let late = |_| Err(ApiError::from(&BodyError::Long { whole: JSON_TIME_MAX }));
    tokio::time::timeout(JSON_TIME_MAX, reading).await.unwrap_or_else(late)
}

/// A compressed body could be anything once it is unpacked; no client of this API sends one.
pub fn refuse_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(()) };
    if encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    let message = format!("a body with Content-Encoding \"{encoding}\" is not taken; send it without compression");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::UNSUPPORTED_MEDIA, message))
}

/// Why a body ended, once axum has wrapped it.
pub fn of_axum(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return error.into();
        }
        next = error.source();
    }
    ApiError::bad_body(format!("the body could not be read: {error}"))
}
