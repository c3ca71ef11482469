//! From a decision to an HTTP response: conditions, ranges, compression, `_headers`.

use std::io::SeekFrom;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_range_header::RangeUnsatisfiableError;
use tokio::io::{AsyncReadExt, AsyncSeekExt, BufReader};

use crate::asset::{Asset, Content, Opened, ServeError};
use crate::body::{self, AssetBody};
use crate::compress::{self, Coding, vary_by_coding};
use crate::decide::{Answer, AssetPlan};
use crate::request::AssetRequest;
use crate::set::AssetSet;
use crate::variants::Variant;

/// What a browser is told: keep it, but ask before using it.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");
const CF_CACHE_STATUS: &str = "cf-cache-status";
/// Read from a file at a time to be compressed, in bytes: what is compressed between two yields.
const COMPRESS_BUFFER_BYTES: usize = 16 * 1024;

/// What a compressed answer carries.
enum Encoded {
    /// So many bytes, if that is known.
    Body(AssetBody, Option<u64>),
    /// Nothing has compressed it yet, and something else is to be served meanwhile: the file as it is.
    NotNow(Opened),
}

enum Part {
    All,
    Unsatisfiable,
    Range(RangeInclusive<u64>),
}

// === impl AssetSet ===

impl AssetSet {
    /// Carries an answer out. `_headers` apply to every answer.
    pub async fn respond(&self, request: &AssetRequest<'_>, answer: Answer) -> Result<Response<AssetBody>, ServeError> {
        let mut headers = HeaderMap::new();
        let status = match answer {
            Answer::Serve(plan) => return self.serve(request, plan).await,
            Answer::Redirect { status, location } => {
                headers.insert(header::LOCATION, location);
                status
            }
            Answer::NotFound => StatusCode::NOT_FOUND,
            Answer::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                StatusCode::METHOD_NOT_ALLOWED
            }
        };
        self.headers.apply(request.target(), &mut headers);
        Ok(response(status, headers, body::empty()))
    }

    async fn serve(&self, request: &AssetRequest<'_>, plan: AssetPlan) -> Result<Response<AssetBody>, ServeError> {
        let opened = plan.asset.open(&self.memory).await?;
        let mut headers = asset_headers(request, &plan, &opened);
        let is_known = is_known_to_client(request.headers, &opened.etag);
        self.headers.apply(request.target(), &mut headers);
        let suits = Coding::suits(&headers, opened.bytes);
        let coding = Coding::choose(request.headers).filter(|_| suits);
        if suits {
            // Said of every answer, or a shared cache would take one of them for all.
            vary_by_coding(&mut headers);
        }
        if is_known {
            if coding.is_some() {
                weaken_tag(&mut headers, &opened.etag);
            }
            return Ok(response(StatusCode::NOT_MODIFIED, headers, body::empty()));
        }
        let opened = match coding {
            None => opened,
            Some(coding) => {
                let etag = opened.etag.clone();
                let encoded = self.encode(request.method, &plan.asset, opened, coding).await;
                match encoded.map_err(|source| plan.asset.read_error(source))? {
                    Encoded::NotNow(opened) => opened,
                    Encoded::Body(body, bytes) => {
                        weaken_tag(&mut headers, &etag);
                        headers.insert(header::CONTENT_ENCODING, coding.name());
                        if let Some(bytes) = bytes {
                            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
                        }
                        return Ok(response(plan.status, headers, body));
                    }
                }
            }
        };
        headers.entry(header::ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));

        let bytes = opened.bytes;
        let (status, range) = match part(request, plan.status, &opened) {
            Part::All => (plan.status, None),
            Part::Range(range) => {
                let text = format!("bytes {}-{}/{bytes}", range.start(), range.end());
                set(&mut headers, header::CONTENT_RANGE, &text);
                (StatusCode::PARTIAL_CONTENT, Some(range))
            }
            Part::Unsatisfiable => {
                set(&mut headers, header::CONTENT_RANGE, &format!("bytes */{bytes}"));
                return Ok(response(StatusCode::RANGE_NOT_SATISFIABLE, headers, body::empty()));
            }
        };
        let length = range.as_ref().map_or(bytes, |range| range.end() - range.start() + 1);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if *request.method == Method::HEAD {
            return Ok(response(status, headers, body::empty()));
        }
        let start = range.map_or(0, |range| *range.start());
        let body = content_body(opened.content, start, length).await.map_err(|source| plan.asset.read_error(source))?;
        Ok(response(status, headers, body))
    }

    /// What was opened, compressed: from memory, from where variants are kept, or while it is sent.
    async fn encode(
        &self,
        method: &Method,
        asset: &Arc<Asset>,
        opened: Opened,
        coding: Coding,
    ) -> std::io::Result<Encoded> {
        let is_head = *method == Method::HEAD;
        if let Content::Memory(content) = &opened.content
            && !is_head
            && let Some(encoded) = asset.encoded(content, coding, &self.memory).await?
        {
            return Ok(of_bytes(encoded));
        }
        if let Some(variants) = &self.variants
            && let Some(key) = asset.variant(&opened, coding)
        {
            let variant = if is_head {
                // Not worth making one.
                variants.kept(key).await.map(Variant::Kept)
            } else {
                Some(variants.get(key, asset.file(), opened.bytes).await)
            };
            match variant {
                Some(Variant::Kept(whole)) if is_head => return Ok(Encoded::Body(body::empty(), Some(whole.bytes))),
                Some(Variant::Kept(whole)) => {
                    let file = tokio::fs::File::from_std(whole.file);
                    return Ok(Encoded::Body(body::of_file(file, whole.bytes), Some(whole.bytes)));
                }
                Some(Variant::Following(body)) => return Ok(Encoded::Body(body, None)),
                Some(Variant::Busy) => return Ok(Encoded::NotNow(opened)),
                None => {}
            }
        }
        Ok(match opened.content {
            _ if is_head => Encoded::Body(body::empty(), None),
            Content::Memory(content) => of_bytes(coding.encode_all(content).await?),
            Content::File(file) => {
                let file = tokio::fs::File::from_std(file).take(opened.bytes);
                let reader = BufReader::with_capacity(COMPRESS_BUFFER_BYTES, file);
                Encoded::Body(body::of_reader(coding.encode(reader)), None)
            }
        })
    }
}

fn of_bytes(encoded: Bytes) -> Encoded {
    let bytes = encoded.len() as u64;
    Encoded::Body(body::of_bytes(encoded), Some(bytes))
}

/// The tag of a compressed answer. One that a rule set is the deployer's to answer for.
fn weaken_tag(headers: &mut HeaderMap, etag: &HeaderValue) {
    if headers.get(header::ETAG) == Some(etag) {
        headers.insert(header::ETAG, compress::weaken(etag));
    }
}

fn asset_headers(request: &AssetRequest<'_>, plan: &AssetPlan, opened: &Opened) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, opened.etag.clone());
    if let Some(content_type) = plan.asset.content_type() {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    let is_cacheable =
        !request.headers.contains_key(header::AUTHORIZATION) && !request.headers.contains_key(header::RANGE);
    if is_cacheable {
        headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    }
    let status = if opened.is_warm { "HIT" } else { "MISS" };
    headers.insert(CF_CACHE_STATUS, HeaderValue::from_static(status));
    headers
}

/// `If-None-Match`, compared weakly. Our tags hold no commas, so the list needs no care.
fn is_known_to_client(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let names_it = |member: &[u8]| {
        let member = member.trim_ascii();
        member == b"*" || member.strip_prefix(b"W/").unwrap_or(member) == etag.as_bytes()
    };
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| value.as_bytes().split(|byte| *byte == b',').any(names_it))
}

/// One range is answered; several, or none that makes sense, are answered with everything (RFC 9110 §14.2).
fn part(request: &AssetRequest<'_>, status: StatusCode, opened: &Opened) -> Part {
    let headers = request.headers;
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Part::All;
    };
    let is_current = headers.get(header::IF_RANGE).is_none_or(|condition| *condition == opened.etag);
    if *request.method != Method::GET || status != StatusCode::OK || !is_current {
        return Part::All;
    }
    let ranges = http_range_header::parse_range_header(range).and_then(|parsed| parsed.validate(opened.bytes));
    match ranges.as_deref() {
        Ok([range]) => Part::Range(range.clone()),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Part::Unsatisfiable,
        Ok(_) | Err(_) => Part::All,
    }
}

async fn content_body(content: Content, start: u64, length: u64) -> std::io::Result<AssetBody> {
    match content {
        Content::Memory(bytes) => Ok(body::of_bytes(slice(&bytes, start, length))),
        Content::File(file) => {
            let mut file = tokio::fs::File::from_std(file);
            if start > 0 {
                file.seek(SeekFrom::Start(start)).await?;
            }
            Ok(body::of_file(file, length))
        }
    }
}

/// `part` keeps ranges inside the content; `get` keeps a mistake there from being a panic here.
fn slice(bytes: &Bytes, start: u64, length: u64) -> Bytes {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    bytes.get(start..end).map_or_else(Bytes::new, |part| bytes.slice_ref(part))
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: AssetBody) -> Response<AssetBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
