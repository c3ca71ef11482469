//! What is told about the platform and its workers: tails, metrics, logs.
//!
//! - [`Tails`]: who watches a worker's events as they end. Filters are applied here, an event is serialised once, and a
//!   watcher that is slow loses events, and is told so, rather than hold anybody up.
//! - [`Metrics`]: counters and histograms in the text format that Prometheus reads. The number of series is bounded,
//!   however many workers, routes or accounts there are.
//! - [`logs`]: the program's own log, as text or as JSON lines.
//! - [`redacted`] and [`redacted_url`]: requests as they may be shown to whoever reads logs: without credentials;
//!   [`hidden`]: what they leave out.
//! - [`Seldom`]: keeps a warning that an outsider can cause from filling the log.
//!
//! Nothing here blocks or fails an event: recording takes short locks, never waits for a reader, and every queue is
//! bounded. When nobody watches, [`Tails::wants`] costs one atomic load.
#![forbid(unsafe_code)]

mod log_lines;
pub mod logs;
mod metrics;
mod redaction;
mod seldom;
mod tails;

pub use metrics::{METRICS_CONTENT_TYPE, Metrics};
pub use redaction::{REDACTED, hidden, redacted, redacted_url};
pub use seldom::Seldom;
pub use tails::{Filters, TailError, TailMessages, TailSession, Tails};
