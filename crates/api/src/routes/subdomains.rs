//! Where the platform's own domain leads to workers.

use axum::extract::State as Extract;
use selvedge_control::Worker;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, answer};
use crate::extract::{JsonBody, OfWorker};

pub fn router() -> Router {
    Router::default().routes(routes!(get_account_subdomain, put_account_subdomain)).routes(routes!(
        get_worker_subdomain,
        set_worker_subdomain,
        delete_worker_subdomain
    ))
}

/// What stands between an account's workers and the domain.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AccountSubdomain {
    pub subdomain: String,
}

/// Whether the platform's domain leads to a worker.
#[derive(Serialize, ToSchema)]
pub struct WorkerSubdomainView {
    enabled: bool,
    /// Whether it leads to its versions.
    previews_enabled: bool,
}

impl WorkerSubdomainView {
    pub fn of(worker: &Worker) -> Self {
        Self { enabled: worker.workers_dev, previews_enabled: worker.previews }
    }
}

/// Whether the platform's domain is to lead to a worker.
#[derive(Deserialize, ToSchema)]
pub struct SetWorkerSubdomain {
    enabled: bool,
    /// As `enabled`, where it is not given.
    #[serde(default)]
    previews_enabled: Option<bool>,
}

/// What stands between the account's workers and the domain. The first account's has none; what is answered for it is the
/// domain's own first label, which nothing is made of.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/subdomain", tag = "subdomains",
    responses((status = 200, body = Envelope<AccountSubdomain>))
)]
async fn get_account_subdomain(Extract(state): State, on: On<WorkersRead>) -> Answer<AccountSubdomain> {
    let suffix = state.control.suffix_of(&on.caller, &on.account).await?;
    answer(AccountSubdomain { subdomain: suffix.split('.').next().unwrap_or_default().to_owned() })
}

/// Changes what stands between the account's workers and the domain. They move at once.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/subdomain", tag = "subdomains",
    request_body = AccountSubdomain, responses((status = 200, body = Envelope<AccountSubdomain>))
)]
async fn put_account_subdomain(
    Extract(state): State,
    on: On<WorkersWrite>,
    JsonBody(body): JsonBody<AccountSubdomain>,
) -> Answer<AccountSubdomain> {
    let account = state.control.set_subdomain(&on.caller, &on.account, &body.subdomain).await?;
    answer(AccountSubdomain { subdomain: account.subdomain.unwrap_or_default() })
}

/// Whether the platform's domain leads to a worker.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/subdomain", tag = "subdomains",
    responses((status = 200, body = Envelope<WorkerSubdomainView>))
)]
async fn get_worker_subdomain(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
) -> Answer<WorkerSubdomainView> {
    let worker = state.control.worker(&on.caller, &on.account, &name).await?;
    answer(WorkerSubdomainView::of(&worker))
}

/// Says whether the platform's domain leads to a worker, and to its versions.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/scripts/{script_name}/subdomain", tag = "subdomains",
    request_body = SetWorkerSubdomain, responses((status = 200, body = Envelope<WorkerSubdomainView>))
)]
async fn set_worker_subdomain(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    JsonBody(body): JsonBody<SetWorkerSubdomain>,
) -> Answer<WorkerSubdomainView> {
    let (enabled, previews) = (body.enabled, body.previews_enabled);
    let worker = state.control.set_worker_subdomain(&on.caller, &on.account, &name, enabled, previews).await?;
    answer(WorkerSubdomainView::of(&worker))
}

/// Has the platform's domain lead neither to a worker nor to its versions.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/scripts/{script_name}/subdomain", tag = "subdomains",
    responses((status = 200, body = Envelope<WorkerSubdomainView>))
)]
async fn delete_worker_subdomain(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
) -> Answer<WorkerSubdomainView> {
    let worker = state.control.set_worker_subdomain(&on.caller, &on.account, &name, false, Some(false)).await?;
    answer(WorkerSubdomainView::of(&worker))
}
