//! Records of Durable Object namespaces, which migrations make and remove.

use axum::extract::State as Extract;
use selvedge_control::{Resource, ResourceKind};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead};
use crate::envelope::{Answer, Envelope};
use crate::extract::Asked;
use crate::page::PageQuery;

const KIND: ResourceKind = ResourceKind::DurableObjectNamespace;

pub fn router() -> Router {
    Router::default().routes(routes!(list_object_namespaces))
}

/// A Durable Object namespace: a class of a worker.
#[derive(Serialize, ToSchema)]
struct ObjectNamespace {
    id: String,
    name: String,
    script: String,
    class: String,
    use_sqlite: bool,
}

impl From<Resource> for ObjectNamespace {
    fn from(resource: Resource) -> Self {
        let said = |keys: [&str; 2]| {
            keys.iter().find_map(|key| resource.data.get(*key).and_then(Value::as_str)).unwrap_or_default().to_owned()
        };
        Self {
            script: said(["script", "script_name"]),
            class: said(["class", "class_name"]),
            use_sqlite: resource.data.get("use_sqlite").and_then(Value::as_bool).unwrap_or(true),
            id: resource.id,
            name: resource.name,
        }
    }
}

/// The Durable Object namespaces of an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/durable_objects/namespaces", tag = "durable objects",
    params(PageQuery), responses((status = 200, body = Envelope<Vec<ObjectNamespace>>))
)]
async fn list_object_namespaces(
    Extract(state): State,
    on: On<WorkersRead>,
    Asked(query): Asked<PageQuery>,
) -> Answer<Vec<ObjectNamespace>> {
    let page = query.page()?;
    let list = state.control.resources(&on.caller, &on.account, KIND, None, page).await?;
    let total = state.control.count_resources(&on.caller, &on.account, KIND).await?;
    Ok(query.envelope(list.into_iter().map(ObjectNamespace::from).collect(), total))
}
