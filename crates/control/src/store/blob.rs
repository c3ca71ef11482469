//! Which versions use which blobs, and which blobs nothing uses any more.
//!
//! A blob is noted as unused *before* it is put, and again when the last version that used it goes. Whatever is noted,
//! not used, and noted longer ago than the grace is removed; so an upload that ends halfway leaves nothing behind.

use rusqlite::OptionalExtension;
use selvedge_model::{BlobHash, VersionId, VersionRecord};

use super::{View, parse};
use crate::error::ControlError;
use crate::pins::Pins;

/// The most blobs that are looked at in one go.
const SWEEP_MAX: usize = 64;

/// Blobs that can be removed.
pub(crate) struct Sweep {
    pub unused: Vec<BlobHash>,
    /// Whether there may be more to look at.
    pub more: bool,
}

fn blobs_of(version: &VersionRecord) -> impl Iterator<Item = &BlobHash> {
    let modules = version.modules.iter().map(|module| &module.blob);
    let maps = version.source_maps.iter().map(|map| &map.blob);
    modules.chain(maps).chain(version.assets.iter().map(|assets| &assets.files))
}

impl View<'_> {
    pub(super) fn use_blobs(&self, version: &VersionRecord) -> Result<(), ControlError> {
        let mut uses = self.0.prepare_cached("INSERT OR IGNORE INTO blob_uses (blob, version) VALUES (?1, ?2)")?;
        for blob in blobs_of(version) {
            uses.execute((blob.as_str(), version.id.as_str()))?;
        }
        if let Some(assets) = &version.assets {
            self.0
                .prepare_cached(
                    "INSERT OR IGNORE INTO manifests (blob, number, listed)
                     VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM manifests), 0)",
                )?
                .execute([assets.files.as_str()])?;
        }
        Ok(())
    }

    pub(super) fn disuse_blobs(&self, version: &VersionId, at_ms: u64) -> Result<(), ControlError> {
        let blobs = self.texts("SELECT blob FROM blob_uses WHERE version = ?1", [version.as_str()])?;
        self.0.prepare_cached("DELETE FROM blob_uses WHERE version = ?1")?.execute([version.as_str()])?;
        for blob in blobs {
            if !self.exists("SELECT 1 FROM blob_uses WHERE blob = ?1", [&blob])? {
                self.note(&blob, at_ms)?;
            }
        }
        Ok(())
    }

    /// Notes blobs as not used since then: also those that are, which does no harm.
    pub fn note_unused<'a>(
        &self,
        blobs: impl IntoIterator<Item = &'a BlobHash>,
        at_ms: u64,
    ) -> Result<(), ControlError> {
        blobs.into_iter().try_for_each(|blob| self.note(blob.as_str(), at_ms))
    }

    fn note(&self, blob: &str, at_ms: u64) -> Result<(), ControlError> {
        self.0
            .prepare_cached(
                "INSERT INTO unused (blob, since_ms) VALUES (?1, ?2)
                 ON CONFLICT (blob) DO UPDATE SET since_ms = max(since_ms, excluded.since_ms)",
            )?
            .execute((blob, at_ms as i64))?;
        Ok(())
    }

    /// A manifest of assets that is used, and whose files are not listed yet. One that nothing uses may be gone.
    pub fn unlisted_manifest(&self) -> Result<Option<BlobHash>, ControlError> {
        let question = "SELECT blob FROM manifests WHERE listed = 0
            AND EXISTS (SELECT 1 FROM blob_uses WHERE blob_uses.blob = manifests.blob) LIMIT 1";
        self.text(question, [])?.as_deref().map(parse).transpose()
    }

    /// A worker that has a version of the blob, with its account.
    pub fn user_of_blob(&self, blob: &BlobHash) -> Result<Option<String>, ControlError> {
        self.text(
            "SELECT account || '/' || worker FROM blob_uses JOIN versions ON versions.id = blob_uses.version
             WHERE blob = ?1 LIMIT 1",
            [blob.as_str()],
        )
    }

    /// Lists some of the files of a manifest as used by it.
    pub fn list_files(&self, manifest: &BlobHash, files: &[BlobHash]) -> Result<(), ControlError> {
        let number: i64 = self
            .0
            .prepare_cached("SELECT number FROM manifests WHERE blob = ?1")?
            .query_row([manifest.as_str()], |row| row.get(0))?;
        let mut insert =
            self.0.prepare_cached("INSERT OR IGNORE INTO manifest_files (file, manifest) VALUES (unhex(?1), ?2)")?;
        for file in files {
            insert.execute((file.as_str(), number))?;
        }
        Ok(())
    }

    /// All files of a manifest are listed.
    pub fn end_list(&self, manifest: &BlobHash) -> Result<(), ControlError> {
        self.0.prepare_cached("UPDATE manifests SET listed = 1 WHERE blob = ?1")?.execute([manifest.as_str()])?;
        Ok(())
    }

    /// Of the blobs that have been noted as unused since before that time, those that really are. The used ones are no
    /// longer noted; those that something under way relies on are noted anew. Of what manifests list, at most `rows_max`
    /// rows are released.
    pub fn sweep(&self, before_ms: u64, now_ms: u64, rows_max: usize, pins: &Pins) -> Result<Sweep, ControlError> {
        let noted = self.texts(
            "SELECT blob FROM unused WHERE since_ms < ?1 ORDER BY since_ms LIMIT ?2",
            (before_ms as i64, SWEEP_MAX as i64),
        )?;
        let mut sweep = Sweep { unused: Vec::new(), more: noted.len() == SWEEP_MAX };
        let mut left = rows_max;
        for blob in noted {
            let hash: BlobHash = parse(&blob)?;
            let used = self.exists("SELECT 1 FROM blob_uses WHERE blob = ?1", [&blob])?
                || self.exists("SELECT 1 FROM manifest_files WHERE file = unhex(?1)", [&blob])?;
            if used {
                self.0.prepare_cached("DELETE FROM unused WHERE blob = ?1")?.execute([&blob])?;
            } else if pins.hold(&hash) {
                self.note(&blob, now_ms)?;
            } else if self.release_manifest(&blob, now_ms, &mut left)? {
                sweep.unused.push(hash);
            } else {
                // It stays noted, and goes with the last of what it lists.
                sweep.more = true;
                break;
            }
        }
        Ok(sweep)
    }

    /// A manifest that nothing uses uses nothing either: its files are noted in their turn, at most `left` of them. Whether
    /// all are; the manifest is forgotten then. A blob that is no manifest has none.
    fn release_manifest(&self, blob: &str, at_ms: u64, left: &mut usize) -> Result<bool, ControlError> {
        let number: Option<i64> = self
            .0
            .prepare_cached("SELECT number FROM manifests WHERE blob = ?1")?
            .query_row([blob], |row| row.get(0))
            .optional()?;
        let Some(number) = number else { return Ok(true) };
        // A version may come to use it before all are released: then they are listed anew.
        self.0.prepare_cached("UPDATE manifests SET listed = 0 WHERE blob = ?1")?.execute([blob])?;
        let files = self.texts(
            "SELECT lower(hex(file)) FROM manifest_files WHERE manifest = ?1 LIMIT ?2",
            (number, *left as i64),
        )?;
        let mut release =
            self.0.prepare_cached("DELETE FROM manifest_files WHERE file = unhex(?1) AND manifest = ?2")?;
        for file in &files {
            release.execute((file, number))?;
            self.note(file, at_ms)?;
        }
        let all = files.len() < *left;
        *left -= files.len();
        if all {
            self.0.prepare_cached("DELETE FROM manifests WHERE blob = ?1")?.execute([blob])?;
        }
        Ok(all)
    }

    /// Blobs were removed.
    pub fn forget_blobs(&self, blobs: &[BlobHash]) -> Result<(), ControlError> {
        for blob in blobs {
            self.0.prepare_cached("DELETE FROM unused WHERE blob = ?1")?.execute([blob.as_str()])?;
            self.0.prepare_cached("DELETE FROM assets WHERE blob = ?1")?.execute([blob.as_str()])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    /// Rows that one sweep may release.
    const ROWS: usize = 10;

    fn hash(number: usize) -> BlobHash {
        format!("{number:064x}").parse().unwrap()
    }

    /// Lists files 1 to 25 as those of manifest 0, which has been unused for a while.
    fn list(view: &View<'_>) {
        let insert = "INSERT OR IGNORE INTO manifests (blob, number, listed) VALUES (?1, 7, 0)";
        view.0.execute(insert, [hash(0).as_str()]).unwrap();
        view.list_files(&hash(0), &(1..=25).map(hash).collect::<Vec<_>>()).unwrap();
        view.end_list(&hash(0)).unwrap();
        view.note_unused([&hash(0)], 1).unwrap();
    }

    fn count_files(view: &View<'_>) -> u64 {
        view.count("SELECT count(*) FROM manifest_files", []).unwrap()
    }

    fn sweep(view: &View<'_>, before_ms: u64) -> (Vec<BlobHash>, bool) {
        let sweep = view.sweep(before_ms, 100, ROWS, &Pins::default()).unwrap();
        (sweep.unused, sweep.more)
    }

    #[test]
    fn a_large_manifest_is_released_in_pieces_and_goes_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let writer = store.writer.lock();
        let view = View(&writer);
        list(&view);
        for left in [15, 5] {
            assert_eq!(sweep(&view, 50), (vec![], true));
            assert_eq!(count_files(&view), left);
        }
        assert_eq!(sweep(&view, 50), (vec![hash(0)], false));
        assert_eq!(count_files(&view), 0);
        assert!(!view.exists("SELECT 1 FROM manifests", []).unwrap());
        view.forget_blobs(&[hash(0)]).unwrap();
        // Its files are noted since then.
        assert_eq!(sweep(&view, 50), (vec![], false));
        assert_eq!(sweep(&view, 101).0, (1..=25).map(hash).collect::<Vec<_>>());
    }

    #[test]
    fn a_manifest_that_is_used_again_before_all_of_it_is_released_keeps_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let writer = store.writer.lock();
        let view = View(&writer);
        list(&view);
        assert_eq!(sweep(&view, 50), (vec![], true));
        view.0.execute("INSERT INTO blob_uses (blob, version) VALUES (?1, 'v')", [hash(0).as_str()]).unwrap();
        assert_eq!(view.unlisted_manifest().unwrap(), Some(hash(0)));
        list(&view);
        assert_eq!(count_files(&view), 25);
        assert_eq!(view.unlisted_manifest().unwrap(), None);
        assert_eq!(sweep(&view, 101), (vec![], false));
        assert_eq!(count_files(&view), 25);
    }
}
