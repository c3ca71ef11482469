//! All ways, and what is said of those that lead nowhere.

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::{Extension, middleware};
use http::StatusCode;
use utoipa::openapi::OpenApi;

use crate::error::{ApiError, code};
use crate::log;
use crate::openapi;
use crate::routes::operations::Document;
use crate::routes::{self, Router, State};
use crate::state::ApiState;

/// Where Cloudflare's API begins.
pub const PREFIX: &str = "/client/v4";

fn documented() -> Router {
    let api = Router::default()
        .merge(routes::user::router())
        .merge(routes::accounts::router())
        .merge(routes::tokens::router())
        .merge(routes::audit::router())
        .merge(routes::workers::router())
        .merge(routes::environments::router())
        .merge(routes::scripts::router())
        .merge(routes::content::router())
        .merge(routes::versions::router())
        .merge(routes::deployments::router())
        .merge(routes::settings::router())
        .merge(routes::secrets::router())
        .merge(routes::subdomains::router())
        .merge(routes::hosts::router())
        .merge(routes::domains::router())
        .merge(routes::schedules::router())
        .merge(routes::tails::router())
        .merge(routes::assets::router())
        .merge(routes::zones::router())
        .merge(routes::kv::router())
        .merge(routes::r2::router())
        .merge(routes::d1::router())
        .merge(routes::queues::router())
        .merge(routes::workflows::router())
        .merge(routes::durable_objects::router());
    Router::default().merge(routes::operations::router()).merge(routes::tails::socket_router()).nest(PREFIX, api)
}

/// The router, and the document that describes it.
pub fn router(state: Arc<ApiState>) -> (axum::Router, OpenApi) {
    let (router, document) = documented().split_for_parts();
    let document = openapi::complete(document);
    let text = openapi::written(&document);
    let router = router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(Extension(Document(text.into())))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), log::record))
        .with_state(state);
    (router, document)
}

/// The document that describes the API, as it is checked in.
pub fn document() -> String {
    let (_, document) = documented().split_for_parts();
    openapi::written(&openapi::complete(document))
}

async fn no_route(Extract(state): State, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Some(refusal) = routes::absent::refusal(&state, &mut parts).await {
        return refusal.into_response();
    }
    let path: String = parts.uri.path().chars().take(200).collect();
    let message = format!("Could not route to {path}, perhaps your object identifier is invalid?");
    ApiError::new(StatusCode::NOT_FOUND, code::NO_ROUTE, message).into_response()
}

async fn no_method(Extract(state): State, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Some(refusal) = routes::absent::refusal(&state, &mut parts).await {
        return refusal.into_response();
    }
    let path: String = parts.uri.path().chars().take(200).collect();
    let method: String = parts.method.as_str().chars().take(20).collect();
    let message = format!("{method} is not a method of {path}");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED, message).into_response()
}
