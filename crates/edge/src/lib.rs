//! The edge: owns the sockets of a PoP, finds the worker for each request, and dispatches to an instance of it.
//!
//! Tenant code never runs here. What a worker may do to the world it asks of the edge over its instance's host door
//! (`host`); the edge answers for the worker that the instance was made for, whatever the bytes say.
//!
//! Guarantees:
//! - a request that no instance has begun is tried on another when an instance is lost;
//! - an event whose instance was lost after it began is answered 503 with the reason;
//! - each kill names which limit, used, allowed and where, in the response, the log and the record of the event;
//! - stopping drains: accepted requests are answered before the edge ends.
#![forbid(unsafe_code)]

mod admit;
mod answer;
mod body;
mod cached;
mod calls;
mod client_body;
mod client_head;
mod client_stream;
mod client_url;
mod clients;
mod coding;
mod connection;
mod connections;
mod deployed;
mod dispatch;
mod edge;
mod events;
mod head;
mod hop_by_hop;
mod host;
mod http2;
mod http3;
mod inside;
mod instance;
mod late;
mod pages;
mod pool;
mod rate_limits;
mod records;
mod relay;
mod requests;
mod secure;
mod server;
mod shares;
mod sharing;
mod site;
mod slot;
mod sockets;
mod stall;
mod table;
mod trace;
mod upload;
mod watch;

pub use deployed::{Assets, Deployed, ServiceTarget, SourceMapper};
pub use edge::{Edge, EdgeConfig, Load};
pub use events::EventError;
pub use pages::sentence;
pub use pool::NoInstance;
pub use records::{Attention, Ended, LogRecord, Records};
pub use secure::{Security, SecurityError};
pub use server::{Server, ServerError};
pub use site::Site;
pub use slot::{NoVersion, Versions};
