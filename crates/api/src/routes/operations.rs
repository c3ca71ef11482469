//! For who runs the platform: no token is asked for, and without one nothing of any account is told.

use axum::extract::{FromRequestParts, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use selvedge_telemetry::METRICS_CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::Known;
use crate::error::ApiError;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(get_health))
        .routes(routes!(get_readiness))
        .routes(routes!(get_metrics))
        .routes(routes!(get_openapi))
}

/// How the platform is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok` or `not ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// The OpenAPI document, written once for all who ask.
#[derive(Clone)]
pub struct Document(pub Bytes);

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = Health)))]
async fn get_health() -> Json<Health> {
    Json(Health { status: "ok", reasons: Vec::new() })
}

/// Whether the platform can do its work, or why not.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    security(()), responses((status = 200, body = Health), (status = 503, body = Health))
)]
async fn get_readiness(Extract(state): State) -> Response {
    let mut reasons = state.readiness.reasons();
    if state.is_draining() {
        reasons.push("api: it is told to stop, and answers what it has accepted".into());
    }
    if reasons.is_empty()
        && let Err(error) = state.control.ready().await
    {
        tracing::warn!(%error, "the control plane is not ready");
        reasons.push("control: it cannot decide commands; the log says why".into());
    }
    match reasons.is_empty() {
        true => Json(Health { status: "ok", reasons }).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "not ready", reasons })).into_response(),
    }
}

/// What a series of one worker begins its labels with.
const OF_ONE_WORKER: &str = "{account=";

/// The platform's numbers, as Prometheus reads them. Those of single workers, which tell their names, are shown to
/// administrators of the platform alone.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", security((), ("token" = [])),
    responses((status = 200, content_type = "application/openmetrics-text", body = String))
)]
async fn get_metrics(Extract(state): State, mut parts: Parts) -> Result<Response, ApiError> {
    let all = match parts.headers.contains_key(header::AUTHORIZATION) {
        true => Known::from_request_parts(&mut parts, &state).await?.0.require_admin().is_ok(),
        false => false,
    };
    state.metrics.set_tails(state.tails.count());
    let mut text = state.metrics.encode();
    if !all {
        text = text.split_inclusive('\n').filter(|line| !line.contains(OF_ONE_WORKER)).collect();
    }
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response())
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations",
    security(()), responses((status = 200, content_type = "application/json", body = Object))
)]
async fn get_openapi(Extension(Document(text)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
