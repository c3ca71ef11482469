//! Workers as services, and in the newer shape of the platform's API.

use axum::extract::State as Extract;
use selvedge_control::Worker;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::extract::{Asked, OfWorker};
use crate::page::{PageQuery, time};
use crate::state::ApiConfig;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(get_service, delete_service))
        .routes(routes!(list_workers))
        .routes(routes!(get_worker))
        .routes(routes!(get_references))
        .routes(routes!(list_tail_consumed))
}

/// A worker as a service with one environment.
#[derive(Serialize, ToSchema)]
struct Service {
    id: String,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
    default_environment: Environment,
    environments: Vec<Environment>,
}

#[derive(Serialize, ToSchema)]
struct Environment {
    /// Always `production`.
    environment: &'static str,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
    script: Script,
}

/// What a worker's script is said to be.
#[derive(Serialize, ToSchema)]
pub struct Script {
    pub id: String,
    /// Its tag: what it is known by while it exists.
    pub tag: String,
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub migration_tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_deployed_from: Option<String>,
    #[schema(format = DateTime)]
    pub created_on: String,
    #[schema(format = DateTime)]
    pub modified_on: String,
    /// Always `standard`.
    pub usage_model: &'static str,
    pub logpush: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    pub observability: Option<Value>,
    pub tail_consumers: Vec<TailConsumer>,
    /// Whether it has static assets is known of versions, not of workers.
    pub has_modules: bool,
}

/// A worker that is told of another's events.
#[derive(Serialize, ToSchema)]
pub struct TailConsumer {
    pub service: String,
}

impl Script {
    pub fn of(worker: &Worker) -> Self {
        Self {
            id: worker.name.to_string(),
            tag: worker.id.clone(),
            tags: worker.tags.clone(),
            migration_tag: worker.migration_tag.clone(),
            etag: worker.etag.clone(),
            last_deployed_from: worker.last_deployed_from.clone(),
            created_on: time(worker.created_ms),
            modified_on: time(worker.modified_ms),
            usage_model: "standard",
            logpush: worker.logpush,
            observability: worker.observability.clone(),
            tail_consumers: consumers(worker),
            has_modules: true,
        }
    }
}

/// What a worker takes in a list, nearly, in bytes.
pub fn weight(worker: &Worker) -> usize {
    /// All that is not of any length.
    const REST_BYTES: usize = 512;
    let tags: usize = worker.tags.iter().map(String::len).sum();
    let observability = worker.observability.as_ref().map_or(0, |value| value.to_string().len());
    REST_BYTES + tags + observability + worker.migration_tag.as_ref().map_or(0, String::len)
}

pub fn consumers(worker: &Worker) -> Vec<TailConsumer> {
    worker.tail_consumers.iter().map(|consumer| TailConsumer { service: consumer.service.to_string() }).collect()
}

impl Environment {
    fn of(worker: &Worker) -> Self {
        Self {
            environment: "production",
            created_on: time(worker.created_ms),
            modified_on: time(worker.modified_ms),
            script: Script::of(worker),
        }
    }
}

/// A worker in the newer shape.
#[derive(Serialize, ToSchema)]
struct WorkerView {
    id: String,
    name: String,
    tags: Vec<String>,
    logpush: bool,
    #[schema(value_type = Option<Object>)]
    observability: Option<Value>,
    tail_consumers: Vec<TailConsumer>,
    subdomain: WorkerSubdomain,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    updated_on: String,
}

/// Where the platform's domain leads to a worker.
#[derive(Serialize, ToSchema)]
struct WorkerSubdomain {
    enabled: bool,
    previews_enabled: bool,
    /// Where it is reached, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    /// What follows a version's first eight digits, or its alias, in the host name of its preview.
    preview_url_suffix: String,
}

impl WorkerView {
    fn of(worker: &Worker, config: &ApiConfig) -> Self {
        let host = format!("{}.{}", worker.name, worker.host_suffix);
        let port = config.port.map(|port| format!(":{port}")).unwrap_or_default();
        Self {
            id: worker.id.clone(),
            name: worker.name.to_string(),
            tags: worker.tags.clone(),
            logpush: worker.logpush,
            observability: worker.observability.clone(),
            tail_consumers: consumers(worker),
            subdomain: WorkerSubdomain {
                enabled: worker.workers_dev,
                previews_enabled: worker.previews,
                url: Some(format!("{}://{host}{port}", config.scheme)),
                preview_url_suffix: format!("-{host}{port}"),
            },
            created_on: time(worker.created_ms),
            updated_on: time(worker.modified_ms),
        }
    }
}

/// How a worker is to be removed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteParams {
    /// Also if others refer to it.
    #[serde(default)]
    pub force: Option<bool>,
}

/// What refers to a worker.
#[derive(Serialize, ToSchema)]
struct ReferencesView {
    services: ServiceReferences,
    durable_objects: Vec<ObjectReference>,
    dispatch_outbounds: Vec<ServiceReference>,
    queues: Vec<QueueReference>,
}

#[derive(Serialize, ToSchema)]
struct ServiceReferences {
    incoming: Vec<ServiceReference>,
}

#[derive(Serialize, ToSchema)]
struct ServiceReference {
    service: String,
    environment: &'static str,
    name: String,
}

#[derive(Serialize, ToSchema)]
struct ObjectReference {
    service: String,
    environment: &'static str,
    durable_object_namespace_name: String,
}

#[derive(Serialize, ToSchema)]
struct QueueReference {
    queue_name: String,
}

/// A worker whose events another is told of.
#[derive(Serialize, ToSchema)]
struct TailProducer {
    producer: Producer,
}

#[derive(Serialize, ToSchema)]
struct Producer {
    service: String,
    environment: &'static str,
}

/// A worker as a service.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/services/{script_name}", tag = "workers",
    responses((status = 200, body = Envelope<Service>))
)]
async fn get_service(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<Service> {
    let worker = state.control.worker(&on.caller, &on.account, &name).await?;
    answer(Service {
        id: worker.name.to_string(),
        created_on: time(worker.created_ms),
        modified_on: time(worker.modified_ms),
        default_environment: Environment::of(&worker),
        environments: vec![Environment::of(&worker)],
    })
}

/// Removes a worker with all of its versions, routes, domains and triggers.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/services/{script_name}", tag = "workers",
    params(DeleteParams), responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_service(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    Asked(params): Asked<DeleteParams>,
) -> Answer<Nothing> {
    state.control.delete_worker(&on.caller, &on.account, &name, params.force.unwrap_or(false)).await?;
    answer(Nothing)
}

/// The workers of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/workers", tag = "workers",
    params(PageQuery), responses((status = 200, body = Envelope<Vec<WorkerView>>))
)]
async fn list_workers(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(query): Asked<PageQuery>,
) -> Answer<Vec<WorkerView>> {
    let page = query.page()?;
    let _turn = state.list_turn(&on.account).await?;
    let workers = state.control.workers(&on.caller, &on.account, page).await?;
    let total = state.control.count_workers(&on.caller, &on.account).await?;
    Ok(query.envelope(workers.iter().map(|worker| WorkerView::of(worker, &state.config)).collect(), total))
}

/// A worker, with where it is reached.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/workers/{script_name}", tag = "workers",
    responses((status = 200, body = Envelope<WorkerView>))
)]
async fn get_worker(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<WorkerView> {
    let worker = state.control.worker(&on.caller, &on.account, &name).await?;
    answer(WorkerView::of(&worker, &state.config))
}

/// What refers to a worker.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/references", tag = "workers",
    responses((status = 200, body = Envelope<ReferencesView>))
)]
async fn get_references(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
) -> Answer<ReferencesView> {
    let _turn = state.list_turn(&on.account).await?;
    let references = state.control.references(&on.caller, &on.account, &name).await?;
    let incoming = references.services.into_iter();
    let objects = references.durable_objects.into_iter();
    answer(ReferencesView {
        services: ServiceReferences {
            incoming: incoming
                .map(|(service, name)| ServiceReference {
                    service: service.to_string(),
                    environment: "production",
                    name,
                })
                .collect(),
        },
        durable_objects: objects
            .map(|(service, class)| ObjectReference {
                service: service.to_string(),
                environment: "production",
                durable_object_namespace_name: class,
            })
            .collect(),
        dispatch_outbounds: Vec::new(),
        queues: references.queues.into_iter().map(|queue_name| QueueReference { queue_name }).collect(),
    })
}

/// The workers whose events a worker is told of.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/tails/by-consumer/{script_name}", tag = "workers",
    responses((status = 200, body = Envelope<Vec<TailProducer>>))
)]
async fn list_tail_consumed(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
) -> Answer<Vec<TailProducer>> {
    let _turn = state.list_turn(&on.account).await?;
    let references = state.control.references(&on.caller, &on.account, &name).await?;
    let producer = |service: selvedge_model::WorkerName| TailProducer {
        producer: Producer { service: service.to_string(), environment: "production" },
    };
    answer(references.tails.into_iter().map(producer).collect())
}
