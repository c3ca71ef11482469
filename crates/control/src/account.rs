//! Accounts.

use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;
use crate::page::Page;

/// An account: who owns workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    /// What stands between a worker's name and the platform's domain. None for the first account, whose workers are
    /// directly below the domain.
    pub subdomain: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// What a new account is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    pub name: String,
    /// Made of the name and the id where none is given.
    pub subdomain: Option<String>,
}

impl Control {
    /// The accounts that the caller may know of, in the order in which they were made.
    pub async fn accounts(&self, caller: &Caller, page: Page) -> Result<Vec<Account>, ControlError> {
        pending((caller, page))
    }

    /// One account. Needs `account:read`.
    pub async fn account(&self, caller: &Caller, account: &AccountId) -> Result<Account, ControlError> {
        pending((caller, account))
    }

    /// Makes an account. For administrators of the platform.
    pub async fn create_account(&self, caller: &Caller, new: NewAccount) -> Result<Account, ControlError> {
        pending((caller, new))
    }

    /// Changes what stands between the account's workers and the domain; its workers move at once. Needs
    /// `workers:write`. The first account has none, and keeps it so.
    pub async fn set_subdomain(
        &self,
        caller: &Caller,
        account: &AccountId,
        subdomain: &str,
    ) -> Result<Account, ControlError> {
        pending((caller, account, subdomain))
    }

    /// What follows `worker.` in the host names of that account's workers: `domain` or `subdomain.domain`.
    pub fn host_suffix(&self, account: &Account) -> String {
        match &account.subdomain {
            Some(subdomain) => format!("{subdomain}.{}", self.domain()),
            None => self.domain().to_owned(),
        }
    }
}
