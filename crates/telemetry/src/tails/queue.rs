//! What waits to be sent to one tail.
//!
//! A tail that does not keep up loses events: when its queue is full, it is told so once, and what follows is left out
//! until half of the queue is sent; then it is told that it sees everything again. Both messages come in their place
//! between the events.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Events that wait for one tail.
pub(super) const MESSAGES_MAX: usize = 1024;
/// What they may hold together, in bytes, unless a single one is larger.
pub(super) const BYTES_MAX: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Arc<str>>,
    bytes: usize,
    /// How many events were left out since the queue was last full; none if it is not.
    left_out: Option<u64>,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    /// Adds an event, or leaves it out.
    pub(super) fn push(&self, message: &Arc<str>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if let Some(left_out) = &mut state.left_out {
            *left_out += 1;
            return;
        }
        let fits = state.messages.len() < MESSAGES_MAX && state.bytes.saturating_add(message.len()) <= BYTES_MAX;
        if fits || state.messages.is_empty() {
            state.add(Arc::clone(message));
        } else {
            state.left_out = Some(1);
            state.add(notice(
                "overload",
                "This tail is too slow for the worker's events: some are left out from here on.",
            ));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The next message, once there is one; none when the queue is closed and empty. One task at a time.
    pub(super) async fn next(&self) -> Option<Arc<str>> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(message) = state.take() {
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
            }
            // A change since then has left its mark: this returns at once.
            self.changed.notified().await;
        }
    }

    #[cfg(test)]
    pub(super) fn first(&self) -> Option<Arc<str>> {
        self.state.lock().messages.front().cloned()
    }

    /// Takes no more. What waits can still be had.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }
}

// === impl State ===

impl State {
    fn add(&mut self, message: Arc<str>) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.messages.push_back(message);
    }

    fn take(&mut self) -> Option<Arc<str>> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        if let Some(left_out) = self.left_out
            && self.messages.len() <= MESSAGES_MAX / 2
            && self.bytes <= BYTES_MAX / 2
        {
            self.left_out = None;
            self.add(notice("overload-stop", &format!("{left_out} events were left out. All are shown again.")));
        }
        Some(message)
    }
}

/// A message about the tail itself, in the shape of an event: clients read its logs and exceptions as of any other.
fn notice(kind: &str, message: &str) -> Arc<str> {
    let notice = json!({
        "outcome": "ok",
        "scriptName": Value::Null,
        "exceptions": [],
        "logs": [],
        "eventTimestamp": Value::Null,
        "event": {"type": kind, "message": message},
    });
    notice.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: impl ToString) -> Arc<str> {
        text.to_string().into()
    }

    fn drain(queue: &Queue) -> Vec<String> {
        let mut drained = Vec::new();
        while let Some(message) = queue.state.lock().take() {
            drained.push(message.to_string());
        }
        drained
    }

    fn kind(message: &str) -> Option<String> {
        let message: Value = serde_json::from_str(message).ok()?;
        assert_eq!((&message["logs"], &message["exceptions"]), (&json!([]), &json!([])));
        Some(message["event"]["type"].as_str()?.to_owned())
    }

    #[test]
    fn a_slow_tail_is_told_what_it_misses_and_when_that_ends() {
        let queue = Queue::default();
        for event in 0..MESSAGES_MAX + 10 {
            queue.push(&message(format!("event {event}")));
        }
        let drained = drain(&queue);
        assert_eq!(drained.len(), MESSAGES_MAX + 2);
        assert_eq!(drained[MESSAGES_MAX - 1], format!("event {}", MESSAGES_MAX - 1));
        assert_eq!(kind(&drained[MESSAGES_MAX]).unwrap(), "overload");
        assert_eq!(kind(&drained[MESSAGES_MAX + 1]).unwrap(), "overload-stop");
        assert!(drained[MESSAGES_MAX + 1].contains("10 events"), "{}", drained[MESSAGES_MAX + 1]);
        queue.push(&message("after"));
        assert_eq!(drain(&queue), ["after"]);
    }

    #[test]
    fn events_are_shown_again_once_half_of_the_queue_is_sent() {
        let queue = Queue::default();
        for event in 0..=MESSAGES_MAX {
            queue.push(&message(event));
        }
        for _ in 0..MESSAGES_MAX / 2 {
            queue.state.lock().take().unwrap();
        }
        queue.push(&message("left out"));
        queue.state.lock().take().unwrap();
        queue.push(&message("shown"));
        let drained = drain(&queue);
        assert_eq!(drained.last().unwrap(), "shown");
        assert!(!drained.contains(&"left out".to_owned()));
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let queue = Queue::default();
        queue.push(&message("x".repeat(2 * BYTES_MAX)));
        queue.push(&message("y"));
        let drained = drain(&queue);
        assert_eq!(drained[0].len(), 2 * BYTES_MAX);
        assert_eq!(kind(&drained[1]).unwrap(), "overload");
        assert_eq!(kind(&drained[2]).unwrap(), "overload-stop");
    }

    #[tokio::test]
    async fn what_waits_when_it_closes_is_still_had() {
        let queue = Queue::default();
        queue.push(&message("last"));
        queue.close();
        queue.push(&message("too late"));
        assert_eq!(queue.next().await.unwrap().as_ref(), "last");
        assert_eq!(queue.next().await, None);
    }
}
