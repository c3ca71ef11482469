//! A piece of a list.

use crate::bounds::PAGE_MAX;

/// Which piece of a list: what comes after `offset` entries, at most `limit` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub offset: u64,
    pub limit: u64,
}

impl Page {
    /// The first `limit` entries, as far as one page may go.
    pub fn first(limit: u64) -> Self {
        Self::new(0, limit)
    }

    /// A page; never longer than [`PAGE_MAX`].
    pub fn new(offset: u64, limit: u64) -> Self {
        // SQLite counts in i64.
        Self { offset: offset.min(i64::MAX as u64), limit: limit.min(PAGE_MAX) }
    }

    /// The `number`th page (from 1) of `per_page` entries each.
    pub fn numbered(number: u64, per_page: u64) -> Self {
        let limit = per_page.clamp(1, PAGE_MAX);
        Self::new(number.saturating_sub(1).saturating_mul(limit), limit)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}
