//! The view: what the log's events come to, in SQLite. It can be deleted; it is made again from the log.

mod apply;
mod asset;
mod audit;
mod blob;
mod outbox;
mod schema;
mod site;
mod tenant;
mod worker;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ControlError;

pub(crate) use apply::apply;
pub(crate) use asset::{KnownAsset, Session};
pub(crate) use worker::WorkerRow;

/// Connections that questions are answered on at once, beside the one for short questions.
const READERS: usize = 4;
/// What the view says is nobody else's to read.
const FOLDER_MODE: u32 = 0o700;
/// How long the write-ahead log may be before it is emptied, in bytes.
const WAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Up to which size a view that was closed as it should be is looked through for damage all the same, in bytes: it takes a
/// small part of a second.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What SQLite says of a file that has no damage.
const SOUND: &str = "ok";

/// The view's database.
pub(crate) struct Store {
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    /// For short questions alone, which many requests begin with: they wait for no long one.
    short: Mutex<Connection>,
    turn: AtomicUsize,
    /// The write-ahead log.
    log: PathBuf,
}

/// What can be asked of the view, on one connection.
pub(crate) struct View<'c>(pub &'c Connection);

impl Store {
    /// Opens the view in a folder. One that is damaged, or of another form, is begun anew.
    pub fn open(folder: &Path) -> Result<Self, ControlError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|source| ControlError::File { what: folder.display().to_string(), action: "made", source })?;
        let path = folder.join("control.db");
        let writer = match open_writer(&path) {
            Ok(Some(connection)) => connection,
            Ok(None) => Self::begin_anew(&path)?,
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, path = %path.display(), "the control plane's view is damaged: made anew from the log");
                Self::begin_anew(&path)?
            }
            Err(error) => return Err(error.into()),
        };
        let readers = (0..READERS).map(|_| open_reader(&path).map(Mutex::new)).collect::<Result<_, _>>()?;
        let short = Mutex::new(open_reader(&path)?);
        Ok(Self { writer: Mutex::new(writer), readers, short, turn: AtomicUsize::new(0), log: log_of(&path) })
    }

    fn begin_anew(path: &Path) -> Result<Connection, ControlError> {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            let file = PathBuf::from(file);
            match std::fs::remove_file(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    let what = file.display().to_string();
                    return Err(ControlError::File { what, action: "removed", source });
                }
            }
        }
        open_writer(path)?.ok_or_else(|| ControlError::View {
            action: "begin anew",
            source: "its form is not the one just written".into(),
        })
    }

    /// Forgets all that came from the log.
    pub fn clear(&self) -> Result<(), ControlError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(schema::CLEAR)?;
        transaction.commit()?;
        Ok(())
    }

    /// Asks the view, off the threads that requests are served on.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&View<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let store = Arc::clone(self);
        blocking(move || {
            let turn = store.turn.fetch_add(1, Ordering::Relaxed) % READERS;
            let (after, before) = (store.readers.iter().skip(turn), store.readers.iter().take(turn));
            // One that is idle, so that nobody waits for another's long question; else the one whose turn it is.
            let idle = after.chain(before).find_map(Mutex::try_lock);
            let turns = || store.readers.get(turn).map(Mutex::lock);
            let Some(mut reader) = idle.or_else(turns) else { return ask(&View(&store.writer.lock())) };
            // All that is asked is of one moment.
            let transaction = reader.transaction()?;
            ask(&View(&transaction))
        })
        .await
    }

    /// The same for a question that is answered at once, whatever else is asked: by a key.
    pub async fn read_short<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&View<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let store = Arc::clone(self);
        blocking(move || {
            let mut reader = store.short.lock();
            let transaction = reader.transaction()?;
            ask(&View(&transaction))
        })
        .await
    }

    /// Empties the write-ahead log where it has become long. SQLite does that by itself only at a moment when nobody
    /// reads, which under load may never come: this makes one.
    pub async fn shorten_log(self: &Arc<Self>) -> Result<(), ControlError> {
        let store = Arc::clone(self);
        blocking(move || {
            if std::fs::metadata(&store.log).map_or(0, |log| log.len()) <= WAL_BYTES_MAX {
                return Ok(());
            }
            let writer = store.writer.lock();
            let _nobody_reads: Vec<_> = store.readers.iter().chain([&store.short]).map(Mutex::lock).collect();
            let blocked: bool = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if blocked {
                tracing::warn!("another program reads the control plane's view: its write-ahead log grows on");
            }
            Ok(())
        })
        .await
    }

    /// Changes the view, all or nothing.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&View<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let store = Arc::clone(self);
        blocking(move || {
            let mut writer = store.writer.lock();
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = change(&View(&transaction))?;
            transaction.commit()?;
            Ok(answer)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ControlError::View { action: "answer", source: error.into() })?
}

/// Whether nothing can be read of the file any more. A full disk, or another program that holds the file, is none.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}

/// None if what is there is of another form, or damaged where that does not show at once.
fn open_writer(path: &Path) -> rusqlite::Result<Option<Connection>> {
    // Who closes a database removes its log: one that is there was left by a process or a machine that ended otherwise.
    let is_left = log_of(path).exists();
    let connection = Connection::open(path)?;
    // What the view loses with the machine's power, the log still has: the log alone is written through.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000;")?;
    connection.set_prepared_statement_cache_capacity(128);
    let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if form == 0 {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables != 0 {
            return Ok(None);
        }
        connection.execute_batch(schema::TABLES)?;
        connection.pragma_update(None, "user_version", schema::FORM)?;
    } else if form != schema::FORM {
        return Ok(None);
    } else if is_left || std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX) {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != SOUND {
            tracing::warn!(found, path = %path.display(), "the control plane's view is damaged: made anew from the log");
            return Ok(None);
        }
    }
    Ok(Some(connection))
}

fn open_reader(path: &Path) -> Result<Connection, ControlError> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 10000;")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

impl View<'_> {
    /// How far in the log the view is, with the hash of the record there.
    pub fn position(&self) -> Result<(u64, Option<String>), ControlError> {
        let found = self
            .0
            .prepare_cached("SELECT position, hash FROM progress")?
            .query_row([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
            .optional()?;
        Ok(found.unwrap_or((0, None)))
    }

    pub fn set_position(&self, position: u64, hash: &str) -> Result<(), ControlError> {
        self.0
            .prepare_cached("INSERT OR REPLACE INTO progress (one, position, hash) VALUES (1, ?1, ?2)")?
            .execute((position as i64, hash))?;
        Ok(())
    }
}

impl From<rusqlite::Error> for ControlError {
    fn from(error: rusqlite::Error) -> Self {
        Self::View { action: "read or write", source: error.into() }
    }
}

/// The text that the view keeps something as.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String, ControlError> {
    serde_json::to_string(value).map_err(|error| ControlError::View { action: "write", source: error.into() })
}

/// Something that the view keeps as text.
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, ControlError> {
    serde_json::from_str(text).map_err(|error| ControlError::View { action: "read", source: error.into() })
}

/// An id as the view keeps it: checked when it was written.
pub(crate) fn parse<T: std::str::FromStr>(text: &str) -> Result<T, ControlError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error: T::Err| ControlError::View { action: "read", source: error.into() })
}
