//! When a name may be ordered.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::AcmeTiming;

/// Names whose failures are remembered. As few orders are begun and failures are forgotten, there are far less.
const NAMES_MAX: usize = 100_000;
/// How often it is said, at most, that there are too many orders.
const FULL_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A name that had no certificate.
    New,
    Renewal,
}

/// Why a name is not ordered now.
#[derive(Debug)]
pub enum NotNow {
    /// It is being ordered.
    Running(watch::Receiver<()>),
    /// Its last order failed not long ago.
    Waits,
    /// Too many orders were begun of late; `news` where that was not said for a while.
    Full { news: bool },
}

/// What is known of a name.
#[derive(Default)]
struct Attempts {
    running: Option<watch::Receiver<()>>,
    failures: u32,
    not_before: Option<Instant>,
}

/// The orders that run, those that failed, and how many were begun.
pub struct Schedule {
    timing: AcmeTiming,
    names: HashMap<String, Attempts>,
    begun: VecDeque<Instant>,
    /// When it was last said that there were too many.
    full_said: Option<Instant>,
}

// === impl Attempts ===

impl Attempts {
    /// The order that runs. Whoever ran it may be gone without a word.
    fn running(&self) -> Option<watch::Receiver<()>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }
}

// === impl Schedule ===

impl Schedule {
    pub fn new(timing: AcmeTiming) -> Self {
        Self { timing, names: HashMap::new(), begun: VecDeque::new(), full_said: None }
    }

    /// The order for this name that runs.
    pub fn running(&self, name: &str) -> Option<watch::Receiver<()>> {
        self.names.get(name)?.running()
    }

    /// Begins an order, which is over when `ordered` says so. Gives how many failed before it.
    pub fn begin(
        &mut self,
        name: &str,
        purpose: Purpose,
        now: Instant,
        ordered: &watch::Receiver<()>,
    ) -> Result<u32, NotNow> {
        if let Some(running) = self.running(name) {
            return Err(NotNow::Running(running));
        }
        let known = self.names.get(name);
        if known.is_some_and(|known| known.not_before.is_some_and(|time| now < time)) {
            return Err(NotNow::Waits);
        }
        while self.begun.front().is_some_and(|begun| now.duration_since(*begun) >= self.timing.orders_window) {
            self.begun.pop_front();
        }
        let kept = if purpose == Purpose::New { self.timing.orders_kept } else { 0 };
        let allowed = self.timing.orders_max.saturating_sub(kept);
        if self.begun.len() >= allowed || (known.is_none() && self.names.len() >= NAMES_MAX) {
            return Err(self.full(now));
        }
        self.begun.push_back(now);
        let attempts = self.names.entry(name.to_owned()).or_default();
        attempts.running = Some(ordered.clone());
        Ok(attempts.failures)
    }

    fn full(&mut self, now: Instant) -> NotNow {
        let news = self.full_said.is_none_or(|said| now.duration_since(said) >= FULL_INTERVAL);
        if news {
            self.full_said = Some(now);
        }
        NotNow::Full { news }
    }

    /// The order was fulfilled.
    pub fn succeeded(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// The order failed. Gives how long the name waits now.
    pub fn failed(&mut self, name: &str, now: Instant) -> Duration {
        let attempts = self.names.entry(name.to_owned()).or_default();
        let wait = self.timing.retry_first.saturating_mul(2_u32.saturating_pow(attempts.failures));
        let wait = wait.min(self.timing.retry_max);
        attempts.failures += 1;
        attempts.running = None;
        attempts.not_before = Some(now + wait);
        wait
    }

    /// Forgets the names that failed and were not ordered again for as long as the longest wait: they begin anew.
    pub fn forget(&mut self, now: Instant) {
        let kept = self.timing.retry_max;
        self.names.retain(|_, attempts| {
            let recent = attempts.not_before.is_some_and(|time| now < time + kept);
            recent || attempts.running().is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule, and the two ends of an order that goes on.
    fn schedule(orders_max: usize) -> (Schedule, watch::Receiver<()>, watch::Sender<()>) {
        let timing = AcmeTiming {
            retry_first: Duration::from_secs(10),
            retry_max: Duration::from_secs(30),
            orders_max,
            orders_kept: 1,
            orders_window: Duration::from_secs(100),
            ..AcmeTiming::default()
        };
        let (running, ordered) = watch::channel(());
        (Schedule::new(timing), ordered, running)
    }

    #[test]
    fn a_name_is_ordered_once_at_a_time() {
        let (mut schedule, ordered, _running) = schedule(10);
        let now = Instant::now();
        assert_eq!(schedule.begin("a.test", Purpose::New, now, &ordered).unwrap(), 0);
        assert!(matches!(schedule.begin("a.test", Purpose::New, now, &ordered), Err(NotNow::Running(_))));
        schedule.succeeded("a.test");
        assert!(schedule.begin("a.test", Purpose::New, now, &ordered).is_ok());
    }

    #[test]
    fn an_order_that_ended_without_a_word_is_not_waited_for() {
        let (mut schedule, ordered, running) = schedule(10);
        let now = Instant::now();
        assert!(schedule.begin("a.test", Purpose::New, now, &ordered).is_ok());
        schedule.forget(now);
        assert!(schedule.running("a.test").is_some());
        drop(running);
        assert!(schedule.running("a.test").is_none());
        schedule.forget(now);
        assert!(schedule.names.is_empty());
    }

    #[test]
    fn failures_double_the_wait_up_to_a_bound() {
        let (mut schedule, ordered, _running) = schedule(10);
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for failures in 0..4 {
            assert_eq!(schedule.begin("a.test", Purpose::New, now, &ordered).unwrap(), failures);
            let wait = schedule.failed("a.test", now);
            assert!(matches!(schedule.begin("a.test", Purpose::New, now, &ordered), Err(NotNow::Waits)));
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [10, 20, 30, 30]);
    }

    #[test]
    fn no_more_are_begun_than_the_window_allows() {
        let (mut schedule, ordered, _running) = schedule(3);
        let now = Instant::now();
        assert!(schedule.begin("a.test", Purpose::New, now, &ordered).is_ok());
        assert!(schedule.begin("b.test", Purpose::New, now, &ordered).is_ok());
        assert!(matches!(schedule.begin("c.test", Purpose::New, now, &ordered), Err(NotNow::Full { news: true })));
        assert!(schedule.begin("c.test", Purpose::New, now + Duration::from_secs(100), &ordered).is_ok());
    }

    #[test]
    fn new_names_leave_room_for_renewals() {
        let (mut schedule, ordered, _running) = schedule(2);
        let now = Instant::now();
        assert!(schedule.begin("a.test", Purpose::New, now, &ordered).is_ok());
        assert!(matches!(schedule.begin("b.test", Purpose::New, now, &ordered), Err(NotNow::Full { news: true })));
        assert!(schedule.begin("old.test", Purpose::Renewal, now, &ordered).is_ok());
        assert!(matches!(schedule.begin("c.test", Purpose::Renewal, now, &ordered), Err(NotNow::Full { news: false })));
    }

    #[test]
    fn failures_are_forgotten() {
        let (mut schedule, ordered, _running) = schedule(10);
        let now = Instant::now();
        assert!(schedule.begin("a.test", Purpose::New, now, &ordered).is_ok());
        let wait = schedule.failed("a.test", now);
        let forgotten = now + wait + Duration::from_secs(30);
        schedule.forget(forgotten - Duration::from_secs(1));
        assert_eq!(schedule.begin("a.test", Purpose::New, now + wait, &ordered).unwrap(), 1);
        let wait = schedule.failed("a.test", now);
        schedule.forget(now + wait + Duration::from_secs(30));
        assert_eq!(schedule.begin("a.test", Purpose::New, now + wait, &ordered).unwrap(), 0);
    }
}
