//! A bound on time without progress. What moves on pays nothing for it: the timer is made when there is something to wait for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// How long a client may take nothing of an answer that waits to be sent.
pub const ANSWER_STALL_MAX: Duration = Duration::from_secs(60);
/// How long nothing may come of a request's body that is waited for.
pub const BODY_STALL_MAX: Duration = Duration::from_secs(60);
/// The most of an answer that must be taken in [`ANSWER_STALL_MAX`], where a protocol shows progress by pieces: 64 KiB.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// How long something has been at a standstill.
pub struct Stall {
    max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Stall ===

impl Stall {
    /// Over after `max` without progress.
    pub const fn new(max: Duration) -> Self {
        Self { max, timer: None }
    }

    /// There was progress.
    pub fn moved(&mut self) {
        self.timer = None;
    }

    /// Ready once there was none for too long. The time begins with the first call since the last progress.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let max = self.max;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(max))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_standstill_is_over_and_progress_begins_another() {
        let mut stall = Stall::new(Duration::from_millis(1));
        poll_fn(|cx| stall.poll_over(cx)).await;
        stall.moved();
        assert!(stall.timer.is_none());
        poll_fn(|cx| stall.poll_over(cx)).await;
    }
}
