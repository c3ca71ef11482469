//! The records of the local copy, in a SQLite file: for each key what it is now.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use selvedge_fabric::{Entry, Revision};

use crate::error::PopError;

/// How many prepared statements are kept.
const STATEMENTS_MAX: usize = 16;

/// The records of the local copy.
pub struct Rows {
    connection: Mutex<Connection>,
}

fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> PopError {
    move |source| PopError::Rows { action, source }
}

impl Rows {
    /// Opens the copy at `file`, which may not be there yet.
    pub fn open(file: &Path) -> Result<Self, PopError> {
        let connection = Connection::open(file).map_err(failed("cannot be opened"))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // What is lost with the power is fetched again: the revision is lost with it.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS fired (trigger TEXT PRIMARY KEY, minute INTEGER NOT NULL) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS revision (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);",
            )
            .map_err(failed("cannot be made ready"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// The last change that it holds.
    pub fn revision(&self) -> Result<Revision, PopError> {
        let connection = self.connection.lock();
        let number = connection.query_row("SELECT number FROM revision", [], |row| row.get::<_, i64>(0)).optional();
        Ok(Revision(number.map_err(failed("cannot be read"))?.unwrap_or_default() as u64))
    }

    /// Takes in changes, all or none, and notes the last one's revision.
    pub fn apply(&self, entries: &[Entry]) -> Result<(), PopError> {
        let failed = || failed("cannot be written");
        let mut connection = self.connection.lock();
        let transaction = connection.transaction().map_err(failed())?;
        {
            let mut put = transaction
                .prepare_cached(
                    "INSERT INTO rows (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                )
                .map_err(failed())?;
            let mut remove = transaction.prepare_cached("DELETE FROM rows WHERE key = ?1").map_err(failed())?;
            for entry in entries {
                match &entry.value {
                    Some(value) => put.execute((&entry.key, &value[..])),
                    None => remove.execute([&entry.key]),
                }
                .map_err(failed())?;
            }
        }
        if let Some(last) = entries.last() {
            let number = last.revision.0 as i64;
            transaction
                .execute("INSERT INTO revision VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET number = ?1", [number])
                .map_err(failed())?;
        }
        transaction.commit().map_err(failed())
    }

    /// The record of a key.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, PopError> {
        let connection = self.connection.lock();
        let mut query =
            connection.prepare_cached("SELECT value FROM rows WHERE key = ?1").map_err(failed("cannot be read"))?;
        query.query_row([key], |row| row.get(0)).optional().map_err(failed("cannot be read"))
    }

    /// The first key that begins so.
    pub fn first_with(&self, prefix: &str) -> Result<Option<String>, PopError> {
        let connection = self.connection.lock();
        let mut query = connection
            .prepare_cached("SELECT key FROM rows WHERE key >= ?1 ORDER BY key LIMIT 1")
            .map_err(failed("cannot be read"))?;
        let found = query.query_row([prefix], |row| row.get::<_, String>(0)).optional();
        Ok(found.map_err(failed("cannot be read"))?.filter(|key| key.starts_with(prefix)))
    }

    /// Every record whose key begins so, in the order of the keys.
    pub fn each(&self, prefix: &str, mut act: impl FnMut(&str, &[u8])) -> Result<(), PopError> {
        let failed = || failed("cannot be read");
        let connection = self.connection.lock();
        let mut query =
            connection.prepare_cached("SELECT key, value FROM rows WHERE key >= ?1 ORDER BY key").map_err(failed())?;
        let mut rows = query.query([prefix]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let key = row.get_ref(0).and_then(|key| Ok(key.as_str()?)).map_err(failed())?;
            if !key.starts_with(prefix) {
                break;
            }
            let value = row.get_ref(1).and_then(|value| Ok(value.as_blob()?)).map_err(failed())?;
            act(key, value);
        }
        Ok(())
    }

    /// The last minute (since 1970) for which a trigger was fired, or passed over.
    pub fn fired(&self, trigger: &str) -> Result<Option<i64>, PopError> {
        let connection = self.connection.lock();
        let mut query = connection
            .prepare_cached("SELECT minute FROM fired WHERE trigger = ?1")
            .map_err(failed("cannot be read"))?;
        query.query_row([trigger], |row| row.get(0)).optional().map_err(failed("cannot be read"))
    }

    /// Notes that triggers were fired for a minute.
    pub fn note_fired(&self, triggers: &[String], minute: i64) -> Result<(), PopError> {
        let failed = || failed("cannot be written");
        let mut connection = self.connection.lock();
        let transaction = connection.transaction().map_err(failed())?;
        {
            let mut put = transaction
                .prepare_cached("INSERT INTO fired VALUES (?1, ?2) ON CONFLICT (trigger) DO UPDATE SET minute = ?2")
                .map_err(failed())?;
            for trigger in triggers {
                put.execute((trigger, minute)).map_err(failed())?;
            }
        }
        transaction.commit().map_err(failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn entry(key: &str, value: Option<&'static str>, revision: u64) -> Entry {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        Entry { key: key.into(), value, revision: Revision(revision) }
    }

    #[test]
    fn rows_are_what_the_changes_made_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.db");
        let rows = Rows::open(&file).unwrap();
        assert_eq!(rows.revision().unwrap(), Revision(0));
        rows.apply(&[entry("a/1", Some("x"), 1), entry("a/2", Some("y"), 2), entry("b/1", Some("z"), 3)]).unwrap();
        rows.apply(&[entry("a/1", None, 4), entry("a/2", Some("w"), 7)]).unwrap();
        drop(rows);
        let rows = Rows::open(&file).unwrap();
        assert_eq!(rows.revision().unwrap(), Revision(7));
        assert_eq!(rows.get("a/1").unwrap(), None);
        assert_eq!(rows.get("a/2").unwrap().unwrap(), b"w");
        assert_eq!(rows.first_with("b/").unwrap().unwrap(), "b/1");
        assert_eq!(rows.first_with("c/").unwrap(), None);
        let mut seen = Vec::new();
        rows.each("a/", |key, value| seen.push((key.to_owned(), value.to_owned()))).unwrap();
        assert_eq!(seen, [("a/2".to_owned(), b"w".to_vec())]);
    }
}
