//! The audit in the view: the log's events, described.

use rusqlite::Row;
use selvedge_model::AccountId;

use super::{View, decode, encode, parse};
use crate::audit::{AuditEntry, AuditQuery};
use crate::error::ControlError;
use crate::event::Logged;

type AuditParts = (i64, i64, Option<String>, String, Option<String>, Option<String>, String, String, String, String);

fn audit_parts(row: &Row<'_>) -> rusqlite::Result<AuditParts> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
        row.get(9)?,
    ))
}

fn audit_of(parts: AuditParts) -> Result<AuditEntry, ControlError> {
    let (position, at_ms, account, actor, token, ip, client, action, target, detail) = parts;
    Ok(AuditEntry {
        position: position as u64,
        at_ms: at_ms as u64,
        account: account.as_deref().map(parse).transpose()?,
        actor,
        token,
        ip: ip.as_deref().map(parse).transpose()?,
        client,
        action,
        target,
        detail: decode(&detail)?,
    })
}

impl View<'_> {
    pub(super) fn insert_audit(&self, position: u64, logged: &Logged) -> Result<(), ControlError> {
        let described = logged.event.describe();
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO audit
                    (position, at_ms, account, actor, token, ip, client, action, target, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                position as i64,
                logged.at_ms as i64,
                described.account.as_ref().map(AccountId::as_str),
                &logged.by.name,
                &logged.by.token,
                logged.by.ip.map(|ip| ip.to_string()),
                &logged.by.client,
                described.action,
                &described.target,
                encode(&described.detail)?,
            ))?;
        Ok(())
    }

    /// The entries that a query asks for, newest first; of one account, or of all.
    pub fn audit(&self, account: Option<&AccountId>, query: &AuditQuery) -> Result<Vec<AuditEntry>, ControlError> {
        // A condition of its own for each, so that an account's entries are found by an index.
        let whose = if account.is_some() { "account = ?1" } else { "?1 IS NULL" };
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT position, at_ms, account, actor, token, ip, client, action, target, detail FROM audit
             WHERE {whose} AND position < ?2 AND (?3 IS NULL OR substr(action, 1, length(?3)) = ?3)
                AND (?4 IS NULL OR actor = ?4) AND (?5 IS NULL OR target = ?5) AND at_ms >= ?6 AND at_ms < ?7
             ORDER BY position DESC LIMIT ?8"
        ))?;
        let counted = |number: Option<u64>, otherwise: i64| {
            number.map_or(otherwise, |number| i64::try_from(number).unwrap_or(i64::MAX))
        };
        let rows = statement.query_map(
            (
                account.map(AccountId::as_str),
                counted(query.before, i64::MAX),
                query.action.as_deref(),
                query.actor.as_deref(),
                query.target.as_deref(),
                counted(query.since_ms, 0),
                counted(query.until_ms, i64::MAX),
                counted(Some(query.limit), 0),
            ),
            audit_parts,
        )?;
        rows.map(|row| audit_of(row?)).collect()
    }
}
