//! API tokens of an account.

use std::collections::BTreeSet;

use axum::extract::State as Extract;
use selvedge_control::{NewToken, Permission, Scope, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, TokensWrite};
use crate::envelope::{Answer, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{Asked, JsonBody, Named};
use crate::page::{PageQuery, time, whole};

pub fn router() -> Router {
    Router::default().routes(routes!(list_tokens, create_token)).routes(routes!(revoke_token))
}

/// A token, but not the token itself.
#[derive(Serialize, ToSchema)]
struct TokenView {
    id: String,
    name: String,
    /// Always `active`: others are not listed.
    status: &'static str,
    permissions: Vec<&'static str>,
    /// It is for all accounts.
    all_accounts: bool,
    #[schema(format = DateTime)]
    issued_on: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_on: Option<String>,
    /// The name of the token that made it.
    author: String,
    /// The token itself: there once, in the answer to making it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    value: Option<String>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            status: "active",
            permissions: token.permissions.into_iter().map(Permission::as_str).collect(),
            all_accounts: token.scope == Scope::AllAccounts,
            issued_on: time(token.created_ms),
            expires_on: token.expires_ms.map(time),
            author: token.author,
            value: None,
        }
    }
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
pub struct CreateToken {
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// `account:read`, `workers:read`, `workers:write`, `secrets:write`, `tail:read`, `tokens:write`, `audit:read`,
    /// `platform:admin`.
    permissions: Vec<String>,
    /// When it ends. Never, where it is not given.
    #[serde(default)]
    #[schema(format = DateTime)]
    expires_on: Option<String>,
    /// For all accounts: administrators of the platform may make such.
    #[serde(default)]
    all_accounts: bool,
}

impl CreateToken {
    pub fn token(self) -> Result<NewToken, ApiError> {
        let permissions =
            self.permissions.iter().map(|text| text.parse()).collect::<Result<BTreeSet<Permission>, _>>()?;
        let expires_ms = self.expires_on.as_deref().map(instant).transpose()?;
        Ok(NewToken { name: self.name, permissions, expires_ms, all_accounts: self.all_accounts })
    }
}

/// Which token.
#[derive(Deserialize)]
struct TokenPath {
    token_id: String,
}

/// What was revoked.
#[derive(Serialize, ToSchema)]
struct Revoked {
    id: String,
}

/// The tokens of the account that are neither revoked nor expired.
#[utoipa::path(
    get, path = "/accounts/{account_id}/tokens", tag = "tokens",
    params(PageQuery), responses((status = 200, body = Envelope<Vec<TokenView>>))
)]
async fn list_tokens(
    Extract(state): State,
    on: On<TokensWrite>,
    Asked(query): Asked<PageQuery>,
) -> Answer<Vec<TokenView>> {
    let page = query.page()?;
    let tokens = state.control.tokens(&on.caller, &on.account, page).await?;
    let total = whole(|page| state.control.tokens(&on.caller, &on.account, page)).await?.len() as u64;
    Ok(query.envelope(tokens.into_iter().map(TokenView::from).collect(), total))
}

/// Makes a token, which the answer shows this once.
#[utoipa::path(
    post, path = "/accounts/{account_id}/tokens", tag = "tokens",
    request_body = CreateToken, responses((status = 200, body = Envelope<TokenView>))
)]
async fn create_token(
    Extract(state): State,
    on: On<TokensWrite>,
    JsonBody(body): JsonBody<CreateToken>,
) -> Answer<TokenView> {
    let (token, secret) = state.control.create_token(&on.caller, &on.account, body.token()?).await?;
    answer(TokenView { value: Some(secret.expose().to_owned()), ..token.into() })
}

/// Revokes a token: no request that comes later is let in by it, and the tails that it opened end.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/tokens/{token_id}", tag = "tokens",
    responses((status = 200, body = Envelope<Revoked>))
)]
async fn revoke_token(Extract(state): State, on: On<TokensWrite>, Named(path): Named<TokenPath>) -> Answer<Revoked> {
    state.control.revoke_token(&on.caller, &on.account, &path.token_id).await?;
    state.tails.close_of(&path.token_id);
    answer(Revoked { id: path.token_id })
}

fn instant(text: &str) -> Result<u64, ApiError> {
    let instant = text.parse::<jiff::Timestamp>().map_err(|error| {
        ApiError::bad_body(format!("`expires_on` is not a time such as 2030-01-31T00:00:00Z: {error}"))
    })?;
    u64::try_from(instant.as_millisecond()).map_err(|_| ApiError::bad_body("`expires_on` is before 1970"))
}
