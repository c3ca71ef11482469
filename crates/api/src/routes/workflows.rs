//! Records of workflows. Their instances come with their service.

use axum::extract::State as Extract;
use http::StatusCode;
use selvedge_control::{NewResource, Page, Permission, Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State, not_available};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::error::ApiError;
use crate::extract::{Asked, JsonBody, Named};
use crate::page::{PageQuery, time};

const KIND: ResourceKind = ResourceKind::Workflow;

/// Where a workflow is kept, which it is made with.
const JURISDICTION: &str = "jurisdiction";

/// What clients know the refusal of another jurisdiction by.
const JURISDICTION_STAYS: u32 = 10_209;

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_workflows))
        .routes(routes!(get_workflow, put_workflow, delete_workflow))
        .routes(routes!(list_instances, create_instance))
        .routes(routes!(get_instance))
}

/// A workflow.
#[derive(Serialize, ToSchema)]
struct Workflow {
    id: String,
    name: String,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
    script_name: String,
    class_name: String,
    #[schema(value_type = Object)]
    instances: Map<String, Value>,
    /// As it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jurisdiction: Option<String>,
}

impl From<Resource> for Workflow {
    fn from(resource: Resource) -> Self {
        let said = |key: &str| resource.data.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            created_on: time(resource.created_ms),
            modified_on: time(resource.modified_ms),
            script_name: said("script_name").unwrap_or_default(),
            class_name: said("class_name").unwrap_or_default(),
            instances: Map::new(),
            jurisdiction: said(JURISDICTION),
            id: resource.id,
            name: resource.name,
        }
    }
}

/// What a workflow is. Members beside these are kept.
#[derive(Deserialize, ToSchema)]
pub struct PutWorkflow {
    script_name: String,
    class_name: String,
    /// Where the workflow is made. Of one that is there already it stays: another is refused.
    #[serde(default)]
    jurisdiction: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    extra: Map<String, Value>,
}

impl PutWorkflow {
    pub fn resource(self, name: String) -> NewResource {
        let mut data = self.extra;
        data.insert("script_name".into(), self.script_name.into());
        data.insert("class_name".into(), self.class_name.into());
        data.extend(self.jurisdiction.map(|jurisdiction| (JURISDICTION.to_owned(), Value::from(jurisdiction))));
        NewResource { kind: KIND, name, data }
    }
}

/// Which workflow.
#[derive(Deserialize)]
struct WorkflowPath {
    workflow_name: String,
}

/// The workflows of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workflows", tag = "workflows",
    params(PageQuery), responses((status = 200, body = Envelope<Vec<Workflow>>))
)]
async fn list_workflows(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(query): Asked<PageQuery>,
) -> Answer<Vec<Workflow>> {
    let page = query.page()?;
    let _turn = state.list_turn(&on.account).await?;
    let list = state.control.resources(&on.caller, &on.account, KIND, None, page).await?;
    let total = state.control.count_resources(&on.caller, &on.account, KIND).await?;
    Ok(query.envelope(list.into_iter().map(Workflow::from).collect(), total))
}

/// One workflow.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workflows/{workflow_name}", tag = "workflows",
    responses((status = 200, body = Envelope<Workflow>))
)]
async fn get_workflow(
    Extract(state): State,
    on: On<WorkersRead>,
    Named(path): Named<WorkflowPath>,
) -> Answer<Workflow> {
    answer(state.control.resource(&on.caller, &on.account, KIND, &path.workflow_name).await?.into())
}

/// Makes a workflow, or changes the one of that name.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workflows/{workflow_name}", tag = "workflows",
    request_body = PutWorkflow, responses((status = 200, body = Envelope<Workflow>))
)]
async fn put_workflow(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<WorkflowPath>,
    JsonBody(body): JsonBody<PutWorkflow>,
) -> Answer<Workflow> {
    let mut new = body.resource(path.workflow_name);
    // A token that may write but not read is not told what there is.
    if on.caller.require(&on.account, Permission::WorkersRead).is_ok() {
        let there = state.control.resources(&on.caller, &on.account, KIND, Some(&new.name), Page::first(1)).await?;
        if let Some(there) = there.first() {
            keep_jurisdiction(&mut new, there)?;
        }
    }
    answer(state.control.put_resource(&on.caller, &on.account, new).await?.into())
}

/// Refuses another jurisdiction than that of the workflow which is there; where none is said, that is meant.
fn keep_jurisdiction(new: &mut NewResource, there: &Resource) -> Result<(), ApiError> {
    let stays = there.data.get(JURISDICTION).cloned();
    if new.data.get(JURISDICTION).is_some_and(|wanted| stays.as_ref() != Some(wanted)) {
        let message = "a workflow keeps the jurisdiction that it was made with: give this one another name, or delete \
                       the one that is there";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, JURISDICTION_STAYS, message));
    }
    new.data.extend(stays.map(|stays| (JURISDICTION.to_owned(), stays)));
    Ok(())
}

/// Removes a workflow.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workflows/{workflow_name}", tag = "workflows",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_workflow(
    Extract(state): State,
    on: On<WorkersWrite>,
    Named(path): Named<WorkflowPath>,
) -> Answer<Nothing> {
    state.control.delete_resource(&on.caller, &on.account, KIND, &path.workflow_name).await?;
    answer(Nothing)
}

/// Not available yet.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/workflows/{workflow_name}/instances",
    tag = "workflows",
    responses()
)]
async fn list_instances(_: On<WorkersRead>) -> Answer<Nothing> {
    Err(not_available("running a workflow"))
}

/// Not available yet.
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/workflows/{workflow_name}/instances",
    tag = "workflows",
    responses()
)]
async fn create_instance(_: On<WorkersWrite>) -> Answer<Nothing> {
    Err(not_available("running a workflow"))
}

/// Not available yet.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/workflows/{workflow_name}/instances/{instance_id}",
    tag = "workflows",
    responses()
)]
async fn get_instance(_: On<WorkersRead>) -> Answer<Nothing> {
    Err(not_available("running a workflow"))
}
