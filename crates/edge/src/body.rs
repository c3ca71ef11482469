//! The bodies of the edge's responses.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use selvedge_door::{Chunk, Inbound, Reset, ResetCode};

/// Any error that ends a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub enum EdgeBody {
    Full(Option<Bytes>),
    Door(DoorBody),
    Boxed(BoxBody<Bytes, BodyError>),
    /// A body, then some more.
    Followed(Box<EdgeBody>, Option<Bytes>),
}

impl EdgeBody {
    /// This body with `more` after its end.
    pub fn followed_by(self, more: Bytes) -> Self {
        Self::Followed(Box::new(self), Some(more))
    }

    /// A body that is there whole.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }

    /// What an isolate sends.
    pub fn door(inbound: Inbound) -> Self {
        match inbound.complete() {
            Some(bytes) => Self::full(bytes),
            None => Self::Door(DoorBody::of_response(inbound)),
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
            Self::Followed(_, more) => more.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Door(_) | Self::Followed(..) => SizeHint::default(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// A body arriving by the host door. A response dropped before its end tells the isolate that the client is gone; of a
/// request, whose sender drops it once it has the length that was promised, the rest is let go.
pub struct DoorBody {
    inbound: Option<Inbound>,
    of_response: bool,
}

impl DoorBody {
    /// What an isolate answers.
    pub fn of_response(inbound: Inbound) -> Self {
        Self { inbound: Some(inbound), of_response: true }
    }

    /// What an isolate sends to the world.
    pub fn of_request(inbound: Inbound) -> Self {
        Self { inbound: Some(inbound), of_response: false }
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
                Some(Ok(Chunk::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Ok(_)) => {}
                Some(Err(reset)) => {
                    this.inbound = None;
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
        if let Some(inbound) = self.inbound.take().filter(|_| self.of_response) {
            inbound.cancel(&Reset::new(ResetCode::Cancelled, "the client went away"));
        }
    }
}
