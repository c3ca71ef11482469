//! From a stored response and a request's conditions to the response `match` gives. Pure.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_range_header::RangeUnsatisfiableError;

use crate::conditions;

const CF_CACHE_STATUS: &str = "cf-cache-status";

/// A response as it is kept.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) stored_at: SystemTime,
    pub(crate) initial_age: Duration,
    pub(crate) stale_at: SystemTime,
}

enum Part {
    All,
    Unsatisfiable,
    One(RangeInclusive<u64>),
    Many(Vec<RangeInclusive<u64>>),
}

// === impl Stored ===

impl Stored {
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.stale_at
    }

    /// Answers `request`'s conditions (RFC 9110 §13) and range (§14).
    pub(crate) fn answer(&self, request: &HeaderMap, now: SystemTime) -> Response<Bytes> {
        let mut headers = self.headers.clone();
        let age = self.initial_age + now.duration_since(self.stored_at).unwrap_or_default();
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        headers.insert(CF_CACHE_STATUS, HeaderValue::from_static("HIT"));

        if self.status.is_success() && conditions::is_unmodified(request, &self.headers) {
            return response(StatusCode::NOT_MODIFIED, headers, Bytes::new());
        }
        match self.part(request) {
            Part::All => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
                response(self.status, headers, self.body.clone())
            }
            Part::Unsatisfiable => {
                set(&mut headers, header::CONTENT_RANGE, &format!("bytes */{}", self.body.len()));
                response(StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new())
            }
            Part::One(range) => {
                set(&mut headers, header::CONTENT_RANGE, &self.content_range(&range));
                let body = self.slice(&range);
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
                response(StatusCode::PARTIAL_CONTENT, headers, body)
            }
            Part::Many(ranges) => self.multipart(headers, &ranges),
        }
    }

    fn part(&self, request: &HeaderMap) -> Part {
        let Some(range) = request.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
            return Part::All;
        };
        if self.status != StatusCode::OK || !conditions::allows_range(request, &self.headers) {
            return Part::All;
        }
        let body_bytes = self.body.len() as u64;
        let ranges = match http_range_header::parse_range_header(range).and_then(|parsed| parsed.validate(body_bytes)) {
            Ok(ranges) => ranges,
            Err(RangeUnsatisfiableError::Unsatisfiable) => return Part::Unsatisfiable,
            // Malformed or abusive: the header is ignored (RFC 9110 §14.2).
            Err(_) => return Part::All,
        };
        match ranges.as_slice() {
            [] => Part::All,
            [range] => Part::One(range.clone()),
            many => {
                let asked = many.iter().map(|range| range.end() - range.start() + 1).sum::<u64>();
                if asked > body_bytes {
                    return Part::All;
                }
                Part::Many(ranges)
            }
        }
    }

    fn slice(&self, range: &RangeInclusive<u64>) -> Bytes {
        let start = usize::try_from(*range.start()).unwrap_or(usize::MAX);
        let end = usize::try_from(*range.end()).unwrap_or(usize::MAX);
        // `validate` kept the range inside the body; `get` keeps a mistake there from being a panic here.
        self.body.get(start..=end).map_or_else(Bytes::new, |part| self.body.slice_ref(part))
    }

    fn content_range(&self, range: &RangeInclusive<u64>) -> String {
        format!("bytes {}-{}/{}", range.start(), range.end(), self.body.len())
    }

    fn multipart(&self, mut headers: HeaderMap, ranges: &[RangeInclusive<u64>]) -> Response<Bytes> {
        let boundary = unpredictable_boundary();
        let part_type = self.headers.get(header::CONTENT_TYPE);
        let mut body = BytesMut::new();
        for range in ranges {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            if let Some(part_type) = part_type {
                body.extend_from_slice(b"Content-Type: ");
                body.extend_from_slice(part_type.as_bytes());
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("Content-Range: {}\r\n\r\n", self.content_range(range)).as_bytes());
            body.extend_from_slice(&self.slice(range));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--").as_bytes());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let multipart_type = format!("multipart/byteranges; boundary={boundary}");
        set(&mut headers, header::CONTENT_TYPE, &multipart_type);
        response(StatusCode::PARTIAL_CONTENT, headers, body.freeze())
    }
}

/// A boundary no body can have been written to hold: the standard library's random hash keys make it.
fn unpredictable_boundary() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("selvedge-{:016x}{:016x}", half(), half())
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
