//! The body of a client's request, whichever protocol brings it.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use selvedge_outbound::{BoxError, InsideBody};

use crate::http3::{QuicBody, QuicBodyError};
use crate::stall::{BODY_STALL_MAX, Stall};

enum Source {
    /// By HTTP/1.1 or HTTP/2.
    Hyper(Incoming),
    /// By HTTP/3.
    Quic(Box<QuicBody>),
    /// Of a request that a worker here makes. Whoever has it alone reads it: the lock is never waited for.
    Inside(Mutex<InsideBody>),
}

/// The body of a client's request. It fails where somebody waits for it and nothing comes for too long.
pub struct ClientBody {
    source: Source,
    stall: Stall,
}

/// Why a client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ClientBodyError {
    #[error("nothing of the request's body came for {} seconds", BODY_STALL_MAX.as_secs())]
    Stalled,
    #[error("the request's body {}", what_is_wrong(.0))]
    Hyper(#[from] hyper::Error),
    #[error(transparent)]
    Quic(#[from] QuicBodyError),
    #[error("the request's body failed: {0}")]
    Inside(BoxError),
}

// === impl ClientBody ===

impl ClientBody {
    /// Of a request by HTTP/1.1 or HTTP/2.
    pub fn hyper(body: Incoming) -> Self {
        Self { source: Source::Hyper(body), stall: Stall::new(BODY_STALL_MAX) }
    }

    /// Of a request that a worker here makes.
    pub fn inside(body: InsideBody) -> Self {
        Self { source: Source::Inside(Mutex::new(body)), stall: Stall::new(BODY_STALL_MAX) }
    }

    /// Of a request by HTTP/3.
    pub fn quic(body: QuicBody) -> Self {
        Self { source: Source::Quic(Box::new(body)), stall: Stall::new(BODY_STALL_MAX) }
    }
}

// === impl ClientBodyError ===

impl ClientBodyError {
    /// What a client is answered that can be answered still.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Hyper(_) | Self::Quic(_) | Self::Inside(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The HTTP library says of a body only what failed below it.
fn what_is_wrong(error: &hyper::Error) -> &'static str {
    let below = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match below {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            "is not valid: it is not made of chunks as RFC 9112 has them, section 7.1"
        }
        _ => "was cut off before its end",
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(ClientBodyError::Hyper),
            Source::Quic(body) => body.poll_data(cx).map(|data| data.map(|data| Ok(Frame::data(data?)))),
            Source::Inside(body) => Pin::new(body.get_mut()).poll_frame(cx).map_err(ClientBodyError::Inside),
        };
        if polled.is_pending() {
            // A worker takes the time that its own event has, as it does between workers.
            if matches!(this.source, Source::Inside(_)) {
                return Poll::Pending;
            }
            ready!(this.stall.poll_over(cx));
            this.stall.moved();
            return Poll::Ready(Some(Err(ClientBodyError::Stalled)));
        }
        this.stall.moved();
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Hyper(body) => body.is_end_stream(),
            Source::Quic(body) => body.is_over(),
            Source::Inside(body) => body.lock().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Hyper(body) => body.size_hint(),
            Source::Quic(body) => body.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Inside(body) => body.lock().size_hint(),
        }
    }
}
