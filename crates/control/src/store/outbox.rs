//! What is to be published yet. Only keys wait here: what they become is what the view says when they are published,
//! so that something published twice, or late, does no harm.

use selvedge_model::{AccountId, VersionId, WorkerName, version_key, worker_key};

use super::{View, parse};
use crate::error::ControlError;

/// The most keys that are published at once.
const KEYS_MAX: usize = 256;
/// The most that is published at once, in bytes: 8 MiB.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A piece of the outbox, as it is to be published.
pub(crate) struct Outgoing {
    /// Keys with what they become.
    pub changes: Vec<(String, Option<Vec<u8>>)>,
    /// The rows that are done then.
    pub rows: Vec<i64>,
}

struct Waiting {
    row: i64,
    account: String,
    worker: Option<String>,
    version: Option<String>,
}

impl View<'_> {
    pub(super) fn enqueue(
        &self,
        account: &AccountId,
        worker: Option<&WorkerName>,
        version: Option<&VersionId>,
    ) -> Result<(), ControlError> {
        self.0.prepare_cached("INSERT INTO outbox (account, worker, version) VALUES (?1, ?2, ?3)")?.execute((
            account.as_str(),
            worker.map(WorkerName::as_str),
            version.map(VersionId::as_str),
        ))?;
        Ok(())
    }

    pub(super) fn enqueue_worker(&self, account: &AccountId, worker: &WorkerName) -> Result<(), ControlError> {
        self.enqueue(account, Some(worker), None)
    }

    pub(super) fn enqueue_all_workers(&self, account: &AccountId) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT INTO outbox (account, worker) SELECT account, name FROM workers WHERE account = ?1",
            )?
            .execute([account.as_str()])?;
        Ok(())
    }

    pub fn dequeue(&self, rows: &[i64]) -> Result<(), ControlError> {
        let mut statement = self.0.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
        for row in rows {
            statement.execute([row])?;
        }
        Ok(())
    }

    /// The next piece to publish. New versions come before the workers that are served by them, and versions go after
    /// the workers that were: no edge is told of a version that it cannot find.
    pub fn outgoing(&self) -> Result<Outgoing, ControlError> {
        let mut outgoing = Outgoing { changes: Vec::new(), rows: Vec::new() };
        let mut bytes = 0;
        for waiting in self.waiting()? {
            let (key, value) = self.key_and_value(&waiting)?;
            let known = outgoing.changes.iter().any(|(other, _)| *other == key);
            let length = value.as_ref().map_or(0, Vec::len);
            if !known {
                if bytes > 0 && bytes + length > BYTES_MAX {
                    break;
                }
                bytes += length;
                outgoing.changes.push((key, value));
            }
            outgoing.rows.push(waiting.row);
        }
        Ok(outgoing)
    }

    fn waiting(&self) -> Result<Vec<Waiting>, ControlError> {
        let mut statement = self.0.prepare_cached(
            "SELECT outbox.seq, outbox.account, outbox.worker, outbox.version FROM outbox
             LEFT JOIN versions ON versions.id = outbox.version
             ORDER BY CASE WHEN outbox.version IS NULL THEN 1 WHEN versions.id IS NULL THEN 2 ELSE 0 END, outbox.seq
             LIMIT ?1",
        )?;
        let rows = statement.query_map([KEYS_MAX as i64], |row| {
            Ok(Waiting { row: row.get(0)?, account: row.get(1)?, worker: row.get(2)?, version: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn key_and_value(&self, waiting: &Waiting) -> Result<(String, Option<Vec<u8>>), ControlError> {
        let account: AccountId = parse(&waiting.account)?;
        let Some(worker) = &waiting.worker else {
            let exclusions = self.exclusions(&account)?;
            let value = (!exclusions.is_empty()).then(|| super::encode(&exclusions)).transpose()?;
            return Ok((exclusions_key(&account), value.map(String::into_bytes)));
        };
        let worker: WorkerName = parse(worker)?;
        match &waiting.version {
            Some(version) => {
                let value = self.version_text(version)?.map(String::into_bytes);
                Ok((version_key(&account, &worker, &parse(version)?), value))
            }
            None => {
                let record = self.worker_record(&account, &worker)?;
                let value = record.map(|record| super::encode(&record)).transpose()?;
                Ok((worker_key(&account, &worker), value.map(String::into_bytes)))
            }
        }
    }
}

/// The key of the patterns of an account that lead to no worker: a JSON list of texts.
pub(crate) fn exclusions_key(account: &AccountId) -> String {
    format!("exclusions/{account}")
}
