//! What the API answers: a module for each kind of thing.

pub mod accounts;
pub mod assets;
pub mod audit;
pub mod content;
pub mod d1;
pub mod deployments;
pub mod domains;
pub mod durable_objects;
pub mod hosts;
pub mod kv;
pub mod operations;
pub mod queues;
pub mod r2;
pub mod schedules;
pub mod scripts;
pub mod secrets;
pub mod settings;
pub mod subdomains;
pub mod tails;
pub mod tokens;
pub mod user;
pub mod versions;
pub mod workers;
pub mod workflows;
pub mod zones;

use std::sync::Arc;

use selvedge_control::ControlError;

use crate::error::ApiError;
use crate::state::ApiState;

/// What every handler may use.
pub(crate) type State = axum::extract::State<Arc<ApiState>>;
/// A module's routes.
pub(crate) type Router = utoipa_axum::router::OpenApiRouter<Arc<ApiState>>;

/// What belongs to a service that is not there yet.
pub(crate) fn not_available(what: &str) -> ApiError {
    ControlError::NotAvailable { what: what.into() }.into()
}
