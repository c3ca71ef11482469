//! Which versions use which blobs, and which blobs nothing uses any more.
//!
//! A blob is noted as unused *before* it is put, and again when the last version that used it goes. Whatever is noted,
//! not used, and noted longer ago than the grace is removed; so an upload that ends halfway leaves nothing behind.

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
    /// longer noted; those that something under way relies on are noted anew.
    pub fn sweep(&self, before_ms: u64, now_ms: u64, pins: &Pins) -> Result<Sweep, ControlError> {
        let noted = self.texts(
            "SELECT blob FROM unused WHERE since_ms < ?1 ORDER BY since_ms LIMIT ?2",
            (before_ms as i64, SWEEP_MAX as i64),
        )?;
        let mut sweep = Sweep { unused: Vec::new(), more: noted.len() == SWEEP_MAX };
        for blob in noted {
            let hash: BlobHash = parse(&blob)?;
            let used = self.exists("SELECT 1 FROM blob_uses WHERE blob = ?1", [&blob])?
                || self.exists("SELECT 1 FROM manifest_files WHERE file = unhex(?1)", [&blob])?;
            if used {
                self.0.prepare_cached("DELETE FROM unused WHERE blob = ?1")?.execute([&blob])?;
            } else if pins.hold(&hash) {
                self.note(&blob, now_ms)?;
            } else {
                self.release_manifest(&blob, now_ms)?;
                sweep.unused.push(hash);
            }
        }
        Ok(sweep)
    }

    /// A manifest that nothing uses uses nothing either: its files are noted in their turn.
    fn release_manifest(&self, blob: &str, at_ms: u64) -> Result<(), ControlError> {
        let Some(number) = self.text("SELECT CAST(number AS TEXT) FROM manifests WHERE blob = ?1", [blob])? else {
            return Ok(());
        };
        let files =
            self.texts("SELECT lower(hex(file)) FROM manifest_files WHERE manifest = CAST(?1 AS INTEGER)", [&number])?;
        self.0.prepare_cached("DELETE FROM manifest_files WHERE manifest = CAST(?1 AS INTEGER)")?.execute([&number])?;
        self.0.prepare_cached("DELETE FROM manifests WHERE blob = ?1")?.execute([blob])?;
        files.iter().try_for_each(|file| self.note(file, at_ms))
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
