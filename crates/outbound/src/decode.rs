//! The body of a response: as it came, or with its content codings undone, as a worker's `fetch` gives it.
//!
//! Decoding is lazy: nothing is read before the body is, and what is held at once is bounded by the decoders'
//! windows, however well a body was compressed.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, header::CONTENT_ENCODING};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyDataStream;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::{TransferError, inside::Arriving};

/// Codings on one body; more are a way to burn the edge's CPU.
const CODINGS_MAX: usize = 2;
/// Decoded bytes handed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

type Reader = Box<dyn AsyncBufRead + Send + Unpin>;
type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of a response.
pub struct ResponseBody(Kind);

enum Kind {
    AsSent(Arriving),
    Decoded(Chunks),
}

/// Why a response's body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ResponseBodyError {
    #[error("the connection ended in the middle of the response's body")]
    Transfer(#[source] TransferError),
    #[error("the response's body is not what its Content-Encoding says")]
    Decode(#[source] io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(crate) fn as_sent(body: Arriving) -> Self {
        Self(Kind::AsSent(body))
    }

    /// The body with its codings undone, and whether there were any that are known.
    pub(crate) fn decoded(body: Arriving, headers: &HeaderMap) -> (Self, bool) {
        match codings(headers) {
            Some(codings) if !codings.is_empty() && !body.is_end_stream() => {
                let chunks = BodyDataStream::new(body).map_err(io::Error::other);
                (Self(Kind::Decoded(decode(chunks, codings))), true)
            }
            _ => (Self::as_sent(body), false),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("decoded", &matches!(self.0, Kind::Decoded(_))).finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match &mut self.0 {
            Kind::AsSent(body) => Pin::new(body).poll_frame(cx).map_err(ResponseBodyError::Transfer),
            Kind::Decoded(chunks) => {
                let chunk = ready!(chunks.as_mut().poll_next(cx));
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data).map_err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::AsSent(body) => body.is_end_stream(),
            Kind::Decoded(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::AsSent(body) => body.size_hint(),
            Kind::Decoded(_) => SizeHint::default(),
        }
    }
}

/// The connection's error went through the decoder in the guise of an I/O error.
fn error(error: io::Error) -> ResponseBodyError {
    match error.downcast::<TransferError>() {
        Ok(transfer) => ResponseBodyError::Transfer(transfer),
        Err(decode) => ResponseBodyError::Decode(decode),
    }
}

/// The codings in the order in which they were applied; `None` if one is not known or there are too many.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                "br" => codings.push(Coding::Brotli),
                _ => return None,
            }
        }
    }
    (codings.len() <= CODINGS_MAX).then_some(codings)
}

fn decode<S>(chunks: S, codings: Vec<Coding>) -> Chunks
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
{
    let opened = async move {
        let mut reader: Reader = Box::new(StreamReader::new(chunks));
        // A body without a byte is nobody's gzip, and an answer all the same: to HEAD, or a careless server's 200.
        if reader.fill_buf().await?.is_empty() {
            return Ok(stream::empty().boxed());
        }
        for coding in codings.into_iter().rev() {
            reader = undo(coding, reader).await?;
        }
        Ok::<_, io::Error>(ReaderStream::with_capacity(reader, CHUNK_BYTES).boxed())
    };
    stream::once(opened).try_flatten().boxed()
}

async fn undo(coding: Coding, mut reader: Reader) -> io::Result<Reader> {
    Ok(match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            Box::new(BufReader::new(decoder))
        }
        Coding::Brotli => Box::new(BufReader::new(BrotliDecoder::new(reader))),
        // The standard means zlib's format by this name; some servers send the bare one, and browsers read both.
        Coding::Deflate => {
            if is_zlib(reader.fill_buf().await?) {
                Box::new(BufReader::new(ZlibDecoder::new(reader)))
            } else {
                Box::new(BufReader::new(DeflateDecoder::new(reader)))
            }
        }
    })
}

/// Whether these are the first bytes of zlib's format: method 8, and a check sum over two bytes (RFC 1950).
fn is_zlib(start: &[u8]) -> bool {
    match start {
        [first, second, ..] => first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0,
        [first] => first & 0x0f == 8,
        [] => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::bufread as codec;
    use tokio::io::AsyncReadExt;

    const TEXT: &[u8] = b"the edge of a cloth, finished so that it does not unravel";

    async fn all(mut reader: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// Decodes what arrives one byte at a time.
    async fn decoded(bytes: Vec<u8>, codings: &[Coding]) -> io::Result<Vec<u8>> {
        let chunks = stream::iter(bytes.into_iter().map(|byte| Ok(Bytes::copy_from_slice(&[byte]))));
        let chunks: Vec<Bytes> = decode(chunks, codings.to_vec()).try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn each_coding_is_undone() {
        for (bytes, coding) in [
            (all(codec::GzipEncoder::new(TEXT)).await, Coding::Gzip),
            (all(codec::BrotliEncoder::new(TEXT)).await, Coding::Brotli),
            (all(codec::ZlibEncoder::new(TEXT)).await, Coding::Deflate),
            (all(codec::DeflateEncoder::new(TEXT)).await, Coding::Deflate),
        ] {
            assert_eq!(decoded(bytes, &[coding]).await.unwrap(), TEXT, "{coding:?}");
        }
    }

    #[tokio::test]
    async fn codings_are_undone_in_reverse() {
        let inner = all(codec::GzipEncoder::new(TEXT)).await;
        let outer = all(codec::BrotliEncoder::new(inner.as_slice())).await;
        let bytes = decoded(outer, &[Coding::Gzip, Coding::Brotli]).await;
        assert_eq!(bytes.unwrap(), TEXT);
    }

    #[tokio::test]
    async fn members_of_gzip_follow_each_other() {
        let mut bytes = all(codec::GzipEncoder::new(TEXT)).await;
        bytes.extend(all(codec::GzipEncoder::new(TEXT)).await);
        let twice = decoded(bytes, &[Coding::Gzip]).await.unwrap();
        assert_eq!(twice, [TEXT, TEXT].concat());
    }

    #[tokio::test]
    async fn truncated_and_false_bodies_are_errors() {
        let mut bytes = all(codec::GzipEncoder::new(TEXT)).await;
        bytes.truncate(bytes.len() / 2);
        assert!(decoded(bytes, &[Coding::Gzip]).await.is_err());
        assert!(decoded(TEXT.to_vec(), &[Coding::Gzip]).await.is_err());
    }

    #[tokio::test]
    async fn empty_body_is_empty_in_every_coding() {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli] {
            assert!(decoded(Vec::new(), &[coding]).await.unwrap().is_empty());
        }
    }

    #[test]
    fn unknown_and_endless_codings_are_left_alone() {
        let of = |value: &'static str| {
            codings(&HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static(value))]))
        };
        assert_eq!(of("GZip, BR"), Some(vec![Coding::Gzip, Coding::Brotli]));
        assert_eq!(of("identity"), Some(Vec::new()));
        assert_eq!(of("zstd"), None);
        assert_eq!(of("gzip, zstd"), None);
        assert_eq!(of("gzip, gzip, gzip"), None);
    }
}
