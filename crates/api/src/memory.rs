//! Memory that clients make the API hold: what has come of bodies that are read whole, and what of answers is not taken yet.
//! Each account has no more than its part of it, so that the others have some.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use selvedge_model::AccountId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{ApiError, code};

/// What memory is counted in, in bytes: 4 KiB.
const UNIT_BYTES: usize = 4 * 1024;
/// Answers below that are not counted, in bytes: 16 KiB.
const SMALL_ANSWER_BYTES: u64 = 16 * 1024;
/// When it is worth trying again, in seconds.
const RETRY_AFTER_S: u64 = 5;

/// Who has a part of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sharer {
    Account(AccountId),
    /// Of who asks about no account: the network of an address.
    Client(IpAddr),
}

/// An amount of memory, and a part of it for each sharer.
pub struct Memory {
    what: &'static str,
    all: Arc<Semaphore>,
    share_units: usize,
    /// Those of the sharers that hold some.
    shares: Mutex<HashMap<Sharer, Arc<Semaphore>>>,
}

/// Memory that is held until this is dropped.
#[derive(Debug)]
pub struct Held {
    _of_sharer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Memory {
    /// `bytes_max` in all, `share_bytes_max` of it for one sharer.
    pub fn new(what: &'static str, bytes_max: usize, share_bytes_max: usize) -> Self {
        let all = Arc::new(Semaphore::new(bytes_max / UNIT_BYTES));
        Self { what, all, share_units: share_bytes_max / UNIT_BYTES, shares: Mutex::default() }
    }

    /// Takes memory, if there is some. What is more than a sharer's part takes all of it: it would never be had otherwise.
    pub fn take(&self, sharer: &Sharer, bytes: usize) -> Result<Held, ApiError> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES).min(self.share_units)).unwrap_or(u32::MAX);
        let own = self.of(sharer).try_acquire_many_owned(units).map_err(|_| {
            let whose = match sharer {
                Sharer::Account(_) => "this account",
                Sharer::Client(_) => "this client",
            };
            let message = format!("{} of {whose} take too much memory already; try again", self.what);
            ApiError::too_many(message, RETRY_AFTER_S)
        })?;
        let of_all = Arc::clone(&self.all).try_acquire_many_owned(units).map_err(|_| {
            let message = format!("{} of all clients take too much memory; try again", self.what);
            let mut error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code::TOO_MANY, message);
            error.retry_after_s = Some(RETRY_AFTER_S);
            error
        })?;
        Ok(Held { _of_sharer: own, _of_all: of_all })
    }

    fn of(&self, sharer: &Sharer) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(sharer) {
            return Arc::clone(share);
        }
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = Arc::new(Semaphore::new(self.share_units));
        shares.insert(sharer.clone(), Arc::clone(&share));
        share
    }

    /// An answer whose content counts until the client has taken it. One for which there is no memory is not given.
    pub async fn hold(&self, sharer: &Sharer, response: Response) -> Response {
        let Some(length) = response.body().size_hint().exact().filter(|length| *length >= SMALL_ANSWER_BYTES) else {
            return response;
        };
        let held = match self.take(sharer, usize::try_from(length).unwrap_or(usize::MAX)) {
            Ok(held) => held,
            Err(error) => return error.into_response(),
        };
        let (parts, body) = response.into_parts();
        match body.collect().await {
            // What holds the memory goes with the last piece of the content, wherever that waits.
            Ok(content) => {
                let owner = Content { bytes: content.to_bytes(), _held: held };
                Response::from_parts(parts, Body::from(Bytes::from_owner(owner)))
            }
            Err(error) => ApiError::internal(&error).into_response(),
        }
    }
}

/// What an answer is made of.
struct Content {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(digit: &str) -> Sharer {
        Sharer::Account(digit.repeat(32).parse().unwrap())
    }

    #[test]
    fn one_account_leaves_memory_to_the_others() {
        let memory = Memory::new("bodies", 4 * UNIT_BYTES, 2 * UNIT_BYTES);
        let (one, other, third) = (account("1"), account("2"), account("3"));
        let held = memory.take(&one, UNIT_BYTES + 1).unwrap();
        assert_eq!(memory.take(&one, 1).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        let more = memory.take(&other, 2 * UNIT_BYTES).unwrap();
        assert_eq!(memory.take(&third, 1).unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        drop((held, more));
        assert!(memory.take(&third, 1).is_ok());
        assert!(memory.take(&account("4"), 1).is_ok());
        assert_eq!(memory.shares.lock().len(), 1, "nothing is kept of who holds nothing");
    }

    #[test]
    fn what_is_more_than_a_part_is_had_by_who_holds_nothing_else() {
        let memory = Memory::new("answers", 4 * UNIT_BYTES, 2 * UNIT_BYTES);
        let small = memory.take(&account("1"), 1).unwrap();
        assert!(memory.take(&account("1"), 3 * UNIT_BYTES).is_err());
        drop(small);
        let large = memory.take(&account("1"), 3 * UNIT_BYTES).unwrap();
        assert!(memory.take(&account("1"), 1).is_err());
        assert!(memory.take(&account("2"), 2 * UNIT_BYTES).is_ok());
        drop(large);
    }

    #[tokio::test]
    async fn an_answer_counts_until_its_last_piece_is_gone() {
        let memory = Memory::new("answers", 8 * UNIT_BYTES, 8 * UNIT_BYTES);
        let large = || Response::new(Body::from(vec![b'x'; 5 * UNIT_BYTES]));
        let response = memory.hold(&account("1"), large()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.body().size_hint().exact(), Some(5 * UNIT_BYTES as u64));
        let refused = memory.hold(&account("1"), large()).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let mut content = response.into_body().collect().await.unwrap().to_bytes();
        let piece = content.split_off(10);
        drop(content);
        assert_eq!(memory.hold(&account("1"), large()).await.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(piece);
        assert_eq!(memory.hold(&account("1"), large()).await.status(), StatusCode::OK);
    }
}
