//! A disk that is full: writes fail with an error, nothing is half written, and when there is room they work again.
//!
//! The disk is a small one in memory, which the kernel gives to a process in namespaces of its own; the test starts this
//! very program again in there. Where the kernel does not allow that, the test says so and checks nothing.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use selvedge_fabric::{Change, Embedded, Fabric, FabricError, Position};

const DIR_VARIABLE: &str = "SELVEDGE_FABRIC_FULL_DIR";
const DISK_MIB: usize = 16;
/// What is deleted to make room again, in bytes.
const FILLER_BYTES: usize = 5 * 1024 * 1024;
/// A blob that finds room only then, in bytes.
const BLOB_BYTES: usize = 1024 * 1024;

#[test]
fn a_full_disk_is_an_error_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={DISK_MIB}m none \"${DIR_VARIABLE}\"");
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-r", "-m", "sh", "-c", script]).env(DIR_VARIABLE, dir.path());
        command
    };
    let script = format!("{mount} && exec \"$0\" --exact child_fills_the_disk --ignored --nocapture");
    let program = std::env::current_exe().unwrap();
    let output = in_namespace(&script).arg(program).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("the disk was full, and is not"), "{printed}");
}

#[test]
#[ignore = "is started by the other test"]
fn child_fills_the_disk() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let dir = Path::new(&dir);
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1; FILLER_BYTES]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let fabric = Embedded::open(&dir.join("fabric")).unwrap();
        fabric.set(vec![change("before")]).await.unwrap();
        let kept = fabric.put_blob("before".into()).await.unwrap();
        let end = fill(fabric.as_ref()).await;

        // Reads work, and show what was acknowledged and nothing else.
        assert_eq!(fabric.end("log").await.unwrap(), end);
        assert!(fabric.get("before").await.unwrap().is_some());
        let large = Bytes::from(vec![7; BLOB_BYTES]);
        let refused = fabric.put_blob(large.clone()).await;
        assert!(matches!(refused, Err(FabricError::Store { .. })), "{refused:?}");
        let temporary = dir.join("fabric/blobs/tmp");
        assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0, "half a blob is left");
        drop(fabric);

        // It opens on a full disk, too; and when there is room, everything works.
        let fabric = Embedded::open(&dir.join("fabric")).unwrap();
        assert_eq!(fabric.end("log").await.unwrap(), end);
        std::fs::remove_file(&filler).unwrap();
        let after = fabric.append("log", end, vec!["after".into()]).await.unwrap();
        assert_eq!(after.0, end.0 + 1);
        fabric.set(vec![change("after")]).await.unwrap();
        let hash = fabric.put_blob(large.clone()).await.unwrap();
        assert_eq!(fabric.get_blob(&hash).await.unwrap().unwrap(), large);
        assert_eq!(fabric.get_blob(&kept).await.unwrap().unwrap(), "before");
        assert_eq!(fabric.read("log", end, 10).await.unwrap()[0].bytes, "after");
    });
    println!("the disk was full, and is not");
}

fn change(key: &str) -> Change {
    Change { key: key.to_owned(), value: Some("value".into()) }
}

/// Appends until even the smallest record finds no room. Gives what was acknowledged.
async fn fill(fabric: &dyn Fabric) -> Position {
    let mut end = Position(0);
    for record_bytes in [64 * 1024, 4 * 1024, 16] {
        let record = Bytes::from(vec![7; record_bytes]);
        loop {
            match fabric.append("log", end, vec![record.clone(), record.clone()]).await {
                Ok(position) => end = position,
                Err(FabricError::Store { source, .. }) => {
                    println!("refused at {}: {source}", end.0);
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(fabric.end("log").await.unwrap(), end, "half an append is there");
    }
    end
}
