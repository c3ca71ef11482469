//! Zones: the registrable domains that routes and custom domains lie in, each held by one account at most.

use std::collections::BTreeSet;

use selvedge_model::{AccountId, is_host_name};
use serde::{Deserialize, Serialize};

use crate::bounds::ZONES_MAX;
use crate::caller::{Caller, Permission};
use crate::control::Control;
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::Event;
use crate::store::View;

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
        let (own, name, domain) = (account.clone(), name.to_ascii_lowercase(), self.domain().to_owned());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            if zone_of(&name, &domain).ok().as_ref() != Some(&name) {
                return Ok(None);
            }
            let holder = view.zone_holder(&name)?;
            let claimed = holder.as_ref() == Some(&own);
            Ok((claimed || holder.is_none()).then(|| Zone { id: zone_id(&name), name, account: own, claimed }))
        })
        .await
    }

    /// The zones that an account holds, by name. Needs `workers:read`.
    pub async fn zones(&self, caller: &Caller, account: &AccountId) -> Result<Vec<Zone>, ControlError> {
        let own = account.clone();
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            let zone = |name: String| Zone { id: zone_id(&name), name, account: own.clone(), claimed: true };
            Ok(view.zones(&own)?.into_iter().map(zone).collect())
        })
        .await
    }

    /// A zone that is held by an account of the caller's, by its id. Needs `workers:read` there.
    pub async fn zone(&self, caller: &Caller, id: &str) -> Result<Zone, ControlError> {
        let (name, account) = self.held_zone(caller, id, Permission::WorkersRead).await?;
        Ok(Zone { id: id.to_owned(), name, account, claimed: true })
    }

    /// A zone that is held by an account of the caller's. One of another account is as one that nobody holds.
    pub(crate) async fn held_zone(
        &self,
        caller: &Caller,
        id: &str,
        permission: Permission,
    ) -> Result<(String, AccountId), ControlError> {
        let wanted = id.to_owned();
        let held = self.core.store.read(move |view| view.held_zone(&wanted)).await?;
        let (name, account) = held
            .filter(|(_, account)| caller.knows(account))
            .ok_or_else(|| ControlError::ZoneNotFound { zone: id.chars().take(64).collect() })?;
        caller.require(&account, permission)?;
        Ok((name, account))
    }

    /// Claims a zone for an account, until it is released. Needs `workers:write`.
    pub async fn claim_zone(&self, caller: &Caller, account: &AccountId, name: &str) -> Result<Zone, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        let name = name.to_ascii_lowercase();
        if zone_of(&name, self.domain())? != name {
            let problem = "it is not registrable: claim the domain that it is part of";
            return Err(ControlError::ZoneInvalid { zone: name, problem });
        }
        let own = account.clone();
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            let zone = Zone { id: zone_id(&name), name: name.clone(), account: own.clone(), claimed: true };
            check_holder(view, &own, &name)?;
            if view.zone_claimed(&own, &name)? {
                return Ok(Decided::new(Vec::new(), zone));
            }
            if view.zones(&own)?.len() as u64 >= ZONES_MAX {
                return Err(ControlError::TooMany { what: "zones", count_max: ZONES_MAX });
            }
            let event = Event::ZoneClaimed { account: own.clone(), zone: name.clone() };
            Ok(Decided::new(vec![event], zone))
        })
        .await
    }

    /// Gives a claim back. The zone stays the account's while it has routes or domains in it. Needs `workers:write`.
    pub async fn release_zone(&self, caller: &Caller, account: &AccountId, id: &str) -> Result<(), ControlError> {
        let (own, id) = (account.clone(), id.to_owned());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            let held = view.held_zone(&id)?.filter(|(_, holder)| *holder == own);
            let (zone, _) = held.ok_or_else(|| ControlError::ZoneNotFound { zone: id.chars().take(64).collect() })?;
            let events = if view.zone_claimed(&own, &zone)? {
                vec![Event::ZoneReleased { account: own.clone(), zone }]
            } else {
                Vec::new()
            };
            Ok(Decided::new(events, ()))
        })
        .await
    }
}

/// The id of a zone, which says nothing but its name.
pub(crate) fn zone_id(name: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"zone").update(name.as_bytes());
    hasher.finalize().to_hex().chars().take(32).collect()
}

/// The zone that a host name is in: the registrable domain, by the public suffix list; of names without a public suffix,
/// the last two labels. Names of the platform's own domain are in none.
pub(crate) fn zone_of(hostname: &str, domain: &str) -> Result<String, ControlError> {
    let invalid = |problem| ControlError::ZoneInvalid { zone: hostname.chars().take(253).collect(), problem };
    if !is_host_name(hostname) {
        return Err(invalid("it is not a host name"));
    }
    if hostname == domain || hostname.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')) {
        return Err(invalid("names below the platform's own domain are given to workers by their names alone"));
    }
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if hostname.rsplit('.').next().is_none_or(numeric) {
        return Err(invalid("an address is not a domain"));
    }
    let zone = psl::domain_str(hostname).ok_or_else(|| invalid("nobody can register that domain"))?;
    Ok(zone.to_owned())
}

/// Refuses a zone that another account holds.
pub(crate) fn check_holder(view: &View<'_>, account: &AccountId, zone: &str) -> Result<(), ControlError> {
    match view.zone_holder(zone)? {
        Some(holder) if holder != *account => Err(ControlError::ZoneTaken { zone: zone.to_owned() }),
        _ => Ok(()),
    }
}

/// Refuses zones that nobody holds yet, where the account would hold more than it may with them.
pub(crate) fn check_new_zones<'z>(
    view: &View<'_>,
    account: &AccountId,
    zones: impl Iterator<Item = &'z str>,
) -> Result<(), ControlError> {
    let mut new = BTreeSet::new();
    for zone in zones {
        if view.zone_holder(zone)?.is_none() {
            new.insert(zone);
        }
    }
    // Only then are they all read.
    if !new.is_empty() && (view.zones(account)?.len() + new.len()) as u64 > ZONES_MAX {
        return Err(ControlError::TooMany { what: "zones", count_max: ZONES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_what_can_be_registered() {
        for (hostname, zone) in [
            ("example.com", Some("example.com")),
            ("a.b.example.com", Some("example.com")),
            ("shop.example.co.uk", Some("example.co.uk")),
            ("site.test", Some("site.test")),
            ("www.site.test", Some("site.test")),
            ("someone.github.io", Some("someone.github.io")),
            ("co.uk", None),
            ("com", None),
            ("localhost", None),
            ("127.0.0.1", None),
            ("apps.test", None),
            ("shop.apps.test", None),
            ("myapps.test", Some("myapps.test")),
            ("a..b", None),
            ("", None),
        ] {
            assert_eq!(zone_of(hostname, "apps.test").ok().as_deref(), zone, "{hostname}");
        }
    }
}
