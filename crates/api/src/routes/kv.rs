//! Records of KV namespaces. What they hold comes with their service.

use axum::extract::State as Extract;
use selvedge_control::{NewResource, Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State, not_available};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::extract::{Asked, JsonBody, Named};
use crate::page::PageQuery;

const KIND: ResourceKind = ResourceKind::KvNamespace;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_kv_namespaces, create_kv_namespace))
        .routes(routes!(get_kv_namespace, rename_kv_namespace, delete_kv_namespace))
        .routes(routes!(list_kv_keys))
        .routes(routes!(read_kv_value, write_kv_value, delete_kv_value))
        .routes(routes!(write_kv_bulk, delete_kv_bulk))
        .routes(routes!(read_kv_bulk))
}

/// A KV namespace.
#[derive(Serialize, ToSchema)]
struct KvNamespace {
    id: String,
    title: String,
    supports_url_encoding: bool,
}

impl From<Resource> for KvNamespace {
    fn from(resource: Resource) -> Self {
        Self { id: resource.id, title: resource.name, supports_url_encoding: true }
    }
}

/// How a KV namespace is to be called.
#[derive(Deserialize, ToSchema)]
pub struct KvTitle {
    #[schema(min_length = 1, max_length = 256)]
    title: String,
}

impl From<KvTitle> for NewResource {
    fn from(body: KvTitle) -> Self {
        Self { kind: KIND, name: body.title, data: Map::new() }
    }
}

/// Which KV namespaces. They always are in the order of their titles.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KvParams {
    #[param(minimum = 1)]
    page: Option<u64>,
    #[param(minimum = 1)]
    per_page: Option<u64>,
}

/// Which KV namespace.
#[derive(Deserialize)]
struct KvPath {
    namespace_id: String,
}

/// The KV namespaces of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/storage/kv/namespaces", tag = "kv",
    params(KvParams), responses((status = 200, body = Envelope<Vec<KvNamespace>>))
)]
async fn list_kv_namespaces(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(params): Asked<KvParams>,
) -> Answer<Vec<KvNamespace>> {
    let query = PageQuery { page: params.page, per_page: params.per_page };
    let page = query.page()?;
    let list = state.control.resources(&on.caller, &on.account, KIND, None, page).await?;
    let total = state.control.count_resources(&on.caller, &on.account, KIND).await?;
    Ok(query.envelope(list.into_iter().map(KvNamespace::from).collect(), total))
}

/// Makes a KV namespace.
#[utoipa::path(
    post, path = "/accounts/{account_id}/storage/kv/namespaces", tag = "kv",
    request_body = KvTitle, responses((status = 200, body = Envelope<KvNamespace>))
)]
async fn create_kv_namespace(
    Extract(state): State,
    on: On<WorkersWrite>,
    JsonBody(body): JsonBody<KvTitle>,
) -> Answer<KvNamespace> {
    answer(state.control.create_resource(&on.caller, &on.account, body.into()).await?.into())
}

/// One KV namespace.
#[utoipa::path(
    get, path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}", tag = "kv",
    responses((status = 200, body = Envelope<KvNamespace>))
)]
async fn get_kv_namespace(
    Extract(state): State,
    on: On<WorkersRead>,
    Named(path): Named<KvPath>,
) -> Answer<KvNamespace> {
    answer(state.control.resource(&on.caller, &on.account, KIND, &path.namespace_id).await?.into())
}

/// Renames a KV namespace.
#[utoipa::path(
    put, path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}", tag = "kv",
    request_body = KvTitle, responses((status = 200, body = Envelope<KvNamespace>))
)]
async fn rename_kv_namespace(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<KvPath>,
    JsonBody(body): JsonBody<KvTitle>,
) -> Answer<KvNamespace> {
    let (id, name) = (&path.namespace_id, Some(body.title));
    answer(state.control.change_resource(&on.caller, &on.account, KIND, id, name, Map::new()).await?.into())
}

/// Removes a KV namespace.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}", tag = "kv",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_kv_namespace(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<KvPath>,
) -> Answer<Nothing> {
    state.control.delete_resource(&on.caller, &on.account, KIND, &path.namespace_id).await?;
    answer(Nothing)
}

/// Says that a namespace's content is not there yet, or that the namespace is not.
async fn content(state: &crate::state::ApiState, on: &On<WorkersRead>, path: &KvPath) -> Answer<Nothing> {
    state.control.resource(&on.caller, &on.account, KIND, &path.namespace_id).await?;
    Err(not_available("the content of a KV namespace"))
}

/// Not available yet.
#[utoipa::path(get, path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/keys", tag = "kv", responses())]
async fn list_kv_keys(Extract(state): State, on: On<WorkersRead>, Named(path): Named<KvPath>) -> Answer<Nothing> {
    content(&state, &on, &path).await
}

/// Not available yet.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/values/{key}",
    tag = "kv",
    responses()
)]
async fn read_kv_value(Extract(state): State, on: On<WorkersRead>, Named(path): Named<KvPath>) -> Answer<Nothing> {
    content(&state, &on, &path).await
}

/// Not available yet.
#[utoipa::path(
    put,
    path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/values/{key}",
    tag = "kv",
    responses()
)]
async fn write_kv_value(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a KV namespace"))
}

/// Not available yet.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/values/{key}",
    tag = "kv",
    responses()
)]
async fn delete_kv_value(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a KV namespace"))
}

/// Not available yet.
#[utoipa::path(put, path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/bulk", tag = "kv", responses())]
async fn write_kv_bulk(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a KV namespace"))
}

/// Not available yet.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/bulk",
    tag = "kv",
    responses()
)]
async fn delete_kv_bulk(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a KV namespace"))
}

/// Not available yet.
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/bulk/get",
    tag = "kv",
    responses()
)]
async fn read_kv_bulk(Extract(state): State, on: On<WorkersRead>, Named(path): Named<KvPath>) -> Answer<Nothing> {
    content(&state, &on, &path).await
}
