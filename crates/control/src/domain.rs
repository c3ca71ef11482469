//! Custom domains: host names that lead to one worker whole.

use selvedge_model::{AccountId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;

/// A host name that leads to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomDomain {
    /// 32 hexadecimal digits.
    pub id: String,
    pub hostname: String,
    pub worker: WorkerName,
    pub zone_id: String,
    pub zone_name: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// A host name as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DomainInput {
    pub hostname: String,
    #[serde(default)]
    pub zone_id: Option<String>,
    #[serde(default)]
    pub zone_name: Option<String>,
}

/// What may happen to what is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct DomainOptions {
    /// The worker's other domains go.
    #[serde(default)]
    pub override_scope: bool,
    /// A host name may be taken from another worker of the account.
    #[serde(default)]
    pub override_existing_origin: bool,
}

/// What setting a worker's domains would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainChanges {
    pub added: Vec<DomainInput>,
    pub removed: Vec<CustomDomain>,
    /// The worker's own, which stay.
    pub unchanged: Vec<CustomDomain>,
    /// Those of other workers of the account.
    pub conflicting: Vec<CustomDomain>,
}

impl Control {
    /// The custom domains of the account, or of one worker of it. Needs `workers:read`.
    pub async fn domains(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: Option<&WorkerName>,
    ) -> Result<Vec<CustomDomain>, ControlError> {
        pending((caller, account, worker))
    }

    /// What [`Control::set_domains`] would do. Nothing is changed. Needs `workers:read`.
    pub async fn domain_changes(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        domains: Vec<DomainInput>,
        replace: bool,
    ) -> Result<DomainChanges, ControlError> {
        pending((caller, account, worker, domains, replace))
    }

    /// Gives a worker host names; claims their zones. Needs `workers:write`.
    pub async fn set_domains(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        domains: Vec<DomainInput>,
        options: DomainOptions,
    ) -> Result<Vec<CustomDomain>, ControlError> {
        pending((caller, account, worker, domains, options))
    }

    /// Takes a custom domain away, by its id. Needs `workers:write`.
    pub async fn delete_domain(&self, caller: &Caller, account: &AccountId, id: &str) -> Result<(), ControlError> {
        pending((caller, account, id))
    }
}
