//! The embedded fabric: what every fabric must do, and what is its own: files, a lock, damage, restarts.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod conformance;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use selvedge_fabric::{COMMAND_BYTES_MAX, Change, Embedded, Fabric, FabricError, Position, RECORD_BYTES_MAX, Revision};

fn blob_files(dir: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(dir.join("blobs")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_fabric() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    conformance::check_all(fabric.as_ref()).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("not/yet/made");
    let fabric = Embedded::open(&nested).unwrap();
    fabric.append("log", Position(0), vec!["a".into(), "b".into()]).await.unwrap();
    let revision = fabric.set(vec![Change { key: "key".into(), value: Some("value".into()) }]).await.unwrap();
    let hash = fabric.put_blob("blob".into()).await.unwrap();
    let lease = fabric.acquire("lease", "paris", Duration::from_secs(60)).await.unwrap().unwrap();
    drop(fabric);

    let fabric = Embedded::open(&nested).unwrap();
    assert_eq!(fabric.read("log", Position(1), 10).await.unwrap()[0].bytes, "b");
    assert_eq!(fabric.get("key").await.unwrap().unwrap().revision, revision);
    assert_eq!(fabric.get_blob(&hash).await.unwrap().unwrap(), "blob");
    assert_eq!(fabric.acquire("lease", "oslo", Duration::from_secs(60)).await.unwrap(), None);
    assert!(fabric.renew(&lease, Duration::from_secs(60)).await.unwrap());
    let later = fabric.set(vec![Change { key: "key".into(), value: None }]).await.unwrap();
    assert!(later > revision);
}

#[tokio::test]
async fn a_fabric_keeps_its_identity_and_no_other_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let fabric = Embedded::open(&one).unwrap();
    let first = fabric.identity().await.unwrap();
    assert_eq!(first.last, Revision(0));
    let last = fabric.set(vec![Change { key: "key".into(), value: Some("value".into()) }]).await.unwrap();
    drop(fabric);
    let again = Embedded::open(&one).unwrap().identity().await.unwrap();
    assert_eq!((&again.id, again.last), (&first.id, last));
    assert_ne!(Embedded::open(&two).unwrap().identity().await.unwrap().id, first.id);
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let refused = Embedded::open(dir.path()).err().unwrap();
    assert!(matches!(&refused, FabricError::InUse { dir: named } if named == dir.path()), "{refused}");
    drop(fabric);
    Embedded::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Embedded::open(dir.path()).unwrap());
    let connection = rusqlite::Connection::open(dir.path().join("fabric.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refused = Embedded::open(dir.path()).err().unwrap();
    assert!(matches!(refused, FabricError::Newer { version: 99, .. }), "{refused}");
}

#[tokio::test]
async fn wakes_end_with_the_fabric() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let (mut follow, mut watch) = (fabric.follow("log"), fabric.watch("prefix/"));
    drop(fabric);
    assert!(matches!(follow.wake().await, Err(FabricError::Closed)));
    assert!(matches!(watch.wake().await, Err(FabricError::Closed)));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_finished_before_it_closes() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let mut appending = fabric.append("log", Position(0), vec!["a".into()]);
    assert!(!conformance::is_ready(&mut appending).await);
    drop(appending);
    drop(fabric);
    let fabric = Embedded::open(dir.path()).unwrap();
    assert_eq!(fabric.end("log").await.unwrap(), Position(1));
}

#[tokio::test]
async fn the_same_bytes_are_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let hash = fabric.put_blob("content".into()).await.unwrap();
    fabric.put_blob("content".into()).await.unwrap();
    let path = fabric.blob_file(&hash).unwrap();
    assert_eq!(blob_files(dir.path()), [path]);
}

#[tokio::test]
async fn a_damaged_blob_is_an_error_until_it_is_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let hash = fabric.put_blob("content".into()).await.unwrap();
    let path = fabric.blob_file(&hash).unwrap();
    for damage in ["c0ntent", "conten", "", "content and more"] {
        std::fs::write(&path, damage).unwrap();
        let read = fabric.get_blob(&hash).await;
        assert!(matches!(&read, Err(FabricError::Damaged { hash: named }) if *named == hash.as_str()), "{read:?}");
    }
    fabric.put_blob("content".into()).await.unwrap();
    assert_eq!(fabric.get_blob(&hash).await.unwrap().unwrap(), "content");
}

#[tokio::test]
async fn what_an_interrupted_write_left_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    drop(Embedded::open(dir.path()).unwrap());
    std::fs::write(dir.path().join("blobs/tmp").join("0".repeat(64)), "half").unwrap();
    drop(Embedded::open(dir.path()).unwrap());
    assert!(blob_files(dir.path()).is_empty());
}

#[tokio::test]
async fn commands_and_answers_have_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let record = Bytes::from(vec![1; RECORD_BYTES_MAX]);
    let fitting = COMMAND_BYTES_MAX / RECORD_BYTES_MAX - 1;
    let refused = fabric.append("log", Position(0), vec![record.clone(); fitting + 1]).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
    let mut end = Position(0);
    for _ in 0..3 {
        end = fabric.append("log", end, vec![record.clone(); fitting]).await.unwrap();
    }
    // Nine times 4 MiB are asked for; what comes is less, and the rest comes when asked for.
    let (mut seen, mut pages) = (Position(0), 0);
    while let Some(last) = fabric.read("log", seen, 100).await.unwrap().last() {
        (seen, pages) = (last.position, pages + 1);
    }
    assert_eq!((seen, pages), (end, 3));

    let changes = |count: usize| (0..count).map(|key| Change { key: key.to_string(), value: None }).collect::<Vec<_>>();
    let refused = fabric.set(changes(400_000)).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
    assert_eq!(fabric.changes("", Revision(0), 10).await.unwrap(), []);
}

/// Logs that different tasks append to at once share transactions; a conflict of one leaves the others alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_append_takes_nothing_of_its_group_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let appends = (0..100_u64).map(|log| {
        let fabric = &fabric;
        async move {
            // Every other one expects what is not so.
            let expected = Position(log % 2);
            fabric.append(&format!("log {log}"), expected, vec!["a".into()]).await.is_ok()
        }
    });
    let outcomes = futures_util::future::join_all(appends).await;
    for (log, done) in outcomes.into_iter().enumerate() {
        assert_eq!(done, log % 2 == 0);
        let end = fabric.end(&format!("log {log}")).await.unwrap();
        assert_eq!(end, Position(u64::from(done)));
    }
}

/// Somebody always reads: SQLite alone would let its log grow for as long as that lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_short_under_reads_without_a_pause() {
    const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (fabric, done) = (Arc::clone(&fabric), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    fabric.read("log", Position(0), 4).await.unwrap();
                }
            })
        })
        .collect();
    let wal = dir.path().join("fabric.db-wal");
    let (mut end, mut longest) = (Position(0), 0);
    for _ in 0..150 {
        end = fabric.append("log", end, vec![Bytes::from(vec![7; 1024 * 1024])]).await.unwrap();
        longest = longest.max(std::fs::metadata(&wal).unwrap().len());
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(longest < WAL_BYTES_MAX + 8 * 1024 * 1024, "{longest}");
}

#[tokio::test]
async fn what_has_settled_is_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let fabric = Embedded::open(dir.path()).unwrap();
    fabric.append("log", Position(0), vec!["a".into()]).await.unwrap();
    assert_eq!(fabric.end("log").await.unwrap(), Position(1));
    fabric.settle().await.unwrap();
    // As one that was ended without being closed leaves it.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(dir.path().join("fabric.db"), copy.join("fabric.db")).unwrap();
    let copy = Embedded::open(&copy).unwrap();
    assert_eq!(copy.read("log", Position(0), 10).await.unwrap()[0].bytes, "a");
    assert_eq!(fabric.append("log", Position(1), vec!["b".into()]).await.unwrap(), Position(2));
}

#[tokio::test]
async fn the_folder_is_nobody_elses_to_read() {
    let dir = tempfile::tempdir().unwrap();
    drop(Embedded::open(&dir.path().join("fabric")).unwrap());
    let mode = std::fs::metadata(dir.path().join("fabric")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
