//! Patterns that lead requests to workers: `example.com/*`, `*.example.com/images/*`, `https://example.com/login`.
//!
//! - The host may begin with `*.` (every host below, not the host itself) or with `*` (the host itself, too). No other
//!   place in it takes a wildcard. A wildcard stands for whole labels: `*example.com` is never `myexample.com`, which
//!   may be somebody else's.
//! - The path may end with `*`, which stands for anything, also nothing and further `/`. No other place in it takes one.
//!   A pattern without a path is of the path `/` alone. Paths are compared byte by byte, as they are sent.
//! - Without `http://` or `https://` a pattern is for both. Neither port nor query belongs into one.
//!
//! Of several that match, the most specific wins: see [`RoutePattern::specificity`].

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest pattern, in bytes.
pub const ROUTE_BYTES_MAX: usize = 1024;
/// The longest host name, in bytes, as DNS has it.
const HOST_BYTES_MAX: usize = 253;
/// The longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// The text is not a route pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {ROUTE_BYTES_MAX} bytes")]
    TooLong,
    #[error("only http:// and https:// may stand before the host")]
    Scheme,
    #[error("it has no host")]
    NoHost,
    #[error("a port has no place in it: patterns are for the ports that the platform listens on")]
    Port,
    #[error("a user name or password has no place in it")]
    UserInfo,
    #[error("a wildcard in the host must be its first character")]
    HostWildcard,
    #[error(
        "the host is not a name: labels of 1 to 63 letters, digits, - and _, with dots between; other scripts as xn--…"
    )]
    Host,
    #[error("a wildcard in the path must be its last character")]
    PathWildcard,
    #[error("a query or fragment has no place in it")]
    Query,
    #[error("the path has a character that is never sent as it is: it must be percent-encoded")]
    Path,
}

/// Which scheme a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteScheme {
    Any,
    Http,
    Https,
}

/// What a pattern's host may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostWildcard {
    /// The host alone.
    None,
    /// `*.example.com`: what is below the host.
    Below,
    /// `*example.com`: the host, and what is below it.
    SelfAndBelow,
}

/// A pattern, checked. Its text is in lower case as far as the host goes, and always has a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePattern {
    scheme: RouteScheme,
    wildcard: HostWildcard,
    host: Box<str>,
    path: Box<str>,
    path_open: bool,
}

/// How specific a pattern is: of two that match one request, the greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity {
    host_exact: bool,
    host_bytes: usize,
    host_below: bool,
    path_bytes: usize,
    path_exact: bool,
    scheme: bool,
}

impl FromStr for RoutePattern {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        if text.is_empty() {
            return Err(RouteError::Empty);
        }
        if text.len() > ROUTE_BYTES_MAX {
            return Err(RouteError::TooLong);
        }
        let (scheme, rest) = match text.split_once("://") {
            // A path may hold `://`.
            Some((before, _)) if before.contains('/') => (RouteScheme::Any, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (RouteScheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (RouteScheme::Https, rest),
            Some(_) => return Err(RouteError::Scheme),
            None => (RouteScheme::Any, text),
        };
        if rest.contains(['?', '#']) {
            return Err(RouteError::Query);
        }
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (wildcard, host) = parse_host(host)?;
        let (path, path_open) = parse_path(path)?;
        Ok(Self { scheme, wildcard, host, path, path_open })
    }
}

fn parse_host(text: &str) -> Result<(HostWildcard, Box<str>), RouteError> {
    let (wildcard, host) = if let Some(host) = text.strip_prefix("*.") {
        (HostWildcard::Below, host)
    } else if let Some(host) = text.strip_prefix('*') {
        (HostWildcard::SelfAndBelow, host)
    } else {
        (HostWildcard::None, text)
    };
    if host.is_empty() {
        return Err(RouteError::NoHost);
    }
    if host.contains('*') {
        return Err(RouteError::HostWildcard);
    }
    if host.contains('@') {
        return Err(RouteError::UserInfo);
    }
    if host.contains(':') {
        return Err(RouteError::Port);
    }
    if !is_host_name(host) {
        return Err(RouteError::Host);
    }
    Ok((wildcard, host.to_ascii_lowercase().into()))
}

fn parse_path(text: &str) -> Result<(Box<str>, bool), RouteError> {
    let (path, open) = match text.strip_suffix('*') {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.contains('*') {
        return Err(RouteError::PathWildcard);
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`')) {
        return Err(RouteError::Path);
    }
    Ok((path.into(), open))
}

/// Whether the text can be a host name: labels of letters, digits, `-` and `_`, with dots between.
pub fn is_host_name(text: &str) -> bool {
    text.len() <= HOST_BYTES_MAX
        && text.split('.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

impl RoutePattern {
    /// The scheme that it is for.
    pub fn scheme(&self) -> RouteScheme {
        self.scheme
    }

    /// The host, in lower case, without its wildcard.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What the host begins with.
    pub fn wildcard(&self) -> HostWildcard {
        self.wildcard
    }

    /// The path, without its wildcard. Begins with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the path goes on with anything: it ended with `*`.
    pub fn path_open(&self) -> bool {
        self.path_open
    }

    /// Whether it is for requests to that host (in lower case, without a port).
    pub fn matches_host(&self, host: &str) -> bool {
        let below = || {
            host.strip_suffix(&*self.host)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|below| !below.is_empty())
        };
        match self.wildcard {
            HostWildcard::None => host == &*self.host,
            HostWildcard::Below => below(),
            HostWildcard::SelfAndBelow => host == &*self.host || below(),
        }
    }

    /// Whether it is for requests to that host (in lower case, without a port) and path (without the query).
    pub fn matches(&self, host: &str, path: &str) -> bool {
        let path_matches = if self.path_open { path.starts_with(&*self.path) } else { path == &*self.path };
        path_matches && self.matches_host(host)
    }

    /// Whether it is for requests that came over TLS, or for those that did not.
    pub fn matches_scheme(&self, tls: bool) -> bool {
        match self.scheme {
            RouteScheme::Any => true,
            RouteScheme::Http => !tls,
            RouteScheme::Https => tls,
        }
    }

    /// A host without a wildcard before one with; the longer host; `*.` before `*`; the longer path; a path that ends
    /// before one that goes on; a scheme before none.
    pub fn specificity(&self) -> Specificity {
        Specificity {
            host_exact: self.wildcard == HostWildcard::None,
            host_bytes: self.host.len(),
            host_below: self.wildcard == HostWildcard::Below,
            path_bytes: self.path.len(),
            path_exact: !self.path_open,
            scheme: self.scheme != RouteScheme::Any,
        }
    }

    /// For sorting: the most specific first; ties by their text, so that there is one order.
    pub fn by_specificity(one: &Self, other: &Self) -> Ordering {
        other.specificity().cmp(&one.specificity()).then_with(|| one.to_string().cmp(&other.to_string()))
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            RouteScheme::Any => "",
            RouteScheme::Http => "http://",
            RouteScheme::Https => "https://",
        };
        let wildcard = match self.wildcard {
            HostWildcard::None => "",
            HostWildcard::Below => "*.",
            HostWildcard::SelfAndBelow => "*",
        };
        let open = if self.path_open { "*" } else { "" };
        write!(formatter, "{scheme}{wildcard}{}{}{open}", self.host, self.path)
    }
}

impl TryFrom<String> for RoutePattern {
    type Error = RouteError;

    fn try_from(text: String) -> Result<Self, RouteError> {
        text.parse()
    }
}

impl From<RoutePattern> for String {
    fn from(pattern: RoutePattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> RoutePattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_read_and_write_with_their_host_in_lower_case() {
        for (text, written) in [
            ("example.com/*", "example.com/*"),
            ("Example.COM/Path*", "example.com/Path*"),
            ("*.example.com/images/*", "*.example.com/images/*"),
            ("*example.com/", "*example.com/"),
            ("example.com", "example.com/"),
            ("HTTPS://example.com/a", "https://example.com/a"),
            ("http://*.example.com/*", "http://*.example.com/*"),
            ("example.com/https://x", "example.com/https://x"),
        ] {
            assert_eq!(pattern(text).to_string(), written);
            assert_eq!(serde_json::to_value(pattern(text)).unwrap(), written);
        }
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_its_reason() {
        for (text, error) in [
            ("", RouteError::Empty),
            ("/*", RouteError::NoHost),
            ("*", RouteError::NoHost),
            ("*/*", RouteError::NoHost),
            ("*.", RouteError::NoHost),
            ("ftp://example.com/", RouteError::Scheme),
            ("example.com:8080/*", RouteError::Port),
            ("me@example.com/*", RouteError::UserInfo),
            ("www.*.com/*", RouteError::HostWildcard),
            ("**.example.com/*", RouteError::HostWildcard),
            ("example.com/*.jpg", RouteError::PathWildcard),
            ("example.com/**", RouteError::PathWildcard),
            ("example.com/?a=*", RouteError::Query),
            ("example.com/#a", RouteError::Query),
            ("exa mple.com/", RouteError::Host),
            ("-a.example.com/", RouteError::Host),
            ("a..example.com/", RouteError::Host),
            ("example.com./", RouteError::Host),
            ("bücher.example/", RouteError::Host),
            ("example.com/ä", RouteError::Path),
            ("example.com/a b", RouteError::Path),
            ("example.com/a\n", RouteError::Path),
        ] {
            assert_eq!(text.parse::<RoutePattern>(), Err(error), "{text}");
        }
        assert_eq!(format!("a.com/{}", "a".repeat(2000)).parse::<RoutePattern>(), Err(RouteError::TooLong));
        assert_eq!(format!("{}.com/", "a".repeat(64)).parse::<RoutePattern>(), Err(RouteError::Host));
    }

    #[test]
    fn a_wildcard_of_the_host_stands_for_whole_labels() {
        for (text, host, matches) in [
            ("example.com/*", "example.com", true),
            ("example.com/*", "www.example.com", false),
            ("*.example.com/*", "www.example.com", true),
            ("*.example.com/*", "a.b.example.com", true),
            ("*.example.com/*", "example.com", false),
            ("*.example.com/*", ".example.com", false),
            ("*example.com/*", "example.com", true),
            ("*example.com/*", "www.example.com", true),
            ("*example.com/*", "myexample.com", false),
            ("*example.com/*", "example.com.evil.test", false),
        ] {
            assert_eq!(pattern(text).matches(host, "/x"), matches, "{text} {host}");
        }
    }

    #[test]
    fn a_wildcard_of_the_path_stands_for_anything() {
        for (text, path, matches) in [
            ("example.com", "/", true),
            ("example.com", "/a", false),
            ("example.com/", "/", true),
            ("example.com/a", "/a", true),
            ("example.com/a", "/a/", false),
            ("example.com/a*", "/a", true),
            ("example.com/a*", "/abc/d", true),
            ("example.com/a/*", "/a", false),
            ("example.com/a/*", "/a/", true),
            ("example.com/A*", "/a", false),
        ] {
            assert_eq!(pattern(text).matches("example.com", path), matches, "{text} {path}");
        }
    }

    #[test]
    fn schemes_are_told_apart() {
        assert!(pattern("example.com/*").matches_scheme(true) && pattern("example.com/*").matches_scheme(false));
        assert!(pattern("https://example.com/*").matches_scheme(true));
        assert!(!pattern("https://example.com/*").matches_scheme(false));
        assert!(!pattern("http://example.com/*").matches_scheme(true));
    }

    #[test]
    fn the_most_specific_comes_first() {
        let sorted = [
            "https://www.example.com/a/b",
            "www.example.com/a/b",
            "www.example.com/a/b*",
            "www.example.com/a/*",
            "www.example.com/*",
            "*.www.example.com/*",
            "*.example.com/a*",
            "*.example.com/*",
            "*example.com/a/b/c",
            "*example.com/*",
        ];
        let mut patterns: Vec<_> = sorted.iter().rev().map(|text| pattern(text)).collect();
        patterns.sort_by(RoutePattern::by_specificity);
        assert_eq!(patterns.iter().map(ToString::to_string).collect::<Vec<_>>(), sorted);
    }
}
