//! The point of presence beside the control plane.

use futures_util::future::BoxFuture;
use selvedge_fabric::Revision;
use selvedge_model::VersionRecord;

/// Tries a version before it exists, and says when what changed is served.
pub trait NearestPop: Send + Sync {
    /// Starts a version once, under the limits of a start. Its blobs are in the fabric by then; its secrets are sealed in
    /// the record.
    fn start<'a>(&'a self, version: &'a VersionRecord) -> BoxFuture<'a, Result<Started, StartFailure>>;

    /// Resolves once it serves everything that was published up to that revision; never, if it can't follow.
    fn served(&self, published: Revision) -> BoxFuture<'_, ()>;
}

/// It starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The kinds of event that it handles.
    pub handlers: Vec<String>,
    /// The names of further exports that answer to anything: entrypoints, Durable Objects, Workflows.
    pub entrypoints: Vec<String>,
    /// CPU time of the start, in milliseconds.
    pub startup_ms: u64,
}

/// It does not start, or could not be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// One line.
    pub message: String,
    /// Where, in the words of the sources as far as there are source maps. May be empty.
    pub stack: String,
    /// It was not the version's fault: nothing was there to start it.
    pub unavailable: bool,
}
