//! Blobs as files, named by their content.
//!
//! A blob's file appears under its name only when it is whole and on the disk: it is written elsewhere, flushed, renamed,
//! and the folder is flushed before anything is acknowledged.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use selvedge_model::BlobHash;
use tokio::sync::Semaphore;

use super::folder;
use crate::error::FabricError;
use crate::fabric::BLOB_BYTES_MAX;

/// How many blobs are read or written at once.
const BLOB_TASKS_MAX: usize = 16;
/// The folders are named by the first two digits of a hash.
const FOLDERS: usize = 256;

pub(super) struct Blobs {
    dir: PathBuf,
    tasks: Arc<Semaphore>,
    /// One for each folder: whoever keeps a blob that is there already must not see it removed meanwhile.
    folders: Vec<Mutex<()>>,
    /// A task that outlives the fabric still writes to the folder.
    _lock: Arc<folder::Lock>,
}

/// Does `task` on a thread where it may block.
pub(super) async fn off_thread<T, B>(blobs: &Arc<Blobs>, task: B) -> Result<T, FabricError>
where
    T: Send + 'static,
    B: FnOnce(&Blobs) -> Result<T, FabricError> + Send + 'static,
{
    let permit = Arc::clone(&blobs.tasks).acquire_owned().await.map_err(|_| FabricError::Closed)?;
    let blobs = Arc::clone(blobs);
    let running = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        task(&blobs)
    });
    running.await.map_err(|_| FabricError::Closed)?
}

// === impl Blobs ===

impl Blobs {
    /// Makes the folders, and clears away what writes that a crash interrupted have left.
    pub(super) fn open(dir: PathBuf, lock: Arc<folder::Lock>) -> Result<Self, FabricError> {
        make_folders(&dir).map_err(FabricError::store("could not make the folders of its blobs"))?;
        let folders = (0..FOLDERS).map(|_| Mutex::default()).collect();
        Ok(Self { dir, tasks: Arc::new(Semaphore::new(BLOB_TASKS_MAX)), folders, _lock: lock })
    }

    pub(super) fn path(&self, hash: &BlobHash) -> PathBuf {
        self.folder(hash).join(hash.as_str())
    }

    pub(super) fn put(&self, bytes: &[u8]) -> Result<BlobHash, FabricError> {
        if bytes.len() as u64 > BLOB_BYTES_MAX {
            let bytes = bytes.len() as u64;
            return Err(FabricError::TooLarge { what: "a blob", bytes, bytes_max: BLOB_BYTES_MAX });
        }
        let digest = blake3::hash(bytes);
        let hash: BlobHash = digest.to_hex().parse().map_err(FabricError::store("could not name a blob"))?;
        self.alone(&hash, || self.keep(&hash, bytes)).map_err(FabricError::store("could not keep a blob"))?;
        Ok(hash)
    }

    pub(super) fn get(&self, hash: &BlobHash) -> Result<Option<Bytes>, FabricError> {
        let read = read_bounded(&self.path(hash)).map_err(FabricError::store("could not read a blob"))?;
        let Some(bytes) = read else { return Ok(None) };
        if blake3::hash(&bytes).to_hex().as_str() != hash.as_str() {
            return Err(FabricError::Damaged { hash: hash.to_string() });
        }
        Ok(Some(bytes.into()))
    }

    pub(super) fn missing(&self, mut hashes: Vec<BlobHash>) -> Result<Vec<BlobHash>, FabricError> {
        let mut failure = None;
        hashes.retain(|hash| match self.path(hash).try_exists() {
            Ok(exists) => !exists,
            Err(error) => {
                failure = Some(error);
                true
            }
        });
        failure.map_or(Ok(hashes), |error| Err(FabricError::store("could not look for a blob")(error)))
    }

    pub(super) fn remove(&self, hash: &BlobHash) -> Result<(), FabricError> {
        let removed = self.alone(hash, || match fs::remove_file(self.path(hash)) {
            Ok(()) => folder::sync(&self.folder(hash)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        removed.map_err(FabricError::store("could not remove a blob"))
    }

    fn folder(&self, hash: &BlobHash) -> PathBuf {
        self.dir.join(hash.as_str().get(..2).unwrap_or_default())
    }

    /// Nobody else writes to the blob's folder meanwhile.
    fn alone<T>(&self, hash: &BlobHash, task: impl FnOnce() -> T) -> T {
        let first = hash.as_str().get(..2).and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let _held = first
            .and_then(|folder| self.folders.get(folder))
            .map(|folder| folder.lock().unwrap_or_else(PoisonError::into_inner));
        task()
    }

    fn keep(&self, hash: &BlobHash, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(hash);
        // A file that is damaged is replaced by what should be in it.
        if read_bounded(&path).is_ok_and(|kept| kept.is_some_and(|kept| kept == bytes)) {
            // Whoever put it there may have ended before the folder was flushed.
            return folder::sync(&self.folder(hash));
        }
        // One writer at a time for each hash: the name is its own.
        let temporary = self.dir.join("tmp").join(hash.as_str());
        let written = write_through(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = written {
            // Best effort: what it leaves is cleared away at the next opening.
            if let Err(left) = fs::remove_file(&temporary)
                && left.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %temporary.display(), error = %left, "a blob that was not kept could not be cleared away");
            }
            return Err(error);
        }
        folder::sync(&self.folder(hash))
    }
}

fn make_folders(dir: &Path) -> io::Result<()> {
    let temporary = dir.join("tmp");
    fs::create_dir_all(&temporary)?;
    for left in fs::read_dir(&temporary)? {
        fs::remove_file(left?.path())?;
    }
    let mut made = false;
    for folder in 0..FOLDERS {
        match fs::create_dir(dir.join(format!("{folder:02x}"))) {
            Ok(()) => made = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    if made { folder::sync(dir) } else { Ok(()) }
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What the file holds, at most a little more than a blob may: then it is none of ours, and its hash says so.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len().min(BLOB_BYTES_MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(BLOB_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
