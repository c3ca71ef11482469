//! Workers: what stays the same from version to version.

use std::collections::BTreeMap;

use selvedge_model::{AccountId, VersionId, WorkerName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::binding::BindingInput;
use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::deployment::Deployment;
use crate::error::ControlError;
use crate::page::Page;
use crate::version::VersionSummary;

/// A worker that is told of another's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    pub service: WorkerName,
}

/// A worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    pub account: AccountId,
    pub name: WorkerName,
    /// 32 hexadecimal digits, which stay while it exists.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970: the last change of any kind.
    pub modified_ms: u64,
    pub tags: Vec<String>,
    /// The tag of the last migration that was applied.
    pub migration_tag: Option<String>,
    /// What deployed last: `wrangler`, `selvedge`, `api`.
    pub last_deployed_from: Option<String>,
    pub logpush: bool,
    pub observability: Option<Value>,
    pub tail_consumers: Vec<Consumer>,
    /// Whether `worker.domain` leads to it.
    pub workers_dev: bool,
    /// Whether its versions have previews.
    pub previews: bool,
    /// What its host name and those of its previews end with: `domain` or `subdomain.domain`.
    pub host_suffix: String,
    /// Names for versions.
    pub aliases: BTreeMap<String, VersionId>,
    /// The version that was uploaded last.
    pub latest: Option<VersionId>,
    /// The content hash of that version.
    pub etag: Option<String>,
    pub deployment: Option<Deployment>,
}

/// What else refers to a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Workers whose deployed or latest version binds it, with the binding's name.
    pub services: Vec<(WorkerName, String)>,
    /// Workers whose events it is told of.
    pub tails: Vec<WorkerName>,
    /// Workers that use its Durable Objects, with the class.
    pub durable_objects: Vec<(WorkerName, String)>,
    /// Queues that it consumes.
    pub queues: Vec<String>,
}

/// Changes to what is not part of a version. What is none stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ScriptSettings {
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub tail_consumers: Option<Vec<Consumer>>,
    #[serde(default)]
    pub logpush: Option<bool>,
    /// As the client gave it; its `enabled` is what is looked at.
    #[serde(default)]
    pub observability: Option<Value>,
}

/// Changes to a worker's settings, some of which make a new version of it that is deployed. What is none stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SettingsPatch {
    /// All of the bindings: what is not among them goes, but for secrets.
    #[serde(default)]
    pub bindings: Option<Vec<BindingInput>>,
    #[serde(default)]
    pub compatibility_date: Option<String>,
    #[serde(default)]
    pub compatibility_flags: Option<Vec<String>>,
    #[serde(default)]
    pub limits: Option<Value>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub script: ScriptSettings,
    /// `placement` and others, which are kept and shown.
    #[serde(skip)]
    pub extra: Map<String, Value>,
}

impl Control {
    /// A worker. Needs `workers:read`.
    pub async fn worker(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Worker, ControlError> {
        pending((caller, account, worker))
    }

    /// The workers of an account, by name. Needs `workers:read`.
    pub async fn workers(&self, caller: &Caller, account: &AccountId, page: Page) -> Result<Vec<Worker>, ControlError> {
        pending((caller, account, page))
    }

    /// How many workers an account has. Needs `workers:read`.
    pub async fn count_workers(&self, caller: &Caller, account: &AccountId) -> Result<u64, ControlError> {
        pending((caller, account))
    }

    /// Removes a worker with all of its versions, routes, domains and triggers. Unless forced, not while another worker
    /// or a queue refers to it. Needs `workers:write`.
    pub async fn delete_worker(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        force: bool,
    ) -> Result<(), ControlError> {
        pending((caller, account, worker, force))
    }

    /// What refers to a worker. Needs `workers:read`.
    pub async fn references(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<References, ControlError> {
        pending((caller, account, worker))
    }

    /// Changes what is not part of a version. Needs `workers:write`.
    pub async fn change_script_settings(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        settings: ScriptSettings,
    ) -> Result<Worker, ControlError> {
        pending((caller, account, worker, settings))
    }

    /// Changes settings; those of them that belong to a version make a new one of the latest, which is deployed. Needs
    /// `workers:write`, and `secrets:write` if there are secrets in it.
    pub async fn change_settings(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        settings: SettingsPatch,
    ) -> Result<Worker, ControlError> {
        pending((caller, account, worker, settings))
    }

    /// Says whether the platform's domain leads to a worker and to its versions. Needs `workers:write`.
    pub async fn set_worker_subdomain(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        enabled: bool,
        previews: Option<bool>,
    ) -> Result<Worker, ControlError> {
        pending((caller, account, worker, enabled, previews))
    }

    /// The versions that can be deployed, newest first: as many as there are, up to what is kept. Needs `workers:read`.
    pub async fn deployable_versions(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<VersionSummary>, ControlError> {
        pending((caller, account, worker))
    }
}
