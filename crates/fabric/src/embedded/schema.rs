//! The tables, and how connections to them are opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::FabricError;

/// "slvF": says whose database it is.
const APPLICATION_ID: i32 = 0x736c_7646;
/// The tables below. A program refuses a database that a newer one made.
const SCHEMA_VERSION: i32 = 1;
/// Nobody else writes; a reader may find the log being recovered when it opens.
const BUSY_TIME_MAX: Duration = Duration::from_secs(10);
/// What the write-ahead log is cut back to after a checkpoint, in bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
const STATEMENTS_CACHED_MAX: usize = 32;

/// `keys` keeps the keys that were removed, without a value, so that whoever was away learns of it. `leases` keeps those
/// that are held only: epochs come from one counter, and so only grow, whichever rows are gone.
const TABLES: &str = "
CREATE TABLE logs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, end INTEGER NOT NULL) STRICT;
CREATE TABLE records (
    log INTEGER NOT NULL, position INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (log, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB, revision INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX keys_by_revision ON keys (revision);
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_expiry ON leases (expires_ms);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('revision', 0), ('epoch', 0), ('lease_clock_ms', 0);
";

/// The connection of the writer. Makes the database where there is none.
pub(super) fn open_for_writing(database: &Path) -> Result<Connection, FabricError> {
    let connection = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
        .map_err(FabricError::store("could not be opened"))?;
    let version = version(&connection).map_err(FabricError::store("could not be read"))?;
    if version > SCHEMA_VERSION {
        return Err(FabricError::Newer { version, version_max: SCHEMA_VERSION });
    }
    if version == 0 {
        make(&connection).map_err(FabricError::store("could not be made"))?;
    }
    name(&connection).map_err(FabricError::store("could not be given an identity"))?;
    Ok(connection)
}

/// A connection that reads only.
pub(super) fn open_for_reading(database: &Path) -> Result<Connection, FabricError> {
    open(database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(FabricError::store("could not be opened for reading"))
}

/// Advances a counter by `by` and gives what it is then.
pub(super) fn count(connection: &Connection, counter: &str, by: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE counters SET value = value + ?2 WHERE name = ?1 RETURNING value")?
        .query_row((counter, by), |row| row.get(0))
}

/// What a counter is.
pub(super) fn counter(connection: &Connection, counter: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM counters WHERE name = ?1")?.query_row([counter], |row| row.get(0))
}

/// SQLite's integers are signed; no count of ours comes near the end of them.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn open(database: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIME_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    // Each commit is flushed to the disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    }
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    ))
}

/// Gives the database a random number of 63 bits, if it has none, that tells it from every other.
fn name(connection: &Connection) -> rusqlite::Result<()> {
    let text = "INSERT INTO counters (name, value) SELECT 'identity', random() & 9223372036854775807
                WHERE NOT EXISTS (SELECT 1 FROM counters WHERE name = 'identity')";
    connection.execute(text, ()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open_for_writing(&dir.path().join("fabric.db")).unwrap();
        let ask =
            |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(ask("synchronous").unwrap(), rusqlite::types::Value::Integer(2), "FULL");
        assert_eq!(ask("journal_mode").unwrap(), rusqlite::types::Value::Text("wal".to_owned()));
    }
}
