//! Zones: the registrable domains that routes and custom domains lie in.

use axum::extract::State as Extract;
use selvedge_control::{Caller, ControlError, Permission, Scope, Zone};
use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::Known;
use crate::envelope::{Answer, Envelope, ResultInfo, answer};
use crate::error::ApiError;
use crate::extract::{Asked, JsonBody, Named};
use crate::page::{PageQuery, whole};
use crate::state::ApiState;

pub fn router() -> Router {
    Router::default().routes(routes!(list_zones, claim_zone)).routes(routes!(get_zone, release_zone))
}

/// A zone.
#[derive(Serialize, ToSchema)]
struct ZoneView {
    id: String,
    name: String,
    /// `active` if the account holds it, `pending` if it could.
    status: &'static str,
    /// Always `full`.
    r#type: &'static str,
    account: ZoneAccount,
}

#[derive(Serialize, Deserialize, ToSchema)]
struct ZoneAccount {
    id: String,
}

impl From<Zone> for ZoneView {
    fn from(zone: Zone) -> Self {
        Self {
            id: zone.id,
            name: zone.name,
            status: if zone.claimed { "active" } else { "pending" },
            r#type: "full",
            account: ZoneAccount { id: zone.account.to_string() },
        }
    }
}

/// Which zones.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ZonesParams {
    /// Only the zone of exactly that name; also one that is not claimed, but could be.
    name: Option<String>,
    /// The account that they are for, where the token is for several.
    #[serde(rename = "account.id")]
    account: Option<String>,
    /// The page. All are on the first.
    #[param(minimum = 1)]
    page: Option<u64>,
}

/// A zone to claim.
#[derive(Deserialize, ToSchema)]
pub struct ClaimZone {
    /// Such as `example.com`.
    pub name: String,
    /// The account that is to hold it, where the token is for several.
    #[serde(default)]
    account: Option<ZoneAccount>,
}

/// Which zone.
#[derive(Deserialize)]
struct ZonePath {
    zone_id: String,
}

/// What was released.
#[derive(Serialize, ToSchema)]
struct ReleasedZone {
    id: String,
}

/// The account that is meant: the one that is named, the zone's, or the only one that the token is for.
pub async fn account_of(
    state: &ApiState,
    caller: &Caller,
    zone_id: Option<&str>,
    named: Option<&str>,
) -> Result<AccountId, ApiError> {
    if let Some(named) = named {
        let unknown = |_| ControlError::Forbidden { permission: Permission::WorkersRead };
        return Ok(named.parse().map_err(unknown)?);
    }
    if let Scope::Account(account) = caller.scope() {
        return Ok(account.clone());
    }
    if let Some(zone_id) = zone_id
        && let Ok(zone) = state.control.zone(caller, zone_id).await
    {
        return Ok(zone.account);
    }
    let mut accounts = whole(|page| state.control.accounts(caller, page)).await?;
    match (accounts.pop(), accounts.is_empty()) {
        (Some(account), true) => Ok(account.id),
        _ => Err(ApiError::bad_parameter(
            "the token is for several accounts: say which one is meant (`account.id` in the query, `account: {\"id\": …}` \
             in a body)",
        )),
    }
}

/// The zones of an account; with `name`, the one of that name, claimed or not.
#[utoipa::path(
    get, path = "/zones", tag = "zones",
    params(ZonesParams), responses((status = 200, body = Envelope<Vec<ZoneView>>))
)]
async fn list_zones(
    Extract(state): State,
    Known(caller): Known,
    Asked(params): Asked<ZonesParams>,
) -> Answer<Vec<ZoneView>> {
    let page = PageQuery { page: params.page, per_page: None }.page()?;
    let account = account_of(&state, &caller, None, params.account.as_deref()).await?;
    // Before it takes a turn of that account's.
    caller.require(&account, Permission::WorkersRead)?;
    let _turn = state.list_turn(&account).await?;
    let mut zones = match &params.name {
        Some(name) => state.control.zone_named(&caller, &account, name).await?.into_iter().collect(),
        None => state.control.zones(&caller, &account).await?,
    };
    let total = zones.len();
    if page.offset > 0 {
        zones.clear();
    }
    let info = ResultInfo {
        page: Some(params.page.unwrap_or(1) as usize),
        per_page: Some(total.max(1)),
        count: zones.len(),
        total_count: Some(total),
        total_pages: Some(1),
        cursor: None,
    };
    Ok(Envelope::paged(zones.into_iter().map(ZoneView::from).collect(), info))
}

/// Claims a zone for an account, until it is released.
#[utoipa::path(
    post, path = "/zones", tag = "zones",
    request_body = ClaimZone, responses((status = 200, body = Envelope<ZoneView>))
)]
async fn claim_zone(
    Extract(state): State,
    Known(caller): Known,
    JsonBody(body): JsonBody<ClaimZone>,
) -> Answer<ZoneView> {
    let named = body.account.as_ref().map(|account| account.id.as_str());
    let account = account_of(&state, &caller, None, named).await?;
    answer(state.control.claim_zone(&caller, &account, &body.name).await?.into())
}

/// One zone.
#[utoipa::path(get, path = "/zones/{zone_id}", tag = "zones", responses((status = 200, body = Envelope<ZoneView>)))]
async fn get_zone(Extract(state): State, Known(caller): Known, Named(path): Named<ZonePath>) -> Answer<ZoneView> {
    answer(state.control.zone(&caller, &path.zone_id).await?.into())
}

/// Gives the claim on a zone back. It stays the account's while it has routes or domains there.
#[utoipa::path(
    delete, path = "/zones/{zone_id}", tag = "zones",
    responses((status = 200, body = Envelope<ReleasedZone>))
)]
async fn release_zone(
    Extract(state): State,
    Known(caller): Known,
    Named(path): Named<ZonePath>,
) -> Answer<ReleasedZone> {
    let zone = state.control.zone(&caller, &path.zone_id).await?;
    state.control.release_zone(&caller, &zone.account, &path.zone_id).await?;
    answer(ReleasedZone { id: path.zone_id })
}
