//! The folder of the local copy: its owner's alone, and held by one edge.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::error::PopError;

/// What the folder holds is nobody else's to read.
const FOLDER_MODE: u32 = 0o700;

/// Held for as long as anything of this process may write to the folder. The kernel lets go of it however the process ends.
pub struct Lock {
    _file: File,
}

/// Makes the folder where it is not there, and takes it.
pub fn take(folder: &Path) -> Result<Lock, PopError> {
    let failed = |source| PopError::Folder { path: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    let mode = std::fs::metadata(folder).map_err(failed)?.permissions().mode();
    if mode & 0o777 != FOLDER_MODE {
        std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)).map_err(failed)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(PopError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_its_owners_alone_and_one_edges_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("edge");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let lock = take(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = take(&folder).err().unwrap();
        assert!(matches!(refused, PopError::InUse { .. }), "{refused}");
        drop(lock);
        take(&folder).unwrap();
    }
}
