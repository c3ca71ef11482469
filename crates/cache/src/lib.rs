//! The HTTP cache behind `caches.default` and `caches.open(name)`.
//!
//! One [`HttpCache`] serves a whole PoP. It guarantees:
//!
//! - **Bounded.** Bytes held, bytes per entry, URLs and variants per URL each have a limit ([`CacheLimits`]); the least
//!   recently used URL leaves first. An entry is charged for its body, headers and key, and owns its memory alone.
//! - **Partitioned.** A [`CacheKey`] begins with the namespace the edge gives (the account) and the cache's name, so
//!   nothing a worker can write reaches another account's entries.
//! - **Fresh or absent.** An entry past its lifetime is never returned; there is no revalidation and no stale serving,
//!   because the Cache API has neither.
//!
//! What is stored and for how long follows the Workers platform rather than RFC 9111 to the letter, which is why no
//! general cache-semantics crate decides it: explicit lifetimes hold for every status, statuses without one get the
//! platform's default lifetimes, `private=Set-Cookie` removes the cookie instead of refusing the response, and the
//! request's own `Cache-Control` is ignored. `Vary` is honoured (see [`HttpCache::put`]), which the platform does not do.
//!
//! Time is always an argument: nothing here reads a clock.
//!
//! Sources: <https://developers.cloudflare.com/workers/runtime-apis/cache/>,
//! <https://developers.cloudflare.com/cache/concepts/cache-control/>, RFC 9110 (conditions, ranges), RFC 9111 (`Age`).
#![forbid(unsafe_code)]

mod answer;
mod cache;
mod cache_control;
mod conditions;
mod key;
mod policy;
mod vary;

pub use cache::{CacheLimits, CacheRequest, CacheUsage, HttpCache, QueryOptions, StoreOutcome};
pub use key::{CacheKey, KeyError, URL_BYTES_MAX};
pub use policy::{NotStored, PutError, VARY_NAMES_MAX};

/// Default bound on everything the cache holds, in bytes: 64 MiB.
pub const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Default bound on one stored response (headers, body and key), in bytes: 16 MiB.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Default bound on the number of URLs held.
pub const ENTRIES_MAX: usize = 65_536;
/// Bound on the variants (by `Vary`) of one URL; the oldest leaves first.
pub const VARIANTS_MAX: usize = 64;
