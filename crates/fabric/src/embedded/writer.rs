//! One thread that writes. What waits for it shares a transaction, and with it one flush of the disk.
//!
//! Each command has a savepoint: one that fails takes nothing of the others with it. If the transaction itself fails (the
//! disk is full, say), it is undone as a whole, and each of its commands is tried alone: those that still fail are told
//! why. Nothing is acknowledged before its transaction is on the disk.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::folder;
use super::readers::Gate;
use crate::error::FabricError;

/// Commands that wait at most; more wait where they come from.
const COMMANDS_WAITING_MAX: usize = 1024;
/// What the commands that wait, or are under way, may hold together, in bytes.
const BYTES_WAITING_MAX: u32 = 64 * 1024 * 1024;
/// Commands in one transaction.
const GROUP_COMMANDS_MAX: usize = 256;

/// How long the write-ahead log gets before the writer has it emptied, in bytes. SQLite does that by itself only at a moment
/// when nobody reads, which under load may never come; nor does it when it is told to wait for one (readers that succeed one
/// another in the same place of its index starve it). So the writer makes such a moment.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) struct Writer {
    /// None only while it is dropped.
    queue: Option<mpsc::Sender<Queued>>,
    room: Arc<Semaphore>,
    thread: Option<thread::JoinHandle<()>>,
    /// The write-ahead log is to be emptied before the next command, whatever its length.
    is_to_empty: Arc<AtomicBool>,
}

struct WriteAheadLog {
    path: Option<PathBuf>,
    /// Where it is emptied next, in bytes.
    bytes_max: u64,
}

struct Queued {
    work: Box<dyn Work>,
    /// Given back once the command is over.
    _room: OwnedSemaphorePermit,
}

/// A command, whatever it answers with.
trait Work: Send {
    /// Does it within the transaction. Whether it succeeded.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Tells whoever asked what became of it; `failure` says why the transaction it was in failed.
    fn answer(self: Box<Self>, failure: Option<FabricError>);
}

struct Command<T, W, C> {
    work: W,
    committed: C,
    outcome: Result<T, FabricError>,
    reply: oneshot::Sender<Result<T, FabricError>>,
}

// === impl Writer ===

impl Writer {
    /// Starts the thread. It holds the folder's lock until it has closed the database.
    pub(super) fn start(connection: Connection, gate: Arc<Gate>, lock: Arc<folder::Lock>) -> Result<Self, FabricError> {
        let (queue, waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let is_to_empty = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_to_empty);
        let thread = thread::Builder::new().name("fabric-writer".to_owned()).spawn(move || {
            write(&connection, &gate, waiting, &asked);
            drop(connection);
            drop(lock);
        });
        let thread = thread.map_err(FabricError::store("could not start its thread"))?;
        let room = Arc::new(Semaphore::new(BYTES_WAITING_MAX as usize));
        Ok(Self { queue: Some(queue), room, thread: Some(thread), is_to_empty })
    }

    /// Empties the write-ahead log into the database: all that was committed is in one file then.
    pub(super) async fn empty_log(&self) -> Result<(), FabricError> {
        self.is_to_empty.store(true, Ordering::Release);
        self.submit(0, |_| Ok(()), |()| ()).await
    }

    /// Does `work` in a transaction; once that is on the disk, and the work succeeded, calls `committed` (even if the
    /// caller is gone) and answers. `work` may be called twice, the first time undone.
    pub(super) async fn submit<T, W, C>(&self, bytes: usize, work: W, committed: C) -> Result<T, FabricError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, FabricError> + Send + 'static,
        C: FnOnce(&T) + Send + 'static,
    {
        let permits = u32::try_from(bytes).unwrap_or(BYTES_WAITING_MAX).min(BYTES_WAITING_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| FabricError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let command = Command { work, committed, outcome: Err(FabricError::Closed), reply };
        let queue = self.queue.as_ref().ok_or(FabricError::Closed)?;
        let queued = Queued { work: Box::new(command), _room: room };
        queue.send(queued).await.map_err(|_| FabricError::Closed)?;
        answer.await.map_err(|_| FabricError::Closed)?
    }
}

impl Drop for Writer {
    /// Waits for the thread, which first does what is queued: when the fabric is gone, its folder can be opened again.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the fabric's writing thread had panicked");
        }
    }
}

fn write(connection: &Connection, gate: &Gate, mut waiting: mpsc::Receiver<Queued>, is_to_empty: &AtomicBool) {
    let mut log = WriteAheadLog::of(connection);
    let mut group = Vec::with_capacity(GROUP_COMMANDS_MAX);
    while let Some(first) = waiting.blocking_recv() {
        group.push(first);
        while group.len() < GROUP_COMMANDS_MAX
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        if is_to_empty.swap(false, Ordering::AcqRel) {
            log.empty(connection, gate);
        }
        finish(connection, &mut group);
        log.keep_short(connection, gate);
    }
}

fn finish(connection: &Connection, group: &mut Vec<Queued>) {
    let failure = transact(connection, group).err();
    if failure.is_none() || group.len() == 1 {
        let mut failure = failure;
        group.drain(..).for_each(|queued| queued.work.answer(failure.take()));
        return;
    }
    for mut queued in group.drain(..) {
        let failure = transact(connection, std::slice::from_mut(&mut queued)).err();
        queued.work.answer(failure);
    }
}

/// Runs a group in one transaction. On an error nothing of it was done.
fn transact(connection: &Connection, group: &mut [Queued]) -> Result<(), FabricError> {
    let done = run(connection, group);
    if done.is_err() && !connection.is_autocommit() {
        execute(connection, "ROLLBACK").map_err(FabricError::store("could not undo a transaction"))?;
    }
    done.map_err(FabricError::store("could not commit a transaction"))
}

fn run(connection: &Connection, group: &mut [Queued]) -> rusqlite::Result<()> {
    execute(connection, "BEGIN IMMEDIATE")?;
    for queued in group {
        execute(connection, "SAVEPOINT command")?;
        if !queued.work.run(connection) {
            // Where SQLite has undone the whole transaction already, this fails, and so does the group.
            execute(connection, "ROLLBACK TO command")?;
        }
        execute(connection, "RELEASE command")?;
    }
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute(()).map(|_| ())
}

// === impl WriteAheadLog ===

impl WriteAheadLog {
    fn of(connection: &Connection) -> Self {
        let path = connection.path().map(|database| PathBuf::from(format!("{database}-wal")));
        Self { path, bytes_max: WAL_BYTES_MAX }
    }

    /// How long it is; none where that is not known.
    fn bytes(&self) -> u64 {
        self.path.as_ref().and_then(|path| fs::metadata(path).ok()).map_or(0, |file| file.len())
    }

    fn keep_short(&mut self, connection: &Connection, gate: &Gate) {
        let bytes = self.bytes();
        if bytes > self.bytes_max {
            self.empty(connection, gate);
        }
    }

    fn empty(&mut self, connection: &Connection, gate: &Gate) {
        let closed = gate.close();
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, bool>(0));
        drop(closed);
        match emptied {
            Ok(false) => self.bytes_max = WAL_BYTES_MAX,
            // Not by anything of this process.
            Ok(true) => self.put_off("another program reads the database"),
            Err(error) => self.put_off(&error.to_string()),
        }
    }

    /// It grows on, and is tried again when it has grown as much again.
    fn put_off(&mut self, reason: &str) {
        let bytes = self.bytes();
        tracing::warn!(bytes, reason, "the fabric's write-ahead log could not be emptied");
        self.bytes_max = bytes.saturating_add(WAL_BYTES_MAX);
    }
}

// === impl Command ===

impl<T, W, C> Work for Command<T, W, C>
where
    T: Send,
    W: FnMut(&Connection) -> Result<T, FabricError> + Send,
    C: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = (self.work)(connection);
        self.outcome.is_ok()
    }

    fn answer(self: Box<Self>, failure: Option<FabricError>) {
        // The command's own error says more than the transaction's.
        let outcome = self.outcome.and_then(|value| failure.map_or(Ok(value), Err));
        if let Ok(value) = &outcome {
            (self.committed)(value);
        }
        if self.reply.send(outcome).is_err() {
            tracing::debug!("a command of the fabric was carried out after its caller had gone");
        }
    }
}
