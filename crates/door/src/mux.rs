//! The streams of one connection and the bytes waiting to leave it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::DoorError;
use crate::frame::{self, DATA_BYTES_MAX, DONE, FIN, FRAME_BYTES_MAX, Frame, Kind, MORE, TEXT};
use crate::head::Head;
use crate::stream::{Chunk, Inbound, MESSAGE_BYTES_MAX, Opened, Reply, Reset, ResetCode, Stream};

/// Which end of the connection this is. The edge opens odd streams, the isolate even ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Edge,
    Isolate,
}

/// The most streams that the other end may have open at once.
const STREAMS_MAX: usize = 65_536;
/// A receiver tells of consumed bytes once they reach this share of the window.
const CREDIT_STEP_BYTES: usize = crate::stream::WINDOW_BYTES / 4;

/// One end of a host door. Shared by everyone who uses a stream of it; driven by one [`crate::Driver`].
#[derive(Debug)]
pub struct Mux {
    side: Side,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    out: BytesMut,
    streams: FxHashMap<u32, Stream>,
    next_stream: u32,
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
}

impl Mux {
    pub(crate) fn new(side: Side) -> Arc<Self> {
        let next_stream = match side {
            Side::Edge => 1,
            Side::Isolate => 2,
        };
        Arc::new(Self {
            side,
            state: Mutex::new(State {
                out: BytesMut::new(),
                streams: FxHashMap::default(),
                next_stream,
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

    /// The id of a stream that is about to be opened.
    pub fn reserve(&self) -> u32 {
        let mut state = self.lock();
        let stream = state.next_stream;
        // Ids wrap after two thousand million streams; by then the early ones are over.
        state.next_stream = stream.checked_add(2).unwrap_or(if self.side == Side::Edge { 1 } else { 2 });
        stream
    }

    /// Opens a stream under a reserved id; `body` is sent as credit allows and `fin` says that it is the whole.
    pub fn open(&self, stream: u32, head: &[u8], body: Bytes, fin: bool) -> Result<Opened, DoorError> {
        let (sender, reply) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return Err(DoorError::Closed);
        }
        let mut entry = Stream::new(self.side == Side::Isolate);
        entry.reply = Some(sender);
        state.send_head(stream, &mut entry, Kind::Open, 0, head, body, fin);
        state.streams.insert(stream, entry);
        state.wake();
        Ok(Opened { stream, reply })
    }

    /// Answers a stream that the other end opened. `done` also ends the event's work.
    pub fn respond(&self, stream: u32, head: &[u8], body: Bytes, fin: bool, done: bool) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        if entry.reset.is_none() && !entry.responded {
            entry.responded = true;
            let flags = if done { DONE } else { 0 };
            entry.done |= done;
            state.send_head(stream, &mut entry, Kind::Respond, flags, head, body, fin);
        }
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Says that an event's work is over, `waitUntil` included.
    pub fn done(&self, stream: u32, cpu_us: u64) {
        let mut state = self.lock();
        if let Some(mut entry) = state.streams.remove(&stream) {
            entry.done = true;
            state.keep_unless_over(stream, entry);
        }
        frame::encode(&mut state.out, stream, Kind::Done, 0, &[&cpu_us.to_le_bytes()]);
        state.wake();
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

    fn control(&self, stream: u32, kind: Kind, payload: &[u8]) {
        let mut state = self.lock();
        frame::encode(&mut state.out, stream, kind, 0, &[payload]);
        state.wake();
    }

    /// Ends a stream, both ways, with a reason.
    pub fn reset(&self, stream: u32, reset: &Reset) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        if entry.reset.is_none() && !(entry.sent_fin && entry.received_fin) {
            let code = [reset.code as u8];
            let text = reset.text.as_bytes();
            let text = text.get(..text.len().min(DATA_BYTES_MAX)).unwrap_or_default();
            frame::encode(&mut state.out, stream, Kind::Reset, 0, &[&code, text]);
            entry.end(reset.clone());
        }
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

    /// Sends a piece now, whatever the credit: for use after [`Mux::poll_ready`] said yes.
    pub fn send(&self, stream: u32, chunk: Chunk) -> Result<(), Reset> {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return Err(Reset::new(ResetCode::Cancelled, "the stream is over"));
        };
        let result = match &entry.reset {
            Some(reset) => Err(reset.clone()),
            None => {
                state.send_chunk(stream, &mut entry, chunk);
                Ok(())
            }
        };
        state.streams.insert(stream, entry);
        state.wake();
        result
    }

    /// Whether the receiver has room for another piece.
    pub fn poll_ready(&self, stream: u32, cx: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else {
            return Poll::Ready(Err(Reset::new(ResetCode::Cancelled, "the stream is over")));
        };
        if let Some(reset) = &entry.reset {
            return Poll::Ready(Err(reset.clone()));
        }
        if entry.credit > 0 && entry.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        entry.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the stream ended early. Shares its waker with [`Mux::poll_ready`]: one of the two may wait at a time.
    pub fn poll_reset(&self, stream: u32, cx: &mut Context<'_>) -> Poll<Reset> {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else {
            return Poll::Ready(Reset::new(ResetCode::Cancelled, "the stream is over"));
        };
        if let Some(reset) = &entry.reset {
            return Poll::Ready(reset.clone());
        }
        entry.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_chunk(&self, stream: u32, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, Reset>>> {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            // A stream is forgotten once its reader knows how it ended.
            return Poll::Ready(None);
        };
        let polled = match entry.queue.pop_front() {
            Some(chunk) => {
                entry.queued -= chunk.bytes();
                state.consumed(stream, &mut entry, chunk.bytes());
                Poll::Ready(Some(Ok(chunk)))
            }
            None if entry.received_fin => Poll::Ready(None),
            None => match &entry.reset {
                Some(reset) => {
                    entry.told = true;
                    Poll::Ready(Some(Err(reset.clone())))
                }
                None => {
                    entry.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            },
        };
        state.keep_unless_over(stream, entry);
        state.wake();
        polled
    }

    pub(crate) fn discard(&self, stream: u32) {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return;
        };
        entry.discard = true;
        entry.queue.clear();
        let bytes = std::mem::take(&mut entry.queued);
        state.consumed(stream, &mut entry, bytes);
        state.keep_unless_over(stream, entry);
        state.wake();
    }

    /// Acts on one received frame.
    pub(crate) fn receive(self: &Arc<Self>, frame: Frame) -> Result<Received, DoorError> {
        match frame.kind {
            Kind::Open => self.receive_open(frame),
            Kind::Respond => self.receive_respond(frame),
            Kind::Data | Kind::Message | Kind::Close => self.receive_chunk(frame),
            Kind::Credit => self.receive_credit(&frame),
            Kind::Reset => Ok(self.receive_reset(&frame)),
            Kind::Done => self.receive_done(&frame),
            Kind::Log => Ok(Received::Log { stream: frame.stream, record: frame.payload }),
            Kind::Load if self.side == Side::Isolate => Ok(Received::Load(frame.payload)),
            Kind::Ready if self.side == Side::Edge => Ok(Received::Ready(frame.payload)),
            Kind::Condemned if self.side == Side::Edge => Ok(Received::Condemned(frame.payload)),
            Kind::Load | Kind::Ready | Kind::Condemned => Err(DoorError::Protocol("frame from the wrong side")),
        }
    }

    fn receive_open(self: &Arc<Self>, frame: Frame) -> Result<Received, DoorError> {
        let theirs = match self.side {
            Side::Edge => frame.stream % 2 == 0 && frame.stream != 0,
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
        let (head, first) = frame::split_head(frame.payload)?;
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&stream) else {
            return Ok(Received::Done { stream: 0, cpu_us: 0 });
        };
        entry.received_fin = fin;
        entry.done |= done;
        let Some(reply) = entry.reply.take() else {
            if entry.reset.is_some() {
                state.keep_unless_over(stream, entry);
                return Ok(Received::Nothing);
            }
            return Err(DoorError::Protocol("stream answered twice"));
        };
        state.keep_unless_over(stream, entry);
        drop(state);
        let rest = (!fin).then(|| (Arc::clone(self), stream));
        // A receiver that is gone no longer wants the answer; dropping the body discards the rest.
        let _ = reply.send(Ok(Reply { stream, head: Head(head), body: Inbound::new(first, rest) }));
        if done { Ok(Received::Done { stream, cpu_us: 0 }) } else { Ok(Received::Nothing) }
    }

    fn receive_chunk(&self, frame: Frame) -> Result<Received, DoorError> {
        let mut state = self.lock();
        let Some(mut entry) = state.streams.remove(&frame.stream) else {
            return Ok(Received::Nothing);
        };
        if entry.received_fin {
            return Err(DoorError::Protocol("data after the end of a stream"));
        }
        entry.received_fin |= frame.has(FIN);
        let stream = frame.stream;
        let Some(chunk) = chunk_of(frame, &mut entry)? else {
            state.streams.insert(stream, entry);
            return Ok(Received::Nothing);
        };
        if entry.discard {
            state.consumed(stream, &mut entry, chunk.bytes());
        } else if chunk != Chunk::Data(Bytes::new()) {
            // A WebSocket message may exceed the window on its own; what was queued before it may not.
            if entry.queued > crate::stream::WINDOW_BYTES {
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
            entry.credit = entry.credit.saturating_add(u32::from_le_bytes(bytes) as isize);
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
        entry.end(reset.clone());
        state.keep_unless_over(frame.stream, entry);
        Received::Reset { stream: frame.stream, reset }
    }

    fn receive_done(&self, frame: &Frame) -> Result<Received, DoorError> {
        let bytes: [u8; 8] =
            frame.payload.as_ref().try_into().map_err(|_| DoorError::Protocol("done of the wrong size"))?;
        let mut state = self.lock();
        if let Some(mut entry) = state.streams.remove(&frame.stream) {
            entry.done = true;
            state.keep_unless_over(frame.stream, entry);
        }
        Ok(Received::Done { stream: frame.stream, cpu_us: u64::from_le_bytes(bytes) })
    }

    /// Ends every stream: the connection is gone.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for (stream, mut entry) in std::mem::take(&mut state.streams) {
            entry.end(Reset::lost());
            // What has arrived may still be read, and why no more comes.
            entry.done = true;
            state.keep_unless_over(stream, entry);
        }
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
        std::mem::swap(&mut state.out, into);
        true
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

impl Stream {
    /// Ends the stream and wakes everyone who waits on it.
    fn end(&mut self, reset: Reset) {
        if let Some(reply) = self.reply.take() {
            // Nobody waits: then nobody needs to know.
            let _ = reply.send(Err(reset.clone()));
            self.discard = true;
        }
        self.pending = Bytes::new();
        if !self.received_fin {
            self.queue.clear();
            self.queued = 0;
        }
        self.reset.get_or_insert(reset);
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl State {
    fn wake(&mut self) {
        if !self.out.is_empty()
            && let Some(waker) = self.flush.take()
        {
            waker.wake();
        }
    }

    fn keep_unless_over(&mut self, stream: u32, entry: Stream) {
        if !entry.is_over() {
            self.streams.insert(stream, entry);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one call per kind of head frame, each naming its parts")]
    fn send_head(
        &mut self,
        stream: u32,
        entry: &mut Stream,
        kind: Kind,
        flags: u8,
        head: &[u8],
        mut body: Bytes,
        fin: bool,
    ) {
        let first = body.split_to(body.len().min(DATA_BYTES_MAX));
        let whole = fin && body.is_empty();
        let flags = if whole { flags | FIN } else { flags };
        frame::encode_head(&mut self.out, stream, kind, flags, head, &first);
        entry.sent_fin = whole;
        entry.pending = body;
        entry.pending_fin = fin;
        self.pump(stream, entry);
    }

    /// Sends what is pending as far as the credit goes.
    fn pump(&mut self, stream: u32, entry: &mut Stream) {
        while !entry.pending.is_empty() && entry.credit > 0 {
            let piece = entry.pending.len().min(entry.credit.unsigned_abs()).min(DATA_BYTES_MAX);
            let data = entry.pending.split_to(piece);
            entry.credit -= piece as isize;
            frame::encode(&mut self.out, stream, Kind::Data, 0, &[&data]);
        }
        if entry.pending.is_empty() && entry.pending_fin && !entry.sent_fin && entry.reset.is_none() {
            entry.sent_fin = true;
            frame::encode(&mut self.out, stream, Kind::Data, FIN, &[]);
        }
    }

    fn send_chunk(&mut self, stream: u32, entry: &mut Stream, chunk: Chunk) {
        if !matches!(chunk, Chunk::Data(_)) {
            entry.credit = entry.credit.saturating_sub(chunk.bytes() as isize);
        }
        match chunk {
            Chunk::Data(data) => {
                // Never reorder: what is pending goes first.
                if entry.pending.is_empty() {
                    entry.pending = data;
                } else {
                    let mut joined = BytesMut::from(&entry.pending[..]);
                    joined.extend_from_slice(&data);
                    entry.pending = joined.freeze();
                }
                self.pump(stream, entry);
            }
            Chunk::Message { text, data } => {
                let flags = if text { TEXT } else { 0 };
                let mut rest = &data[..];
                while let Some((piece, after)) = rest.split_at_checked(FRAME_BYTES_MAX).filter(|(_, a)| !a.is_empty()) {
                    frame::encode(&mut self.out, stream, Kind::Message, flags | MORE, &[piece]);
                    rest = after;
                }
                frame::encode(&mut self.out, stream, Kind::Message, flags, &[rest]);
            }
            Chunk::Close { code, reason } => {
                frame::encode(&mut self.out, stream, Kind::Close, 0, &[&code.to_le_bytes(), reason.as_bytes()]);
            }
        }
    }

    fn consumed(&mut self, stream: u32, entry: &mut Stream, bytes: usize) {
        entry.uncredited += bytes;
        if entry.uncredited >= CREDIT_STEP_BYTES && !entry.received_fin && entry.reset.is_none() {
            let credit = (entry.uncredited as u32).to_le_bytes();
            entry.uncredited = 0;
            frame::encode(&mut self.out, stream, Kind::Credit, 0, &[&credit]);
        }
    }
}
