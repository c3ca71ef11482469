//! Settings of workers: what is not part of a version, and the bindings of the latest one.

use axum::body::Body;
use axum::extract::{Request, State as Extract};
use http::header;
use http::request::Parts;
use selvedge_control::{Consumer, ScriptSettings, SettingsPatch, Worker};
use selvedge_model::VersionRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::workers::{TailConsumer, consumers};
use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::body::{in_time, read_json, reserve};
use crate::envelope::{Answer, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{JsonBody, OfWorker, secret_json};
use crate::multipart::{Limits, Multipart};
use crate::upload::{check_bindings, check_streaming};
use crate::views::{binding, limits};

/// The largest patch of settings, in bytes: 1 MiB.
const PATCH_BYTES_MAX: usize = 1024 * 1024;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(get_settings, patch_settings))
        .routes(routes!(get_script_settings, patch_script_settings))
}

/// The settings of a worker and of its latest version.
#[derive(Serialize, ToSchema)]
struct Settings {
    #[schema(value_type = Vec<Object>)]
    bindings: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    compatibility_date: Option<String>,
    compatibility_flags: Vec<String>,
    /// Always `standard`.
    usage_model: &'static str,
    #[schema(value_type = Object)]
    limits: Map<String, Value>,
    #[schema(value_type = Option<Object>)]
    placement: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    migration_tag: Option<String>,
    #[serde(flatten)]
    script: ScriptSettingsView,
}

/// What is not part of a version.
#[derive(Serialize, ToSchema)]
struct ScriptSettingsView {
    tags: Vec<String>,
    tail_consumers: Vec<TailConsumer>,
    logpush: bool,
    #[schema(value_type = Option<Object>)]
    observability: Option<Value>,
}

/// Changes to what is not part of a version. What is not named stays.
#[derive(Default, Deserialize, ToSchema)]
pub struct ScriptSettingsChange {
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    tail_consumers: Option<Vec<TailConsumerInput>>,
    #[serde(default)]
    logpush: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    observability: Option<Value>,
    /// Not available yet: none can be named.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    streaming_tail_consumers: Option<Value>,
}

#[derive(Deserialize, ToSchema)]
struct TailConsumerInput {
    service: String,
}

impl ScriptSettingsChange {
    pub fn settings(self) -> Result<ScriptSettings, ApiError> {
        check_streaming(self.streaming_tail_consumers.as_ref())?;
        let consumer = |input: TailConsumerInput| {
            Ok::<_, ApiError>(Consumer { service: crate::extract::worker_name(&input.service)? })
        };
        let tail_consumers =
            self.tail_consumers.map(|list| list.into_iter().map(consumer).collect::<Result<_, _>>()).transpose()?;
        let Self { tags, logpush, observability, .. } = self;
        Ok(ScriptSettings { tags, tail_consumers, logpush, observability })
    }
}

/// A form with one field, `settings`: the JSON of what changes.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape of a multipart body")]
struct SettingsForm {
    /// JSON: `bindings`, `compatibility_date`, `tags`, ….
    settings: String,
}

impl ScriptSettingsView {
    fn of(worker: &Worker) -> Self {
        Self {
            tags: worker.tags.clone(),
            tail_consumers: consumers(worker),
            logpush: worker.logpush,
            observability: worker.observability.clone(),
        }
    }
}

impl Settings {
    fn of(worker: &Worker, latest: Option<VersionRecord>) -> Self {
        let script = ScriptSettingsView::of(worker);
        let migration_tag = worker.migration_tag.clone();
        let Some(version) = latest else {
            return Self {
                bindings: Vec::new(),
                compatibility_date: None,
                compatibility_flags: Vec::new(),
                usage_model: "standard",
                limits: Map::new(),
                placement: Value::Null,
                migration_tag,
                script,
            };
        };
        let limits = limits(&version);
        Self {
            bindings: version.bindings.iter().map(binding).collect(),
            compatibility_date: Some(version.compatibility_date).filter(|date| !date.is_empty()),
            compatibility_flags: version.compatibility_flags,
            usage_model: "standard",
            limits,
            placement: version.extra.get("placement").cloned().unwrap_or_default(),
            migration_tag,
            script,
        }
    }
}

async fn settings(
    state: &crate::state::ApiState,
    on: &On<impl crate::auth::Needs>,
    worker: &Worker,
) -> Answer<Settings> {
    let latest = match worker.latest {
        Some(_) => Some(state.control.latest_version(&on.caller, &on.account, &worker.name).await?),
        None => None,
    };
    answer(Settings::of(worker, latest))
}

/// The settings of a worker and of its latest version.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/settings", tag = "settings",
    responses((status = 200, body = Envelope<Settings>))
)]
async fn get_settings(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<Settings> {
    let worker = state.control.worker(&on.caller, &on.account, &name).await?;
    settings(&state, &on, &worker).await
}

/// Changes settings. Those that belong to a version make a new one of the latest, which is deployed.
#[utoipa::path(
    patch, path = "/accounts/{account_id}/workers/scripts/{script_name}/settings", tag = "settings",
    request_body(content = SettingsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<Settings>))
)]
async fn patch_settings(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<Settings> {
    let turn = state.upload_turn(&on.account).await?;
    let (parts, body) = request.into_parts();
    let patch = in_time(read_patch(&parts, turn.hurry(body))).await?;
    let worker = state.control.change_settings(&on.caller, &on.account, &name, patch).await?;
    // A token that may write but not read is shown what is not part of a version.
    if on.caller.require(&on.account, selvedge_control::Permission::WorkersRead).is_err() {
        return answer(Settings::of(&worker, None));
    }
    settings(&state, &on, &worker).await
}

/// The patch: the field `settings` of a form, or the body itself.
async fn read_patch(parts: &Parts, body: Body) -> Result<SettingsPatch, ApiError> {
    let headers = &parts.headers;
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"multipart/"));
    if !is_form {
        return parse_patch(&read_json(body, parts, PATCH_BYTES_MAX).await?);
    }
    let bytes_max = PATCH_BYTES_MAX as u64;
    let limits = Limits { whole_bytes_max: 2 * bytes_max, part_bytes_max: bytes_max, special: None, parts_max: 16 };
    let _held = reserve(parts, 2 * PATCH_BYTES_MAX)?;
    let mut multipart = Multipart::of_request(headers, body, limits)?;
    let mut settings = None;
    while let Some(part) = multipart.next().await? {
        if part.name == "settings" && settings.replace(part.body).is_some() {
            return Err(ApiError::bad_body("the form has two fields named `settings`"));
        }
    }
    let settings = settings.ok_or_else(|| ApiError::bad_body("the form has no field `settings`"))?;
    parse_patch(&settings)
}

/// What is only kept and shown, of a version.
const EXTRA: [&str; 3] = ["placement", "cache_options", "usage_model"];

pub fn parse_patch(bytes: &[u8]) -> Result<SettingsPatch, ApiError> {
    let value: Map<String, Value> = secret_json(bytes, "`settings`")?;
    let extra = value.iter().filter(|(key, _)| EXTRA.contains(&key.as_str()));
    let extra = extra.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut patch: SettingsPatch = secret_json(bytes, "`settings`")?;
    check_bindings(patch.bindings.as_deref().unwrap_or_default())?;
    check_streaming(value.get("streaming_tail_consumers"))?;
    patch.extra = extra;
    Ok(patch)
}

/// What of a worker's settings is not part of a version.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/script-settings", tag = "settings",
    responses((status = 200, body = Envelope<ScriptSettingsView>))
)]
async fn get_script_settings(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
) -> Answer<ScriptSettingsView> {
    answer(ScriptSettingsView::of(&state.control.worker(&on.caller, &on.account, &name).await?))
}

/// Changes what of a worker's settings is not part of a version.
#[utoipa::path(
    patch, path = "/accounts/{account_id}/workers/scripts/{script_name}/script-settings", tag = "settings",
    request_body = ScriptSettingsChange, responses((status = 200, body = Envelope<ScriptSettingsView>))
)]
async fn patch_script_settings(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    JsonBody(change): JsonBody<ScriptSettingsChange>,
) -> Answer<ScriptSettingsView> {
    let settings = change.settings()?;
    let worker = state.control.change_script_settings(&on.caller, &on.account, &name, settings).await?;
    answer(ScriptSettingsView::of(&worker))
}
