//! The contract.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use selvedge_model::BlobHash;

use crate::error::FabricError;

/// The most that one record of a log may hold, in bytes: 4 MiB.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most that one value may hold, in bytes: 4 MiB.
pub const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest key or name of a log or lease, in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// The largest blob, in bytes: 100 MiB.
pub const BLOB_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// How many records a log has: where the next one goes. An empty log is at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// The number of a change to keys: each is greater than those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// Fences off whoever held a lease before: each holder's is greater than those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// One record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The log's position once this record is in it: the first record's is 1.
    pub position: Position,
    pub bytes: Bytes,
}

/// A key as it is now, or a key that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// None once it was removed.
    pub value: Option<Bytes>,
    /// The change that made it so.
    pub revision: Revision,
}

/// What a key becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    /// None removes it.
    pub value: Option<Bytes>,
}

/// A lease, held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    pub epoch: Epoch,
}

/// Which fabric it is, and how far it has come: who kept a copy knows by it whether that is of this fabric still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, made with the fabric. A fabric that is made anew has another.
    pub id: String,
    /// The last change to keys. A fabric that was brought back from an earlier copy has the same id and an earlier one.
    pub last: Revision,
}

/// Says when something may have changed: at once where it did since it was made or last asked.
pub trait Wake: Send {
    /// Resolves when there may be more to read. Ends with an error once the fabric is gone.
    fn wake(&mut self) -> BoxFuture<'_, Result<(), FabricError>>;
}

/// The log, leases, blobs and watched keys under everything. What it acknowledged is on disk.
pub trait Fabric: Send + Sync {
    /// Which fabric this is, now.
    fn identity(&self) -> BoxFuture<'_, Result<Identity, FabricError>>;

    // === logs ===

    /// Appends records, all or none, if the log ends at `expected`. Gives where it ends then.
    ///
    /// # Errors
    /// [`FabricError::Conflict`] with where it does end, if that is elsewhere.
    fn append<'a>(
        &'a self,
        log: &'a str,
        expected: Position,
        records: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<Position, FabricError>>;

    /// The records after `after`, at most `max` of them; fewer if they are large, though more follow. None: that is all.
    fn read<'a>(&'a self, log: &'a str, after: Position, max: usize)
    -> BoxFuture<'a, Result<Vec<Record>, FabricError>>;

    /// Where the log ends.
    fn end<'a>(&'a self, log: &'a str) -> BoxFuture<'a, Result<Position, FabricError>>;

    /// Wakes when the log grows.
    fn follow(&self, log: &str) -> Box<dyn Wake>;

    // === keys ===

    /// Changes keys, all or none. Gives the revision of the last.
    fn set<'a>(&'a self, changes: Vec<Change>) -> BoxFuture<'a, Result<Revision, FabricError>>;

    /// A key as it is now.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, FabricError>>;

    /// The keys with that prefix that changed after `after`, each as it is now, in the order of their revisions, at most
    /// `max` of them; fewer if they are large, though more follow. None: that is all. Removed keys are among them, unless
    /// `after` is 0.
    fn changes<'a>(
        &'a self,
        prefix: &'a str,
        after: Revision,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, FabricError>>;

    /// Wakes when a key with that prefix changes.
    fn watch(&self, prefix: &str) -> Box<dyn Wake>;

    // === leases ===

    /// Takes a lease for `time`, if nobody else holds it. The holder that has it gets it again, with the same epoch.
    fn acquire<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        time: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, FabricError>>;

    /// Keeps a lease for `time` from now. False: it is another's, or was lost.
    fn renew<'a>(&'a self, lease: &'a Lease, time: Duration) -> BoxFuture<'a, Result<bool, FabricError>>;

    /// Gives a lease back. Nothing happens if it is another's by now.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FabricError>>;

    // === blobs ===

    /// Keeps a blob. The same bytes are kept once.
    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<BlobHash, FabricError>>;

    /// A blob, checked against its hash; none if it is not there.
    fn get_blob<'a>(&'a self, hash: &'a BlobHash) -> BoxFuture<'a, Result<Option<Bytes>, FabricError>>;

    /// Which of the blobs are not there.
    fn missing_blobs<'a>(&'a self, hashes: &'a [BlobHash]) -> BoxFuture<'a, Result<Vec<BlobHash>, FabricError>>;

    /// Removes a blob, if it is there.
    fn remove_blob<'a>(&'a self, hash: &'a BlobHash) -> BoxFuture<'a, Result<(), FabricError>>;

    /// A file that holds the blob, where this fabric has one on this machine. It is not to be written to.
    fn blob_file(&self, hash: &BlobHash) -> Option<std::path::PathBuf>;
}
