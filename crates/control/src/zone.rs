//! Zones: the registrable domains that routes and custom domains lie in, each held by one account at most.

use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// The first 32 hexadecimal digits of BLAKE3 over `zone` and the name.
    pub id: String,
    pub name: String,
    /// The account that it was asked for, or that holds it.
    pub account: AccountId,
    /// Whether that account holds it: explicitly, or by a route or custom domain.
    pub claimed: bool,
}

impl Control {
    /// The zone of exactly that name, as far as the account holds it or could: nothing is claimed by asking. None for a
    /// name that is no zone, or one of another account. Needs `workers:read`.
    pub async fn zone_named(
        &self,
        caller: &Caller,
        account: &AccountId,
        name: &str,
    ) -> Result<Option<Zone>, ControlError> {
        pending((caller, account, name))
    }

    /// The zones that an account holds, by name. Needs `workers:read`.
    pub async fn zones(&self, caller: &Caller, account: &AccountId) -> Result<Vec<Zone>, ControlError> {
        pending((caller, account))
    }

    /// A zone that is held by an account of the caller's, by its id. Needs `workers:read` there.
    pub async fn zone(&self, caller: &Caller, id: &str) -> Result<Zone, ControlError> {
        pending((caller, id))
    }

    /// Claims a zone for an account, until it is released. Needs `workers:write`.
    pub async fn claim_zone(&self, caller: &Caller, account: &AccountId, name: &str) -> Result<Zone, ControlError> {
        pending((caller, account, name))
    }

    /// Gives a claim back. The zone stays the account's while it has routes or domains in it. Needs `workers:write`.
    pub async fn release_zone(&self, caller: &Caller, account: &AccountId, id: &str) -> Result<(), ControlError> {
        pending((caller, account, id))
    }
}
