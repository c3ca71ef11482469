//! Warnings with a cause that an outsider can repeat: given now and then, with how often there was cause.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, const_mutex};

/// The least time between two of the same warnings.
const INTERVAL: Duration = Duration::from_secs(10);

/// When one kind of warning is due.
#[derive(Default)]
pub struct Seldom(Mutex<Given>);

#[derive(Default)]
struct Given {
    last: Option<Instant>,
    /// Causes since then, for which nothing was said.
    unsaid: u64,
}

// === impl Seldom ===

impl Seldom {
    /// One for which there was no cause yet.
    pub const fn new() -> Self {
        Self(const_mutex(Given { last: None, unsaid: 0 }))
    }

    /// Says that there is cause for the warning. Where it is due, gives how often there was cause since the last.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut given = self.0.lock();
        given.unsaid += 1;
        if given.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return None;
        }
        given.last = Some(now);
        Some(std::mem::take(&mut given.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_not_given_again_at_once_and_counts_what_it_left_out() {
        let seldom = Seldom::new();
        let now = Instant::now();
        assert_eq!(seldom.due_at(now), Some(1));
        assert_eq!([seldom.due_at(now), seldom.due_at(now)], [None, None]);
        assert_eq!(seldom.due_at(now + INTERVAL), Some(3));
    }
}
