//! Workers, versions and deployments in the view.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row};
use selvedge_model::{
    AccountId, BindingKind, CronRecord, DeploymentRecord, VersionId, VersionRecord, WorkerName, WorkerRecord,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{View, decode, encode, parse};
use crate::bounds::{DEPLOYMENTS_KEEP_VERSIONS, VERSIONS_KEPT};
use crate::deployment::Deployment;
use crate::error::ControlError;
use crate::page::Page;
use crate::version::VersionSummary;
use crate::worker::Consumer;

/// What changes of a worker from time to time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerData {
    pub tags: Vec<String>,
    pub migration_tag: Option<String>,
    pub last_deployed_from: Option<String>,
    pub logpush: bool,
    pub observability: Option<Value>,
    pub tail_consumers: Vec<Consumer>,
    pub workers_dev: bool,
    pub previews: bool,
    pub aliases: BTreeMap<String, VersionId>,
    pub crons: Vec<CronRecord>,
    pub deployment: Option<Deployment>,
}

/// A worker in the view.
#[derive(Debug, Clone)]
pub(crate) struct WorkerRow {
    pub account: AccountId,
    pub name: WorkerName,
    pub id: String,
    pub created_ms: u64,
    pub modified_ms: u64,
    /// The number of its latest version.
    pub number: u64,
    pub latest: Option<VersionId>,
    pub etag: Option<String>,
    pub data: WorkerData,
}

const WORKER: &str =
    "SELECT account, name, id, created_ms, modified_ms, number, latest, etag, data FROM workers WHERE account = ?1";

type WorkerParts = (String, String, String, i64, i64, i64, Option<String>, Option<String>, String);

fn worker_parts(row: &Row<'_>) -> rusqlite::Result<WorkerParts> {
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
    ))
}

fn worker_of(parts: WorkerParts) -> Result<WorkerRow, ControlError> {
    let (account, name, id, created_ms, modified_ms, number, latest, etag, data) = parts;
    Ok(WorkerRow {
        account: parse(&account)?,
        name: parse(&name)?,
        id,
        created_ms: created_ms as u64,
        modified_ms: modified_ms as u64,
        number: number as u64,
        latest: latest.as_deref().map(parse).transpose()?,
        etag,
        data: decode(&data)?,
    })
}

type SummaryParts = (String, i64, i64, String, String, String);

fn summary_of(
    (id, number, created_ms, author, source, annotations): SummaryParts,
) -> Result<VersionSummary, ControlError> {
    Ok(VersionSummary {
        id: parse(&id)?,
        number: number as u64,
        created_ms: created_ms as u64,
        author,
        source,
        annotations: decode(&annotations)?,
    })
}

// === workers ===

impl View<'_> {
    pub fn find_worker(&self, account: &AccountId, worker: &WorkerName) -> Result<Option<WorkerRow>, ControlError> {
        self.0
            .prepare_cached(&format!("{WORKER} AND name = ?2"))?
            .query_row((account.as_str(), worker.as_str()), worker_parts)
            .optional()?
            .map(worker_of)
            .transpose()
    }

    pub fn worker(&self, account: &AccountId, worker: &WorkerName) -> Result<WorkerRow, ControlError> {
        self.find_worker(account, worker)?.ok_or_else(|| ControlError::WorkerNotFound { worker: worker.to_string() })
    }

    pub fn workers(&self, account: &AccountId, page: Page) -> Result<Vec<WorkerRow>, ControlError> {
        let mut statement = self.0.prepare_cached(&format!("{WORKER} ORDER BY name LIMIT ?2 OFFSET ?3"))?;
        let rows = statement.query_map((account.as_str(), page.limit as i64, page.offset as i64), worker_parts)?;
        rows.map(|row| worker_of(row?)).collect()
    }

    pub fn count_workers(&self, account: &AccountId) -> Result<u64, ControlError> {
        self.count("SELECT count(*) FROM workers WHERE account = ?1", [account.as_str()])
    }

    /// The workers that tell a worker of their events.
    pub fn tailed_by(&self, account: &AccountId, consumer: &WorkerName) -> Result<Vec<WorkerName>, ControlError> {
        let names = self.texts(
            "SELECT name FROM workers WHERE account = ?1 AND EXISTS (
                SELECT 1 FROM json_each(data, '$.tail_consumers') AS each
                WHERE json_extract(each.value, '$.service') = ?2)",
            (account.as_str(), consumer.as_str()),
        )?;
        names.iter().map(|name| parse(name)).collect()
    }

    pub(super) fn insert_worker(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        id: &str,
        at_ms: u64,
    ) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO workers (account, name, id, created_ms, modified_ms, number, data)
                 VALUES (?1, ?2, ?3, ?4, ?4, 0, ?5)",
            )?
            .execute((account.as_str(), worker.as_str(), id, at_ms as i64, encode(&WorkerData::default())?))?;
        Ok(())
    }

    pub(super) fn change_worker(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        at_ms: u64,
        change: impl FnOnce(&mut WorkerData),
    ) -> Result<(), ControlError> {
        let Some(mut row) = self.find_worker(account, worker)? else { return Ok(()) };
        change(&mut row.data);
        self.0
            .prepare_cached("UPDATE workers SET data = ?3, modified_ms = ?4 WHERE account = ?1 AND name = ?2")?
            .execute((account.as_str(), worker.as_str(), encode(&row.data)?, at_ms as i64))?;
        self.enqueue_worker(account, worker)
    }

    pub(super) fn delete_worker(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        at_ms: u64,
    ) -> Result<(), ControlError> {
        let versions = self
            .texts("SELECT id FROM versions WHERE account = ?1 AND worker = ?2", (account.as_str(), worker.as_str()))?;
        for version in versions {
            self.delete_version(account, worker, &parse(&version)?, at_ms)?;
        }
        for statement in [
            "DELETE FROM deployments WHERE account = ?1 AND worker = ?2",
            "DELETE FROM routes WHERE account = ?1 AND worker = ?2",
            "DELETE FROM domains WHERE account = ?1 AND worker = ?2",
            "DELETE FROM workers WHERE account = ?1 AND name = ?2",
        ] {
            self.0.prepare_cached(statement)?.execute((account.as_str(), worker.as_str()))?;
        }
        self.enqueue_worker(account, worker)
    }

    /// A worker as the edges are to serve it; none if it is gone.
    pub fn worker_record(
        &self,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Option<WorkerRecord>, ControlError> {
        let Some(row) = self.find_worker(account, worker)? else { return Ok(None) };
        let mut routes = self.texts(
            "SELECT pattern FROM routes WHERE account = ?1 AND worker = ?2",
            (account.as_str(), worker.as_str()),
        )?;
        routes.sort();
        let domains = self.texts(
            "SELECT hostname FROM domains WHERE account = ?1 AND worker = ?2 ORDER BY hostname",
            (account.as_str(), worker.as_str()),
        )?;
        Ok(Some(WorkerRecord {
            account: row.account,
            name: row.name,
            subdomain: self.account(account)?.subdomain,
            workers_dev: row.data.workers_dev,
            previews: row.data.previews,
            aliases: row.data.aliases,
            deployment: row.data.deployment.map(|deployment| DeploymentRecord {
                id: deployment.id,
                created_ms: deployment.created_ms,
                versions: deployment.versions,
            }),
            routes,
            domains,
            crons: row.data.crons,
            tail_consumers: row.data.tail_consumers.into_iter().map(|consumer| consumer.service).collect(),
            tags: row.data.tags,
        }))
    }
}

// === versions ===

impl View<'_> {
    pub(super) fn insert_version(&self, version: &VersionRecord) -> Result<(), ControlError> {
        let (account, worker, id) = (version.account.as_str(), version.worker.as_str(), version.id.as_str());
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO versions
                    (id, account, worker, number, created_ms, author, source, annotations, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute((
                id,
                account,
                worker,
                version.number as i64,
                version.created_ms as i64,
                &version.author,
                &version.source,
                encode(&version.annotations)?,
                encode(version)?,
            ))?;
        self.0
            .prepare_cached("UPDATE workers SET number = ?3, latest = ?4, etag = ?5 WHERE account = ?1 AND name = ?2")?
            .execute((account, worker, version.number as i64, id, &version.content))?;
        let mut uses = self.0.prepare_cached(
            "INSERT OR REPLACE INTO uses (account, target, version, worker, binding, class)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for binding in &version.bindings {
            match &binding.kind {
                BindingKind::Service { service, .. } => {
                    uses.execute((account, service.as_str(), id, worker, &binding.name, None::<&str>))?;
                }
                BindingKind::Other { kind, fields } if kind == "durable_object_namespace" => {
                    if let (Some(script), class) = (
                        fields.get("script_name").and_then(Value::as_str),
                        fields.get("class_name").and_then(Value::as_str),
                    ) {
                        uses.execute((account, script, id, worker, &binding.name, class.unwrap_or_default()))?;
                    }
                }
                _ => {}
            }
        }
        self.use_blobs(version)?;
        self.enqueue_new_version(&version.account, &version.worker, &version.id)?;
        let alias = version.annotations.get("workers/alias").cloned();
        self.change_worker(&version.account, &version.worker, version.created_ms, |data| {
            if let Some(alias) = alias {
                data.aliases.insert(alias, version.id.clone());
            }
        })
    }

    pub(super) fn delete_version(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        version: &VersionId,
        at_ms: u64,
    ) -> Result<(), ControlError> {
        self.disuse_blobs(version, at_ms)?;
        self.0.prepare_cached("DELETE FROM uses WHERE version = ?1")?.execute([version.as_str()])?;
        self.0.prepare_cached("DELETE FROM versions WHERE id = ?1")?.execute([version.as_str()])?;
        self.enqueue_gone_version(account, worker, version)
    }

    pub fn find_version(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        version: &VersionId,
    ) -> Result<Option<VersionRecord>, ControlError> {
        self.text(
            "SELECT data FROM versions WHERE id = ?3 AND account = ?1 AND worker = ?2",
            (account.as_str(), worker.as_str(), version.as_str()),
        )?
        .map(|data| decode(&data))
        .transpose()
    }

    pub fn version(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        version: &VersionId,
    ) -> Result<VersionRecord, ControlError> {
        self.find_version(account, worker, version)?
            .ok_or_else(|| ControlError::VersionNotFound { worker: worker.clone(), version: version.to_string() })
    }

    pub fn version_exists(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        version: &VersionId,
    ) -> Result<bool, ControlError> {
        self.exists(
            "SELECT 1 FROM versions WHERE id = ?3 AND account = ?1 AND worker = ?2",
            (account.as_str(), worker.as_str(), version.as_str()),
        )
    }

    /// A version as it was written, for publishing.
    pub fn version_text(&self, version: &str) -> Result<Option<String>, ControlError> {
        self.text("SELECT data FROM versions WHERE id = ?1", [version])
    }

    /// The version that was uploaded last.
    pub fn latest(&self, row: &WorkerRow) -> Result<Option<VersionRecord>, ControlError> {
        match &row.latest {
            Some(latest) => self.find_version(&row.account, &row.name, latest),
            None => Ok(None),
        }
    }

    pub fn versions(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        page: Page,
    ) -> Result<Vec<VersionSummary>, ControlError> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, number, created_ms, author, source, annotations FROM versions
             WHERE account = ?1 AND worker = ?2 ORDER BY number DESC LIMIT ?3 OFFSET ?4",
        )?;
        let rows = statement
            .query_map((account.as_str(), worker.as_str(), page.limit as i64, page.offset as i64), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            })?;
        rows.map(|row| summary_of(row?)).collect()
    }

    pub fn count_versions(&self, account: &AccountId, worker: &WorkerName) -> Result<u64, ControlError> {
        self.count(
            "SELECT count(*) FROM versions WHERE account = ?1 AND worker = ?2",
            (account.as_str(), worker.as_str()),
        )
    }

    /// The versions that need not be kept once one more is there: those beyond the newest that neither are deployed nor
    /// were by one of the last deployments.
    pub fn prunable_versions(&self, row: &WorkerRow) -> Result<Vec<VersionId>, ControlError> {
        let Some(below) = (row.number + 1).checked_sub(VERSIONS_KEPT) else { return Ok(Vec::new()) };
        let old = self.texts(
            "SELECT id FROM versions WHERE account = ?1 AND worker = ?2 AND number <= ?3",
            (row.account.as_str(), row.name.as_str(), below as i64),
        )?;
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let last = self.deployments(&row.account, &row.name, Page::first(DEPLOYMENTS_KEEP_VERSIONS))?;
        let kept = |id: &VersionId| last.iter().flat_map(|one| &one.versions).any(|share| share.version == *id);
        let old = old.iter().map(|id| parse(id)).collect::<Result<Vec<VersionId>, _>>()?;
        Ok(old.into_iter().filter(|id| !kept(id)).collect())
    }
}

// === deployments and uses ===

impl View<'_> {
    pub fn deployments(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        page: Page,
    ) -> Result<Vec<Deployment>, ControlError> {
        let data = self.texts(
            "SELECT data FROM deployments WHERE account = ?1 AND worker = ?2
             ORDER BY position DESC LIMIT ?3 OFFSET ?4",
            (account.as_str(), worker.as_str(), page.limit as i64, page.offset as i64),
        )?;
        data.iter().map(|data| decode(data)).collect()
    }

    pub fn deployment(&self, account: &AccountId, worker: &WorkerName, id: &str) -> Result<Deployment, ControlError> {
        let data = self.text(
            "SELECT data FROM deployments WHERE account = ?1 AND worker = ?2 AND id = ?3",
            (account.as_str(), worker.as_str(), id),
        )?;
        let shown = || id.chars().take(64).collect();
        let missing = || ControlError::DeploymentNotFound { worker: worker.clone(), deployment: shown() };
        decode(&data.ok_or_else(missing)?)
    }

    /// Who binds a worker in the version that is the latest or deployed: worker, binding, and class for objects.
    pub fn users_of(
        &self,
        account: &AccountId,
        target: &WorkerName,
    ) -> Result<Vec<(WorkerName, String, Option<String>)>, ControlError> {
        let mut statement = self.0.prepare_cached(
            "SELECT worker, binding, class, version FROM uses WHERE account = ?1 AND target = ?2 AND worker <> ?2
             ORDER BY worker, binding, class",
        )?;
        let rows = statement.query_map((account.as_str(), target.as_str()), |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
        })?;
        let mut users = Vec::new();
        // Of a worker there is a row for each of its versions.
        let mut using: Option<WorkerRow> = None;
        for row in rows {
            let (worker, binding, class, version) = row?;
            let (worker, version): (WorkerName, VersionId) = (parse(&worker)?, parse(&version)?);
            if using.as_ref().is_none_or(|using| using.name != worker) {
                using = self.find_worker(account, &worker)?;
            }
            let Some(using) = &using else { continue };
            let deployed = using.data.deployment.iter().flat_map(|one| &one.versions).any(|one| one.version == version);
            let user = (worker, binding, class);
            if (deployed || using.latest.as_ref() == Some(&version)) && users.last() != Some(&user) {
                users.push(user);
            }
        }
        Ok(users)
    }
}
