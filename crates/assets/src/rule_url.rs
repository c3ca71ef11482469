//! URLs as `_headers` and `_redirects` write them.

use url::Url;

/// What a rule file allows in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleUrl {
    /// The path of a `_headers` rule: a path, or `https://host/path` without a port.
    HeadersPath,
    /// The left side of a redirect: a path, without query or fragment.
    RedirectFrom,
    /// The right side of a redirect: a path or an `https` URL, with query and fragment.
    RedirectTo,
}

// === impl RuleUrl ===

impl RuleUrl {
    /// The normal form of `token`, or why it is not allowed here.
    pub(crate) fn normalize(self, token: &str) -> Result<String, String> {
        if let Some((host, path)) = split_https(token) {
            return self.normalize_absolute(token, host, path);
        }
        if token.starts_with('/') {
            return self.normalize_path(token);
        }
        match self {
            // `example.com` on the left is a path that lacks its slash.
            Self::RedirectFrom => self.normalize_path(&format!("/{token}")),
            Self::HeadersPath | Self::RedirectTo => {
                Err("URLs should either be relative (e.g. begin with a forward-slash), \
                 or use HTTPS (e.g. begin with \"https://\")."
                    .into())
            }
        }
    }

    fn normalize_absolute(self, token: &str, host: &str, path: &str) -> Result<String, String> {
        match self {
            Self::RedirectFrom => {
                return Err(format!("Only relative URLs are allowed. Skipping absolute URL {token}."));
            }
            Self::HeadersPath if has_port(host) => {
                return Err(format!("Specifying ports is not supported. Skipping absolute URL {token}."));
            }
            Self::HeadersPath | Self::RedirectTo => {}
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = self.normalize_path(&format!("{slash}{path}"))?;
        Ok(format!("https://{host}{path}"))
    }

    /// `path` (with its leading slash) as a URL parser writes it: escaped, dot segments resolved.
    fn normalize_path(self, path: &str) -> Result<String, String> {
        // A scheme the parser knows nothing about, so that neither slashes nor splats mean anything to it.
        let url = Url::parse(&format!("relative://{path}"))
            .map_err(|error| format!("Error parsing URL segment {path}: {error}. Skipping."))?;
        let mut normal = url.path().to_owned();
        if self == Self::RedirectTo {
            if let Some(query) = url.query().filter(|query| !query.is_empty()) {
                normal.push('?');
                normal.push_str(query);
            }
            if let Some(fragment) = url.fragment().filter(|fragment| !fragment.is_empty()) {
                normal.push('#');
                normal.push_str(fragment);
            }
        }
        Ok(normal)
    }
}

/// Whether a rule's URL names a host.
pub(crate) fn has_host(url: &str) -> bool {
    split_https(url).is_some()
}

/// `https://host/path` as host and path without its first slash.
pub(crate) fn split_https(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://")?.trim_start_matches('/');
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (!host.is_empty()).then_some((host, path))
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_takes_what_it_may() {
        use RuleUrl::{HeadersPath, RedirectFrom, RedirectTo};
        for (place, token, expected) in [
            (HeadersPath, "/some page with spaces", Some("/some%20page%20with%20spaces")),
            (HeadersPath, "/some%20page", Some("/some%20page")),
            (HeadersPath, "/://so;`me", Some("/://so;%60me")),
            (HeadersPath, "/nons:/&@%+~{}ense", Some("/nons:/&@%+~%7B%7Dense")),
            (HeadersPath, "https://yeah.com", Some("https://yeah.com/")),
            (HeadersPath, "https://:sub.yeah.com/*", Some("https://:sub.yeah.com/*")),
            (HeadersPath, "//yeah.com/blog", Some("//yeah.com/blog")),
            (HeadersPath, "http://nah.com/blog", None),
            (HeadersPath, "https://nah.com:8080", None),
            (HeadersPath, "nah.com", None),
            (RedirectFrom, "/c?this=rejected#too", Some("/c")),
            (RedirectFrom, "yeah.com", Some("/yeah.com")),
            (RedirectFrom, "/a/../b", Some("/b")),
            (RedirectFrom, "https://yeah.com", None),
            (RedirectTo, "/b?query=string#x", Some("/b?query=string#x")),
            (RedirectTo, "/b##blah-1", Some("/b##blah-1")),
            (RedirectTo, "https://a.b:1234/route?q=string#anchor", Some("https://a.b:1234/route?q=string#anchor")),
            (RedirectTo, "https://nah.com", Some("https://nah.com/")),
            (RedirectTo, "http://nah.com", None),
            (RedirectTo, "relative", None),
        ] {
            assert_eq!(place.normalize(token).ok().as_deref(), expected, "{place:?} {token}");
        }
    }
}
