//! What can go wrong.

use std::path::PathBuf;

use crate::fabric::Position;

/// Why the fabric did not do it.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    #[error("the log {log} ends at {}, not at {}", .end.0, .expected.0)]
    Conflict { log: String, expected: Position, end: Position },
    #[error("{what} of {bytes} bytes: at most {bytes_max} are allowed")]
    TooLarge { what: &'static str, bytes: u64, bytes_max: u64 },
    #[error("the blob {hash} is damaged: its content has another hash")]
    Damaged { hash: String },
    #[error("{what} must not be empty")]
    Empty { what: &'static str },
    #[error("the folder {} is in use by another process, which must end first", .dir.display())]
    InUse { dir: PathBuf },
    #[error(
        "the store was made by a newer version of this program (it is in format {version}; up to {version_max} is known)"
    )]
    Newer { version: i32, version_max: i32 },
    #[error("the store {action}")]
    Store { action: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the fabric has been closed")]
    Closed,
}

// === impl FabricError ===

impl FabricError {
    /// For `map_err`: what the store could not do.
    pub(crate) fn store<E>(action: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Store { action, source: source.into() }
    }
}
