//! The platform's HTTP API: the shapes of Cloudflare's, over the control plane.
//!
//! What it guarantees: every answer below `/client/v4` is in the platform's envelope (`success`, `errors`, `messages`,
//! `result`), but for what the platform answers raw; whatever a client sends is read within bounds of size, time and
//! number, and refused with a 4xx that says what is wrong with what; nothing is decided here: who may do what, and what
//! follows from it, is `selvedge-control`'s. A 5xx is said of our own faults alone, because wrangler tries those again.
//!
//! Nothing here writes a token, a secret, a query or a body to the log.
#![forbid(unsafe_code)]

mod auth;
mod body;
mod connection;
mod envelope;
mod error;
mod extract;
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod memory;
mod multipart;
mod openapi;
mod page;
mod router;
mod routes;
mod secure;
mod server;
mod socket;
mod state;
mod stream;
mod throttle;
mod turns;
mod upload;
mod views;

pub use body::Pace;
pub use connection::Timeouts;
pub use router::document;
pub use secure::{Io, Secure};
pub use server::{ApiServer, ApiServerError};
pub use state::{ApiConfig, ApiState, Readiness};
