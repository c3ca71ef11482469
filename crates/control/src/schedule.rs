//! Cron triggers of workers.

use selvedge_model::{AccountId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;

/// A cron trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub cron: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

impl Control {
    /// The cron triggers of a worker. Needs `workers:read`.
    pub async fn schedules(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<Schedule>, ControlError> {
        pending((caller, account, worker))
    }

    /// Puts cron triggers in the place of all that the worker has. Needs `workers:write`.
    pub async fn set_schedules(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        crons: Vec<String>,
    ) -> Result<Vec<Schedule>, ControlError> {
        pending((caller, account, worker, crons))
    }
}
