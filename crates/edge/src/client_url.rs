//! The URL that a client's request is for, written as a URL parser writes it: what finds the worker, what the worker reads
//! in `request.url` and what its `new URL(request.url)` gives are one. Pure.

use std::net::Ipv4Addr;

use http::uri::PathAndQuery;
use url::Url;

use crate::client_head::split;

/// Host and target of a request, as a URL has them.
#[derive(Debug, PartialEq, Eq)]
pub struct Normal {
    /// The port is left out where it is the scheme's own.
    pub authority: String,
    pub target: PathAndQuery,
}

/// Why a request is for no URL.
#[derive(Debug, thiserror::Error)]
pub enum NoUrl {
    #[error("its host and target make no URL")]
    Parse(#[from] url::ParseError),
    #[error("its target is none")]
    Target(#[from] http::uri::InvalidUri),
}

/// What host and target are as a URL has them; none where they are that already, as nearly all are.
pub fn normal(scheme: &str, authority: &str, target: &str) -> Result<Option<Normal>, NoUrl> {
    if is_normal_authority(scheme, authority) && is_normal_target(target) {
        return Ok(None);
    }
    // Joined as text, so that a path of `//evil.example` stays a path.
    let slash = if target.starts_with('/') { "" } else { "/" };
    let url = Url::parse(&format!("{scheme}://{authority}{slash}{target}"))?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok(Some(Normal { authority: url.authority().to_owned(), target: PathAndQuery::try_from(target)? }))
}

/// Whether a URL would have an authority as it is. A no may be wrong, and costs time only.
fn is_normal_authority(scheme: &str, authority: &str) -> bool {
    let (name, port) = split(authority);
    let is_normal_name = |name: &str| {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        // A name that ends in a number is an address; one in Punycode may be none.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_name = last.starts_with(|first: char| first.is_ascii_alphabetic()) && !name.contains("xn--");
        name.bytes().all(is_plain) && (is_name || name.parse::<Ipv4Addr>().is_ok())
    };
    let own_port = if scheme == "https" { "443" } else { "80" };
    let is_normal_port =
        if port.is_empty() { !authority.ends_with(':') } else { !port.starts_with('0') && port != own_port };
    is_normal_port && is_normal_name(name)
}

/// Whether a URL would have a target as it is. A no may be wrong, and costs time only.
fn is_normal_target(target: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'?' | b'%' | b'=' | b'&' | b'-' | b'.' | b'_' | b'~' | b'+' | b'!' | b'$')
            || matches!(byte, b'(' | b')' | b'*' | b',' | b';' | b':' | b'@')
    };
    target.starts_with('/') && target.bytes().all(is_plain) && !target.contains("/.") && !has_encoded_dot(target)
}

/// A segment of `%2e` is one of a dot.
fn has_encoded_dot(target: &str) -> bool {
    target.split('%').skip(1).any(|rest| rest.as_bytes().get(..2).is_some_and(|code| code.eq_ignore_ascii_case(b"2e")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(scheme: &str, authority: &str, target: &str) -> String {
        match normal(scheme, authority, target).unwrap() {
            Some(Normal { authority, target }) => format!("{scheme}://{authority}{target}"),
            None => format!("{scheme}://{authority}{target}"),
        }
    }

    #[test]
    fn a_url_is_what_a_parser_makes_of_it() {
        for (scheme, authority, target) in [
            ("http", "EXAMPLE.com", "/"),
            ("http", "example.com:80", "/"),
            ("https", "example.com:443", "/a?b"),
            ("https", "example.com:80", "/"),
            ("http", "example.com:", "/"),
            ("http", "example.com:0080", "/"),
            ("http", "127.0.0.1:8787", "/"),
            ("http", "127.1", "/"),
            ("http", "[::1]:8787", "/"),
            ("http", "[0:0:0:0:0:0:0:1]", "/"),
            ("http", "xn--bcher-kva.example", "/"),
            ("http", "a_b.example", "/"),
            ("http", "a.b", "/a/../b"),
            ("http", "a.b", "/a/./b/."),
            ("http", "a.b", "/a/%2E%2e/b"),
            ("http", "a.b", "/../.."),
            ("http", "a.b", "//evil.example/x"),
            ("http", "a.b", "/é?ö"),
            ("http", "a.b", "/a|b^c\"{d}'e`f[g]"),
            ("http", "a.b", "/?a|b^c\"{d}'e`f[g]"),
            ("http", "a.b", "/a\\b"),
            ("http", "a.b", "/%zz%"),
            ("http", "a.b", "/?"),
            ("http", "a.b", "/?a=/../b&c=%2e"),
            ("http", "a.b", "/a.b/c..d/e%20f;g=h,i:j@k!l$m&n(o)*p+q~r"),
        ] {
            let parsed = Url::parse(&format!("{scheme}://{authority}{target}")).unwrap();
            assert_eq!(url(scheme, authority, target), parsed.as_str());
        }
        assert_eq!(url("http", "a.b", "*"), "http://a.b/*");
    }

    #[test]
    fn what_is_normal_costs_nothing() {
        for (authority, target) in [
            ("example.com", "/"),
            ("hello.localhost:8787", "/a/b.html?c=d&e=%20"),
            ("127.0.0.1:8787", "/assets/index-0f3a.js"),
        ] {
            assert_eq!(normal("http", authority, target).unwrap(), None, "{authority} {target}");
        }
    }

    #[test]
    fn what_makes_no_url_is_an_error() {
        for authority in ["a%00b", "a b", "a<b", "256.256.256.256"] {
            assert!(normal("http", authority, "/").is_err(), "{authority}");
        }
    }
}
