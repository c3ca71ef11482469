//! The blobs of the local copy: files named by their hash, checked as they arrive and as they are read; and beside them the
//! compressed variants of those that are assets.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use selvedge_assets::Variants;
use selvedge_fabric::Fabric;
use selvedge_model::BlobHash;

use crate::error::PopError;

/// The blobs of the local copy.
pub struct Blobs {
    folder: PathBuf,
    temporary: AtomicU64,
    variants: Arc<Variants>,
    /// What was asked for since a sweep began, while one runs.
    wanted: Mutex<Option<HashSet<BlobHash>>>,
}

/// A sweep that runs: what is asked for from its beginning on stays.
pub struct Sweep(Arc<Blobs>);

/// Names of files that are being written begin so.
const TEMPORARY: &str = "arriving-";
/// The folder of compressed variants, among those of the blobs.
const VARIANTS: &str = "compressed";
/// What compressed variants take on the disk together at most, in bytes: 1 GiB.
const VARIANTS_BYTES_MAX: u64 = 1024 * 1024 * 1024;

impl Blobs {
    /// Keeps blobs in `folder`, which may not be there yet.
    pub fn open(folder: &Path) -> Result<Self, PopError> {
        let failed = |source| PopError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                std::fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        let variants = Variants::open(&folder.join(VARIANTS), VARIANTS_BYTES_MAX);
        Ok(Self { folder: folder.to_owned(), temporary: AtomicU64::new(0), variants, wanted: Mutex::default() })
    }

    /// The compressed variants of blobs.
    pub fn variants(&self) -> &Arc<Variants> {
        &self.variants
    }

    /// Where a blob is, or would be.
    pub fn file(&self, hash: &BlobHash) -> PathBuf {
        let text = hash.as_str();
        self.folder.join(text.get(..2).unwrap_or_default()).join(text)
    }

    /// Has blobs here, from the fabric where they are not.
    pub async fn fetch(self: &Arc<Self>, fabric: &dyn Fabric, hashes: Vec<BlobHash>) -> Result<(), PopError> {
        self.want(&hashes);
        let blobs = Arc::clone(self);
        let absent = move || hashes.into_iter().filter(|hash| !blobs.file(hash).exists()).collect::<Vec<_>>();
        let absent = tokio::task::spawn_blocking(absent).await.map_err(|_| PopError::Stopped)?;
        for hash in absent {
            let near = fabric.blob_file(&hash);
            let blobs = Arc::clone(self);
            let name = hash.clone();
            let linked = tokio::task::spawn_blocking(move || near.is_some_and(|near| blobs.link(&near, &name)));
            if linked.await.map_err(|_| PopError::Stopped)? {
                continue;
            }
            let text = || hash.as_str().to_owned();
            let bytes = fabric.get_blob(&hash).await?.ok_or_else(|| PopError::NoBlob { hash: text() })?;
            let blobs = Arc::clone(self);
            let name = hash.clone();
            let kept = tokio::task::spawn_blocking(move || blobs.keep(&name, &bytes));
            kept.await.map_err(|_| PopError::Stopped)??;
        }
        Ok(())
    }

    /// Blobs are asked for: a sweep that runs leaves them.
    fn want(&self, hashes: &[BlobHash]) {
        if let Some(wanted) = &mut *self.wanted.lock() {
            wanted.extend(hashes.iter().cloned());
        }
    }

    /// Shares the file of a fabric on this machine: the same content is on the disk once. False where that cannot be.
    fn link(&self, near: &Path, hash: &BlobHash) -> bool {
        let Ok(content) = std::fs::read(near) else {
            return false;
        };
        let file = self.file(hash);
        blake3::hash(&content).to_hex().as_str() == hash.as_str()
            && file.parent().is_some_and(|parent| std::fs::create_dir_all(parent).is_ok())
            && (std::fs::hard_link(near, &file).is_ok() || file.exists())
    }

    fn keep(&self, hash: &BlobHash, bytes: &[u8]) -> Result<(), PopError> {
        let text = || hash.as_str().to_owned();
        if blake3::hash(bytes).to_hex().as_str() != hash.as_str() {
            return Err(PopError::WrongBlob { hash: text() });
        }
        let failed = |source| PopError::KeepBlob { hash: text(), source };
        let file = self.file(hash);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let temporary = self.folder.join(format!("{TEMPORARY}{}", self.temporary.fetch_add(1, Ordering::Relaxed)));
        let mut writing = std::fs::File::create(&temporary).map_err(failed)?;
        writing.write_all(bytes).and_then(|()| writing.sync_data()).map_err(failed)?;
        std::fs::rename(&temporary, &file).map_err(failed)
    }

    /// The content of a blob that is here.
    pub async fn read(self: &Arc<Self>, hash: &BlobHash) -> Result<Option<bytes::Bytes>, PopError> {
        let (blobs, hash) = (Arc::clone(self), hash.clone());
        let read = tokio::task::spawn_blocking(move || blobs.read_here(&hash));
        Ok(read.await.map_err(|_| PopError::Stopped)??.map(Into::into))
    }

    /// The same, for who may wait for the disk. A file that is damaged is removed: it is as if it were not here.
    pub fn read_here(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>, PopError> {
        let failed = |source| PopError::ReadBlob { hash: hash.as_str().to_owned(), source };
        let file = self.file(hash);
        match std::fs::read(&file) {
            Ok(content) if blake3::hash(&content).to_hex().as_str() == hash.as_str() => Ok(Some(content)),
            Ok(_) => {
                tracing::error!(%hash, "a blob of the local copy is damaged: it is removed");
                remove(&file).map_err(failed)?;
                Ok(None)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Removes those that are not as long as they are to be: they are fetched as if they had never been here.
    pub async fn remove_cut(self: &Arc<Self>, sizes: Vec<(BlobHash, u64)>) -> Result<(), PopError> {
        let blobs = Arc::clone(self);
        let removed = tokio::task::spawn_blocking(move || {
            for (hash, bytes) in sizes {
                let file = blobs.file(&hash);
                if std::fs::metadata(&file).is_ok_and(|here| here.len() != bytes) {
                    tracing::error!(%hash, "a blob of the local copy is damaged: it is removed");
                    let failed = |source| PopError::ReadBlob { hash: hash.as_str().to_owned(), source };
                    remove(&file).map_err(failed)?;
                }
            }
            Ok::<(), PopError>(())
        });
        removed.await.map_err(|_| PopError::Stopped)?
    }

    /// Begins a sweep. One at a time.
    pub fn sweep(self: &Arc<Self>) -> Sweep {
        *self.wanted.lock() = Some(HashSet::new());
        Sweep(Arc::clone(self))
    }
}

/// Removes the file of a blob. Another who found it damaged, or a sweep, may have been first.
fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// === impl Sweep ===

impl Sweep {
    /// Removes every blob but the named ones and those that were asked for meanwhile, and the variants of what is not
    /// here any more; gives how many blobs. Others may come and go meanwhile.
    pub fn retain(self, named: &HashSet<BlobHash>) -> Result<usize, PopError> {
        let failed = |source| PopError::Folder { path: self.0.folder.clone(), source };
        let mut removed = 0;
        for folder in std::fs::read_dir(&self.0.folder).map_err(failed)? {
            let folder = folder.map_err(failed)?;
            let name = folder.file_name();
            // One that is written may have been renamed by now, and have no type.
            if name == VARIANTS || name.to_string_lossy().starts_with(TEMPORARY) {
                continue;
            }
            if !folder.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(folder.path()).map_err(failed)? {
                let file = file.map_err(failed)?;
                let hash = file.file_name().to_str().and_then(|name| name.parse::<BlobHash>().ok());
                let Some(hash) = hash.filter(|hash| !named.contains(hash)) else {
                    continue;
                };
                // Held, so that whoever asks for it finds it kept or gone.
                let wanted = self.0.wanted.lock();
                if !wanted.as_ref().is_some_and(|wanted| wanted.contains(&hash)) {
                    remove(&file.path()).map_err(failed)?;
                    removed += 1;
                }
            }
        }
        let is_here = |hash: &str| hash.parse::<BlobHash>().is_ok_and(|hash| self.0.file(&hash).exists());
        self.0.variants.retain(is_here).map_err(failed)?;
        Ok(removed)
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        *self.0.wanted.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT_ENCODING;
    use http::{HeaderMap, HeaderValue, Method};
    use selvedge_assets::{AssetRequest, AssetSet, AssetsConfig, StoredFile};

    fn hash_of(content: &[u8]) -> BlobHash {
        blake3::hash(content).to_hex().as_str().parse().unwrap()
    }

    #[test]
    fn only_what_has_its_hash_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        blobs.keep(&hash_of(b"one"), b"one").unwrap();
        assert!(matches!(blobs.keep(&hash_of(b"two"), b"three"), Err(PopError::WrongBlob { .. })));
        assert_eq!(blobs.read_here(&hash_of(b"one")).unwrap().unwrap(), b"one");
        assert_eq!(blobs.read_here(&hash_of(b"two")).unwrap(), None);
        let near = folder.path().join("near");
        std::fs::write(&near, b"damaged").unwrap();
        assert!(!blobs.link(&near, &hash_of(b"two")));
        std::fs::write(&near, b"two").unwrap();
        assert!(blobs.link(&near, &hash_of(b"two")));
        assert_eq!(blobs.sweep().retain(&HashSet::from([hash_of(b"two")])).unwrap(), 1);
        assert_eq!(blobs.read_here(&hash_of(b"one")).unwrap(), None);
        assert_eq!(blobs.read_here(&hash_of(b"two")).unwrap().unwrap(), b"two");
    }

    #[test]
    fn a_damaged_blob_is_as_if_it_were_not_here() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        let hash = hash_of(b"whole");
        blobs.keep(&hash, b"whole").unwrap();
        std::fs::write(blobs.file(&hash), b"whol").unwrap();
        assert_eq!(blobs.read_here(&hash).unwrap(), None);
        assert!(!blobs.file(&hash).exists());
    }

    #[tokio::test]
    async fn a_blob_that_was_cut_off_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        let (cut, whole) = (hash_of(b"cut off"), hash_of(b"whole"));
        blobs.keep(&cut, b"cut off").unwrap();
        blobs.keep(&whole, b"whole").unwrap();
        std::fs::write(blobs.file(&cut), b"cut").unwrap();
        blobs.remove_cut(vec![(cut.clone(), 7), (whole.clone(), 5), (hash_of(b"never here"), 3)]).await.unwrap();
        assert!(!blobs.file(&cut).exists());
        assert!(blobs.file(&whole).exists());
    }

    #[tokio::test]
    async fn compressed_variants_go_with_their_blob() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        let contents = ["one ".repeat(50_000), "two ".repeat(50_000)];
        let hashes: Vec<_> = contents.iter().map(|content| hash_of(content.as_bytes())).collect();
        for (content, hash) in contents.iter().zip(&hashes) {
            blobs.keep(hash, content.as_bytes()).unwrap();
            let file = StoredFile {
                path: "/app.js".into(),
                file: blobs.file(hash),
                bytes: content.len() as u64,
                hash: hash.as_str().to_owned(),
                content_type: Some("text/javascript".into()),
            };
            let set = AssetSet::of_files([file], "", "", AssetsConfig::default()).unwrap();
            let set = set.with_variants(Arc::clone(blobs.variants()));
            let (method, headers) =
                (Method::GET, HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("br"))]));
            let request = AssetRequest::new(&method, "http", "example.com", "/app.js", &headers);
            set.respond(&request, set.answer(&request)).await.unwrap();
            blobs.variants().settled().await;
        }
        let variant = |hash: &BlobHash| {
            let folder = folder.path().join(VARIANTS).join(&hash.as_str()[..2]);
            folder.join(format!("{hash}.br"))
        };
        assert!(hashes.iter().all(|hash| variant(hash).exists()));
        assert_eq!(blobs.sweep().retain(&HashSet::from([hashes[0].clone()])).unwrap(), 1);
        assert!(variant(&hashes[0]).exists());
        assert!(!variant(&hashes[1]).exists());
    }

    #[test]
    fn what_is_asked_for_while_a_sweep_runs_stays() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path()).unwrap());
        blobs.keep(&hash_of(b"one"), b"one").unwrap();
        blobs.keep(&hash_of(b"two"), b"two").unwrap();
        let sweep = blobs.sweep();
        blobs.want(&[hash_of(b"one")]);
        assert_eq!(sweep.retain(&HashSet::new()).unwrap(), 1);
        assert!(blobs.file(&hash_of(b"one")).exists());
        // The next sweep knows nothing of it.
        assert_eq!(blobs.sweep().retain(&HashSet::new()).unwrap(), 1);
    }
}
