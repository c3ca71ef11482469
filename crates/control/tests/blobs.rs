//! Which blobs stay, and which go.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use selvedge_control::{BLOB_GRACE, ControlError};
use selvedge_fabric::{Fabric, FabricError};
use selvedge_model::BlobHash;
use serde_json::json;
use support::{Machine, Platform};

const MINUTE: Duration = Duration::from_secs(60);

/// Lets the grace go by, and keeps house.
async fn sweep(machine: &Machine, platform: &Platform) {
    machine.advance_clock(BLOB_GRACE + MINUTE);
    platform.control.maintain().await.unwrap();
}

#[tokio::test]
async fn what_no_version_came_to_use_goes_after_a_while() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    platform.upload("shop", "export default {}", json!({})).await.unwrap();
    let metadata = json!({ "annotations": { "workers/message": "does not start" } });
    platform.upload("shop", "export default { no: 1 }", metadata).await.unwrap_err();
    platform.control.maintain().await.unwrap();
    assert_eq!(machine.blobs(), 2);
    sweep(&machine, &platform).await;
    assert_eq!(machine.blobs(), 1);
    assert_eq!(platform.script("shop").await, "export default {}");
}

#[tokio::test]
async fn what_two_workers_use_stays_until_both_are_gone() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    for worker in ["one", "other"] {
        platform.upload(worker, "export default {}", json!({})).await.unwrap();
    }
    platform.delete("one").await;
    sweep(&machine, &platform).await;
    assert_eq!(platform.script("other").await, "export default {}");
    platform.delete("other").await;
    platform.control.maintain().await.unwrap();
    assert_eq!(machine.blobs(), 1);
    sweep(&machine, &platform).await;
    assert_eq!(machine.blobs(), 0);
}

#[tokio::test]
async fn a_manifest_that_is_damaged_keeps_blobs_and_holds_up_nothing_else() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let jwt = platform.upload_assets("site", &[("/index.html", "<h1>hello</h1>")]).await;
    let site = platform.upload("site", "export default {}", json!({ "assets": { "jwt": jwt } })).await.unwrap();
    platform.upload("shop", "export default { a: 1 }", json!({})).await.unwrap();
    platform.delete("shop").await;
    let manifest = machine.fabric.blob_file(&site.version.assets.unwrap().files).unwrap();
    std::fs::write(&manifest, "damaged").unwrap();
    // Who reads on keeps SQLite from beginning its log anew.
    let reader = rusqlite::Connection::open(machine.view("view").join("control.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM workers;").unwrap();
    for at in 0..20 {
        platform.upload_large(&format!("large-{at}")).await;
    }
    drop(reader);
    let log_bytes = || std::fs::metadata(machine.view("view").join("control.db-wal")).unwrap().len();
    assert!(log_bytes() > 16 * 1024 * 1024);

    machine.advance_clock(BLOB_GRACE + MINUTE);
    let failed = platform.control.maintain().await.unwrap_err();
    assert!(matches!(failed, ControlError::Fabric(FabricError::Damaged { .. })), "{failed}");
    assert_eq!(log_bytes(), 0);
    assert_eq!(machine.blobs(), 4);
    // Its script serves the others, and its manifest has only now become unused.
    platform.delete("site").await;
    platform.control.maintain().await.unwrap();
    assert_eq!(machine.blobs(), 2);
}

/// The clock goes on by a day while a version is being started, and what is unused for an hour is removed just then.
#[tokio::test]
async fn nothing_that_an_upload_under_way_relies_on_is_removed() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let page = "<h1>hello</h1>";
    let jwt = platform.upload_assets("shop", &[("/index.html", page)]).await;
    let closed = machine.pop.door.write().await;
    let uploading = tokio::spawn({
        let platform = platform.clone();
        async move { platform.upload("shop", "export default {}", json!({ "assets": { "jwt": jwt } })).await }
    });
    machine.pop.begun(1).await;
    machine.advance_clock(Duration::from_secs(24 * 3600));
    platform.control.maintain().await.unwrap();
    assert_eq!(machine.blobs(), 3);
    drop(closed);
    uploading.await.unwrap().unwrap();
    sweep(&machine, &platform).await;
    assert_eq!(platform.script("shop").await, "export default {}");
    let page: BlobHash = blake3::hash(page.as_bytes()).to_hex().as_str().parse().unwrap();
    assert!(machine.fabric.get_blob(&page).await.unwrap().is_some());
}
