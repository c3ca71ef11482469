//! What the clock does to the events of an instance. It is looked at now and then, for all events at once: a timer for
//! each would cost more than all else in the edge.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use selvedge_door::{Reset, ResetCode};
use selvedge_model::LimitName;

use super::Instance;
use crate::edge::{Edge, RequestId};
use crate::records::LogRecord;

/// Behind which an event that was sent and has not begun for so long waits is code that does not give way.
const STALLED_AFTER: Duration = Duration::from_millis(50);

impl Instance {
    /// Ends the events that should have had an answer by now, and those that were answered too long ago; notes whether
    /// any waits to begin.
    pub fn look(&self, edge: &Edge, now: Instant) {
        let mut overdue: Vec<(u32, RequestId)> = Vec::new();
        let mut expired: Vec<u32> = Vec::new();
        let mut stalled = false;
        let allowed = Duration::from_millis(self.deployed.version.manifest.limits.wait_until_ms);
        for (stream, live) in self.live.lock().iter_mut() {
            if live.deadline.is_some_and(|deadline| deadline <= now) {
                live.deadline = None;
                overdue.push((*stream, live.request_id));
            }
            stalled |= now.saturating_duration_since(live.began) >= STALLED_AFTER && !self.mux.has_begun(*stream);
            // An event that is about to be sent has no stream for a moment.
            if !self.mux.is_answer_over(*stream) {
                live.over_since = None;
            } else if !live.expired && now.saturating_duration_since(*live.over_since.get_or_insert(now)) >= allowed {
                live.expired = true;
                expired.push(*stream);
            }
        }
        self.stalled.store(stalled, Ordering::Relaxed);
        for (stream, request_id) in overdue {
            let wall_ms = self.deployed.version.manifest.limits.wall_ms;
            let failure = self.deployed.limit(&request_id.to_string(), LimitName::WallMs, wall_ms, wall_ms);
            let text = serde_json::to_string(&failure).unwrap_or_default();
            self.mux.reset(stream, &Reset::new(ResetCode::Limit, text));
        }
        for stream in expired {
            self.expire(edge, stream, allowed);
        }
    }

    /// Cancels what an event still does though its answer was sent, or its client left, as long ago as is allowed.
    fn expire(&self, edge: &Edge, stream: u32, allowed: Duration) {
        let text = format!(
            "waitUntil() tasks did not complete within the allowed time after invocation end and have been cancelled \
             (limit wait_until_ms: allowed {}). See: \
             https://developers.cloudflare.com/workers/runtime-apis/context/#waituntil",
            allowed.as_millis()
        );
        if let Some(watch) = self.watch(stream) {
            watch.log("warn", vec![text.as_str().into()], text.len());
        }
        edge.records().log(LogRecord {
            worker: self.deployed.version.manifest.worker.clone(),
            request_id: self.request_id(stream),
            level: "warn".into(),
            message: vec![text],
        });
        self.left_behind.store(true, Ordering::Release);
        self.mux.expire(stream);
    }

    /// Whether events that were sent to it wait behind code that does not give way.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }
}
