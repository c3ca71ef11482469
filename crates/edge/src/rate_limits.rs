//! The rate limits of workers: how often each key was used in its present period, in this edge.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use selvedge_model::{AccountId, RateLimit};

use crate::host::Ask;

/// Keys that are counted at once, of all workers: some 64 bytes each. Over it, those whose period is over go; if there are
/// none, the oldest of the namespace that has most begin anew, so that nobody's keys can push out another's.
const KEYS_MAX: usize = 262_144;
/// How often it is looked whose period is over, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Of the namespace that has most, one key in so many goes at once.
const EVICTED_SHARE: usize = 4;

/// Uses in one period.
struct Window {
    began: Instant,
    period: Duration,
    uses: u32,
}

/// The keys of a namespace. A key is kept as its hash, so that it takes the same room however long it is.
type Keys = HashMap<u128, Window>;

#[derive(Default)]
struct Counts {
    namespaces: HashMap<(AccountId, Box<str>), Keys>,
    /// Of all namespaces.
    keys: usize,
    swept: Option<Instant>,
}

/// The counts of an edge.
#[derive(Default)]
pub struct RateLimits(Mutex<Counts>);

impl RateLimits {
    /// Counts a use; whether it is within the limit. A period begins with the first use.
    pub fn is_within(&self, account: &AccountId, namespace: &str, key: &str, limit: RateLimit, now: Instant) -> bool {
        let period = Duration::from_secs(u64::from(limit.period));
        let hash = hash_of(key);
        let mut counts = self.0.lock();
        if counts.keys >= KEYS_MAX {
            counts.make_room(now);
        }
        let keys = counts.namespaces.entry((account.clone(), namespace.into())).or_default();
        let before = keys.len();
        let window = keys.entry(hash).or_insert(Window { began: now, period, uses: 0 });
        if now.duration_since(window.began) >= period {
            *window = Window { began: now, period, uses: 0 };
        }
        window.uses = window.uses.saturating_add(1);
        let within = window.uses <= limit.limit;
        counts.keys += keys.len() - before;
        within
    }
}

impl Counts {
    fn make_room(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_INTERVAL) {
            self.swept = Some(now);
            self.namespaces.retain(|_, keys| {
                keys.retain(|_, window| now.duration_since(window.began) < window.period);
                !keys.is_empty()
            });
            self.keys = self.namespaces.values().map(Keys::len).sum();
        }
        if self.keys >= KEYS_MAX
            && let Some(keys) = self.namespaces.values_mut().max_by_key(|keys| keys.len())
        {
            let before = keys.len();
            let mut began: Vec<Instant> = keys.values().map(|window| window.began).collect();
            let (_, oldest, _) = began.select_nth_unstable(before / EVICTED_SHARE);
            let oldest = *oldest;
            keys.retain(|_, window| window.began > oldest);
            self.keys -= before - keys.len();
        }
    }
}

fn hash_of(key: &str) -> u128 {
    use sha1::{Digest, Sha1};
    Sha1::digest(key.as_bytes()).iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// Answers a worker that uses its binding. It is no subrequest: nothing leaves the edge for it.
pub fn answer(ask: &Ask, name: &str) {
    let deployed = &ask.instance.deployed;
    let mut bindings = deployed.version.manifest.bindings.iter();
    let Some(binding) = bindings.find(|binding| binding.kind == "ratelimit" && binding.name == name) else {
        return ask.fail(&format!("this worker has no rate limit \"{name}\""));
    };
    let limit = binding.json.as_deref().and_then(|json| serde_json::from_str::<RateLimit>(json).ok());
    let (Some(limit), Some(key)) = (limit, ask.meta.key.as_deref()) else {
        return ask.fail(&format!("the rate limit \"{name}\" has no limit, or was asked without a key"));
    };
    let namespace = binding.id.as_deref().unwrap_or(name);
    let success = ask.edge.rate_limits().is_within(&deployed.key.account, namespace, key, limit, Instant::now());
    ask.respond(StatusCode::OK, &format!("{{\"success\":{success}}}"), &HeaderMap::new(), Bytes::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_by_account_namespace_and_key_for_one_period() {
        let limits = RateLimits::default();
        let now = Instant::now();
        let two = RateLimit { limit: 2, period: 10 };
        let other: AccountId = "f".repeat(32).parse().unwrap();
        let use_of = |account: &AccountId, namespace: &str, key: &str, at: u64| {
            limits.is_within(account, namespace, key, two, now + Duration::from_secs(at))
        };
        let local = AccountId::local();
        assert_eq!([0, 1, 2].map(|at| use_of(&local, "1", "a", at)), [true, true, false]);
        assert!(use_of(&local, "1", "b", 2) && use_of(&local, "2", "a", 2) && use_of(&other, "1", "a", 2));
        assert!(!use_of(&local, "1", "a", 9));
        assert!(use_of(&local, "1", "a", 10));
    }

    #[test]
    fn a_namespace_with_too_many_keys_pushes_out_its_own() {
        let limits = RateLimits::default();
        let now = Instant::now();
        let one = RateLimit { limit: 1, period: 60 };
        let local = AccountId::local();
        assert!(limits.is_within(&local, "quiet", "key", one, now));
        for index in 0..KEYS_MAX as u64 + 10 {
            let at = now + Duration::from_nanos(index);
            assert!(limits.is_within(&local, "flood", &index.to_string(), one, at));
        }
        assert!(limits.0.lock().keys < KEYS_MAX);
        assert!(!limits.is_within(&local, "quiet", "key", one, now + Duration::from_secs(1)));
        // The newest are still counted.
        assert!(!limits.is_within(&local, "flood", &KEYS_MAX.to_string(), one, now + Duration::from_secs(1)));
        // What is over goes first.
        for index in 0..KEYS_MAX as u64 {
            limits.is_within(&local, "later", &index.to_string(), one, now + Duration::from_secs(100));
        }
        assert!(!limits.0.lock().namespaces.keys().any(|(_, namespace)| &**namespace == "flood"));
    }
}
