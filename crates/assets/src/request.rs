//! What of a request decides how it is answered.

use http::{HeaderMap, Method, header, request::Parts};
use url::Url;

use crate::pattern::Target;

/// Longest URL that is looked at, in bytes; a longer one names no asset.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// Where a request is taken to be if it does not say so legibly. `.invalid` names no host (RFC 2606).
const NOWHERE: &str = "http://host.invalid/";

/// A request, its URL parsed as the platform's workers see it: dot segments resolved, backslashes turned.
#[derive(Clone, Debug)]
pub struct AssetRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    url: Option<Url>,
    /// `https://host/path`, for rules.
    rule_url: String,
}

// === impl AssetRequest ===

impl<'a> AssetRequest<'a> {
    /// `scheme` and `authority` are those the client used; `path_and_query` is raw.
    pub fn new(
        method: &'a Method,
        scheme: &str,
        authority: &str,
        path_and_query: &str,
        headers: &'a HeaderMap,
    ) -> Self {
        let url = parse(scheme, authority, path_and_query);
        let rule_url = url.as_ref().map(|url| {
            let host = url.host_str().unwrap_or_default();
            format!("https://{host}{}", url.path())
        });
        Self { method, headers, url, rule_url: rule_url.unwrap_or_default() }
    }

    /// Takes scheme and host from the URI if it has them, else `http` and the `Host` header.
    pub fn from_parts(parts: &'a Parts) -> Self {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        Self::new(
            &parts.method,
            parts.uri.scheme_str().unwrap_or("http"),
            authority.unwrap_or_default(),
            path,
            &parts.headers,
        )
    }

    /// `None` for a URL that is too long to look at.
    pub(crate) fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }

    pub(crate) fn path(&self) -> &str {
        self.url.as_ref().map_or("/", Url::path)
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target { path: self.path(), url: &self.rule_url }
    }
}

fn parse(scheme: &str, authority: &str, path_and_query: &str) -> Option<Url> {
    if authority.len() + path_and_query.len() > URL_BYTES_MAX {
        return None;
    }
    let slash = if path_and_query.starts_with('/') { "" } else { "/" };
    let origin = Url::parse(&format!("{scheme}://{authority}/")).ok().filter(is_origin);
    let origin = origin.or_else(|| Url::parse(NOWHERE).ok())?;
    // Joined as text, so that a path of `//evil.com` stays a path.
    let origin = origin.as_str().trim_end_matches('/');
    Url::parse(&format!("{origin}{slash}{path_and_query}")).ok()
}

/// Whether a URL is `http(s)://host[:port]/` and nothing more.
fn is_origin(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(path: &str) -> String {
        let (method, headers) = (Method::GET, HeaderMap::new());
        AssetRequest::new(&method, "http", "example.com", path, &headers).path().to_owned()
    }

    #[test]
    fn paths_are_those_a_worker_would_see() {
        for (raw, path) in [
            ("/a/../b?c", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("//evil.com/x", "//evil.com/x"),
            ("/\\evil.com", "//evil.com"),
            ("/a b", "/a%20b"),
            ("/%2f..%2f", "/%2f..%2f"),
            ("*", "/*"),
            ("", "/"),
            ("/@evil.com", "/@evil.com"),
        ] {
            assert_eq!(path_of(raw), path, "{raw}");
        }
    }

    #[test]
    fn a_host_that_is_none_changes_nothing_else() {
        let (method, headers) = (Method::GET, HeaderMap::new());
        for authority in ["", "a b", "[", "x/../..", "a?b", "a#b", "a@b", "a:b@c"] {
            let request = AssetRequest::new(&method, "http", authority, "/x", &headers);
            assert_eq!(request.path(), "/x", "{authority}");
        }
        let request = AssetRequest::new(&method, "ftp", "example.com", "/x", &headers);
        assert_eq!(request.target().url, "https://host.invalid/x");
    }

    #[test]
    fn an_over_long_url_is_not_looked_at() {
        let (method, headers) = (Method::GET, HeaderMap::new());
        let path = format!("/{}", "x".repeat(URL_BYTES_MAX));
        assert!(AssetRequest::new(&method, "http", "a.b", &path, &headers).url().is_none());
    }
}
