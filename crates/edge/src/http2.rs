//! Answers by HTTP/2. A client that gives one of its streams no room to send in, would hold that answer for ever, while the
//! connection looks well: each stream ends where nothing of it is taken for too long.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;

use crate::body::{BodyError, EdgeBody};
use crate::stall::{ANSWER_STALL_MAX, PIECE_BYTES_MAX, Stall};

/// How far the body of a stream's answer is. The HTTP library asks for a piece when the one before has room to be sent in.
#[derive(Default)]
struct Progress {
    pieces: Cell<u64>,
    /// A piece was given and no other was asked for since.
    waits: Cell<bool>,
}

tokio::task_local! {
    static PROGRESS: Progress;
}

/// Runs the streams of connections.
#[derive(Debug, Clone, Copy)]
pub struct Streams;

// === impl Streams ===

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(PROGRESS.scope(Progress::default(), watched(stream)));
    }
}

/// Runs one stream. To drop it before its end resets it.
async fn watched<F: Future>(stream: F) {
    let mut stream = pin!(stream);
    let mut stall = Stall::new(ANSWER_STALL_MAX);
    let mut seen = 0;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let (pieces, waits) = PROGRESS.with(|progress| (progress.pieces.get(), progress.waits.get()));
        if !waits || pieces != seen {
            seen = pieces;
            stall.moved();
        }
        if waits { stall.poll_over(cx) } else { Poll::Pending }
    })
    .await;
}

/// An answer's body in pieces that show progress.
pub struct Pieces {
    body: EdgeBody,
    rest: Bytes,
}

// === impl Pieces ===

impl Pieces {
    pub fn new(body: EdgeBody) -> Self {
        Self { body, rest: Bytes::new() }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE_BYTES_MAX => self.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.get_mut().poll_piece(cx);
        // Outside of a stream nobody watches.
        let _ = PROGRESS.try_with(|progress| {
            progress.waits.set(polled.is_ready());
            progress.pieces.set(progress.pieces.get().wrapping_add(1));
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_large_body_comes_in_pieces_and_whole() {
        let length = 2 * PIECE_BYTES_MAX + 1;
        let mut body = Pieces::new(EdgeBody::full(vec![7; length]));
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        let mut lengths = Vec::new();
        while !body.is_end_stream() {
            lengths.push(body.frame().await.unwrap().unwrap().into_data().unwrap().len());
        }
        assert_eq!(lengths, [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1]);
    }
}
