//! Who changed what, when, and from where.

use std::net::IpAddr;

use selvedge_model::AccountId;
use serde::Serialize;
use serde_json::Value;

use crate::bounds::PAGE_MAX;
use crate::caller::{Caller, Permission};
use crate::control::Control;
use crate::error::ControlError;
use crate::store::View;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Its place in the log: later changes have greater ones.
    pub position: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// None for what concerns the whole platform.
    pub account: Option<AccountId>,
    /// The name of the token that did it; `selvedge` for what the platform does by itself.
    pub actor: String,
    /// The id of that token.
    pub token: Option<String>,
    pub ip: Option<IpAddr>,
    /// `wrangler`, `selvedge`, `api`, …
    pub client: String,
    /// `version.created`, `worker.deployed`, `token.revoked`, …
    pub action: String,
    /// What it was done to: the name of a worker, the id of a token, ….
    pub target: String,
    /// What else there is to say. Never a secret.
    pub detail: Value,
}

/// Which changes to list: all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only what was before that position: the cursor of the page before.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u64,
    /// Actions that begin so: `worker`, `token.revoked`, ….
    pub action: Option<String>,
    pub actor: Option<String>,
    pub target: Option<String>,
    /// Milliseconds since 1970, inclusive.
    pub since_ms: Option<u64>,
    /// Milliseconds since 1970, exclusive.
    pub until_ms: Option<u64>,
}

/// Changes, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    /// For [`AuditQuery::before`] of the next page; none where this is the last.
    pub cursor: Option<u64>,
}

impl Control {
    /// The changes of an account, newest first. Needs `audit:read`.
    pub async fn audit(
        &self,
        caller: &Caller,
        account: &AccountId,
        query: AuditQuery,
    ) -> Result<AuditPage, ControlError> {
        let own = account.clone();
        self.ask(caller, account, Permission::AuditRead, move |view| page_of(view, Some(&own), query)).await
    }

    /// The changes of the whole platform, accounts included. For its administrators.
    pub async fn audit_all(&self, caller: &Caller, query: AuditQuery) -> Result<AuditPage, ControlError> {
        caller.require_admin()?;
        self.core.store.read(move |view| page_of(view, None, query)).await
    }
}

fn page_of(view: &View<'_>, account: Option<&AccountId>, mut query: AuditQuery) -> Result<AuditPage, ControlError> {
    let limit = query.limit.clamp(1, PAGE_MAX);
    // One more tells whether there is another page.
    query.limit = limit + 1;
    let mut entries = view.audit(account, &query)?;
    let more = entries.len() as u64 > limit;
    entries.truncate(limit as usize);
    let cursor = entries.last().filter(|_| more).map(|entry| entry.position);
    Ok(AuditPage { entries, cursor })
}
