//! Custom domains: host names that lead to one worker whole.

use axum::extract::State as Extract;
use selvedge_control::{CustomDomain, DomainInput, DomainOptions};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::extract::{Asked, JsonBody, JsonList, Named, OfWorker, worker_name};
use crate::page::time;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_domains))
        .routes(routes!(list_domain_records))
        .routes(routes!(get_domain, delete_domain))
        .routes(routes!(get_domain_record, delete_domain_record))
        .routes(routes!(get_domain_changes))
        .routes(routes!(put_worker_domains))
}

/// A host name that leads to a worker.
#[derive(Serialize, ToSchema)]
struct DomainView {
    id: String,
    hostname: String,
    service: String,
    /// Always `production`.
    environment: &'static str,
    zone_id: String,
    zone_name: String,
    enabled: bool,
    previews_enabled: bool,
    #[schema(format = DateTime)]
    created_on: String,
}

impl From<CustomDomain> for DomainView {
    fn from(domain: CustomDomain) -> Self {
        Self {
            id: domain.id,
            hostname: domain.hostname,
            service: domain.worker.to_string(),
            environment: "production",
            zone_id: domain.zone_id,
            zone_name: domain.zone_name,
            enabled: true,
            previews_enabled: false,
            created_on: time(domain.created_ms),
        }
    }
}

/// A host name to lead to a worker.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DomainOrigin {
    hostname: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone_name: Option<String>,
    /// Nothing but true is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// Nothing but false is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previews_enabled: Option<bool>,
}

impl DomainOrigin {
    pub fn input(self) -> DomainInput {
        let Self { hostname, zone_id, zone_name, enabled, previews_enabled } = self;
        DomainInput { hostname, zone_id, zone_name, enabled, previews_enabled }
    }

    fn of(input: DomainInput) -> Self {
        let DomainInput { hostname, zone_id, zone_name, enabled, previews_enabled } = input;
        Self { hostname, zone_id, zone_name, enabled, previews_enabled }
    }
}

/// Host names for a worker.
#[derive(Deserialize, ToSchema)]
pub struct PutDomains {
    pub origins: Vec<DomainOrigin>,
    /// The worker's other domains go.
    #[serde(default)]
    override_scope: bool,
    /// A host name may be taken from another worker of the account.
    #[serde(default)]
    override_existing_origin: bool,
    /// There are no DNS records here that could be in the way.
    #[serde(default)]
    #[allow(dead_code, reason = "clients send it")]
    override_existing_dns_record: bool,
}

/// What setting a worker's domains would do.
#[derive(Serialize, ToSchema)]
struct DomainChangeset {
    added: Vec<DomainOrigin>,
    removed: Vec<DomainView>,
    updated: Vec<ChangedDomain>,
    /// Always empty: there are no DNS records here that could be in the way.
    conflicting: Vec<DomainView>,
}

/// A domain that is there already, as it is.
#[derive(Serialize, ToSchema)]
struct ChangedDomain {
    #[serde(flatten)]
    domain: DomainView,
    /// Whether it would be taken from another worker.
    modified: bool,
}

/// Which domains.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DomainsParams {
    /// Only those of that worker.
    service: Option<String>,
    /// Only that host name.
    hostname: Option<String>,
    /// Only those in that zone.
    zone_id: Option<String>,
}

/// How the changes are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChangesetParams {
    /// What is not named goes.
    replace_state: Option<bool>,
}

/// Which domain.
#[derive(Deserialize)]
struct DomainPath {
    domain_id: String,
}

async fn list(state: &crate::state::ApiState, on: On<WorkersRead>, params: DomainsParams) -> Answer<Vec<DomainView>> {
    let worker = params.service.as_deref().map(worker_name).transpose()?;
    let _turn = state.list_turn(&on.account).await?;
    let domains = state.control.domains(&on.caller, &on.account, worker.as_ref()).await?;
    let wanted = |domain: &CustomDomain| {
        params.hostname.as_ref().is_none_or(|hostname| domain.hostname.eq_ignore_ascii_case(hostname))
            && params.zone_id.as_ref().is_none_or(|zone| domain.zone_id == *zone)
    };
    answer(domains.into_iter().filter(wanted).map(DomainView::from).collect())
}

/// The custom domains of the account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/domains", tag = "domains",
    params(DomainsParams), responses((status = 200, body = Envelope<Vec<DomainView>>))
)]
async fn list_domains(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(params): Asked<DomainsParams>,
) -> Answer<Vec<DomainView>> {
    list(&state, on, params).await
}

/// The custom domains of the account, by their other name.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/domains/records", tag = "domains",
    params(DomainsParams), responses((status = 200, body = Envelope<Vec<DomainView>>))
)]
async fn list_domain_records(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(params): Asked<DomainsParams>,
) -> Answer<Vec<DomainView>> {
    list(&state, on, params).await
}

/// One custom domain.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/domains/{domain_id}", tag = "domains",
    responses((status = 200, body = Envelope<DomainView>))
)]
async fn get_domain(Extract(state): State, on: On<WorkersRead>, Named(path): Named<DomainPath>) -> Answer<DomainView> {
    answer(state.control.custom_domain(&on.caller, &on.account, &path.domain_id).await?.into())
}

/// One custom domain, by its other name.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/domains/records/{domain_id}", tag = "domains",
    responses((status = 200, body = Envelope<DomainView>))
)]
async fn get_domain_record(
    Extract(state): State,
    on: On<WorkersRead>,
    Named(path): Named<DomainPath>,
) -> Answer<DomainView> {
    answer(state.control.custom_domain(&on.caller, &on.account, &path.domain_id).await?.into())
}

/// Takes a custom domain away.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/domains/{domain_id}", tag = "domains",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_domain(Extract(state): State, on: On<WorkersWrite>, Named(path): Named<DomainPath>) -> Answer<Nothing> {
    state.control.delete_domain(&on.caller, &on.account, &path.domain_id).await?;
    answer(Nothing)
}

/// Takes a custom domain away, by its other name.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/domains/records/{domain_id}", tag = "domains",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_domain_record(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<DomainPath>,
) -> Answer<Nothing> {
    state.control.delete_domain(&on.caller, &on.account, &path.domain_id).await?;
    answer(Nothing)
}

/// What setting a worker's domains would do. Nothing is changed.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/scripts/{script_name}/domains/changeset", tag = "domains",
    params(ChangesetParams),
    request_body = Vec<DomainOrigin>,
    responses((status = 200, body = Envelope<DomainChangeset>))
)]
async fn get_domain_changes(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
    Asked(params): Asked<ChangesetParams>,
    JsonList(body): JsonList<DomainOrigin>,
) -> Answer<DomainChangeset> {
    let inputs = body.into_iter().map(DomainOrigin::input).collect();
    let replace = params.replace_state.unwrap_or(false);
    let changes = state.control.domain_changes(&on.caller, &on.account, &name, inputs, replace).await?;
    let updated = |modified: bool| move |domain: CustomDomain| ChangedDomain { domain: domain.into(), modified };
    // To clients, a host name of another worker is one that changes; what conflicts is a DNS record.
    let taken = changes.conflicting.into_iter().map(updated(true));
    answer(DomainChangeset {
        added: changes.added.into_iter().map(DomainOrigin::of).collect(),
        removed: changes.removed.into_iter().map(DomainView::from).collect(),
        updated: changes.unchanged.into_iter().map(updated(false)).chain(taken).collect(),
        conflicting: Vec::new(),
    })
}

/// Gives a worker host names.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/scripts/{script_name}/domains/records", tag = "domains",
    request_body = PutDomains, responses((status = 200, body = Envelope<Vec<DomainView>>))
)]
async fn put_worker_domains(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    JsonBody(body): JsonBody<PutDomains>,
) -> Answer<Vec<DomainView>> {
    let options =
        DomainOptions { override_scope: body.override_scope, override_existing_origin: body.override_existing_origin };
    let inputs = body.origins.into_iter().map(DomainOrigin::input).collect();
    let domains = state.control.set_domains(&on.caller, &on.account, &name, inputs, options).await?;
    answer(domains.into_iter().map(DomainView::from).collect())
}
