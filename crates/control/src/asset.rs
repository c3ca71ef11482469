//! Uploads of static assets: what is missing is asked for, checked as it comes, and kept once.

use std::collections::BTreeMap;

use bytes::Bytes;
use selvedge_model::{AccountId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;

/// One file that an upload is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetEntry {
    /// The first 32 hexadecimal digits of BLAKE3 over the content in base64 followed by the extension without its dot.
    pub hash: String,
    /// Bytes.
    pub size: u64,
}

/// An upload of assets has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetsSession {
    /// Lets its holder upload these files, and nothing else. It also is the completion token, if nothing is missing.
    pub token: String,
    /// The hashes of what is missing, grouped as they are to be sent.
    pub buckets: Vec<Vec<String>>,
}

/// How far an upload of assets is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetsUploaded {
    /// How many files are missing yet.
    pub missing: u64,
    /// What an upload's metadata names as `assets.jwt`: there once nothing is missing.
    pub completion: Option<String>,
}

impl Control {
    /// Begins an upload of assets for a worker, which need not exist yet. Needs `workers:write`.
    pub async fn start_assets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        manifest: BTreeMap<String, AssetEntry>,
    ) -> Result<AssetsSession, ControlError> {
        pending((caller, account, worker, manifest))
    }

    /// Refuses a token of an upload of assets that is unknown or has expired: before its body is read.
    pub async fn check_assets_token(&self, token: &str) -> Result<(), ControlError> {
        pending(token)
    }

    /// Takes one file of an upload, whose token says which. The content is compared with the hash. Without a content
    /// type, or with `application/null`, the file is served without one.
    pub async fn put_asset(
        &self,
        token: &str,
        hash: &str,
        content_type: Option<&str>,
        content: Bytes,
    ) -> Result<AssetsUploaded, ControlError> {
        pending((token, hash, content_type, content))
    }
}
