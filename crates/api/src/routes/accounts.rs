//! Accounts.

use axum::extract::State as Extract;
use selvedge_control::{Account, NewAccount};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{AccountRead, Known, On};
use crate::envelope::{Answer, Envelope, answer};
use crate::extract::{Asked, JsonBody};
use crate::page::{PageQuery, time, whole};

pub fn router() -> Router {
    Router::default().routes(routes!(list_accounts, create_account)).routes(routes!(get_account))
}

/// An account.
#[derive(Serialize, ToSchema)]
pub struct AccountView {
    /// 32 hexadecimal digits.
    id: String,
    name: String,
    /// Always `standard`.
    r#type: &'static str,
    #[schema(format = DateTime)]
    created_on: String,
    /// What stands between its workers' names and the platform's domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    subdomain: Option<String>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            name: account.name,
            r#type: "standard",
            created_on: time(account.created_ms),
            subdomain: account.subdomain,
        }
    }
}

/// An account to make.
#[derive(Deserialize, ToSchema)]
pub struct CreateAccount {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// Made of the name where none is given.
    #[serde(default)]
    subdomain: Option<String>,
}

impl From<CreateAccount> for NewAccount {
    fn from(body: CreateAccount) -> Self {
        Self { name: body.name, subdomain: body.subdomain }
    }
}

/// The accounts that the token is for.
#[utoipa::path(
    get, path = "/accounts", tag = "accounts",
    params(PageQuery), responses((status = 200, body = Envelope<Vec<AccountView>>))
)]
async fn list_accounts(
    Extract(state): State,
    Known(caller): Known,
    Asked(query): Asked<PageQuery>,
) -> Answer<Vec<AccountView>> {
    let page = query.page()?;
    let accounts = state.control.accounts(&caller, page).await?;
    let total = whole(|page| state.control.accounts(&caller, page)).await?.len() as u64;
    Ok(query.envelope(accounts.into_iter().map(AccountView::from).collect(), total))
}

/// Makes an account. For administrators of the platform.
#[utoipa::path(
    post, path = "/accounts", tag = "accounts",
    request_body = CreateAccount, responses((status = 200, body = Envelope<AccountView>))
)]
async fn create_account(
    Extract(state): State,
    Known(caller): Known,
    JsonBody(body): JsonBody<CreateAccount>,
) -> Answer<AccountView> {
    caller.require_admin()?;
    answer(state.control.create_account(&caller, body.into()).await?.into())
}

/// One account.
#[utoipa::path(
    get, path = "/accounts/{account_id}", tag = "accounts",
    responses((status = 200, body = Envelope<AccountView>))
)]
async fn get_account(Extract(state): State, on: On<AccountRead>) -> Answer<AccountView> {
    answer(state.control.account(&on.caller, &on.account).await?.into())
}
