//! Why an event has no answer, in a form that the response, the log and the tail share.

use serde::{Deserialize, Serialize};

/// A place in the worker's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as its author named it where a source map tells, else the module's name.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub column: u32,
    /// The function, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    CpuMs,
    WallMs,
    MemoryBytes,
    StartupMs,
    Subrequests,
    RequestBodyBytes,
    ResponseHeaderBytes,
    /// The isolates that an account may have where others want some.
    AccountIsolates,
    /// The memory that all of an account's isolates may hold where others want some.
    AccountMemoryBytes,
}

/// A limit was exceeded: which, how far, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitError {
    pub limit: LimitName,
    pub used: u64,
    pub allowed: u64,
    pub worker: String,
    pub version: String,
    pub request_id: String,
    /// Where the code was, where that is known.
    #[serde(rename = "where")]
    pub place: Option<Place>,
}

/// An exception that left the worker's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    pub name: String,
    pub message: String,
    /// V8's stack, source-mapped where a source map was there.
    #[serde(default)]
    pub stack: String,
}

/// Why an event has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The handler threw or rejected.
    Exception {
        #[serde(flatten)]
        exception: Exception,
        /// The worker asked to be passed by (`passThroughOnException`).
        #[serde(default, rename = "passThrough")]
        pass_through: bool,
    },
    /// The handler waits on what can never happen.
    Hung {
        #[serde(flatten)]
        exception: Exception,
    },
    /// A limit was exceeded.
    Limit {
        #[serde(flatten)]
        error: LimitError,
    },
}

impl Failure {
    /// The same failure, of the request with that id: what a runner says of limits names no request that it could not
    /// have made up.
    #[must_use]
    pub fn of_request(self, request_id: &str) -> Self {
        match self {
            Self::Limit { error } => Self::Limit { error: LimitError { request_id: request_id.to_owned(), ..error } },
            other => other,
        }
    }
}
