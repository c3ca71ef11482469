//! What the platform's clients ask for and is not here yet. They are told so, once it is known who asks, and not that the
//! path leads nowhere.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use selvedge_control::{ControlError, Permission};
use selvedge_model::AccountId;

use super::not_available;
use crate::auth::Known;
use crate::error::ApiError;
use crate::log::Note;
use crate::router::PREFIX;
use crate::state::ApiState;

/// How paths of an account go on, where `*` is any one segment, and what they are of. A deploy looks for things of these
/// before it uploads what is bound to them. They are refused as what the token may not do: wrangler then deploys without
/// having looked, and says so.
const LOOKED_FOR: [(&str, &str); 4] = [
    ("agent-memory", "Agent Memory"),
    ("ai-search", "AI Search"),
    ("flagship", "Flagship"),
    ("workers/dispatch", "Workers for Platforms, with its dispatch namespaces,"),
];

/// As above, of all else.
const OF_ACCOUNTS: [(&str, &str); 29] = [
    ("ai", "Workers AI"),
    ("artifacts", "Artifacts"),
    ("basin-sql", "R2 SQL"),
    ("browser-rendering", "Browser Rendering"),
    ("cfd_tunnel", "Tunnel"),
    ("challenges", "Turnstile"),
    ("cloudchamber", "Cloudchamber"),
    ("connectivity", "Workers VPC"),
    ("containers", "the service of containers"),
    ("email", "the service of email"),
    ("event_notifications", "the service of event notifications"),
    ("event_subscriptions", "the service of event subscriptions"),
    ("hyperdrive", "Hyperdrive"),
    ("k2", "K2"),
    ("mtls_certificates", "mTLS with certificates of one's own"),
    ("pages", "Pages"),
    ("pipelines", "the service of pipelines"),
    ("r2-catalog", "R2 Data Catalog"),
    ("r2-sql", "R2 SQL"),
    ("r2/buckets/*", "this part of R2"),
    ("secrets_store", "Secrets Store"),
    ("triggers", "a trigger by events"),
    ("vectorize", "Vectorize"),
    ("workers/scripts/*/edge-preview", REMOTE),
    ("workers/scripts/*/subdomain/edge-preview", REMOTE),
    ("workers/services/*/environments", "a Worker's environment as part of its service"),
    ("workers/subdomain/edge-preview", REMOTE),
    ("workers/workers", "this way to make or change a Worker, or a preview of its own,"),
    ("workflows/*", "running a workflow"),
];

/// As above, of zones.
const OF_ZONES: [(&str, &str); 2] = [("email", "the service of email"), ("workers/edge-preview", REMOTE)];

const REMOTE: &str = "remote development (`dev --remote`, bindings with `remote`)";

/// Why the client cannot have what it asks for, if that is known of the platform and is not here yet.
pub async fn refusal(state: &Arc<ApiState>, parts: &mut Parts) -> Option<ApiError> {
    let (account, refusal) = absent(parts.uri.path())?;
    Some(known(state, parts, account).await.err().unwrap_or(refusal))
}

/// Refuses who is not known, or does not know the account.
async fn known(state: &Arc<ApiState>, parts: &mut Parts, account: Option<String>) -> Result<(), ApiError> {
    let Known(caller) = Known::from_request_parts(parts, state).await?;
    let Some(account) = account else { return Ok(()) };
    let permission = Permission::WorkersRead;
    let account: AccountId = account.parse().map_err(|_| ControlError::Forbidden { permission })?;
    Note::of(parts, |note| note.account = Some(account.clone()));
    caller.require(&account, permission).map_err(ApiError::from)
}

/// The account, and what is said of it.
fn absent(path: &str) -> Option<(Option<String>, ApiError)> {
    let mut segments = path.strip_prefix(PREFIX).unwrap_or(path).strip_prefix('/')?.splitn(3, '/');
    let (of, id, rest) = (segments.next()?, segments.next()?, segments.next()?);
    match of {
        "accounts" => {
            let refusal = match find(&LOOKED_FOR, rest) {
                Some(what) => ApiError { status: StatusCode::FORBIDDEN, ..not_available(what) },
                None => not_available(find(&OF_ACCOUNTS, rest)?),
            };
            Some((Some(id.to_owned()), refusal))
        }
        "zones" => Some((None, not_available(find(&OF_ZONES, rest)?))),
        _ => None,
    }
}

/// What the path is of.
fn find(known: &[(&str, &'static str)], path: &str) -> Option<&'static str> {
    let begins = |pattern: &str| {
        let mut segments = path.split('/');
        pattern.split('/').all(|wanted| segments.next().is_some_and(|segment| wanted == "*" || wanted == segment))
    };
    known.iter().find(|(pattern, _)| begins(pattern)).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str) -> Option<(u16, u32, String)> {
        absent(path).map(|(_, refusal)| (refusal.status.as_u16(), refusal.code, refusal.message))
    }

    #[test]
    fn what_is_not_here_is_known_by_how_its_path_goes_on() {
        for (path, status, word) in [
            ("/client/v4/accounts/a/hyperdrive/configs", 400, "Hyperdrive"),
            ("/client/v4/accounts/a/hyperdrive", 400, "Hyperdrive"),
            ("/accounts/a/pages/projects/p", 400, "Pages"),
            ("/client/v4/accounts/a/workers/scripts/w/subdomain/edge-preview", 400, "remote"),
            ("/client/v4/accounts/a/ai/run/@cf/model", 400, "Workers AI"),
            ("/client/v4/accounts/a/ai-search/namespaces/n", 403, "AI Search"),
            ("/client/v4/accounts/a/workers/dispatch/namespaces", 403, "dispatch"),
            ("/client/v4/zones/z/email/routing", 400, "email"),
        ] {
            let (was, code, message) = said(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((was, code), (status, 10015), "{path}");
            assert!(message.contains(word) && message.ends_with("is not available yet on this platform"), "{message}");
        }
        for path in [
            "/",
            "/client/v4",
            "/client/v4/accounts/a",
            "/client/v4/accounts/a/hyperdrives",
            "/client/v4/accounts/a/workers/scripts/w/x/edge-preview",
            "/client/v4/accounts/a/r2/buckets",
            "/client/v4/zones/z/hyperdrive",
            "/client/v4/user/hyperdrive/configs",
        ] {
            assert_eq!(said(path), None, "{path}");
        }
    }
}
