//! What becomes of commands when something fails in between, and of a view that is lost.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use selvedge_control::{AuditQuery, BLOB_GRACE, ControlError, Page};
use serde_json::json;
use support::{Machine, Platform, name};

const MINUTE: Duration = Duration::from_secs(60);

async fn audit(platform: &Platform) -> Vec<selvedge_control::AuditEntry> {
    let query = AuditQuery { limit: 100, ..AuditQuery::default() };
    platform.control.audit(&platform.caller, &platform.account, query).await.unwrap().entries
}

#[tokio::test]
async fn what_was_decided_is_published_once_that_is_possible_again() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    machine.fabric.refuse_keys(true);
    platform.upload("shop", "export default {}", json!({})).await.unwrap_err();
    assert!(platform.worker("shop").await.is_ok() && !machine.is_published(&platform, "shop").await);
    machine.fabric.refuse_keys(false);
    platform.control.maintain().await.unwrap();
    assert!(machine.is_published(&platform, "shop").await);
}

#[tokio::test]
async fn a_command_is_acknowledged_once_it_is_served_and_no_pop_can_hold_it_up() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let behind = machine.pop.following.write().await;
    let upload = platform.upload("shop", "export default {}", json!({}));
    let mut upload = std::pin::pin!(upload);
    let published = async {
        while !machine.is_published(&platform, "shop").await {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut upload => panic!("it was acknowledged before it was served"),
        () = published => {}
    }
    // Longer than a command waits.
    upload.await.unwrap();
    drop(behind);
}

#[tokio::test]
async fn what_was_decided_is_published_at_the_next_start() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    platform.upload("gone", "export default {}", json!({})).await.unwrap();
    machine.fabric.refuse_keys(true);
    platform.upload("shop", "export default {}", json!({})).await.unwrap_err();
    let deleted = platform.control.delete_worker(&platform.caller, &platform.account, &name("gone"), false).await;
    deleted.unwrap_err();
    drop(platform);
    machine.fabric.refuse_keys(false);
    let platform = machine.open("view").await;
    assert!(machine.is_published(&platform, "shop").await);
    assert!(!machine.is_published(&platform, "gone").await);
}

#[tokio::test]
async fn a_view_that_is_lost_or_damaged_is_made_anew() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    // One with assets that came, went, and of which nothing is left.
    let files = [("/index.html", "<h1>hello</h1>"), ("/a.css", "a {}")];
    let jwt = platform.upload_assets("site", &files).await;
    platform.upload("site", "export default { a: 1 }", json!({ "assets": { "jwt": jwt } })).await.unwrap();
    platform.control.maintain().await.unwrap();
    assert_eq!(machine.blobs(), 4);
    platform.delete("site").await;
    // First its script and the list of its files, then the files.
    for left in [2, 0] {
        machine.advance_clock(BLOB_GRACE + MINUTE);
        platform.control.maintain().await.unwrap();
        assert_eq!(machine.blobs(), left);
    }
    platform.upload("shop", "export default {}", json!({})).await.unwrap();
    let (workers, entries) = (platform.workers().await, audit(&platform).await);
    drop(platform);

    let database = machine.view("view").join("control.db");
    let damaged_inside = || {
        let mut content = std::fs::read(&database).unwrap();
        let half = content.len() / 2;
        content[half..].fill(0x5a);
        content
    };
    for damage in ["lost", "no database", "damaged inside"] {
        match damage {
            "lost" => std::fs::remove_dir_all(machine.view("view")).unwrap(),
            "no database" => std::fs::write(&database, "this is no database ".repeat(1_000)).unwrap(),
            _ => std::fs::write(&database, damaged_inside()).unwrap(),
        }
        let platform = machine.open("view").await;
        assert_eq!((platform.workers().await, audit(&platform).await), (workers.clone(), entries.clone()));
        platform.control.maintain().await.unwrap();
        assert_eq!(platform.script("shop").await, "export default {}");
        assert!(machine.is_published(&platform, "shop").await && !machine.is_published(&platform, "site").await);
    }
}

/// Of large records, a page of the log has fewer than were asked for, though more follow.
#[tokio::test]
async fn a_view_is_made_anew_of_all_the_log_however_large_its_records_are() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let script = "export default { late: 1 }";
    platform.upload("gone", script, json!({})).await.unwrap();
    platform.delete("gone").await;
    for at in 0..20 {
        platform.upload_large(&format!("large-{at}")).await;
    }
    // To a view that lacks it, its script is one that nothing uses any more.
    platform.upload("late", script, json!({})).await.unwrap();
    assert!(machine.log().await.len() > 18 * 1024 * 1024);
    let (workers, entries, blobs) = (platform.workers().await, audit(&platform).await, machine.blobs());
    assert_eq!(workers.len(), 21);
    drop(platform);

    std::fs::remove_dir_all(machine.view("view")).unwrap();
    let platform = machine.open("view").await;
    assert_eq!((platform.workers().await, audit(&platform).await), (workers, entries));
    let count = platform.control.count_versions(&platform.caller, &platform.account, &name("large-19")).await;
    assert_eq!(count.unwrap(), 1);
    machine.advance_clock(BLOB_GRACE + MINUTE);
    platform.control.maintain().await.unwrap();
    assert_eq!(machine.blobs(), blobs);
    assert_eq!(platform.script("late").await, script);
}

#[tokio::test]
async fn a_view_that_lacks_what_the_log_has_removes_nothing() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let script = "export default {}";
    platform.upload("gone", script, json!({})).await.unwrap();
    platform.delete("gone").await;
    let end = machine.log_end().await;
    platform.upload("late", script, json!({})).await.unwrap();
    drop(platform);

    machine.fabric.end_reads_at(end);
    let platform = machine.open("other").await;
    machine.advance_clock(BLOB_GRACE + MINUTE);
    let refused = platform.control.maintain().await.unwrap_err();
    assert!(matches!(refused, ControlError::View { action: "keep up with the log", .. }), "{refused}");
    assert_eq!(machine.blobs(), 1);
    machine.fabric.end_reads_at(u64::MAX);
    platform.control.maintain().await.unwrap();
    assert_eq!(platform.script("late").await, script);
}

#[tokio::test]
async fn another_key_than_the_one_that_sealed_is_refused() {
    let machine = Machine::new();
    drop(machine.open("view").await);
    let refused = machine.try_open("view", [8; 32]).await.err().unwrap();
    assert!(matches!(refused, ControlError::OtherKey), "{refused}");
    drop(machine.open("view").await);
}

/// Two that write one log: each decides on what the other appended.
#[tokio::test]
async fn who_appends_second_decides_anew() {
    let machine = Machine::new();
    let (one, other) = (machine.open("one").await, machine.open("other").await);
    let uploads = (0..4).flat_map(|at| [(&one, at), (&other, at + 4)]);
    let uploads = uploads.map(|(platform, at)| async move {
        platform.upload("shop", &format!("export default {{ a: {at} }}"), json!({})).await.unwrap().version.number
    });
    let mut numbers = join_all(uploads).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<u64>>());
    for platform in [&one, &other] {
        platform.control.maintain().await.unwrap();
        let count = platform.control.count_versions(&platform.caller, &platform.account, &name("shop")).await;
        assert_eq!(count.unwrap(), 8);
    }
    assert_eq!(audit(&one).await, audit(&other).await);
}

#[tokio::test]
async fn an_old_view_refuses_nothing_and_thinks_nothing_done() {
    let machine = Machine::new();
    let (one, other) = (machine.open("one").await, machine.open("other").await);
    let set = |platform: &Platform, enabled: bool| {
        let platform = platform.clone();
        async move {
            let (control, worker) = (&platform.control, name("shop"));
            control.set_worker_subdomain(&platform.caller, &platform.account, &worker, enabled, None).await.unwrap()
        }
    };
    one.upload("shop", "export default {}", json!({})).await.unwrap();
    // The other's view does not know the worker.
    assert!(set(&other, true).await.workers_dev);
    // And this one's view has it as it was before.
    assert!(!set(&one, false).await.workers_dev);
    other.control.maintain().await.unwrap();
    assert!(!other.worker("shop").await.unwrap().workers_dev);
    let versions = other.control.versions(&other.caller, &other.account, &name("shop"), Page::default()).await;
    assert_eq!(versions.unwrap().len(), 1);
}
