//! The file of a variant: a digest, then what is compressed. The digest is also of what it is a variant of, so that no
//! file passes for another.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Key;

/// Bytes before what is compressed.
pub(super) const HEAD_BYTES: u64 = blake3::OUT_LEN as u64;
/// Begins what is digested. A change of the file's form changes it, and older files are made anew.
const FORM: &[u8] = b"selvedge compressed asset 1\n";
/// Read at a time to see whether a file is whole, in bytes.
const CHECK_BUFFER_BYTES: usize = 128 * 1024;

/// How a file looked when it was last seen to be whole.
#[derive(Default)]
pub(super) struct Checked(Mutex<Option<Look>>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// A variant that is whole.
pub(crate) struct Whole {
    /// Positioned where what is compressed begins.
    pub(crate) file: File,
    /// Of what is compressed.
    pub(crate) bytes: u64,
}

/// The digest of a variant, to be fed with what is compressed.
pub(super) fn digest(key: &Key) -> blake3::Hasher {
    let mut digest = blake3::Hasher::new();
    digest.update(FORM).update(key.hash.as_bytes()).update(key.coding.extension().as_bytes());
    digest
}

/// Makes a file. What is not written to the disk yet when the machine fails is found not to be whole later.
pub(super) fn write(path: &Path, digest: &blake3::Hash, pieces: &[Bytes]) -> io::Result<(File, Checked)> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.write_all(digest.as_bytes())?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    let look = Look::of(&file.metadata()?);
    Ok((file, Checked(Mutex::new(Some(look)))))
}

/// Opens a file that is whole.
pub(super) fn open(path: &Path, key: &Key, checked: &Checked) -> io::Result<Whole> {
    let mut file = File::open(path)?;
    let look = Look::of(&file.metadata()?);
    // Held while it is read, so that many who ask read it once.
    let mut seen = checked.0.lock();
    if *seen != Some(look) {
        check(&file, key)?;
        *seen = Some(look);
    }
    drop(seen);
    file.seek(SeekFrom::Start(HEAD_BYTES))?;
    Ok(Whole { file, bytes: look.bytes.saturating_sub(HEAD_BYTES) })
}

/// An error of the kinds `UnexpectedEof` and `InvalidData` where it is not whole.
fn check(file: &File, key: &Key) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(CHECK_BUFFER_BYTES, file);
    let mut head = [0; blake3::OUT_LEN];
    reader.read_exact(&mut head)?;
    let mut found = digest(key);
    io::copy(&mut reader, &mut found)?;
    if found.finalize() == blake3::Hash::from_bytes(head) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged: it is made anew"))
    }
}

// === impl Look ===

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Coding;

    fn key(coding: Coding) -> Key {
        Key { hash: blake3::hash(b"content"), coding }
    }

    fn digest_of(content: &[u8]) -> blake3::Hash {
        digest(&key(Coding::Gzip)).update(content).finalize()
    }

    #[test]
    fn only_a_whole_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let pieces = [Bytes::from_static(b"one, "), Bytes::from_static(b"two")];
        let (_, checked) = write(&path, &digest_of(b"one, two"), &pieces).unwrap();
        for checked in [checked, Checked::default()] {
            let mut whole = open(&path, &key(Coding::Gzip), &checked).unwrap();
            let mut text = String::new();
            whole.file.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), whole.bytes), ("one, two", 8));
        }
        let other = open(&path, &key(Coding::Brotli), &Checked::default()).err().unwrap();
        assert_eq!(other.kind(), io::ErrorKind::InvalidData);

        let written = std::fs::read(&path).unwrap();
        for length in 0..written.len() {
            std::fs::write(&path, &written[..length]).unwrap();
            assert!(open(&path, &key(Coding::Gzip), &Checked::default()).is_err(), "cut to {length} bytes");
        }
        for place in 0..written.len() {
            let mut damaged = written.clone();
            damaged[place] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(open(&path, &key(Coding::Gzip), &Checked::default()).is_err(), "damaged at byte {place}");
        }
    }

    #[test]
    fn a_file_that_looks_changed_is_seen_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (_, checked) = write(&path, &digest_of(b"one"), &[Bytes::from_static(b"one")]).unwrap();
        let written = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&written[..], b"more"].concat()).unwrap();
        assert!(open(&path, &key(Coding::Gzip), &checked).is_err());
    }
}
