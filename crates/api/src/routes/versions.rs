//! Versions: immutable uploads.

use std::collections::BTreeMap;

use axum::extract::{Request, State as Extract};
use selvedge_control::{Deploy, EnvPatch, EnvValue, Secret, UploadOptions};
use selvedge_model::WorkerName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::scripts::{UploadForm, UploadParams};
use super::{Router, State, in_turn};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{Asked, Named, OfWorker};
use crate::page::PageQuery;
use crate::state::ApiState;
use crate::upload;
use crate::views::{VersionItem, VersionView};

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_versions, create_version))
        .routes(routes!(get_version))
        .routes(routes!(edit_latest_version))
}

/// Which version.
#[derive(Deserialize)]
pub struct VersionPath {
    pub version_id: String,
}

/// Which versions.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VersionsParams {
    /// Only those that can be deployed.
    deployable: Option<bool>,
    #[param(minimum = 1)]
    page: Option<u64>,
    #[param(minimum = 1)]
    per_page: Option<u64>,
}

/// Versions, newest first.
#[derive(Serialize, ToSchema)]
struct Versions {
    items: Vec<VersionItem>,
}

/// Changes to the variables and secrets of the version that was uploaded last.
#[derive(Deserialize, ToSchema)]
pub struct EditLatest {
    /// By name; null removes.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, EnvEdit>)]
    env: BTreeMap<String, Option<EnvEdit>>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl EditLatest {
    /// What becomes of `env`, and the annotations.
    pub fn edit(self) -> Result<(EnvPatch, BTreeMap<String, String>), ApiError> {
        if self.env.is_empty() {
            return Err(ApiError::bad_body("`env` names nothing to change"));
        }
        let env = self.env.into_iter().map(|(name, edit)| (name, edit.map(EnvValue::from))).collect();
        Ok((env, self.annotations))
    }
}

/// What a variable or secret becomes.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum EnvEdit {
    SecretText { text: String },
    PlainText { text: String },
    Json { json: serde_json::Value },
}

impl From<EnvEdit> for EnvValue {
    fn from(edit: EnvEdit) -> Self {
        match edit {
            EnvEdit::SecretText { text } => Self::Secret(Secret::new(text)),
            EnvEdit::PlainText { text } => Self::Text(text),
            EnvEdit::Json { json } => Self::Json(json),
        }
    }
}

/// The versions of a worker, newest first.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/versions", tag = "versions",
    params(VersionsParams), responses((status = 200, body = Envelope<Versions>))
)]
async fn list_versions(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
    Asked(params): Asked<VersionsParams>,
) -> Answer<Versions> {
    let query = PageQuery { page: params.page, per_page: params.per_page };
    let page = query.page()?;
    let previews = state.control.worker(&on.caller, &on.account, &name).await?.previews;
    if params.deployable == Some(true) {
        // The client wants them all, and asks once; one that goes on asking comes to an end.
        let mut versions = state.control.deployable_versions(&on.caller, &on.account, &name).await?;
        if page.offset > 0 {
            versions.clear();
        }
        let mut items: Vec<_> = versions.into_iter().map(|one| VersionItem::of(one, previews)).collect();
        describe_newest(&state, &on, &name, &mut items).await?;
        return answer(Versions { items });
    }
    let versions = state.control.versions(&on.caller, &on.account, &name, page).await?;
    let total = state.control.count_versions(&on.caller, &on.account, &name).await?;
    let mut items: Vec<_> = versions.into_iter().map(|one| VersionItem::of(one, previews)).collect();
    describe_newest(&state, &on, &name, &mut items).await?;
    let Envelope { result: items, result_info, .. } = query.envelope(items, total);
    Ok(Envelope { result_info, ..Envelope::of(Versions { items }) })
}

/// Says what the newest version is made of, if it is in the list: `wrangler versions secret list --latest-version` reads
/// it there.
async fn describe_newest(
    state: &ApiState,
    on: &On<WorkersRead>,
    name: &WorkerName,
    items: &mut [VersionItem],
) -> Result<(), ApiError> {
    let Some(first) = items.first_mut() else { return Ok(()) };
    let newest = state.control.latest_version(&on.caller, &on.account, name).await?;
    if first.id == newest.id.as_str() {
        first.resources = Some(newest.into());
    }
    Ok(())
}

/// Makes a version of what is uploaded, which waits to be deployed. The worker must be there.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/scripts/{script_name}/versions", tag = "versions", params(UploadParams),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<VersionView>))
)]
async fn create_version(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<VersionView> {
    let turn = state.upload_turn(&on.account).await?;
    let (parts, body) = request.into_parts();
    let upload = upload::read(&parts.headers, turn.hurry(body)).await?;
    let options = UploadOptions { deploy: Deploy::No, must_exist: true };
    let uploaded = state.control.upload(&on.caller, &on.account, &name, upload, options).await?;
    answer(VersionView::of(uploaded.version, uploaded.has_preview))
}

/// One version. `latest` is the one that was uploaded last.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/versions/{version_id}", tag = "versions",
    responses((status = 200, body = Envelope<VersionView>))
)]
async fn get_version(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
    Named(path): Named<VersionPath>,
) -> Answer<VersionView> {
    let previews = state.control.worker(&on.caller, &on.account, &name).await?.previews;
    let version = match path.version_id.as_str() {
        "latest" => state.control.latest_version(&on.caller, &on.account, &name).await?,
        id => state.control.version(&on.caller, &on.account, &name, id).await?,
    };
    answer(VersionView::of(version, previews))
}

/// Makes a version that is the latest one with other variables or secrets. It waits to be deployed.
#[utoipa::path(
    patch, path = "/accounts/{account_id}/workers/workers/{script_name}/versions/latest", tag = "versions",
    request_body(content = EditLatest, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Envelope<VersionView>))
)]
async fn edit_latest_version(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<VersionView> {
    let (edit, _turn) = in_turn::<EditLatest>(&state, &on.account, request).await?;
    let (env, annotations) = edit.edit()?;
    let previews = state.control.worker(&on.caller, &on.account, &name).await?.previews;
    let version = state.control.edit_latest(&on.caller, &on.account, &name, env, annotations).await?;
    answer(VersionView::of(version, previews))
}
