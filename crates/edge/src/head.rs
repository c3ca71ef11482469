//! Between HTTP heads and the head blocks of the host door.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::ext::ReasonPhrase;
use selvedge_door::{Head, HeadBuilder, HeadError};

use crate::hop_by_hop::{is_hop_by_hop, named_by, named_by_connection};

const NO_REASON: ReasonPhrase = ReasonPhrase::from_static(b"");
/// Different names that a head's headers may have. `HeaderMap` panics where there are too many: it takes 6,553 whichever
/// they are, so there is room for what the edge says of its own.
const NAMES_MAX: usize = 4096;

/// A head block that opens a stream.
pub fn open(
    target: &str,
    method: &str,
    url: &str,
    meta: &str,
    headers: &HeaderMap,
    further: &[(&str, &str)],
) -> Result<Vec<u8>, HeadError> {
    let mut builder = HeadBuilder::new();
    builder.field(target.as_bytes())?.field(method.as_bytes())?.field(url.as_bytes())?.field(meta.as_bytes())?;
    for (name, value) in headers {
        let ours = further.iter().any(|(known, _)| *known == name.as_str());
        if !ours && !is_hop_by_hop(name, value) {
            builder.field(name.as_str().as_bytes())?.field(value.as_bytes())?;
        }
    }
    for (name, value) in further {
        builder.field(name.as_bytes())?.field(value.as_bytes())?;
    }
    Ok(builder.finish())
}

/// A head block that answers a stream.
pub fn respond(status: StatusCode, meta: &str, headers: &HeaderMap) -> Result<Vec<u8>, HeadError> {
    let mut builder = HeadBuilder::new();
    let named = named_by_connection(headers);
    let text = status.canonical_reason().unwrap_or_default();
    builder.field(status.as_str().as_bytes())?.field(text.as_bytes())?.field(meta.as_bytes())?;
    for (name, value) in headers {
        if !is_hop_by_hop(name, value) && !named.contains(name.as_str()) {
            builder.field(name.as_str().as_bytes())?.field(value.as_bytes())?;
        }
    }
    Ok(builder.finish())
}

/// Why an isolate's head block is not an HTTP head.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadHead {
    #[error("the response's status is not a number from 100 to 599")]
    Status,
    #[error("the response has a header that is not one: {0:?}")]
    Header(String),
    #[error("the response's headers take {used} bytes")]
    TooLarge { used: u64 },
    #[error("there are more than {NAMES_MAX} different headers")]
    TooMany,
}

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    pub status: StatusCode,
    /// Where it is not the status's own: what HTTP/1.1 has behind the number.
    pub reason: Option<ReasonPhrase>,
    pub headers: HeaderMap,
}

/// The head of an answer, of at most `bytes_max`.
pub fn answer(head: &Head, bytes_max: u32) -> Result<AnswerHead, BadHead> {
    let used = head.0.len() as u64;
    if used > u64::from(bytes_max) {
        return Err(BadHead::TooLarge { used });
    }
    let status = StatusCode::from_bytes(head.field(0)).map_err(|_| BadHead::Status)?;
    Ok(AnswerHead { status, reason: reason(status, head.field(1)), headers: headers(head, 3)? })
}

fn reason(status: StatusCode, text: &[u8]) -> Option<ReasonPhrase> {
    match status.canonical_reason() {
        Some(usual) if text.is_empty() || text == usual.as_bytes() => None,
        // An empty one is said too: where there is none, hyper writes a word of its own.
        _ => Some(ReasonPhrase::try_from(text).unwrap_or(NO_REASON)),
    }
}

/// The headers of a head block, given how many fields stand before them.
pub fn headers(head: &Head, skip: usize) -> Result<HeaderMap, BadHead> {
    let mut map = HeaderMap::new();
    let mut named = Vec::new();
    for (name, value) in head.headers(skip) {
        let bad = || BadHead::Header(String::from_utf8_lossy(name).into_owned());
        let name = HeaderName::from_bytes(name).map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(value).map_err(|_| bad())?;
        if name == header::CONNECTION {
            named.extend(named_by(&value));
        } else if !is_hop_by_hop(&name, &value) {
            add(&mut map, name, value)?;
        }
    }
    for name in named {
        map.remove(name.as_str());
    }
    Ok(map)
}

/// Adds a header that an isolate sent.
pub fn add(map: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), BadHead> {
    map.try_append(name, value).map_err(|_| BadHead::TooMany)?;
    if map.keys_len() > NAMES_MAX { Err(BadHead::TooMany) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head as an isolate sends it.
    fn sent(fields: &[&str]) -> Head {
        let mut builder = HeadBuilder::new();
        for field in fields {
            builder.field(field.as_bytes()).unwrap();
        }
        Head(builder.finish().into())
    }

    #[test]
    fn an_answer_keeps_its_reason() {
        for (status, text, reason) in [
            ("200", "", None),
            ("200", "OK", None),
            ("200", "Fine", Some("Fine")),
            ("299", "Odd Text", Some("Odd Text")),
            ("299", "", Some("")),
            ("200", "\u{1}", Some("")),
        ] {
            let head = answer(&sent(&[status, text, ""]), 1000).unwrap();
            assert_eq!(head.reason.as_ref().map(ReasonPhrase::as_bytes), reason.map(str::as_bytes), "{status} {text}");
        }
    }

    #[test]
    fn a_head_of_too_many_headers_is_refused() {
        let lines = |names: usize| {
            let mut fields = vec!["200".to_owned(), String::new(), String::new()];
            fields.extend((0..names).flat_map(|number| [format!("x-{number}"), String::new()]));
            sent(&fields.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(answer(&lines(NAMES_MAX), u32::MAX).unwrap().headers.len(), NAMES_MAX);
        // The last are more than a `HeaderMap` takes.
        for names in [NAMES_MAX + 1, 30_000] {
            assert_eq!(answer(&lines(names), u32::MAX).unwrap_err(), BadHead::TooMany);
        }
        // The same name again is another matter.
        let fields = ["200", "", ""].into_iter().chain(["x-one", "1"].into_iter().cycle().take(60_000));
        assert_eq!(answer(&sent(&fields.collect::<Vec<_>>()), u32::MAX).unwrap().headers.len(), 30_000);
    }

    #[test]
    fn what_is_of_one_connection_ends_there() {
        let lines = "x-kept|1|connection|close, X-Named|x-named|2|keep-alive|3|te|4|upgrade|h2c|http2-settings|5";
        let head = sent(&lines.split('|').collect::<Vec<_>>());
        let map = headers(&head, 0).unwrap();
        assert_eq!(map, HeaderMap::from_iter([(HeaderName::from_static("x-kept"), HeaderValue::from_static("1"))]));

        let mut request = HeaderMap::new();
        request.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        request.insert(header::CONNECTION, HeaderValue::from_static("x-named, Upgrade"));
        request.insert("x-named", HeaderValue::from_static("6"));
        let forwarded = Head(respond(StatusCode::OK, "", &request).unwrap().into());
        let names: Vec<&[u8]> = forwarded.headers(3).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"upgrade"[..]]);
    }
}
