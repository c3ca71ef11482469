//! An event's effect on the view.

use rusqlite::OptionalExtension;

use super::{View, encode};
use crate::bounds::DEPLOYMENTS_KEPT;
use crate::error::ControlError;
use crate::event::{Event, Logged};

/// Applies one record. What it says was decided before: nothing is refused here.
pub(crate) fn apply(view: &View<'_>, position: u64, logged: &Logged) -> Result<(), ControlError> {
    view.insert_audit(position, logged)?;
    let at_ms = logged.at_ms;
    match &logged.event {
        Event::AccountCreated { account } => view.insert_account(account),
        Event::SubdomainSet { account, subdomain } => {
            view.0
                .prepare_cached("UPDATE OR IGNORE accounts SET subdomain = ?2 WHERE id = ?1")?
                .execute((account.as_str(), subdomain))?;
            view.enqueue_all_workers(account)
        }
        Event::TokenCreated { token, hash } => view.insert_token(token, hash),
        Event::TokenRevoked { id, .. } => {
            view.0.prepare_cached("DELETE FROM tokens WHERE id = ?1")?.execute([id])?;
            Ok(())
        }
        Event::WorkerCreated { account, worker, id } => {
            view.insert_worker(account, worker, id, at_ms)?;
            view.enqueue_worker(account, worker)
        }
        Event::WorkerDeleted { account, worker } => view.delete_worker(account, worker, at_ms),
        Event::SettingsChanged { account, worker, change } => view.change_worker(account, worker, at_ms, |data| {
            let change = change.clone();
            data.tags = change.tags.unwrap_or_else(|| std::mem::take(&mut data.tags));
            data.tail_consumers = change.tail_consumers.unwrap_or_else(|| std::mem::take(&mut data.tail_consumers));
            data.logpush = change.logpush.unwrap_or(data.logpush);
            data.observability = change.observability.or(data.observability.take());
        }),
        Event::WorkerSubdomainSet { account, worker, enabled, previews } => {
            view.change_worker(account, worker, at_ms, |data| {
                data.workers_dev = *enabled;
                data.previews = *previews;
            })
        }
        Event::SchedulesSet { account, worker, crons } => {
            view.change_worker(account, worker, at_ms, |data| data.crons = crons.clone())
        }
        Event::VersionCreated { version } => view.insert_version(version),
        Event::VersionsPruned { account, worker, versions } => {
            for version in versions {
                view.delete_version(account, worker, version, at_ms)?;
            }
            view.change_worker(account, worker, at_ms, |data| {
                data.aliases.retain(|_, version| !versions.contains(version));
            })
        }
        Event::Deployed { account, worker, deployment } => {
            view.0
                .prepare_cached(
                    "INSERT OR REPLACE INTO deployments (account, worker, position, id, data) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((account.as_str(), worker.as_str(), position as i64, &deployment.id, encode(deployment)?))?;
            view.0
                .prepare_cached(
                    "DELETE FROM deployments WHERE account = ?1 AND worker = ?2 AND position <= (
                        SELECT position FROM deployments WHERE account = ?1 AND worker = ?2
                        ORDER BY position DESC LIMIT 1 OFFSET ?3)",
                )?
                .execute((account.as_str(), worker.as_str(), DEPLOYMENTS_KEPT as i64))?;
            view.change_worker(account, worker, at_ms, |data| {
                data.last_deployed_from = Some(deployment.source.clone());
                data.deployment = Some(deployment.clone());
            })
        }
        Event::Migrated { account, worker, tag } => {
            view.change_worker(account, worker, at_ms, |data| data.migration_tag = tag.clone())
        }
        Event::RoutesChanged { account, worker, removed, added } => {
            for route in removed {
                view.delete_route(&route.id)?;
                view.enqueue_routed(account, route.worker.as_ref())?;
            }
            for route in added {
                view.insert_route(account, route)?;
                view.enqueue_routed(account, route.worker.as_ref())?;
            }
            view.enqueue_routed(account, worker.as_ref())
        }
        Event::DomainsChanged { account, worker, removed, added } => {
            for domain in removed {
                view.delete_domain(&domain.hostname)?;
                view.enqueue_worker(account, &domain.worker)?;
            }
            for domain in added {
                view.insert_domain(account, domain)?;
                view.enqueue_worker(account, &domain.worker)?;
            }
            view.enqueue_worker(account, worker)
        }
        Event::ZoneClaimed { account, zone } => view.insert_zone(account, zone),
        Event::ZoneReleased { account, zone } => {
            view.0
                .prepare_cached("DELETE FROM zones WHERE name = ?2 AND account = ?1")?
                .execute((account.as_str(), zone))?;
            Ok(())
        }
        Event::ResourceSaved { account, resource } => view.save_resource(account, resource),
        Event::ResourceDeleted { account, kind, id, .. } => view.delete_resource(account, *kind, id),
        Event::Unknown => {
            tracing::warn!(position, "the log has an event that this program does not know: it has no effect here");
            Ok(())
        }
    }
}

impl View<'_> {
    /// Whether anything is there that the question finds.
    pub(super) fn exists<P: rusqlite::Params>(&self, question: &str, parameters: P) -> Result<bool, ControlError> {
        Ok(self.0.prepare_cached(question)?.query_row(parameters, |_| Ok(())).optional()?.is_some())
    }

    pub(super) fn count<P: rusqlite::Params>(&self, question: &str, parameters: P) -> Result<u64, ControlError> {
        Ok(self.0.prepare_cached(question)?.query_row(parameters, |row| row.get::<_, i64>(0))? as u64)
    }

    /// What a question finds that asks for one text a row.
    pub(super) fn texts<P: rusqlite::Params>(
        &self,
        question: &str,
        parameters: P,
    ) -> Result<Vec<String>, ControlError> {
        let mut statement = self.0.prepare_cached(question)?;
        let rows = statement.query_map(parameters, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The text that a question finds first.
    pub(super) fn text<P: rusqlite::Params>(
        &self,
        question: &str,
        parameters: P,
    ) -> Result<Option<String>, ControlError> {
        Ok(self.0.prepare_cached(question)?.query_row(parameters, |row| row.get(0)).optional()?)
    }
}
