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

/// What is published first is what the next refers to: no edge is told of a version that it cannot find.
#[derive(Clone, Copy)]
enum Stage {
    NewVersion = 0,
    /// Workers, and the patterns of accounts that lead to none.
    Routed = 1,
    GoneVersion = 2,
}

/// A row of the outbox. Without a worker it is the account's exclusions; without a version it is a worker.
struct Waiting {
    row: i64,
    account: String,
    worker: String,
    version: String,
}

impl View<'_> {
    pub(super) fn enqueue_new_version(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        version: &VersionId,
    ) -> Result<(), ControlError> {
        self.enqueue(Stage::NewVersion, account, worker.as_str(), version.as_str())
    }

    pub(super) fn enqueue_gone_version(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        version: &VersionId,
    ) -> Result<(), ControlError> {
        self.enqueue(Stage::GoneVersion, account, worker.as_str(), version.as_str())
    }

    pub(super) fn enqueue_worker(&self, account: &AccountId, worker: &WorkerName) -> Result<(), ControlError> {
        self.enqueue_routed(account, Some(worker))
    }

    /// A worker; without one, the patterns of the account that lead to none.
    pub(super) fn enqueue_routed(&self, account: &AccountId, worker: Option<&WorkerName>) -> Result<(), ControlError> {
        self.enqueue(Stage::Routed, account, worker.map_or("", WorkerName::as_str), "")
    }

    pub(super) fn enqueue_all_workers(&self, account: &AccountId) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO outbox (stage, account, worker, version)
                 SELECT ?2, account, name, '' FROM workers WHERE account = ?1",
            )?
            .execute((account.as_str(), Stage::Routed as i64))?;
        Ok(())
    }

    /// What waits already gets a new number: it may be on its way, as it was before.
    fn enqueue(&self, stage: Stage, account: &AccountId, worker: &str, version: &str) -> Result<(), ControlError> {
        self.0
            .prepare_cached("INSERT OR REPLACE INTO outbox (stage, account, worker, version) VALUES (?1, ?2, ?3, ?4)")?
            .execute((stage as i64, account.as_str(), worker, version))?;
        Ok(())
    }

    pub fn dequeue(&self, rows: &[i64]) -> Result<(), ControlError> {
        let mut statement = self.0.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
        for row in rows {
            statement.execute([row])?;
        }
        Ok(())
    }

    /// The next piece to publish.
    pub fn outgoing(&self) -> Result<Outgoing, ControlError> {
        let mut outgoing = Outgoing { changes: Vec::new(), rows: Vec::new() };
        let mut bytes = 0;
        for waiting in self.waiting()? {
            let (key, value) = self.key_and_value(&waiting)?;
            let length = value.as_ref().map_or(0, Vec::len);
            if bytes > 0 && bytes + length > BYTES_MAX {
                break;
            }
            bytes += length;
            outgoing.changes.push((key, value));
            outgoing.rows.push(waiting.row);
        }
        Ok(outgoing)
    }

    fn waiting(&self) -> Result<Vec<Waiting>, ControlError> {
        let mut statement =
            self.0.prepare_cached("SELECT seq, account, worker, version FROM outbox ORDER BY stage, seq LIMIT ?1")?;
        let rows = statement.query_map([KEYS_MAX as i64], |row| {
            Ok(Waiting { row: row.get(0)?, account: row.get(1)?, worker: row.get(2)?, version: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn key_and_value(&self, waiting: &Waiting) -> Result<(String, Option<Vec<u8>>), ControlError> {
        let account: AccountId = parse(&waiting.account)?;
        if waiting.worker.is_empty() {
            let exclusions = self.exclusions(&account)?;
            let value = (!exclusions.is_empty()).then(|| super::encode(&exclusions)).transpose()?;
            return Ok((exclusions_key(&account), value.map(String::into_bytes)));
        }
        let worker: WorkerName = parse(&waiting.worker)?;
        if waiting.version.is_empty() {
            let record = self.worker_record(&account, &worker)?;
            let value = record.map(|record| super::encode(&record)).transpose()?;
            return Ok((worker_key(&account, &worker), value.map(String::into_bytes)));
        }
        let value = self.version_text(&waiting.version)?.map(String::into_bytes);
        Ok((version_key(&account, &worker, &parse(&waiting.version)?), value))
    }
}

/// The key of the patterns of an account that lead to no worker: a JSON list of texts.
pub(crate) fn exclusions_key(account: &AccountId) -> String {
    format!("exclusions/{account}")
}
