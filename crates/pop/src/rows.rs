//! The records of the local copy, in a SQLite file: for each key what it is now.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use selvedge_fabric::{Entry, Identity, Revision};

use crate::error::PopError;

/// How many prepared statements are kept.
const STATEMENTS_MAX: usize = 16;
/// How many records are read at once, while others wait.
const PAGE_ROWS_MAX: i64 = 128;
/// How many of the minutes that were dealt with last are known: a week's.
const MINUTES_MAX: i64 = 7 * 24 * 60;

/// The records of the local copy.
pub struct Rows {
    connection: Mutex<Connection>,
}

/// What is known of the minutes (since 1970) before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing: no minute was ever dealt with here.
    Unknown,
    /// That minute is dealt with already.
    Dealt,
    /// The last minute before it that was dealt with; the one before it, where the clock is before all of them.
    Since(i64),
}

/// A cron trigger that is due: the key of its worker in the fabric, and its expression.
pub type Waiting = (String, String);

/// What SQLite says of a file that has no damage.
const SOUND: &str = "ok";

/// Opens a file, and says what is wrong with it.
fn make(file: &Path) -> rusqlite::Result<(Connection, String)> {
    let connection = Connection::open(file)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // What is lost with the power is fetched again: the revision is lost with it. What is not, says so: see `deal`.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS minutes (seq INTEGER PRIMARY KEY AUTOINCREMENT, minute INTEGER NOT NULL UNIQUE);
         CREATE TABLE IF NOT EXISTS waiting
             (minute INTEGER, worker TEXT, cron TEXT, PRIMARY KEY (minute, worker, cron)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS revision (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS origin (one INTEGER PRIMARY KEY CHECK (one = 1), fabric TEXT NOT NULL);",
    )?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((connection, found))
}

fn keep_to(connection: &mut Connection, fabric: &Identity) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let origin = transaction.query_row("SELECT fabric FROM origin", [], |row| row.get::<_, String>(0)).optional()?;
    let revision = transaction.query_row("SELECT number FROM revision", [], |row| row.get::<_, i64>(0)).optional()?;
    let is_copy = origin.as_ref().is_none_or(|origin| *origin == fabric.id)
        && revision.unwrap_or_default() as u64 <= fabric.last.0;
    if !is_copy {
        transaction.execute_batch("DELETE FROM rows; DELETE FROM revision;")?;
    }
    if origin.as_ref() != Some(&fabric.id) {
        transaction
            .execute("INSERT INTO origin VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET fabric = ?1", [&fabric.id])?;
    }
    transaction.commit()?;
    Ok(!is_copy)
}

fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> PopError {
    move |source| PopError::Rows { action, source }
}

impl Rows {
    /// Opens the copy at `file`, which may not be there yet.
    ///
    /// # Errors
    /// [`PopError::Damaged`] if what is there cannot be relied on: see [`Self::remove`].
    pub fn open(file: &Path) -> Result<Self, PopError> {
        let damaged = |reason: String| PopError::Damaged { path: file.to_owned(), reason };
        let made = make(file).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(error.to_string()),
            _ => PopError::OpenRows { path: file.to_owned(), source: error },
        });
        let (connection, found) = made?;
        if found != SOUND {
            return Err(damaged(found));
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Removes a copy that is not open, so that a new one can be made in its place.
    pub fn remove(file: &Path) -> Result<(), PopError> {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = file.as_os_str().to_owned();
            path.push(suffix);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(PopError::Folder { path: path.into(), source: error });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sees to it that the copy is one of that fabric: where it is of another, or holds changes that this one has not (it
    /// was brought back from an earlier copy), the records are dropped, and have to be taken in again. Gives whether they
    /// were.
    pub fn keep_to(&self, fabric: &Identity) -> Result<bool, PopError> {
        let mut connection = self.connection.lock();
        keep_to(&mut connection, fabric).map_err(failed("cannot be held against the fabric"))
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

    /// Every record whose key begins so, in the order of the keys. What changes meanwhile may be among them or not.
    pub fn each(&self, prefix: &str, mut act: impl FnMut(&str, &[u8])) -> Result<(), PopError> {
        let mut after = prefix.to_owned();
        loop {
            let page = self.page(&after).map_err(failed("cannot be read"))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after.clone_from(last);
            for (key, value) in &page {
                if !key.starts_with(prefix) {
                    return Ok(());
                }
                act(key, value);
            }
        }
    }

    /// The records that follow a key.
    fn page(&self, after: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
        let connection = self.connection.lock();
        let mut query =
            connection.prepare_cached("SELECT key, value FROM rows WHERE key > ?1 ORDER BY key LIMIT ?2")?;
        let rows = query.query_map((after, PAGE_ROWS_MAX), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    // === the minutes of cron triggers ===

    /// What is known of the minutes before one.
    pub fn past(&self, minute: i64) -> Result<Past, PopError> {
        let connection = self.connection.lock();
        let read = |text: &str, parameter: i64| {
            connection.prepare_cached(text)?.query_row([parameter], |row| row.get::<_, Option<i64>>(0))
        };
        let last = read("SELECT max(minute) FROM minutes WHERE minute <= ?1", minute);
        let next = read("SELECT min(minute) FROM minutes WHERE minute > ?1", minute);
        Ok(match (last.map_err(failed("cannot be read"))?, next.map_err(failed("cannot be read"))?) {
            (Some(last), _) if last == minute => Past::Dealt,
            (Some(last), _) => Past::Since(last),
            (None, Some(_)) => Past::Since(minute - 1),
            (None, None) => Past::Unknown,
        })
    }

    /// Notes that a minute is dealt with, and which triggers have yet to begin for it. It is on the disk then: were it
    /// lost with the power, they would run a second time.
    pub fn deal(&self, minute: i64, due: &[Waiting]) -> Result<(), PopError> {
        let mut connection = self.connection.lock();
        let flushed = connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed("cannot be written"));
        let dealt = flushed.and_then(|()| Self::note_dealt(&mut connection, minute, due));
        let restored = connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed("cannot be written"));
        dealt.and(restored)
    }

    fn note_dealt(connection: &mut Connection, minute: i64, due: &[Waiting]) -> Result<(), PopError> {
        let failed = || failed("cannot be written");
        let transaction = connection.transaction().map_err(failed())?;
        transaction.execute("INSERT INTO minutes (minute) VALUES (?1)", [minute]).map_err(failed())?;
        // The oldest by when they were dealt with, not by their time: a clock may jump.
        transaction
            .execute("DELETE FROM minutes WHERE seq <= (SELECT max(seq) FROM minutes) - ?1", [MINUTES_MAX])
            .map_err(failed())?;
        {
            let mut put = transaction
                .prepare_cached("INSERT OR IGNORE INTO waiting (minute, worker, cron) VALUES (?1, ?2, ?3)")
                .map_err(failed())?;
            for (worker, cron) in due {
                put.execute((minute, worker, cron)).map_err(failed())?;
            }
        }
        transaction.commit().map_err(failed())
    }

    /// Notes that a trigger begins, or is given up.
    pub fn begun(&self, minute: i64, (worker, cron): &Waiting) -> Result<(), PopError> {
        let connection = self.connection.lock();
        let mut remove = connection
            .prepare_cached("DELETE FROM waiting WHERE minute = ?1 AND worker = ?2 AND cron = ?3")
            .map_err(failed("cannot be written"))?;
        remove.execute((minute, worker, cron)).map(drop).map_err(failed("cannot be written"))
    }

    /// The triggers that a process which is gone had yet to begin, with their minutes. They are forgotten.
    pub fn take_waiting(&self) -> Result<Vec<(i64, Waiting)>, PopError> {
        let connection = self.connection.lock();
        let mut take = connection
            .prepare_cached("DELETE FROM waiting RETURNING minute, worker, cron")
            .map_err(failed("cannot be written"))?;
        let taken = take
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
            .and_then(|rows| rows.collect::<Result<_, _>>());
        taken.map_err(failed("cannot be written"))
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

    #[test]
    fn a_copy_of_another_fabric_or_of_a_later_one_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(&folder.path().join("edge.db")).unwrap();
        let fabric = |id: &str, last| Identity { id: id.into(), last: Revision(last) };
        let fill = || rows.apply(&[entry("a/1", Some("x"), 5)]).unwrap();
        fill();
        // A copy from before fabrics had an identity.
        assert!(!rows.keep_to(&fabric("one", 5)).unwrap());
        assert!(!rows.keep_to(&fabric("one", 9)).unwrap());
        assert_eq!(rows.revision().unwrap(), Revision(5));
        // Brought back from an earlier copy.
        assert!(rows.keep_to(&fabric("one", 4)).unwrap());
        assert_eq!((rows.revision().unwrap(), rows.get("a/1").unwrap()), (Revision(0), None));
        fill();
        assert!(rows.keep_to(&fabric("two", 9)).unwrap());
        assert_eq!(rows.get("a/1").unwrap(), None);
        fill();
        assert!(!rows.keep_to(&fabric("two", 9)).unwrap());
    }

    #[test]
    fn damage_is_told_from_other_failures_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.db");
        std::fs::write(&file, "this is no database, however long it is".repeat(100)).unwrap();
        let refused = Rows::open(&file).err().unwrap();
        assert!(matches!(&refused, PopError::Damaged { path, .. } if *path == file), "{refused}");
        Rows::remove(&file).unwrap();
        let rows = Rows::open(&file).unwrap();
        let many: Vec<Entry> = (1..400).map(|at| entry(&format!("a/{at}"), Some("content"), at)).collect();
        rows.apply(&many).unwrap();
        drop(rows);
        let mut bytes = std::fs::read(&file).unwrap();
        // The pages behind the first, which says what is where.
        bytes[4096..].fill(0x5a);
        std::fs::write(&file, bytes).unwrap();
        assert!(matches!(Rows::open(&file).err().unwrap(), PopError::Damaged { .. }));
        let nowhere = Rows::open(&folder.path().join("not/there/edge.db")).err().unwrap();
        assert!(matches!(nowhere, PopError::OpenRows { .. }), "{nowhere}");
    }

    #[test]
    fn what_can_be_fetched_again_is_not_flushed_for_the_minutes_sake() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(&folder.path().join("edge.db")).unwrap();
        rows.deal(1, &[]).unwrap();
        // It is dealt with already.
        rows.deal(1, &[]).unwrap_err();
        let connection = rows.connection.lock();
        let synchronous = connection.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(synchronous, 1, "NORMAL");
    }

    #[test]
    fn more_records_than_a_page_are_all_seen() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(&folder.path().join("edge.db")).unwrap();
        let count = 2 * PAGE_ROWS_MAX as u64 + 3;
        let entries: Vec<Entry> = (0..count).map(|at| entry(&format!("a/{at:04}"), Some("x"), at + 1)).collect();
        rows.apply(&entries).unwrap();
        rows.apply(&[entry("b/1", Some("y"), count + 1)]).unwrap();
        let mut seen = Vec::new();
        // Others may read meanwhile.
        rows.each("a/", |key, _| seen.extend(rows.get(key).unwrap().map(|_| key.to_owned()))).unwrap();
        assert_eq!(seen, entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>());
    }

    #[test]
    fn a_minute_is_dealt_with_once_wherever_the_clock_jumps() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.db");
        let rows = Rows::open(&file).unwrap();
        assert_eq!(rows.past(100).unwrap(), Past::Unknown);
        rows.deal(100, &[]).unwrap();
        assert_eq!(rows.past(100).unwrap(), Past::Dealt);
        assert_eq!(rows.past(103).unwrap(), Past::Since(100));
        // A year ahead, and back.
        rows.deal(525_700, &[]).unwrap();
        drop(rows);
        let rows = Rows::open(&file).unwrap();
        assert_eq!(rows.past(100).unwrap(), Past::Dealt);
        assert_eq!(rows.past(101).unwrap(), Past::Since(100));
        rows.deal(101, &[]).unwrap();
        assert_eq!(rows.past(525_700).unwrap(), Past::Dealt);
        // Before all of them.
        assert_eq!(rows.past(50).unwrap(), Past::Since(49));
    }

    #[test]
    fn the_minutes_that_are_known_are_those_dealt_with_last() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Rows::open(&folder.path().join("edge.db")).unwrap();
        {
            let connection = rows.connection.lock();
            let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                        INSERT INTO minutes (minute) SELECT 1000000 + n FROM n";
            connection.execute(many, [MINUTES_MAX]).unwrap();
        }
        rows.deal(7, &[]).unwrap();
        assert_eq!(rows.past(7).unwrap(), Past::Dealt);
        assert_eq!(rows.past(1_000_002).unwrap(), Past::Dealt);
        assert_eq!(rows.past(1_000_001).unwrap(), Past::Since(7));
    }

    #[test]
    fn what_did_not_begin_before_the_process_ended_is_known_after() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.db");
        let rows = Rows::open(&file).unwrap();
        let due = |cron: &str| ("worker/a/w".to_owned(), cron.to_owned());
        rows.deal(5, &[due("* * * * *"), due("*/5 * * * *")]).unwrap();
        rows.begun(5, &due("* * * * *")).unwrap();
        drop(rows);
        let rows = Rows::open(&file).unwrap();
        assert_eq!(rows.take_waiting().unwrap(), [(5, due("*/5 * * * *"))]);
        assert!(rows.take_waiting().unwrap().is_empty());
    }
}
