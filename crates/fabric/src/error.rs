//! What can go wrong.

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
    #[error("the store {action}")]
    Store { action: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the fabric has been closed")]
    Closed,
}
