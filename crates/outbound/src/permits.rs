//! How many connections one host gets: from all workers together, and from those of one account.
//!
//! An account that waits on a host that does not answer must not keep others from it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hosts, and pairs of an account and a host, remembered before those without a connection are forgotten.
const HOSTS_MAX: usize = 4_096;

/// Who asks, and the host and port that are asked.
type Asked = (Option<Arc<str>>, String);

/// Bounds on connections for each host and port.
#[derive(Debug)]
pub(crate) struct HostPermits {
    all: Permits<String>,
    each: Permits<Asked>,
}

/// The right to have one connection to a host.
#[derive(Debug)]
pub(crate) struct HostPermit {
    _of_all: OwnedSemaphorePermit,
    _of_account: OwnedSemaphorePermit,
}

/// As many permits for each key.
#[derive(Debug)]
struct Permits<K> {
    most: usize,
    of: Mutex<HashMap<K, Arc<Semaphore>>>,
}

// === impl HostPermits ===

impl HostPermits {
    pub(crate) fn new(per_host: usize, per_account: usize) -> Self {
        Self { all: Permits::new(per_host), each: Permits::new(per_account) }
    }

    /// How many connections a host gets from one account.
    pub(crate) fn per_account(&self) -> usize {
        self.each.most.min(self.all.most)
    }

    /// Waits until an account may have another connection to a host.
    pub(crate) async fn acquire(&self, account: Option<Arc<str>>, host: &str) -> Option<HostPermit> {
        // Its own first: who waits for that takes nothing from others.
        let of_account = self.each.of((account, host.to_owned())).acquire_owned().await.ok()?;
        let of_all = self.all.of(host.to_owned()).acquire_owned().await.ok()?;
        Some(HostPermit { _of_all: of_all, _of_account: of_account })
    }
}

// === impl Permits ===

impl<K: Eq + Hash + Clone> Permits<K> {
    fn new(most: usize) -> Self {
        Self { most: most.clamp(1, Semaphore::MAX_PERMITS), of: Mutex::new(HashMap::new()) }
    }

    fn of(&self, key: K) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(permits) = of.get(&key) {
            return Arc::clone(permits);
        }
        if of.len() >= HOSTS_MAX {
            // Held by a connection or by somebody who waits for one: more than one owner.
            of.retain(|_, permits| Arc::strong_count(permits) > 1 || permits.available_permits() < self.most);
        }
        let permits = Arc::new(Semaphore::new(self.most));
        of.insert(key, Arc::clone(&permits));
        permits
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// A permit, if there is one now.
    fn now(permits: &HostPermits, account: Option<&str>, host: &str) -> Option<HostPermit> {
        let acquired = pin!(permits.acquire(account.map(Arc::from), host));
        match acquired.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => permit,
            Poll::Pending => None,
        }
    }

    #[test]
    fn hosts_without_connections_are_forgotten() {
        let permits = HostPermits::new(1, 1);
        let busy = now(&permits, None, "busy:80").unwrap();
        for index in 0..3 * HOSTS_MAX {
            assert!(now(&permits, None, &format!("{index}:80")).is_some());
        }
        assert!(permits.all.of.lock().unwrap().len() <= HOSTS_MAX);
        assert!(permits.each.of.lock().unwrap().len() <= HOSTS_MAX);
        assert!(now(&permits, None, "busy:80").is_none());
        drop(busy);
        assert!(now(&permits, None, "busy:80").is_some());
    }

    #[test]
    fn an_account_leaves_others_their_connections_to_a_host() {
        let permits = HostPermits::new(4, 2);
        let taken = [now(&permits, Some("a"), "x:80").unwrap(), now(&permits, Some("a"), "x:80").unwrap()];
        assert!(now(&permits, Some("a"), "x:80").is_none());
        assert!(now(&permits, Some("b"), "x:80").is_some());
        assert!(now(&permits, Some("a"), "y:80").is_some());
        drop(taken);
        assert!(now(&permits, Some("a"), "x:80").is_some());
    }
}
