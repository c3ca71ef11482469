//! Between HTTP heads and the head blocks of the host door.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use selvedge_door::{Head, HeadBuilder, HeadError};

/// Headers that speak of one connection and go no further.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Whether a header goes no further than one connection.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || name.as_str() == "keep-alive" || name.as_str() == "proxy-connection"
}

/// A head block that opens a stream.
pub fn open(
    target: &str,
    method: &str,
    url: &str,
    meta: &str,
    headers: &HeaderMap,
    further: &[(&str, &str)],
) -> Result<Vec<u8>, HeadError> {
    let mut builder = HeadBuilder::new();
    builder.field(target.as_bytes())?.field(method.as_bytes())?.field(url.as_bytes())?.field(meta.as_bytes())?;
    for (name, value) in headers {
        let ours = further.iter().any(|(known, _)| *known == name.as_str());
        if !ours && !is_hop_by_hop(name) {
            builder.field(name.as_str().as_bytes())?.field(value.as_bytes())?;
        }
    }
    for (name, value) in further {
        builder.field(name.as_bytes())?.field(value.as_bytes())?;
    }
    Ok(builder.finish())
}

/// A head block that answers a stream.
pub fn respond(status: StatusCode, meta: &str, headers: &HeaderMap) -> Result<Vec<u8>, HeadError> {
    let mut builder = HeadBuilder::new();
    let text = status.canonical_reason().unwrap_or_default();
    builder.field(status.as_str().as_bytes())?.field(text.as_bytes())?.field(meta.as_bytes())?;
    for (name, value) in headers {
        if !is_hop_by_hop(name) {
            builder.field(name.as_str().as_bytes())?.field(value.as_bytes())?;
        }
    }
    Ok(builder.finish())
}

/// Why an isolate's head block is not an HTTP head.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadHead {
    #[error("the response's status is not a number from 100 to 599")]
    Status,
    #[error("the response has a header that is not one: {0:?}")]
    Header(String),
    #[error("the response's headers take {used} bytes")]
    TooLarge { used: u64 },
}

/// The status and headers of an answer, of at most `bytes_max`.
pub fn answer(head: &Head, bytes_max: u32) -> Result<(StatusCode, HeaderMap), BadHead> {
    let used = head.0.len() as u64;
    if used > u64::from(bytes_max) {
        return Err(BadHead::TooLarge { used });
    }
    let status = StatusCode::from_bytes(head.field(0)).map_err(|_| BadHead::Status)?;
    Ok((status, headers(head, 3)?))
}

/// The headers of a head block, given how many fields stand before them.
pub fn headers(head: &Head, skip: usize) -> Result<HeaderMap, BadHead> {
    let mut map = HeaderMap::new();
    for (name, value) in head.headers(skip) {
        let bad = || BadHead::Header(String::from_utf8_lossy(name).into_owned());
        let name = HeaderName::from_bytes(name).map_err(|_| bad())?;
        if !is_hop_by_hop(&name) {
            let value = HeaderValue::from_bytes(value).map_err(|_| bad())?;
            map.append(name, value);
        }
    }
    Ok(map)
}
