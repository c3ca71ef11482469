//! The bounds, and where the world ends.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::AllowRule;

/// From the first look-up of a name to a connection with TLS done.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// From the last byte sent to the response's headers; the big platforms' edge waits as long for an origin.
pub const RESPONSE_HEADERS_TIMEOUT_DEFAULT: Duration = Duration::from_secs(100);
/// How long a connection that nobody uses stays open.
pub const POOL_IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Connections to one host and port, of all workers together.
pub const CONNECTIONS_PER_HOST_MAX_DEFAULT: usize = 1_024;
/// Connections to one host and port, of the workers of one account.
pub const CONNECTIONS_PER_ACCOUNT_HOST_MAX_DEFAULT: usize = 64;
/// The head of one response.
pub const RESPONSE_HEADERS_BYTES_MAX_DEFAULT: usize = 64 * 1024;
/// One WebSocket message, in either direction.
pub const WEBSOCKET_MESSAGE_BYTES_MAX_DEFAULT: usize = 1024 * 1024;
/// What a WebSocket message may be configured to at most.
pub const WEBSOCKET_MESSAGE_BYTES_CEILING: usize = 32 * 1024 * 1024;

/// What an [`Outbound`](crate::Outbound) may reach, and its bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Destinations that are allowed though their addresses are private.
    pub allow: Vec<AllowRule>,
    /// Whether workers are told at which private address a host is: to their authors in development.
    pub refusals_explained: bool,
    pub connect_timeout: Duration,
    /// Counted anew whenever a byte of the request's body is sent.
    pub response_headers_timeout: Duration,
    pub pool_idle_timeout: Duration,
    pub connections_per_host_max: usize,
    pub connections_per_account_host_max: usize,
    pub response_headers_bytes_max: usize,
    /// At most [`WEBSOCKET_MESSAGE_BYTES_CEILING`].
    pub websocket_message_bytes_max: usize,
    /// Certificate authorities trusted besides Mozilla's.
    pub roots_extra: Vec<CertificateDer<'static>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            refusals_explained: true,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            response_headers_timeout: RESPONSE_HEADERS_TIMEOUT_DEFAULT,
            pool_idle_timeout: POOL_IDLE_TIMEOUT_DEFAULT,
            connections_per_host_max: CONNECTIONS_PER_HOST_MAX_DEFAULT,
            connections_per_account_host_max: CONNECTIONS_PER_ACCOUNT_HOST_MAX_DEFAULT,
            response_headers_bytes_max: RESPONSE_HEADERS_BYTES_MAX_DEFAULT,
            websocket_message_bytes_max: WEBSOCKET_MESSAGE_BYTES_MAX_DEFAULT,
            roots_extra: Vec::new(),
        }
    }
}
