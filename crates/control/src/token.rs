//! API tokens: 256 random bits, kept as a hash.

use std::collections::BTreeSet;

use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Origin, Permission, Scope};
use crate::control::{Control, pending};
use crate::error::ControlError;
use crate::page::Page;
use crate::secret::Secret;

/// A token, but not the token itself: nobody has that but who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// 32 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub scope: Scope,
    pub permissions: BTreeSet<Permission>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Who made it: the name of a token.
    pub author: String,
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub name: String,
    pub permissions: BTreeSet<Permission>,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// For all accounts rather than the one: administrators of the platform may make such.
    pub all_accounts: bool,
}

impl Control {
    /// Who holds that token.
    ///
    /// # Errors
    /// [`ControlError::Unauthenticated`] if nobody does, or not any more.
    pub async fn authenticate(&self, token: &str, origin: Origin) -> Result<Caller, ControlError> {
        pending((token, origin))
    }

    /// Makes a token for an account. It is shown this once. Needs `tokens:write`, and gives no permission that the
    /// caller does not have.
    pub async fn create_token(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewToken,
    ) -> Result<(Token, Secret), ControlError> {
        pending((caller, account, new))
    }

    /// The tokens of an account that are neither revoked nor expired, oldest first; to an administrator of the platform
    /// also those for all accounts. Needs `tokens:write`.
    pub async fn tokens(&self, caller: &Caller, account: &AccountId, page: Page) -> Result<Vec<Token>, ControlError> {
        pending((caller, account, page))
    }

    /// Revokes a token: no request that comes later is let in by it. Needs `tokens:write`.
    pub async fn revoke_token(&self, caller: &Caller, account: &AccountId, id: &str) -> Result<(), ControlError> {
        pending((caller, account, id))
    }
}
