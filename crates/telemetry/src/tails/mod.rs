//! Who watches a worker's events as they end.

mod filters;
mod queue;
mod sessions;

pub use filters::Filters;
pub use sessions::{TailMessages, TailSession, Tails};

/// Why there is no such tail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    #[error("filters: {problem}")]
    Filters { problem: String },
    #[error("filters[{at}]: {problem}")]
    Filter { at: usize, problem: String },
    #[error("{worker} is watched by {sessions_max} tails already; close one of them first")]
    WorkerBusy { worker: String, sessions_max: usize },
    #[error("the account has {sessions_max} tails already; close one of them first")]
    AccountBusy { sessions_max: usize },
    #[error("there are {sessions_max} tails already; try again later")]
    Busy { sessions_max: usize },
    #[error("no random number could be had for the tail's id: {problem}")]
    NoRandomness { problem: String },
}
