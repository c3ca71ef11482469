//! The body of an answer, streamed with bounded memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncRead, AsyncReadExt, Take};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

/// Read and sent at a time, in bytes: what one answer holds in memory of a big file.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// The body of an answer.
pub type AssetBody = BoxBody<Bytes, io::Error>;

/// Exactly `remaining` bytes of a file. A file that ends before that is an error, so that a receiver is not left to
/// think it has all.
struct FileBody {
    chunks: ReaderStream<Take<tokio::fs::File>>,
    remaining: u64,
}

/// Bytes of which the number is not known, such as compressed ones.
struct ReaderBody<R> {
    chunks: ReaderStream<R>,
}

/// A piece of a body, or its end. A sender that goes before it has said so leaves a body that is cut off.
pub(crate) type Piece = io::Result<Option<Bytes>>;

/// What a task sends.
struct PiecesBody {
    pieces: mpsc::Receiver<Piece>,
    is_over: bool,
}

pub(crate) fn empty() -> AssetBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn of_bytes(bytes: Bytes) -> AssetBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// `length` bytes of `file` from where it stands.
pub(crate) fn of_file(file: tokio::fs::File, length: u64) -> AssetBody {
    let body = FileBody { chunks: ReaderStream::with_capacity(file.take(length), CHUNK_BYTES), remaining: length };
    body.boxed()
}

pub(crate) fn of_reader(reader: impl AsyncRead + Send + Sync + Unpin + 'static) -> AssetBody {
    let body = ReaderBody { chunks: ReaderStream::with_capacity(reader, CHUNK_BYTES) };
    body.boxed()
}

pub(crate) fn of_pieces(pieces: mpsc::Receiver<Piece>) -> AssetBody {
    PiecesBody { pieces, is_over: false }.boxed()
}

// === impl FileBody ===

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.chunks).poll_next(context);
        polled.map(|chunk| match chunk {
            Some(Ok(chunk)) => {
                self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
                Some(Ok(Frame::data(chunk)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                self.remaining = 0;
                Some(Err(io::ErrorKind::UnexpectedEof.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

// === impl ReaderBody ===

impl<R: AsyncRead + Unpin> Body for ReaderBody<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.chunks).poll_next(context);
        polled.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

// === impl PiecesBody ===

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(context)).unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()));
        self.is_over = !matches!(piece, Ok(Some(_)));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}
