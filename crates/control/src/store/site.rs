//! Routes, custom domains, zones and resources in the view.

use rusqlite::{OptionalExtension, Row};
use selvedge_model::{AccountId, WorkerName};

use super::{View, decode, encode, parse};
use crate::domain::CustomDomain;
use crate::error::ControlError;
use crate::page::Page;
use crate::resource::{Resource, ResourceKind};
use crate::route::Route;
use crate::zone::zone_id;

// === routes ===

const ROUTE: &str = "SELECT id, pattern, worker, zone, account FROM routes";

type RouteParts = (String, String, Option<String>, String, String);

fn route_parts(row: &Row<'_>) -> rusqlite::Result<RouteParts> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn route_of((id, pattern, worker, zone, account): RouteParts) -> Result<(AccountId, Route), ControlError> {
    let worker = worker.as_deref().map(parse).transpose()?;
    Ok((parse(&account)?, Route { id, pattern, worker, zone_id: zone_id(&zone), zone_name: zone }))
}

impl View<'_> {
    pub fn worker_routes(&self, account: &AccountId, worker: &WorkerName) -> Result<Vec<Route>, ControlError> {
        let mut statement =
            self.0.prepare_cached(&format!("{ROUTE} WHERE account = ?1 AND worker = ?2 ORDER BY pattern"))?;
        let rows = statement.query_map((account.as_str(), worker.as_str()), route_parts)?;
        rows.map(|row| Ok(route_of(row?)?.1)).collect()
    }

    pub fn zone_routes(&self, zone: &str) -> Result<Vec<Route>, ControlError> {
        let mut statement = self.0.prepare_cached(&format!("{ROUTE} WHERE zone = ?1 ORDER BY pattern"))?;
        let rows = statement.query_map([zone], route_parts)?;
        rows.map(|row| Ok(route_of(row?)?.1)).collect()
    }

    pub fn route(&self, id: &str) -> Result<Option<(AccountId, Route)>, ControlError> {
        self.0
            .prepare_cached(&format!("{ROUTE} WHERE id = ?1"))?
            .query_row([id], route_parts)
            .optional()?
            .map(route_of)
            .transpose()
    }

    pub fn route_of_pattern(&self, pattern: &str) -> Result<Option<(AccountId, Route)>, ControlError> {
        self.0
            .prepare_cached(&format!("{ROUTE} WHERE pattern = ?1"))?
            .query_row([pattern], route_parts)
            .optional()?
            .map(route_of)
            .transpose()
    }

    pub fn count_routes(&self, account: &AccountId) -> Result<u64, ControlError> {
        self.count("SELECT count(*) FROM routes WHERE account = ?1", [account.as_str()])
    }

    pub fn count_exclusions(&self, account: &AccountId) -> Result<u64, ControlError> {
        self.count("SELECT count(*) FROM routes WHERE account = ?1 AND worker IS NULL", [account.as_str()])
    }

    /// The patterns of an account that lead to no worker.
    pub fn exclusions(&self, account: &AccountId) -> Result<Vec<String>, ControlError> {
        self.texts(
            "SELECT pattern FROM routes WHERE account = ?1 AND worker IS NULL ORDER BY pattern",
            [account.as_str()],
        )
    }

    pub(super) fn insert_route(&self, account: &AccountId, route: &Route) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO routes (id, account, zone, zone_id, pattern, worker)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                &route.id,
                account.as_str(),
                &route.zone_name,
                zone_id(&route.zone_name),
                &route.pattern,
                route.worker.as_ref().map(WorkerName::as_str),
            ))?;
        Ok(())
    }

    pub(super) fn delete_route(&self, id: &str) -> Result<(), ControlError> {
        self.0.prepare_cached("DELETE FROM routes WHERE id = ?1")?.execute([id])?;
        Ok(())
    }
}

// === custom domains ===

const DOMAIN: &str = "SELECT id, hostname, worker, zone, created_ms, account FROM domains";

type DomainParts = (String, String, String, String, i64, String);

fn domain_parts(row: &Row<'_>) -> rusqlite::Result<DomainParts> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn domain_of(parts: DomainParts) -> Result<(AccountId, CustomDomain), ControlError> {
    let (id, hostname, worker, zone, created_ms, account) = parts;
    let (worker, created_ms) = (parse(&worker)?, created_ms as u64);
    let domain = CustomDomain { id, hostname, worker, zone_id: zone_id(&zone), zone_name: zone, created_ms };
    Ok((parse(&account)?, domain))
}

impl View<'_> {
    pub fn domains(&self, account: &AccountId, worker: Option<&WorkerName>) -> Result<Vec<CustomDomain>, ControlError> {
        // A condition of its own for each, so that an index serves it.
        let whose = if worker.is_some() { "worker = ?2" } else { "?2 IS NULL" };
        let mut statement =
            self.0.prepare_cached(&format!("{DOMAIN} WHERE account = ?1 AND {whose} ORDER BY hostname"))?;
        let rows = statement.query_map((account.as_str(), worker.map(WorkerName::as_str)), domain_parts)?;
        rows.map(|row| Ok(domain_of(row?)?.1)).collect()
    }

    pub fn domain(&self, hostname: &str) -> Result<Option<(AccountId, CustomDomain)>, ControlError> {
        self.0
            .prepare_cached(&format!("{DOMAIN} WHERE hostname = ?1"))?
            .query_row([hostname], domain_parts)
            .optional()?
            .map(domain_of)
            .transpose()
    }

    pub fn domain_by_id(&self, id: &str) -> Result<Option<(AccountId, CustomDomain)>, ControlError> {
        self.0
            .prepare_cached(&format!("{DOMAIN} WHERE id = ?1"))?
            .query_row([id], domain_parts)
            .optional()?
            .map(domain_of)
            .transpose()
    }

    pub(super) fn insert_domain(&self, account: &AccountId, domain: &CustomDomain) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO domains (hostname, id, account, zone, zone_id, worker, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                &domain.hostname,
                &domain.id,
                account.as_str(),
                &domain.zone_name,
                zone_id(&domain.zone_name),
                domain.worker.as_str(),
                domain.created_ms as i64,
            ))?;
        Ok(())
    }

    pub(super) fn delete_domain(&self, hostname: &str) -> Result<(), ControlError> {
        self.0.prepare_cached("DELETE FROM domains WHERE hostname = ?1")?.execute([hostname])?;
        Ok(())
    }
}

// === zones ===

impl View<'_> {
    /// Who holds a zone: by a claim, a route or a custom domain.
    pub fn zone_holder(&self, zone: &str) -> Result<Option<AccountId>, ControlError> {
        self.text(
            "SELECT account FROM zones WHERE name = ?1 UNION ALL SELECT account FROM routes WHERE zone = ?1
             UNION ALL SELECT account FROM domains WHERE zone = ?1 LIMIT 1",
            [zone],
        )?
        .as_deref()
        .map(parse)
        .transpose()
    }

    /// The zone with that id that somebody holds.
    pub fn held_zone(&self, id: &str) -> Result<Option<(String, AccountId)>, ControlError> {
        // A zone that is held by what lies in it alone has no row of its own.
        let name = self.text(
            "SELECT name FROM zones WHERE id = ?1 UNION ALL SELECT zone FROM routes WHERE zone_id = ?1
             UNION ALL SELECT zone FROM domains WHERE zone_id = ?1 LIMIT 1",
            [id],
        )?;
        let Some(name) = name else { return Ok(None) };
        Ok(self.zone_holder(&name)?.map(|account| (name, account)))
    }

    pub fn zone_claimed(&self, account: &AccountId, zone: &str) -> Result<bool, ControlError> {
        self.exists("SELECT 1 FROM zones WHERE name = ?1 AND account = ?2", (zone, account.as_str()))
    }

    pub fn zones(&self, account: &AccountId) -> Result<Vec<String>, ControlError> {
        self.texts(
            "SELECT name FROM zones WHERE account = ?1 UNION SELECT zone FROM routes WHERE account = ?1
             UNION SELECT zone FROM domains WHERE account = ?1 ORDER BY 1",
            [account.as_str()],
        )
    }

    pub(super) fn insert_zone(&self, account: &AccountId, zone: &str) -> Result<(), ControlError> {
        self.0.prepare_cached("INSERT OR REPLACE INTO zones (name, id, account) VALUES (?1, ?2, ?3)")?.execute((
            zone,
            zone_id(zone),
            account.as_str(),
        ))?;
        Ok(())
    }
}

// === resources ===

impl View<'_> {
    pub fn resources(
        &self,
        account: &AccountId,
        kind: ResourceKind,
        name: Option<&str>,
        page: Page,
    ) -> Result<Vec<Resource>, ControlError> {
        let which = if name.is_some() { "name = ?3" } else { "?3 IS NULL" };
        let data = self.texts(
            &format!(
                "SELECT data FROM resources WHERE account = ?1 AND kind = ?2 AND {which} ORDER BY name LIMIT ?4 OFFSET ?5"
            ),
            (account.as_str(), kind.as_str(), name, page.limit as i64, page.offset as i64),
        )?;
        data.iter().map(|data| decode(data)).collect()
    }

    pub fn count_resources(&self, account: &AccountId, kind: ResourceKind) -> Result<u64, ControlError> {
        self.count("SELECT count(*) FROM resources WHERE account = ?1 AND kind = ?2", (account.as_str(), kind.as_str()))
    }

    /// A resource by its id or, if there is none with that, its name.
    pub fn find_resource(
        &self,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Option<Resource>, ControlError> {
        self.text(
            "SELECT data FROM resources WHERE account = ?1 AND kind = ?2 AND (id = ?3 OR name = ?3)
             ORDER BY id <> ?3 LIMIT 1",
            (account.as_str(), kind.as_str(), id),
        )?
        .map(|data| decode(&data))
        .transpose()
    }

    pub fn resource(&self, account: &AccountId, kind: ResourceKind, id: &str) -> Result<Resource, ControlError> {
        let shown = || id.chars().take(80).collect();
        self.find_resource(account, kind, id)?.ok_or_else(|| ControlError::ResourceNotFound { kind, id: shown() })
    }

    pub fn resource_named(
        &self,
        account: &AccountId,
        kind: ResourceKind,
        name: &str,
    ) -> Result<Option<Resource>, ControlError> {
        Ok(self.resources(account, kind, Some(name), Page::first(1))?.pop())
    }

    /// The queues that a worker consumes.
    pub fn queues_of(&self, account: &AccountId, worker: &WorkerName) -> Result<Vec<String>, ControlError> {
        self.texts(
            "SELECT name FROM resources WHERE account = ?1 AND kind = 'queue' AND EXISTS (
                SELECT 1 FROM json_each(resources.data, '$.data.consumers') AS each
                WHERE json_extract(each.value, '$.script_name') = ?2) ORDER BY name",
            (account.as_str(), worker.as_str()),
        )
    }

    /// The namespaces of Durable Objects whose classes a worker has: their names begin with its name and a `/`, which `0`
    /// comes after.
    pub fn namespaces_of(&self, account: &AccountId, worker: &WorkerName) -> Result<Vec<Resource>, ControlError> {
        let data = self.texts(
            "SELECT data FROM resources WHERE account = ?1 AND kind = 'durable_object_namespace'
             AND name > ?2 || '/' AND name < ?2 || '0' ORDER BY name",
            (account.as_str(), worker.as_str()),
        )?;
        data.iter().map(|data| decode(data)).collect()
    }

    pub(super) fn save_resource(&self, account: &AccountId, resource: &Resource) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO resources (account, kind, id, name, data) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((account.as_str(), resource.kind.as_str(), &resource.id, &resource.name, encode(resource)?))?;
        Ok(())
    }

    pub(super) fn delete_resource(
        &self,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<(), ControlError> {
        self.0.prepare_cached("DELETE FROM resources WHERE account = ?1 AND kind = ?2 AND id = ?3")?.execute((
            account.as_str(),
            kind.as_str(),
            id,
        ))?;
        Ok(())
    }
}
