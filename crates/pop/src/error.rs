//! What can go wrong.

use std::path::PathBuf;

use selvedge_fabric::FabricError;

/// Why a point of presence cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum PopError {
    #[error("cannot use the folder {}", .path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the folder {} is in use by another edge, which must end first", .path.display())]
    InUse { path: PathBuf },
    #[error("the local copy of what is deployed, {}, cannot be opened", .path.display())]
    OpenRows { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the local copy of what is deployed, {}, is damaged ({reason}): bring it back from a backup, or remove it and \
         start with the control plane, which makes it anew",
        .path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("the local copy of what is deployed {action}")]
    Rows { action: &'static str, source: rusqlite::Error },
    #[error("the record of {key} cannot be read")]
    Record { key: String, source: serde_json::Error },
    #[error("the blob {hash} is in no store")]
    NoBlob { hash: String },
    #[error("the blob {hash} came with another content")]
    WrongBlob { hash: String },
    #[error("the blob {hash} cannot be kept")]
    KeepBlob { hash: String, source: std::io::Error },
    #[error("the blob {hash} cannot be read")]
    ReadBlob { hash: String, source: std::io::Error },
    #[error("the fabric does not answer")]
    Fabric(#[from] FabricError),
    #[error("the reader of the local copy has stopped")]
    Stopped,
}

impl PopError {
    /// Whether it is about what one version is made of, and waiting makes it no better.
    pub(crate) fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Record { .. }
                | Self::NoBlob { .. }
                | Self::WrongBlob { .. }
                | Self::ReadBlob { .. }
                | Self::Fabric(FabricError::Damaged { .. })
        )
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
