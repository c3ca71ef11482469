//! Blobs that something under way relies on.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use selvedge_model::BlobHash;

/// The blobs that uploads under way rely on, each with how many do. None of them is removed, whatever a clock says of how
/// long it has been unused.
#[derive(Default)]
pub(crate) struct Pins(Mutex<HashMap<BlobHash, usize>>);

/// Blobs that stay for as long as this does.
pub(crate) struct Pinned {
    pins: Arc<Pins>,
    blobs: Vec<BlobHash>,
}

impl Pins {
    /// To be called while nothing is removed.
    pub fn pin(self: &Arc<Self>, blobs: Vec<BlobHash>) -> Pinned {
        let mut pins = self.0.lock();
        for blob in &blobs {
            *pins.entry(blob.clone()).or_default() += 1;
        }
        drop(pins);
        Pinned { pins: Arc::clone(self), blobs }
    }

    /// Whether something relies on the blob.
    pub fn hold(&self, blob: &BlobHash) -> bool {
        self.0.lock().contains_key(blob)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        for blob in &self.blobs {
            let Some(count) = pins.get_mut(blob) else { continue };
            *count -= 1;
            if *count == 0 {
                pins.remove(blob);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_stays_until_the_last_that_relies_on_it_is_gone() {
        let (pins, blob) = (Arc::new(Pins::default()), "a".repeat(64).parse::<BlobHash>().unwrap());
        let (first, second) = (pins.pin(vec![blob.clone(), blob.clone()]), pins.pin(vec![blob.clone()]));
        drop(first);
        assert!(pins.hold(&blob));
        drop(second);
        assert!(!pins.hold(&blob));
        assert!(pins.0.lock().is_empty());
    }
}
