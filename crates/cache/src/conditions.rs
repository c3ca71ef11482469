//! The conditions a request may put on an answer (RFC 9110 §13). Pure.
//!
//! Entity tags are read leniently: whatever stands between the quotes counts, because workers make their own.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, header};

/// An entity tag, borrowed from a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntityTag<'a> {
    is_weak: bool,
    opaque: &'a str,
}

/// Whether the client already has what is stored: `If-None-Match`, else `If-Modified-Since`.
pub(crate) fn is_unmodified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        // Present, it outranks the date even if nothing in it can be read.
        let etag = text(stored, header::ETAG).and_then(EntityTag::parse);
        return etag.is_some_and(|etag| none_match_names(request, etag));
    }
    match (date(request, header::IF_MODIFIED_SINCE), date(stored, header::LAST_MODIFIED)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Whether `Range` may be answered: without `If-Range`, or when it names exactly what is stored.
pub(crate) fn allows_range(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(condition) = condition.to_str() else {
        return false;
    };
    if let Some(asked) = EntityTag::parse(condition) {
        let etag = text(stored, header::ETAG).and_then(EntityTag::parse);
        return !asked.is_weak && etag == Some(asked);
    }
    let asked = httpdate::parse_http_date(condition).ok();
    asked.is_some() && asked == date(stored, header::LAST_MODIFIED)
}

fn none_match_names(request: &HeaderMap, etag: EntityTag<'_>) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.trim() == "*" || members(list).any(|tag| tag.opaque == etag.opaque))
}

/// The entity tags of a list. A comma inside quotes belongs to the tag.
fn members(list: &str) -> impl Iterator<Item = EntityTag<'_>> {
    let mut quoted = false;
    list.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        character == ',' && !quoted
    })
    .filter_map(EntityTag::parse)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    text(headers, name).and_then(|text| httpdate::parse_http_date(text.trim()).ok())
}

// === impl EntityTag ===

impl<'a> EntityTag<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (is_weak, quoted) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
        Some(Self { is_weak, opaque })
    }
}
