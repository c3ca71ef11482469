//! Keeping house: what was not finished is finished or forgotten, and what nothing refers to is removed.

use std::sync::Arc;

use selvedge_model::{AssetFiles, BlobHash};

use crate::bounds::{BLOB_GRACE, ROWS_MAX};
use crate::control::Control;
use crate::error::ControlError;

impl Control {
    /// One round of keeping house: publishes what a failure left unpublished, forgets uploads that were not finished, and
    /// removes blobs that nothing refers to any more. To be called every few minutes.
    pub async fn maintain(&self) -> Result<(), ControlError> {
        let kept = self.keep_house().await;
        // Whatever failed: it would only grow.
        let shortened = self.core.store.shorten_log().await;
        kept.and(shortened)
    }

    async fn keep_house(&self) -> Result<(), ControlError> {
        self.core.settle().await?;
        let now_ms = self.core.clock.now_ms();
        while self.core.store.write(move |view| view.forget_sessions(now_ms)).await? {}
        loop {
            // Before anything is removed: what a manifest lists is in use.
            while let Some(manifest) = self.core.store.read(|view| view.unlisted_manifest()).await? {
                if let Err(error) = self.list(manifest.clone()).await {
                    self.tell_unlisted(&manifest, &error).await?;
                    return Err(error);
                }
            }
            if !self.sweep(now_ms).await? {
                return Ok(());
            }
        }
    }

    async fn list(&self, manifest: BlobHash) -> Result<(), ControlError> {
        let missing =
            || ControlError::View { action: "find a list of assets", source: format!("{manifest} is gone").into() };
        let text = self.core.fabric.get_blob(&manifest).await?.ok_or_else(missing)?;
        let files: AssetFiles = serde_json::from_slice(&text)
            .map_err(|error| ControlError::View { action: "read a list of assets", source: error.into() })?;
        let files: Vec<BlobHash> = files.into_values().map(|file| file.blob).collect();
        for piece in files.chunks(ROWS_MAX) {
            let (manifest, piece) = (manifest.clone(), piece.to_vec());
            self.core.store.write(move |view| view.list_files(&manifest, &piece)).await?;
        }
        self.core.store.write(move |view| view.end_list(&manifest)).await
    }

    /// Tells the operator of a manifest that cannot be listed, the first time: it is tried again in each round.
    async fn tell_unlisted(&self, manifest: &BlobHash, error: &ControlError) -> Result<(), ControlError> {
        let told = self.unlisted.lock().replace(manifest.clone());
        if told.as_ref() == Some(manifest) {
            return Ok(());
        }
        let blob = manifest.clone();
        let worker = self.core.store.read(move |view| view.user_of_blob(&blob)).await?.unwrap_or_default();
        tracing::error!(
            worker,
            %manifest,
            %error,
            "a worker's list of assets cannot be read: no blob is removed until its assets are uploaded again or its \
             versions that have them are gone"
        );
        Ok(())
    }

    /// Removes some of the blobs that nothing refers to; whether there may be more.
    async fn sweep(&self, now_ms: u64) -> Result<bool, ControlError> {
        let _alone = self.blobs.write().await;
        let before_ms = now_ms.saturating_sub(BLOB_GRACE.as_millis() as u64);
        let pins = Arc::clone(&self.pins);
        let sweep = self.core.change_settled(move |view| {
            // Of a version that has come since the lists were read: what its manifest lists is in use, too.
            if view.unlisted_manifest()?.is_some() {
                return Ok(None);
            }
            view.sweep(before_ms, now_ms, ROWS_MAX, &pins).map(Some)
        });
        let Some(sweep) = sweep.await? else { return Ok(true) };
        for blob in &sweep.unused {
            self.core.fabric.remove_blob(blob).await?;
        }
        let more = sweep.more;
        self.core.store.write(move |view| view.forget_blobs(&sweep.unused)).await?;
        Ok(more)
    }
}
