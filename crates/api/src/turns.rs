//! Turns at what costs memory while it lasts. One account has no more than its part of them, so that the others have some.
//!
//! Accounts that hold all turns together, each by a body that comes as slowly as a body may, would keep the others out: so
//! while somebody waits for a turn, a body that comes much more slowly than most networks carry it loses its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use selvedge_model::AccountId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::body::BodyError;
use crate::error::ApiError;

/// How long a request waits for others of its own account: a client may send several parts of one upload at once, over a
/// network that takes minutes for each. wrangler sends three, and gives an answer 300 s.
const ACCOUNT_WAIT_MAX: Duration = Duration::from_secs(240);
/// How long a request waits for those of other accounts.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// When it is worth trying again after that, in seconds: clients do not sleep for long, and the next try waits too.
const RETRY_AFTER_S: u64 = 10;
/// How many bytes a second must have come of a body while others wait for its turn: 256 KiB.
const CONTENDED_BYTES_PER_S: u64 = 256 * 1024;
/// How long a body may be waited for before that is asked of it.
const CONTENDED_GRACE: Duration = Duration::from_secs(10);
/// How often it is looked at whether others wait.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Turns at something.
pub struct Turns {
    what: &'static str,
    all: Arc<Semaphore>,
    account_max: usize,
    /// Those of the accounts that have or want some.
    accounts: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
    /// How many wait for a turn that others have.
    waiting: Arc<AtomicUsize>,
}

/// A turn, which ends as it is dropped.
pub struct Turn {
    _of_account: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    waiting: Arc<AtomicUsize>,
}

/// Counts one who waits.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn begin(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// `max` turns in all, `account_max` of them for one account.
    pub fn new(what: &'static str, max: usize, account_max: usize) -> Self {
        Self {
            what,
            all: Arc::new(Semaphore::new(max)),
            account_max,
            accounts: Mutex::default(),
            waiting: Arc::default(),
        }
    }

    /// Waits for a turn.
    pub async fn take(&self, account: &AccountId) -> Result<Turn, ApiError> {
        let (of_account, of_all) = (self.of(account), Arc::clone(&self.all));
        let refused = || {
            let message = format!("too many {} are under way; try again", self.what);
            ApiError::too_many(message, RETRY_AFTER_S)
        };
        // The account's own first: who has too many waits without taking a place that others could have.
        let Ok(Ok(of_account)) = tokio::time::timeout(ACCOUNT_WAIT_MAX, of_account.acquire_owned()).await else {
            return Err(refused());
        };
        let of_all = match Arc::clone(&of_all).try_acquire_owned() {
            Ok(of_all) => of_all,
            Err(_) => {
                let _waiting = Waiting::begin(&self.waiting);
                match tokio::time::timeout(WAIT_MAX, of_all.acquire_owned()).await {
                    Ok(Ok(of_all)) => of_all,
                    Ok(Err(_)) | Err(_) => return Err(refused()),
                }
            }
        };
        Ok(Turn { _of_account: of_account, _of_all: of_all, waiting: Arc::clone(&self.waiting) })
    }

    fn of(&self, account: &AccountId) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock();
        accounts.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = accounts.entry(account.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.account_max)));
        Arc::clone(turns)
    }
}

impl Turn {
    /// A body that ends if it comes slowly while others wait for the turn.
    pub fn hurry(&self, body: Body) -> Body {
        let look = Box::pin(tokio::time::sleep(LOOK_INTERVAL));
        let waiting = Arc::clone(&self.waiting);
        Body::new(Hurried { body, waiting, got: 0, waited: Duration::ZERO, since: None, look })
    }
}

/// A body that has a turn.
struct Hurried {
    body: Body,
    waiting: Arc<AtomicUsize>,
    /// Bytes that have come.
    got: u64,
    /// How long they were waited for, but for the time [`Self::since`].
    waited: Duration,
    /// Since when the next is waited for, if it is: the time in which what came is worked on is not the client's.
    since: Option<Instant>,
    look: Pin<Box<Sleep>>,
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waited += this.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            if let Some(Ok(frame)) = &frame {
                this.got += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame);
        }
        let since = *this.since.get_or_insert_with(Instant::now);
        loop {
            ready!(this.look.as_mut().poll(cx));
            let waited = this.waited + since.elapsed();
            if this.waiting.load(Ordering::Relaxed) > 0 && is_slow(this.got, waited) {
                let error = BodyError::Contended { got: this.got, waited, bytes_per_s: CONTENDED_BYTES_PER_S };
                return Poll::Ready(Some(Err(axum::Error::new(error))));
            }
            this.look.as_mut().reset(Instant::now() + LOOK_INTERVAL);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether that is less than may be asked of a body whose turn others want.
fn is_slow(got: u64, waited: Duration) -> bool {
    waited >= CONTENDED_GRACE && got < waited.as_secs().saturating_mul(CONTENDED_BYTES_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_account_leaves_turns_to_the_others() {
        let turns = Turns::new("uploads", 3, 2);
        let account = |digit: &str| digit.repeat(32).parse::<AccountId>().unwrap();
        let (one, other) = (account("1"), account("2"));
        let held = (turns.take(&one).await.unwrap(), turns.take(&one).await.unwrap());
        let third = turns.take(&one);
        assert!(tokio::time::timeout(Duration::from_millis(20), third).await.is_err());
        drop(turns.take(&other).await.unwrap());
        drop(held);
        drop(turns.take(&one).await.unwrap());
        drop(turns.of(&other));
        assert_eq!(turns.accounts.lock().len(), 1, "nothing is kept of who wants nothing");
    }

    #[tokio::test]
    async fn only_who_waits_for_others_counts_as_waiting() {
        let turns = Turns::new("uploads", 1, 1);
        let account = |digit: &str| digit.repeat(32).parse::<AccountId>().unwrap();
        let (one, other) = (account("1"), account("2"));
        let held = turns.take(&one).await.unwrap();
        let poll_once = async |account: &AccountId| {
            let mut taking = std::pin::pin!(turns.take(account));
            let pending = std::future::poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx).is_pending())).await;
            (pending, turns.waiting.load(Ordering::Relaxed))
        };
        assert_eq!(poll_once(&one).await, (true, 0), "an account waits for itself");
        assert_eq!(poll_once(&other).await, (true, 1));
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0, "who goes away waits no more");
        drop(held);
    }

    #[test]
    fn a_body_is_slow_after_a_while_by_what_has_come_of_it() {
        assert!(!is_slow(0, CONTENDED_GRACE - Duration::from_millis(1)));
        assert!(is_slow(0, CONTENDED_GRACE));
        let enough = CONTENDED_GRACE.as_secs() * CONTENDED_BYTES_PER_S;
        assert!(!is_slow(enough, CONTENDED_GRACE));
        assert!(is_slow(enough, CONTENDED_GRACE * 2));
    }

    #[test]
    fn who_lost_a_turn_is_told_to_send_the_body_again() {
        let error = BodyError::Contended { got: 1, waited: CONTENDED_GRACE, bytes_per_s: CONTENDED_BYTES_PER_S };
        let refused = ApiError::from(&error);
        assert_eq!(refused.status, http::StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.retry_after_s.is_some());
        assert!(refused.message.contains("send it again"), "{}", refused.message);
    }

    #[tokio::test]
    async fn what_a_turn_hurries_comes_as_it_is() {
        use http_body_util::BodyExt;

        let turns = Turns::new("uploads", 1, 1);
        let turn = turns.take(&"1".repeat(32).parse().unwrap()).await.unwrap();
        let body = turn.hurry(Body::from("a body"));
        assert_eq!(body.size_hint().exact(), Some(6));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a body");
    }
}
