//! Keys in SQLite.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};

use super::PAGE_BYTES_MAX;
use super::schema::{count, from_sql, to_sql};
use crate::error::FabricError;
use crate::fabric::{Change, Entry, Revision};

/// Changes keys inside the writer's transaction. Each change has a revision of its own.
pub(super) fn set(connection: &Connection, changes: &[Change]) -> Result<Revision, FabricError> {
    write(connection, changes).map_err(FabricError::store("could not change keys"))
}

pub(super) fn get(connection: &Connection, key: &str) -> Result<Option<Entry>, FabricError> {
    let found = connection
        .prepare_cached("SELECT key, value, revision FROM keys WHERE key = ?1 AND value IS NOT NULL")
        .and_then(|mut statement| statement.query_row([key], entry).optional());
    found.map_err(FabricError::store("could not read a key"))
}

pub(super) fn changes(
    connection: &Connection,
    prefix: &str,
    after: Revision,
    max: usize,
) -> Result<Vec<Entry>, FabricError> {
    select(connection, prefix, after, max).map_err(FabricError::store("could not read the changes of keys"))
}

fn write(connection: &Connection, changes: &[Change]) -> rusqlite::Result<Revision> {
    let last = count(connection, "revision", to_sql(changes.len() as u64))?;
    let first = last - to_sql(changes.len() as u64) + 1;
    for (revision, change) in (first..).zip(changes) {
        match &change.value {
            Some(value) => connection
                .prepare_cached(
                    "INSERT INTO keys (key, value, revision) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
                )?
                .execute((&change.key, value.as_ref(), revision))?,
            // A key that never was leaves no trace.
            None => connection
                .prepare_cached("UPDATE keys SET value = NULL, revision = ?2 WHERE key = ?1 AND value IS NOT NULL")?
                .execute((&change.key, revision))?,
        };
    }
    Ok(Revision(from_sql(last)))
}

fn select(connection: &Connection, prefix: &str, after: Revision, max: usize) -> rusqlite::Result<Vec<Entry>> {
    // `substr` counts characters in both: a prefix of a text is one of its characters too.
    let mut statement = connection.prepare_cached(
        "SELECT key, value, revision FROM keys
         WHERE revision > ?1 AND substr(key, 1, length(?2)) = ?2 AND (?1 > 0 OR value IS NOT NULL)
         ORDER BY revision LIMIT ?3",
    )?;
    let mut rows = statement.query((to_sql(after.0), prefix, to_sql(max as u64)))?;
    let (mut entries, mut bytes_read) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let entry = entry(row)?;
        bytes_read = bytes_read.saturating_add(entry.key.len() + entry.value.as_ref().map_or(0, Bytes::len));
        if bytes_read > PAGE_BYTES_MAX && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let value: Option<Vec<u8>> = row.get(1)?;
    Ok(Entry { key: row.get(0)?, value: value.map(Bytes::from), revision: Revision(from_sql(row.get(2)?)) })
}
