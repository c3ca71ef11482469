//! What the head of a client's request says: which host it is for, by whose hands it came, which version it is to get.
//! Anybody may have written it. Pure.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::hop_by_hop;

/// The longest name of a host, in bytes: 253 as DNS has it, and the dot that may end it. A look-up follows the labels of
/// a name, and what remains of it behind each.
const HOST_BYTES_MAX: usize = 254;
/// Two requests that carry the same value get the same version, while shares stay as they are or move one way.
/// <https://developers.cloudflare.com/workers/configuration/versions-and-deployments/gradual-deployments/#version-affinity>
pub const VERSION_KEY_HEADER: &str = "cloudflare-workers-version-key";
/// Names the version that a request is to get, by worker: a dictionary of RFC 8941.
pub const VERSION_OVERRIDES_HEADER: &str = "cloudflare-workers-version-overrides";
/// The same as [`VERSION_KEY_HEADER`], for browsers.
pub const VERSION_KEY_COOKIE: &str = "selvedge-version-key";
/// The longest key that is looked at, in bytes.
const VERSION_KEY_BYTES_MAX: usize = 256;

/// The host and port that a request is for: the target's own, where it has one (RFC 9112, section 3.2.2), else those of its
/// one `Host` header. What is not just that would make another URL of the path that follows it, or none.
pub fn authority_of(parts: &Parts) -> Option<String> {
    let mut said = parts.headers.get_all(header::HOST).iter();
    let host = said.next();
    if said.next().is_some() {
        return None;
    }
    let authority: Authority = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        None => host?.to_str().ok()?.parse().ok()?,
    };
    let text = authority.as_str();
    let (name, port) = split(text);
    let is_name = (1..=HOST_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && !name.contains("..");
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    (is_name && is_port && !text.contains('@')).then(|| text.to_owned())
}

/// The name of the host that an authority is of.
pub fn host_of(authority: &str) -> &str {
    split(authority).0
}

/// Name and port; the port is empty where there is none.
pub fn split(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (authority, ""),
    }
}

/// Removes from a client's headers what is not for the worker: what the platform alone may say, and what is of the
/// connection; and makes of several `Cookie` fields, as HTTP/2 and 3 have them, the one that they stand for.
pub fn clean(headers: &mut HeaderMap) {
    let named = hop_by_hop::named_by_connection(headers);
    let unwanted = |name: &HeaderName| is_of_platform(name.as_str()) || named.contains(name.as_str());
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
    join_cookies(headers);
}

/// Whether a header is one by which the platform tells a worker of its client. Those of `cf-access-` are of an identity
/// proxy in front, or for one behind.
/// <https://developers.cloudflare.com/fundamentals/reference/http-headers/>
fn is_of_platform(name: &str) -> bool {
    name.starts_with("cf-") && !name.starts_with("cf-access-") || name == "true-client-ip"
}

/// RFC 9113, section 8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let fields: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&fields.join(&b"; "[..]));
    if let Ok(joined) = joined {
        headers.insert(header::COOKIE, joined);
    }
}

/// What codings the client accepts, as it says it.
pub fn accepted_codings(headers: &HeaderMap) -> Option<String> {
    let said = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = said.collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// By whose hands a request came: what the client says of those before it, then the client.
pub fn forwarded_for<'a>(headers: &HeaderMap, client: &'a str) -> Cow<'a, str> {
    if !headers.contains_key("x-forwarded-for") {
        return Cow::Borrowed(client);
    }
    let said = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    Cow::Owned(said.chain([client]).collect::<Vec<_>>().join(", "))
}

/// What decides which version a request gets: requests that say the same get the same.
pub fn version_key(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(VERSION_KEY_HEADER).and_then(|value| value.to_str().ok());
    let cookies = || {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = values.flat_map(|value| value.split(';'));
        pairs.find_map(|pair| pair.trim().strip_prefix(VERSION_KEY_COOKIE)?.strip_prefix('='))
    };
    header.or_else(cookies).filter(|key| !key.is_empty() && key.len() <= VERSION_KEY_BYTES_MAX)
}

/// The version of a worker that a request names, as it stands there.
pub fn version_named<'a>(headers: &'a HeaderMap, worker: &str) -> Option<&'a str> {
    let values = headers.get_all(VERSION_OVERRIDES_HEADER).iter().filter_map(|value| value.to_str().ok());
    let members = values.flat_map(|value| value.split(','));
    // Of a worker that is there twice, the last counts.
    members.rev().find_map(|member| {
        let (name, value) = member.trim().split_once('=')?;
        // Parameters of a value mean nothing here.
        let version = value.split(';').next().unwrap_or_default();
        (name == worker).then(|| version.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn authority(target: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        authority_of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_is_for_the_one_host_that_it_names() {
        let long = format!("{}.example", "a".repeat(246));
        for (target, hosts, expected) in [
            ("/", &["example.com"][..], Some("example.com")),
            ("/", &["example.com:8080"], Some("example.com:8080")),
            ("/", &["example.com:"], Some("example.com:")),
            ("/", &["[::1]:80"], Some("[::1]:80")),
            ("/", &[long.as_str()], Some(long.as_str())),
            ("http://example.com/", &["other.example"], Some("example.com")),
            ("http://example.com/", &[], Some("example.com")),
            ("/", &[], None),
            ("/", &["", ""], None),
            ("/", &[""], None),
            ("/", &[":80"], None),
            ("/", &["example.com."], Some("example.com.")),
            ("/", &[".example.com"], None),
            ("/", &["a..example.com"], None),
            ("/", &["."], None),
            ("/", &["example.com:99999"], None),
            ("/", &["me@example.com"], None),
            ("/", &["example.com/path"], None),
            ("/", &["a.example", "b.example"], None),
        ] {
            assert_eq!(authority(target, hosts).as_deref(), expected, "{target} {hosts:?}");
        }
        // A name that no host has costs no look-up.
        assert_eq!(authority("/", &[&format!("a{long}")]), None);
        assert_eq!(authority("/", &[&format!("{}.localhost", "-".repeat(60_000))]), None);
    }

    #[test]
    fn a_worker_is_told_what_is_for_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "a=1"),
            ("cookie", "b=2; c=3"),
            ("cookie", "d=4"),
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("cf-ipcountry", "XX"),
            ("cf-connecting-ip", "192.0.2.1"),
            ("cf-access-jwt-assertion", "kept"),
            ("cloudflare-workers-version-key", "kept"),
            ("true-client-ip", "192.0.2.1"),
            ("connection", "keep-alive, X-Of-Connection"),
            ("connection", "upgrade, content-length"),
            ("x-of-connection", "1"),
            ("upgrade", "websocket"),
            ("content-length", "3"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        clean(&mut headers);
        let mut left: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "accept: a/b",
                "accept: c/d",
                "cf-access-jwt-assertion: kept",
                "cloudflare-workers-version-key: kept",
                "connection: keep-alive, X-Of-Connection",
                "connection: upgrade, content-length",
                "content-length: 3",
                "cookie: a=1; b=2; c=3; d=4",
                "upgrade: websocket",
            ]
        );
    }

    #[test]
    fn a_host_is_what_stands_before_the_port() {
        for (authority, host) in
            [("a.b:80", "a.b"), ("a.b", "a.b"), ("a.b:", "a.b"), ("[::1]", "[::1]"), ("[::1]:8", "[::1]")]
        {
            assert_eq!(host_of(authority), host);
        }
    }
}
