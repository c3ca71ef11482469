//! Routes: patterns of host and path that lead to workers.

use std::iter;

use selvedge_model::{AccountId, RoutePattern, WorkerName};
use serde::{Deserialize, Serialize};

use crate::bounds::{ACCOUNT_ROUTES_MAX, EXCLUSIONS_MAX, ROUTES_MAX};
use crate::caller::{Caller, Permission, Scope};
use crate::control::{Control, random_id};
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::Event;
use crate::store::View;
use crate::zone::{check_holder, check_new_zones, zone_id, zone_of};

/// A pattern that leads to a worker, or that leads to none where a less specific one would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// 32 hexadecimal digits.
    pub id: String,
    pub pattern: String,
    /// None: an exclusion.
    pub worker: Option<WorkerName>,
    pub zone_id: String,
    pub zone_name: String,
}

/// A route as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RouteInput {
    pub pattern: String,
    #[serde(default)]
    pub zone_id: Option<String>,
    #[serde(default)]
    pub zone_name: Option<String>,
}

impl Control {
    /// The routes of a worker. Needs `workers:read`.
    pub async fn routes(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<Route>, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            view.worker_routes(&own, &worker)
        })
        .await
    }

    /// Puts routes in the place of all that the worker has; claims their zones. Needs `workers:write`.
    pub async fn set_routes(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        routes: Vec<RouteInput>,
    ) -> Result<Vec<Route>, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        if routes.len() > ROUTES_MAX {
            let problem = format!("a Worker may have {ROUTES_MAX}, not {}", routes.len());
            return Err(ControlError::invalid("routes", problem));
        }
        let mut wanted: Vec<Route> = Vec::with_capacity(routes.len());
        for input in &routes {
            let route = read_route(input, Some(worker.clone()), self.domain())?;
            // The same text twice asks for nothing more.
            if !wanted.iter().any(|other| other.pattern == route.pattern) {
                wanted.push(route);
            }
        }
        let (own, worker) = (account.clone(), worker.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            view.worker(&own, &worker)?;
            let present = view.worker_routes(&own, &worker)?;
            let held = |pattern: &str| present.iter().find(|route| route.pattern == pattern);
            let mut answer = Vec::with_capacity(wanted.len());
            let mut added = Vec::new();
            for route in &wanted {
                match held(&route.pattern) {
                    Some(held) => answer.push(held.clone()),
                    None => {
                        check_free(view, &own, route)?;
                        added.push(route.clone());
                        answer.push(route.clone());
                    }
                }
            }
            let stays = |route: &Route| wanted.iter().any(|other| other.pattern == route.pattern);
            let removed: Vec<Route> = present.iter().filter(|route| !stays(route)).cloned().collect();
            check_count(view, &own, added.len(), removed.len())?;
            check_new_zones(view, &own, added.iter().map(|route| route.zone_name.as_str()))?;
            Ok(Decided::new(changed(&own, Some(worker.clone()), removed, added), answer))
        })
        .await
    }

    /// The routes of a zone, by its id: those that the caller may know of. A zone that nobody holds has none. Needs
    /// `workers:read`.
    pub async fn zone_routes(&self, caller: &Caller, zone_id: &str) -> Result<Vec<Route>, ControlError> {
        if let Scope::Account(own) = caller.scope() {
            caller.require(own, Permission::WorkersRead)?;
        }
        match self.held_zone(caller, zone_id, Permission::WorkersRead).await {
            Ok((zone, _)) => self.core.store.read(move |view| view.zone_routes(&zone)).await,
            // Any zone may be asked for, before anything of it is claimed.
            Err(ControlError::ZoneNotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a route to a zone; without a worker it is an exclusion. The account is the caller's own, or the one that is
    /// given. Needs `workers:write`.
    pub async fn add_route(
        &self,
        caller: &Caller,
        account: &AccountId,
        zone_id: &str,
        pattern: &str,
        worker: Option<WorkerName>,
    ) -> Result<Route, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        let input = RouteInput { pattern: pattern.to_owned(), zone_id: Some(zone_id.to_owned()), zone_name: None };
        let route = read_route(&input, worker, self.domain())?;
        let own = account.clone();
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            if let Some(worker) = &route.worker {
                view.worker(&own, worker)?;
            }
            check_free(view, &own, &route)?;
            check_count(view, &own, 1, 0)?;
            check_new_zones(view, &own, iter::once(route.zone_name.as_str()))?;
            check_worker_count(view, &own, &route)?;
            Ok(Decided::new(changed(&own, route.worker.clone(), Vec::new(), vec![route.clone()]), route.clone()))
        })
        .await
    }

    /// Changes a route of a zone. Needs `workers:write`.
    pub async fn change_route(
        &self,
        caller: &Caller,
        zone_id: &str,
        id: &str,
        pattern: &str,
        worker: Option<WorkerName>,
    ) -> Result<Route, ControlError> {
        let (zone, account) = self.held_zone(caller, zone_id, Permission::WorkersWrite).await?;
        let input = RouteInput { pattern: pattern.to_owned(), zone_id: Some(zone_id.to_owned()), zone_name: None };
        let mut route = read_route(&input, worker, self.domain())?;
        id.clone_into(&mut route.id);
        let own = account.clone();
        self.change(caller, &account, Permission::WorkersWrite, move |view, _| {
            let present = route_in(view, &own, &zone, &route.id)?;
            if let Some(worker) = &route.worker {
                view.worker(&own, worker)?;
            }
            if present == route {
                return Ok(Decided::new(Vec::new(), present));
            }
            if present.pattern != route.pattern {
                check_free(view, &own, &route)?;
            }
            if present.worker != route.worker {
                check_count(view, &own, 1, 1)?;
                check_worker_count(view, &own, &route)?;
            }
            let events = changed(&own, route.worker.clone(), vec![present], vec![route.clone()]);
            Ok(Decided::new(events, route.clone()))
        })
        .await
    }

    /// Removes a route of a zone. Needs `workers:write`.
    pub async fn delete_route(&self, caller: &Caller, zone_id: &str, id: &str) -> Result<(), ControlError> {
        let (zone, account) = self.held_zone(caller, zone_id, Permission::WorkersWrite).await?;
        let (own, id) = (account.clone(), id.to_owned());
        self.change(caller, &account, Permission::WorkersWrite, move |view, _| {
            let present = route_in(view, &own, &zone, &id)?;
            Ok(Decided::new(changed(&own, present.worker.clone(), vec![present], Vec::new()), ()))
        })
        .await
    }
}

/// Reads what is asked for as a route with a new id. Its host is in a zone, and not among the platform's own, which are
/// below `domain`.
pub(crate) fn read_route(input: &RouteInput, worker: Option<WorkerName>, domain: &str) -> Result<Route, ControlError> {
    let shown = || input.pattern.chars().take(200).collect::<String>();
    let pattern: RoutePattern =
        input.pattern.parse().map_err(|source| ControlError::RouteInvalid { pattern: shown(), source })?;
    let zone = zone_of(pattern.host(), domain)?;
    if pattern.matches_host(domain) || pattern.matches_host(&format!("x.{domain}")) {
        let problem = "this pattern would take requests to the platform's own domain";
        return Err(ControlError::ZoneInvalid { zone: shown(), problem });
    }
    check_zone(&zone, pattern.host(), input.zone_id.as_deref(), input.zone_name.as_deref())?;
    let (pattern, id) = (pattern.to_string(), random_id());
    Ok(Route { id, pattern, worker, zone_id: zone_id(&zone), zone_name: zone })
}

/// Refuses a zone that was named and is not the one that the host is in.
pub(crate) fn check_zone(
    zone: &str,
    host: &str,
    zone_id_given: Option<&str>,
    zone_name_given: Option<&str>,
) -> Result<(), ControlError> {
    let problem = |given: &str| {
        let given = given.chars().take(253).collect();
        ControlError::OtherZone { host: host.to_owned(), zone: zone.to_owned(), given }
    };
    if let Some(id) = zone_id_given.filter(|id| *id != zone_id(zone)) {
        return Err(problem(id));
    }
    let within = |name: &str| host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    match zone_name_given.map(str::to_ascii_lowercase) {
        Some(name) if !within(&name) => Err(problem(&name)),
        _ => Ok(()),
    }
}

fn changed(account: &AccountId, worker: Option<WorkerName>, removed: Vec<Route>, added: Vec<Route>) -> Vec<Event> {
    if removed.is_empty() && added.is_empty() {
        return Vec::new();
    }
    vec![Event::RoutesChanged { account: account.clone(), worker, removed, added }]
}

fn route_in(view: &View<'_>, account: &AccountId, zone: &str, id: &str) -> Result<Route, ControlError> {
    let found = view.route(id)?.filter(|(holder, route)| holder == account && route.zone_name == zone);
    found.map(|(_, route)| route).ok_or_else(|| ControlError::RouteNotFound { id: id.chars().take(64).collect() })
}

/// Refuses a pattern that is taken, and one in a zone that another account holds.
fn check_free(view: &View<'_>, account: &AccountId, route: &Route) -> Result<(), ControlError> {
    check_holder(view, account, &route.zone_name)?;
    match view.route_of_pattern(&route.pattern)? {
        Some((_, other)) => Err(ControlError::RouteTaken { pattern: route.pattern.clone(), worker: other.worker }),
        None => Ok(()),
    }
}

fn check_count(view: &View<'_>, account: &AccountId, added: usize, removed: usize) -> Result<(), ControlError> {
    let count = (view.count_routes(account)? + added as u64).saturating_sub(removed as u64);
    if added > removed && count > ACCOUNT_ROUTES_MAX {
        return Err(ControlError::TooMany { what: "routes", count_max: ACCOUNT_ROUTES_MAX });
    }
    Ok(())
}

/// Refuses one route more than a worker, or the account's exclusions, may have.
fn check_worker_count(view: &View<'_>, account: &AccountId, route: &Route) -> Result<(), ControlError> {
    let (count, count_max) = match &route.worker {
        Some(worker) => (view.worker_routes(account, worker)?.len() as u64, ROUTES_MAX as u64),
        None => (view.count_exclusions(account)?, EXCLUSIONS_MAX),
    };
    if count >= count_max {
        return Err(ControlError::TooMany { what: "routes of one kind", count_max });
    }
    Ok(())
}
