//! Custom domains: host names that lead to one worker whole.

use selvedge_model::{AccountId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::bounds::{ACCOUNT_DOMAINS_MAX, DOMAINS_MAX};
use crate::caller::{Caller, Permission};
use crate::control::{Control, random_id};
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::Event;
use crate::route::check_zone;
use crate::store::View;
use crate::zone::{check_holder, check_new_zones, zone_id, zone_of};

/// A host name that leads to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomDomain {
    /// 32 hexadecimal digits.
    pub id: String,
    pub hostname: String,
    pub worker: WorkerName,
    pub zone_id: String,
    pub zone_name: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// A host name as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DomainInput {
    pub hostname: String,
    #[serde(default)]
    pub zone_id: Option<String>,
    #[serde(default)]
    pub zone_name: Option<String>,
    /// False is refused: what has a host name here answers at it.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// True is refused: previews are at hosts of the platform's own domain.
    #[serde(default)]
    pub previews_enabled: Option<bool>,
}

/// What may happen to what is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct DomainOptions {
    /// The worker's other domains go.
    #[serde(default)]
    pub override_scope: bool,
    /// A host name may be taken from another worker of the account.
    #[serde(default)]
    pub override_existing_origin: bool,
}

/// What setting a worker's domains would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainChanges {
    pub added: Vec<DomainInput>,
    pub removed: Vec<CustomDomain>,
    /// The worker's own, which stay.
    pub unchanged: Vec<CustomDomain>,
    /// Those of other workers of the account.
    pub conflicting: Vec<CustomDomain>,
}

impl Control {
    /// The custom domains of the account, or of one worker of it. Needs `workers:read`.
    pub async fn domains(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: Option<&WorkerName>,
    ) -> Result<Vec<CustomDomain>, ControlError> {
        let (own, worker) = (account.clone(), worker.cloned());
        self.ask(caller, account, Permission::WorkersRead, move |view| view.domains(&own, worker.as_ref())).await
    }

    /// A custom domain, by its id. Needs `workers:read`.
    pub async fn custom_domain(
        &self,
        caller: &Caller,
        account: &AccountId,
        id: &str,
    ) -> Result<CustomDomain, ControlError> {
        let (own, id) = (account.clone(), id.to_owned());
        self.ask(caller, account, Permission::WorkersRead, move |view| find(view, &own, &id)).await
    }

    /// What [`Control::set_domains`] would do. Nothing is changed. Needs `workers:read`.
    pub async fn domain_changes(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        domains: Vec<DomainInput>,
        replace: bool,
    ) -> Result<DomainChanges, ControlError> {
        caller.require(account, Permission::WorkersRead)?;
        let wanted = read_domains(domains, self.domain())?;
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            changes(view, &own, &worker, wanted, replace)
        })
        .await
    }

    /// Gives a worker host names; claims their zones. Needs `workers:write`.
    pub async fn set_domains(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        domains: Vec<DomainInput>,
        options: DomainOptions,
    ) -> Result<Vec<CustomDomain>, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        let wanted = read_domains(domains, self.domain())?;
        let (own, worker) = (account.clone(), worker.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            view.worker(&own, &worker)?;
            let changes = changes(view, &own, &worker, wanted.clone(), options.override_scope)?;
            if let Some(taken) = changes.conflicting.first().filter(|_| !options.override_existing_origin) {
                let (hostname, worker) = (taken.hostname.clone(), taken.worker.clone());
                return Err(ControlError::DomainTaken { hostname, worker });
            }
            let new_domain = |hostname: &str, zone: &str| CustomDomain {
                id: random_id(),
                hostname: hostname.to_owned(),
                worker: worker.clone(),
                zone_id: zone_id(zone),
                zone_name: zone.to_owned(),
                created_ms: at_ms,
            };
            let mut added: Vec<CustomDomain> = Vec::new();
            for input in &changes.added {
                added.push(new_domain(&input.hostname, input.zone_name.as_deref().unwrap_or(&input.hostname)));
            }
            for taken in &changes.conflicting {
                added.push(new_domain(&taken.hostname, &taken.zone_name));
            }
            let mut removed = changes.removed;
            removed.extend(changes.conflicting);
            let stay: Vec<CustomDomain> = view
                .domains(&own, Some(&worker))?
                .into_iter()
                .filter(|domain| !removed.iter().any(|gone| gone.hostname == domain.hostname))
                .collect();
            if stay.len() + added.len() > DOMAINS_MAX {
                let count_max = DOMAINS_MAX as u64;
                return Err(ControlError::TooMany { what: "custom domains of one Worker", count_max });
            }
            check_count(view, &own, added.len(), removed.len())?;
            check_new_zones(view, &own, added.iter().map(|domain| domain.zone_name.as_str()))?;
            let mut answer = stay;
            answer.extend(added.iter().cloned());
            answer.sort_by(|one, other| one.hostname.cmp(&other.hostname));
            let events = if removed.is_empty() && added.is_empty() {
                Vec::new()
            } else {
                vec![Event::DomainsChanged { account: own.clone(), worker: worker.clone(), removed, added }]
            };
            Ok(Decided::new(events, answer))
        })
        .await
    }

    /// Takes a custom domain away, by its id. Needs `workers:write`.
    pub async fn delete_domain(&self, caller: &Caller, account: &AccountId, id: &str) -> Result<(), ControlError> {
        let (own, id) = (account.clone(), id.to_owned());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            let domain = find(view, &own, &id)?;
            let (account, worker) = (own.clone(), domain.worker.clone());
            let event = Event::DomainsChanged { account, worker, removed: vec![domain], added: Vec::new() };
            Ok(Decided::new(vec![event], ()))
        })
        .await
    }
}

/// Checks what is asked for: host names in lower case, each once, each with the name of its zone. `domain` is the
/// platform's own.
pub(crate) fn read_domains(domains: Vec<DomainInput>, domain: &str) -> Result<Vec<DomainInput>, ControlError> {
    if domains.len() > DOMAINS_MAX {
        let problem = format!("a Worker may have {DOMAINS_MAX}, not {}", domains.len());
        return Err(ControlError::invalid("domains", problem));
    }
    let mut wanted: Vec<DomainInput> = Vec::with_capacity(domains.len());
    for input in domains {
        let unavailable = [
            (input.enabled == Some(false), "a custom domain with `enabled: false` (leave it out instead)"),
            (input.previews_enabled == Some(true), "a custom domain with `previews_enabled: true`"),
        ];
        if let Some((_, what)) = unavailable.iter().find(|(asked, _)| *asked) {
            return Err(ControlError::NotAvailable { what: (*what).to_owned() });
        }
        let hostname = input.hostname.to_ascii_lowercase();
        let zone = zone_of(&hostname, domain)?;
        check_zone(&zone, &hostname, input.zone_id.as_deref(), input.zone_name.as_deref())?;
        if !wanted.iter().any(|other| other.hostname == hostname) {
            let (zone_id, zone_name) = (Some(zone_id(&zone)), Some(zone));
            wanted.push(DomainInput { hostname, zone_id, zone_name, ..DomainInput::default() });
        }
    }
    Ok(wanted)
}

/// A domain of the account, by its id.
fn find(view: &View<'_>, account: &AccountId, id: &str) -> Result<CustomDomain, ControlError> {
    let found = view.domain_by_id(id)?.filter(|(holder, _)| holder == account);
    found.map(|(_, domain)| domain).ok_or_else(|| ControlError::DomainNotFound { id: id.chars().take(64).collect() })
}

fn check_count(view: &View<'_>, account: &AccountId, added: usize, removed: usize) -> Result<(), ControlError> {
    let count = (count_domains(view, account)? + added as u64).saturating_sub(removed as u64);
    if added > removed && count > ACCOUNT_DOMAINS_MAX {
        return Err(ControlError::TooMany { what: "custom domains", count_max: ACCOUNT_DOMAINS_MAX });
    }
    Ok(())
}

fn count_domains(view: &View<'_>, account: &AccountId) -> Result<u64, ControlError> {
    let mut statement = view.0.prepare_cached("SELECT count(*) FROM domains WHERE account = ?1")?;
    Ok(statement.query_row([account.as_str()], |row| row.get::<_, i64>(0))? as u64)
}

fn changes(
    view: &View<'_>,
    account: &AccountId,
    worker: &WorkerName,
    wanted: Vec<DomainInput>,
    replace: bool,
) -> Result<DomainChanges, ControlError> {
    let mut changes = DomainChanges::default();
    if replace {
        let asked = |domain: &CustomDomain| wanted.iter().any(|input| input.hostname == domain.hostname);
        changes.removed = view.domains(account, Some(worker))?.into_iter().filter(|domain| !asked(domain)).collect();
    }
    for input in wanted {
        if let Some(zone) = &input.zone_name {
            check_holder(view, account, zone)?;
        }
        match view.domain(&input.hostname)? {
            None => changes.added.push(input),
            Some((_, domain)) if domain.worker == *worker => changes.unchanged.push(domain),
            Some((_, domain)) => changes.conflicting.push(domain),
        }
    }
    Ok(changes)
}
