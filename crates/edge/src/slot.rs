//! The place of one version in an edge: empty until the first request for it, and again once nobody asks any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use selvedge_model::{VersionId, WorkerKey};

use crate::deployed::Deployed;
use crate::edge::Edge;
use crate::pool::Pool;

/// What may wait to be told to a version that is a tail worker, in bytes: 8 MiB, unless a single event is larger.
const TELLING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What an event costs that is told, besides its text, in bytes.
const TELLING_BYTES_EACH: usize = 4 * 1024;

/// Why a version cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoVersion {
    #[error("the version {version} is not here")]
    Missing { version: String },
    #[error("the version {version} cannot be loaded: {reason}")]
    Unreadable { version: String, reason: String },
}

/// Where versions come from.
pub trait Versions: Send + Sync {
    /// A version, ready to be started.
    fn load<'a>(&'a self, worker: &'a WorkerKey, version: &'a VersionId) -> BoxFuture<'a, Result<Deployed, NoVersion>>;

    /// The version whose id begins with eight digits.
    fn find<'a>(&'a self, worker: &'a WorkerKey, short: &'a str) -> BoxFuture<'a, Option<VersionId>>;
}

/// Where the version of a slot comes from.
struct Source {
    versions: Arc<dyn Versions>,
    worker: WorkerKey,
    version: VersionId,
}

/// The place of one version.
pub struct Slot {
    version: Box<str>,
    /// None where the version cannot be loaded again: it stays.
    source: Option<Source>,
    pool: RwLock<Option<Arc<Pool>>>,
    /// Held by whoever loads.
    loading: tokio::sync::Mutex<()>,
    retired: AtomicBool,
    /// What is being told to it of other workers' events, in bytes.
    telling_bytes: AtomicUsize,
}

/// An event that is being told to a version, counted for as long as this lives.
pub(crate) struct Telling {
    slot: Arc<Slot>,
    bytes: usize,
}

// === impl Slot ===

impl Slot {
    fn new(version: &str, source: Option<Source>, pool: Option<Arc<Pool>>) -> Arc<Self> {
        let slot = Arc::new(Self {
            version: version.into(),
            source,
            pool: RwLock::default(),
            loading: tokio::sync::Mutex::new(()),
            retired: AtomicBool::new(false),
            telling_bytes: AtomicUsize::new(0),
        });
        if let Some(pool) = pool {
            pool.put_in(&slot);
            *slot.pool.write() = Some(pool);
        }
        slot
    }

    /// A place that holds a version for good.
    pub fn holding(pool: &Arc<Pool>) -> Arc<Self> {
        let version = pool.deployed.version.manifest.version.clone();
        Self::new(&version, None, Some(Arc::clone(pool)))
    }

    /// A place whose version is loaded when it is asked for; `pool` holds it already, if it does.
    pub fn stored(
        versions: Arc<dyn Versions>,
        worker: WorkerKey,
        version: VersionId,
        pool: Option<Arc<Pool>>,
    ) -> Arc<Self> {
        let text = version.as_str().to_owned();
        Self::new(&text, Some(Source { versions, worker, version }), pool)
    }

    #[cfg(test)]
    pub fn empty(version: &str) -> Arc<Self> {
        Self::new(version, None, None)
    }

    /// The id of the version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The instances of the version, which is loaded first if it is not here.
    pub async fn pool(self: &Arc<Self>, edge: &Edge) -> Result<Arc<Pool>, NoVersion> {
        if let Some(pool) = &*self.pool.read() {
            return Ok(Arc::clone(pool));
        }
        let _loading = self.loading.lock().await;
        if let Some(pool) = &*self.pool.read() {
            return Ok(Arc::clone(pool));
        }
        let Some(source) = &self.source else {
            return Err(NoVersion::Missing { version: self.version.to_string() });
        };
        let pool = Pool::new(Arc::new(source.versions.load(&source.worker, &source.version).await?));
        pool.put_in(self);
        edge.note_pool(&pool);
        *self.pool.write() = Some(Arc::clone(&pool));
        // After it is held: whoever retires this place from now on finds it.
        if self.retired.load(Ordering::Acquire) {
            pool.retire();
        }
        Ok(pool)
    }

    /// Forgets `pool`, if the version can be loaded again. Who found it a moment before may still start an instance of it,
    /// which ends soon.
    pub fn unload(&self, pool: &Arc<Pool>) -> bool {
        let mut held = self.pool.write();
        let same = held.as_ref().is_some_and(|held| Arc::ptr_eq(held, pool));
        if same && self.source.is_some() {
            *held = None;
            pool.retire();
            return true;
        }
        false
    }

    /// Counts in an event of `bytes` that is about to be told to this version; none where too many are being told already.
    pub(crate) fn tell(self: &Arc<Self>, bytes: usize) -> Option<Telling> {
        let telling = Telling { slot: Arc::clone(self), bytes: bytes + TELLING_BYTES_EACH };
        let before = self.telling_bytes.fetch_add(telling.bytes, Ordering::Relaxed);
        (before == 0 || before + telling.bytes <= TELLING_BYTES_MAX).then_some(telling)
    }

    /// Whether the version is in memory.
    pub fn is_loaded(&self) -> bool {
        self.pool.read().is_some()
    }

    /// Takes no more requests; what runs ends when it is done.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        if let Some(pool) = &*self.pool.read() {
            pool.retire();
        }
    }

    /// Takes requests again.
    pub fn revive(&self) {
        self.retired.store(false, Ordering::Release);
        if let Some(pool) = &*self.pool.read() {
            pool.revive();
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.slot.telling_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_a_slow_tail_worker_is_bounded() {
        let slot = Slot::empty("v");
        let large = slot.tell(2 * TELLING_BYTES_MAX).unwrap();
        assert!(slot.tell(1).is_none());
        drop(large);
        let mut telling: Vec<_> = std::iter::from_fn(|| slot.tell(0)).collect();
        assert_eq!(telling.len(), TELLING_BYTES_MAX / TELLING_BYTES_EACH);
        assert!(slot.tell(0).is_none());
        telling.pop();
        assert!(slot.tell(0).is_some());
    }
}
