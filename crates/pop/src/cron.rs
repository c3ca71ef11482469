//! Cron triggers: each fires at most once for a minute, whatever the clock does and however often the process starts.
//!
//! That a minute is dealt with is on disk before anything fires for it. A minute that went by while nothing ran is
//! reported and not made good: a handler that expects to run at night is not to be woken at noon.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use selvedge_edge::EventError;
use selvedge_model::{CronRecord, WorkerKey};

use crate::replica::Replica;

const MINUTE_MS: i64 = 60_000;
/// How far back missed minutes are looked for: a day.
const LOOK_BACK_MINUTES: i64 = 24 * 60;
/// Under this name the last minute that was dealt with is kept.
const CLOCK: &str = "clock";
/// Never slept longer than this, so that a clock that jumps is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// Something that became of a trigger.
#[derive(Debug)]
pub enum Fired<'a> {
    /// It ran.
    Ran { worker: &'a WorkerKey, cron: &'a str, result: &'a Result<(), EventError> },
    /// It was due while nothing ran here, so many times, the last of them then.
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
}

/// What is to be done for the minutes since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    due: Vec<(WorkerKey, String)>,
    missed: Vec<(WorkerKey, String, u64, i64)>,
}

/// Plans the minutes after `last`, `now` being the one that runs.
fn plan(triggers: &[(WorkerKey, CronRecord)], last: i64, now: i64) -> Plan {
    let mut plan = Plan::default();
    for (worker, trigger) in triggers {
        let Ok(expression) = selvedge_cron::parse(&trigger.cron) else {
            tracing::error!(%worker, cron = trigger.cron, "a cron expression that this version does not read");
            continue;
        };
        let is_due =
            |minute: i64| Timestamp::from_millisecond(minute * MINUTE_MS).is_ok_and(|minute| expression.is_due(minute));
        if is_due(now) {
            plan.due.push((worker.clone(), trigger.cron.clone()));
        }
        let since = (trigger.since_ms as i64).div_euclid(MINUTE_MS);
        let first = (last + 1).max(since + 1).max(now - LOOK_BACK_MINUTES);
        let missed: Vec<i64> = (first..now).filter(|minute| is_due(*minute)).collect();
        if let Some(latest) = missed.last() {
            plan.missed.push((worker.clone(), trigger.cron.clone(), missed.len() as u64, *latest));
        }
    }
    plan
}

impl Clockwork {
    /// Fires the triggers of `replica`, and tells `firing` of it.
    pub fn new(replica: Arc<Replica>, firing: Arc<dyn Firing>) -> Self {
        Self { replica, firing }
    }

    /// Runs for as long as it is let.
    pub async fn run(self) {
        loop {
            let now_ms = Timestamp::now().as_millisecond();
            if let Err(error) = self.look(now_ms.div_euclid(MINUTE_MS)) {
                tracing::error!(%error, "cron triggers wait: what fired cannot be kept");
            }
            let left = MINUTE_MS - Timestamp::now().as_millisecond().rem_euclid(MINUTE_MS);
            tokio::time::sleep(Duration::from_millis(left as u64).min(SLEEP_MAX)).await;
        }
    }

    /// Deals with the minute `now` and those missed before it.
    fn look(&self, now: i64) -> Result<(), crate::PopError> {
        let rows = self.replica.rows();
        let last = rows.fired(CLOCK)?;
        // The first look of all: nothing was missed, and the minute has begun without this.
        let Some(last) = last else {
            return rows.note_fired(&[CLOCK.to_owned()], now);
        };
        if now <= last {
            return Ok(());
        }
        let plan = plan(&self.replica.crons(), last, now);
        rows.note_fired(&[CLOCK.to_owned()], now)?;
        for (worker, cron, times, latest) in &plan.missed {
            let last = Timestamp::from_millisecond(latest * MINUTE_MS).unwrap_or_default();
            self.firing.fired(Fired::Missed { worker, cron, times: *times, last });
        }
        for (worker, cron) in plan.due {
            let (edge, firing) = (Arc::clone(self.replica.edge()), Arc::clone(&self.firing));
            tokio::spawn(async move {
                let result = edge.scheduled(&worker, &cron, (now * MINUTE_MS) as u64).await;
                firing.fired(Fired::Ran { worker: &worker, cron: &cron, result: &result });
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_model::AccountId;

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
        let made = plan(&[trigger("* * * * *", 104)], 100, 106);
        assert_eq!(made.missed[0].2, 1);
        assert_eq!(plan(&[trigger("* * * * *", 105)], 100, 106).missed, []);
    }

    #[test]
    fn a_long_absence_is_looked_back_on_for_a_day() {
        let made = plan(&[trigger("* * * * *", 0)], 0, 10 * LOOK_BACK_MINUTES);
        assert_eq!(made.missed[0].2, LOOK_BACK_MINUTES as u64);
    }
}
