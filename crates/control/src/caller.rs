//! Who asks, and what they may.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};

use crate::error::ControlError;

/// What a token may do in its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    #[serde(rename = "account:read")]
    AccountRead,
    #[serde(rename = "workers:read")]
    WorkersRead,
    #[serde(rename = "workers:write")]
    WorkersWrite,
    #[serde(rename = "secrets:write")]
    SecretsWrite,
    #[serde(rename = "tail:read")]
    TailRead,
    #[serde(rename = "tokens:write")]
    TokensWrite,
    #[serde(rename = "audit:read")]
    AuditRead,
    /// Makes accounts, and tokens for all of them.
    #[serde(rename = "platform:admin")]
    PlatformAdmin,
}

impl Permission {
    pub const ALL: [Self; 8] = [
        Self::AccountRead,
        Self::WorkersRead,
        Self::WorkersWrite,
        Self::SecretsWrite,
        Self::TailRead,
        Self::TokensWrite,
        Self::AuditRead,
        Self::PlatformAdmin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountRead => "account:read",
            Self::WorkersRead => "workers:read",
            Self::WorkersWrite => "workers:write",
            Self::SecretsWrite => "secrets:write",
            Self::TailRead => "tail:read",
            Self::TokensWrite => "tokens:write",
            Self::AuditRead => "audit:read",
            Self::PlatformAdmin => "platform:admin",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = ControlError;

    fn from_str(text: &str) -> Result<Self, ControlError> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            let shown: String = text.chars().take(64).collect();
            ControlError::invalid("permissions", format!("\"{shown}\" is none; there are {}", known.join(", ")))
        })
    }
}

/// Which accounts a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Account(AccountId),
    /// The platform's own administrators.
    AllAccounts,
}

impl Scope {
    /// The one account that it is for.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Account(account) => Some(account),
            Self::AllAccounts => None,
        }
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub ip: Option<IpAddr>,
    /// What asked: `wrangler`, `selvedge`, `api`. Shown as the source of versions and deployments.
    pub client: String,
}

/// Who asks: a token that was checked just now. Made by [`crate::Control::authenticate`] alone.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) token_id: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) permissions: BTreeSet<Permission>,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) origin: Origin,
}

impl Caller {
    /// The id of the token, which is not the token.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// The name of the token: the author of what it does.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn permissions(&self) -> &BTreeSet<Permission> {
        &self.permissions
    }

    /// When the token ends, in milliseconds since 1970.
    pub fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the token is for that account, whatever it may do there.
    pub fn knows(&self, account: &AccountId) -> bool {
        match &self.scope {
            Scope::Account(own) => own == account,
            Scope::AllAccounts => true,
        }
    }

    /// Refuses what the token may not do on that account: in the same words whether the account exists or not.
    pub fn require(&self, account: &AccountId, permission: Permission) -> Result<(), ControlError> {
        if self.knows(account) && self.permissions.contains(&permission) {
            return Ok(());
        }
        Err(ControlError::Forbidden { permission })
    }

    /// Refuses what only the platform's administrators may do.
    pub fn require_admin(&self) -> Result<(), ControlError> {
        if self.scope == Scope::AllAccounts && self.permissions.contains(&Permission::PlatformAdmin) {
            return Ok(());
        }
        Err(ControlError::Forbidden { permission: Permission::PlatformAdmin })
    }
}
