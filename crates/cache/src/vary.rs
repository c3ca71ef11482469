//! Which requests a stored response answers.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The request headers a response varies by, with the values it was stored for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variant(Box<[Varied]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Varied {
    name: HeaderName,
    /// `None`: the request does not have the header.
    value: Option<Box<[u8]>>,
}

/// The names in `Vary`, or `None` for `*`. Names that cannot be header names vary by nothing.
pub(crate) fn varied_names(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for value in response.get_all(header::VARY) {
        for name in value.to_str().unwrap_or("*").split(',').map(str::trim) {
            if name.contains('*') {
                return None;
            }
            if let Ok(name) = name.parse::<HeaderName>()
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    // A body without a content coding suits every `Accept-Encoding`. Without this, a response stored under a bare
    // URL would never again answer a browser's request.
    if !response.contains_key(header::CONTENT_ENCODING) {
        names.retain(|name| name != header::ACCEPT_ENCODING);
    }
    Some(names)
}

// === impl Variant ===

impl Variant {
    pub(crate) fn new(names: Vec<HeaderName>, request: &HeaderMap) -> Self {
        let varied = names.into_iter().map(|name| Varied { value: combined(request, &name), name });
        Self(varied.collect())
    }

    pub(crate) fn answers(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|varied| combined(request, &varied.name) == varied.value)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|varied| varied.name.as_str().len() + varied.value.as_ref().map_or(0, |value| value.len()))
            .sum()
    }
}

/// All values of a header as one list; white space around members is not significant (RFC 9111 §4.1).
fn combined(headers: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    if !headers.contains_key(name) {
        return None;
    }
    let members = headers.get_all(name).iter().flat_map(members);
    Some(members.collect::<Vec<_>>().join(&b',').into())
}

fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn values_are_compared_as_lists() {
        let variant = Variant::new(vec![header::ACCEPT_LANGUAGE], &headers(&[("accept-language", "en,  de")]));
        assert!(variant.answers(&headers(&[("accept-language", " en , de")])));
        assert!(!variant.answers(&headers(&[("accept-language", "de, en")])));
        assert!(!variant.answers(&headers(&[])));
    }

    #[test]
    fn an_absent_header_is_a_value_of_its_own() {
        let variant = Variant::new(vec![header::ACCEPT], &headers(&[]));
        assert!(variant.answers(&headers(&[("x-other", "1")])));
        assert!(!variant.answers(&headers(&[("accept", "")])));
    }

    #[test]
    fn accept_encoding_counts_only_for_encoded_bodies() {
        let plain = headers(&[("vary", "Accept-Encoding, X-A")]);
        assert_eq!(varied_names(&plain), Some(vec![HeaderName::from_static("x-a")]));
        let encoded = headers(&[("vary", "accept-encoding"), ("content-encoding", "br")]);
        assert_eq!(varied_names(&encoded), Some(vec![header::ACCEPT_ENCODING]));
    }

    #[test]
    fn a_star_anywhere_varies_by_everything() {
        assert_eq!(varied_names(&headers(&[("vary", "accept, *")])), None);
    }
}
