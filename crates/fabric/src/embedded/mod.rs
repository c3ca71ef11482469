//! The fabric of one machine: SQLite for logs, keys and leases, files for blobs, one process.
//!
//! - `DIR/lock` is locked for as long as the fabric is open: a second process is refused.
//! - `DIR/fabric.db` has one writing thread ([`writer`]): commands that wait share one transaction and one flush of the
//!   disk. Reads have connections of their own ([`readers`]).
//! - `DIR/blobs/ab/<hash>` are the blobs ([`blobs`]).
//!
//! A command whose future is dropped may still be carried out; it was then acknowledged to nobody.

mod blobs;
mod folder;
mod keys;
mod leases;
mod logs;
mod readers;
mod schema;
mod waking;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use selvedge_model::BlobHash;

use crate::error::FabricError;
use crate::fabric::{
    Change, Entry, Fabric, Identity, Lease, NAME_BYTES_MAX, Position, RECORD_BYTES_MAX, Record, Revision,
    VALUE_BYTES_MAX, Wake,
};

use blobs::Blobs;
use leases::LeaseClock;
use readers::Readers;
use waking::Wakes;
use writer::Writer;

/// The most that the records of one append, or the changes of one set, may hold together, in bytes.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a record or a change weighs besides its bytes: it bounds how many there are in a command.
const ITEM_OVERHEAD_BYTES: usize = 64;

/// The most that one read answers with, in bytes, unless a single record or value is larger.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The embedded fabric, open. It closes, and lets go of its folder, when the last reference to it is dropped.
pub struct Embedded {
    writer: Writer,
    readers: Readers,
    blobs: Arc<Blobs>,
    wakes: Arc<Wakes>,
    clock: LeaseClock,
}

// === impl Embedded ===

impl Embedded {
    /// Opens the fabric in `dir`, or makes one there. Blocks while it reads and writes files.
    ///
    /// # Errors
    /// [`FabricError::InUse`] if it is open already, here or in another process; [`FabricError::Store`] if it cannot be
    /// read or written.
    pub fn open(dir: &Path) -> Result<Arc<Self>, FabricError> {
        folder::prepare(dir)?;
        let lock = Arc::new(folder::Lock::take(dir)?);
        let database = dir.join("fabric.db");
        let connection = schema::open_for_writing(&database)?;
        let blobs = Arc::new(Blobs::open(dir.join("blobs"), Arc::clone(&lock))?);
        // The database's name, and that of the blobs' folder.
        folder::sync(dir).map_err(FabricError::store("could not flush its folder"))?;
        let clock = LeaseClock::resume(&connection)?;
        let gate = Arc::new(readers::Gate::default());
        Ok(Arc::new(Self {
            writer: Writer::start(connection, Arc::clone(&gate), lock)?,
            readers: Readers::new(database, gate),
            blobs,
            wakes: Arc::new(Wakes::default()),
            clock,
        }))
    }

    /// Brings all that was committed into one file, `fabric.db`, for who ends: what follows it, follows in another file
    /// again.
    ///
    /// # Errors
    /// [`FabricError::Closed`] if it cannot be asked any more. A log that cannot be emptied stays, and is as good.
    pub async fn settle(&self) -> Result<(), FabricError> {
        self.writer.empty_log().await
    }

    async fn append_records(
        &self,
        log: &str,
        expected: Position,
        records: Vec<Bytes>,
    ) -> Result<Position, FabricError> {
        check_name("the name of a log", log)?;
        for record in &records {
            check_bytes("a record", record.len(), RECORD_BYTES_MAX)?;
        }
        let bytes = weigh(records.iter().map(Bytes::len));
        check_bytes("the records of one append", bytes, COMMAND_BYTES_MAX)?;

        let (log, wakes) = (log.to_owned(), Arc::clone(&self.wakes));
        let woken = log.clone();
        let work = move |connection: &rusqlite::Connection| logs::append(connection, &log, expected, &records);
        self.writer.submit(bytes, work, move |_| wakes.log_grew(&woken)).await
    }

    async fn change_keys(&self, changes: Vec<Change>) -> Result<Revision, FabricError> {
        for change in &changes {
            check_name("a key", &change.key)?;
            check_bytes("a value", change.value.as_ref().map_or(0, Bytes::len), VALUE_BYTES_MAX)?;
        }
        let weights = changes.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Bytes::len));
        let bytes = weigh(weights);
        check_bytes("the changes of one set", bytes, COMMAND_BYTES_MAX)?;

        let (changes, wakes) = (Arc::new(changes), Arc::clone(&self.wakes));
        let woken = Arc::clone(&changes);
        let work = move |connection: &rusqlite::Connection| keys::set(connection, &changes);
        self.writer.submit(bytes, work, move |_| wakes.keys_changed(&woken)).await
    }

    async fn acquire_lease(&self, name: &str, holder: &str, time: Duration) -> Result<Option<Lease>, FabricError> {
        check_name("the name of a lease", name)?;
        check_name("the holder of a lease", holder)?;
        let (name, holder, clock) = (name.to_owned(), holder.to_owned(), self.clock);
        let work =
            move |connection: &rusqlite::Connection| leases::acquire(connection, &name, &holder, time, clock.now_ms());
        self.writer.submit(NAME_BYTES_MAX, work, |_| ()).await
    }
}

impl Fabric for Embedded {
    fn identity(&self) -> BoxFuture<'_, Result<Identity, FabricError>> {
        Box::pin(self.readers.read(|connection| {
            let read = |counter| schema::counter(connection, counter);
            let identity = read("identity").and_then(|id| Ok((id, read("revision")?)));
            let (id, last) = identity.map_err(FabricError::store("could not say which it is"))?;
            Ok(Identity { id: format!("{id:016x}"), last: Revision(schema::from_sql(last)) })
        }))
    }

    fn append<'a>(
        &'a self,
        log: &'a str,
        expected: Position,
        records: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<Position, FabricError>> {
        Box::pin(self.append_records(log, expected, records))
    }

    fn read<'a>(
        &'a self,
        log: &'a str,
        after: Position,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, FabricError>> {
        let log = log.to_owned();
        Box::pin(self.readers.read(move |connection| logs::read(connection, &log, after, max)))
    }

    fn end<'a>(&'a self, log: &'a str) -> BoxFuture<'a, Result<Position, FabricError>> {
        let log = log.to_owned();
        Box::pin(self.readers.read(move |connection| logs::end(connection, &log)))
    }

    fn follow(&self, log: &str) -> Box<dyn Wake> {
        self.wakes.follow(log)
    }

    fn set<'a>(&'a self, changes: Vec<Change>) -> BoxFuture<'a, Result<Revision, FabricError>> {
        Box::pin(self.change_keys(changes))
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, FabricError>> {
        let key = key.to_owned();
        Box::pin(self.readers.read(move |connection| keys::get(connection, &key)))
    }

    fn changes<'a>(
        &'a self,
        prefix: &'a str,
        after: Revision,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, FabricError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.readers.read(move |connection| keys::changes(connection, &prefix, after, max)))
    }

    fn watch(&self, prefix: &str) -> Box<dyn Wake> {
        self.wakes.watch(prefix)
    }

    fn acquire<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        time: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, FabricError>> {
        Box::pin(self.acquire_lease(lease, holder, time))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, time: Duration) -> BoxFuture<'a, Result<bool, FabricError>> {
        let (lease, clock) = (lease.clone(), self.clock);
        let work = move |connection: &rusqlite::Connection| leases::renew(connection, &lease, time, clock.now_ms());
        Box::pin(self.writer.submit(NAME_BYTES_MAX, work, |_| ()))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FabricError>> {
        let lease = lease.clone();
        let work = move |connection: &rusqlite::Connection| leases::release(connection, &lease);
        Box::pin(self.writer.submit(NAME_BYTES_MAX, work, |()| ()))
    }

    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<BlobHash, FabricError>> {
        Box::pin(blobs::off_thread(&self.blobs, move |blobs| blobs.put(&bytes)))
    }

    fn get_blob<'a>(&'a self, hash: &'a BlobHash) -> BoxFuture<'a, Result<Option<Bytes>, FabricError>> {
        let hash = hash.clone();
        Box::pin(blobs::off_thread(&self.blobs, move |blobs| blobs.get(&hash)))
    }

    fn missing_blobs<'a>(&'a self, hashes: &'a [BlobHash]) -> BoxFuture<'a, Result<Vec<BlobHash>, FabricError>> {
        let hashes = hashes.to_vec();
        Box::pin(blobs::off_thread(&self.blobs, move |blobs| blobs.missing(hashes)))
    }

    fn remove_blob<'a>(&'a self, hash: &'a BlobHash) -> BoxFuture<'a, Result<(), FabricError>> {
        let hash = hash.clone();
        Box::pin(blobs::off_thread(&self.blobs, move |blobs| blobs.remove(&hash)))
    }

    fn blob_file(&self, hash: &BlobHash) -> Option<PathBuf> {
        Some(self.blobs.path(hash)).filter(|path| path.is_file())
    }
}

fn weigh(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.fold(0, |sum, bytes| sum.saturating_add(bytes).saturating_add(ITEM_OVERHEAD_BYTES))
}

fn check_name(what: &'static str, name: &str) -> Result<(), FabricError> {
    if name.is_empty() {
        return Err(FabricError::Empty { what });
    }
    check_bytes(what, name.len(), NAME_BYTES_MAX)
}

fn check_bytes(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), FabricError> {
    if bytes > bytes_max {
        return Err(FabricError::TooLarge { what, bytes: bytes as u64, bytes_max: bytes_max as u64 });
    }
    Ok(())
}
