//! The store: partitioned, bounded, least recently used out first.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use clru::{CLruCache, CLruCacheConfig, WeightScale};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::answer::Stored;
use crate::key::CacheKey;
use crate::policy::{self, NotStored, PutError};
use crate::vary::Variant;
use crate::{CACHE_BYTES_MAX, ENTRIES_MAX, ENTRY_BYTES_MAX, VARIANTS_MAX};

/// Charged for each stored response besides its bytes: the structures around them.
const ENTRY_OVERHEAD_BYTES: usize = 512;
/// Charged for each header besides its name and value.
const HEADER_OVERHEAD_BYTES: usize = 64;

/// What one cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    pub cache_bytes_max: usize,
    /// Never above `cache_bytes_max` in effect.
    pub entry_bytes_max: usize,
    pub entries_max: usize,
}

/// What one cache holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    pub bytes: usize,
    pub entries: usize,
}

/// The request half of an operation.
#[derive(Clone, Copy, Debug)]
pub struct CacheRequest<'a> {
    pub key: &'a CacheKey,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// `CacheQueryOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Treat the request as `GET` whatever its method.
    pub ignore_method: bool,
}

/// What became of a `put` that did not throw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    Stored,
    NotStored(NotStored),
}

/// The HTTP cache of one PoP. See the crate's documentation for what it guarantees.
pub struct HttpCache {
    limits: CacheLimits,
    slots: Mutex<Slots>,
}

type Slots = CLruCache<CacheKey, Slot, std::hash::RandomState, SlotWeight>;

/// Every variant of one URL, oldest first.
#[derive(Default)]
struct Slot {
    entries: Vec<Entry>,
}

struct Entry {
    variant: Variant,
    stored: Arc<Stored>,
    bytes: usize,
}

struct SlotWeight;

// === impl CacheLimits ===

impl Default for CacheLimits {
    fn default() -> Self {
        Self { cache_bytes_max: CACHE_BYTES_MAX, entry_bytes_max: ENTRY_BYTES_MAX, entries_max: ENTRIES_MAX }
    }
}

// === impl HttpCache ===

impl HttpCache {
    pub fn new(limits: CacheLimits) -> Self {
        let capacity = NonZeroUsize::new(limits.cache_bytes_max).unwrap_or(NonZeroUsize::MIN);
        let slots = CLruCache::with_config(CLruCacheConfig::new(capacity).with_scale(SlotWeight));
        Self { limits, slots: Mutex::new(slots) }
    }

    /// The most body bytes worth collecting for [`Self::put`]; a longer body will not be stored.
    pub fn entry_bytes_max(&self) -> usize {
        self.limits.entry_bytes_max.min(self.limits.cache_bytes_max)
    }

    /// Refuses what `put` refuses with an exception, so that a caller need not collect the body first.
    pub fn check_put(&self, method: &Method, status: StatusCode, response: &HeaderMap) -> Result<(), PutError> {
        policy::check(method, status, response)
    }

    /// Stores `response` for `request`, replacing the variant that `request` would have matched.
    ///
    /// Variants are told apart by the values of the request headers that the response's `Vary` names.
    /// `Accept-Encoding` counts only if the body has a content coding. A response that is not stored leaves what was
    /// there in place.
    pub fn put(
        &self,
        request: CacheRequest<'_>,
        response: Response<Bytes>,
        now: SystemTime,
    ) -> Result<StoreOutcome, PutError> {
        policy::check(request.method, response.status(), response.headers())?;
        let entry = match self.entry(request, response, now) {
            Ok(entry) => entry,
            Err(reason) => return Ok(StoreOutcome::NotStored(reason)),
        };

        let mut slots = self.lock();
        let mut slot = slots.pop(request.key).unwrap_or_default();
        slot.insert(entry, request.headers, now);
        slot.shrink_to(self.entry_room(request.key));
        // Cannot be refused: `shrink_to` made it fit.
        let _ = slots.put_with_weight(request.key.clone(), slot);
        while slots.len() > self.limits.entries_max {
            slots.pop_back();
        }
        Ok(StoreOutcome::Stored)
    }

    /// The fresh response stored for `request`, with its conditions and range answered; `None` is a miss.
    pub fn match_request(
        &self,
        request: CacheRequest<'_>,
        options: QueryOptions,
        now: SystemTime,
    ) -> Option<Response<Bytes>> {
        if !options.allows(request.method) {
            return None;
        }
        let stored = self.find(request, now)?;
        Some(stored.answer(request.headers, now))
    }

    /// Removes every variant of the request's URL; whether a fresh one was there.
    pub fn delete(&self, request: CacheRequest<'_>, options: QueryOptions, now: SystemTime) -> bool {
        if !options.allows(request.method) {
            return false;
        }
        let slot = self.lock().pop(request.key);
        slot.is_some_and(|slot| slot.has_fresh(now))
    }

    pub fn usage(&self) -> CacheUsage {
        let slots = self.lock();
        CacheUsage { bytes: slots.weight(), entries: slots.len() }
    }

    /// The lock is held for a look-up or an insertion only, never while a body is copied or an answer is built.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Nothing under the lock leaves the map half-changed, so a panicked holder does not spoil it.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, request: CacheRequest<'_>, now: SystemTime) -> Option<Arc<Stored>> {
        let mut slots = self.lock();
        let slot = slots.get(request.key)?;
        let found = slot.find(request.headers, now);
        if found.is_none() && !slot.has_fresh(now) {
            slots.pop(request.key);
        }
        found
    }

    fn entry(&self, request: CacheRequest<'_>, response: Response<Bytes>, now: SystemTime) -> Result<Entry, NotStored> {
        let (mut parts, body) = response.into_parts();
        let terms = policy::terms(request.headers, parts.status, &mut parts.headers, now)?;
        let variant = Variant::new(terms.vary, request.headers);

        let bytes = ENTRY_OVERHEAD_BYTES + variant.bytes() + header_bytes(&parts.headers) + body.len();
        let bytes_max = self.entry_bytes_max().min(self.entry_room(request.key));
        if bytes > bytes_max {
            return Err(NotStored::TooLarge { bytes, bytes_max });
        }
        let stored = Stored {
            status: parts.status,
            headers: parts.headers,
            // A copy, because `body` may be a small view of a large buffer that it would keep alive.
            body: Bytes::copy_from_slice(&body),
            stored_at: now,
            initial_age: terms.initial_age,
            stale_at: now + terms.remaining,
        };
        Ok(Entry { variant, stored: Arc::new(stored), bytes })
    }

    /// What the variants of one URL may weigh together: all of the cache, less the key and the map's own count.
    fn entry_room(&self, key: &CacheKey) -> usize {
        self.limits.cache_bytes_max.saturating_sub(key.bytes() + 1)
    }
}

impl std::fmt::Debug for HttpCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HttpCache").field("limits", &self.limits).field("usage", &self.usage()).finish()
    }
}

// === impl QueryOptions ===

impl QueryOptions {
    fn allows(self, method: &Method) -> bool {
        self.ignore_method || *method == Method::GET
    }
}

// === impl Slot ===

impl Slot {
    fn find(&self, request: &HeaderMap, now: SystemTime) -> Option<Arc<Stored>> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.stored.is_fresh(now) && entry.variant.answers(request))
            .map(|entry| Arc::clone(&entry.stored))
    }

    fn has_fresh(&self, now: SystemTime) -> bool {
        self.entries.iter().any(|entry| entry.stored.is_fresh(now))
    }

    fn insert(&mut self, entry: Entry, request: &HeaderMap, now: SystemTime) {
        self.entries.retain(|old| old.stored.is_fresh(now) && !old.variant.answers(request));
        self.entries.push(entry);
        if self.entries.len() > VARIANTS_MAX {
            self.entries.remove(0);
        }
    }

    /// Drops the oldest variants until the rest weigh `bytes_max` at most.
    fn shrink_to(&mut self, bytes_max: usize) {
        let mut bytes = self.bytes();
        let excess = self.entries.iter().take_while(|entry| {
            let over = bytes > bytes_max;
            bytes = bytes.saturating_sub(entry.bytes);
            over
        });
        let excess = excess.count();
        self.entries.drain(..excess);
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

// === impl SlotWeight ===

impl WeightScale<CacheKey, Slot> for SlotWeight {
    fn weight(&self, key: &CacheKey, slot: &Slot) -> usize {
        key.bytes() + slot.bytes()
    }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES).sum()
}
