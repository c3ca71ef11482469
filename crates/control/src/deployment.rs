//! Deployments: which versions serve, and how much each.

use std::collections::BTreeMap;

use selvedge_model::{AccountId, Share, VersionId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;
use crate::page::Page;

/// A deployment of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// A UUID.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    pub author: String,
    /// `wrangler`, `selvedge`, `api`, …
    pub source: String,
    /// `percentage`.
    pub strategy: String,
    pub annotations: BTreeMap<String, String>,
    pub versions: Vec<Share>,
}

/// A deployment to make.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewDeployment {
    /// `percentage`, which also is meant where nothing is given.
    pub strategy: Option<String>,
    /// Versions with their percentages: one or two, with at most two decimals, together 100.
    pub versions: Vec<(VersionId, f64)>,
    pub annotations: BTreeMap<String, String>,
    /// Deploys also where secrets go back to former values.
    pub force: bool,
}

impl Control {
    /// Makes a deployment: the worker is served so from now on. Needs `workers:write`.
    pub async fn deploy(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        new: NewDeployment,
    ) -> Result<Deployment, ControlError> {
        pending((caller, account, worker, new))
    }

    /// The deployments of a worker, newest first: the first is the present one. Needs `workers:read`.
    pub async fn deployments(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        page: Page,
    ) -> Result<Vec<Deployment>, ControlError> {
        pending((caller, account, worker, page))
    }

    /// One deployment. Needs `workers:read`.
    pub async fn deployment(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        id: &str,
    ) -> Result<Deployment, ControlError> {
        pending((caller, account, worker, id))
    }
}
