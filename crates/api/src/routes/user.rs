//! Who asks.

use axum::extract::State as Extract;
use selvedge_control::{Caller, Permission};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::accounts::AccountView;
use super::{Router, State};
use crate::auth::{AccountRead, Known, On};
use crate::envelope::{Answer, answer};
use crate::extract::Asked;
use crate::page::{PageQuery, time, whole};

pub fn router() -> Router {
    Router::default()
        .routes(routes!(verify_token))
        .routes(routes!(verify_account_token))
        .routes(routes!(get_user))
        .routes(routes!(list_memberships))
}

/// A token that is good.
#[derive(Serialize, ToSchema)]
struct Verified {
    id: String,
    name: String,
    /// Always `active`: any other is refused.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_on: Option<String>,
    /// What it may do.
    permissions: Vec<&'static str>,
}

impl Verified {
    fn of(caller: &Caller) -> Self {
        Self {
            id: caller.token_id().to_owned(),
            name: caller.name().to_owned(),
            status: "active",
            expires_on: caller.expires_ms().map(time),
            permissions: names(caller),
        }
    }
}

/// Who a token stands for.
#[derive(Serialize, ToSchema)]
struct User {
    id: String,
    /// The name of the token: there are no people here, only tokens.
    email: String,
    username: String,
}

/// A token's standing in an account.
#[derive(Serialize, ToSchema)]
struct Membership {
    id: String,
    /// Always `accepted`.
    status: &'static str,
    account: AccountView,
    /// What the token may do there.
    roles: Vec<&'static str>,
}

fn names(caller: &Caller) -> Vec<&'static str> {
    caller.permissions().iter().copied().map(Permission::as_str).collect()
}

/// Whether the token of the request is good.
#[utoipa::path(
    get, path = "/user/tokens/verify", tag = "user",
    responses((status = 200, body = crate::envelope::Envelope<Verified>))
)]
async fn verify_token(Known(caller): Known) -> Answer<Verified> {
    answer(Verified::of(&caller))
}

/// Whether the token of the request is good for an account.
#[utoipa::path(
    get, path = "/accounts/{account_id}/tokens/verify", tag = "user",
    responses((status = 200, body = crate::envelope::Envelope<Verified>))
)]
async fn verify_account_token(on: On<AccountRead>) -> Answer<Verified> {
    answer(Verified::of(&on.caller))
}

/// Who the token of the request stands for.
#[utoipa::path(get, path = "/user", tag = "user", responses((status = 200, body = crate::envelope::Envelope<User>)))]
async fn get_user(Known(caller): Known) -> Answer<User> {
    let name = caller.name().to_owned();
    answer(User { id: caller.token_id().to_owned(), email: name.clone(), username: name })
}

/// The accounts that the token of the request is for, and what it may do there.
#[utoipa::path(
    get, path = "/memberships", tag = "user",
    params(PageQuery), responses((status = 200, body = crate::envelope::Envelope<Vec<Membership>>))
)]
async fn list_memberships(
    Extract(state): State,
    Known(caller): Known,
    Asked(query): Asked<PageQuery>,
) -> Answer<Vec<Membership>> {
    let page = query.page()?;
    let accounts = state.control.accounts(&caller, page).await?;
    let total = whole(|page| state.control.accounts(&caller, page)).await?.len() as u64;
    let list = accounts
        .into_iter()
        .map(|account| Membership {
            id: account.id.to_string(),
            status: "accepted",
            account: account.into(),
            roles: names(&caller),
        })
        .collect();
    Ok(query.envelope(list, total))
}
