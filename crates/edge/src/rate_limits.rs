//! The rate limits of workers: how often each key was used in its present period, in this edge.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use selvedge_model::{AccountId, RateLimit};

use crate::host::Ask;

/// Keys that are counted at once, of all workers. Over it, those whose period is over go; if there are none, a key begins
/// anew.
const KEYS_MAX: usize = 262_144;

/// What is counted: the uses of a key in a namespace of an account. The key is kept as its hash, so that it takes the same
/// room however long it is.
type Counted = (AccountId, Box<str>, u128);

/// Uses in one period.
struct Window {
    began: Instant,
    period: Duration,
    uses: u32,
}

/// The counts of an edge.
#[derive(Default)]
pub struct RateLimits(Mutex<HashMap<Counted, Window>>);

impl RateLimits {
    /// Counts a use; whether it is within the limit. A period begins with the first use.
    pub fn is_within(&self, account: &AccountId, namespace: &str, key: &str, limit: RateLimit, now: Instant) -> bool {
        let period = Duration::from_secs(u64::from(limit.period));
        let mut windows = self.0.lock();
        if windows.len() >= KEYS_MAX {
            windows.retain(|_, window| now.duration_since(window.began) < window.period);
        }
        if windows.len() >= KEYS_MAX
            && let Some(any) = windows.keys().next().cloned()
        {
            windows.remove(&any);
        }
        let counted = (account.clone(), namespace.into(), hash_of(key));
        let window = windows.entry(counted).or_insert(Window { began: now, period, uses: 0 });
        if now.duration_since(window.began) >= period {
            *window = Window { began: now, period, uses: 0 };
        }
        window.uses = window.uses.saturating_add(1);
        window.uses <= limit.limit
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
}
