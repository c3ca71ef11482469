//! Keys: changed, read, watched.

use bytes::Bytes;
use futures_util::future::join_all;
use selvedge_fabric::{Change, Fabric, FabricError, NAME_BYTES_MAX, Revision, VALUE_BYTES_MAX};

use super::{is_ready, put, removal, text, within};

pub(super) async fn check(fabric: &dyn Fabric) {
    a_key_is_what_it_was_last_set_to(fabric).await;
    changes_come_in_order_each_key_once(fabric).await;
    removed_keys_are_told_to_those_who_were_away(fabric).await;
    prefixes_are_taken_literally(fabric).await;
    a_watcher_misses_no_change(fabric).await;
    keys_and_values_have_bounds(fabric).await;
}

async fn a_key_is_what_it_was_last_set_to(fabric: &dyn Fabric) {
    assert_eq!(fabric.get("conformance/get").await.unwrap(), None);
    let first = fabric.set(vec![put("conformance/get", "one")]).await.unwrap();
    let second = fabric.set(vec![put("conformance/get", "")]).await.unwrap();
    assert!(second > first);
    let entry = fabric.get("conformance/get").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (Some(text("")), second));
    fabric.set(vec![removal("conformance/get")]).await.unwrap();
    assert_eq!(fabric.get("conformance/get").await.unwrap(), None);
    let third = fabric.set(vec![put("conformance/get", "three")]).await.unwrap();
    assert_eq!(fabric.get("conformance/get").await.unwrap().unwrap().revision, third);
    // Within one set, the last change of a key counts.
    fabric.set(vec![put("conformance/get", "four"), put("conformance/get", "five")]).await.unwrap();
    assert_eq!(fabric.get("conformance/get").await.unwrap().unwrap().value, Some(text("five")));
}

async fn changes_come_in_order_each_key_once(fabric: &dyn Fabric) {
    let key = |name: &str| format!("conformance/changes/{name}");
    fabric.set(vec![put(&key("a"), "1"), put(&key("b"), "1"), put(&key("c"), "1")]).await.unwrap();
    let last = fabric.set(vec![put(&key("a"), "2")]).await.unwrap();
    let entries = fabric.changes("conformance/changes/", Revision(0), 10).await.unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| entry.key.rsplit('/').next().unwrap()).collect();
    assert_eq!(seen, ["b", "c", "a"]);
    assert_eq!(entries[2].value, Some(text("2")));
    assert_eq!(entries[2].revision, last);
    assert!(entries.is_sorted_by_key(|entry| entry.revision));

    // In pages of one, the same.
    let (mut after, mut paged) = (Revision(0), Vec::new());
    loop {
        let page = fabric.changes("conformance/changes/", after, 1).await.unwrap();
        let Some(entry) = page.first() else { break };
        after = entry.revision;
        paged.push(entry.clone());
    }
    assert_eq!(paged, entries);
}

async fn removed_keys_are_told_to_those_who_were_away(fabric: &dyn Fabric) {
    let (kept, gone, never) = ("conformance/gone/kept", "conformance/gone/gone", "conformance/gone/never");
    let before = fabric.set(vec![put(kept, "1"), put(gone, "1")]).await.unwrap();
    let removed = fabric.set(vec![removal(gone), removal(never)]).await.unwrap();
    let since = fabric.changes("conformance/gone/", before, 10).await.unwrap();
    let since: Vec<_> = since.into_iter().filter(|entry| entry.key != never).collect();
    assert_eq!(since.len(), 1);
    assert_eq!((since[0].key.as_str(), &since[0].value), (gone, &None));
    assert!(since[0].revision <= removed);
    let anew = fabric.changes("conformance/gone/", Revision(0), 10).await.unwrap();
    assert_eq!(anew.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), [kept]);
}

async fn prefixes_are_taken_literally(fabric: &dyn Fabric) {
    let keys = ["conformance/%_*/a", "conformance/%_*/ä", "conformance/%_x/b", "conformance/é"];
    fabric.set(keys.iter().map(|key| put(key, "1")).collect()).await.unwrap();
    let found = async |prefix: &str| {
        let entries = fabric.changes(prefix, Revision(0), 10).await.unwrap();
        entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };
    assert_eq!(found("conformance/%_*/").await, keys[..2]);
    assert_eq!(found("conformance/%_").await, keys[..3]);
    assert_eq!(found("conformance/é").await, keys[3..]);
    assert!(found("conformance/%_*/aa").await.is_empty());
}

async fn a_watcher_misses_no_change(fabric: &dyn Fabric) {
    const WRITERS: usize = 8;
    const CHANGES: usize = 25;
    let mut quiet = fabric.watch("conformance/watched/");
    let write = |who: usize| async move {
        for count in 0..CHANGES {
            fabric.set(vec![put(&format!("conformance/watched/{who}/{count}"), "1")]).await.unwrap();
        }
    };
    let watch = async {
        let mut wake = fabric.watch("conformance/watched/");
        let (mut after, mut seen) = (Revision(0), 0);
        while seen < WRITERS * CHANGES {
            let entries = fabric.changes("conformance/watched/", after, 9).await.unwrap();
            seen += entries.len();
            match entries.last() {
                Some(last) => after = last.revision,
                None => wake.wake().await.unwrap(),
            }
        }
    };
    within("watching", async { tokio::join!(join_all((0..WRITERS).map(write)), watch) }).await;
    within("what happened before it was asked", quiet.wake()).await.unwrap();
    fabric.set(vec![put("conformance/watched", "beside the prefix")]).await.unwrap();
    assert!(!is_ready(quiet.wake()).await, "another key changed");
}

async fn keys_and_values_have_bounds(fabric: &dyn Fabric) {
    let long = "k".repeat(NAME_BYTES_MAX + 1);
    let refused = fabric.set(vec![put("conformance/bounds", "1"), put(&long, "1")]).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
    let refused = fabric.set(vec![put("conformance/bounds", "1"), put("", "1")]).await;
    assert!(matches!(refused, Err(FabricError::Empty { .. })), "{refused:?}");
    let large = Change { key: "conformance/large".to_owned(), value: Some(Bytes::from(vec![0; VALUE_BYTES_MAX + 1])) };
    let refused = fabric.set(vec![put("conformance/bounds", "1"), large]).await;
    assert!(matches!(refused, Err(FabricError::TooLarge { .. })), "{refused:?}");
    assert_eq!(fabric.get("conformance/bounds").await.unwrap(), None, "all or none");
    assert_eq!(fabric.get(&long).await.unwrap(), None);
}
