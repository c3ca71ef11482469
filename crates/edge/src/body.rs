//! The bodies of the edge's responses.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use selvedge_door::{Chunk, Inbound, Reset, ResetCode};

use crate::coding::CodedBody;
use crate::late::Late;

/// Any error that ends a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub enum EdgeBody {
    Full(Option<Bytes>),
    Door(DoorBody),
    Boxed(BoxBody<Bytes, BodyError>),
    Coded(Box<CodedBody>),
    /// A body, then some more.
    Followed(Box<EdgeBody>, Option<Bytes>),
}

impl EdgeBody {
    /// This body with `more` after its end.
    pub fn followed_by(self, more: Bytes) -> Self {
        Self::Followed(Box::new(self), Some(more))
    }

    /// This body, for the head of which no length may be told.
    pub fn of_no_known_length(self) -> Self {
        self.followed_by(Bytes::new())
    }

    pub fn coded(body: CodedBody) -> Self {
        Self::Coded(Box::new(body))
    }

    /// A body that is there whole.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }

    /// What an isolate sends, of `length` bytes if that is known.
    pub fn door(inbound: Inbound, length: Option<u64>, late: impl FnOnce() -> Late) -> Self {
        match inbound.complete() {
            Some(bytes) => Self::full(bytes),
            None => Self::Door(DoorBody::answer(inbound, length, late())),
        }
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Door(body) => Pin::new(body).poll_frame(cx),
            Self::Boxed(body) => Pin::new(body).poll_frame(cx),
            Self::Coded(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Followed(body, more) => match ready!(Pin::new(body.as_mut()).poll_frame(cx)) {
                None => Poll::Ready(more.take().map(|more| Ok(Frame::data(more)))),
                frame => Poll::Ready(frame),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Door(body) => body.inbound.is_none(),
            Self::Boxed(body) => body.is_end_stream(),
            Self::Coded(body) => body.is_end_stream(),
            Self::Followed(_, more) => more.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Door(_) | Self::Coded(_) | Self::Followed(..) => SizeHint::default(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// A body arriving by the host door.
///
/// Whoever it is sent to may drop it before its end, and what that means differs:
/// - an answer's body of which bytes are left: the client is gone, and the isolate is told;
/// - an upload's body: the server has the length it was promised, or answers without reading on. Its answer takes the
///   same stream, so that goes on, and what is left of the body is thrown away.
pub struct DoorBody {
    inbound: Option<Inbound>,
    /// Bytes that the receiver still waits for, where it was told how many there are.
    left: Option<u64>,
    upload: bool,
    /// Whom an answer that fails is told to.
    late: Option<Box<Late>>,
}

impl DoorBody {
    /// The body of an answer, of `length` bytes if that is known.
    pub fn answer(inbound: Inbound, length: Option<u64>, late: Late) -> Self {
        Self { inbound: Some(inbound), left: length, upload: false, late: Some(Box::new(late)) }
    }

    /// The body of a request to the world.
    pub fn upload(inbound: Inbound) -> Self {
        Self { inbound: Some(inbound), left: None, upload: true, late: None }
    }
}

impl Body for DoorBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Some(inbound) = &mut this.inbound else {
                return Poll::Ready(None);
            };
            match ready!(inbound.poll_chunk(cx)) {
                None => this.inbound = None,
                Some(Ok(Chunk::Data(data))) => {
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Ok(_)) => {}
                Some(Err(reset)) => {
                    this.inbound = None;
                    if let Some(late) = &this.late {
                        late.ended(&reset);
                    }
                    return Poll::Ready(Some(Err(Box::new(reset))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inbound.is_none()
    }
}

impl Drop for DoorBody {
    fn drop(&mut self) {
        if self.upload || self.left == Some(0) {
            return;
        }
        if let Some(inbound) = self.inbound.take() {
            if let Some(late) = &self.late {
                late.abandoned();
            }
            inbound.cancel(&Reset::new(ResetCode::Cancelled, "the client went away"));
        }
    }
}
