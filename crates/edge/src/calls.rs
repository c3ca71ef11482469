//! How far one request may reach: how many workers it calls, and how often it comes back from the network.
//!
//! Calls between workers are counted together, however they branch: all events that one request makes share a count.
//! A worker that asks the network for its own host leaves that count behind; there `CDN-Loop` (RFC 8586) tells how often
//! the request has passed through here.

use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Invocations of workers that one request may make, its own included, as on the platform:
/// <https://developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/#limits>.
pub const INVOCATIONS_MAX: u32 = 32;
/// How often a request may come back from the network.
pub const LOOPS_MAX: u32 = 16;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// How this platform calls itself in that header.
const NAME: &str = "selvedge";
/// The most of what others say in that header that is passed on, in bytes.
const OTHERS_BYTES_MAX: usize = 1024;

/// A request made too many calls of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "Too many Worker invocations: a single request has a maximum of {INVOCATIONS_MAX}, calls of service bindings and of \
     its own entrypoints among them. Does a worker call itself, or two each other?"
)]
pub struct TooManyCalls;

/// A request came back from the network too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this request has passed through here {loops} times, and {LOOPS_MAX} are allowed: a worker fetches its own host, or \
     two fetch each other (CDN-Loop)"
)]
pub struct Loops {
    loops: u32,
}

/// The calls of workers that one request makes.
#[derive(Debug, Default)]
pub struct Calls {
    made: AtomicU32,
    /// How often the request came back from the network.
    loops: u32,
}

impl Calls {
    /// Those of a request that arrives with these headers.
    pub fn arrived(headers: &HeaderMap) -> Result<Self, Loops> {
        let loops = members(headers).filter_map(loops_of).fold(0_u32, u32::saturating_add);
        if loops > LOOPS_MAX { Err(Loops { loops }) } else { Ok(Self { made: AtomicU32::new(0), loops }) }
    }

    /// Counts one more.
    pub fn call(&self) -> Result<(), TooManyCalls> {
        // The request itself is one.
        let made = self.made.fetch_add(1, Ordering::Relaxed).saturating_add(2);
        if made > INVOCATIONS_MAX { Err(TooManyCalls) } else { Ok(()) }
    }

    /// Says in the headers of a request to the network that it passed through here once more.
    pub fn mark(&self, headers: &mut HeaderMap) {
        let mut text = String::new();
        for other in members(headers).filter(|member| loops_of(member).is_none()) {
            if text.len() + other.len() <= OTHERS_BYTES_MAX {
                text.push_str(other);
                text.push_str(", ");
            }
        }
        text.push_str(&format!("{NAME}; loops={}", self.loops + 1));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(CDN_LOOP, value);
        }
    }
}

/// What stands in the header, of all who wrote there.
fn members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CDN_LOOP).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

/// How often a request passed through here, where that is what a member says.
fn loops_of(member: &str) -> Option<u32> {
    let mut parts = member.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let said = parts.find_map(|part| part.strip_prefix("loops=")?.parse().ok());
    Some(said.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_request_are_bounded_together() {
        let calls = Calls::default();
        for _ in 1..INVOCATIONS_MAX {
            assert_eq!(calls.call(), Ok(()));
        }
        assert_eq!(calls.call(), Err(TooManyCalls));
        assert_eq!(calls.call(), Err(TooManyCalls));
    }

    #[test]
    fn a_request_that_comes_back_too_often_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(CDN_LOOP, HeaderValue::from_static("other.example; x=1"));
        for _ in 0..LOOPS_MAX {
            Calls::arrived(&headers).unwrap().mark(&mut headers);
        }
        assert_eq!(headers.get(CDN_LOOP).unwrap(), "other.example; x=1, selvedge; loops=16");
        Calls::arrived(&headers).unwrap().mark(&mut headers);
        assert_eq!(Calls::arrived(&headers).unwrap_err(), Loops { loops: LOOPS_MAX + 1 });
        // A worker that writes the header itself says no less than there was.
        headers.insert(CDN_LOOP, HeaderValue::from_static("selvedge; loops=4000000000, SELVEDGE; loops=4000000000"));
        assert!(Calls::arrived(&headers).is_err());
    }

    #[test]
    fn what_a_worker_says_of_loops_does_not_count() {
        let mut headers = HeaderMap::new();
        headers.insert(CDN_LOOP, HeaderValue::from_static("selvedge; loops=0, a.example"));
        Calls { made: AtomicU32::new(0), loops: 3 }.mark(&mut headers);
        assert_eq!(headers.get(CDN_LOOP).unwrap(), "a.example, selvedge; loops=4");
    }
}
