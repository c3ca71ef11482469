//! Records of queues and their consumers. What they hold comes with their service.

use axum::extract::State as Extract;
use selvedge_control::{ControlError, NewResource, Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State, not_available};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Anything, Envelope, Nothing, answer};
use crate::error::ApiError;
use crate::extract::{Asked, JsonBody, Named};
use crate::page::{PageQuery, time};

const KIND: ResourceKind = ResourceKind::Queue;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_queues, create_queue))
        .routes(routes!(get_queue, patch_queue, put_queue, delete_queue))
        .routes(routes!(list_consumers, create_consumer))
        .routes(routes!(put_consumer, delete_consumer))
        .routes(routes!(purge_queue))
        .routes(routes!(push_messages))
        .routes(routes!(pull_messages))
        .routes(routes!(acknowledge_messages))
}

/// A queue.
#[derive(Serialize, ToSchema)]
struct Queue {
    queue_id: String,
    queue_name: String,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
    #[schema(value_type = Object)]
    settings: Value,
    #[schema(value_type = Vec<Object>)]
    producers: Vec<Value>,
    producers_total_count: usize,
    #[schema(value_type = Vec<Object>)]
    consumers: Vec<Value>,
    consumers_total_count: usize,
}

impl From<Resource> for Queue {
    fn from(mut resource: Resource) -> Self {
        let consumers = match resource.data.remove("consumers") {
            Some(Value::Array(consumers)) => consumers.into_iter().map(consumer).collect(),
            _ => Vec::new(),
        };
        Self {
            queue_id: resource.id,
            queue_name: resource.name,
            created_on: time(resource.created_ms),
            modified_on: time(resource.modified_ms),
            settings: resource.data.remove("settings").unwrap_or_else(|| Value::Object(Map::new())),
            producers: Vec::new(),
            producers_total_count: 0,
            consumers_total_count: consumers.len(),
            consumers,
        }
    }
}

/// A consumer as it is shown: its worker also as `script`, which clients look for. Not as `service`: those have
/// environments, which clients then compare.
fn consumer(mut consumer: Value) -> Value {
    if let Value::Object(fields) = &mut consumer
        && let Some(script) = fields.get("script_name").cloned()
    {
        fields.insert("script".into(), script);
    }
    consumer
}

/// A queue to make, or how one is to be.
#[derive(Deserialize, ToSchema)]
pub struct QueueInput {
    #[schema(min_length = 1, max_length = 256)]
    queue_name: String,
    #[serde(default)]
    settings: Option<Map<String, Value>>,
}

impl From<QueueInput> for NewResource {
    fn from(body: QueueInput) -> Self {
        Self { kind: KIND, name: body.queue_name, data: data_of(body.settings) }
    }
}

fn data_of(settings: Option<Map<String, Value>>) -> Map<String, Value> {
    settings.map(|settings| ("settings".to_owned(), Value::from(settings))).into_iter().collect()
}

/// Changes to a queue.
#[derive(Deserialize, ToSchema)]
pub struct QueuePatch {
    #[serde(default)]
    queue_name: Option<String>,
    #[serde(default)]
    settings: Option<Map<String, Value>>,
}

/// A consumer of a queue.
#[derive(Deserialize, ToSchema)]
pub struct ConsumerInput {
    /// `worker` or `http_pull`.
    r#type: String,
    #[serde(default)]
    #[schema(nullable = false)]
    script_name: Option<String>,
    #[serde(default)]
    #[schema(nullable = false)]
    environment_name: Option<String>,
    #[serde(default)]
    #[schema(nullable = false)]
    dead_letter_queue: Option<String>,
    #[serde(default)]
    #[schema(nullable = false)]
    settings: Option<Map<String, Value>>,
}

impl ConsumerInput {
    pub fn fields(self) -> Result<Map<String, Value>, ControlError> {
        match (self.r#type.as_str(), &self.script_name) {
            ("worker", Some(_)) | ("http_pull", _) => {}
            ("worker", None) => {
                return Err(ControlError::invalid("script_name", "a consumer of type worker names its worker"));
            }
            _ => return Err(ControlError::invalid("type", "a consumer's type is `worker` or `http_pull`")),
        }
        let said = [
            ("type", Some(Value::from(self.r#type))),
            ("script_name", self.script_name.map(Value::from)),
            ("environment_name", self.environment_name.map(Value::from)),
            ("dead_letter_queue", self.dead_letter_queue.map(Value::from)),
            ("settings", self.settings.map(Value::from)),
        ];
        Ok(said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }
}

/// Which queues.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "`name` may come several times, which a struct cannot take")]
struct QueuesParams {
    /// Only those of these names; it may be given several times.
    name: Option<String>,
    #[param(minimum = 1)]
    page: Option<u64>,
    #[param(minimum = 1)]
    per_page: Option<u64>,
}

/// Which queue, and which of its consumers.
#[derive(Deserialize)]
struct QueuePath {
    queue_id: String,
}

#[derive(Deserialize)]
struct ConsumerPath {
    queue_id: String,
    consumer_id: String,
}

/// How many names may be asked for at once.
const NAMES_MAX: usize = 100;

/// The queues of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/queues", tag = "queues",
    params(QueuesParams), responses((status = 200, body = Envelope<Vec<Queue>>))
)]
async fn list_queues(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(pairs): Asked<Vec<(String, String)>>,
) -> Answer<Vec<Queue>> {
    let number = |key: &str| {
        let text = pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        text.map(|text| text.parse::<u64>())
            .transpose()
            .map_err(|error| ApiError::bad_parameter(format!("`{key}` is not a number: {error}")))
    };
    let query = PageQuery { page: number("page")?, per_page: number("per_page")? };
    let page = query.page()?;
    let names: Vec<&str> = pairs.iter().filter(|(key, _)| key == "name").map(|(_, name)| name.as_str()).collect();
    let _turn = state.list_turn(&on.account).await?;
    if names.is_empty() {
        let list = state.control.resources(&on.caller, &on.account, KIND, None, page).await?;
        let total = state.control.count_resources(&on.caller, &on.account, KIND).await?;
        return Ok(query.envelope(list.into_iter().map(Queue::from).collect(), total));
    }
    if names.len() > NAMES_MAX {
        return Err(ApiError::bad_parameter(format!("`name` may be given {NAMES_MAX} times, not {}", names.len())));
    }
    let mut list = Vec::new();
    for name in names {
        list.extend(
            state.control.resources(&on.caller, &on.account, KIND, Some(name), PageQuery::default().page()?).await?,
        );
    }
    let total = list.len() as u64;
    // They are few, and all on the first page.
    let list = if query.page.unwrap_or(1) == 1 { list } else { Vec::new() };
    Ok(query.envelope(list.into_iter().map(Queue::from).collect(), total))
}

/// Makes a queue.
#[utoipa::path(
    post, path = "/accounts/{account_id}/queues", tag = "queues",
    request_body = QueueInput, responses((status = 200, body = Envelope<Queue>))
)]
async fn create_queue(
    Extract(state): State,
    on: On<WorkersWrite>,
    JsonBody(body): JsonBody<QueueInput>,
) -> Answer<Queue> {
    answer(state.control.create_resource(&on.caller, &on.account, body.into()).await?.into())
}

/// One queue.
#[utoipa::path(
    get, path = "/accounts/{account_id}/queues/{queue_id}", tag = "queues",
    responses((status = 200, body = Envelope<Queue>))
)]
async fn get_queue(Extract(state): State, on: On<WorkersRead>, Named(path): Named<QueuePath>) -> Answer<Queue> {
    answer(state.control.resource(&on.caller, &on.account, KIND, &path.queue_id).await?.into())
}

/// Changes a queue.
#[utoipa::path(
    patch, path = "/accounts/{account_id}/queues/{queue_id}", tag = "queues",
    request_body = QueuePatch, responses((status = 200, body = Envelope<Queue>))
)]
async fn patch_queue(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<QueuePath>,
    JsonBody(body): JsonBody<QueuePatch>,
) -> Answer<Queue> {
    let (id, data) = (&path.queue_id, data_of(body.settings));
    answer(state.control.merge_resource(&on.caller, &on.account, KIND, id, body.queue_name, data).await?.into())
}

/// Says how a queue is to be.
#[utoipa::path(
    put, path = "/accounts/{account_id}/queues/{queue_id}", tag = "queues",
    request_body = QueueInput, responses((status = 200, body = Envelope<Queue>))
)]
async fn put_queue(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<QueuePath>,
    JsonBody(body): JsonBody<QueueInput>,
) -> Answer<Queue> {
    let (id, name) = (&path.queue_id, Some(body.queue_name));
    // What is not said of it is not so. Its consumers are no part of what is said here.
    let settings = body.settings.map_or(Value::Null, Value::from);
    let data = Map::from_iter([("settings".to_owned(), settings)]);
    answer(state.control.change_resource(&on.caller, &on.account, KIND, id, name, data).await?.into())
}

/// Removes a queue.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/queues/{queue_id}", tag = "queues",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_queue(Extract(state): State, on: On<WorkersWrite>, Named(path): Named<QueuePath>) -> Answer<Nothing> {
    state.control.delete_resource(&on.caller, &on.account, KIND, &path.queue_id).await?;
    answer(Nothing)
}

/// The consumers of a queue.
#[utoipa::path(
    get, path = "/accounts/{account_id}/queues/{queue_id}/consumers", tag = "queues",
    responses((status = 200, body = Envelope<Vec<Anything>>))
)]
async fn list_consumers(
    Extract(state): State,
    on: On<WorkersRead>,
    Named(path): Named<QueuePath>,
) -> Answer<Vec<Anything>> {
    let queue = state.control.resource(&on.caller, &on.account, KIND, &path.queue_id).await?;
    answer(Queue::from(queue).consumers.into_iter().map(Anything).collect())
}

/// Gives a queue a consumer.
#[utoipa::path(
    post, path = "/accounts/{account_id}/queues/{queue_id}/consumers", tag = "queues",
    request_body = ConsumerInput, responses((status = 200, body = Envelope<Anything>))
)]
async fn create_consumer(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<QueuePath>,
    JsonBody(body): JsonBody<ConsumerInput>,
) -> Answer<Anything> {
    let fields = body.fields()?;
    let made = state.control.put_queue_consumer(&on.caller, &on.account, &path.queue_id, None, fields).await?;
    answer(Anything(consumer(made.into())))
}

/// Changes a consumer of a queue.
#[utoipa::path(
    put, path = "/accounts/{account_id}/queues/{queue_id}/consumers/{consumer_id}", tag = "queues",
    request_body = ConsumerInput, responses((status = 200, body = Envelope<Anything>))
)]
async fn put_consumer(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<ConsumerPath>,
    JsonBody(body): JsonBody<ConsumerInput>,
) -> Answer<Anything> {
    let (fields, id) = (body.fields()?, Some(path.consumer_id.as_str()));
    let changed = state.control.put_queue_consumer(&on.caller, &on.account, &path.queue_id, id, fields).await?;
    answer(Anything(consumer(changed.into())))
}

/// Takes a consumer from a queue.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/queues/{queue_id}/consumers/{consumer_id}", tag = "queues",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_consumer(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<ConsumerPath>,
) -> Answer<Nothing> {
    state.control.delete_queue_consumer(&on.caller, &on.account, &path.queue_id, &path.consumer_id).await?;
    answer(Nothing)
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/queues/{queue_id}/purge", tag = "queues", responses())]
async fn purge_queue(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a queue"))
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/queues/{queue_id}/messages", tag = "queues", responses())]
async fn push_messages(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a queue"))
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/queues/{queue_id}/messages/pull", tag = "queues", responses())]
async fn pull_messages(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a queue"))
}

/// Not available yet.
#[utoipa::path(post, path = "/accounts/{account_id}/queues/{queue_id}/messages/ack", tag = "queues", responses())]
async fn acknowledge_messages(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("the content of a queue"))
}
