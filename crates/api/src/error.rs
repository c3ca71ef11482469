//! What a client is told when it cannot have what it asked for.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::envelope::{Failure, Problem};

/// Codes that clients of Cloudflare's API tell apart, as far as the API itself (and not the control plane) answers them.
pub mod code {
    /// A token is missing, unknown, or may not do that.
    pub const AUTHENTICATION: u32 = 10_000;
    /// The path leads nowhere.
    pub const NO_ROUTE: u32 = 7003;
    /// The method is not one of the path's.
    pub const METHOD_NOT_ALLOWED: u32 = 10_405;
    /// The body is not what the call takes.
    pub const BAD_BODY: u32 = 10_001;
    /// A parameter of the path or the query is not what the call takes.
    pub const BAD_PARAMETER: u32 = 10_002;
    /// The upload, or what it says of itself, is not valid.
    pub const BAD_UPLOAD: u32 = 10_021;
    /// The body, or a part of it, is larger than allowed.
    pub const TOO_LARGE: u32 = 10_027;
    /// The body came too slowly.
    pub const TOO_SLOW: u32 = 10_408;
    /// A content type or encoding that is not understood.
    pub const UNSUPPORTED_MEDIA: u32 = 10_415;
    /// Too many requests.
    pub const TOO_MANY: u32 = 10_429;
    /// The head of the request is not HTTP.
    pub const BAD_HEAD: u32 = 10_400;
    /// The head of the request is larger than allowed.
    pub const HEAD_TOO_LARGE: u32 = 10_431;
    /// Our own fault.
    pub const INTERNAL: u32 = 10_013;
}

/// A failure on its way to the client.
#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: u32,
    pub message: String,
    /// Further lines, each an error of its own in the envelope.
    pub notes: Vec<Problem>,
    /// Boxed: few failures have it.
    pub meta: Option<Box<Value>>,
    /// When it is worth trying again, in seconds.
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    /// A failure with one message.
    pub fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), notes: Vec::new(), meta: None, retry_after_s: None }
    }

    /// The body, or what it says, is not what the call takes.
    pub fn bad_body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_BODY, message)
    }

    /// A parameter of the path or the query is not what the call takes.
    pub fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_PARAMETER, message)
    }

    /// Nobody is known by the credentials, or there are none.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code::AUTHENTICATION, message)
    }

    /// Larger than allowed.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code::TOO_LARGE, message)
    }

    /// Too many requests; worth trying again after `seconds`.
    pub fn too_many(message: impl Into<String>, seconds: u64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, code::TOO_MANY, message);
        error.retry_after_s = Some(seconds);
        error
    }

    /// Our own fault. The log has the cause; the client does not.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(cause), "a request failed by our own fault");
        let message = "the platform failed to do this; its log says why. Trying again may help";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let first = Problem { code: self.code, message: self.message, meta: self.meta.map(|meta| *meta) };
        let errors = std::iter::once(first).chain(self.notes).collect();
        let mut response = (self.status, Json(Failure::new(errors))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An error with its sources, on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(formatter, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

impl From<selvedge_control::ControlError> for ApiError {
    fn from(error: selvedge_control::ControlError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            return Self::internal(&error);
        }
        if status.is_server_error() {
            tracing::error!(%error, "a request failed by our own fault");
        }
        let mut answer = Self::new(status, error.code(), error.to_string());
        if let selvedge_control::ControlError::InheritInvalid { further, .. } = error {
            let note = |other: selvedge_control::ControlError| Problem {
                code: other.code(),
                message: other.to_string(),
                meta: None,
            };
            answer.notes = further.into_iter().map(note).collect();
        }
        answer
    }
}
