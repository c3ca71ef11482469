//! Accounts and tokens in the view.

use rusqlite::{OptionalExtension, Row};
use selvedge_model::AccountId;

use super::{View, decode, encode, parse};
use crate::account::Account;
use crate::caller::Scope;
use crate::error::ControlError;
use crate::page::Page;
use crate::token::Token;

/// A token as it is looked up.
pub(crate) struct StoredToken {
    pub token: Token,
    pub hash: String,
}

const ACCOUNT: &str = "SELECT id, name, subdomain, created_ms FROM accounts";

type AccountParts = (String, String, Option<String>, i64);

fn account_parts(row: &Row<'_>) -> rusqlite::Result<AccountParts> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn account_of((id, name, subdomain, created_ms): AccountParts) -> Result<Account, ControlError> {
    Ok(Account { id: parse(&id)?, name, subdomain, created_ms: created_ms as u64 })
}

impl View<'_> {
    pub fn accounts(&self, page: Page) -> Result<Vec<Account>, ControlError> {
        let mut statement = self.0.prepare_cached(&format!("{ACCOUNT} ORDER BY created_ms, id LIMIT ?1 OFFSET ?2"))?;
        let rows = statement.query_map((page.limit as i64, page.offset as i64), account_parts)?;
        rows.map(|row| account_of(row?)).collect()
    }

    /// The account whose workers are directly below the platform's domain.
    pub fn first_account(&self) -> Result<Option<AccountId>, ControlError> {
        self.text("SELECT id FROM accounts WHERE subdomain IS NULL", [])?.as_deref().map(parse).transpose()
    }

    pub fn count_accounts(&self) -> Result<u64, ControlError> {
        self.count("SELECT count(*) FROM accounts", [])
    }

    pub fn account(&self, id: &AccountId) -> Result<Account, ControlError> {
        let found = self
            .0
            .prepare_cached(&format!("{ACCOUNT} WHERE id = ?1"))?
            .query_row([id.as_str()], account_parts)
            .optional()?;
        found.map_or_else(|| Err(ControlError::AccountNotFound { account: id.clone() }), account_of)
    }

    pub fn subdomain_taken(&self, subdomain: &str) -> Result<bool, ControlError> {
        self.exists("SELECT 1 FROM accounts WHERE subdomain = ?1", [subdomain])
    }

    pub(super) fn insert_account(&self, account: &Account) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO accounts (id, name, subdomain, created_ms) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((account.id.as_str(), &account.name, &account.subdomain, account.created_ms as i64))?;
        Ok(())
    }

    pub(super) fn insert_token(&self, token: &Token, hash: &str) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO tokens (id, hash, account, created_ms, expires_ms, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                &token.id,
                hash,
                token.account().map(AccountId::as_str),
                token.created_ms as i64,
                token.expires_ms.map(|at| at as i64),
                encode(token)?,
            ))?;
        Ok(())
    }

    /// The token with that hash, whether expired or not.
    pub fn token_by_hash(&self, hash: &str) -> Result<Option<StoredToken>, ControlError> {
        let found: Option<(String, String)> = self
            .0
            .prepare_cached("SELECT data, hash FROM tokens WHERE hash = ?1")?
            .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        found.map(|(data, hash)| Ok(StoredToken { token: decode(&data)?, hash })).transpose()
    }

    pub fn token(&self, id: &str) -> Result<Option<Token>, ControlError> {
        self.text("SELECT data FROM tokens WHERE id = ?1", [id])?.map(|data| decode(&data)).transpose()
    }

    /// The tokens of a scope that are good at that time. Those that have expired stay, and are not looked at.
    pub fn tokens(&self, scope: &Scope, now_ms: u64, page: Page) -> Result<Vec<Token>, ControlError> {
        let data = self.texts(
            "SELECT data FROM (
                SELECT data, created_ms, id FROM tokens WHERE account IS ?1 AND expires_ms IS NULL
                UNION ALL SELECT data, created_ms, id FROM tokens WHERE account IS ?1 AND expires_ms > ?2
             ) ORDER BY created_ms, id LIMIT ?3 OFFSET ?4",
            (scope.account().map(AccountId::as_str), now_ms as i64, page.limit as i64, page.offset as i64),
        )?;
        data.iter().map(|data| decode(data)).collect()
    }

    pub fn count_tokens(&self, scope: &Scope, now_ms: u64) -> Result<u64, ControlError> {
        self.count(
            "SELECT (SELECT count(*) FROM tokens WHERE account IS ?1 AND expires_ms IS NULL)
                + (SELECT count(*) FROM tokens WHERE account IS ?1 AND expires_ms > ?2)",
            (scope.account().map(AccountId::as_str), now_ms as i64),
        )
    }
}
