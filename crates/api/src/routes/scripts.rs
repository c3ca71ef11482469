//! Scripts: uploads that are deployed at once, and their list.

use axum::extract::{Request, State as Extract};
use selvedge_control::{Deploy, UploadOptions, Uploaded};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::workers::{DeleteParams, Script, weight};
use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::extract::{Asked, JsonBody, OfWorker};
use crate::page::{time, whole_of_large};
use crate::upload;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_scripts))
        .routes(routes!(put_script, delete_script))
        .routes(routes!(get_usage_model, put_usage_model))
}

/// How an upload is meant. Bindings of type `inherit` are always looked up strictly.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "clients send them; what they ask for is what always happens")]
pub struct UploadParams {
    /// Leaves the script out of the answer, as every answer does.
    #[serde(rename = "excludeScript")]
    exclude_script: Option<String>,
    bindings_inherit: Option<String>,
}

/// An upload: `metadata` (JSON), and a part for each module and source map.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape of a multipart body")]
pub struct UploadForm {
    /// JSON: `main_module` or `body_part`, `bindings`, `compatibility_date`, ….
    metadata: String,
    /// Each further part is a module, whose name is the part's.
    #[schema(format = Binary, content_media_type = "application/javascript+module")]
    #[schema(rename = "index.js")]
    index_js: Option<String>,
}

/// A script that was uploaded and deployed.
#[derive(Serialize, ToSchema)]
struct ScriptUploaded {
    /// The worker.
    id: String,
    /// The version.
    #[schema(format = "uuid")]
    deployment_id: String,
    etag: String,
    handlers: Vec<String>,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
    startup_time_ms: u64,
    has_assets: bool,
    has_modules: bool,
    /// Always `standard`.
    usage_model: &'static str,
}

impl From<Uploaded> for ScriptUploaded {
    fn from(uploaded: Uploaded) -> Self {
        let version = uploaded.version;
        let created_on = time(version.created_ms);
        Self {
            id: version.worker.to_string(),
            deployment_id: version.id.to_string(),
            etag: version.content,
            handlers: version.handlers,
            modified_on: created_on.clone(),
            created_on,
            startup_time_ms: version.startup_ms,
            has_assets: version.assets.is_some(),
            has_modules: !version.modules.is_empty(),
            usage_model: "standard",
        }
    }
}

/// How a worker is paid for, which here none is.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct UsageModel {
    /// `standard`.
    usage_model: String,
}

/// The workers of an account, all of them.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts", tag = "scripts",
    responses((status = 200, body = Envelope<Vec<Script>>))
)]
async fn list_scripts(Extract(state): State, on: On<WorkersRead>) -> Answer<Vec<Script>> {
    let _turn = state.list_turn(&on.account).await?;
    let read = |page| state.control.workers(&on.caller, &on.account, page);
    let workers = whole_of_large("ask for …/workers/workers, page by page", weight, read).await?;
    answer(workers.iter().map(Script::of).collect())
}

/// Makes a version of what is uploaded, and gives it all the traffic. The worker comes to be if there was none.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/scripts/{script_name}", tag = "scripts", params(UploadParams),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<ScriptUploaded>))
)]
async fn put_script(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<ScriptUploaded> {
    let turn = state.upload_turn(&on.account).await?;
    let (parts, body) = request.into_parts();
    let upload = upload::read(&parts.headers, turn.hurry(body)).await?;
    let options = UploadOptions { deploy: Deploy::Now, must_exist: false };
    answer(state.control.upload(&on.caller, &on.account, &name, upload, options).await?.into())
}

/// Removes a worker with all of its versions, routes, domains and triggers.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/scripts/{script_name}", tag = "scripts",
    params(DeleteParams), responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_script(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    Asked(params): Asked<DeleteParams>,
) -> Answer<Nothing> {
    state.control.delete_worker(&on.caller, &on.account, &name, params.force.unwrap_or(false)).await?;
    answer(Nothing)
}

/// How a worker is paid for.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/usage-model", tag = "scripts",
    responses((status = 200, body = Envelope<UsageModel>))
)]
async fn get_usage_model(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<UsageModel> {
    state.control.worker(&on.caller, &on.account, &name).await?;
    answer(UsageModel { usage_model: "standard".into() })
}

/// Takes note of how a worker would be paid for: there is one way.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/scripts/{script_name}/usage-model", tag = "scripts",
    request_body = UsageModel, responses((status = 200, body = Envelope<UsageModel>))
)]
async fn put_usage_model(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    JsonBody(body): JsonBody<UsageModel>,
) -> Answer<UsageModel> {
    state.control.worker(&on.caller, &on.account, &name).await?;
    if body.usage_model != "standard" {
        return Err(crate::error::ApiError::bad_body("`usage_model` is `standard`: there is no other here"));
    }
    answer(body)
}
