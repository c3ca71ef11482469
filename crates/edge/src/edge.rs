//! The edge as a whole: its workers, and what they share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use selvedge_cache::{CacheLimits, HttpCache};
use selvedge_model::Failure;
use selvedge_outbound::Outbound;
use selvedge_runner::{Reports, Runners, Stuck};

use crate::deployed::Deployed;
use crate::instance::Instance;
use crate::pool::{NoInstance, Pool};
use crate::records::Records;

/// How often idle instances are looked for.
const EVICT_INTERVAL: Duration = Duration::from_secs(1);
/// How often events that take too long are looked for: a timer for each would cost more than all else in the edge.
const OVERDUE_INTERVAL: Duration = Duration::from_millis(100);

/// A runner that held more than it may so many times in a row, whatever ended in between, is replaced.
const OVER_BUDGET_TIMES: u32 = 3;
/// How long the other instances of a runner that must end may take to finish what they have.
const MOVE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long they may in any case, however much memory the runner holds: what most of them need.
const MOVE_TIME_MIN: Duration = Duration::from_millis(250);
/// How often it is looked whether they have.
const MOVE_INTERVAL: Duration = Duration::from_millis(50);

/// The id of a request: 16 hexadecimal digits, unique in this process and unlikely to be met in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

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
    pub default_worker: Option<String>,
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
    records: Arc<dyn Records>,
    workers: RwLock<HashMap<String, Arc<Pool>>>,
    /// What is wrong with the newest source of a worker whose last good version serves.
    broken: RwLock<HashMap<String, Broken>>,
    any_broken: AtomicBool,
    /// How many times in a row its runner held more than it may.
    over_budget: AtomicU32,
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
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let edge = Arc::new(Self {
            config,
            runners,
            outbound,
            cache: HttpCache::new(CacheLimits::default()),
            records,
            workers: RwLock::default(),
            broken: RwLock::default(),
            any_broken: AtomicBool::new(false),
            over_budget: AtomicU32::new(0),
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

    pub(crate) fn records(&self) -> &dyn Records {
        &*self.records
    }

    /// Events that are not over, of all workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.workers.read().values().map(|pool| pool.in_flight()).sum()
    }

    /// The process that runs workers now: for those who watch it.
    pub fn runner_pid(&self) -> Option<u32> {
        self.runners.serving_pid()
    }

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
        let name = pool.deployed.version.manifest.worker.clone();
        {
            let mut broken = self.broken.write();
            broken.remove(&name);
            self.any_broken.store(!broken.is_empty(), Ordering::Release);
        }
        let before = self.workers.write().insert(name, pool);
        if let Some(before) = before {
            before.retire();
        }
    }

    /// The newest source of a worker does not build or start. What served before goes on, and says so to its author.
    pub fn broken(&self, worker: &str, message: &str, failure: Option<Failure>) {
        self.broken.write().insert(worker.to_owned(), Broken { message: message.to_owned(), failure });
        self.any_broken.store(true, Ordering::Release);
    }

    /// What is wrong with the newest source of a worker.
    pub(crate) fn broken_of(&self, worker: &str) -> Option<Broken> {
        if !self.any_broken.load(Ordering::Acquire) {
            return None;
        }
        self.broken.read().get(worker).cloned()
    }

    /// The worker of that name.
    pub(crate) fn worker(&self, name: &str) -> Option<Arc<Pool>> {
        self.workers.read().get(name).cloned()
    }

    /// The worker that answers at a host, given without its port.
    pub(crate) fn worker_at(&self, host: &str) -> Option<Arc<Pool>> {
        self.worker(&self.name_at(host)?)
    }

    /// The name of the worker that a host stands for, whether there is one or not.
    pub(crate) fn name_at(&self, host: &str) -> Option<String> {
        let name = host.strip_suffix(self.config.domain.as_str()).and_then(|name| name.strip_suffix('.'));
        name.map(str::to_owned).or_else(|| self.config.default_worker.clone())
    }

    /// The names of all workers, sorted.
    pub fn workers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.workers.read().keys().cloned().collect();
        names.sort();
        names
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

    /// Whether another instance may be started, which may end the one idle longest.
    pub(crate) fn has_room(&self) -> bool {
        if self.isolates.lock().len() < self.config.isolates_max {
            return true;
        }
        let live =
            self.isolates.lock().values().filter_map(Weak::upgrade).filter(|instance| instance.is_live()).count();
        live < self.config.isolates_max || self.idlest().is_some_and(|pool| pool.evict(Duration::ZERO) > 0)
    }

    /// The worker whose instances have all been idle longest.
    fn idlest(&self) -> Option<Arc<Pool>> {
        let workers = self.workers.read();
        let idle = workers.values().filter_map(|pool| Some((pool.idle()?, pool)));
        idle.max_by_key(|(idle, _)| *idle).map(|(_, pool)| Arc::clone(pool))
    }

    /// The instances in a runner.
    fn instances_in(&self, runner: u32) -> Vec<Arc<Instance>> {
        let isolates = self.isolates.lock();
        isolates.values().filter_map(Weak::upgrade).filter(|instance| instance.runner == runner).collect()
    }

    /// An isolate cannot be stopped: its events fail, all other instances of its process are replaced as they finish
    /// what they have, and the process ends.
    fn stuck(self: &Arc<Self>, runner: u32, stuck: &Stuck) {
        let instances = self.instances_in(runner);
        for instance in instances.iter().filter(|instance| instance.isolate == stuck.isolate) {
            tracing::warn!(
                worker = instance.deployed.version.manifest.worker,
                "code that exceeded a limit does not stop: its neighbours move to another process, and its own ends"
            );
            instance.give_up(stuck);
        }
        self.empty(runner);
    }

    /// Ends a runner that takes no more orders: once its instances have finished what they have, after a while, or at once
    /// where it holds far too much.
    fn empty(self: &Arc<Self>, runner: u32) {
        for instance in self.instances_in(runner) {
            instance.retire();
        }
        let edge = Arc::clone(self);
        // With the default budget, three quarters of the machine's memory.
        let bytes_max = edge.config.memory_bytes_max.saturating_add(edge.config.memory_bytes_max / 2);
        tokio::spawn(async move {
            let began = Instant::now();
            while began.elapsed() < MOVE_TIME_MAX
                && !edge.instances_in(runner).is_empty()
                && (began.elapsed() < MOVE_TIME_MIN || resident_bytes(runner).is_some_and(|used| used <= bytes_max))
            {
                tokio::time::sleep(MOVE_INTERVAL).await;
            }
            for instance in edge.instances_in(runner) {
                // Whichever is to blame must not begin again elsewhere.
                instance.abandon(
                    "the process that ran this worker had to end: it held too much memory, or could not be stopped",
                );
            }
            edge.runners.end(runner);
        });
    }

    /// Ends the events that take longer than they may.
    fn end_overdue(&self) {
        let now = Instant::now();
        let pools: Vec<Arc<Pool>> = self.workers.read().values().cloned().collect();
        for pool in pools {
            pool.end_overdue(now);
        }
    }

    fn evict(self: &Arc<Self>) {
        let pools: Vec<Arc<Pool>> = self.workers.read().values().cloned().collect();
        for pool in &pools {
            pool.evict(self.config.instance_idle_max);
        }
        let Some(runner) = self.runners.serving_pid() else {
            return;
        };
        let used = resident_bytes(runner).unwrap_or_default();
        if used <= self.config.memory_bytes_max {
            self.over_budget.store(0, Ordering::Relaxed);
            return;
        }
        let times = self.over_budget.fetch_add(1, Ordering::Relaxed) + 1;
        let mut idle: Vec<(Duration, Arc<Pool>)> =
            pools.into_iter().filter_map(|pool| Some((pool.idle()?, pool))).collect();
        idle.sort_by_key(|(idle, _)| std::cmp::Reverse(*idle));
        // A tenth at a time: memory comes back only once the isolates are gone.
        let some = idle.len().div_ceil(10);
        let ended: usize = idle.into_iter().take(some).map(|(_, pool)| pool.evict(Duration::ZERO)).sum();
        tracing::info!(
            used,
            allowed = self.config.memory_bytes_max,
            ended,
            "over the memory budget: idle isolates end"
        );
        if ended == 0 || times >= OVER_BUDGET_TIMES {
            // Busy ones hold it: one of them by what V8 does not count.
            self.over_budget.store(0, Ordering::Relaxed);
            tracing::warn!(
                used,
                allowed = self.config.memory_bytes_max,
                "over the memory budget: the runner is replaced"
            );
            self.runners.retire(runner);
            self.empty(runner);
        }
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
        edge.end_overdue();
        if evicted.elapsed() >= EVICT_INTERVAL {
            edge.evict();
            evicted = Instant::now();
        }
    }
}

/// The memory that a process holds, in bytes.
fn resident_bytes(pid: u32) -> Option<u64> {
    /// Pages are 4 KiB on every kind of machine that this runs on.
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
