//! The streams of one connection and the bytes waiting to leave it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::frame::{
    self, CPU_AT, DATA_BYTES_MAX, DONE, FIN, FLAGS_AT, FRAME_BYTES_MAX, Frame, HEAD_BYTES_MAX, HEADER_BYTES, Kind,
    MORE, RESET_BYTES_MAX, TEXT,
};
use crate::head::Head;
use crate::stream::{Chunk, Inbound, MESSAGE_BYTES_MAX, Opened, Reply, Reset, ResetCode, Stream, WINDOW_BYTES};
use crate::{DoorError, OpenError};

/// Which end of the connection this is. The edge opens odd streams, the isolate even ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Edge,
    Isolate,
}

/// The most streams that may be open at once.
const STREAMS_MAX: usize = 65_536;
/// A receiver tells of consumed bytes once they reach this share of the window.
const CREDIT_STEP_BYTES: usize = WINDOW_BYTES / 4;

/// One end of a host door. Shared by everyone who uses a stream of it; driven by one [`crate::Driver`].
#[derive(Debug)]
pub struct Mux {
    side: Side,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    side: Side,
    out: BytesMut,
    /// The last frame of `out` that ends an event: its stream, and where it begins.
    done_at: Option<(u32, usize)>,
    streams: FxHashMap<u32, Stream>,
    /// Bytes that wait for credit, on all streams together.
    pending_bytes: usize,
    next_stream: u32,
    /// Frames, so far, by which something was asked of the other end, or told: by which the world may have changed.
    effects: u64,
    flush: Option<Waker>,
    closed: bool,
}

/// What a received frame asks of the driver's owner.
pub(crate) enum Received {
    Nothing,
    Opened { stream: u32, head: Head, body: Inbound },
    Reset { stream: u32, reset: Reset },
    Done { stream: u32, cpu_us: u64 },
    Log { stream: u32, record: Bytes },
    Load(Bytes),
    Ready(Bytes),
    Condemned(Bytes),
    Expired { stream: u32 },
    Memory { bytes: u64 },
}

// === impl Mux: what users of streams do ===

impl Mux {
    pub(crate) fn new(side: Side) -> Arc<Self> {
        let next_stream = match side {
            Side::Edge => 1,
            Side::Isolate => 2,
        };
        Arc::new(Self {
            side,
            state: Mutex::new(State {
                side,
                out: BytesMut::new(),
                done_at: None,
                streams: FxHashMap::default(),
                pending_bytes: 0,
                next_stream,
                effects: 0,
                flush: None,
                closed: false,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams that are not over.
    pub fn streams(&self) -> usize {
        self.lock().streams.len()
    }

    /// Bytes that wait to leave: for credit, or for the socket.
    pub fn held_bytes(&self) -> usize {
        let state = self.lock();
        state.pending_bytes + state.out.len()
    }

    /// The id of a stream that is about to be opened.
    pub fn reserve(&self) -> u32 {
        let mut state = self.lock();
        let stream = state.next_stream;
        // Ids wrap after two thousand million streams; by then the early ones are over.
        state.next_stream = stream.checked_add(2).unwrap_or(if self.side == Side::Edge { 1 } else { 2 });
        stream
    }

    /// Grows with every frame that does more than to end an event: while it stays the same, nothing was done.
    pub fn effects(&self) -> u64 {
        self.lock().effects
    }

    /// Opens a stream under a reserved id; `body` is sent as credit allows and `fin` says that it is the whole.
    pub fn open(&self, stream: u32, head: &[u8], body: Bytes, fin: bool) -> Result<Opened, OpenError> {
        if head.len() > HEAD_BYTES_MAX {
            return Err(OpenError::HeadTooLarge { used: head.len(), allowed: HEAD_BYTES_MAX });
        }
        let (sender, reply) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return Err(OpenError::Closed);
        }
        let mut entry = Stream::new(self.side == Side::Isolate);
        entry.reply = Some(sender);
        state.send_head(stream, &mut entry, Kind::Open, head, body, fin);
        state.streams.insert(stream, entry);
        state.wake();
        Ok(Opened { stream, reply })
    }

    /// Says that the event on a stream began, unless its answer says so already.
    pub fn begun(&self, stream: u32) {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else {
            return;
        };
        if !entry.begun && !entry.responded && entry.reset.is_none() {
            entry.begun = true;
            state.frame(stream, Kind::Begun, 0, &[]);
            state.wake();
        }
    }

    /// Answers a stream that the other end opened. `done` also ends the event's work, once all of the answer is sent; of an
    /// answer that fits one frame, [`Mux::spent`] can still say what CPU time that took.
    /// A head that fits in no frame ends the stream with [`ResetCode::HeadTooLarge`].
    pub fn respond(&self, stream: u32, head: &[u8], body: Bytes, fin: bool, done: bool) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        // At the edge there is no such notion: what answers an isolate may go on reading from it.
        entry.pending_done |= done && self.side == Side::Isolate;
        if head.len() > HEAD_BYTES_MAX {
            let reset = Reset::new(ResetCode::HeadTooLarge, head.len().to_string());
            state.send_reset(stream, &mut entry, &reset);
        } else if entry.reset.is_none() && !entry.responded {
            entry.responded = true;
            state.send_head(stream, &mut entry, Kind::Respond, head, body, fin);
        }
        state.settle(stream, &mut entry);
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Says that an event's work is over, `waitUntil` included, and what CPU time it took; the other end is told once all
    /// of its answer is sent.
    pub fn done(&self, stream: u32, cpu_us: u64) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        entry.pending_done = true;
        entry.cpu_us = cpu_us;
        state.settle(stream, &mut entry);
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Says what CPU time an event took whose answer ended it ([`Mux::respond`]): in the turn of code that ended it, before
    /// anything is flushed.
    pub fn spent(&self, stream: u32, cpu_us: u64) {
        let mut state = self.lock();
        if let Some(entry) = state.streams.get_mut(&stream) {
            entry.cpu_us = cpu_us;
        }
        if let Some((_, at)) = state.done_at.take_if(|(last, _)| *last == stream) {
            state.note_spent(stream, at, cpu_us);
        }
    }

    /// Sends a log record of the event on `stream` (0: of none).
    pub fn log(&self, stream: u32, record: &[u8]) {
        self.control(stream, Kind::Log, record);
    }

    /// Sends the version to run.
    pub fn load(&self, payload: &[u8]) {
        self.control(0, Kind::Load, payload);
    }

    /// Says that the version runs, or why it does not.
    pub fn ready(&self, payload: &[u8]) {
        self.control(0, Kind::Ready, payload);
    }

    /// Says that this isolate takes no more.
    pub fn condemned(&self, payload: &[u8]) {
        self.control(0, Kind::Condemned, payload);
    }

    /// Says that the time of an event is over: whatever it still waits for is to be left.
    pub fn expire(&self, stream: u32) {
        self.control(stream, Kind::Expired, &[]);
    }

    /// Says how much memory this isolate holds.
    pub fn memory(&self, bytes: u64) {
        self.control(0, Kind::Memory, &bytes.to_le_bytes());
    }

    fn control(&self, stream: u32, kind: Kind, payload: &[u8]) {
        let mut state = self.lock();
        state.frame(stream, kind, 0, &[payload]);
        state.wake();
    }

    /// Ends a stream, both ways, with a reason.
    pub fn reset(&self, stream: u32, reset: &Reset) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        if !(entry.sent_fin && entry.received_fin) {
            state.send_reset(stream, &mut entry, reset);
        }
        state.settle(stream, &mut entry);
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Says that this end will send no more on the stream.
    pub fn finish(&self, stream: u32) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        entry.pending_fin = true;
        state.pump(stream, &mut entry);
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Sends a piece as soon as there is credit. What has none waits here: ask [`Mux::poll_ready`] before.
    pub fn send(&self, stream: u32, chunk: Chunk) -> Result<(), Reset> {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return Err(Reset::over());
        };
        let result = match &entry.reset {
            Some(reset) => Err(reset.clone()),
            None if entry.sent_fin || entry.pending_fin => Err(Reset::over()),
            None => {
                state.pending_bytes += chunk.bytes();
                entry.pending.push_back(chunk);
                state.pump(stream, &mut entry);
                Ok(())
            }
        };
        state.streams.insert(stream, entry);
        state.wake();
        result
    }

    /// As [`Mux::send`], of bytes that are the caller's: they are copied once where there is credit for all of them.
    pub fn send_slice(&self, stream: u32, data: &[u8]) -> Result<(), Reset> {
        {
            let mut state = self.lock();
            if let Some(entry) = state.streams.get_mut(&stream)
                && entry.takes(data.len())
            {
                entry.credit -= data.len() as i64;
                state.frame(stream, Kind::Data, 0, &[data]);
                state.wake();
                return Ok(());
            }
        }
        self.send(stream, Chunk::Data(Bytes::copy_from_slice(data)))
    }

    /// Whether the receiver has room for another piece.
    pub fn poll_ready(&self, stream: u32, cx: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else {
            return Poll::Ready(Err(Reset::over()));
        };
        if let Some(reset) = &entry.reset {
            return Poll::Ready(Err(reset.clone()));
        }
        if entry.sent_fin {
            return Poll::Ready(Err(Reset::over()));
        }
        if entry.credit > 0 && entry.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        entry.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready once the receiver takes no more. One task at a time may wait here or in [`Mux::poll_ready`].
    pub(crate) fn poll_ended(&self, stream: u32, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_sender(stream, cx, |entry| entry.reset.is_some() || entry.sent_fin)
    }

    /// Why the stream ended early, once it did. Shares its waker with [`Mux::poll_ready`].
    pub fn poll_reset(&self, stream: u32, cx: &mut Context<'_>) -> Poll<Reset> {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else {
            return Poll::Ready(Reset::over());
        };
        if let Some(reset) = &entry.reset {
            return Poll::Ready(reset.clone());
        }
        entry.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready once the receiver has begun to act on the stream, or never will.
    pub(crate) fn poll_begun(&self, stream: u32, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_sender(stream, cx, |entry| entry.reset.is_some() || entry.begun || entry.done)
    }

    fn poll_sender(&self, stream: u32, cx: &mut Context<'_>, ready: impl Fn(&Stream) -> bool) -> Poll<()> {
        let mut state = self.lock();
        match state.streams.get_mut(&stream) {
            Some(entry) if !ready(entry) => {
                entry.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(crate) fn poll_chunk(&self, stream: u32, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Reset>>> {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            // Its end was not seen: what was read is not the whole.
            return Poll::Ready(Some(Err(Reset::over())));
        };
        let polled = match entry.queue.pop_front() {
            Some(chunk) => {
                entry.queued -= chunk.bytes();
                state.consumed(stream, &mut entry, chunk.bytes());
                Poll::Ready(Some(Ok(chunk)))
            }
            None if entry.received_fin => Poll::Ready(None),
            None => match &entry.reset {
                Some(reset) => Poll::Ready(Some(Err(reset.clone()))),
                None => {
                    entry.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            },
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            entry.reading = false;
        }
        state.keep_unless_over(stream, entry);
        state.wake();
        polled
    }

    /// Nobody will read what arrives on the stream.
    pub(crate) fn discard(&self, stream: u32) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        entry.discard = true;
        entry.reading = false;
        let bytes = std::mem::take(&mut entry.queued);
        entry.queue.clear();
        state.consumed(stream, &mut entry, bytes);
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Ends every stream: the connection is gone. Those on which nothing was begun can be opened again elsewhere.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.out = BytesMut::new();
        state.done_at = None;
        state.pending_bytes = 0;
        let side = state.side;
        state.streams.retain(|stream, entry| {
            let ours = (*stream % 2 == 1) == (side == Side::Edge);
            entry.end(if ours && !entry.begun { Reset::refused() } else { Reset::lost() });
            entry.done = true;
            // A reader is yet to be told.
            entry.reading
        });
    }

    /// Whether the other end said that it began to act on a stream.
    pub fn has_begun(&self, stream: u32) -> bool {
        self.lock().streams.get(&stream).is_some_and(|entry| entry.begun)
    }

    /// Whether nothing more of the answer on a stream is to come, or to be read: it was sent, or will never be.
    pub fn is_answer_over(&self, stream: u32) -> bool {
        let state = self.lock();
        let over = |entry: &Stream| entry.reset.is_some() || (entry.received_fin && !entry.reading);
        state.streams.get(&stream).is_none_or(over)
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Moves the waiting bytes into `into`, or remembers whom to wake when there are some.
    pub(crate) fn take_out(&self, into: &mut BytesMut, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if state.out.is_empty() {
            if !state.flush.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.flush = Some(cx.waker().clone());
            }
            return false;
        }
        state.done_at = None;
        std::mem::swap(&mut state.out, into);
        true
    }
}

// === impl Mux: what the driver does ===

impl Mux {
    /// Acts on one received frame.
    pub(crate) fn receive(self: &Arc<Self>, frame: Frame) -> Result<Received, DoorError> {
        match frame.kind {
            Kind::Open => self.receive_open(frame),
            Kind::Respond => self.receive_respond(frame),
            Kind::Data | Kind::Message | Kind::Close => self.receive_chunk(frame),
            Kind::Credit => self.receive_credit(&frame),
            Kind::Reset => Ok(self.receive_reset(&frame)),
            Kind::Done if self.side == Side::Edge => self.receive_done(&frame),
            Kind::Begun if self.side == Side::Edge => {
                self.note_begun(frame.stream);
                Ok(Received::Nothing)
            }
            Kind::Log if self.side == Side::Edge => {
                self.note_begun(frame.stream);
                Ok(Received::Log { stream: frame.stream, record: frame.payload })
            }
            Kind::Load if self.side == Side::Isolate => Ok(Received::Load(frame.payload)),
            Kind::Ready if self.side == Side::Edge => Ok(Received::Ready(frame.payload)),
            Kind::Condemned if self.side == Side::Edge => Ok(Received::Condemned(frame.payload)),
            Kind::Expired if self.side == Side::Isolate => Ok(Received::Expired { stream: frame.stream }),
            Kind::Memory if self.side == Side::Edge => {
                let bytes: [u8; 8] =
                    frame.payload.as_ref().try_into().map_err(|_| DoorError::Protocol("memory of the wrong size"))?;
                Ok(Received::Memory { bytes: u64::from_le_bytes(bytes) })
            }
            Kind::Load
            | Kind::Ready
            | Kind::Condemned
            | Kind::Done
            | Kind::Begun
            | Kind::Log
            | Kind::Expired
            | Kind::Memory => Err(DoorError::Protocol("frame from the wrong side")),
        }
    }

    fn note_begun(&self, stream: u32) {
        if let Some(entry) = self.lock().streams.get_mut(&stream) {
            entry.mark_begun();
        }
    }

    fn receive_open(self: &Arc<Self>, frame: Frame) -> Result<Received, DoorError> {
        let theirs = match self.side {
            Side::Edge => frame.stream.is_multiple_of(2) && frame.stream != 0,
            Side::Isolate => frame.stream % 2 == 1,
        };
        if !theirs {
            return Err(DoorError::Protocol("stream opened under the wrong side's id"));
        }
        let fin = frame.has(FIN);
        let (head, first) = frame::split_head(frame.payload)?;
        let mut state = self.lock();
        if state.streams.len() >= STREAMS_MAX {
            return Err(DoorError::Protocol("too many streams at once"));
        }
        let mut entry = Stream::new(self.side == Side::Edge);
        entry.received_fin = fin;
        entry.reading = !fin;
        if state.streams.insert(frame.stream, entry).is_some() {
            return Err(DoorError::Protocol("stream opened twice"));
        }
        let rest = (!fin).then(|| (Arc::clone(self), frame.stream));
        Ok(Received::Opened { stream: frame.stream, head: Head(head), body: Inbound::new(first, rest) })
    }

    fn receive_respond(self: &Arc<Self>, frame: Frame) -> Result<Received, DoorError> {
        let fin = frame.has(FIN);
        let stream = frame.stream;
        let done = frame.has(DONE);
        let cpu_us = u64::from(frame.cpu_us);
        let (head, first) = frame::split_head(frame.payload)?;
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return Ok(Received::Nothing);
        };
        entry.mark_begun();
        entry.received_fin |= fin;
        if done {
            state.event_over(&mut entry);
        }
        let reply = entry.reply.take();
        entry.reading = !fin && reply.is_some();
        if reply.is_none() && entry.reset.is_none() {
            return Err(DoorError::Protocol("stream answered twice"));
        }
        state.keep_unless_over(stream, entry);
        drop(state);
        if let Some(reply) = reply {
            let rest = (!fin).then(|| (Arc::clone(self), stream));
            // A receiver that is gone no longer wants the answer; dropping the body discards the rest.
            let _ = reply.send(Ok(Reply { stream, head: Head(head), body: Inbound::new(first, rest) }));
        }
        if done { Ok(Received::Done { stream, cpu_us }) } else { Ok(Received::Nothing) }
    }

    fn receive_chunk(&self, frame: Frame) -> Result<Received, DoorError> {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&frame.stream) else {
            return Ok(Received::Nothing);
        };
        if entry.received_fin {
            return Err(DoorError::Protocol("data after the end of a stream"));
        }
        if entry.reply.is_some() {
            return Err(DoorError::Protocol("data before the head of an answer"));
        }
        let stream = frame.stream;
        entry.mark_begun();
        entry.received_fin = frame.has(FIN);
        let Some(chunk) = chunk_of(frame, &mut entry)? else {
            state.streams.insert(stream, entry);
            return Ok(Received::Nothing);
        };
        if entry.discard || entry.reset.is_some() {
            state.consumed(stream, &mut entry, chunk.bytes());
        } else if chunk != Chunk::Data(Bytes::new()) {
            // A WebSocket message may exceed the window on its own; what was queued before it may not.
            if entry.queued > WINDOW_BYTES {
                return Err(DoorError::Protocol("more sent than there was credit for"));
            }
            entry.queued += chunk.bytes();
            entry.queue.push_back(chunk);
        }
        let reader = entry.reader.take();
        state.keep_unless_over(stream, entry);
        state.wake();
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(Received::Nothing)
    }

    fn receive_credit(&self, frame: &Frame) -> Result<Received, DoorError> {
        let bytes: [u8; 4] =
            frame.payload.as_ref().try_into().map_err(|_| DoorError::Protocol("credit of the wrong size"))?;
        let mut state = self.lock();
        if let Some(mut entry) = state.streams.remove(&frame.stream) {
            entry.mark_begun();
            entry.credit += i64::from(u32::from_le_bytes(bytes));
            if entry.credit > WINDOW_BYTES as i64 {
                return Err(DoorError::Protocol("more credit than the window"));
            }
            state.pump(frame.stream, &mut entry);
            if entry.credit > 0
                && let Some(writer) = entry.writer.take()
            {
                writer.wake();
            }
            state.keep_unless_over(frame.stream, entry);
            state.wake();
        }
        Ok(Received::Nothing)
    }

    fn receive_reset(&self, frame: &Frame) -> Received {
        let code = ResetCode::from_u8(frame.payload.first().copied().unwrap_or_default());
        let text = String::from_utf8_lossy(frame.payload.get(1..).unwrap_or_default()).into_owned();
        let reset = Reset::new(code, text);
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&frame.stream) else {
            return Received::Nothing;
        };
        entry.mark_begun();
        state.forget_pending(&entry);
        entry.end(reset.clone());
        state.settle(frame.stream, &mut entry);
        state.keep_unless_over(frame.stream, entry);
        state.wake();
        Received::Reset { stream: frame.stream, reset }
    }

    fn receive_done(&self, frame: &Frame) -> Result<Received, DoorError> {
        let bytes: [u8; 8] =
            frame.payload.as_ref().try_into().map_err(|_| DoorError::Protocol("done of the wrong size"))?;
        let mut state = self.lock();
        if let Some(mut entry) = state.streams.remove(&frame.stream) {
            state.event_over(&mut entry);
            if !entry.received_fin && entry.reset.is_none() {
                // An isolate says so after all of its answer, or not at all.
                entry.end(Reset::new(ResetCode::Failed, "the event ended before its answer did"));
            }
            state.keep_unless_over(frame.stream, entry);
        }
        Ok(Received::Done { stream: frame.stream, cpu_us: u64::from_le_bytes(bytes) })
    }
}

/// What a frame carries; none yet, where more frames of a message follow.
fn chunk_of(frame: Frame, entry: &mut Stream) -> Result<Option<Chunk>, DoorError> {
    Ok(Some(match frame.kind {
        Kind::Message if frame.has(MORE) || !entry.partial.is_empty() => {
            if entry.partial.len() + frame.payload.len() > MESSAGE_BYTES_MAX {
                return Err(DoorError::Protocol("message over its bound"));
            }
            entry.partial.extend_from_slice(&frame.payload);
            if frame.has(MORE) {
                return Ok(None);
            }
            Chunk::Message { text: frame.has(TEXT), data: std::mem::take(&mut entry.partial).freeze() }
        }
        Kind::Message => Chunk::Message { text: frame.has(TEXT), data: frame.payload },
        Kind::Close => {
            let Some((code, reason)) = frame.payload.split_at_checked(2) else {
                return Err(DoorError::Protocol("close without a code"));
            };
            let code = code.iter().rev().fold(0_u16, |sum, byte| (sum << 8) | u16::from(*byte));
            Chunk::Close { code, reason: String::from_utf8_lossy(reason).into_owned() }
        }
        _ => Chunk::Data(frame.payload),
    }))
}

// === impl State ===

impl State {
    fn wake(&mut self) {
        if !self.out.is_empty()
            && let Some(waker) = self.flush.take()
        {
            waker.wake();
        }
    }

    /// Every frame leaves by here, and none once the connection is gone.
    fn frame(&mut self, stream: u32, kind: Kind, flags: u8, parts: &[&[u8]]) {
        if !matches!(kind, Kind::Begun | Kind::Respond | Kind::Done | Kind::Reset | Kind::Memory) {
            self.effects += 1;
        }
        if !self.closed {
            frame::encode(&mut self.out, stream, kind, flags, parts);
        }
    }

    fn keep_unless_over(&mut self, stream: u32, entry: Stream) {
        if !entry.is_over() {
            self.streams.insert(stream, entry);
        }
    }

    /// The other end says that the event's work is over: it takes nothing more.
    fn event_over(&mut self, entry: &mut Stream) {
        self.forget_pending(entry);
        entry.done = true;
        entry.stop_sending();
    }

    fn forget_pending(&mut self, entry: &Stream) {
        let bytes: usize = entry.pending.iter().map(Chunk::bytes).sum();
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
    }

    fn send_head(&mut self, stream: u32, entry: &mut Stream, kind: Kind, head: &[u8], mut body: Bytes, fin: bool) {
        let first = body.split_to(body.len().min(DATA_BYTES_MAX));
        let whole = fin && body.is_empty();
        let mut flags = 0;
        if whole {
            flags |= FIN;
            if entry.pending_done {
                flags |= DONE;
                entry.mark_done();
            }
        }
        let head_length = (head.len() as u32).to_le_bytes();
        if flags & DONE != 0 {
            self.done_at = Some((stream, self.out.len()));
        }
        self.frame(stream, kind, flags, &[&head_length, head, &first]);
        entry.sent_fin |= whole;
        entry.pending_fin |= fin;
        if !body.is_empty() {
            self.pending_bytes += body.len();
            entry.pending.push_back(Chunk::Data(body));
        }
        self.pump(stream, entry);
    }

    fn send_reset(&mut self, stream: u32, entry: &mut Stream, reset: &Reset) {
        if entry.reset.is_some() {
            return;
        }
        let text = reset.text.as_bytes();
        let text = text.get(..text.len().min(RESET_BYTES_MAX)).unwrap_or_default();
        self.frame(stream, Kind::Reset, 0, &[&[reset.code as u8], text]);
        self.forget_pending(entry);
        entry.end(reset.clone());
    }

    /// Tells that the event's work is over, once nothing of its answer is left to send.
    fn settle(&mut self, stream: u32, entry: &mut Stream) {
        let sent = entry.reset.is_some() || entry.sent_fin || !entry.responded || !entry.pending_fin;
        if entry.pending_done && !entry.done && sent {
            self.send_done(stream, entry);
        }
    }

    fn send_done(&mut self, stream: u32, entry: &mut Stream) {
        if self.side == Side::Isolate {
            self.frame(stream, Kind::Done, 0, &[&entry.cpu_us.to_le_bytes()]);
            self.forget_pending(entry);
            entry.mark_done();
        }
    }

    /// Writes the CPU time into the frame at `at`, which ends an event. Where it does not fit there, the frame is made one
    /// that does not, and another follows.
    fn note_spent(&mut self, stream: u32, at: usize, cpu_us: u64) {
        let Some(header) = self.out.get_mut(at..at + HEADER_BYTES) else {
            return;
        };
        if let Ok(fits) = u16::try_from(cpu_us) {
            if let Some(place) = header.get_mut(CPU_AT..) {
                place.copy_from_slice(&fits.to_le_bytes());
            }
        } else {
            if let Some(flags) = header.get_mut(FLAGS_AT) {
                *flags &= !DONE;
            }
            self.frame(stream, Kind::Done, 0, &[&cpu_us.to_le_bytes()]);
        }
    }

    /// Sends what is pending as far as the credit goes.
    fn pump(&mut self, stream: u32, entry: &mut Stream) {
        while entry.credit > 0
            && let Some(chunk) = entry.pending.pop_front()
        {
            self.pending_bytes = self.pending_bytes.saturating_sub(chunk.bytes());
            entry.credit -= chunk.bytes() as i64;
            match chunk {
                Chunk::Data(mut data) => {
                    let room = (entry.credit + data.len() as i64).clamp(0, DATA_BYTES_MAX as i64) as usize;
                    let piece = data.split_to(data.len().min(room));
                    self.frame(stream, Kind::Data, 0, &[&piece]);
                    if !data.is_empty() {
                        entry.credit += data.len() as i64;
                        self.pending_bytes += data.len();
                        entry.pending.push_front(Chunk::Data(data));
                    }
                }
                Chunk::Message { text, data } => {
                    let flags = if text { TEXT } else { 0 };
                    let mut rest = &data[..];
                    while let Some((piece, after)) =
                        rest.split_at_checked(FRAME_BYTES_MAX).filter(|(_, a)| !a.is_empty())
                    {
                        self.frame(stream, Kind::Message, flags | MORE, &[piece]);
                        rest = after;
                    }
                    self.frame(stream, Kind::Message, flags, &[rest]);
                }
                Chunk::Close { code, reason } => {
                    self.frame(stream, Kind::Close, 0, &[&code.to_le_bytes(), reason.as_bytes()]);
                }
            }
        }
        if entry.pending.is_empty() && entry.pending_fin && !entry.sent_fin && entry.reset.is_none() {
            entry.sent_fin = true;
            self.frame(stream, Kind::Data, FIN, &[]);
            self.settle(stream, entry);
        }
    }

    fn consumed(&mut self, stream: u32, entry: &mut Stream, bytes: usize) {
        entry.uncredited += bytes;
        if entry.uncredited >= CREDIT_STEP_BYTES && !entry.received_fin && entry.reset.is_none() {
            let credit = (entry.uncredited as u32).to_le_bytes();
            entry.uncredited = 0;
            self.frame(stream, Kind::Credit, 0, &[&credit]);
        }
    }
}

#[cfg(test)]
mod tests;
