//! One stream: what is queued on it, who waits on it, and the handles given to its users.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::frame::DATA_BYTES_MAX;
use crate::head::Head;
use crate::mux::Mux;

/// How many bytes of one direction of a stream may be sent and not yet consumed: 256 KiB.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// The largest WebSocket message: 32 MiB, as on Workers.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a message takes of a window besides its bytes, so that empty ones cannot fill a queue without end: 32 bytes.
const MESSAGE_COST_BYTES: usize = 32;

/// A piece of a stream, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes of a body.
    Data(Bytes),
    /// One WebSocket message; `text` holds UTF-8.
    Message { text: bool, data: Bytes },
    /// A WebSocket close.
    Close { code: u16, reason: String },
}

impl Chunk {
    /// What it takes of a window.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Message { data, .. } => MESSAGE_COST_BYTES + data.len(),
            Self::Close { .. } => MESSAGE_COST_BYTES,
        }
    }
}

/// Why a stream ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetCode {
    /// The client or the caller went away.
    Cancelled = 1,
    /// The handler failed after its response had started.
    Failed = 2,
    /// Refused before anything was done: the event may be tried elsewhere.
    Refused = 3,
    /// A limit was exceeded; the text is the limit error as JSON.
    Limit = 4,
    /// The connection, or the process at its other end, is gone.
    Lost = 5,
    /// The answer's head is larger than a frame may carry; the text is its size in bytes.
    HeadTooLarge = 6,
}

impl ResetCode {
    pub(crate) fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Cancelled,
            3 => Self::Refused,
            4 => Self::Limit,
            5 => Self::Lost,
            6 => Self::HeadTooLarge,
            _ => Self::Failed,
        }
    }
}

/// A stream's early end, with the reason as text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Reset {
    pub code: ResetCode,
    pub text: String,
}

impl Reset {
    /// A reset with a reason.
    pub fn new(code: ResetCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn lost() -> Self {
        Self::new(ResetCode::Lost, "the process that ran this worker ended")
    }

    /// Nothing was done about the stream, so it may be opened again elsewhere.
    pub(crate) fn refused() -> Self {
        Self::new(ResetCode::Refused, "the process that was to run this worker ended before it began")
    }

    pub(crate) fn over() -> Self {
        Self::new(ResetCode::Cancelled, "the stream is over")
    }
}

/// The answer to a stream.
#[derive(Debug)]
pub struct Reply {
    pub stream: u32,
    pub head: Head,
    pub body: Inbound,
}

/// A stream that this end opened.
#[derive(Debug)]
pub struct Opened {
    pub stream: u32,
    /// Resolves to the answer, or to why there is none.
    pub reply: oneshot::Receiver<Result<Reply, Reset>>,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub queue: VecDeque<Chunk>,
    /// Bytes in `queue`.
    pub queued: usize,
    /// An [`Inbound`] will still ask for what arrives: the stream stays until it was told of the end.
    pub reading: bool,
    /// Bytes the user consumed and that the sender has not been told of.
    pub uncredited: usize,
    /// Bytes this end may still send; below zero after a message that was larger than what was left.
    pub credit: i64,
    /// What arrived of a WebSocket message of several frames.
    pub partial: BytesMut,
    /// Accepted for sending; the credit does not cover it yet.
    pub pending: VecDeque<Chunk>,
    pub pending_fin: bool,
    /// The event's work is over; the other end is told once all of the answer is sent.
    pub pending_done: bool,
    /// The CPU time of the event, in microseconds, to be told with that.
    pub cpu_us: u64,
    pub received_fin: bool,
    pub sent_fin: bool,
    pub responded: bool,
    /// The other end began to act on the stream, as far as is known here.
    pub begun: bool,
    /// The event's work is over (streams that the edge opened), or there is no such notion (the others).
    pub done: bool,
    /// Nobody will read what arrives.
    pub discard: bool,
    pub reset: Option<Reset>,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
    pub reply: Option<oneshot::Sender<Result<Reply, Reset>>>,
}

impl Stream {
    pub(crate) fn new(done: bool) -> Self {
        Self { credit: WINDOW_BYTES as i64, done, ..Self::default() }
    }

    /// Nothing more can happen on this stream, and everyone who waits on it knows.
    pub(crate) fn is_over(&self) -> bool {
        self.done && !self.reading && (self.reset.is_some() || (self.sent_fin && self.received_fin))
    }

    /// Ends the stream and wakes everyone who waits on it. What arrived whole can still be read.
    pub(crate) fn end(&mut self, reset: Reset) {
        if let Some(reply) = self.reply.take() {
            // Nobody waits: then nobody needs to know.
            let _ = reply.send(Err(reset.clone()));
        }
        self.pending.clear();
        if !self.received_fin {
            self.queue.clear();
            self.queued = 0;
        }
        self.reset.get_or_insert(reset);
        self.wake();
    }

    /// The other end acted on the stream.
    /// Whether a piece of so many bytes can be sent at once, in one frame.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        let open = self.reset.is_none() && !self.sent_fin && !self.pending_fin;
        open && self.pending.is_empty() && bytes > 0 && bytes <= DATA_BYTES_MAX && self.credit >= bytes as i64
    }

    pub(crate) fn mark_begun(&mut self) {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }

    /// Nobody at the other end takes what this end would still send.
    pub(crate) fn stop_sending(&mut self) {
        self.pending.clear();
        self.sent_fin = true;
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// The event's work is over at this end, which is where it ran: what still arrives for it is of no use.
    pub(crate) fn mark_done(&mut self) {
        self.done = true;
        self.reading = false;
        self.sent_fin = true;
        if !self.received_fin {
            self.end(Reset::over());
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// The receiving half of a stream.
///
/// Dropping it before its end lets the sender go on into the void; [`Inbound::cancel`] stops the sender.
#[derive(Debug)]
pub struct Inbound {
    first: Option<Bytes>,
    rest: Option<(Arc<Mux>, u32)>,
    cancels: bool,
}

impl Inbound {
    pub(crate) fn new(first: Bytes, rest: Option<(Arc<Mux>, u32)>) -> Self {
        Self { first: (!first.is_empty()).then_some(first), rest, cancels: false }
    }

    /// The same, but dropping it before its end stops the sender.
    pub fn cancelling(mut self) -> Self {
        self.cancels = true;
        self
    }

    /// The whole body, where it arrived with the head.
    pub fn complete(&self) -> Option<Bytes> {
        self.rest.is_none().then(|| self.first.clone().unwrap_or_default())
    }

    /// What arrived with the head, where more may come.
    pub fn take_first(&mut self) -> Bytes {
        self.first.take().unwrap_or_default()
    }

    /// The stream this reads, where more may come.
    pub fn stream(&self) -> Option<u32> {
        self.rest.as_ref().map(|(_, id)| *id)
    }

    /// The next piece, or `None` at the end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Reset>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Chunk::Data(first))));
        }
        let Some((mux, id)) = &self.rest else {
            return Poll::Ready(None);
        };
        let polled = mux.poll_chunk(*id, cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled
    }

    /// The next piece, or `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Chunk, Reset>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Tells the sender to stop; the whole stream is over.
    pub fn cancel(mut self, reset: &Reset) {
        if let Some((mux, id)) = self.rest.take() {
            mux.reset(id, reset);
            mux.discard(id);
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if let Some((mux, id)) = self.rest.take() {
            if self.cancels {
                mux.reset(id, &Reset::new(ResetCode::Cancelled, "the receiver went away"));
            }
            mux.discard(id);
        }
    }
}

/// The sending half of a stream. Dropping it without [`Outbound::finish`] resets the stream.
#[derive(Debug)]
pub struct Outbound {
    mux: Arc<Mux>,
    stream: u32,
    finished: bool,
}

impl Outbound {
    /// The sending half of `stream`.
    pub fn new(mux: Arc<Mux>, stream: u32) -> Self {
        Self { mux, stream, finished: false }
    }

    /// Sends one piece, waiting until the receiver has room for it.
    pub async fn send(&mut self, chunk: Chunk) -> Result<(), Reset> {
        std::future::poll_fn(|cx| self.mux.poll_ready(self.stream, cx)).await?;
        self.mux.send(self.stream, chunk)
    }

    /// Resolves when the receiver takes no more.
    pub async fn ended(&self) {
        std::future::poll_fn(|cx| self.mux.poll_ended(self.stream, cx)).await
    }

    /// Says that nothing more will be sent.
    pub fn finish(mut self) {
        self.finished = true;
        self.mux.finish(self.stream);
    }

    /// Says that nothing more will be sent, and resolves when the receiver has begun to act on it, or never will.
    pub async fn finished(mut self) {
        self.finished = true;
        self.mux.finish(self.stream);
        std::future::poll_fn(|cx| self.mux.poll_begun(self.stream, cx)).await
    }

    /// Ends the stream with a reason.
    pub fn fail(mut self, reset: &Reset) {
        self.finished = true;
        self.mux.reset(self.stream, reset);
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if !self.finished {
            self.mux.reset(self.stream, &Reset::new(ResetCode::Cancelled, "the sender went away"));
        }
    }
}
