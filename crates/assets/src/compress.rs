//! Which answers are compressed, and with what.

use std::io;

use async_compression::Level;
use async_compression::codecs::brotli::params::EncoderParams;
use async_compression::codecs::{self, EncodeV2};
use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt};

/// Smaller contents are not worth compressing, in bytes.
const COMPRESS_BYTES_MIN: u64 = 1024;
/// Quick rather than small: this runs on the path of a request.
pub(crate) const BROTLI_LEVEL: Level = Level::Precise(4);
pub(crate) const GZIP_LEVEL: Level = Level::Precise(5);

/// Types besides `text/*` and those ending in `+json` and `+xml` that shrink.
const COMPRESSIBLE_TYPES: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// A coding of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Brotli,
    Gzip,
}

// === impl Coding ===

impl Coding {
    /// Whether an answer with these headers and so many bytes is compressed for those who accept it.
    pub(crate) fn suits(answer: &HeaderMap, bytes: u64) -> bool {
        bytes >= COMPRESS_BYTES_MIN && Self::suits_kind(answer)
    }

    /// Whether an answer with these headers is of a kind that is compressed for those who accept it.
    pub fn suits_kind(answer: &HeaderMap) -> bool {
        !answer.contains_key(header::CONTENT_ENCODING)
            && !forbids_transform(answer)
            && answer.get(header::CONTENT_TYPE).is_some_and(shrinks)
    }

    /// The coding that has this name, alone.
    pub fn of_name(name: &HeaderValue) -> Option<Self> {
        [Self::Brotli, Self::Gzip]
            .into_iter()
            .find(|coding| name.as_bytes().eq_ignore_ascii_case(coding.text().as_bytes()))
    }

    /// Whether a request says that its sender reads this coding.
    pub fn is_accepted(self, request: &HeaderMap) -> bool {
        accepted_quality(request, self.text()) > 0
    }

    /// The coding that a client gets of what suits, or `None` to send it as it is. Ranges are of the file itself.
    pub fn choose(request: &HeaderMap) -> Option<Self> {
        if request.contains_key(header::RANGE) {
            return None;
        }
        let quality = |coding| accepted_quality(request, coding);
        let (brotli, gzip) = (quality(Self::Brotli.text()), quality(Self::Gzip.text()));
        if quality("identity") > brotli.max(gzip) {
            None
        } else if brotli > 0 && brotli >= gzip {
            Some(Self::Brotli)
        } else if gzip > 0 {
            Some(Self::Gzip)
        } else {
            None
        }
    }

    /// As `Content-Encoding` has it.
    pub fn name(self) -> HeaderValue {
        HeaderValue::from_static(self.text())
    }

    fn text(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// How the names of files end that hold what is compressed so.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gz",
        }
    }

    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        [Self::Brotli, Self::Gzip].into_iter().find(|coding| coding.extension() == extension)
    }

    /// For who compresses on a thread of their own.
    pub(crate) fn encoder(self) -> Box<dyn EncodeV2> {
        match self {
            Self::Brotli => Box::new(codecs::BrotliEncoder::new(EncoderParams::default().quality(BROTLI_LEVEL))),
            Self::Gzip => Box::new(codecs::GzipEncoder::new(GZIP_LEVEL.into())),
        }
    }

    pub(crate) fn encode<R>(self, reader: R) -> Box<dyn AsyncRead + Send + Sync + Unpin>
    where
        R: AsyncBufRead + Send + Sync + Unpin + 'static,
    {
        match self {
            Self::Brotli => Box::new(BrotliEncoder::with_quality(reader, BROTLI_LEVEL)),
            Self::Gzip => Box::new(GzipEncoder::with_quality(reader, GZIP_LEVEL)),
        }
    }

    /// Compresses small contents, all at once.
    pub(crate) async fn encode_all(self, content: Bytes) -> io::Result<Bytes> {
        let mut encoded = Vec::new();
        self.encode(io::Cursor::new(content)).read_to_end(&mut encoded).await?;
        Ok(encoded.into())
    }
}

/// Whether an answer is to reach its client as it was sent.
pub fn forbids_transform(answer: &HeaderMap) -> bool {
    answer
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("no-transform"))
}

fn shrinks(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || COMPRESSIBLE_TYPES.contains(&essence.as_str())
}

/// Thousandths, 0 for a coding that is not accepted (RFC 9110 §12.5.3).
fn accepted_quality(request: &HeaderMap, coding: &str) -> u16 {
    let mut by_star = 0;
    for value in request.get_all(header::ACCEPT_ENCODING) {
        for member in value.to_str().unwrap_or_default().split(',') {
            let mut parts = member.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let quality = weight.map_or(1000, thousandths);
            if name.eq_ignore_ascii_case(coding) {
                return quality;
            }
            if name == "*" {
                by_star = quality;
            }
        }
    }
    by_star
}

fn thousandths(weight: &str) -> u16 {
    let weight = weight.parse::<f32>().unwrap_or(0.0);
    // The cast saturates, and makes 0 of what is no number.
    (weight.clamp(0.0, 1.0) * 1000.0) as u16
}

/// The entity tag of a compressed answer: weak, because the bytes are not those of the file.
pub fn weaken(etag: &HeaderValue) -> HeaderValue {
    if etag.as_bytes().starts_with(b"W/") {
        return etag.clone();
    }
    let weak = [b"W/", etag.as_bytes()].concat();
    HeaderValue::from_maybe_shared(Bytes::from(weak)).unwrap_or_else(|_| etag.clone())
}

/// Says that the answer depends on the codings that the client accepts, where it does not say so yet.
pub fn vary_by_coding(headers: &mut HeaderMap) {
    let values = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &str, content_type: &str, bytes: u64) -> Option<Coding> {
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
        let mut answer = HeaderMap::new();
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        Coding::choose(&request).filter(|_| Coding::suits(&answer, bytes))
    }

    #[test]
    fn the_client_chooses_and_brotli_wins_ties() {
        for (accept, coding) in [
            ("gzip, deflate, br", Some(Coding::Brotli)),
            ("gzip", Some(Coding::Gzip)),
            ("br;q=0.5, gzip", Some(Coding::Gzip)),
            ("br;q=0, *", Some(Coding::Gzip)),
            ("*", Some(Coding::Brotli)),
            ("*;q=0", None),
            ("GZIP;Q=0.3", Some(Coding::Gzip)),
            ("gzip;q=nonsense", None),
            ("identity", None),
            ("identity, br;q=0.5", None),
            ("identity;q=0.2, br; q=0.5", Some(Coding::Brotli)),
            ("zstd, gzip;q=0.001", Some(Coding::Gzip)),
            ("", None),
        ] {
            assert_eq!(choose(accept, "text/html; charset=utf-8", 5000), coding, "{accept}");
        }
    }

    #[test]
    fn only_contents_that_shrink_are_compressed() {
        for (content_type, bytes, is_compressed) in [
            ("text/css; charset=utf-8", 1024, true),
            ("text/css; charset=utf-8", 1023, false),
            ("image/svg+xml", 5000, true),
            ("application/json", 5000, true),
            ("image/png", 5000, false),
            ("application/zip", 5000, false),
        ] {
            let coding = choose("br", content_type, bytes);
            assert_eq!(coding.is_some(), is_compressed, "{content_type} {bytes}");
        }
    }
}
