//! The body of a request, on its way out.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::Instant;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a request sends. Bytes can be sent again when a redirect asks for it, a stream cannot.
#[derive(Default)]
pub struct RequestBody(Source);

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Full(Bytes),
    Stream {
        stream: UnsyncBoxBody<Bytes, BoxError>,
        length: Option<u64>,
    },
    /// A stream that was sent.
    Spent,
}

/// Why a request's body ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestBodyError {
    #[error("the request's body failed")]
    Source(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("the request's body is {declared} bytes by its length, and {sent} or more in fact")]
    Longer { declared: u64, sent: u64 },
    #[error("the request's body is {declared} bytes by its length, and {sent} in fact")]
    Shorter { declared: u64, sent: u64 },
}

/// When the last byte of a body was handed to the connection.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    last_millis: AtomicU64,
}

/// One sending of a body.
pub(crate) struct Outgoing {
    source: Source,
    sent: u64,
    progress: Arc<Progress>,
}

// === impl RequestBody ===

impl RequestBody {
    pub fn empty() -> Self {
        Self(Source::Empty)
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self(Source::Empty) } else { Self(Source::Full(bytes)) }
    }

    /// A stream. Its exact size hint, if it has one, becomes the request's `Content-Length`, and is held to.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self(Source::Empty);
        }
        let length = body.size_hint().exact();
        let stream = body.map_err(Into::into).boxed_unsync();
        Self(Source::Stream { stream, length })
    }

    /// A stream of `length` bytes, as `FixedLengthStream` makes.
    pub fn stream_of_length<B>(body: B, length: u64) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let stream = body.map_err(Into::into).boxed_unsync();
        Self(Source::Stream { stream, length: Some(length) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Source::Empty)
    }

    /// Whether the body can be sent another time.
    pub(crate) fn can_repeat(&self) -> bool {
        matches!(self.0, Source::Empty | Source::Full(_))
    }

    pub(crate) fn send(&mut self, progress: Arc<Progress>) -> Outgoing {
        let source = match &self.0 {
            Source::Empty => Source::Empty,
            Source::Full(bytes) => Source::Full(bytes.clone()),
            Source::Stream { .. } | Source::Spent => std::mem::replace(&mut self.0, Source::Spent),
        };
        Outgoing { source, sent: 0, progress }
    }
}

// === impl Progress ===

impl Progress {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), last_millis: AtomicU64::new(0) }
    }

    pub(crate) fn touch(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Counts a frame against the declared length. `None` is the end.
    fn count(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), RequestBodyError> {
        let data = frame.and_then(Frame::data_ref).map_or(0, Bytes::len);
        let data = u64::try_from(data).unwrap_or(u64::MAX);
        self.sent = self.sent.saturating_add(data);
        let Source::Stream { length: Some(declared), .. } = self.source else {
            return Ok(());
        };
        let sent = self.sent;
        if sent > declared {
            return Err(RequestBodyError::Longer { declared, sent });
        }
        if frame.is_none() && sent < declared {
            return Err(RequestBodyError::Shorter { declared, sent });
        }
        Ok(())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let frame = match &mut self.source {
            Source::Empty | Source::Spent => None,
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Source::Stream { stream, .. } => ready!(Pin::new(stream).poll_frame(cx)),
        };
        self.progress.touch();
        let frame = frame.transpose().map_err(|error| RequestBodyError::Source(error.into()));
        Poll::Ready(match frame {
            Ok(frame) => match self.count(frame.as_ref()) {
                Ok(()) => frame.map(Ok),
                Err(error) => Some(Err(error)),
            },
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty | Source::Spent => true,
            Source::Full(bytes) => bytes.is_empty(),
            // The end is polled for even so: a body that is too short is found there.
            Source::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = match &self.source {
            Source::Empty | Source::Spent => Some(0),
            Source::Full(bytes) => u64::try_from(bytes.len()).ok(),
            Source::Stream { length, .. } => length.map(|length| length.saturating_sub(self.sent)),
        };
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    async fn send(mut body: RequestBody) -> Result<Bytes, RequestBodyError> {
        let outgoing = body.send(Arc::new(Progress::new()));
        Ok(outgoing.collect().await?.to_bytes())
    }

    fn chunks(chunks: &'static [&'static str]) -> impl Body<Data = Bytes, Error = BoxError> + Send {
        StreamBody::new(futures_util::stream::iter(chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from(*chunk))))))
    }

    #[tokio::test]
    async fn bytes_are_sent_as_often_as_asked() {
        let mut body = RequestBody::full("abc");
        for _ in 0..2 {
            assert!(body.can_repeat());
            let outgoing = body.send(Arc::new(Progress::new()));
            assert_eq!(outgoing.size_hint().exact(), Some(3));
            assert_eq!(outgoing.collect().await.unwrap().to_bytes(), "abc");
        }
    }

    #[tokio::test]
    async fn stream_is_sent_once() {
        let mut body = RequestBody::stream(chunks(&["ab", "c"]));
        assert!(!body.can_repeat());
        let first = body.send(Arc::new(Progress::new()));
        assert_eq!(first.collect().await.unwrap().to_bytes(), "abc");
        assert!(!body.can_repeat());
    }

    #[tokio::test]
    async fn stream_is_held_to_its_length() {
        let of_length = |length| RequestBody::stream_of_length(chunks(&["ab", "c"]), length);
        assert_eq!(send(of_length(3)).await.unwrap(), "abc");
        assert!(matches!(send(of_length(2)).await, Err(RequestBodyError::Longer { declared: 2, sent: 3 })));
        assert!(matches!(send(of_length(4)).await, Err(RequestBodyError::Shorter { declared: 4, sent: 3 })));
    }

    #[test]
    fn nothing_is_nothing_however_it_is_said() {
        assert!(RequestBody::full("").is_empty());
        assert!(RequestBody::stream(Full::new(Bytes::new())).is_empty());
        assert!(RequestBody::default().is_empty());
    }
}
