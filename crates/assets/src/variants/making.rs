//! A variant that is being made, and those who are sent it meanwhile.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_compression::core::util::{PartialBuffer, WriteBuffer};
use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::file::HEAD_BYTES;
use super::{Key, Variants, file};
use crate::body::{self, AssetBody, CHUNK_BYTES, Piece};

/// Read from the source at a time, in bytes.
const INPUT_BYTES: usize = 64 * 1024;
/// What is compressed is sent on at least this often, in bytes of the source, and first after [`INPUT_BYTES`]: else a
/// coder holds megabytes back before its first byte. Each time costs some bytes.
const FLUSH_BYTES: u64 = 1024 * 1024;
/// Pieces that are read ahead of a client.
const PIECES_AHEAD: usize = 1;

/// What there is of a variant.
pub(super) enum Progress {
    /// All turns are taken.
    Waiting,
    Running(Vec<Bytes>),
    /// All of it. One that could not be kept stays in memory until all who follow have it, and its turn taken: that
    /// bounds how many there are.
    Whole {
        pieces: Vec<Bytes>,
        _turn: Option<OwnedSemaphorePermit>,
    },
    /// All of it, in a file: so many bytes after the head. What it was in memory is free.
    Kept(Arc<File>, u64),
    Failed,
}

/// The making of a variant.
pub(super) struct Job {
    pub(super) variants: Arc<Variants>,
    pub(super) key: Key,
    pub(super) source: PathBuf,
    /// Of the source.
    pub(super) bytes: u64,
    pub(super) progress: watch::Sender<Progress>,
}

/// Where what is compressed goes.
struct Output<'a> {
    progress: &'a watch::Sender<Progress>,
    digest: blake3::Hasher,
    buffer: Vec<u8>,
    /// What makes no whole piece yet.
    rest: BytesMut,
}

/// What one follower has been sent.
#[derive(Default)]
struct Sent {
    pieces: usize,
    bytes: u64,
}

/// What a follower does next.
enum Next {
    Send(Bytes),
    Wait,
    Read(Arc<File>, u64),
    End,
    Fail,
}

// === impl Job ===

impl Job {
    /// Makes it once there is a turn.
    pub(super) async fn wait(self) {
        let turns = Arc::clone(&self.variants.turns);
        // An error would mean that turns are no longer given, which they always are.
        let Ok(turn) = turns.acquire_owned().await else {
            return;
        };
        // Those who asked have been answered. It is for those to come: not worth it if it is not kept.
        if self.variants.may_write() {
            self.progress.send_replace(Progress::begun());
            tokio::task::spawn_blocking(move || self.run(turn));
        }
    }

    /// Makes it. Blocks for as long as that takes.
    pub(super) fn run(self, turn: OwnedSemaphorePermit) {
        let digest = match self.compress() {
            Ok(digest) => digest,
            Err(error) => {
                tracing::error!(file = %self.source.display(), %error, "an asset cannot be compressed");
                self.progress.send_replace(Progress::Failed);
                return;
            }
        };
        let pieces = self.finish();
        match self.variants.keep(self.key, &digest, &pieces) {
            Some(file) => {
                let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                self.progress.send_replace(Progress::Kept(Arc::new(file), bytes));
            }
            None => {
                self.progress.send_replace(Progress::Whole { pieces, _turn: Some(turn) });
            }
        }
    }

    /// Compresses the source, and sees whether it is what it should be. Gives the digest of what comes out.
    fn compress(&self) -> io::Result<blake3::Hash> {
        let mut source = File::open(&self.source)?.take(self.bytes.saturating_add(1));
        let mut hasher = blake3::Hasher::new();
        let mut output = Output::new(&self.progress, file::digest(&self.key));
        let mut encoder = self.key.coding.encoder();
        let mut input = vec![0; INPUT_BYTES];
        let (mut taken, mut flush_at) = (0, 0);
        loop {
            let read = source.read(&mut input)?;
            let Some(content) = input.get(..read).filter(|content| !content.is_empty()) else {
                break;
            };
            hasher.update(content);
            taken += read as u64;
            let mut content = PartialBuffer::new(content);
            output.fill(|buffer| {
                encoder.encode(&mut content, buffer)?;
                Ok(content.unwritten().is_empty())
            })?;
            if taken >= flush_at && taken < self.bytes {
                output.fill(|buffer| encoder.flush(buffer))?;
                output.send_rest();
                flush_at = taken + FLUSH_BYTES;
            }
        }
        output.fill(|buffer| encoder.finish(buffer))?;
        if hasher.finalize() != self.key.hash {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its file does not have the content that it should",
            ));
        }
        output.send_rest();
        Ok(output.digest.finalize())
    }

    /// All of it is there.
    fn finish(&self) -> Vec<Bytes> {
        let mut whole = Vec::new();
        self.progress.send_modify(|progress| {
            if let Progress::Running(pieces) = progress {
                let pieces = mem::take(pieces);
                whole.clone_from(&pieces);
                *progress = Progress::Whole { pieces, _turn: None };
            }
        });
        whole
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.variants.made(&self.key);
    }
}

// === impl Output ===

impl<'a> Output<'a> {
    fn new(progress: &'a watch::Sender<Progress>, digest: blake3::Hasher) -> Self {
        Self { progress, digest, buffer: vec![0; CHUNK_BYTES], rest: BytesMut::new() }
    }

    /// Has `step` write as often as it takes until it says that it is done.
    fn fill(&mut self, mut step: impl FnMut(&mut WriteBuffer<'_>) -> io::Result<bool>) -> io::Result<()> {
        loop {
            let mut buffer = WriteBuffer::new_initialized(&mut self.buffer);
            let is_done = step(&mut buffer)?;
            self.rest.extend_from_slice(buffer.written());
            while self.rest.len() >= CHUNK_BYTES {
                let piece = self.rest.split_to(CHUNK_BYTES).freeze();
                self.send(piece);
            }
            if is_done {
                return Ok(());
            }
        }
    }

    fn send_rest(&mut self) {
        if !self.rest.is_empty() {
            let piece = self.rest.split().freeze();
            self.send(piece);
        }
    }

    fn send(&mut self, piece: Bytes) {
        self.digest.update(&piece);
        self.progress.send_modify(|progress| {
            if let Progress::Running(pieces) = progress {
                pieces.push(piece);
            }
        });
    }
}

// === impl Progress ===

impl Progress {
    pub(super) fn begun() -> Self {
        Self::Running(Vec::new())
    }

    fn next(&self, sent: &Sent) -> Next {
        match self {
            Self::Waiting => Next::Wait,
            Self::Running(pieces) => pieces.get(sent.pieces).map_or(Next::Wait, |piece| Next::Send(piece.clone())),
            Self::Whole { pieces, .. } => pieces.get(sent.pieces).map_or(Next::End, |piece| Next::Send(piece.clone())),
            Self::Kept(file, bytes) if sent.bytes < *bytes => Next::Read(Arc::clone(file), *bytes),
            Self::Kept(..) => Next::End,
            Self::Failed => Next::Fail,
        }
    }
}

/// A body of what there is and what comes of a variant.
pub(super) fn follow(progress: watch::Receiver<Progress>) -> AssetBody {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(send(progress, sender));
    body::of_pieces(pieces)
}

async fn send(mut progress: watch::Receiver<Progress>, pieces: mpsc::Sender<Piece>) {
    let failed = || io::Error::other("the asset cannot be compressed");
    let mut sent = Sent::default();
    loop {
        let next = next(&mut progress, &sent);
        let piece = match next {
            Next::Send(piece) => Ok(Some(piece)),
            Next::Wait => match progress.changed().await {
                Ok(()) => continue,
                Err(_) => Err(failed()),
            },
            Next::Read(file, bytes) => read(file, sent.bytes, bytes).await.map(Some),
            Next::End => Ok(None),
            Next::Fail => Err(failed()),
        };
        let is_last = match &piece {
            Ok(Some(piece)) => {
                sent.pieces += 1;
                sent.bytes += piece.len() as u64;
                false
            }
            Ok(None) | Err(_) => true,
        };
        // An error means that the client has gone.
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// A function of its own, because what is borrowed must not be held where something is waited for.
fn next(progress: &mut watch::Receiver<Progress>, sent: &Sent) -> Next {
    progress.borrow_and_update().next(sent)
}

/// The next piece of a kept variant of so many `bytes`, of which `at` have been sent.
async fn read(file: Arc<File>, at: u64, bytes: u64) -> io::Result<Bytes> {
    let length = bytes.saturating_sub(at).min(CHUNK_BYTES as u64);
    let read = tokio::task::spawn_blocking(move || read_at(&file, HEAD_BYTES + at, length as usize));
    read.await.map_err(io::Error::other)?
}

fn read_at(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Write;
    use tokio::sync::Semaphore;

    async fn frame(body: &mut AssetBody) -> Option<Bytes> {
        Some(body.frame().await?.unwrap().into_data().unwrap())
    }

    fn push(progress: &watch::Sender<Progress>, piece: &'static str) {
        progress.send_modify(|progress| match progress {
            Progress::Running(pieces) => pieces.push(piece.into()),
            _ => panic!("it is not running"),
        });
    }

    #[tokio::test]
    async fn each_follower_gets_everything_whenever_it_comes() {
        let progress = watch::Sender::new(Progress::begun());
        let mut early = follow(progress.subscribe());
        push(&progress, "one");
        assert_eq!(frame(&mut early).await.unwrap(), "one");
        push(&progress, "two");
        let mut late = follow(progress.subscribe());
        assert_eq!(frame(&mut late).await.unwrap(), "one");
        assert_eq!(frame(&mut early).await.unwrap(), "two");
        progress.send_replace(Progress::Whole { pieces: vec!["one".into(), "two".into()], _turn: None });
        assert_eq!(frame(&mut early).await, None);
        assert_eq!(frame(&mut late).await.unwrap(), "two");
        assert_eq!(frame(&mut late).await, None);
    }

    #[tokio::test]
    async fn a_slow_follower_reads_on_in_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; HEAD_BYTES as usize]).unwrap();
        let content = b"0123456789".repeat(CHUNK_BYTES / 5);
        file.write_all(&content).unwrap();
        let progress = watch::Sender::new(Progress::begun());
        let mut slow = follow(progress.subscribe());
        push(&progress, "0123");
        assert_eq!(frame(&mut slow).await.unwrap(), "0123");
        progress.send_replace(Progress::Kept(Arc::new(file), content.len() as u64));
        drop(progress);
        assert!(slow.collect().await.unwrap().to_bytes() == content[4..]);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        let progress = watch::Sender::new(Progress::begun());
        let [mut failed, mut lost] = [follow(progress.subscribe()), follow(progress.subscribe())];
        push(&progress, "one");
        for body in [&mut failed, &mut lost] {
            assert_eq!(frame(body).await.unwrap(), "one");
        }
        drop(progress);
        assert!(lost.frame().await.unwrap().is_err());
        assert!(lost.frame().await.is_none());
        assert!(failed.collect().await.is_err());

        let progress = watch::Sender::new(Progress::begun());
        let body = follow(progress.subscribe());
        progress.send_replace(Progress::Failed);
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn what_is_not_kept_holds_its_turn_until_the_last_follower_has_it() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
        let progress = watch::Sender::new(Progress::begun());
        let body = follow(progress.subscribe());
        progress.send_replace(Progress::Whole { pieces: vec!["one".into()], _turn: Some(turn) });
        drop(progress);
        assert!(Arc::clone(&turns).try_acquire_owned().is_err());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one");
        drop(turns.acquire_owned().await.unwrap());
    }
}
