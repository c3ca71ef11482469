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
            None => Self::Door(DoorBody(Some(inbound))),
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
            Self::Door(body) => body.0.is_none(),
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

/// A body arriving by the host door. Dropped before its end, it tells the isolate that the client is gone.
pub struct DoorBody(Option<Inbound>);

impl DoorBody {
    /// Wraps the receiving half of a stream.
    pub fn new(inbound: Inbound) -> Self {
        Self(Some(inbound))
    }
}

impl Body for DoorBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Some(inbound) = &mut this.0 else {
                return Poll::Ready(None);
            };
            match ready!(inbound.poll_chunk(cx)) {
                None => this.0 = None,
                Some(Ok(Chunk::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Ok(_)) => {}
                Some(Err(reset)) => {
                    this.0 = None;
                    return Poll::Ready(Some(Err(Box::new(reset))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for DoorBody {
    fn drop(&mut self) {
        if let Some(inbound) = self.0.take() {
            inbound.cancel(&Reset::new(ResetCode::Cancelled, "the client went away"));
        }
    }
}
