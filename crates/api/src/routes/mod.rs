//! What the API answers: a module for each kind of thing.

pub mod absent;
pub mod accounts;
pub mod assets;
pub mod audit;
pub mod content;
pub mod d1;
pub mod deployments;
pub mod domains;
pub mod durable_objects;
pub mod environments;
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

use axum::extract::{FromRequest, Request};
use selvedge_control::ControlError;
use selvedge_model::AccountId;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::extract::SecretJson;
use crate::state::ApiState;
use crate::turns::Turn;

/// What every handler may use.
pub(crate) type State = axum::extract::State<Arc<ApiState>>;
/// A module's routes.
pub(crate) type Router = utoipa_axum::router::OpenApiRouter<Arc<ApiState>>;

/// What a request asks of the version that is to be made, with the turn of an upload, to be held until it is made. The
/// body is read once the turn has come: who waits for it holds nothing.
pub(crate) async fn in_turn<T: DeserializeOwned>(
    state: &ApiState,
    account: &AccountId,
    request: Request,
) -> Result<(T, Turn), ApiError> {
    let turn = state.upload_turn(account).await?;
    let request = request.map(|body| turn.hurry(body));
    let SecretJson(asked) = <SecretJson<T> as FromRequest<()>>::from_request(request, &()).await?;
    Ok((asked, turn))
}

/// What belongs to a service that is not there yet.
pub(crate) fn not_available(what: &str) -> ApiError {
    ControlError::NotAvailable { what: what.into() }.into()
}
