//! A worker as its service's one environment: what `wrangler init --from-dash` makes a project of.

use axum::extract::{FromRequestParts, State as Extract};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::content::written;
use super::hosts::RouteView;
use super::subdomains::WorkerSubdomainView;
use super::workers::Script;
use super::{Router, State};
use crate::auth::{On, WorkersRead};
use crate::envelope::{Answer, Anything, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{Named, OfWorker};
use crate::multipart::shown;
use crate::page::time;
use crate::views::VersionResources;

/// The environment that a worker has.
const PRODUCTION: &str = "production";

/// What clients know an environment that there is not by.
const NO_ENVIRONMENT: u32 = 10_092;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(get_environment))
        .routes(routes!(get_environment_content))
        .routes(routes!(list_environment_bindings))
        .routes(routes!(list_environment_routes))
        .routes(routes!(get_environment_subdomain))
}

/// That the environment which the path names is there.
struct Production;

#[derive(Deserialize)]
struct EnvironmentPath {
    environment: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Production {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Named(path) = Named::<EnvironmentPath>::from_request_parts(parts, state).await?;
        if path.environment == PRODUCTION {
            return Ok(Self);
        }
        let environment = shown(&path.environment);
        let message = format!("there is no environment \"{environment}\": a Worker has \"{PRODUCTION}\" alone");
        Err(ApiError::new(StatusCode::NOT_FOUND, NO_ENVIRONMENT, message))
    }
}

/// A worker's environment.
#[derive(Serialize, ToSchema)]
struct EnvironmentView {
    /// Always `production`.
    environment: &'static str,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
    script: EnvironmentScript,
}

/// A worker's script, with what its latest version says of it.
#[derive(Serialize, ToSchema)]
struct EnvironmentScript {
    #[serde(flatten)]
    script: Script,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    compatibility_date: Option<String>,
    compatibility_flags: Vec<String>,
    /// Those that the worker has of its own, if any.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    limits: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    placement_mode: Option<String>,
}

/// A worker's environment.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}", tag = "workers",
    responses((status = 200, body = Envelope<EnvironmentView>))
)]
async fn get_environment(
    Extract(state): State,
    on: On<WorkersRead>,
    _: Production,
    OfWorker(name): OfWorker,
) -> Answer<EnvironmentView> {
    let worker = state.control.worker(&on.caller, &on.account, &name).await?;
    let latest = state.control.latest_version(&on.caller, &on.account, &name).await?;
    let VersionResources { script, script_runtime: runtime, .. } = VersionResources::from(latest);
    answer(EnvironmentView {
        environment: PRODUCTION,
        created_on: time(worker.created_ms),
        modified_on: time(worker.modified_ms),
        script: EnvironmentScript {
            script: Script::of(&worker),
            compatibility_date: runtime.compatibility_date,
            compatibility_flags: runtime.compatibility_flags,
            limits: runtime.limits,
            placement_mode: script.placement_mode,
        },
    })
}

/// The modules of a worker's latest version, as multipart/form-data; in the service-worker form the script alone.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/content/v2",
    tag = "scripts",
    responses((status = 200, content_type = "multipart/form-data", body = String))
)]
async fn get_environment_content(
    Extract(state): State,
    on: On<WorkersRead>,
    _: Production,
    OfWorker(name): OfWorker,
) -> Result<Response, ApiError> {
    let turn = state.download_turn(&on.account).await?;
    let content = state.control.version_content(&on.caller, &on.account, &name, None).await?;
    Ok(written(&content, turn))
}

/// The bindings of a worker's latest version. Secrets are shown by their names alone.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/bindings",
    tag = "settings",
    responses((status = 200, body = Envelope<Vec<Anything>>))
)]
async fn list_environment_bindings(
    Extract(state): State,
    on: On<WorkersRead>,
    _: Production,
    OfWorker(name): OfWorker,
) -> Answer<Vec<Anything>> {
    let latest = state.control.latest_version(&on.caller, &on.account, &name).await?;
    answer(VersionResources::from(latest).bindings.into_iter().map(Anything).collect())
}

/// The routes of a worker.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/routes",
    tag = "routes",
    responses((status = 200, body = Envelope<Vec<RouteView>>))
)]
async fn list_environment_routes(
    Extract(state): State,
    on: On<WorkersRead>,
    _: Production,
    OfWorker(name): OfWorker,
) -> Answer<Vec<RouteView>> {
    let routes = state.control.routes(&on.caller, &on.account, &name).await?;
    answer(routes.into_iter().map(RouteView::from).collect())
}

/// Whether the platform's domain leads to a worker.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/subdomain",
    tag = "subdomains",
    responses((status = 200, body = Envelope<WorkerSubdomainView>))
)]
async fn get_environment_subdomain(
    Extract(state): State,
    on: On<WorkersRead>,
    _: Production,
    OfWorker(name): OfWorker,
) -> Answer<WorkerSubdomainView> {
    let worker = state.control.worker(&on.caller, &on.account, &name).await?;
    answer(WorkerSubdomainView::of(&worker))
}
