//! Records of D1 databases. What they hold comes with their service.

use axum::extract::State as Extract;
use selvedge_control::{NewResource, Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State, not_available};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::extract::{Asked, JsonBody, Named};
use crate::page::{PageQuery, time};

const KIND: ResourceKind = ResourceKind::D1Database;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_d1_databases, create_d1_database))
        .routes(routes!(get_d1_database, delete_d1_database))
        .routes(routes!(query_d1))
        .routes(routes!(query_d1_raw))
        .routes(routes!(import_d1))
        .routes(routes!(export_d1))
        .routes(routes!(get_d1_bookmark))
        .routes(routes!(restore_d1))
}

/// A D1 database.
#[derive(Serialize, ToSchema)]
struct D1Database {
    #[schema(format = "uuid")]
    uuid: String,
    name: String,
    #[schema(format = DateTime)]
    created_at: String,
    version: &'static str,
    num_tables: u64,
    file_size: u64,
    /// As it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jurisdiction: Option<String>,
}

impl From<Resource> for D1Database {
    fn from(resource: Resource) -> Self {
        Self {
            jurisdiction: resource.data.get("jurisdiction").and_then(Value::as_str).map(str::to_owned),
            uuid: resource.id,
            name: resource.name,
            created_at: time(resource.created_ms),
            version: "production",
            num_tables: 0,
            file_size: 0,
        }
    }
}

/// A D1 database to make. Members beside the name are kept.
#[derive(Deserialize, ToSchema)]
pub struct CreateD1Database {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    #[serde(default)]
    primary_location_hint: Option<String>,
    #[serde(default)]
    jurisdiction: Option<String>,
}

impl From<CreateD1Database> for NewResource {
    fn from(body: CreateD1Database) -> Self {
        let said = [("primary_location_hint", body.primary_location_hint), ("jurisdiction", body.jurisdiction)];
        let data = said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))).collect();
        Self { kind: KIND, name: body.name, data }
    }
}

/// Which D1 databases.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct D1Params {
    /// Only the one of that name.
    name: Option<String>,
    #[param(minimum = 1)]
    page: Option<u64>,
    #[param(minimum = 1)]
    per_page: Option<u64>,
}

/// Which D1 database: by its id or its name.
#[derive(Deserialize)]
struct D1Path {
    database_id: String,
}

/// The D1 databases of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/d1/database", tag = "d1",
    params(D1Params), responses((status = 200, body = Envelope<Vec<D1Database>>))
)]
async fn list_d1_databases(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(params): Asked<D1Params>,
) -> Answer<Vec<D1Database>> {
    let query = PageQuery { page: params.page, per_page: params.per_page };
    let page = query.page()?;
    let _turn = state.list_turn(&on.account).await?;
    let name = params.name.as_deref();
    let list = state.control.resources(&on.caller, &on.account, KIND, name, page).await?;
    let total = match name {
        Some(_) => list.len() as u64,
        None => state.control.count_resources(&on.caller, &on.account, KIND).await?,
    };
    Ok(query.envelope(list.into_iter().map(D1Database::from).collect(), total))
}

/// Makes a D1 database.
#[utoipa::path(
    post, path = "/accounts/{account_id}/d1/database", tag = "d1",
    request_body = CreateD1Database, responses((status = 200, body = Envelope<D1Database>))
)]
async fn create_d1_database(
    Extract(state): State,
    on: On<WorkersWrite>,
    JsonBody(body): JsonBody<CreateD1Database>,
) -> Answer<D1Database> {
    answer(state.control.create_resource(&on.caller, &on.account, body.into()).await?.into())
}

/// One D1 database, by its id or its name.
#[utoipa::path(
    get, path = "/accounts/{account_id}/d1/database/{database_id}", tag = "d1",
    responses((status = 200, body = Envelope<D1Database>))
)]
async fn get_d1_database(Extract(state): State, on: On<WorkersRead>, Named(path): Named<D1Path>) -> Answer<D1Database> {
    answer(state.control.resource(&on.caller, &on.account, KIND, &path.database_id).await?.into())
}

/// Removes a D1 database.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/d1/database/{database_id}", tag = "d1",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_d1_database(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<D1Path>,
) -> Answer<Nothing> {
    state.control.delete_resource(&on.caller, &on.account, KIND, &path.database_id).await?;
    answer(Nothing)
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/d1/database/{database_id}/query", tag = "d1", responses())]
async fn query_d1(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a D1 database"))
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/d1/database/{database_id}/raw", tag = "d1", responses())]
async fn query_d1_raw(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a D1 database"))
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/d1/database/{database_id}/import", tag = "d1", responses())]
async fn import_d1(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a D1 database"))
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/d1/database/{database_id}/export", tag = "d1", responses())]
async fn export_d1(_: On<WorkersRead>) -> Answer<Nothing> {
    Err(not_available("the content of a D1 database"))
}

/// Not available yet.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/d1/database/{database_id}/time_travel/bookmark",
    tag = "d1",
    responses()
)]
async fn get_d1_bookmark(_: On<WorkersRead>) -> Answer<Nothing> {
    Err(not_available("the history of a D1 database"))
}

/// Not available yet.
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/d1/database/{database_id}/time_travel/restore",
    tag = "d1",
    responses()
)]
async fn restore_d1(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the history of a D1 database"))
}
