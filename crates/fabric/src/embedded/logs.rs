//! Logs in SQLite.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::PAGE_BYTES_MAX;
use super::schema::{from_sql, to_sql};
use crate::error::FabricError;
use crate::fabric::{Position, Record};

/// Appends inside the writer's transaction.
pub(super) fn append(
    connection: &Connection,
    log: &str,
    expected: Position,
    records: &[Bytes],
) -> Result<Position, FabricError> {
    let found = find(connection, log).map_err(FabricError::store("could not look up a log"))?;
    let end = found.map_or(Position(0), |(_, end)| end);
    if end != expected {
        return Err(FabricError::Conflict { log: log.to_owned(), expected, end });
    }
    if records.is_empty() {
        return Ok(end);
    }
    insert(connection, log, found, records).map_err(FabricError::store("could not append to a log"))
}

pub(super) fn end(connection: &Connection, log: &str) -> Result<Position, FabricError> {
    let found = find(connection, log).map_err(FabricError::store("could not look up a log"))?;
    Ok(found.map_or(Position(0), |(_, end)| end))
}

pub(super) fn read(
    connection: &Connection,
    log: &str,
    after: Position,
    max: usize,
) -> Result<Vec<Record>, FabricError> {
    select(connection, log, after, max).map_err(FabricError::store("could not read a log"))
}

fn find(connection: &Connection, log: &str) -> rusqlite::Result<Option<(i64, Position)>> {
    connection
        .prepare_cached("SELECT id, end FROM logs WHERE name = ?1")?
        .query_row([log], |row| Ok((row.get(0)?, Position(from_sql(row.get(1)?)))))
        .optional()
}

fn insert(
    connection: &Connection,
    log: &str,
    found: Option<(i64, Position)>,
    records: &[Bytes],
) -> rusqlite::Result<Position> {
    let (id, mut end) = match found {
        Some((id, end)) => (id, to_sql(end.0)),
        None => {
            connection.prepare_cached("INSERT INTO logs (name, end) VALUES (?1, 0)")?.execute([log])?;
            (connection.last_insert_rowid(), 0)
        }
    };
    let mut statement = connection.prepare_cached("INSERT INTO records (log, position, bytes) VALUES (?1, ?2, ?3)")?;
    for record in records {
        end += 1;
        statement.execute((id, end, record.as_ref()))?;
    }
    connection.prepare_cached("UPDATE logs SET end = ?2 WHERE id = ?1")?.execute((id, end))?;
    Ok(Position(from_sql(end)))
}

fn select(connection: &Connection, log: &str, after: Position, max: usize) -> rusqlite::Result<Vec<Record>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, bytes FROM records WHERE log = (SELECT id FROM logs WHERE name = ?1) AND position > ?2
         ORDER BY position LIMIT ?3",
    )?;
    let mut rows = statement.query((log, to_sql(after.0), to_sql(max as u64)))?;
    let (mut records, mut bytes_read) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(1)?;
        bytes_read = bytes_read.saturating_add(bytes.len());
        if bytes_read > PAGE_BYTES_MAX && !records.is_empty() {
            break;
        }
        records.push(Record { position: Position(from_sql(row.get(0)?)), bytes: bytes.into() });
    }
    Ok(records)
}
