//! The host door: the one way in and out of an isolate.
//!
//! The edge and one isolate share one Unix stream socket. On it travel multiplexed streams: an event for the worker
//! (a request, a cron trigger, an RPC call) is a stream that the edge opens; everything the worker asks of the world
//! (outbound fetch, service bindings, cache, assets) is a stream that the isolate opens. Both ends run the same
//! [`Mux`]; what differs is only who drives it.
//!
//! Guarantees:
//! - frames written between two flushes leave in one `write`: at load the cost of a system call is shared by many
//!   requests;
//! - back-pressure: a sender holds at most [`WINDOW_BYTES`] of a stream that the receiver has not consumed;
//! - the other end is never believed: a frame over its bound, an unknown kind or a stream id of the wrong side ends
//!   the connection with a [`DoorError`] that says which;
//! - a stream ends once: by both ends' FIN, or by one RESET, and whoever waits on it is told: a body cut short never
//!   looks whole;
//! - when the connection is lost, a stream on which nothing was begun ends with [`ResetCode::Refused`]: nothing it
//!   asked for was done, so it can be opened again elsewhere.
#![forbid(unsafe_code)]

mod driver;
mod frame;
mod head;
mod mux;
mod stream;

pub use driver::{Driver, Event};
pub use frame::{DATA_BYTES_MAX, FRAME_BYTES_MAX, HEAD_BYTES_MAX, LOAD_BYTES_MAX};
pub use head::{Head, HeadBuilder, HeadError};
pub use mux::{Mux, Side};
pub use stream::{Chunk, Inbound, MESSAGE_BYTES_MAX, Opened, Outbound, Reply, Reset, ResetCode, WINDOW_BYTES};

/// Why a door connection ended.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The socket failed.
    #[error("the host door's socket failed")]
    Socket(#[source] std::io::Error),
    /// The other end closed the socket.
    #[error("the other end of the host door closed it")]
    Closed,
    /// The other end broke the protocol; nothing it says is believed any more.
    #[error("the other end of the host door broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Why a stream was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The connection is gone.
    #[error("the other end of the host door closed it")]
    Closed,
    /// The head does not fit in a frame.
    #[error("the request's method, URL and headers take {used} bytes; {allowed} are allowed")]
    HeadTooLarge { used: usize, allowed: usize },
}
