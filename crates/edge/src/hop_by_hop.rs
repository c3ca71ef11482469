//! Headers of one connection, which go no further than that.

use std::collections::HashSet;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Headers that speak of one connection and go no further.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Names that `Connection` has besides those of headers, or that it cannot take away: what the protocols here handle
/// themselves, and how long a body is.
const NOT_TAKEN_AWAY: [&str; 6] = ["", "close", "keep-alive", "upgrade", "content-length", "host"];

/// Whether a header goes no further than one connection. An upgrade to a WebSocket is the worker's to make.
pub fn is_hop_by_hop(name: &HeaderName, value: &HeaderValue) -> bool {
    HOP_BY_HOP.contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
        || *name == header::UPGRADE && !value.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// What a head's `Connection` says of its other headers: that these go no further either (RFC 9110, section 7.6.1).
pub fn named_by_connection(headers: &HeaderMap) -> HashSet<String> {
    headers.get_all(header::CONNECTION).iter().flat_map(named_by).collect()
}

/// The same of one value.
pub fn named_by(connection: &HeaderValue) -> Vec<String> {
    let is_named = |name: &&str| !NOT_TAKEN_AWAY.iter().any(|other| name.eq_ignore_ascii_case(other));
    let names = connection.to_str().unwrap_or_default().split(',').map(str::trim).filter(is_named);
    names.map(str::to_ascii_lowercase).collect()
}
