//! When a name may be ordered.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::AcmeTiming;

/// Names whose failures are remembered.
const NAMES_MAX: usize = 100_000;

/// Why a name is not ordered now.
#[derive(Debug)]
pub enum NotNow {
    /// It is being ordered.
    Running(watch::Receiver<()>),
    /// Its last order failed not long ago.
    Waits,
    /// Too many orders were begun of late.
    Full,
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
}

impl Schedule {
    pub fn new(timing: AcmeTiming) -> Self {
        Self { timing, names: HashMap::new(), begun: VecDeque::new() }
    }

    /// The order for this name that runs.
    pub fn running(&self, name: &str) -> Option<watch::Receiver<()>> {
        let running = self.names.get(name)?.running.clone()?;
        // Whoever ran it may be gone without a word.
        running.has_changed().is_ok().then_some(running)
    }

    /// Begins an order, which is over when `ordered` says so. Gives how many failed before it.
    pub fn begin(&mut self, name: &str, now: Instant, ordered: &watch::Receiver<()>) -> Result<u32, NotNow> {
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
        if self.begun.len() >= self.timing.orders_max || (known.is_none() && self.names.len() >= NAMES_MAX) {
            return Err(NotNow::Full);
        }
        self.begun.push_back(now);
        let attempts = self.names.entry(name.to_owned()).or_default();
        attempts.running = Some(ordered.clone());
        Ok(attempts.failures)
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
        assert_eq!(schedule.begin("a.test", now, &ordered).unwrap(), 0);
        assert!(matches!(schedule.begin("a.test", now, &ordered), Err(NotNow::Running(_))));
        schedule.succeeded("a.test");
        assert!(schedule.begin("a.test", now, &ordered).is_ok());
    }

    #[test]
    fn an_order_that_ended_without_a_word_is_not_waited_for() {
        let (mut schedule, ordered, running) = schedule(10);
        assert!(schedule.begin("a.test", Instant::now(), &ordered).is_ok());
        drop(running);
        assert!(schedule.running("a.test").is_none());
    }

    #[test]
    fn failures_double_the_wait_up_to_a_bound() {
        let (mut schedule, ordered, _running) = schedule(10);
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for failures in 0..4 {
            assert_eq!(schedule.begin("a.test", now, &ordered).unwrap(), failures);
            let wait = schedule.failed("a.test", now);
            assert!(matches!(schedule.begin("a.test", now, &ordered), Err(NotNow::Waits)));
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [10, 20, 30, 30]);
    }

    #[test]
    fn no_more_are_begun_than_the_window_allows() {
        let (mut schedule, ordered, _running) = schedule(2);
        let now = Instant::now();
        assert!(schedule.begin("a.test", now, &ordered).is_ok());
        assert!(schedule.begin("b.test", now, &ordered).is_ok());
        assert!(matches!(schedule.begin("c.test", now, &ordered), Err(NotNow::Full)));
        assert!(schedule.begin("c.test", now + Duration::from_secs(100), &ordered).is_ok());
    }
}
