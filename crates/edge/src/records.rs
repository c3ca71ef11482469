//! What workers log and what becomes of their events, told to whoever runs the edge.

use selvedge_model::Failure;

/// One log record of a worker.
#[derive(Debug, Clone)]
pub struct LogRecord {
    pub worker: String,
    /// Empty while the worker starts.
    pub request_id: String,
    /// `debug`, `log`, `info`, `warn` or `error`.
    pub level: String,
    pub message: Vec<String>,
}

/// Receives records. Called on the path of requests: must not block.
pub trait Records: Send + Sync {
    /// A worker logged something.
    fn log(&self, record: LogRecord);
    /// An event failed.
    fn failed(&self, worker: &str, request_id: &str, failure: &Failure);
}
