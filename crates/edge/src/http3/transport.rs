//! QUIC as HTTP/3 wants it: the traits of `h3`, for a server, by quinn.
//!
//! `h3-quinn` is not used, because it hides how a stream ends from whoever answers on it: a request whose client wants no
//! answer must end, and a connection may not end before its answers have arrived.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

/// What quinn was asked for: kept until it comes, because it wakes nobody once it is dropped.
type Asked<T> = Option<Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>>;

/// Resolves when nothing is left to send on a stream: the client acknowledged all of it, wants no more, or is gone. Not
/// for a stream that was reset here: quinn tells nobody when that has arrived.
pub type Settled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection.
pub struct Connection {
    quic: quinn::Connection,
    request: Asked<(quinn::SendStream, quinn::RecvStream)>,
    incoming: Asked<quinn::RecvStream>,
    outgoing: Asked<quinn::SendStream>,
    /// Of the request that was accepted last.
    pub settled: Option<Settled>,
}

/// A stream with a request and its answer.
pub struct BidiStream {
    send: SendStream,
    receive: RecvStream,
}

pub struct SendStream {
    quic: quinn::SendStream,
    /// What is under way to quinn.
    writing: Option<WriteBuf<Bytes>>,
}

pub struct RecvStream(quinn::RecvStream);

// === impl Connection ===

impl Connection {
    pub fn new(quic: quinn::Connection) -> Self {
        Self { quic, request: None, incoming: None, outgoing: None, settled: None }
    }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Self;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let quic = &self.quic;
        let asked = poll_asked(&mut self.incoming, cx, || {
            let quic = quic.clone();
            async move { quic.accept_uni().await }
        });
        asked.map_ok(RecvStream).map_err(lost)
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let quic = &self.quic;
        let asked = poll_asked(&mut self.request, cx, || {
            let quic = quic.clone();
            async move { quic.accept_bi().await }
        });
        let (send, receive) = ready!(asked).map_err(lost)?;
        let stopped = send.stopped();
        self.settled = Some(Box::pin(async move {
            // However it ended, nothing is left to send.
            let _ = stopped.await;
        }));
        Poll::Ready(Ok(BidiStream { send: SendStream::new(send), receive: RecvStream(receive) }))
    }

    fn opener(&self) -> Self {
        Self::new(self.quic.clone())
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        Poll::Ready(Err(StreamErrorIncoming::Unknown("a server makes no requests".into())))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let quic = &self.quic;
        let asked = poll_asked(&mut self.outgoing, cx, || {
            let quic = quic.clone();
            async move { quic.open_uni().await }
        });
        asked.map_ok(SendStream::new).map_err(lost_below)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(number(code.value()), reason);
    }
}

// === impl BidiStream ===

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.receive)
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receive.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}

// === impl SendStream ===

impl SendStream {
    fn new(quic: quinn::SendStream) -> Self {
        Self { quic, writing: None }
    }
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.quic).poll_write(cx, data.chunk())).map_err(not_written)?;
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            // Half of a frame would be read as what it is not.
            return Err(StreamErrorIncoming::Unknown("a frame is under way already".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(self.quic.finish().map_err(|closed| StreamErrorIncoming::Unknown(Box::new(closed))))
    }

    fn reset(&mut self, code: u64) {
        // What is closed already needs no reset.
        let _ = self.quic.reset(number(code));
    }

    fn send_id(&self) -> StreamId {
        id(self.quic.id())
    }
}

// === impl RecvStream ===

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // Dropped before it is ready, it loses nothing, and the stream still wakes who waits for it.
        let read = ready!(pin!(self.0.read_chunk(usize::MAX, true)).poll(cx));
        Poll::Ready(read.map(|chunk| chunk.map(|chunk| chunk.bytes)).map_err(not_read))
    }

    fn stop_sending(&mut self, code: u64) {
        // What is closed already is sent no more.
        let _ = self.0.stop(number(code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.0.id())
    }
}

/// Waits for what quinn was asked for. `ask` asks, unless that was done.
fn poll_asked<T, F>(
    asked: &mut Asked<T>,
    cx: &mut Context<'_>,
    ask: impl FnOnce() -> F,
) -> Poll<Result<T, ConnectionError>>
where
    F: Future<Output = Result<T, ConnectionError>> + Send + 'static,
{
    let given = ready!(asked.get_or_insert_with(|| Box::pin(ask())).as_mut().poll(cx));
    *asked = None;
    Poll::Ready(given)
}

fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn id(stream: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(stream)).unwrap_or_else(|_| unreachable!("an id of QUIC is one of HTTP/3"))
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn lost_below(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
}

fn not_read(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => lost_below(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn not_written(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => lost_below(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
