//! Cron triggers: each fires at most once for a minute, whatever the clock does and however often the process starts.
//!
//! That a minute is dealt with is on disk before anything fires for it. A minute that went by while nothing ran is
//! reported and not made good: a handler that expects to run at night is not to be woken at noon. So is a trigger that
//! was due when the process ended, or for which there was no room for too long.
//!
//! Triggers of one minute begin some at a time, so that ten thousand of them do not keep requests from being served; those
//! of each account in turn, so that they do not keep another's waiting either.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use selvedge_edge::EventError;
use selvedge_model::{AccountId, CronRecord, WorkerKey, worker_key};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::error::PopError;
use crate::replica::{Replica, worker_of};
use crate::rows::{Past, Waiting};

const MINUTE_MS: i64 = 60_000;
/// How far back missed minutes are looked for: a day.
const LOOK_BACK_MINUTES: i64 = 24 * 60;
/// Never slept longer than this, so that a clock that jumps is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(5);
/// Triggers that begin at once.
const BEGINNING_MAX: usize = 64;
/// Of these, the most of one account: half.
const BEGINNING_ACCOUNT_MAX: usize = BEGINNING_MAX / 2;
/// After so long a trigger that runs makes room for the next one to begin.
const BEGINNING_TIME_MAX: Duration = Duration::from_millis(250);
/// How long to wait before a trigger is tried again that the edge had no room for.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A trigger that did not begin within so long is missed.
const LATE_MAX: Duration = Duration::from_secs(300);

/// Something that became of a trigger.
#[derive(Debug)]
pub enum Fired<'a> {
    /// It ran.
    Ran { worker: &'a WorkerKey, cron: &'a str, result: &'a Result<(), EventError> },
    /// It was due and did not run, so many times, the last of them then.
    Missed { worker: &'a WorkerKey, cron: &'a str, times: u64, last: Timestamp },
}

/// Is told what became of triggers.
pub trait Firing: Send + Sync {
    fn fired(&self, fired: Fired<'_>);
}

/// Fires the cron triggers of a point of presence.
pub struct Clockwork {
    replica: Arc<Replica>,
    firing: Arc<dyn Firing>,
    turns: Turns,
}

/// Who may begin a trigger.
struct Turns {
    all: Arc<Semaphore>,
    of: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// The right to begin one.
struct Turn {
    _of_account: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// A worker, and the expression of one of its triggers.
type Trigger = (WorkerKey, String);

/// What is to be done for the minutes since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    due: Vec<Trigger>,
    missed: Vec<(WorkerKey, String, u64, i64)>,
}

/// When an expression is due, of the minutes that are planned.
struct Times {
    now: bool,
    /// Minutes that went by, in order.
    before: Vec<i64>,
}

// === impl Times ===

impl Times {
    /// None: it is no expression.
    fn of(cron: &str, last: i64, now: i64) -> Option<Self> {
        let expression = selvedge_cron::parse(cron).ok()?;
        let at = |minute: i64| Timestamp::from_millisecond(minute * MINUTE_MS).ok();
        let mut before = Vec::new();
        let mut from = at(last.max(now - LOOK_BACK_MINUTES - 1));
        while let Some(next) = from.and_then(|from| expression.next_after(from)) {
            let minute = minute_of(next);
            if minute >= now {
                break;
            }
            before.push(minute);
            from = Some(next);
        }
        Some(Self { now: at(now).is_some_and(|now| expression.is_due(now)), before })
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(MINUTE_MS)
}

/// Plans the minutes after `last`, `now` being the one that runs.
fn plan(triggers: &[(WorkerKey, CronRecord)], last: i64, now: i64) -> Plan {
    let mut plan = Plan::default();
    // Many workers have the same few expressions.
    let mut known: HashMap<&str, Option<Times>> = HashMap::new();
    for (worker, trigger) in triggers {
        let times = known.entry(trigger.cron.as_str()).or_insert_with(|| Times::of(&trigger.cron, last, now));
        let Some(times) = times else {
            tracing::error!(%worker, cron = trigger.cron, "a cron expression that this version does not read");
            continue;
        };
        if times.now {
            plan.due.push((worker.clone(), trigger.cron.clone()));
        }
        let since = (trigger.since_ms as i64).div_euclid(MINUTE_MS);
        let missed = times.before.get(times.before.partition_point(|minute| *minute <= since)..).unwrap_or_default();
        if let Some(latest) = missed.last() {
            plan.missed.push((worker.clone(), trigger.cron.clone(), missed.len() as u64, *latest));
        }
    }
    plan
}

// === impl Clockwork ===

impl Clockwork {
    /// Fires the triggers of `replica`, and tells `firing` of it.
    pub fn new(replica: Arc<Replica>, firing: Arc<dyn Firing>) -> Self {
        Self { replica, firing, turns: Turns::new() }
    }

    /// Runs for as long as it is let.
    pub async fn run(self) {
        let clockwork = Arc::new(self);
        if let Err(error) = clockwork.off_thread(Self::tell_left).await {
            tracing::error!(%error, "which cron triggers were cut off is not known");
        }
        loop {
            let now = minute_of(Timestamp::now());
            match clockwork.off_thread(move |clockwork| clockwork.look(now)).await {
                Ok(due) if due.is_empty() => {}
                Ok(due) => {
                    clockwork.fire(now, due);
                }
                Err(error) => tracing::error!(%error, "cron triggers wait: what fired cannot be kept"),
            }
            let left = MINUTE_MS - Timestamp::now().as_millisecond().rem_euclid(MINUTE_MS);
            tokio::time::sleep(Duration::from_millis(left as u64).min(SLEEP_MAX)).await;
        }
    }

    /// Does something on a thread where it may wait for the disk.
    async fn off_thread<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> Result<T, PopError> + Send + 'static,
    ) -> Result<T, PopError> {
        let clockwork = Arc::clone(self);
        tokio::task::spawn_blocking(move || act(&clockwork)).await.map_err(|_| PopError::Stopped)?
    }

    /// Tells of what a process before this one had yet to begin when it ended.
    fn tell_left(&self) -> Result<(), PopError> {
        for (minute, (key, cron)) in self.replica.rows().take_waiting()? {
            if let Some(worker) = worker_of(&key) {
                self.missed(&worker, &cron, 1, minute);
            }
        }
        Ok(())
    }

    fn missed(&self, worker: &WorkerKey, cron: &str, times: u64, minute: i64) {
        let last = Timestamp::from_millisecond(minute * MINUTE_MS).unwrap_or_default();
        self.firing.fired(Fired::Missed { worker, cron, times, last });
    }

    /// Deals with the minutes missed before `now`, and gives what is due now.
    fn look(&self, now: i64) -> Result<Vec<Trigger>, PopError> {
        let rows = self.replica.rows();
        let last = match rows.past(now)? {
            Past::Dealt => return Ok(Vec::new()),
            Past::Since(last) => last,
            // The first look of all: nothing was missed, and the minute has begun without this.
            Past::Unknown => return rows.deal(now, &[]).map(|()| Vec::new()),
        };
        let plan = plan(&self.replica.crons(), last, now);
        let due: Vec<Waiting> = plan.due.iter().map(waiting).collect();
        rows.deal(now, &due)?;
        for (worker, cron, times, latest) in &plan.missed {
            self.missed(worker, cron, *times, *latest);
        }
        Ok(plan.due)
    }

    /// Begins what is due at a minute: of each account some at a time.
    fn fire(self: &Arc<Self>, minute: i64, due: Vec<Trigger>) {
        let late = Instant::now() + LATE_MAX;
        let mut by_account: HashMap<AccountId, Vec<Trigger>> = HashMap::new();
        for trigger in due {
            by_account.entry(trigger.0.account.clone()).or_default().push(trigger);
        }
        for (account, due) in by_account {
            tokio::spawn(Arc::clone(self).fire_of(account, minute, due, late));
        }
    }

    /// Begins what is due of one account, one after the other: so no account waits for more than one turn at a time.
    async fn fire_of(self: Arc<Self>, account: AccountId, minute: i64, due: Vec<Trigger>, late: Instant) {
        for trigger in due {
            let Some(turn) = self.turns.take(&account).await else {
                return;
            };
            if let Err(error) = self.replica.rows().begun(minute, &waiting(&trigger)) {
                tracing::warn!(%error, worker = %trigger.0, "that a cron trigger began cannot be kept");
            }
            tokio::spawn(Arc::clone(&self).run_one(minute, trigger, late, turn));
        }
    }

    /// Runs a trigger; tries again where there is no room for it yet.
    async fn run_one(self: Arc<Self>, minute: i64, (worker, cron): Trigger, late: Instant, turn: Turn) {
        let mut turn = Some(turn);
        while Instant::now() < late {
            let mut running = pin!(self.replica.edge().scheduled(&worker, &cron, (minute * MINUTE_MS) as u64));
            let result = match timeout(BEGINNING_TIME_MAX, running.as_mut()).await {
                Ok(result) => result,
                Err(_) => {
                    drop(turn.take());
                    running.await
                }
            };
            let Err(EventError::Unavailable(reason)) = &result else {
                return self.firing.fired(Fired::Ran { worker: &worker, cron: &cron, result: &result });
            };
            tracing::debug!(%worker, cron, reason, "a cron trigger waits for room");
            drop(turn.take());
            tokio::time::sleep(RETRY_INTERVAL).await;
            turn = self.turns.take(&worker.account).await;
        }
        self.missed(&worker, &cron, 1, minute);
    }
}

// === impl Turns ===

impl Turns {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(BEGINNING_MAX)), of: Mutex::default() }
    }

    /// Waits for a turn. None is never given: nothing closes them.
    async fn take(&self, account: &AccountId) -> Option<Turn> {
        // Its own first: who waits for that takes nothing from others.
        let of_account = self.of(account).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _of_account: of_account, _of_all: of_all })
    }

    fn of(&self, account: &AccountId) -> Arc<Semaphore> {
        let mut of = self.of.lock();
        // Those that nobody has a turn of, nor waits for one, are made again.
        of.retain(|known, turns| {
            known == account || Arc::strong_count(turns) > 1 || turns.available_permits() < BEGINNING_ACCOUNT_MAX
        });
        let turns = of.entry(account.clone()).or_insert_with(|| Arc::new(Semaphore::new(BEGINNING_ACCOUNT_MAX)));
        Arc::clone(turns)
    }
}

fn waiting((worker, cron): &Trigger) -> Waiting {
    (worker_key(&worker.account, &worker.worker), cron.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn trigger(cron: &str, since_minute: i64) -> (WorkerKey, CronRecord) {
        let key = WorkerKey::new(AccountId::local(), "w".parse().unwrap());
        (key, CronRecord { cron: cron.into(), since_ms: (since_minute * MINUTE_MS) as u64 })
    }

    #[test]
    fn a_due_minute_fires_and_missed_ones_are_counted() {
        let made = plan(&[trigger("*/2 * * * *", 0), trigger("0 0 1 1 *", 0)], 100, 106);
        assert_eq!(made.due.len(), 1);
        assert_eq!(made.missed.len(), 1);
        assert_eq!((made.missed[0].2, made.missed[0].3), (2, 104));
    }

    #[test]
    fn nothing_is_missed_before_a_trigger_was_set() {
        let made = plan(&[trigger("* * * * *", 104), trigger("* * * * *", 0)], 100, 106);
        assert_eq!((made.missed[0].2, made.missed[1].2), (1, 5));
        assert_eq!(plan(&[trigger("* * * * *", 105)], 100, 106).missed, []);
    }

    #[test]
    fn nothing_is_missed_between_a_minute_and_the_next() {
        let made = plan(&[trigger("* * * * *", 0)], 105, 106);
        assert_eq!((made.due.len(), made.missed.len()), (1, 0));
    }

    #[test]
    fn a_long_absence_is_looked_back_on_for_a_day() {
        let made = plan(&[trigger("* * * * *", 0)], 0, 10 * LOOK_BACK_MINUTES);
        assert_eq!(made.missed[0].2, LOOK_BACK_MINUTES as u64);
    }

    #[test]
    fn an_account_whose_triggers_hang_leaves_others_their_turn() {
        let turns = Turns::new();
        let (a, b): (AccountId, AccountId) = ("a".repeat(32).parse().unwrap(), "b".repeat(32).parse().unwrap());
        let take = |account: &AccountId| turns.take(account).now_or_never().flatten();
        let taken: Vec<Turn> = std::iter::from_fn(|| take(&b)).collect();
        assert_eq!(taken.len(), BEGINNING_ACCOUNT_MAX);
        assert!(take(&a).is_some());
        drop(taken);
        assert!(take(&b).is_some());
        assert_eq!(turns.of.lock().len(), 1, "an account that has no turn is forgotten");
    }

    #[test]
    fn what_waits_names_its_worker() {
        let (worker, record) = trigger("* * * * *", 0);
        let (key, cron) = waiting(&(worker.clone(), record.cron));
        assert_eq!((worker_of(&key), cron.as_str()), (Some(worker), "* * * * *"));
    }
}
