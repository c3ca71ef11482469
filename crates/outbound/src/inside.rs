//! Hosts that are served by whoever sends the request: their requests do not go by the network.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use crate::{BoxError, body::Outgoing};

/// A body that does not go by the network.
pub type InsideBody = UnsyncBoxBody<Bytes, BoxError>;
/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = http::Response<InsideBody>> + Send + 'a>>;

/// Answers the requests to hosts that are served here: the first, and those that redirects ask for.
pub trait Inside: Send + Sync {
    /// Whether what is at a URL is served here.
    fn serves(&self, uri: &Uri) -> bool;

    /// Answers a request to such a URL.
    fn answer(&self, request: http::Request<InsideBody>) -> Answering<'_>;
}

/// The body of an answer, from wherever it comes.
pub(crate) enum Arriving {
    World(Incoming),
    Inside(InsideBody),
}

/// Why the body of an answer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    World(#[from] hyper::Error),
    /// Whoever is served here says why.
    #[error("{0}")]
    Inside(BoxError),
}

/// The request as one that arrives: with the length of its body, and for a body that comes as it is.
pub(crate) fn arriving(
    method: Method,
    uri: Uri,
    headers: http::HeaderMap,
    body: Outgoing,
) -> http::Request<InsideBody> {
    let length = body.size_hint().exact().filter(|length| *length > 0);
    let mut request = http::Request::new(body.map_err(Into::into).boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    if let Some(length) = length {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    request
}

/// The answer, as the standard has it: none to HEAD has a body.
pub(crate) fn answered(method: &Method, response: http::Response<InsideBody>) -> http::Response<Arriving> {
    let head_only = *method == Method::HEAD;
    response.map(|body| {
        let none = || Empty::new().map_err(|never| match never {}).boxed_unsync();
        Arriving::Inside(if head_only { none() } else { body })
    })
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = TransferError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TransferError>>> {
        match self.get_mut() {
            Self::World(body) => Pin::new(body).poll_frame(cx).map_err(TransferError::World),
            Self::Inside(body) => Pin::new(body).poll_frame(cx).map_err(TransferError::Inside),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::World(body) => body.is_end_stream(),
            Self::Inside(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::World(body) => body.size_hint(),
            Self::Inside(body) => body.size_hint(),
        }
    }
}
