//! Which variants are kept, and which of them goes when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Key;
use super::file::Checked;

/// Most variants that are kept, so that the memory for knowing them has a bound, too.
const VARIANTS_MAX: u64 = 65_536;

/// The variants that are kept, in the order of their last use.
pub(super) struct Kept {
    entries: HashMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: u64,
    bytes_max: u64,
}

struct Entry {
    /// As it counts.
    bytes: u64,
    last_use: u64,
    checked: Arc<Checked>,
}

// === impl Kept ===

impl Kept {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0, bytes_max }
    }

    /// What a file of so many bytes counts: a share of all for even the smallest, which bounds their number.
    fn counted(&self, bytes: u64) -> u64 {
        bytes.max(self.bytes_max / VARIANTS_MAX)
    }

    /// Whether a file of so many bytes could be kept, if no other were.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        self.counted(bytes) <= self.bytes_max
    }

    /// Adds a file of so many bytes. Gives those that are to go for it.
    pub(super) fn insert(&mut self, key: Key, bytes: u64, checked: Arc<Checked>) -> Vec<Key> {
        self.remove(&key);
        let bytes = self.counted(bytes);
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.entries.insert(key, Entry { bytes, last_use: self.uses, checked });
        self.bytes = self.bytes.saturating_add(bytes);
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
            gone.push(oldest);
        }
        gone
    }

    /// One that is asked for.
    pub(super) fn touch(&mut self, key: &Key) -> Option<Arc<Checked>> {
        let entry = self.entries.get_mut(key)?;
        self.by_use.remove(&entry.last_use);
        self.uses += 1;
        self.by_use.insert(self.uses, *key);
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.checked))
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.last_use);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Coding;

    fn key(number: u64) -> Key {
        Key { hash: blake3::hash(&number.to_le_bytes()), coding: Coding::Gzip }
    }

    #[test]
    fn what_was_not_used_the_longest_goes_first() {
        let mut kept = Kept::new(100);
        for number in 0..4 {
            assert!(kept.insert(key(number), 25, Arc::default()).is_empty());
        }
        kept.touch(&key(0)).unwrap();
        assert_eq!(kept.insert(key(4), 30, Arc::default()), [key(1), key(2)]);
        kept.remove(&key(3));
        assert!(kept.insert(key(5), 45, Arc::default()).is_empty());
        assert!(kept.touch(&key(3)).is_none() && kept.contains(&key(0)));
        // The same again takes its own place.
        assert!(kept.insert(key(5), 45, Arc::default()).is_empty());
        assert_eq!(kept.insert(key(6), 100, Arc::default()), [key(0), key(4), key(5)]);
        assert_eq!(kept.keys(), [key(6)]);
    }

    #[test]
    fn the_smallest_count_so_much_that_their_number_is_bounded() {
        let mut kept = Kept::new(VARIANTS_MAX * 10);
        let gone: usize = (0..VARIANTS_MAX + 5).map(|number| kept.insert(key(number), 1, Arc::default()).len()).sum();
        assert_eq!((gone, kept.entries.len(), kept.by_use.len()), (5, VARIANTS_MAX as usize, VARIANTS_MAX as usize));
    }

    #[test]
    fn one_that_is_larger_than_all_may_be_has_no_room() {
        let mut kept = Kept::new(100);
        assert!(kept.has_room_for(100) && !kept.has_room_for(101));
        assert_eq!(kept.insert(key(1), u64::MAX, Arc::default()), [key(1)]);
        assert_eq!(kept.bytes, 0);
    }
}
