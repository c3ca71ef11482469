//! A fabric that fails when a test says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use selvedge_fabric::{
    Change, Embedded, Entry, Fabric, FabricError, Identity, Lease, Position, Record, Revision, Wake,
};
use selvedge_model::BlobHash;

/// A fabric whose keys cannot be changed while a test refuses it, and whose logs are not read to their end while a test
/// says so.
pub struct Faulty {
    inner: Arc<Embedded>,
    refuses_keys: AtomicBool,
    /// Up to which position records are read.
    reads_end: AtomicU64,
}

impl Faulty {
    pub fn over(inner: Arc<Embedded>) -> Self {
        Self { inner, refuses_keys: AtomicBool::new(false), reads_end: AtomicU64::new(u64::MAX) }
    }

    pub fn refuse_keys(&self, refuse: bool) {
        self.refuses_keys.store(refuse, Ordering::Relaxed);
    }

    /// Has reads end at a position, as if nothing followed.
    pub fn end_reads_at(&self, position: u64) {
        self.reads_end.store(position, Ordering::Relaxed);
    }
}

impl Fabric for Faulty {
    fn identity(&self) -> BoxFuture<'_, Result<Identity, FabricError>> {
        self.inner.identity()
    }

    fn append<'a>(
        &'a self,
        log: &'a str,
        expected: Position,
        records: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<Position, FabricError>> {
        self.inner.append(log, expected, records)
    }

    fn read<'a>(
        &'a self,
        log: &'a str,
        after: Position,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, FabricError>> {
        let last = self.reads_end.load(Ordering::Relaxed);
        Box::pin(async move {
            let mut records = self.inner.read(log, after, max).await?;
            records.retain(|record| record.position.0 <= last);
            Ok(records)
        })
    }

    fn end<'a>(&'a self, log: &'a str) -> BoxFuture<'a, Result<Position, FabricError>> {
        self.inner.end(log)
    }

    fn follow(&self, log: &str) -> Box<dyn Wake> {
        self.inner.follow(log)
    }

    fn set<'a>(&'a self, changes: Vec<Change>) -> BoxFuture<'a, Result<Revision, FabricError>> {
        if self.refuses_keys.load(Ordering::Relaxed) {
            return Box::pin(async { Err(FabricError::Closed) });
        }
        self.inner.set(changes)
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, FabricError>> {
        self.inner.get(key)
    }

    fn changes<'a>(
        &'a self,
        prefix: &'a str,
        after: Revision,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, FabricError>> {
        self.inner.changes(prefix, after, max)
    }

    fn watch(&self, prefix: &str) -> Box<dyn Wake> {
        self.inner.watch(prefix)
    }

    fn acquire<'a>(
        &'a self,
        lease: &'a str,
        holder: &'a str,
        time: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, FabricError>> {
        self.inner.acquire(lease, holder, time)
    }

    fn renew<'a>(&'a self, lease: &'a Lease, time: Duration) -> BoxFuture<'a, Result<bool, FabricError>> {
        self.inner.renew(lease, time)
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FabricError>> {
        self.inner.release(lease)
    }

    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<BlobHash, FabricError>> {
        self.inner.put_blob(bytes)
    }

    fn get_blob<'a>(&'a self, hash: &'a BlobHash) -> BoxFuture<'a, Result<Option<Bytes>, FabricError>> {
        self.inner.get_blob(hash)
    }

    fn missing_blobs<'a>(&'a self, hashes: &'a [BlobHash]) -> BoxFuture<'a, Result<Vec<BlobHash>, FabricError>> {
        self.inner.missing_blobs(hashes)
    }

    fn remove_blob<'a>(&'a self, hash: &'a BlobHash) -> BoxFuture<'a, Result<(), FabricError>> {
        self.inner.remove_blob(hash)
    }

    fn blob_file(&self, hash: &BlobHash) -> Option<PathBuf> {
        self.inner.blob_file(hash)
    }
}
