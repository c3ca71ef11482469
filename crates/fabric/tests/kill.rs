//! A process that is killed while it writes loses nothing that it acknowledged.
//!
//! The test starts this very program again, which writes, and prints what was acknowledged; it kills it at some
//! acknowledgement, opens the folder, and looks. Several times over, in one folder.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use selvedge_fabric::{Change, Embedded, Fabric, Position};
use selvedge_model::BlobHash;

const DIR_VARIABLE: &str = "SELVEDGE_FABRIC_KILL_DIR";
/// Tasks of the child that write at once, each to a log of its own.
const WRITERS: usize = 4;
/// Records of one append: all are there, or none.
const RECORDS: u64 = 3;
/// At which acknowledgement the child is killed, in turn.
const KILL_AT: [usize; 10] = [1, 3, 200, 10, 50, 2, 400, 25, 120, 7];

#[derive(Debug)]
enum Acknowledged {
    Appended { log: String, end: u64 },
    Set { key: String, value: String },
    Kept { hash: BlobHash },
}

#[tokio::test]
async fn what_was_acknowledged_survives_being_killed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for acknowledgements in KILL_AT {
        let seen = run_and_kill(dir.path(), acknowledgements);
        assert!(seen.len() >= acknowledgements, "the child ended by itself after {seen:?}");
        all.extend(seen);

        let fabric = Embedded::open(dir.path()).unwrap();
        for acknowledged in &all {
            assert_kept(fabric.as_ref(), acknowledged).await;
        }
        for writer in 0..WRITERS {
            assert_whole(fabric.as_ref(), &log_of(writer)).await;
        }
        let left = std::fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count();
        assert_eq!(left, 0, "temporary files are cleared away");
    }
    // At the end of it all SQLite finds nothing to complain about.
    let connection = rusqlite::Connection::open(dir.path().join("fabric.db")).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

fn run_and_kill(dir: &Path, acknowledgements: usize) -> Vec<Acknowledged> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < acknowledgements {
        let Some(line) = lines.next() else { break };
        seen.extend(parse(&line.unwrap()));
    }
    child.kill().unwrap();
    // What it had acknowledged before the kill reached it counts too; the last line may be cut off.
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    seen.extend(rest.iter().filter_map(|line| parse(line)));
    child.wait().unwrap();
    seen
}

/// An acknowledgement ends with a word that says that the line is whole.
fn parse(line: &str) -> Option<Acknowledged> {
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        ["appended", log, end, "whole"] => {
            Some(Acknowledged::Appended { log: (*log).to_owned(), end: end.parse().unwrap() })
        }
        ["set", key, value, "whole"] => Some(Acknowledged::Set { key: (*key).to_owned(), value: (*value).to_owned() }),
        ["kept", hash, "whole"] => Some(Acknowledged::Kept { hash: hash.parse().unwrap() }),
        _ => None,
    }
}

async fn assert_kept(fabric: &dyn Fabric, acknowledged: &Acknowledged) {
    match acknowledged {
        Acknowledged::Appended { log, end } => {
            assert!(fabric.end(log).await.unwrap() >= Position(*end), "{acknowledged:?}");
        }
        Acknowledged::Set { key, value } => {
            let kept = fabric.get(key).await.unwrap().unwrap().value.unwrap();
            let kept: u64 = std::str::from_utf8(&kept).unwrap().parse().unwrap();
            assert!(kept >= value.parse().unwrap(), "{acknowledged:?}, but it is {kept}");
        }
        Acknowledged::Kept { hash } => {
            assert!(fabric.get_blob(hash).await.unwrap().is_some(), "{acknowledged:?}");
        }
    }
}

/// Appends are there as a whole, in order, each record with what was written to it.
async fn assert_whole(fabric: &dyn Fabric, log: &str) {
    let end = fabric.end(log).await.unwrap();
    assert_eq!(end.0 % RECORDS, 0, "{log} has half an append");
    let mut seen = Position(0);
    while let Some(last) = {
        let records = fabric.read(log, seen, 1000).await.unwrap();
        for (count, record) in (seen.0 + 1..).zip(&records) {
            assert_eq!(record.position.0, count);
            assert_eq!(record.bytes, record_at(log, count));
        }
        records.last().map(|record| record.position)
    } {
        seen = last;
    }
    assert_eq!(seen, end);
}

fn log_of(writer: usize) -> String {
    format!("log-{writer}")
}

/// Some are of a few bytes, some of many pages.
fn record_at(log: &str, position: u64) -> Bytes {
    let length = if position.is_multiple_of(11) { 30_000 } else { 20 };
    format!("{log} {position} {}", "x".repeat(length)).into()
}

#[test]
#[ignore = "is started, and killed, by the other test"]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let fabric = Embedded::open(Path::new(&dir)).unwrap();
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&fabric), writer))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write(fabric: Arc<Embedded>, writer: usize) {
    let (log, key) = (log_of(writer), format!("key-{writer}"));
    let mut end = fabric.end(&log).await.unwrap();
    // Far more than it is let do: it ends by being killed.
    for _ in 0..100_000 {
        let records = (1..=RECORDS).map(|count| record_at(&log, end.0 + count)).collect();
        end = fabric.append(&log, end, records).await.unwrap();
        println!("appended {log} {} whole", end.0);
        let value = end.0.to_string();
        fabric.set(vec![Change { key: key.clone(), value: Some(value.clone().into()) }]).await.unwrap();
        println!("set {key} {value} whole");
        let hash = fabric.put_blob(format!("{log} {value}").repeat(100).into()).await.unwrap();
        println!("kept {hash} whole");
    }
}
