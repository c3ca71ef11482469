//! Keeping house: what was not finished is forgotten, and what nothing refers to is removed.

use selvedge_model::{AssetFiles, BlobHash};

use crate::bounds::BLOB_GRACE;
use crate::control::Control;
use crate::error::ControlError;

impl Control {
    /// One round of keeping house: removes blobs that nothing refers to any more, forgets uploads that were not finished.
    /// To be called every few minutes.
    pub async fn maintain(&self) -> Result<(), ControlError> {
        let now_ms = self.core.clock.now_ms();
        self.core
            .store
            .write(move |view| {
                while view.forget_sessions(now_ms)? > 0 {}
                Ok(())
            })
            .await?;
        // Before anything is removed: what a manifest lists is in use.
        while let Some(manifest) = self.core.store.read(|view| view.unlisted_manifest()).await? {
            self.list(manifest).await?;
        }
        while self.sweep(now_ms).await? {}
        Ok(())
    }

    async fn list(&self, manifest: BlobHash) -> Result<(), ControlError> {
        let missing =
            || ControlError::View { action: "find a list of assets", source: format!("{manifest} is gone").into() };
        let text = self.core.fabric.get_blob(&manifest).await?.ok_or_else(missing)?;
        let files: AssetFiles = serde_json::from_slice(&text)
            .map_err(|error| ControlError::View { action: "read a list of assets", source: error.into() })?;
        self.core.store.write(move |view| view.list_manifest(&manifest, &files)).await
    }

    /// Removes some of the blobs that nothing refers to; whether there may be more.
    async fn sweep(&self, now_ms: u64) -> Result<bool, ControlError> {
        let _alone = self.blobs.write().await;
        let before_ms = now_ms.saturating_sub(BLOB_GRACE.as_millis() as u64);
        let sweep = self.core.store.write(move |view| view.sweep(before_ms, now_ms)).await?;
        for blob in &sweep.unused {
            self.core.fabric.remove_blob(blob).await?;
        }
        let more = sweep.more;
        self.core.store.write(move |view| view.forget_blobs(&sweep.unused)).await?;
        Ok(more)
    }
}
