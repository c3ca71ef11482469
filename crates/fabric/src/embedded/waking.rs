//! Who is to be woken by what.
//!
//! A wake is registered when it is made; a change that is committed after that marks it, whether or not anybody waits
//! just then. So whoever makes the wake first, and reads then, misses nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::error::FabricError;
use crate::fabric::{Change, Wake};

/// All that wait. Each entry has at least one that listens: the last one to go takes it out.
#[derive(Default)]
pub(super) struct Wakes {
    logs: Arc<Topics>,
    prefixes: Arc<Topics>,
}

#[derive(Default)]
struct Topics {
    senders: Mutex<HashMap<String, watch::Sender<()>>>,
}

struct Listener {
    topic: String,
    /// Gone with the fabric; its senders go too, which ends the wait.
    topics: Weak<Topics>,
    changes: watch::Receiver<()>,
}

// === impl Wakes ===

impl Wakes {
    pub(super) fn follow(&self, log: &str) -> Box<dyn Wake> {
        Box::new(self.logs.listen(log))
    }

    pub(super) fn watch(&self, prefix: &str) -> Box<dyn Wake> {
        Box::new(self.prefixes.listen(prefix))
    }

    pub(super) fn log_grew(&self, log: &str) {
        if let Some(sender) = self.logs.lock().get(log) {
            sender.send_replace(());
        }
    }

    pub(super) fn keys_changed(&self, changes: &[Change]) {
        for (prefix, sender) in self.prefixes.lock().iter() {
            if changes.iter().any(|change| change.key.starts_with(prefix)) {
                sender.send_replace(());
            }
        }
    }
}

// === impl Topics ===

impl Topics {
    fn listen(self: &Arc<Self>, topic: &str) -> Listener {
        let changes = self.lock().entry(topic.to_owned()).or_insert_with(|| watch::Sender::new(())).subscribe();
        Listener { topic: topic.to_owned(), topics: Arc::downgrade(self), changes }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Listener ===

impl Wake for Listener {
    fn wake(&mut self) -> BoxFuture<'_, Result<(), FabricError>> {
        Box::pin(async { self.changes.changed().await.map_err(|_| FabricError::Closed) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(topics) = self.topics.upgrade() else { return };
        let mut senders = topics.lock();
        // This one still counts; nobody can join while the lock is held.
        if senders.get(&self.topic).is_some_and(|sender| sender.receiver_count() <= 1) {
            senders.remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_nobody_listens_to_is_forgotten() {
        let wakes = Wakes::default();
        let (first, second) = (wakes.follow("log"), wakes.follow("log"));
        drop(first);
        assert_eq!(wakes.logs.lock().len(), 1);
        drop(second);
        assert_eq!(wakes.logs.lock().len(), 0);
    }
}
