//! The instances of one version: started on the first request, more of them for a busy worker, fewer when idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use selvedge_model::Failure;

use crate::deployed::Deployed;
use crate::edge::Edge;
use crate::instance::Instance;

/// Events that every instance of a worker must have in flight before another instance is started.
const BUSY_IN_FLIGHT: usize = 16;
/// How long a version that failed to start is not tried again.
const FAILED_RETRY: Duration = Duration::from_secs(1);

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
        })
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
        // A task of its own: whoever asked may go away, and the instance that was begun for it is everyone's.
        let (pool, edge) = (Arc::clone(self), Arc::clone(edge));
        let starting = tokio::spawn(async move {
            let _first = first;
            pool.start(&edge).await
        });
        let instance = starting.await.map_err(|error| NoInstance::Unavailable(error.to_string()))??;
        instance.begin();
        Ok(instance)
    }

    /// The least busy live instance.
    fn pick(self: &Arc<Self>, edge: &Arc<Edge>) -> Option<Arc<Instance>> {
        let instances = self.instances.read();
        let chosen =
            instances.iter().filter(|instance| instance.is_live()).min_by_key(|instance| instance.in_flight())?;
        chosen.begin();
        if chosen.in_flight() > BUSY_IN_FLIGHT && instances.len() < edge.config().instances_per_worker_max {
            self.grow(edge);
        }
        Some(Arc::clone(chosen))
    }

    /// Starts one more instance, aside.
    fn grow(self: &Arc<Self>, edge: &Arc<Edge>) {
        if self.growing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, edge) = (Arc::clone(self), Arc::clone(edge));
        tokio::spawn(async move {
            if let Err(error) = pool.start(&edge).await {
                tracing::warn!(?error, "a busy worker got no further instance");
            }
            pool.growing.store(false, Ordering::Release);
        });
    }

    async fn start(self: &Arc<Self>, edge: &Arc<Edge>) -> Result<Arc<Instance>, NoInstance> {
        let unavailable = |error: &dyn std::error::Error| NoInstance::Unavailable(error.to_string());
        let payload = self.deployed.payload().map_err(|error| unavailable(&error))?;
        let memory_mib = self.deployed.version.manifest.limits.memory_mib;
        // A runner may die while the version loads: then the next one gets it.
        for _ in 0..2 {
            if !edge.has_room() {
                let most = edge.config().isolates_max;
                return Err(NoInstance::Unavailable(format!(
                    "{most} isolates run, the most that may, and all are busy"
                )));
            }
            let ordered = edge.runners().order(memory_mib).map_err(|error| unavailable(&error))?;
            let started = Instance::start(Arc::clone(edge), Arc::clone(&self.deployed), ordered, &payload).await;
            let Some((instance, ready)) = started else {
                continue;
            };
            if let Err(failure) = ready.loaded {
                instance.close();
                let failure = self.deployed.map(failure);
                *self.failed.lock() = Some((Instant::now(), failure.clone()));
                return Err(NoInstance::Failed(failure));
            }
            self.deployed.keep_code_caches(&ready).map_err(|error| unavailable(&error))?;
            let mut instances = self.instances.write();
            instances.retain(|instance| instance.is_live());
            instances.push(Arc::clone(&instance));
            return Ok(instance);
        }
        Err(NoInstance::Unavailable("the runner ended while the worker started".into()))
    }

    /// Starts the version to see whether it does, and keeps the instance for the first request.
    pub async fn validate(self: &Arc<Self>, edge: &Arc<Edge>) -> Result<(), NoInstance> {
        let _first = self.starting.lock().await;
        self.start(edge).await.map(drop)
    }

    /// Ends the instances that began nothing for `idle` at least; gives how many.
    pub fn evict(&self, idle: Duration) -> usize {
        let mut instances = self.instances.write();
        let before = instances.len();
        instances.retain(|instance| {
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

    /// Ends the events that should have had an answer by now.
    pub fn end_overdue(&self, now: Instant) {
        for instance in self.instances.read().iter() {
            instance.end_overdue(now);
        }
    }

    /// Events that are not over.
    pub fn in_flight(&self) -> usize {
        self.instances.read().iter().filter(|instance| instance.is_live()).map(|instance| instance.in_flight()).sum()
    }

    /// Takes no more events; the instances end when those they have are over.
    pub fn retire(&self) {
        for instance in self.instances.write().drain(..) {
            instance.retire();
        }
    }
}
