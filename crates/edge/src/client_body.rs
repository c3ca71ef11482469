//! The body of a client's request, whichever protocol brings it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http3::{QuicBody, QuicBodyError};

/// The body of a client's request.
pub enum ClientBody {
    /// By HTTP/1.1 or HTTP/2.
    Hyper(Incoming),
    /// By HTTP/3.
    Quic(Box<QuicBody>),
}

/// Why a client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ClientBodyError {
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    #[error(transparent)]
    Quic(#[from] QuicBodyError),
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        match self.get_mut() {
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(ClientBodyError::Hyper),
            Self::Quic(body) => body.poll_data(cx).map(|data| data.map(|data| Ok(Frame::data(data?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Quic(body) => body.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Quic(body) => body.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
