//! The folder: made durable, and held by one process.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::iter;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::error::FabricError;

/// What the folder holds is nobody else's to read.
const FOLDER_MODE: u32 = 0o700;

/// Held for as long as anything of this process may still write to the folder.
pub(super) struct Lock {
    /// The kernel lets go of the lock when the file is closed, however the process ends.
    _file: File,
}

/// Makes the folder, such that it is still there after a loss of power.
pub(super) fn prepare(dir: &Path) -> Result<(), FabricError> {
    make(dir).map_err(FabricError::store("could not make its folder"))
}

/// Makes the folder and those above it, and flushes the name of each that is new.
fn make(dir: &Path) -> io::Result<()> {
    let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let above: Vec<&Path> = dir.ancestors().skip(1).take_while(is_new).collect();
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(dir)?;
    // Its own name in any case: whoever made it may have ended before that was flushed.
    iter::once(dir).chain(above).try_for_each(|made| match made.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    })
}

/// Flushes a folder's list of names to the disk.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

// === impl Lock ===

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, FabricError> {
        let path = dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(FabricError::store("could not make its lock file"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(FabricError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(FabricError::store("could not lock its folder")(source)),
        }
    }
}
