//! The instances of one version: started on the first request, more of them for a busy worker, fewer when idle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use selvedge_model::{Failure, Loaded};

use crate::deployed::Deployed;
use crate::edge::{Edge, For};
use crate::instance::Instance;
use crate::slot::Slot;

/// Events that every instance of a worker must have in flight before another instance is started.
const BUSY_IN_FLIGHT: usize = 16;
/// How long a version that failed to start is not tried again.
const FAILED_RETRY: Duration = Duration::from_secs(1);

/// An instance of a version that serves no more was started for who found that version a moment before; it ends after so
/// long.
const RETIRED_IDLE_MAX: Duration = Duration::from_secs(1);
/// An instance that was started to see whether its version does, and that nobody asked for anything, ends after so long:
/// who deploys ten thousand workers is not to hold ten thousand isolates for it.
const UNASKED_IDLE_MAX: Duration = Duration::from_secs(30);

/// Why there is no instance.
#[derive(Debug, Clone)]
pub enum NoInstance {
    /// The version does not start, and why.
    Failed(Failure),
    /// No runner would take it, and why.
    Unavailable(String),
}

/// The instances of one version.
pub struct Pool {
    pub deployed: Arc<Deployed>,
    instances: RwLock<Vec<Arc<Instance>>>,
    /// Held by whoever starts the first instance; others wait for it.
    starting: Arc<tokio::sync::Mutex<()>>,
    growing: AtomicBool,
    failed: Mutex<Option<(Instant, Failure)>>,
    /// What its first start said of it.
    loaded: OnceLock<Loaded>,
    /// Where it is held.
    slot: OnceLock<Weak<Slot>>,
    /// Serves no more: an instance that is started all the same ends with what it was started for.
    retired: AtomicBool,
    /// Since when it has no instance.
    empty_since: Mutex<Option<Instant>>,
}

impl Pool {
    /// No instances yet.
    pub fn new(deployed: Arc<Deployed>) -> Arc<Self> {
        Arc::new(Self {
            deployed,
            instances: RwLock::default(),
            starting: Arc::default(),
            growing: AtomicBool::new(false),
            failed: Mutex::default(),
            loaded: OnceLock::new(),
            slot: OnceLock::new(),
            retired: AtomicBool::new(false),
            empty_since: Mutex::default(),
        })
    }

    /// Says where it is held: once.
    pub fn put_in(&self, slot: &Arc<Slot>) {
        // It has one place for as long as it lives.
        let _ = self.slot.set(Arc::downgrade(slot));
    }

    /// Where it is held.
    pub fn slot(&self) -> Option<Arc<Slot>> {
        self.slot.get()?.upgrade()
    }

    /// An instance for one event, counted in.
    pub async fn instance(self: &Arc<Self>, edge: &Arc<Edge>) -> Result<Arc<Instance>, NoInstance> {
        if let Some(instance) = self.pick(edge) {
            return Ok(instance);
        }
        let first = Arc::clone(&self.starting).lock_owned().await;
        if let Some(instance) = self.pick(edge) {
            return Ok(instance);
        }
        if let Some((at, failure)) = &*self.failed.lock()
            && at.elapsed() < FAILED_RETRY
        {
            return Err(NoInstance::Failed(failure.clone()));
        }
        let wanted = if self.live() > 0 { For::Growth } else { For::Event };
        // A task of its own: whoever asked may go away, and the instance that was begun for it is everyone's.
        let (pool, edge) = (Arc::clone(self), Arc::clone(edge));
        let starting = tokio::spawn(async move {
            let _first = first;
            let began = Instant::now();
            let started = pool.start(&edge, wanted).await;
            if started.is_ok() {
                edge.records().cold_start(began.elapsed());
            }
            started
        });
        let started = starting.await.map_err(|error| NoInstance::Unavailable(error.to_string()))?;
        match started {
            Ok(instance) => {
                instance.begin();
                Ok(instance)
            }
            // There is no room for another: then it waits with those that wait.
            Err(NoInstance::Unavailable(reason)) => {
                self.begin_in(|instance| instance.is_live()).ok_or(NoInstance::Unavailable(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// The least busy of the live instances that give way to new events. None also where all are stalled and there may be
    /// another.
    fn pick(self: &Arc<Self>, edge: &Arc<Edge>) -> Option<Arc<Instance>> {
        let may_grow = || self.live() < edge.config().instances_per_worker_max;
        let chosen = match self.begin_in(|instance| instance.is_live() && !instance.is_stalled()) {
            Some(chosen) => chosen,
            None if may_grow() => return None,
            None => self.begin_in(|instance| instance.is_live())?,
        };
        if chosen.in_flight() > BUSY_IN_FLIGHT && may_grow() {
            self.grow(edge);
        }
        Some(chosen)
    }

    /// The least busy of some instances, with an event counted in: while nobody can find it idle.
    fn begin_in(&self, which: impl Fn(&Instance) -> bool) -> Option<Arc<Instance>> {
        let instances = self.instances.read();
        let among = instances.iter().filter(|instance| which(instance));
        let chosen = among.min_by_key(|instance| instance.in_flight())?;
        chosen.begin();
        Some(Arc::clone(chosen))
    }

    /// How many of its instances take events.
    fn live(&self) -> usize {
        self.instances.read().iter().filter(|instance| instance.is_live()).count()
    }

    /// Starts one more instance, aside.
    fn grow(self: &Arc<Self>, edge: &Arc<Edge>) {
        if self.growing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, edge) = (Arc::clone(self), Arc::clone(edge));
        tokio::spawn(async move {
            if let Err(error) = pool.start(&edge, For::Growth).await {
                tracing::warn!(?error, "a busy worker got no further instance");
            }
            pool.growing.store(false, Ordering::Release);
        });
    }

    async fn start(self: &Arc<Self>, edge: &Arc<Edge>, wanted: For) -> Result<Arc<Instance>, NoInstance> {
        let unavailable = |error: &dyn std::error::Error| NoInstance::Unavailable(error.to_string());
        let payload = self.deployed.payload().map_err(|error| unavailable(&error))?;
        let memory_mib = self.deployed.version.manifest.limits.memory_mib;
        // A runner may die while the version loads: then the next one gets it.
        for _ in 0..2 {
            edge.make_room(&self.deployed.key.account, wanted).map_err(NoInstance::Unavailable)?;
            let ordered = edge.runners().order(memory_mib).map_err(|error| unavailable(&error))?;
            let started = Instance::start(Arc::clone(edge), self, ordered, &payload).await;
            let Some((instance, ready)) = started else {
                continue;
            };
            let loaded = match &ready.loaded {
                Ok(loaded) => loaded.clone(),
                Err(failure) => {
                    instance.close();
                    let failure = self.deployed.map(failure.clone());
                    *self.failed.lock() = Some((Instant::now(), failure.clone()));
                    return Err(NoInstance::Failed(failure));
                }
            };
            self.loaded.get_or_init(|| loaded);
            self.deployed.keep_code_caches(&ready).map_err(|error| unavailable(&error))?;
            let mut instances = self.instances.write();
            instances.retain(|instance| instance.is_live());
            instances.push(Arc::clone(&instance));
            drop(instances);
            // It may have been forgotten meanwhile, and nobody would look after the instance.
            edge.note_pool(self);
            return Ok(instance);
        }
        Err(NoInstance::Unavailable("the runner ended while the worker started".into()))
    }

    /// Starts the version to see whether it does, and keeps the instance for the first request.
    pub async fn validate(self: &Arc<Self>, edge: &Arc<Edge>) -> Result<Loaded, NoInstance> {
        let _first = self.starting.lock().await;
        self.start(edge, For::Start).await?;
        self.loaded.get().cloned().ok_or_else(|| NoInstance::Unavailable("the runner said nothing of its start".into()))
    }

    /// Ends the instances that began nothing for `idle` at least; gives how many.
    pub fn evict(&self, idle: Duration) -> usize {
        let idle = if self.retired.load(Ordering::Acquire) { idle.min(RETIRED_IDLE_MAX) } else { idle };
        let mut instances = self.instances.write();
        let before = instances.len();
        instances.retain(|instance| {
            let idle = if instance.is_unasked() { idle.min(UNASKED_IDLE_MAX) } else { idle };
            let stale = instance.idle().is_some_and(|since| since >= idle);
            if stale {
                instance.retire();
            }
            !stale && instance.is_live()
        });
        before - instances.len()
    }

    /// How long its instances have been idle, the least of them; `None` if there are none or one is busy.
    pub fn idle(&self) -> Option<Duration> {
        let instances = self.instances.read();
        let idle: Option<Vec<Duration>> = instances.iter().map(|instance| instance.idle()).collect();
        idle?.into_iter().min()
    }

    /// How long it has had no instance.
    pub fn unused(&self) -> Duration {
        let mut since = self.empty_since.lock();
        if !self.instances.read().is_empty() {
            *since = None;
            return Duration::ZERO;
        }
        since.get_or_insert_with(Instant::now).elapsed()
    }

    /// Whether nothing of it is left, nor will be. Instances that end only when they are done may still ask for others of
    /// their version: each holds on to this weakly, and nobody else does.
    pub fn is_over(self: &Arc<Self>) -> bool {
        self.retired.load(Ordering::Acquire) && self.unused() >= RETIRED_IDLE_MAX && Arc::weak_count(self) == 0
    }

    /// Serves again.
    pub fn revive(&self) {
        self.retired.store(false, Ordering::Release);
    }

    /// Takes no more events; the instances end when those they have are over.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        for instance in self.instances.write().drain(..) {
            instance.retire();
        }
    }
}
