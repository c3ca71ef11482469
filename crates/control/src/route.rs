//! Routes: patterns of host and path that lead to workers.

use selvedge_model::{AccountId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;

/// A pattern that leads to a worker, or that leads to none where a less specific one would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// 32 hexadecimal digits.
    pub id: String,
    pub pattern: String,
    /// None: an exclusion.
    pub worker: Option<WorkerName>,
    pub zone_id: String,
    pub zone_name: String,
}

/// A route as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RouteInput {
    pub pattern: String,
    #[serde(default)]
    pub zone_id: Option<String>,
    #[serde(default)]
    pub zone_name: Option<String>,
}

impl Control {
    /// The routes of a worker. Needs `workers:read`.
    pub async fn routes(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<Route>, ControlError> {
        pending((caller, account, worker))
    }

    /// Puts routes in the place of all that the worker has; claims their zones. Needs `workers:write`.
    pub async fn set_routes(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        routes: Vec<RouteInput>,
    ) -> Result<Vec<Route>, ControlError> {
        pending((caller, account, worker, routes))
    }

    /// The routes of a zone, by its id: those that the caller may know of. A zone that nobody holds has none. Needs
    /// `workers:read`.
    pub async fn zone_routes(&self, caller: &Caller, zone_id: &str) -> Result<Vec<Route>, ControlError> {
        pending((caller, zone_id))
    }

    /// Adds a route to a zone; without a worker it is an exclusion. The account is the caller's own, or the one that is
    /// given. Needs `workers:write`.
    pub async fn add_route(
        &self,
        caller: &Caller,
        account: &AccountId,
        zone_id: &str,
        pattern: &str,
        worker: Option<WorkerName>,
    ) -> Result<Route, ControlError> {
        pending((caller, account, zone_id, pattern, worker))
    }

    /// Changes a route of a zone. Needs `workers:write`.
    pub async fn change_route(
        &self,
        caller: &Caller,
        zone_id: &str,
        id: &str,
        pattern: &str,
        worker: Option<WorkerName>,
    ) -> Result<Route, ControlError> {
        pending((caller, zone_id, id, pattern, worker))
    }

    /// Removes a route of a zone. Needs `workers:write`.
    pub async fn delete_route(&self, caller: &Caller, zone_id: &str, id: &str) -> Result<(), ControlError> {
        pending((caller, zone_id, id))
    }
}
