//! What a version is made of, given back.

use std::convert::Infallible;

use crate::turns::Turn;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, header};
use selvedge_control::VersionContent;
use selvedge_model::{Format, ModuleKind};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead};
use crate::error::ApiError;
use crate::extract::{Asked, OfWorker};

/// Says which of the modules is the first.
const ENTRYPOINT: HeaderName = HeaderName::from_static("cf-entrypoint");

pub fn router() -> Router {
    Router::default().routes(routes!(get_script)).routes(routes!(get_content))
}

/// Of which version.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContentParams {
    /// The version's id; the latest, where none is given.
    version: Option<String>,
}

/// The modules of a worker's latest version, as multipart/form-data.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}", tag = "scripts",
    responses((status = 200, content_type = "multipart/form-data", body = String))
)]
async fn get_script(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
) -> Result<Response, ApiError> {
    let turn = state.download_turn(&on.account).await?;
    let content = state.control.version_content(&on.caller, &on.account, &name, None).await?;
    Ok(written(&content, turn))
}

/// The modules of a version, as multipart/form-data; in the service-worker form the script alone.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/content/v2", tag = "scripts",
    params(ContentParams), responses((status = 200, content_type = "multipart/form-data", body = String))
)]
async fn get_content(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
    Asked(params): Asked<ContentParams>,
) -> Result<Response, ApiError> {
    let turn = state.download_turn(&on.account).await?;
    let version = params.version.as_deref();
    let content = state.control.version_content(&on.caller, &on.account, &name, version).await?;
    Ok(written(&content, turn))
}

/// The modules of a version, as its client takes them.
pub fn written(content: &VersionContent, turn: Turn) -> Response {
    let version = &content.version;
    if version.format == Format::ServiceWorker
        && let Some((_, script)) = content.modules.iter().find(|(module, _)| module.name == version.main)
    {
        let body = held(vec![script.clone()], turn);
        return ([(header::CONTENT_TYPE, "application/javascript")], body).into_response();
    }
    let boundary = format!("selvedge-{}", uuid::Uuid::new_v4().simple());
    let mut response = held(multipart(&boundary, content), turn).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}")) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Ok(value) = HeaderValue::from_str(&version.main) {
        headers.insert(ENTRYPOINT, value);
    }
    response
}

/// A body whose turn is over once the client has it, or is gone.
fn held(pieces: Vec<Bytes>, turn: Turn) -> Body {
    let pieces = stream::iter(pieces).map(move |piece| {
        let _held = &turn;
        Ok::<_, Infallible>(piece)
    });
    Body::from_stream(pieces)
}

fn multipart(boundary: &str, content: &VersionContent) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut part = |name: &str, content_type: &str, bytes: &Bytes| {
        let name = name.replace('"', "%22");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: \
             {content_type}\r\n\r\n"
        );
        pieces.extend([Bytes::from(head), bytes.clone(), Bytes::from_static(b"\r\n")]);
    };
    for (module, bytes) in &content.modules {
        part(&module.name, content_type(module.kind), bytes);
    }
    for (map, bytes) in &content.source_maps {
        part(&format!("{}.map", map.module), "application/source-map", bytes);
    }
    pieces.push(Bytes::from(format!("--{boundary}--\r\n")));
    pieces
}

fn content_type(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::EsModule => "application/javascript+module",
        ModuleKind::Script | ModuleKind::CommonJs => "application/javascript",
        ModuleKind::Json => "application/json",
        ModuleKind::Text => "text/plain",
        ModuleKind::Data => "application/octet-stream",
        ModuleKind::Wasm => "application/wasm",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use selvedge_model::AccountId;

    use super::*;
    use crate::turns::Turns;

    #[tokio::test]
    async fn a_download_keeps_its_turn_until_the_client_has_it() {
        let turns = Turns::new("downloads", 1, 1);
        let account: AccountId = "1".repeat(32).parse().unwrap();
        let turn = turns.take(&account).await.unwrap();
        let body = held(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")], turn);
        assert!(tokio::time::timeout(Duration::from_millis(20), turns.take(&account)).await.is_err());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
        assert!(turns.take(&account).await.is_ok());
    }
}
