//! The edge as a whole: its workers, and what they share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use selvedge_cache::{CacheLimits, HttpCache};
use selvedge_model::{AccountId, Failure, Loaded, VersionId, WorkerKey, WorkerRecord};
use selvedge_outbound::Outbound;
use selvedge_runner::{Reports, Runners};

use crate::deployed::Deployed;
use crate::instance::Instance;
use crate::pool::{NoInstance, Pool};
use crate::rate_limits::RateLimits;
use crate::records::Records;
use crate::site::Site;
use crate::slot::{Slot, Versions};
use crate::table::{Found, Table};

mod room;

pub use room::For;

/// How often idle instances are looked for.
const EVICT_INTERVAL: Duration = Duration::from_secs(1);
/// How often events that take too long are looked for: a timer for each would cost more than all else in the edge.
const OVERDUE_INTERVAL: Duration = Duration::from_millis(100);

/// Versions that were started and are kept for who deploys them next.
const PREPARED_MAX: usize = 64;
/// How long they are.
const PREPARED_TIME_MAX: Duration = Duration::from_secs(30);
/// Versions beside those deployed that have a place, for previews.
const PREVIEWS_MAX: usize = 1024;

/// The id of a request: 16 hexadecimal digits, unique in this process and unlikely to be met in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestId {
    #[cfg(test)]
    pub fn of(number: u64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// How an edge behaves.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Hosts are `<worker>.<domain>`.
    pub domain: String,
    /// The worker that answers at the bare domain and at hosts that name none.
    pub default_worker: Option<WorkerKey>,
    /// Whether clients are the workers' authors and may see messages and stacks.
    pub author: bool,
    /// The most instances of one worker.
    pub instances_per_worker_max: usize,
    /// The most instances of all workers together.
    pub isolates_max: usize,
    /// An instance that began nothing for so long ends.
    pub instance_idle_max: Duration,
    /// The most memory that runners may hold, in bytes; over it, the instances idle longest end.
    pub memory_bytes_max: u64,
}

/// What an edge holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub isolates: usize,
    /// Events that are not over.
    pub in_flight: usize,
    /// Workers that it serves, in memory or not.
    pub workers: usize,
}

/// What is wrong with the newest source of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub message: String,
    /// Why it does not start, where it got so far.
    pub failure: Option<Failure>,
}

/// An edge.
pub struct Edge {
    config: EdgeConfig,
    runners: Arc<Runners>,
    outbound: Outbound,
    cache: HttpCache,
    rate_limits: RateLimits,
    records: Arc<dyn Records>,
    table: RwLock<Table>,
    /// The versions that are in memory, by the address of their pools.
    pools: RwLock<HashMap<usize, Arc<Pool>>>,
    /// The places of versions that are asked for by their own names.
    previews: Mutex<HashMap<(WorkerKey, VersionId), Arc<Slot>>>,
    /// Versions that were started to see whether they do.
    prepared: Mutex<HashMap<VersionId, (Instant, Arc<Pool>)>>,
    /// What is wrong with the newest source of a worker whose last good version serves.
    broken: RwLock<HashMap<WorkerKey, Broken>>,
    any_broken: AtomicBool,
    /// How many times in a row its runner held more than it may.
    over_budget: AtomicU32,
    /// Where it listens: schemes and ports.
    listening: RwLock<Vec<(&'static str, u16)>>,
    /// The instances that are there, by the number of their isolate.
    isolates: Mutex<HashMap<u64, Weak<Instance>>>,
    next_id: AtomicU64,
}

impl Edge {
    /// An edge without workers. `stuck` is what came with its runners.
    pub fn new(
        config: EdgeConfig,
        runners: Arc<Runners>,
        stuck: Reports,
        outbound: Outbound,
        records: Arc<dyn Records>,
    ) -> Arc<Self> {
        let table = Table::new(config.domain.clone(), config.default_worker.clone());
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let edge = Arc::new(Self {
            config,
            runners,
            outbound,
            cache: HttpCache::new(CacheLimits::default()),
            rate_limits: RateLimits::default(),
            records,
            table: RwLock::new(table),
            pools: RwLock::default(),
            previews: Mutex::default(),
            prepared: Mutex::default(),
            broken: RwLock::default(),
            any_broken: AtomicBool::new(false),
            over_budget: AtomicU32::new(0),
            listening: RwLock::default(),
            isolates: Mutex::default(),
            next_id: AtomicU64::new(seed.as_nanos() as u64),
        });
        tokio::spawn(keep_house(Arc::downgrade(&edge)));
        tokio::spawn(hear_stuck(Arc::downgrade(&edge), stuck));
        edge
    }

    /// How this edge behaves.
    pub fn config(&self) -> &EdgeConfig {
        &self.config
    }

    pub(crate) fn runners(&self) -> &Arc<Runners> {
        &self.runners
    }

    pub(crate) fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    pub(crate) fn cache(&self) -> &HttpCache {
        &self.cache
    }

    pub(crate) fn rate_limits(&self) -> &RateLimits {
        &self.rate_limits
    }

    pub(crate) fn records(&self) -> &dyn Records {
        &*self.records
    }

    /// Events that are not over, of all workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.instances().iter().map(|instance| instance.in_flight()).sum()
    }

    /// Every instance that is there, those too whose version serves no more.
    fn instances(&self) -> Vec<Arc<Instance>> {
        self.isolates.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// The process that runs workers now: for those who watch it.
    pub fn runner_pid(&self) -> Option<u32> {
        self.runners.serving_pid()
    }

    /// How many isolates there are, and how many events they have.
    pub fn load(&self) -> Load {
        let isolates = self.isolates.lock().len();
        Load { isolates, in_flight: self.in_flight(), workers: self.table.read().len() }
    }

    // === workers without a control plane ===

    /// Starts a version once, to see whether it does. On success it serves from now on.
    pub async fn deploy(self: &Arc<Self>, deployed: Deployed) -> Result<(), NoInstance> {
        let pool = Pool::new(Arc::new(deployed));
        if pool.deployed.has_code() {
            pool.validate(self).await?;
        }
        self.install(pool);
        Ok(())
    }

    /// Serves a version from now on; it starts with its first request.
    pub fn install_cold(self: &Arc<Self>, deployed: Deployed) {
        self.install(Pool::new(Arc::new(deployed)));
    }

    fn install(&self, pool: Arc<Pool>) {
        let key = pool.deployed.key.clone();
        {
            let mut broken = self.broken.write();
            broken.remove(&key);
            self.any_broken.store(!broken.is_empty(), Ordering::Release);
        }
        self.note_pool(&pool);
        let site = Arc::new(Site::of_one(key, Slot::holding(&pool)));
        let before = self.table.write().set(site);
        if let Some(before) = before {
            before.slots().for_each(|slot| slot.retire());
        }
    }

    /// The newest source of a worker does not build or start. What served before goes on, and says so to its author.
    pub fn broken(&self, worker: &WorkerKey, message: &str, failure: Option<Failure>) {
        self.broken.write().insert(worker.clone(), Broken { message: message.to_owned(), failure });
        self.any_broken.store(true, Ordering::Release);
    }

    /// What is wrong with the newest source of a worker.
    pub(crate) fn broken_of(&self, worker: &WorkerKey) -> Option<Broken> {
        if !self.any_broken.load(Ordering::Acquire) {
            return None;
        }
        self.broken.read().get(worker).cloned()
    }

    /// What is wrong with the worker that a host stands for, which has no version that serves.
    pub(crate) fn broken_at(&self, host: &str) -> Option<Broken> {
        if !self.any_broken.load(Ordering::Acquire) {
            return None;
        }
        let label = self.table.read().label_of(host).map(str::to_owned);
        let broken = self.broken.read();
        let named = label.and_then(|label| broken.iter().find(|(key, _)| key.worker.as_str() == label));
        let named = named.map(|(_, broken)| broken);
        named.or_else(|| broken.get(self.config.default_worker.as_ref()?)).cloned()
    }

    // === workers of a control plane ===

    /// Starts a version once, to see whether it does. It is kept for a while, for it will be deployed.
    pub async fn prepare(self: &Arc<Self>, version: &VersionId, deployed: Deployed) -> Result<Loaded, NoInstance> {
        let pool = Pool::new(Arc::new(deployed));
        self.note_pool(&pool);
        let loaded = match pool.validate(self).await {
            Ok(loaded) => loaded,
            Err(error) => {
                pool.retire();
                return Err(error);
            }
        };
        let mut prepared = self.prepared.lock();
        if prepared.len() >= PREPARED_MAX
            && let Some(oldest) = prepared.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| id.clone())
            && let Some((_, pool)) = prepared.remove(&oldest)
        {
            pool.retire();
        }
        prepared.insert(version.clone(), (Instant::now(), pool));
        Ok(loaded)
    }

    /// Serves a worker as its record says from now on. Its versions are loaded from `versions` as they are asked for.
    pub fn set_worker(&self, record: WorkerRecord, versions: &Arc<dyn Versions>) {
        let key = WorkerKey::new(record.account.clone(), record.name.clone());
        if self.restore_worker(record, versions) {
            self.records.deployed(&key);
        }
    }

    /// The same for a worker that was deployed before this edge began. Gives whether another deployment serves now.
    pub fn restore_worker(&self, record: WorkerRecord, versions: &Arc<dyn Versions>) -> bool {
        let key = WorkerKey::new(record.account.clone(), record.name.clone());
        let mut table = self.table.write();
        let before = table.site(&key).cloned();
        let site = Arc::new(Site::of_record(record, Some(Arc::clone(versions)), |version| {
            let same = before.iter().flat_map(|site| site.slots()).find(|slot| slot.version() == version.as_str());
            if let Some(slot) = same {
                return Arc::clone(slot);
            }
            if let Some(slot) = self.previews.lock().remove(&(key.clone(), version.clone())) {
                slot.revive();
                return slot;
            }
            let prepared = self.prepared.lock().remove(version).map(|(_, pool)| pool);
            Slot::stored(Arc::clone(versions), key.clone(), version.clone(), prepared)
        }));
        table.set(Arc::clone(&site));
        drop(table);
        for slot in before.iter().flat_map(|site| site.slots()) {
            if !site.slots().any(|kept| Arc::ptr_eq(kept, slot)) {
                slot.retire();
            }
        }
        site.deployment().is_some() && site.deployment() != before.as_ref().and_then(|before| before.deployment())
    }

    /// Serves a worker no more.
    pub fn remove_worker(&self, key: &WorkerKey) {
        let before = self.table.write().remove(key);
        self.records.removed(key);
        before.iter().flat_map(|site| site.slots()).for_each(|slot| slot.retire());
        self.previews.lock().retain(|(worker, _), slot| {
            if worker == key {
                slot.retire();
            }
            worker != key
        });
    }

    /// Less specific routes do not count where these patterns of an account match, from now on.
    pub fn set_exclusions(&self, account: &AccountId, patterns: &[String]) {
        // The control plane checked them; one that a newer one understands is none here.
        let patterns = patterns.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        self.table.write().set_exclusions(account, patterns);
    }

    /// The place of a version that is asked for by its own name.
    pub(crate) fn preview(&self, site: &Site, version: &VersionId) -> Option<Arc<Slot>> {
        if let Some(slot) = site.slots().find(|slot| slot.version() == version.as_str()) {
            return Some(Arc::clone(slot));
        }
        let versions = site.versions.as_ref()?;
        let mut previews = self.previews.lock();
        if previews.len() >= PREVIEWS_MAX {
            previews.retain(|_, slot| slot.is_loaded());
        }
        if previews.len() >= PREVIEWS_MAX
            && let Some(any) = previews.keys().next().cloned()
            && let Some(slot) = previews.remove(&any)
        {
            slot.retire();
        }
        let slot = previews.entry((site.key.clone(), version.clone()));
        let make = || Slot::stored(Arc::clone(versions), site.key.clone(), version.clone(), None);
        Some(Arc::clone(slot.or_insert_with(make)))
    }

    /// What answers at a host, given without its port: to the worker that asks, where this is an answer to one.
    pub(crate) fn find(&self, asker: Option<&WorkerKey>, scheme: &str, host: &str, path: &str) -> Found {
        self.table.read().find(asker, scheme, host, path)
    }

    /// The worker of that key.
    pub fn site(&self, key: &WorkerKey) -> Option<Arc<Site>> {
        self.table.read().site(key).cloned()
    }

    /// Whether a worker answers what an account asks at a host, in lower case and without a port, because the host was given
    /// to it: not the one that answers where nobody else does, nor another account's on a domain that it named. For `asker`,
    /// routes of its own zones do not count.
    pub(crate) fn serves(
        &self,
        account: &AccountId,
        asker: Option<&WorkerKey>,
        scheme: &str,
        host: &str,
        target: &str,
    ) -> bool {
        self.table.read().serves(account, asker, scheme, host, target)
    }

    /// It listens there from now on.
    pub(crate) fn note_listening(&self, scheme: &'static str, port: u16) {
        self.listening.write().push((scheme, port));
    }

    /// Whether it listens at a port.
    pub(crate) fn listens(&self, scheme: &str, port: u16) -> bool {
        self.listening.read().iter().any(|(known, at)| *known == scheme && *at == port)
    }

    /// Whether a worker was given exactly this host: who asks for a certificate of it may have one.
    pub fn has_host(&self, host: &str) -> bool {
        self.table.read().has_host(host)
    }

    /// The names of all workers, sorted.
    pub fn workers(&self) -> Vec<String> {
        self.table.read().names()
    }

    /// A version is in memory.
    pub(crate) fn note_pool(&self, pool: &Arc<Pool>) {
        self.pools.write().insert(Arc::as_ptr(pool) as usize, Arc::clone(pool));
    }

    /// Forgets versions that nobody asks for.
    fn forget_pools(&self) {
        self.prepared.lock().retain(|_, (at, pool)| {
            let fresh = at.elapsed() < PREPARED_TIME_MAX;
            if !fresh {
                pool.retire();
            }
            fresh
        });
        self.pools.write().retain(|_, pool| {
            let stale = pool.unused() >= self.config.instance_idle_max;
            let unloaded = || stale && pool.slot().is_some_and(|slot| slot.unload(pool));
            !pool.is_over() && !unloaded()
        });
    }

    /// A new request id.
    pub(crate) fn request_id(&self) -> RequestId {
        // SplitMix64 (https://prng.di.unimi.it/splitmix64.c): a bijection, so ids do not repeat.
        let mut x = self.next_id.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        RequestId(x ^ (x >> 31))
    }

    /// An instance is there.
    pub(crate) fn note_instance(&self, instance: &Arc<Instance>) {
        self.isolates.lock().insert(instance.isolate, Arc::downgrade(instance));
    }

    /// An instance is gone.
    pub(crate) fn forget_instance(&self, isolate: u64) {
        self.isolates.lock().remove(&isolate);
    }
}

/// Acts on what runners say of isolates that cannot be stopped, for as long as the edge lives.
async fn hear_stuck(edge: Weak<Edge>, mut reports: Reports) {
    while let Some((runner, stuck)) = reports.recv().await {
        let Some(edge) = edge.upgrade() else {
            return;
        };
        edge.stuck(runner, &stuck);
    }
}

/// Looks after the instances for as long as the edge lives.
async fn keep_house(edge: Weak<Edge>) {
    let mut interval = tokio::time::interval(OVERDUE_INTERVAL);
    let mut evicted = Instant::now();
    loop {
        interval.tick().await;
        let Some(edge) = edge.upgrade() else {
            return;
        };
        edge.look();
        if evicted.elapsed() >= EVICT_INTERVAL {
            edge.evict();
            evicted = Instant::now();
        }
    }
}
