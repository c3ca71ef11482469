//! Who changed what, when, and from where.

use axum::extract::State as Extract;
use selvedge_control::{AuditEntry, AuditPage, AuditQuery, PAGE_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{AuditRead, Known, On};
use crate::envelope::{Answer, Envelope, ResultInfo};
use crate::error::ApiError;
use crate::extract::Asked;
use crate::page::time;

/// How many changes a page has where the client does not say.
const PER_PAGE: u64 = 100;

pub fn router() -> Router {
    Router::default().routes(routes!(list_audit_logs)).routes(routes!(list_platform_audit_logs))
}

/// One change.
#[derive(Serialize, ToSchema)]
struct AuditLog {
    /// Its place in the log.
    id: String,
    #[schema(format = DateTime)]
    when: String,
    action: AuditAction,
    actor: AuditActor,
    resource: AuditResource,
    /// None for what concerns the whole platform.
    owner: Option<AuditOwner>,
    /// What it was done with: `wrangler`, `selvedge`, `api`, ….
    interface: String,
    /// What else there is to say.
    metadata: Value,
}

#[derive(Serialize, ToSchema)]
struct AuditAction {
    /// `version.created`, `worker.deployed`, `token.revoked`, ….
    r#type: String,
    /// Always true: what was refused changed nothing.
    result: bool,
}

#[derive(Serialize, ToSchema)]
struct AuditActor {
    /// The id of the token.
    id: Option<String>,
    /// The name of the token.
    email: String,
    ip: Option<String>,
    /// `token`, or `system` for what the platform did by itself.
    r#type: &'static str,
}

#[derive(Serialize, ToSchema)]
struct AuditResource {
    /// The name of a worker, the id of a token, ….
    id: String,
    /// `worker`, `token`, ….
    r#type: String,
}

#[derive(Serialize, ToSchema)]
struct AuditOwner {
    /// The account.
    id: String,
}

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Where the page begins: what `result_info.cursor` of the page before says.
    #[param(pattern = "^[0-9]{0,18}$")]
    cursor: Option<String>,
    /// The most that a page holds; never more than 1000.
    #[param(minimum = 1)]
    #[serde(alias = "per_page")]
    limit: Option<u64>,
    /// Only what happened then or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only what happened earlier.
    #[param(format = DateTime)]
    before: Option<String>,
    /// Only actions that begin so.
    action: Option<String>,
    /// Only what a token of that name did.
    actor: Option<String>,
    /// Only what was done to that.
    target: Option<String>,
}

impl AuditParams {
    pub fn query(self) -> Result<AuditQuery, ApiError> {
        if self.limit == Some(0) {
            return Err(ApiError::bad_parameter(format!("`limit` is between 1 and {PAGE_MAX}")));
        }
        let number = |text: String| {
            text.parse().map_err(|_| ApiError::bad_parameter("`cursor` is not what `result_info.cursor` said"))
        };
        let before = self.cursor.filter(|cursor| !cursor.is_empty()).map(number).transpose()?;
        if before.is_some_and(|before: u64| before > i64::MAX as u64) {
            return Err(ApiError::bad_parameter("`cursor` is not what `result_info.cursor` said"));
        }
        Ok(AuditQuery {
            before,
            limit: self.limit.unwrap_or(PER_PAGE).clamp(1, PAGE_MAX),
            action: self.action,
            actor: self.actor,
            target: self.target,
            since_ms: self.since.map(|text| instant("since", &text)).transpose()?,
            until_ms: self.before.map(|text| instant("before", &text)).transpose()?,
        })
    }
}

fn instant(key: &str, text: &str) -> Result<u64, ApiError> {
    let instant = text.parse::<jiff::Timestamp>().map_err(|error| {
        ApiError::bad_parameter(format!("`{key}` is not a time such as 2030-01-31T00:00:00Z: {error}"))
    })?;
    Ok(u64::try_from(instant.as_millisecond()).unwrap_or(0))
}

impl From<AuditEntry> for AuditLog {
    fn from(entry: AuditEntry) -> Self {
        let kind = entry.action.split('.').next().unwrap_or_default().to_owned();
        Self {
            id: entry.position.to_string(),
            when: time(entry.at_ms),
            action: AuditAction { r#type: entry.action, result: true },
            actor: AuditActor {
                r#type: if entry.token.is_some() { "token" } else { "system" },
                id: entry.token,
                email: entry.actor,
                ip: entry.ip.map(|ip| ip.to_string()),
            },
            resource: AuditResource { id: entry.target, r#type: kind },
            owner: entry.account.map(|account| AuditOwner { id: account.to_string() }),
            interface: entry.client,
            metadata: entry.detail,
        }
    }
}

fn paged(page: AuditPage, limit: u64) -> Envelope<Vec<AuditLog>> {
    let list: Vec<_> = page.entries.into_iter().map(AuditLog::from).collect();
    let info = ResultInfo {
        per_page: Some(limit as usize),
        count: list.len(),
        cursor: Some(page.cursor.map(|cursor| cursor.to_string()).unwrap_or_default()),
        ..ResultInfo::default()
    };
    Envelope::paged(list, info)
}

/// The changes of an account, newest first.
#[utoipa::path(
    get, path = "/accounts/{account_id}/audit_logs", tag = "audit",
    params(AuditParams), responses((status = 200, body = Envelope<Vec<AuditLog>>))
)]
async fn list_audit_logs(
    Extract(state): State,
    on: On<AuditRead>,
    Asked(params): Asked<AuditParams>,
) -> Answer<Vec<AuditLog>> {
    let query = params.query()?;
    let limit = query.limit;
    let _turn = state.list_turn(&on.account).await?;
    Ok(paged(state.control.audit(&on.caller, &on.account, query).await?, limit))
}

/// The changes of the whole platform, newest first. For its administrators.
#[utoipa::path(
    get, path = "/audit_logs", tag = "audit",
    params(AuditParams), responses((status = 200, body = Envelope<Vec<AuditLog>>))
)]
async fn list_platform_audit_logs(
    Extract(state): State,
    Known(caller): Known,
    Asked(params): Asked<AuditParams>,
) -> Answer<Vec<AuditLog>> {
    caller.require_admin()?;
    let query = params.query()?;
    let limit = query.limit;
    Ok(paged(state.control.audit_all(&caller, query).await?, limit))
}
