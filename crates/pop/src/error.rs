//! What can go wrong.

use std::path::PathBuf;

use selvedge_fabric::FabricError;

/// Why a point of presence cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum PopError {
    #[error("cannot use the folder {}", .path.display())]
    Folder { path: PathBuf, source: std::io::Error },
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
