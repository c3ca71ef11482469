//! Routes of workers: patterns of host and path, and those of a zone.

use axum::extract::State as Extract;
use selvedge_control::{ControlError, Route, RouteInput};
use selvedge_model::WorkerName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{Known, On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{JsonBody, JsonList, Named, OfWorker, worker_name};

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_worker_routes, replace_worker_routes))
        .routes(routes!(list_zone_routes, add_zone_route))
        .routes(routes!(get_zone_route, change_zone_route, delete_zone_route))
}

/// A pattern that leads to a worker.
#[derive(Serialize, ToSchema)]
pub struct RouteView {
    id: String,
    pattern: String,
    /// The worker; null for an exclusion.
    script: Option<String>,
    zone_id: String,
    zone_name: String,
}

impl From<Route> for RouteView {
    fn from(route: Route) -> Self {
        Self {
            id: route.id,
            pattern: route.pattern,
            script: route.worker.map(String::from),
            zone_id: route.zone_id,
            zone_name: route.zone_name,
        }
    }
}

/// A route of a worker to set.
#[derive(Deserialize, ToSchema)]
pub struct WorkerRoute {
    /// Such as `example.com/api/*`.
    pattern: String,
    #[serde(default)]
    zone_id: Option<String>,
    #[serde(default)]
    zone_name: Option<String>,
}

impl From<WorkerRoute> for RouteInput {
    fn from(route: WorkerRoute) -> Self {
        Self { pattern: route.pattern, zone_id: route.zone_id, zone_name: route.zone_name }
    }
}

/// A route of a zone to set.
#[derive(Deserialize, ToSchema)]
pub struct ZoneRoute {
    /// Such as `example.com/api/*`.
    pub pattern: String,
    /// The worker; an exclusion without one.
    #[serde(default)]
    script: Option<String>,
}

impl ZoneRoute {
    pub fn worker(&self) -> Result<Option<WorkerName>, ApiError> {
        self.script.as_deref().filter(|name| !name.is_empty()).map(worker_name).transpose()
    }
}

/// Which zone, and which of its routes.
#[derive(Deserialize)]
struct ZonePath {
    zone_id: String,
}

#[derive(Deserialize)]
struct RoutePath {
    zone_id: String,
    route_id: String,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
struct RemovedRoute {
    id: String,
}

/// The routes of a worker.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/routes", tag = "routes",
    responses((status = 200, body = Envelope<Vec<RouteView>>))
)]
async fn list_worker_routes(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
) -> Answer<Vec<RouteView>> {
    let routes = state.control.routes(&on.caller, &on.account, &name).await?;
    answer(routes.into_iter().map(RouteView::from).collect())
}

/// Puts routes in the place of all that the worker has.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/scripts/{script_name}/routes", tag = "routes",
    request_body = Vec<WorkerRoute>, responses((status = 200, body = Envelope<Vec<RouteView>>))
)]
async fn replace_worker_routes(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    JsonList(body): JsonList<WorkerRoute>,
) -> Answer<Vec<RouteView>> {
    let inputs = body.into_iter().map(RouteInput::from).collect();
    let routes = state.control.set_routes(&on.caller, &on.account, &name, inputs).await?;
    answer(routes.into_iter().map(RouteView::from).collect())
}

/// The routes of a zone, as far as the token may know of them.
#[utoipa::path(
    get, path = "/zones/{zone_id}/workers/routes", tag = "routes",
    responses((status = 200, body = Envelope<Vec<RouteView>>))
)]
async fn list_zone_routes(
    Extract(state): State,
    Known(caller): Known,
    Named(path): Named<ZonePath>,
) -> Answer<Vec<RouteView>> {
    // One that nobody holds has no routes; what is no id is no zone.
    if path.zone_id.len() != 32 || !path.zone_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ControlError::ZoneNotFound { zone: path.zone_id.chars().take(64).collect() }.into());
    }
    let routes = state.control.zone_routes(&caller, &path.zone_id).await?;
    answer(routes.into_iter().map(RouteView::from).collect())
}

/// Adds a route to a zone. The zone is the account's from then on.
#[utoipa::path(
    post, path = "/zones/{zone_id}/workers/routes", tag = "routes",
    request_body = ZoneRoute, responses((status = 200, body = Envelope<RouteView>))
)]
async fn add_zone_route(
    Extract(state): State,
    Known(caller): Known,
    Named(path): Named<ZonePath>,
    JsonBody(body): JsonBody<ZoneRoute>,
) -> Answer<RouteView> {
    let account = super::zones::account_of(&state, &caller, Some(&path.zone_id), None).await?;
    let worker = body.worker()?;
    let route = state.control.add_route(&caller, &account, &path.zone_id, &body.pattern, worker).await?;
    answer(route.into())
}

/// One route of a zone.
#[utoipa::path(
    get, path = "/zones/{zone_id}/workers/routes/{route_id}", tag = "routes",
    responses((status = 200, body = Envelope<RouteView>))
)]
async fn get_zone_route(
    Extract(state): State,
    Known(caller): Known,
    Named(path): Named<RoutePath>,
) -> Answer<RouteView> {
    let routes = state.control.zone_routes(&caller, &path.zone_id).await?;
    let route = routes.into_iter().find(|route| route.id == path.route_id);
    answer(route.ok_or(ControlError::RouteNotFound { id: path.route_id })?.into())
}

/// Changes a route of a zone.
#[utoipa::path(
    put, path = "/zones/{zone_id}/workers/routes/{route_id}", tag = "routes",
    request_body = ZoneRoute, responses((status = 200, body = Envelope<RouteView>))
)]
async fn change_zone_route(
    Extract(state): State,
    Known(caller): Known,
    Named(path): Named<RoutePath>,
    JsonBody(body): JsonBody<ZoneRoute>,
) -> Answer<RouteView> {
    let worker = body.worker()?;
    let route = state.control.change_route(&caller, &path.zone_id, &path.route_id, &body.pattern, worker).await?;
    answer(route.into())
}

/// Removes a route of a zone.
#[utoipa::path(
    delete, path = "/zones/{zone_id}/workers/routes/{route_id}", tag = "routes",
    responses((status = 200, body = Envelope<RemovedRoute>))
)]
async fn delete_zone_route(
    Extract(state): State,
    Known(caller): Known,
    Named(path): Named<RoutePath>,
) -> Answer<RemovedRoute> {
    state.control.delete_route(&caller, &path.zone_id, &path.route_id).await?;
    answer(RemovedRoute { id: path.route_id })
}
