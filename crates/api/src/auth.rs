//! Who asks: by a token in the request's head, and on which account.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use http::{HeaderMap, header};
use selvedge_control::{Caller, ControlError, Origin, Permission};
use selvedge_model::AccountId;

use crate::connection::Client;
use crate::error::ApiError;
use crate::log::Note;
use crate::state::ApiState;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// Somebody whose token is good.
pub struct Known(pub Caller);

/// Somebody whose token may do `P` on the account that the path names.
pub struct On<P> {
    pub caller: Caller,
    pub account: AccountId,
    permission: PhantomData<P>,
}

/// What a handler needs.
pub trait Needs: Send + Sync {
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($name:ident),*) => {$(
        pub struct $name;
        impl Needs for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )*};
}

needs!(AccountRead, WorkersRead, WorkersWrite, SecretsWrite, TailRead, TokensWrite, AuditRead);

impl FromRequestParts<Arc<ApiState>> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let client = parts.extensions.get::<Client>().map(|client| client.0.ip());
        let refused = |error: ApiError| match client.and_then(|ip| state.throttle.fail(ip, Instant::now())) {
            Some(seconds) => {
                let message = format!("too many requests without a valid API token; wait {seconds} seconds");
                ApiError::too_many(message, seconds)
            }
            None => error,
        };
        let token = token(&parts.headers).map_err(refused)?;
        let origin = Origin { ip: client, client: program(&parts.headers).to_owned() };
        let caller = state.control.authenticate(token, origin).await.map_err(|error| match error {
            ControlError::Unauthenticated => refused(ApiError::unauthenticated(
                "Authentication error: the API token is unknown, expired or revoked; make another with `selvedge token \
                 create`",
            )),
            other => other.into(),
        })?;
        Note::of(parts, |note| note.token = Some(caller.name().to_owned()));
        Ok(Self(caller))
    }
}

impl<P: Needs> FromRequestParts<Arc<ApiState>> for On<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let Known(caller) = Known::from_request_parts(parts, state).await?;
        let account = account(parts, state).await?;
        // An account whose name cannot be one is refused as any other that the token is not for.
        let Some(account) = account else {
            return Err(ControlError::Forbidden { permission: P::PERMISSION }.into());
        };
        Note::of(parts, |note| note.account = Some(account.clone()));
        caller.require(&account, P::PERMISSION)?;
        Ok(Self { caller, account, permission: PhantomData })
    }
}

async fn account(parts: &mut Parts, state: &Arc<ApiState>) -> Result<Option<AccountId>, ApiError> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|error| ApiError::bad_parameter(error.to_string()))?;
    let text = params.iter().find(|(name, _)| *name == "account_id").map(|(_, value)| value);
    Ok(text.and_then(|text| text.parse().ok()))
}

/// The token of a request: `Authorization: Bearer TOKEN`, or `X-Auth-Key: TOKEN` with any `X-Auth-Email`.
pub(crate) fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = "Authentication error: the request has no API token; send the header `Authorization: Bearer TOKEN` \
                   (wrangler does, with CLOUDFLARE_API_TOKEN set)";
    let token = match headers.get(header::AUTHORIZATION) {
        Some(value) => value.to_str().ok().and_then(bearer).ok_or_else(|| {
            ApiError::unauthenticated(
                "Authentication error: the header Authorization is not of the form `Bearer TOKEN`",
            )
        })?,
        None => {
            let key = headers.get("x-auth-key").ok_or_else(|| ApiError::unauthenticated(missing))?;
            if !headers.contains_key("x-auth-email") {
                return Err(ApiError::unauthenticated(
                    "Authentication error: the header X-Auth-Key came without X-Auth-Email",
                ));
            }
            key.to_str().unwrap_or_default()
        }
    };
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(ApiError::unauthenticated("Authentication error: the API token cannot be one"));
    }
    Ok(token)
}

/// What follows `Bearer`.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Which program asks, as far as it matters to who reads the list of versions.
fn program(headers: &HeaderMap) -> &'static str {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    match agent.split('/').next() {
        Some("wrangler") => "wrangler",
        Some("selvedge") => "selvedge",
        _ => "api",
    }
}
