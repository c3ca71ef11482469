//! Multipart bodies, part by part, with every limit enforced while they stream in.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderMap, StatusCode, header};

use crate::body::{of_axum, refuse_encoding};
use crate::error::{ApiError, code};

/// The most that may stand between two parts' contents, in bytes: a part's head, or what precedes the first boundary.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// How much is handed to the parser at once, in bytes. It searches all that it has for the end of a head, again with each
/// piece: with [`HEAD_BYTES_MAX`], that is bounded.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// The longest name of a part, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// The longest content type of a part, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// How much of everything a body may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The body, in bytes.
    pub whole_bytes_max: u64,
    /// Each part's content, in bytes.
    pub part_bytes_max: u64,
    /// A part that has a smaller limit, and that limit in bytes.
    pub special: Option<(&'static str, u64)>,
    pub parts_max: usize,
}

/// A part, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// Why a multipart body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum MultipartError {
    #[error("the body is larger than the {bytes_max} bytes that this call takes")]
    Whole { bytes_max: u64 },
    #[error("the part \"{name}\" is larger than the {bytes_max} bytes that it may have")]
    Part { name: String, bytes_max: u64 },
    #[error("the body has more than {parts_max} parts")]
    Parts { parts_max: usize },
    #[error(
        "no boundary, or no end of a part's head, within {HEAD_BYTES_MAX} bytes: is the boundary the one that \
         Content-Type names?"
    )]
    Head,
    #[error("the {number}. part has no name that is UTF-8 (Content-Disposition: form-data; name=\"…\")")]
    Unnamed { number: usize },
    #[error("the name of the {number}. part is longer than {NAME_BYTES_MAX} bytes")]
    Name { number: usize },
    #[error("the content type of the part \"{name}\" is not one")]
    ContentType { name: String },
    #[error("the body ends before its last boundary: it was cut off, or the boundary is not the one of Content-Type")]
    Truncated,
    #[error("the body is not multipart/form-data as it should be: {0}")]
    Malformed(String),
    #[error("the request has no header Content-Type: multipart/form-data; boundary=…")]
    NoBoundary,
    #[error("the body could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        match &error {
            MultipartError::Whole { .. } | MultipartError::Part { .. } | MultipartError::Parts { .. } => {
                Self::too_large(error.to_string())
            }
            MultipartError::NoBoundary => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::UNSUPPORTED_MEDIA, error.to_string())
            }
            MultipartError::Body(source) => of_axum(source.as_ref()),
            _ => Self::bad_body(error.to_string()),
        }
    }
}

/// What the stream and its reader agree on.
struct Gate {
    delivered: AtomicU64,
    /// No more than that may be delivered for now.
    allowed: AtomicU64,
    whole_bytes_max: u64,
}

/// A body in small pieces, counted.
struct Pieces<S> {
    stream: Pin<Box<S>>,
    piece: Bytes,
    gate: Arc<Gate>,
    /// The piece before was handed over; the parser looks at it before the next.
    rest: bool,
}

impl<S, E> Stream for Pieces<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.piece.is_empty() {
            match ready!(self.stream.as_mut().poll_next(cx)) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.piece.len().min(PIECE_BYTES_MAX);
        let piece = self.piece.split_to(length);
        let delivered = self.gate.delivered.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
        let bytes_max = self.gate.whole_bytes_max;
        if delivered > bytes_max {
            return Poll::Ready(Some(Err(Box::new(MultipartError::Whole { bytes_max }))));
        }
        if delivered > self.gate.allowed.load(Ordering::Relaxed) {
            return Poll::Ready(Some(Err(Box::new(MultipartError::Head))));
        }
        self.rest = true;
        Poll::Ready(Some(Ok(piece)))
    }
}

/// Reads a multipart body.
pub struct Multipart {
    inner: multer::Multipart<'static>,
    gate: Arc<Gate>,
    limits: Limits,
    parts: usize,
}

impl Multipart {
    /// Of a request.
    pub fn of_request(headers: &HeaderMap, body: axum::body::Body, limits: Limits) -> Result<Self, ApiError> {
        refuse_encoding(headers)?;
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(|_| MultipartError::NoBoundary)?;
        if http_body::Body::size_hint(&body).lower() > limits.whole_bytes_max {
            return Err(MultipartError::Whole { bytes_max: limits.whole_bytes_max }.into());
        }
        Ok(Self::new(boundary, body.into_data_stream(), limits))
    }

    /// Of any bytes.
    pub fn new<S, E>(boundary: String, stream: S, limits: Limits) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let gate = Arc::new(Gate {
            delivered: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            whole_bytes_max: limits.whole_bytes_max,
        });
        let stream = Box::pin(stream);
        let pieces = Pieces { stream, piece: Bytes::new(), gate: Arc::clone(&gate), rest: false };
        Self { inner: multer::Multipart::new(pieces, boundary), gate, limits, parts: 0 }
    }

    /// The next part, whole.
    pub async fn next(&mut self) -> Result<Option<Part>, MultipartError> {
        let delivered = self.gate.delivered.load(Ordering::Relaxed);
        // What was delivered and not parsed yet is one piece at most.
        let allowed = delivered + HEAD_BYTES_MAX + PIECE_BYTES_MAX as u64;
        self.gate.allowed.store(allowed, Ordering::Relaxed);
        let field = self.inner.next_field().await.map_err(of_multer)?;
        self.gate.allowed.store(u64::MAX, Ordering::Relaxed);
        let Some(mut field) = field else { return Ok(None) };
        self.parts += 1;
        if self.parts > self.limits.parts_max {
            return Err(MultipartError::Parts { parts_max: self.limits.parts_max });
        }
        let number = self.parts;
        let name = field.name().ok_or(MultipartError::Unnamed { number })?.to_owned();
        let file_name = field.file_name().map(str::to_owned);
        if name.len().max(file_name.as_ref().map_or(0, String::len)) > NAME_BYTES_MAX {
            return Err(MultipartError::Name { number });
        }
        let content_type = match field.headers().get(header::CONTENT_TYPE) {
            None => None,
            Some(value) => match value.to_str() {
                Ok(text) if text.len() <= CONTENT_TYPE_BYTES_MAX => Some(text.to_owned()),
                _ => return Err(MultipartError::ContentType { name: shown(&name) }),
            },
        };
        let bytes_max = match self.limits.special {
            Some((special, bytes_max)) if special == name => bytes_max,
            _ => self.limits.part_bytes_max,
        };
        let mut body = BytesMut::new();
        while let Some(chunk) = field.chunk().await.map_err(of_multer)? {
            if (body.len() + chunk.len()) as u64 > bytes_max {
                return Err(MultipartError::Part { name: shown(&name), bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(Part { name, file_name, content_type, body: body.freeze() }))
    }
}

fn of_multer(error: multer::Error) -> MultipartError {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<MultipartError>() {
            Ok(own) => *own,
            Err(source) => MultipartError::Body(source),
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteFieldData { .. } => MultipartError::Truncated,
        multer::Error::ReadHeaderFailed(error) => {
            MultipartError::Malformed(format!("the head of a part cannot be read ({error})"))
        }
        other => MultipartError::Malformed(other.to_string()),
    }
}

/// As much of a name as an error shows.
pub fn shown(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { whole_bytes_max: 1 << 20, part_bytes_max: 1000, special: Some(("metadata", 10)), parts_max: 3 };

    async fn read(body: &[u8], piece: usize) -> Result<Vec<Part>, MultipartError> {
        let pieces: Vec<_> =
            body.chunks(piece).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        let mut multipart = Multipart::new("B".into(), futures_util::stream::iter(pieces), LIMITS);
        let mut parts = Vec::new();
        while let Some(part) = multipart.next().await? {
            parts.push(part);
        }
        Ok(parts)
    }

    fn part(name: &str, body: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n{body}\r\n")
    }

    #[tokio::test]
    async fn parts_are_the_same_however_the_body_is_cut() {
        let body = part("a", "1\r\n--\r\n2") + &part("metadata", "{}") + "--B--\r\n";
        for piece in [1, 2, 3, 7, 1000] {
            let parts = read(body.as_bytes(), piece).await.unwrap();
            assert_eq!(parts.len(), 2);
            assert_eq!(parts[0].body, "1\r\n--\r\n2");
            assert_eq!((parts[1].name.as_str(), &parts[1].body[..]), ("metadata", &b"{}"[..]));
        }
    }

    #[tokio::test]
    async fn limits_are_enforced_while_it_streams() {
        let large = part("a", &"x".repeat(1001)) + "--B--";
        assert!(matches!(read(large.as_bytes(), 100).await, Err(MultipartError::Part { .. })));
        let metadata = part("metadata", "0123456789+") + "--B--";
        assert!(matches!(read(metadata.as_bytes(), 100).await, Err(MultipartError::Part { bytes_max: 10, .. })));
        let many: String = ["a", "b", "c", "d"].iter().map(|name| part(name, "")).collect();
        assert!(matches!(read((many + "--B--").as_bytes(), 9).await, Err(MultipartError::Parts { .. })));
        let endless = "--B\r\nX: ".to_owned() + &"y".repeat(200_000);
        assert!(matches!(read(endless.as_bytes(), 5_000).await, Err(MultipartError::Head)));
        assert!(matches!(read(&vec![b'z'; 2_000_000], 50_000).await, Err(MultipartError::Head)));
    }

    #[tokio::test]
    async fn a_body_that_is_cut_off_is_refused() {
        let body = part("a", "content") + "--B--";
        for length in 0..body.len() - 2 {
            assert!(read(&body.as_bytes()[..length], 4).await.is_err(), "{length}");
        }
        assert!(matches!(read(b"--C\r\n\r\n--C--", 4).await, Err(MultipartError::Truncated)));
        assert!(matches!(read(b"--B\r\nX: y\r\n\r\nx\r\n--B--", 4).await, Err(MultipartError::Unnamed { number: 1 })));
    }
}
