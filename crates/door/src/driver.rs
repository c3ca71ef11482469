//! Moves bytes between a socket and a [`Mux`].

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::UnixStream;

use crate::DoorError;
use crate::frame;
use crate::head::Head;
use crate::mux::{Mux, Received, Side};
use crate::stream::{Inbound, Reset};

/// How much one read asks for: 64 KiB.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where reads go first.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Something that the driver's owner must act on; the rest goes to the streams' own users.
#[derive(Debug)]
pub enum Event {
    /// The other end opened a stream; answer it with [`Mux::respond`] or [`Mux::reset`].
    Opened { stream: u32, head: Head, body: Inbound },
    /// The other end ended a stream early.
    Reset { stream: u32, reset: Reset },
    /// The work of the event on this stream is over, and took so much CPU time.
    Done { stream: u32, cpu_us: u64 },
    /// A log record (JSON) of the event on this stream.
    Log { stream: u32, record: Bytes },
    /// The version to run.
    Load(Bytes),
    /// The version runs, or why it does not.
    Ready(Bytes),
    /// The isolate takes no more, and why.
    Condemned(Bytes),
    /// The time of the event on this stream is over.
    Expired { stream: u32 },
    /// How much memory the isolate holds.
    Memory { bytes: u64 },
}

/// Drives one end of a host door: reads frames, writes what waits.
#[derive(Debug)]
pub struct Driver {
    mux: Arc<Mux>,
    socket: UnixStream,
    input: BytesMut,
    output: BytesMut,
}

impl Driver {
    /// Drives this end of `socket`.
    pub fn new(socket: UnixStream, side: Side) -> Self {
        Self { mux: Mux::new(side), socket, input: BytesMut::new(), output: BytesMut::new() }
    }

    /// The streams of this connection.
    pub fn mux(&self) -> &Arc<Mux> {
        &self.mux
    }

    /// The next event. Reads from the socket only when every frame already read has been acted on.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, DoorError>> {
        loop {
            while let Some(frame) = frame::decode(&mut self.input, true)? {
                if let Some(event) = event_of(self.mux.receive(frame)?) {
                    return Poll::Ready(Ok(event));
                }
            }
            std::task::ready!(self.poll_read(cx))?;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DoorError>> {
        loop {
            std::task::ready!(self.socket.poll_read_ready(cx)).map_err(DoorError::Socket)?;
            // Frames keep the buffer that they arrived in, so each read would need a new one, of pages never touched: a
            // read goes to a buffer that every driver of the thread shares, and only what came is copied.
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let read = self.socket.try_read(scratch)?;
                self.input.extend_from_slice(scratch.get(..read).unwrap_or_default());
                Ok::<usize, io::Error>(read)
            });
            match read {
                Ok(0) => return Poll::Ready(Err(DoorError::Closed)),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(DoorError::Socket(error))),
            }
        }
    }

    /// Writes what waits; pending while the socket takes no more. Wakes the task when something new waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DoorError>> {
        loop {
            while self.output.has_remaining() {
                std::task::ready!(self.socket.poll_write_ready(cx)).map_err(DoorError::Socket)?;
                match self.socket.try_write(&self.output) {
                    Ok(written) => self.output.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(DoorError::Socket(error))),
                }
            }
            self.output.clear();
            if !self.mux.take_out(&mut self.output, cx) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The next event, writing what waits meanwhile.
    pub async fn event(&mut self) -> Result<Event, DoorError> {
        std::future::poll_fn(|cx| {
            let event = self.poll_event(cx);
            // After an event there may be another in the same read: write only when input is used up.
            if event.is_pending()
                && let Poll::Ready(Err(error)) = self.poll_flush(cx)
            {
                return Poll::Ready(Err(error));
            }
            event
        })
        .await
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.mux.close();
    }
}

fn event_of(received: Received) -> Option<Event> {
    Some(match received {
        Received::Nothing => return None,
        Received::Opened { stream, head, body } => Event::Opened { stream, head, body },
        Received::Reset { stream, reset } => Event::Reset { stream, reset },
        Received::Done { stream, cpu_us } => Event::Done { stream, cpu_us },
        Received::Log { stream, record } => Event::Log { stream, record },
        Received::Load(payload) => Event::Load(payload),
        Received::Ready(payload) => Event::Ready(payload),
        Received::Condemned(payload) => Event::Condemned(payload),
        Received::Expired { stream } => Event::Expired { stream },
        Received::Memory { bytes } => Event::Memory { bytes },
    })
}
