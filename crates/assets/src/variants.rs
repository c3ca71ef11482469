//! Compressed variants of assets, made once and kept on the disk.
//!
//! - A variant is made by one thread, whoever and how many ask for it, and never by one that serves requests. Who asks
//!   meanwhile is sent what there is of it as it comes, at a pace of their own: the first byte waits for the first piece,
//!   and a client that reads slowly holds nobody up.
//! - The threads that compress at a time are few. Where all are busy a variant waits for its turn, and what is asked for
//!   is served as it is until then: no client can make this machine compress more than they do.
//! - A kept variant is served only if it is whole, which is seen before it is first served, and again where its file
//!   looks changed. One that is missing, torn or damaged is made anew. So nothing is lost by removing the folder.
//! - The files take so many bytes and no more; what was not asked for the longest goes first.
//! - Where the disk takes nothing (it is full, or the folder cannot be written), variants are made for those who ask and
//!   not kept. It is tried again now and then, and said in the log as often.

mod file;
mod kept;
mod making;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::body::AssetBody;
use crate::compress::Coding;
use file::{Checked, HEAD_BYTES};
use kept::Kept;
use making::{Job, Progress};

pub(crate) use file::Whole;

/// Most variants that are being made or wait for their turn.
const MAKING_MAX: usize = 256;
/// Most threads that compress at a time; no more than half of the machine's. Each holds one variant in memory.
const TURNS_MAX: usize = 4;
/// How long nothing is written after the disk refused.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Names of files that are being written begin so.
const TEMPORARY: &str = "making-";

/// The compressed variants of assets that a store keeps by hash.
pub struct Variants {
    folder: PathBuf,
    retry_after: Duration,
    turns: Arc<Semaphore>,
    temporary: AtomicU64,
    state: Mutex<State>,
    /// How many are being made or wait.
    making: watch::Sender<usize>,
}

struct State {
    kept: Kept,
    making: HashMap<Key, watch::Receiver<Progress>>,
    /// Until when nothing is written.
    refused_until: Option<Instant>,
}

/// What a variant is of, and how it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Of the content, uncompressed.
    pub(crate) hash: blake3::Hash,
    pub(crate) coding: Coding,
}

/// How a variant can be had now.
pub(crate) enum Variant {
    Kept(Whole),
    /// It is being made; the body is what comes of it.
    Following(AssetBody),
    /// It waits for its turn, or cannot be made now.
    Busy,
}

// === impl Variants ===

impl Variants {
    /// Keeps up to `bytes_max` of variants in `folder`, where nobody else may write. Blocks on the file system. A folder
    /// that cannot be used is no error: nothing is kept then.
    pub fn open(folder: &Path, bytes_max: u64) -> Arc<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let variants = Self::new(folder, bytes_max, (threads / 2).clamp(1, TURNS_MAX), RETRY_AFTER);
        if let Err(error) = variants.find() {
            variants.refuse(&error);
        }
        Arc::new(variants)
    }

    fn new(folder: &Path, bytes_max: u64, turns: usize, retry_after: Duration) -> Self {
        Self {
            folder: folder.to_owned(),
            retry_after,
            turns: Arc::new(Semaphore::new(turns)),
            temporary: AtomicU64::new(0),
            state: Mutex::new(State { kept: Kept::new(bytes_max), making: HashMap::new(), refused_until: None }),
            making: watch::Sender::new(0),
        }
    }

    /// Takes in what an earlier process has kept.
    fn find(&self) -> io::Result<()> {
        let mut found = Vec::new();
        let searched = self.search(&mut found);
        // When they were made stands for when they were last asked for, which nobody has written down.
        found.sort_unstable_by_key(|(made, ..)| *made);
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        for (_, key, bytes) in found {
            gone.extend(state.kept.insert(key, bytes, Arc::default()));
        }
        drop(state);
        searched.and(self.remove_files(&gone))
    }

    fn search(&self, found: &mut Vec<(Option<SystemTime>, Key, u64)>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(entry.path())?;
                continue;
            }
            if !entry.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(entry.path())? {
                let file = file?;
                let metadata = file.metadata()?;
                if let Some(key) = file.file_name().to_str().and_then(Key::of_name) {
                    found.push((metadata.modified().ok(), key, metadata.len()));
                }
            }
        }
        Ok(())
    }

    /// A variant of the content of `source`, which has `bytes` bytes.
    pub(crate) async fn get(self: &Arc<Self>, key: Key, source: &Path, bytes: u64) -> Variant {
        for _ in 0..2 {
            if let Some(whole) = self.kept(key).await {
                return Variant::Kept(whole);
            }
            if let Some(variant) = self.join(key, source, bytes) {
                return variant;
            }
        }
        // It is there and cannot be opened: this process has too many files open, say.
        Variant::Busy
    }

    /// A variant, if it is kept.
    pub(crate) async fn kept(self: &Arc<Self>, key: Key) -> Option<Whole> {
        let checked = self.state.lock().kept.touch(&key)?;
        let variants = Arc::clone(self);
        tokio::task::spawn_blocking(move || variants.open_kept(key, &checked)).await.ok()?
    }

    fn open_kept(&self, key: Key, checked: &Checked) -> Option<Whole> {
        let path = self.file(&key);
        let error = match file::open(&path, &key, checked) {
            Ok(whole) => return Some(whole),
            Err(error) => error,
        };
        tracing::warn!(file = %path.display(), %error, "a compressed asset cannot be read");
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
            self.state.lock().kept.remove(&key);
            if let Err(error) = self.remove_files(&[key]) {
                self.refuse(&error);
            }
        }
        None
    }

    /// Joins those who follow a variant, or has it made. None where it is kept, since it was looked for perhaps.
    fn join(self: &Arc<Self>, key: Key, source: &Path, bytes: u64) -> Option<Variant> {
        let mut state = self.state.lock();
        if let Some(progress) = state.making.get(&key) {
            let progress = progress.clone();
            drop(state);
            let is_waiting = matches!(*progress.borrow(), Progress::Waiting);
            return Some(if is_waiting { Variant::Busy } else { Variant::Following(making::follow(progress)) });
        }
        if state.kept.contains(&key) {
            return None;
        }
        let turn = Arc::clone(&self.turns).try_acquire_owned().ok();
        if turn.is_none() && (!state.may_write() || state.making.len() >= MAKING_MAX) {
            return Some(Variant::Busy);
        }
        let begun = if turn.is_some() { Progress::begun() } else { Progress::Waiting };
        let sender = watch::Sender::new(begun);
        let progress = sender.subscribe();
        state.making.insert(key, progress.clone());
        self.making.send_replace(state.making.len());
        drop(state);
        let job = Job { variants: Arc::clone(self), key, source: source.to_owned(), bytes, progress: sender };
        Some(match turn {
            Some(turn) => {
                tokio::task::spawn_blocking(move || job.run(turn));
                Variant::Following(making::follow(progress))
            }
            None => {
                tokio::spawn(job.wait());
                Variant::Busy
            }
        })
    }

    /// A job has ended.
    fn made(&self, key: &Key) {
        let mut state = self.state.lock();
        state.making.remove(key);
        self.making.send_replace(state.making.len());
    }

    /// Resolves once nothing is being made.
    pub async fn settled(&self) {
        // An error would mean that this is gone, which it is not.
        let _ = self.making.subscribe().wait_for(|making| *making == 0).await;
    }

    fn may_write(&self) -> bool {
        self.state.lock().may_write()
    }

    /// Keeps a variant. Gives its file; none where it cannot be kept.
    fn keep(&self, key: Key, digest: &blake3::Hash, pieces: &[Bytes]) -> Option<File> {
        let bytes = HEAD_BYTES + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let state = self.state.lock();
        if !state.may_write() || !state.kept.has_room_for(bytes) {
            return None;
        }
        drop(state);
        let kept = self.write(&key, digest, pieces).and_then(|(file, checked)| {
            let gone = self.state.lock().kept.insert(key, bytes, Arc::new(checked));
            self.remove_files(&gone)?;
            Ok(file)
        });
        kept.inspect_err(|error| self.refuse(error)).ok()
    }

    fn write(&self, key: &Key, digest: &blake3::Hash, pieces: &[Bytes]) -> io::Result<(File, Checked)> {
        let path = self.file(key);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let temporary = self.folder.join(format!("{TEMPORARY}{}", self.temporary.fetch_add(1, Ordering::Relaxed)));
        let written =
            file::write(&temporary, digest, pieces).and_then(|written| fs::rename(&temporary, &path).map(|()| written));
        if written.is_err() {
            // What is left of it is removed at the next start at the latest.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes the variants of contents that are no longer there, which are named by their hash in hexadecimal digits;
    /// gives how many. Blocks on the file system.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) -> io::Result<usize> {
        let keys = self.state.lock().kept.keys();
        let gone: Vec<Key> = keys.into_iter().filter(|key| !is_there(key.hash.to_hex().as_str())).collect();
        let mut state = self.state.lock();
        for key in &gone {
            state.kept.remove(key);
        }
        drop(state);
        self.remove_files(&gone)?;
        Ok(gone.len())
    }

    fn remove_files(&self, keys: &[Key]) -> io::Result<()> {
        for key in keys {
            match fs::remove_file(self.file(key)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The disk does not take them: it is left alone for a while.
    fn refuse(&self, error: &io::Error) {
        let mut state = self.state.lock();
        if state.may_write() {
            state.refused_until = Some(Instant::now() + self.retry_after);
            drop(state);
            let (folder, seconds) = (self.folder.display(), self.retry_after.as_secs());
            tracing::warn!(%folder, %error, "compressed assets cannot be kept; the next try is in {seconds} s");
        }
    }

    fn file(&self, key: &Key) -> PathBuf {
        let name = key.name();
        self.folder.join(name.get(..2).unwrap_or_default()).join(name)
    }
}

impl fmt::Debug for Variants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Variants").field("folder", &self.folder).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn may_write(&self) -> bool {
        self.refused_until.is_none_or(|until| Instant::now() >= until)
    }
}

// === impl Key ===

impl Key {
    /// The name of the file.
    fn name(&self) -> String {
        format!("{}.{}", self.hash.to_hex(), self.coding.extension())
    }

    fn of_name(name: &str) -> Option<Self> {
        let (hash, extension) = name.split_once('.')?;
        let key = Self { hash: blake3::Hash::from_hex(hash).ok()?, coding: Coding::of_extension(extension)? };
        (key.name() == name).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tempfile::TempDir;

    const MIB: u64 = 1024 * 1024;

    fn key_of(content: &[u8]) -> Key {
        Key { hash: blake3::hash(content), coding: Coding::Brotli }
    }

    /// A file in `folder`, and under what its variant is kept.
    fn source(folder: &TempDir, name: &str) -> (PathBuf, Key, u64) {
        let content = name.repeat(100_000);
        let path = folder.path().join(name);
        fs::write(&path, &content).unwrap();
        (path, key_of(content.as_bytes()), content.len() as u64)
    }

    async fn collected(variant: Variant) -> Vec<u8> {
        let Variant::Following(body) = variant else {
            panic!("it is not being made");
        };
        let compressed = body.collect().await.unwrap().to_bytes();
        let mut content = Vec::new();
        io::copy(&mut brotli::Decompressor::new(&compressed[..], 4096), &mut content).unwrap();
        content
    }

    #[tokio::test]
    async fn what_finds_all_turns_taken_is_made_once_when_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, bytes) = source(&folder, "a.txt");
        let variants = Arc::new(Variants::new(&folder.path().join("kept"), MIB, 1, RETRY_AFTER));
        let turn = Arc::clone(&variants.turns).try_acquire_owned().unwrap();
        for _ in 0..3 {
            assert!(matches!(variants.get(key, &path, bytes).await, Variant::Busy));
        }
        assert_eq!(variants.state.lock().making.len(), 1);
        drop(turn);
        variants.settled().await;
        assert!(matches!(variants.get(key, &path, bytes).await, Variant::Kept(_)));
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "content").unwrap();
        let variants = Arc::new(Variants::new(&folder.path().join("kept"), MIB, 1, RETRY_AFTER));
        let turn = Arc::clone(&variants.turns).try_acquire_owned().unwrap();
        for number in 0..MAKING_MAX + 10 {
            let key = key_of(&number.to_le_bytes());
            assert!(matches!(variants.get(key, &path, 7).await, Variant::Busy));
        }
        assert_eq!(variants.state.lock().making.len(), MAKING_MAX);
        // None of them is what its key says, so none is kept.
        drop(turn);
        variants.settled().await;
        assert!(variants.state.lock().kept.keys().is_empty());
    }

    #[tokio::test]
    async fn what_the_disk_does_not_take_is_sent_and_the_disk_is_asked_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, bytes) = source(&folder, "a.txt");
        let place = folder.path().join("kept");
        fs::write(&place, "a file where the folder should be").unwrap();
        let mut variants = Variants::new(&place, MIB, 1, RETRY_AFTER);
        assert!(variants.find().is_err());
        variants.retry_after = Duration::ZERO;
        let variants = Arc::new(variants);
        let content = fs::read(&path).unwrap();
        assert!(collected(variants.get(key, &path, bytes).await).await == content);
        variants.settled().await;
        assert!(!variants.state.lock().kept.contains(&key));

        variants.state.lock().refused_until = Some(Instant::now() + RETRY_AFTER);
        let turn = Arc::clone(&variants.turns).acquire_owned().await.unwrap();
        assert!(matches!(variants.get(key, &path, bytes).await, Variant::Busy));
        assert!(variants.state.lock().making.is_empty(), "nobody waits for what would not be kept");
        drop(turn);

        fs::remove_file(&place).unwrap();
        variants.state.lock().refused_until = Some(Instant::now());
        assert!(collected(variants.get(key, &path, bytes).await).await == content);
        variants.settled().await;
        assert!(variants.state.lock().kept.contains(&key));
    }

    #[tokio::test]
    async fn one_that_is_larger_than_all_may_be_is_sent_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, bytes) = source(&folder, "a.txt");
        let place = folder.path().join("kept");
        let variants = Arc::new(Variants::new(&place, 16, 1, RETRY_AFTER));
        assert!(collected(variants.get(key, &path, bytes).await).await == fs::read(&path).unwrap());
        variants.settled().await;
        assert!(!place.exists());
        assert!(variants.may_write());
    }

    #[tokio::test]
    async fn a_source_that_is_not_what_it_should_be_gives_no_whole_body() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, bytes) = source(&folder, "a.txt");
        let variants = Arc::new(Variants::new(&folder.path().join("kept"), MIB, 1, RETRY_AFTER));
        let content = fs::read(&path).unwrap();
        for damaged in
            [[&b"x"[..], &content[1..]].concat(), content[1..].to_vec(), [&content[..], b"x"].concat(), vec![]]
        {
            fs::write(&path, damaged).unwrap();
            let Variant::Following(body) = variants.get(key, &path, bytes).await else {
                panic!("it is not being made");
            };
            assert!(body.collect().await.is_err());
            variants.settled().await;
        }
        fs::write(&path, content).unwrap();
        collected(variants.get(key, &path, bytes).await).await;
        variants.settled().await;
        assert!(variants.kept(key).await.is_some());
    }

    #[test]
    fn names_lead_back_to_what_they_name() {
        for coding in [Coding::Brotli, Coding::Gzip] {
            let key = Key { coding, ..key_of(b"x") };
            assert_eq!(Key::of_name(&key.name()), Some(key));
            assert_eq!(Key::of_name(&key.name().to_uppercase()), None);
        }
        for name in ["", ".br", "x.br", "making-1", "0".repeat(64).as_str(), format!("{}.zst", "0".repeat(64)).as_str()]
        {
            assert_eq!(Key::of_name(name), None, "{name}");
        }
    }
}
