//! Why a request did not come back with a response.

use std::{error::Error, fmt, io, iter, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{Range, RequestBodyError};

/// The address filter said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The host of the URL: a name, or the address itself.
    pub host: String,
    pub port: u16,
    /// The address that the connection would have reached.
    pub address: IpAddr,
    /// The range that forbids it.
    pub range: Range,
    /// Whether the worker may be told of addresses.
    pub explained: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, address, range, explained } = self;
        write!(f, "{host}:{port} is not reachable from a worker: ")?;
        if !explained {
            return f.write_str("it is at no address of the public Internet");
        }
        if host.trim_matches(['[', ']']) != address.to_string() {
            write!(f, "it is at {address}, and ")?;
        }
        write!(f, "{} is {}; to allow it in development: --allow-net {host}:{port}", range.prefix, range.kind)
    }
}

impl Error for Refusal {}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the URL names no host")]
    NoHost,
    #[error("{host} does not resolve")]
    Resolve { host: String, source: Arc<io::Error> },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("no connection to {host}:{port}")]
    Tcp { host: String, port: u16, source: Arc<io::Error> },
    #[error("no TLS with {host}")]
    Tls { host: String, source: Arc<dyn Error + Send + Sync> },
    #[error("no connection to {host} within {allowed:?}")]
    Timeout { host: String, allowed: Duration },
    #[error("{host} has {allowed} connections from here already, and none was free within {waited:?}")]
    HostBusy { host: String, allowed: usize, waited: Duration },
}

/// The caller did not admit a request; it knows why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the request was not admitted")]
pub struct Denied;

/// Why a request did not come back with a response.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("setting up TLS")]
    TlsConfig(#[source] rustls::Error),
    #[error("a file of certificates cannot be read: {0}")]
    Pem(String),
    #[error("`{url}` is not a URL that can be fetched")]
    Url { url: String },
    #[error("the scheme `{scheme}:` cannot be fetched; http: and https: can")]
    Scheme { scheme: String },
    #[error("the method {method} cannot be fetched")]
    Method { method: http::Method },
    /// The caller's [`Admit`](crate::Admit) said no.
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Connect(ConnectError),
    #[error("no response headers within {allowed:?}")]
    HeadersTimeout { allowed: Duration },
    #[error("the response's headers are larger than {allowed} bytes")]
    HeadersTooLarge { allowed: usize },
    #[error("the response switches protocols, which was not asked for")]
    UnexpectedUpgrade,
    #[error("more than {allowed} redirects")]
    TooManyRedirects { allowed: usize },
    #[error("a redirect to `{location}`, and redirects were to be errors")]
    Redirected { location: String },
    #[error("a redirect to `{location}`, which is not a URL that can be fetched")]
    RedirectLocation { location: String },
    #[error("a redirect with status {status} asks for the request's body again, and a stream can be sent once only")]
    RedirectBody { status: http::StatusCode },
    #[error(transparent)]
    RequestBody(RequestBodyError),
    #[error("the connection failed before the response")]
    Transport(#[source] Box<dyn Error + Send + Sync>),
    /// The server answered the handshake with an HTTP response of its own.
    #[error("the server did not open a WebSocket; it answered {}", .response.status())]
    WebSocketRefused { response: Box<http::Response<Bytes>> },
    #[error("the WebSocket handshake failed")]
    WebSocketHandshake(#[source] Box<tokio_tungstenite::tungstenite::Error>),
}

// === impl OutboundError ===

impl OutboundError {
    /// What the client library reports, told apart by its causes.
    pub(crate) fn of_client(error: hyper_util::client::legacy::Error, headers_bytes_max: usize) -> Self {
        for cause in causes(&error) {
            if let Some(connect) = cause.downcast_ref::<ConnectError>() {
                return Self::Connect(connect.clone());
            }
            if let Some(body) = cause.downcast_ref::<RequestBodyError>() {
                return Self::RequestBody(body.clone());
            }
            if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
                return Self::HeadersTooLarge { allowed: headers_bytes_max };
            }
        }
        Self::Transport(Box::new(error))
    }

    /// The filter's refusal, if that is what stopped the request.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Connect(ConnectError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }
}

/// The error and what caused it, through I/O errors too, which hide theirs from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    })
}
