//! Accounts beside each other: what one has, another neither stands above nor below, nor waits for.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use selvedge_control::{
    ACCOUNT_STARTS_MAX, Account, AssetEntry, ControlError, NewAccount, NewToken, Origin, Page, Permission, STARTS_MAX,
};
use serde_json::json;
use support::{Machine, Platform, asset_hash, name};

async fn create(platform: &Platform, name: &str, subdomain: Option<&str>) -> Result<Account, ControlError> {
    let new = NewAccount { name: name.into(), subdomain: subdomain.map(Into::into) };
    platform.control.create_account(&platform.caller, new).await
}

/// The same control plane, asked by a token of one account.
async fn of_account(platform: &Platform, account: &Account) -> Platform {
    let permissions = BTreeSet::from([Permission::WorkersRead, Permission::WorkersWrite]);
    let new = NewToken { name: "own".into(), permissions, expires_ms: None, all_accounts: false };
    let (_, secret) = platform.control.create_token(&platform.caller, &account.id, new).await.unwrap();
    let origin = Origin { ip: None, client: "test".into() };
    let caller = platform.control.authenticate(secret.expose(), origin).await.unwrap();
    Platform { caller, account: account.id.clone(), ..platform.clone() }
}

#[tokio::test]
async fn an_account_whose_versions_do_not_come_to_start_leaves_starts_to_the_others() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let slow = of_account(&platform, &create(&platform, "slow", None).await.unwrap()).await;
    let other = of_account(&platform, &create(&platform, "other", None).await.unwrap()).await;
    let closed = machine.pop.door.write().await;
    let uploads = (0..=STARTS_MAX).map(|at| {
        let slow = slow.clone();
        tokio::spawn(async move { slow.upload(&format!("w{at}"), "export default {}", json!({})).await })
    });
    let uploads: Vec<_> = uploads.collect();
    machine.pop.begun(ACCOUNT_STARTS_MAX).await;
    let metadata = json!({ "annotations": { "workers/message": "goes by" } });
    other.upload("shop", "export default {}", metadata).await.unwrap();
    assert_eq!(machine.pop.starts(), ACCOUNT_STARTS_MAX + 1);
    drop(closed);
    for uploaded in join_all(uploads).await {
        uploaded.unwrap().unwrap();
    }
}

#[tokio::test]
async fn no_account_is_below_the_worker_of_another() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    platform.upload("shop", "export default {}", json!({})).await.unwrap();
    let refused = create(&platform, "B", Some("shop")).await.unwrap_err();
    assert!(matches!(refused, ControlError::SubdomainTaken { .. }), "{refused}");
    let made = create(&platform, "Shop", None).await.unwrap().subdomain.unwrap();
    assert!(made.starts_with("shop-"), "{made}");

    let other = create(&platform, "other", None).await.unwrap();
    let set = async |subdomain: &str| {
        platform.control.set_subdomain(&platform.caller, &other.id, subdomain).await.unwrap_err()
    };
    assert!(matches!(set("shop").await, ControlError::SubdomainTaken { .. }));
    for reserved in ["www", "localhost", "xn--shop-0qa"] {
        assert!(matches!(set(reserved).await, ControlError::Invalid { .. }), "{reserved}");
    }
    let made = create(&platform, "WWW", None).await.unwrap().subdomain.unwrap();
    assert!(made.starts_with("www-"), "{made}");

    let refused = platform.upload("other", "export default {}", json!({})).await.unwrap_err();
    assert!(refused.to_string().contains("the subdomain of another account"), "{refused}");
    platform.upload("another", "export default {}", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_gone_decides_nothing() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let control = &platform.control;
    let permissions = BTreeSet::from([Permission::WorkersRead, Permission::WorkersWrite]);
    let new = NewToken { name: "made".into(), permissions, expires_ms: None, all_accounts: false };
    let (token, secret) = control.create_token(&platform.caller, &platform.account, new).await.unwrap();
    let origin = Origin { ip: None, client: "test".into() };
    let caller = control.authenticate(secret.expose(), origin).await.unwrap();
    let revoked = Platform { caller, ..platform.clone() };
    revoked.upload("shop", "export default {}", json!({})).await.unwrap();
    control.revoke_token(&platform.caller, &platform.account, &token.id).await.unwrap();
    let end = machine.log_end().await;
    let refused = [
        revoked.upload("shop", "export default {}", json!({})).await.unwrap_err(),
        revoked.worker("shop").await.unwrap_err(),
        control.delete_worker(&revoked.caller, &platform.account, &name("shop"), true).await.unwrap_err(),
        control.check_caller(&revoked.caller).await.unwrap_err(),
    ];
    for refused in refused {
        assert!(matches!(refused, ControlError::Unauthenticated), "{refused}");
    }
    assert_eq!(machine.log_end().await, end);
}

#[tokio::test]
async fn tokens_that_have_expired_are_listed_no_more() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let control = &platform.control;
    let hour_ms = 3_600_000;
    for (name, hours) in [("for ever", None), ("a day", Some(24)), ("an hour", Some(1)), ("for ever, too", None)] {
        let permissions = BTreeSet::from([Permission::WorkersRead]);
        let expires_ms = hours.map(|hours| control.now_ms() + hours * hour_ms);
        let new = NewToken { name: name.into(), permissions, expires_ms, all_accounts: false };
        control.create_token(&platform.caller, &platform.account, new).await.unwrap();
    }
    let names = async || {
        let tokens = control.tokens(&platform.caller, &platform.account, Page::first(100)).await.unwrap();
        tokens.into_iter().map(|token| token.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["admin", "for ever", "a day", "an hour", "for ever, too"]);
    machine.advance_clock(Duration::from_secs(2 * 3_600));
    assert_eq!(names().await, ["admin", "for ever", "a day", "for ever, too"]);
}

#[tokio::test]
async fn a_large_manifest_is_written_in_pieces_and_whole_in_the_end() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    // More than is written at once, and of one content, so that one upload is enough.
    let hash = asset_hash("a.html", "one");
    let entry = |at: usize| (format!("/{at}.html"), AssetEntry { hash: hash.clone(), size: 3 });
    let manifest: BTreeMap<_, _> = (0..2_500).map(entry).collect();
    let start = async || {
        let manifest = manifest.clone();
        platform.control.start_assets(&platform.caller, &platform.account, &name("shop"), manifest).await.unwrap()
    };
    let session = start().await;
    let uploaded = platform.control.put_asset(&session.token, &hash, None, "one".into()).await.unwrap();
    let metadata = json!({ "assets": { "jwt": uploaded.completion.unwrap() } });
    let version = platform.upload("shop", "export default {}", metadata).await.unwrap().version;
    assert_eq!(version.assets.unwrap().count, 2_500);

    // It is forgotten in pieces, too: nothing of it stands in the way of the same again.
    machine.advance_clock(Duration::from_secs(4_000));
    platform.control.maintain().await.unwrap();
    let refused = platform.control.put_asset(&session.token, &hash, None, "one".into()).await.unwrap_err();
    assert!(matches!(refused, ControlError::AssetsToken), "{refused}");
    assert!(start().await.buckets.is_empty());
}
