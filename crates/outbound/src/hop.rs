//! One request of a fetch, and the next one when the answer is a redirect: "HTTP-redirect fetch" of the fetch
//! standard (<https://fetch.spec.whatwg.org/#http-redirect-fetch>), pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{self, LOCATION},
};
use url::Url;

use crate::{OutboundError, RequestBody, headers};

/// Redirects of one fetch, by the standard.
pub const REDIRECTS_MAX: usize = 20;

/// Names what happens when the answer is a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectMode {
    #[default]
    Follow,
    /// The redirect is the response.
    Manual,
    Error,
}

/// Headers that describe a body, dropped with it.
const BODY_HEADERS: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];

/// Headers that speak to one origin only. The standard names the first; browsers keep the second themselves.
const CREDENTIAL_HEADERS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, HeaderName::from_static("cookie2")];

/// One request to one URL.
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
}

// === impl Hop ===

impl Hop {
    /// The first request, with nothing in it that a worker must not decide.
    pub(crate) fn first(request: http::Request<RequestBody>) -> Result<Self, OutboundError> {
        let (mut parts, body) = request.into_parts();
        if [Method::CONNECT, Method::TRACE].contains(&parts.method) || parts.method.as_str() == "TRACK" {
            return Err(OutboundError::Method { method: parts.method });
        }
        let (url, uri) = parse_url(&parts.uri.to_string())?;
        headers::clean_request(&mut parts.headers);
        Ok(Self { method: parts.method, url, uri, headers: parts.headers, body })
    }

    /// The request that a redirect asks for.
    pub(crate) fn redirect(self, status: StatusCode, location: &HeaderValue) -> Result<Self, OutboundError> {
        let Self { mut method, url: from, mut headers, mut body, .. } = self;
        let (url, uri) = resolve_location(&from, location)?;

        if status != StatusCode::SEE_OTHER && !body.can_repeat() {
            return Err(OutboundError::RedirectBody { status });
        }
        if becomes_get(status, &method) {
            method = Method::GET;
            body = RequestBody::empty();
            remove_all(&mut headers, BODY_HEADERS);
        }
        if url.origin() != from.origin() {
            remove_all(&mut headers, CREDENTIAL_HEADERS);
        }
        Ok(Self { method, url, uri, headers, body })
    }
}

/// Where a response redirects to, if it does.
pub(crate) fn redirect_of<B>(response: &http::Response<B>) -> Option<&HeaderValue> {
    match response.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => response.headers().get(LOCATION),
        _ => None,
    }
}

/// A URL in the form that every part of a request agrees on: the host in lower case and ASCII, an address in its
/// usual spelling, no user and no fragment.
pub(crate) fn parse_url(text: &str) -> Result<(Url, Uri), OutboundError> {
    let bad = || OutboundError::Url { url: text.to_owned() };
    let mut url = Url::parse(text).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OutboundError::Scheme { scheme: url.scheme().to_owned() });
    }
    // These fail for URLs without a host only, which http: URLs have.
    url.set_username("").map_err(|()| bad())?;
    url.set_password(None).map_err(|()| bad())?;
    url.set_fragment(None);
    let uri = Uri::try_from(url.as_str()).map_err(|_| bad())?;
    Ok((url, uri))
}

fn resolve_location(from: &Url, location: &HeaderValue) -> Result<(Url, Uri), OutboundError> {
    let text = String::from_utf8_lossy(location.as_bytes());
    from.join(&text)
        .ok()
        .and_then(|url| parse_url(url.as_str()).ok())
        .ok_or_else(|| OutboundError::RedirectLocation { location: text.into_owned() })
}

fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        StatusCode::SEE_OTHER => ![Method::GET, Method::HEAD].contains(method),
        _ => false,
    }
}

fn remove_all<const N: usize>(headers: &mut HeaderMap, names: [HeaderName; N]) {
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::StreamBody;

    fn hop(method: Method, body: RequestBody) -> Hop {
        let request = http::Request::builder()
            .method(method)
            .uri("https://example.com/a/b?c")
            .header("authorization", "secret")
            .header("cookie", "secret")
            .header("content-type", "text/plain")
            .header("x-other", "kept")
            .body(body)
            .unwrap();
        Hop::first(request).unwrap()
    }

    fn stream() -> RequestBody {
        let frame = http_body::Frame::data(Bytes::from("x"));
        RequestBody::stream(StreamBody::new(futures_util::stream::iter([Ok::<_, std::io::Error>(frame)])))
    }

    fn follow(hop: Hop, status: u16, location: &'static str) -> Result<Hop, OutboundError> {
        hop.redirect(StatusCode::from_u16(status).unwrap(), &HeaderValue::from_static(location))
    }

    #[test]
    fn post_becomes_get_where_the_standard_says() {
        for (status, method, expected) in [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
        ] {
            let next = follow(hop(method.clone(), RequestBody::full("x")), status, "/y").unwrap();
            assert_eq!(next.method, expected, "{status} {method}");
            let turned = expected != method;
            assert_eq!(next.body.is_empty(), turned, "{status} {method}");
            assert_eq!(next.headers.contains_key("content-type"), !turned, "{status} {method}");
        }
    }

    #[test]
    fn stream_cannot_be_sent_again() {
        for status in [301, 302, 307, 308] {
            let mut sent = hop(Method::POST, stream());
            let _ = sent.body.send(std::sync::Arc::new(crate::body::Progress::new()));
            assert!(matches!(follow(sent, status, "/y"), Err(OutboundError::RedirectBody { .. })));
        }
        assert!(follow(hop(Method::POST, stream()), 303, "/y").is_ok());
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (location, kept) in [
            ("/same", true),
            ("https://EXAMPLE.com:443/same", true),
            ("http://example.com/", false),
            ("https://example.com:8443/", false),
            ("https://sub.example.com/", false),
            ("//other.example/", false),
        ] {
            let next = follow(hop(Method::GET, RequestBody::empty()), 302, location).unwrap();
            assert_eq!(next.headers.contains_key("authorization"), kept, "{location}");
            assert_eq!(next.headers.contains_key("cookie"), kept, "{location}");
            assert_eq!(next.headers["x-other"], "kept");
        }
    }

    #[test]
    fn location_is_relative_to_the_url() {
        let next = follow(hop(Method::GET, RequestBody::empty()), 302, "../d#e").unwrap();
        assert_eq!(next.uri, "https://example.com/d");
    }

    #[test]
    fn other_schemes_are_not_followed() {
        for location in ["file:///etc/passwd", "data:,x", "ftp://example.com/", "http://[bad/"] {
            assert!(matches!(
                follow(hop(Method::GET, RequestBody::empty()), 302, location),
                Err(OutboundError::RedirectLocation { .. })
            ));
        }
    }

    #[test]
    fn every_spelling_of_a_host_becomes_one() {
        for (text, host) in [
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0177.0.0.01/", "127.0.0.1"),
            ("http://127.1/", "127.0.0.1"),
            ("http://%31%32%37.0.0.1/", "127.0.0.1"),
            ("http://１２７.0.0.1/", "127.0.0.1"),
            ("http://[0:0:0:0:0:ffff:7f00:1]/", "[::ffff:7f00:1]"),
            ("http://LOCALHOST/", "localhost"),
            ("http://user:password@example.com/", "example.com"),
        ] {
            let (_, uri) = parse_url(text).unwrap();
            assert_eq!(uri.authority().unwrap().as_str(), host, "{text}");
        }
    }

    #[test]
    fn methods_that_open_tunnels_or_echo_are_refused() {
        for method in ["CONNECT", "TRACE", "TRACK"] {
            let request =
                http::Request::builder().method(method).uri("http://example.com/").body(RequestBody::empty()).unwrap();
            assert!(matches!(Hop::first(request), Err(OutboundError::Method { .. })));
        }
    }
}
