//! Headers that belong to the connection, not to the message (RFC 9110, section 7.6.1), and those that say where a
//! message ends or who it is for. A worker's are dropped; the connection writes its own.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{self, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, RANGE},
};

/// Codings that [`decode`](crate::decode) undoes.
const ACCEPTED_CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br");
/// A part of a coded body cannot be decoded.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const FRAMING: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::EXPECT];

/// Names that one `Connection` header can add; more are not honest.
const CONNECTION_NAMES_MAX: usize = 32;

/// What a worker may not say about the connection.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in FRAMING {
        headers.remove(name);
    }
}

/// What the server said about the connection, which ends here.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Fills in what a request needs and its worker left out.
pub(crate) fn complete_request(method: &Method, headers: &mut HeaderMap, body_is_empty: bool) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        let codings = if headers.contains_key(RANGE) { IDENTITY } else { ACCEPTED_CODINGS };
        headers.insert(ACCEPT_ENCODING, codings);
    }
    // A server may otherwise wait for the body of a method that usually has one (RFC 9110, section 8.6).
    if body_is_empty && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// What the headers take in HTTP/1.1: `name: value`, and the end of the line.
pub(crate) fn size_bytes(headers: &HeaderMap) -> usize {
    const SEPARATORS_BYTES: usize = 4;

    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS_BYTES).sum()
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .take(CONNECTION_NAMES_MAX)
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn framing_and_connection_headers_are_dropped() {
        let mut headers = map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("x-kept", "2"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("host", "internal"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "x"),
            ("expect", "100-continue"),
        ]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("x-kept", "2")]));
    }

    #[test]
    fn response_keeps_its_length() {
        let mut headers = map(&[("content-length", "5"), ("connection", "keep-alive")]);
        clean_response(&mut headers);
        assert_eq!(headers, map(&[("content-length", "5")]));
    }

    #[test]
    fn codings_are_asked_for_unless_the_worker_chose() {
        let mut headers = HeaderMap::new();
        complete_request(&Method::GET, &mut headers, true);
        assert_eq!(headers[ACCEPT_ENCODING], "gzip, deflate, br");

        let mut headers = map(&[("accept-encoding", "zstd")]);
        complete_request(&Method::GET, &mut headers, true);
        assert_eq!(headers[ACCEPT_ENCODING], "zstd");

        let mut headers = map(&[("range", "bytes=0-1")]);
        complete_request(&Method::GET, &mut headers, true);
        assert_eq!(headers[ACCEPT_ENCODING], "identity");
    }

    #[test]
    fn empty_post_has_a_length() {
        let mut headers = HeaderMap::new();
        complete_request(&Method::POST, &mut headers, true);
        assert_eq!(headers[CONTENT_LENGTH], "0");
        let mut headers = HeaderMap::new();
        complete_request(&Method::POST, &mut headers, false);
        assert!(!headers.contains_key(CONTENT_LENGTH));
    }
}
