//! What the head of a client's request says: which host it is for, by whose hands it came, which version it is to get.
//! Anybody may have written it. Pure.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, header};

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
fn split(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (authority, ""),
    }
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
    fn a_host_is_what_stands_before_the_port() {
        for (authority, host) in
            [("a.b:80", "a.b"), ("a.b", "a.b"), ("a.b:", "a.b"), ("[::1]", "[::1]"), ("[::1]:8", "[::1]")]
        {
            assert_eq!(host_of(authority), host);
        }
    }
}
