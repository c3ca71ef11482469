//! Deployments: which versions serve, and how much each.

use std::collections::BTreeMap;

use axum::extract::State as Extract;
use selvedge_control::{Deployment, NewDeployment, Page};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{Asked, JsonBody, Named, OfWorker};
use crate::page::time;

/// How many deployments are listed, as on the platform: those whose versions are kept.
const DEPLOYMENTS_LISTED: u64 = 10;

pub fn router() -> Router {
    Router::default().routes(routes!(list_deployments, create_deployment)).routes(routes!(get_deployment))
}

/// A deployment of a worker.
#[derive(Serialize, ToSchema)]
pub struct DeploymentView {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = DateTime)]
    created_on: String,
    /// `wrangler`, `selvedge`, `api`.
    source: String,
    /// Always `percentage`.
    strategy: String,
    /// The name of the token that made it.
    author_email: String,
    annotations: BTreeMap<String, String>,
    versions: Vec<VersionShare>,
}

/// A version's share of the traffic.
#[derive(Serialize, Deserialize, ToSchema)]
struct VersionShare {
    #[schema(format = "uuid")]
    version_id: String,
    /// Of 100.
    #[schema(minimum = 0, maximum = 100)]
    percentage: f64,
}

/// Deployments, newest first: the first is the present one.
#[derive(Serialize, ToSchema)]
struct Deployments {
    deployments: Vec<DeploymentView>,
}

/// A deployment to make.
#[derive(Deserialize, ToSchema)]
pub struct CreateDeployment {
    /// `percentage`.
    #[serde(default)]
    #[schema(nullable = false)]
    strategy: Option<String>,
    /// One or two; together 100.
    #[schema(min_items = 1, max_items = 2)]
    versions: Vec<VersionShare>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// How long-running code is replaced: taken note of.
    #[serde(default)]
    #[allow(dead_code, reason = "clients send it; there is one way here")]
    #[schema(value_type = Option<Object>)]
    code_update_strategy: Option<Value>,
}

impl CreateDeployment {
    pub fn deployment(self, force: bool) -> Result<NewDeployment, ApiError> {
        let mut versions = Vec::with_capacity(self.versions.len());
        for (at, share) in self.versions.into_iter().enumerate() {
            let dashed = dashed(&share.version_id);
            let version =
                dashed.parse().map_err(|error| ApiError::bad_body(format!("`versions[{at}].version_id`: {error}")))?;
            versions.push((version, share.percentage));
        }
        Ok(NewDeployment { strategy: self.strategy, versions, annotations: self.annotations, force })
    }
}

/// How a deployment is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeployParams {
    /// Also where secrets go back to former values.
    force: Option<bool>,
}

/// Which deployment.
#[derive(Deserialize)]
struct DeploymentPath {
    deployment_id: String,
}

impl From<Deployment> for DeploymentView {
    fn from(deployment: Deployment) -> Self {
        let share = |share: selvedge_model::Share| VersionShare {
            version_id: share.version.to_string(),
            percentage: f64::from(share.basis_points) / 100.0,
        };
        Self {
            id: deployment.id,
            created_on: time(deployment.created_ms),
            source: deployment.source,
            strategy: deployment.strategy,
            author_email: deployment.author,
            annotations: deployment.annotations,
            versions: deployment.versions.into_iter().map(share).collect(),
        }
    }
}

/// The deployments of a worker, newest first.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/deployments", tag = "deployments",
    responses((status = 200, body = Envelope<Deployments>))
)]
async fn list_deployments(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<Deployments> {
    let last = state.control.deployments(&on.caller, &on.account, &name, Page::first(DEPLOYMENTS_LISTED)).await?;
    answer(Deployments { deployments: last.into_iter().map(DeploymentView::from).collect() })
}

/// Makes a deployment: the worker is served so from now on.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/scripts/{script_name}/deployments", tag = "deployments",
    params(DeployParams), request_body = CreateDeployment, responses((status = 200, body = Envelope<DeploymentView>))
)]
async fn create_deployment(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    Asked(params): Asked<DeployParams>,
    JsonBody(body): JsonBody<CreateDeployment>,
) -> Answer<DeploymentView> {
    let new = body.deployment(params.force.unwrap_or(false))?;
    answer(state.control.deploy(&on.caller, &on.account, &name, new).await?.into())
}

/// A UUID with its dashes, whether it came with them or not.
fn dashed(text: &str) -> String {
    match uuid::Uuid::parse_str(text) {
        Ok(uuid) => uuid.to_string(),
        Err(_) => text.to_owned(),
    }
}

/// One deployment.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/deployments/{deployment_id}", tag = "deployments",
    responses((status = 200, body = Envelope<DeploymentView>))
)]
async fn get_deployment(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
    Named(path): Named<DeploymentPath>,
) -> Answer<DeploymentView> {
    answer(state.control.deployment(&on.caller, &on.account, &name, &path.deployment_id).await?.into())
}
