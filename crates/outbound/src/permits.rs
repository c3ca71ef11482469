//! How many connections one host gets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

/// Hosts remembered before those without a connection are forgotten.
const HOSTS_MAX: usize = 4_096;

/// A bound on connections for each host and port, whoever asks.
#[derive(Debug)]
pub(crate) struct HostPermits {
    per_host: usize,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl HostPermits {
    pub(crate) fn new(per_host: usize) -> Self {
        Self { per_host: per_host.clamp(1, Semaphore::MAX_PERMITS), hosts: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn per_host(&self) -> usize {
        self.per_host
    }

    pub(crate) fn of(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(permits) = hosts.get(host) {
            return Arc::clone(permits);
        }
        if hosts.len() >= HOSTS_MAX {
            // Held by a connection or by somebody who waits for one: more than one owner.
            hosts.retain(|_, permits| Arc::strong_count(permits) > 1 || permits.available_permits() < self.per_host);
        }
        let permits = Arc::new(Semaphore::new(self.per_host));
        hosts.insert(host.to_owned(), Arc::clone(&permits));
        permits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_connections_are_forgotten() {
        let permits = HostPermits::new(1);
        let busy = permits.of("busy:80").try_acquire_owned().unwrap();
        for index in 0..3 * HOSTS_MAX {
            permits.of(&format!("{index}:80"));
        }
        assert!(permits.hosts.lock().unwrap().len() <= HOSTS_MAX);
        assert!(permits.of("busy:80").try_acquire_owned().is_err());
        drop(busy);
        assert!(permits.of("busy:80").try_acquire_owned().is_ok());
    }
}
