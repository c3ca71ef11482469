//! Records of R2 buckets. What they hold comes with their service.

use axum::extract::{FromRequestParts, State as Extract};
use http::request::Parts;
use selvedge_control::{NewResource, Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State, not_available};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Anything, Envelope, Nothing, answer};
use crate::error::ApiError;
use crate::extract::{JsonBody, Named};
use crate::multipart::shown;
use crate::page::{time, whole_of_large};

const KIND: ResourceKind = ResourceKind::R2Bucket;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_r2_buckets, create_r2_bucket))
        .routes(routes!(get_r2_bucket, delete_r2_bucket))
        .routes(routes!(read_r2_object, write_r2_object, delete_r2_object))
}

/// An R2 bucket.
#[derive(Serialize, ToSchema)]
struct R2Bucket {
    name: String,
    #[schema(format = DateTime)]
    creation_date: String,
    location: String,
    storage_class: String,
    jurisdiction: String,
}

impl From<Resource> for R2Bucket {
    fn from(resource: Resource) -> Self {
        let said =
            |key: &str, otherwise: &str| resource.data.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
        Self {
            creation_date: time(resource.created_ms),
            location: said("location", "auto"),
            storage_class: said("storage_class", "Standard"),
            jurisdiction: "default".into(),
            name: resource.name,
        }
    }
}

/// What a bucket takes in a list beside what it says itself, nearly, in bytes.
const BUCKET_BYTES: usize = 256;

/// R2 buckets.
#[derive(Serialize, ToSchema)]
struct R2Buckets {
    buckets: Vec<R2Bucket>,
}

/// An R2 bucket to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateR2Bucket {
    #[schema(min_length = 3, max_length = 63, pattern = "^[a-z0-9][a-z0-9-]*[a-z0-9]$")]
    name: String,
    #[serde(default)]
    storage_class: Option<String>,
    #[serde(default)]
    location_hint: Option<String>,
}

impl From<CreateR2Bucket> for NewResource {
    fn from(body: CreateR2Bucket) -> Self {
        let said = [("storage_class", body.storage_class), ("location", body.location_hint)];
        let data = said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))).collect();
        Self { kind: KIND, name: body.name, data }
    }
}

/// Which bucket.
#[derive(Deserialize)]
struct BucketPath {
    bucket_name: String,
}

/// That the buckets asked for are those of the one jurisdiction there is. A bucket of another is another bucket, though the
/// names be the same.
struct DefaultJurisdiction;

impl<S: Send + Sync> FromRequestParts<S> for DefaultJurisdiction {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut given = parts.headers.get_all("cf-r2-jurisdiction").iter();
        match given.find(|jurisdiction| jurisdiction.as_bytes() != b"default") {
            Some(other) => {
                let other = shown(&String::from_utf8_lossy(other.as_bytes()));
                Err(not_available(&format!("R2 in the jurisdiction \"{other}\"")))
            }
            None => Ok(Self),
        }
    }
}

/// The R2 buckets of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/r2/buckets", tag = "r2",
    responses((status = 200, body = Envelope<R2Buckets>))
)]
async fn list_r2_buckets(Extract(state): State, on: On<WorkersRead>, _: DefaultJurisdiction) -> Answer<R2Buckets> {
    let _turn = state.list_turn(&on.account).await?;
    let weight = |bucket: &Resource| BUCKET_BYTES + Value::Object(bucket.data.clone()).to_string().len();
    let read = |page| state.control.resources(&on.caller, &on.account, KIND, None, page);
    let list = whole_of_large("remove buckets whose location or storage class are long", weight, read).await?;
    answer(R2Buckets { buckets: list.into_iter().map(R2Bucket::from).collect() })
}

/// Makes an R2 bucket.
#[utoipa::path(
    post, path = "/accounts/{account_id}/r2/buckets", tag = "r2",
    request_body = CreateR2Bucket, responses((status = 200, body = Envelope<R2Bucket>))
)]
async fn create_r2_bucket(
    Extract(state): State,
    on: On<WorkersWrite>,
    _: DefaultJurisdiction,
    JsonBody(body): JsonBody<CreateR2Bucket>,
) -> Answer<R2Bucket> {
    answer(state.control.create_resource(&on.caller, &on.account, body.into()).await?.into())
}

/// One R2 bucket.
#[utoipa::path(
    get, path = "/accounts/{account_id}/r2/buckets/{bucket_name}", tag = "r2",
    responses((status = 200, body = Envelope<R2Bucket>))
)]
async fn get_r2_bucket(
    Extract(state): State,
    on: On<WorkersRead>,
    _: DefaultJurisdiction,
    Named(path): Named<BucketPath>,
) -> Answer<R2Bucket> {
    answer(state.control.resource(&on.caller, &on.account, KIND, &path.bucket_name).await?.into())
}

/// Removes an R2 bucket.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/r2/buckets/{bucket_name}", tag = "r2",
    responses((status = 200, body = Envelope<Anything>))
)]
async fn delete_r2_bucket(
    Extract(state): State,
    on: On<WorkersWrite>,
    _: DefaultJurisdiction,
    Named(path): Named<BucketPath>,
) -> Answer<Anything> {
    state.control.delete_resource(&on.caller, &on.account, KIND, &path.bucket_name).await?;
    answer(Anything(Value::Object(Map::new())))
}

/// Not available yet.
#[utoipa::path(get, path = "/accounts/{account_id}/r2/buckets/{bucket_name}/objects/{*key}", tag = "r2", responses())]
async fn read_r2_object(_: On<WorkersRead>) -> Answer<Nothing> {
    Err(not_available("the content of an R2 bucket"))
}

/// Not available yet.
#[utoipa::path(put, path = "/accounts/{account_id}/r2/buckets/{bucket_name}/objects/{*key}", tag = "r2", responses())]
async fn write_r2_object(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of an R2 bucket"))
}

/// Not available yet.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/r2/buckets/{bucket_name}/objects/{*key}",
    tag = "r2",
    responses()
)]
async fn delete_r2_object(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of an R2 bucket"))
}
