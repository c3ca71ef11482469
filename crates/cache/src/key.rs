//! What an entry is stored under.

use thiserror::Error;
use url::Url;

/// Longest URL (or custom key) that can name an entry, in bytes.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// The identity of an entry: namespace (account), cache name, URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    namespace: Box<str>,
    /// `None` is `caches.default`; a cache opened by any name, even an empty one, is another cache.
    cache: Option<Box<str>>,
    id: Id,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Id {
    Url(Box<str>),
    /// `cf.cacheKey`, which may look like a URL without being one.
    Custom(Box<str>),
}

/// Why a request cannot name an entry. The text is the `TypeError` message the platform gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("Invalid URL. Cache API keys must be fully-qualified, valid URLs.")]
    InvalidUrl,
    #[error("Cache API keys must be at most {URL_BYTES_MAX} bytes; this one has {bytes}.")]
    TooLong { bytes: usize },
}

// === impl CacheKey ===

impl CacheKey {
    /// The key of a request's URL. The fragment is not part of it.
    pub fn from_url(namespace: &str, cache: Option<&str>, url: &str) -> Result<Self, KeyError> {
        check_length(url)?;
        let mut url = Url::parse(url).map_err(|_| KeyError::InvalidUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(KeyError::InvalidUrl);
        }
        url.set_fragment(None);
        Ok(Self::new(namespace, cache, Id::Url(String::from(url).into())))
    }

    /// The key a worker chose itself with `cf.cacheKey`.
    pub fn custom(namespace: &str, cache: Option<&str>, key: &str) -> Result<Self, KeyError> {
        check_length(key)?;
        Ok(Self::new(namespace, cache, Id::Custom(key.into())))
    }

    fn new(namespace: &str, cache: Option<&str>, id: Id) -> Self {
        Self { namespace: namespace.into(), cache: cache.map(Into::into), id }
    }

    /// Bytes of heap the key holds.
    pub(crate) fn bytes(&self) -> usize {
        let id = match &self.id {
            Id::Url(text) | Id::Custom(text) => text.len(),
        };
        self.namespace.len() + self.cache.as_ref().map_or(0, |name| name.len()) + id
    }
}

fn check_length(text: &str) -> Result<(), KeyError> {
    if text.len() > URL_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: text.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_http_urls_are_keys() {
        for url in ["", "/path", "example.com/x", "ftp://example.com/", "data:text/plain,x", "http://"] {
            assert_eq!(CacheKey::from_url("a", None, url), Err(KeyError::InvalidUrl), "{url}");
        }
        assert!(CacheKey::from_url("a", None, "https://example.com/x?y").is_ok());
    }

    #[test]
    fn an_over_long_url_is_refused_with_its_length() {
        let url = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
        let bytes = url.len();
        assert_eq!(CacheKey::from_url("a", None, &url), Err(KeyError::TooLong { bytes }));
        assert_eq!(CacheKey::custom("a", None, &url), Err(KeyError::TooLong { bytes }));
    }

    #[test]
    fn equivalent_urls_are_one_key_and_fragments_do_not_count() {
        let key = |url| CacheKey::from_url("a", None, url).unwrap();
        assert_eq!(key("https://EXAMPLE.com:443/a/../b#x"), key("https://example.com/b"));
        assert_ne!(key("https://example.com/b?x"), key("https://example.com/b"));
    }

    #[test]
    fn a_custom_key_never_meets_a_url() {
        let url = "https://example.com/";
        assert_ne!(CacheKey::custom("a", None, url), CacheKey::from_url("a", None, url));
    }
}
