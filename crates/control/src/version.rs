//! Versions: immutable uploads, each started once before it exists.

use std::collections::BTreeMap;

use bytes::Bytes;
use selvedge_model::{AccountId, ModuleRecord, SourceMapRecord, VersionId, VersionRecord, WorkerName};
use serde_json::Value;

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;
use crate::page::Page;
use crate::secret::Secret;
use crate::upload::{Upload, UploadOptions, Uploaded};

/// What a list shows of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSummary {
    pub id: VersionId,
    pub number: u64,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    pub author: String,
    pub source: String,
    pub annotations: BTreeMap<String, String>,
}

/// A version with the bytes of its modules.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionContent {
    pub version: VersionRecord,
    pub modules: Vec<(ModuleRecord, Bytes)>,
    pub source_maps: Vec<(SourceMapRecord, Bytes)>,
}

/// What a binding of the latest version becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum EnvValue {
    Secret(Secret),
    Text(String),
    Json(Value),
}

/// Changes to `env` by name; none removes.
pub type EnvPatch = BTreeMap<String, Option<EnvValue>>;

impl Control {
    /// Makes a version of what was uploaded, once it was started; with [`crate::Deploy::Now`] it then has all the
    /// traffic. The worker comes to be, unless the options say that it must be there. Needs `workers:write`, and
    /// `secrets:write` if there are secrets in it.
    pub async fn upload(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        upload: Upload,
        options: UploadOptions,
    ) -> Result<Uploaded, ControlError> {
        pending((caller, account, worker, upload, options))
    }

    /// The versions of a worker, newest first. Needs `workers:read`.
    pub async fn versions(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        page: Page,
    ) -> Result<Vec<VersionSummary>, ControlError> {
        pending((caller, account, worker, page))
    }

    /// How many versions of the worker are kept. Needs `workers:read`.
    pub async fn count_versions(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<u64, ControlError> {
        pending((caller, account, worker))
    }

    /// One version, by its id with or without dashes. Secrets in it are sealed, and not to be shown even so. Needs
    /// `workers:read`.
    pub async fn version(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        id: &str,
    ) -> Result<VersionRecord, ControlError> {
        pending((caller, account, worker, id))
    }

    /// The version that was uploaded last. Needs `workers:read`.
    pub async fn latest_version(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<VersionRecord, ControlError> {
        pending((caller, account, worker))
    }

    /// A version (the latest, if none is named) with the bytes of its modules. Needs `workers:read`.
    pub async fn version_content(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        id: Option<&str>,
    ) -> Result<VersionContent, ControlError> {
        pending((caller, account, worker, id))
    }

    /// Makes a version that is the latest one with another `env`, and does not deploy it. Needs `workers:write`, and
    /// `secrets:write` if a secret changes.
    pub async fn edit_latest(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        env: EnvPatch,
        annotations: BTreeMap<String, String>,
    ) -> Result<VersionRecord, ControlError> {
        pending((caller, account, worker, env, annotations))
    }

    /// The names of the secrets of the latest version. Needs `workers:read`.
    pub async fn secrets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<String>, ControlError> {
        pending((caller, account, worker))
    }

    /// Changes secrets: a version that is the latest with other secrets is made and deployed. Removing one that is not
    /// there is [`ControlError::SecretNotFound`]. Needs `secrets:write`.
    pub async fn change_secrets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        secrets: BTreeMap<String, Option<Secret>>,
    ) -> Result<VersionRecord, ControlError> {
        pending((caller, account, worker, secrets))
    }
}
