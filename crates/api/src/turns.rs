//! Turns at what costs memory while it lasts. One account has no more than its part of them, so that the others have some.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use selvedge_model::AccountId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// How long a request waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Turns at something.
pub struct Turns {
    what: &'static str,
    all: Arc<Semaphore>,
    account_max: usize,
    /// Those of the accounts that have or want some.
    accounts: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// A turn, which ends as it is dropped.
pub struct Turn {
    _of_account: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    /// `max` turns in all, `account_max` of them for one account.
    pub fn new(what: &'static str, max: usize, account_max: usize) -> Self {
        Self { what, all: Arc::new(Semaphore::new(max)), account_max, accounts: Mutex::default() }
    }

    /// Waits for a turn.
    pub async fn take(&self, account: &AccountId) -> Result<Turn, ApiError> {
        let (of_account, of_all) = (self.of(account), Arc::clone(&self.all));
        // The account's own first: who has too many waits without taking a place that others could have.
        let both = async {
            Ok::<_, tokio::sync::AcquireError>((of_account.acquire_owned().await?, of_all.acquire_owned().await?))
        };
        match tokio::time::timeout(WAIT_MAX, both).await {
            Ok(Ok((of_account, of_all))) => Ok(Turn { _of_account: of_account, _of_all: of_all }),
            Ok(Err(_)) | Err(_) => {
                let message = format!("too many {} are under way; try again", self.what);
                Err(ApiError::too_many(message, WAIT_MAX.as_secs()))
            }
        }
    }

    fn of(&self, account: &AccountId) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock();
        accounts.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = accounts.entry(account.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.account_max)));
        Arc::clone(turns)
    }
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
}
