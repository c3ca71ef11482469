//! Who fails again and again to say who they are, is answered less and less.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The time over which failures are counted.
const SPAN: Duration = Duration::from_secs(60);
/// How many addresses are remembered.
const ADDRESSES_MAX: usize = 10_000;

struct Failures {
    since: Instant,
    count: u32,
}

/// Counts failures by client address.
///
/// It guards the log and the store against a flood, not the tokens: those have 256 random bits. So a request with a good
/// token is served whoever else is behind its address.
pub struct Throttle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    failures_max: u32,
}

impl Throttle {
    /// Allows `failures_max` failures a minute.
    pub fn new(failures_max: u32) -> Self {
        Self { failures: Mutex::default(), failures_max }
    }

    /// Counts a failure. Gives the seconds to wait where there were too many.
    pub fn fail(&self, client: IpAddr, now: Instant) -> Option<u64> {
        let mut failures = self.failures.lock();
        if failures.len() >= ADDRESSES_MAX {
            failures.retain(|_, failures| now.duration_since(failures.since) < SPAN);
            if failures.len() >= ADDRESSES_MAX {
                // More addresses than one client has: forgetting them costs the log lines of one more minute.
                failures.clear();
            }
        }
        let entry = failures.entry(network(client)).or_insert(Failures { since: now, count: 0 });
        if now.duration_since(entry.since) >= SPAN {
            *entry = Failures { since: now, count: 0 };
        }
        entry.count = entry.count.saturating_add(1);
        let left = SPAN.saturating_sub(now.duration_since(entry.since));
        (entry.count > self.failures_max).then(|| left.as_secs().max(1))
    }
}

/// What one client has as its own: an address of IPv4, a /64 of IPv6.
pub fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_over_the_limit_wait_for_the_minute_to_end() {
        let throttle = Throttle::new(2);
        let now = Instant::now();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!([throttle.fail(one, now), throttle.fail(one, now)], [None, None]);
        assert_eq!(throttle.fail(one, now + Duration::from_secs(20)), Some(40));
        assert_eq!(throttle.fail(other, now), None);
        assert_eq!(throttle.fail(one, now + SPAN), None);
    }

    #[test]
    fn addresses_remembered_are_bounded() {
        let throttle = Throttle::new(1);
        let now = Instant::now();
        for number in 0..(ADDRESSES_MAX as u32 + 10) {
            throttle.fail(IpAddr::V4(number.into()), now);
        }
        assert!(throttle.failures.lock().len() <= ADDRESSES_MAX);
    }

    #[test]
    fn a_client_of_ipv6_has_no_more_tries_with_more_addresses() {
        let throttle = Throttle::new(1);
        let now = Instant::now();
        assert_eq!(throttle.fail("2001:db8::1".parse().unwrap(), now), None);
        assert!(throttle.fail("2001:db8::2".parse().unwrap(), now).is_some());
    }
}
