//! What workers log and what becomes of their events, told to whoever runs the edge.

use std::sync::Arc;
use std::time::Duration;

use selvedge_model::{Failure, Outcome, Trace, TraceOf, WorkerKey};

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

/// How closely the events of a worker are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Nobody looks.
    None,
    /// How they end counts.
    Outcome,
    /// Everything that they did is wanted.
    Trace,
}

/// An event that is over.
#[derive(Debug)]
pub struct Ended<'a> {
    pub of: &'a TraceOf,
    pub outcome: Outcome,
    /// The status of its answer, where it was a request and had one.
    pub status: Option<u16>,
    pub cpu: Duration,
    /// From its arrival to its end, `waitUntil` included.
    pub wall: Duration,
    /// All that it did, where that was wanted.
    pub trace: Option<Arc<Trace>>,
}

/// Receives records. Called on the path of requests: must not block.
pub trait Records: Send + Sync {
    /// A worker logged something.
    fn log(&self, record: LogRecord);
    /// An event failed.
    fn failed(&self, worker: &str, request_id: &str, failure: &Failure);

    /// How closely the events of a worker are looked at. Asked for each.
    fn attention(&self, worker: &WorkerKey) -> Attention {
        let _ = worker;
        Attention::None
    }

    /// A request was answered with a file of a worker, which did not run.
    fn asset(&self, status: u16) {
        let _ = status;
    }

    /// An instance was started for an event that waited for it.
    fn cold_start(&self, time: Duration) {
        let _ = time;
    }

    /// Another deployment of a worker serves from now on.
    fn deployed(&self, worker: &WorkerKey) {
        let _ = worker;
    }

    /// A worker is there no more.
    fn removed(&self, worker: &WorkerKey) {
        let _ = worker;
    }

    /// An event is over.
    fn ended(&self, ended: Ended<'_>) {
        drop(ended);
    }
}
