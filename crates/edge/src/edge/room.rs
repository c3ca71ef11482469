//! Room for isolates: how many there may be, what memory they may hold, and who gives way where it does not suffice.
//!
//! Isolates that have nothing to do give way first, whoever's they are. Then those of the account that is furthest over
//! its part, though they be busy: an account that takes all there is must not keep the others from theirs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use selvedge_model::{AccountId, LimitName};
use selvedge_runner::Stuck;

use super::Edge;
use crate::instance::Instance;
use crate::pool::Pool;
use crate::shares::Shares;

/// A runner that held more than it may so many times in a row, whatever ended in between, is replaced.
const OVER_BUDGET_TIMES: u32 = 3;
/// How long the other instances of a runner that must end may take to finish what they have.
const MOVE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long they may in any case, however much memory the runner holds: what most of them need.
const MOVE_TIME_MIN: Duration = Duration::from_millis(250);
/// How often it is looked whether they have.
const MOVE_INTERVAL: Duration = Duration::from_millis(50);

/// How often the one idle longest is looked for to end it: others may end the same one, or begin an event in it, at that
/// moment.
const ROOM_TRIES_MAX: usize = 64;
/// Of the isolates that there may be, this part (a sixteenth) is kept back for accounts that have less than theirs.
const KEPT_BACK_PART: usize = 16;
/// So many more (an eighth, one at least) there may be for versions that are started to see whether they do: a platform
/// whose workers are all busy can be deployed to.
const BESIDE_PART: usize = 8;
/// What an isolate holds at least, in bytes: 3 MiB.
const ISOLATE_BYTES_MIN: u64 = 3 * 1024 * 1024;

/// What an isolate is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// An event that has no instance.
    Event,
    /// A busy worker that has one already.
    Growth,
    /// A version that is started to see whether it does.
    Start,
}

impl Edge {
    /// Sees to it that another instance of an account's may be started, for which others may end; gives why not.
    pub(crate) fn make_room(&self, account: &AccountId, wanted: For) -> Result<(), String> {
        let most = self.config.isolates_max;
        let kept_back = most / KEPT_BACK_PART;
        if self.isolates.lock().len() + kept_back < most {
            return Ok(());
        }
        let live: Vec<Arc<Instance>> = self.instances().into_iter().filter(|instance| instance.is_live()).collect();
        if live.len() + kept_back < most {
            return Ok(());
        }
        let mut shares = Shares::new(most as u64, live.iter().map(|instance| (instance.account(), 1)));
        shares.add(account, 0);
        let (held, part) = (shares.of(account), shares.part());
        if live.len() < most && (held < part || wanted == For::Start) {
            return Ok(());
        }
        // There may be more than the most: those that were started beside it.
        let mut missing = (live.len() + 1).saturating_sub(most).max(1);
        let idlest = std::iter::repeat_with(|| self.idlest()).take(ROOM_TRIES_MAX).map_while(std::convert::identity);
        for pool in idlest {
            missing = missing.saturating_sub(pool.evict(Duration::ZERO));
            if missing == 0 {
                return Ok(());
            }
        }
        if wanted == For::Start && live.len() < most + (most / BESIDE_PART).max(1) {
            return Ok(());
        }
        if wanted != For::Growth
            && held < part
            && let Some(over) = shares.furthest_over()
            && let Some(instance) = longest_busy(&live, &over)
        {
            instance.end_for(LimitName::AccountIsolates, shares.of(&over), part);
            return Ok(());
        }
        Err(format!(
            "{} isolates run, the most that may, and all are busy; this account has {held} of them, and its part is {part}",
            live.len()
        ))
    }

    /// The worker whose instances have all been idle longest.
    fn idlest(&self) -> Option<Arc<Pool>> {
        let pools = self.pools.read();
        let idle = pools.values().filter_map(|pool| Some((pool.idle()?, pool)));
        idle.max_by_key(|(idle, _)| *idle).map(|(_, pool)| Arc::clone(pool))
    }

    /// The instances in a runner.
    fn instances_in(&self, runner: u32) -> Vec<Arc<Instance>> {
        let isolates = self.isolates.lock();
        isolates.values().filter_map(Weak::upgrade).filter(|instance| instance.runner == runner).collect()
    }

    /// An isolate cannot be stopped: its events fail, all other instances of its process are replaced as they finish
    /// what they have, and the process ends.
    pub(super) fn stuck(self: &Arc<Self>, runner: u32, stuck: &Stuck) {
        let instances = self.instances_in(runner);
        for instance in instances.iter().filter(|instance| instance.isolate == stuck.isolate) {
            tracing::warn!(
                worker = %instance.deployed.key,
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

    /// Looks after the events of all instances.
    pub(super) fn look(&self) {
        let now = Instant::now();
        for instance in self.instances() {
            instance.look(self, now);
        }
    }

    /// Ends what is idle for too long, and whoever gives way where the runner holds more memory than it may.
    pub(super) fn evict(self: &Arc<Self>) {
        self.forget_pools();
        let pools: Vec<Arc<Pool>> = self.pools.read().values().cloned().collect();
        for pool in &pools {
            pool.evict(self.config.instance_idle_max);
        }
        let Some(runner) = self.runners.serving_pid() else {
            return;
        };
        let (used, allowed) = (resident_bytes(runner).unwrap_or_default(), self.config.memory_bytes_max);
        if used <= allowed {
            self.over_budget.store(0, Ordering::Relaxed);
            return;
        }
        let times = self.over_budget.fetch_add(1, Ordering::Relaxed) + 1;
        let ended = evict_some(pools);
        tracing::info!(used, allowed, ended, "over the memory budget: idle isolates end");
        if ended > 0 && times < OVER_BUDGET_TIMES {
            return;
        }
        // Busy ones hold it.
        self.over_budget.store(0, Ordering::Relaxed);
        let excess = used - allowed;
        let freed = self.end_over_share(runner, excess);
        if freed >= excess {
            return;
        }
        // One of them holds it by what V8 does not count.
        tracing::warn!(used, allowed, freed, "over the memory budget: the runner is replaced");
        self.runners.retire(runner);
        self.empty(runner);
    }

    /// Ends isolates of the accounts that hold more memory than their part, the largest first, until they held
    /// `excess` together; gives what they held.
    fn end_over_share(&self, runner: u32, excess: u64) -> u64 {
        let mut live = self.instances_in(runner);
        live.retain(|instance| instance.is_live());
        live.sort_by_key(|instance| instance.memory_bytes());
        let total = self.config.memory_bytes_max;
        let mut shares = Shares::new(total, live.iter().map(|instance| (instance.account(), held_by(instance))));
        let part = shares.part();
        let mut freed = 0;
        while freed < excess
            && let Some(over) = shares.furthest_over()
            && let Some(at) = live.iter().rposition(|instance| *instance.account() == over)
        {
            let instance = live.remove(at);
            let bytes = held_by(&instance);
            tracing::warn!(
                worker = %instance.deployed.key,
                account_bytes = shares.of(&over),
                allowed = part,
                bytes,
                "over the memory budget: an isolate of the account that is furthest over its part ends"
            );
            instance.end_for(LimitName::AccountMemoryBytes, shares.of(&over), part);
            shares.take(&over, bytes);
            freed += bytes;
        }
        freed
    }
}

/// Ends a tenth of what is idle, what has been for longest first: memory comes back only once the isolates are gone.
fn evict_some(pools: Vec<Arc<Pool>>) -> usize {
    let mut idle: Vec<(Duration, Arc<Pool>)> =
        pools.into_iter().filter_map(|pool| Some((pool.idle()?, pool))).collect();
    idle.sort_by_key(|(idle, _)| std::cmp::Reverse(*idle));
    let some = idle.len().div_ceil(10);
    idle.into_iter().take(some).map(|(_, pool)| pool.evict(Duration::ZERO)).sum()
}

/// What an instance's isolate holds, in bytes.
fn held_by(instance: &Instance) -> u64 {
    instance.memory_bytes().max(ISOLATE_BYTES_MIN)
}

/// The instance of an account that has begun nothing for longest.
fn longest_busy<'a>(live: &'a [Arc<Instance>], account: &AccountId) -> Option<&'a Arc<Instance>> {
    live.iter().filter(|instance| instance.account() == account).max_by_key(|instance| instance.since_begun())
}

/// The memory that a process holds, in bytes.
fn resident_bytes(pid: u32) -> Option<u64> {
    /// Pages are 4 KiB on every kind of machine that this runs on.
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
