//! What comes to be a version, and what is kept of it.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use selvedge_control::{
    Consumer, ControlError, NewDeployment, Page, ScriptSettings, Secret, SecretsKey, SettingsPatch,
};
use selvedge_model::{BindingKind, VersionRecord};
use serde_json::json;
use support::{KEY, Machine, name};

fn sealed<'a>(version: &'a VersionRecord, secret: &str) -> &'a str {
    let binding = version.bindings.iter().find(|binding| binding.name == secret).unwrap();
    let BindingKind::SecretText { sealed } = &binding.kind else { panic!("{binding:?}") };
    sealed
}

#[tokio::test]
async fn what_does_not_start_is_no_version() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let end = machine.log_end().await;
    let metadata = json!({ "annotations": { "workers/message": "does not start" } });
    let refused = platform.upload("shop", "export default {}", metadata).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), (10021, 400));
    assert!(refused.to_string().contains("src/index.ts:3:7"), "{refused}");
    assert_eq!(machine.log_end().await, end);
    let missing = platform.worker("shop").await.unwrap_err();
    assert!(matches!(missing, ControlError::WorkerNotFound { .. }), "{missing}");
}

#[tokio::test]
async fn the_same_upload_twice_is_two_versions_of_one_content_kept_once() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let metadata = || json!({ "bindings": [{ "name": "KEY", "type": "secret_text", "text": "hunter2" }] });
    let first = platform.upload("shop", "export default {}", metadata()).await.unwrap().version;
    let second = platform.upload("shop", "export default {}", metadata()).await.unwrap().version;
    assert_ne!(first.id, second.id);
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!((first.content, first.modules), (second.content, second.modules));
    assert_eq!(machine.blobs(), 1);
    let other = platform.upload("shop", "export default { a: 1 }", metadata()).await.unwrap().version;
    assert_eq!(machine.blobs(), 2);
    assert_eq!(machine.pop.starts(), 3);
    let versions = platform.control.versions(&platform.caller, &platform.account, &name("shop"), Page::default()).await;
    assert_eq!(versions.unwrap()[0].id, other.id);
}

#[tokio::test]
async fn secrets_go_on_to_the_next_version_and_are_nowhere_in_the_clear() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let metadata = json!({ "bindings": [{ "name": "KEY", "type": "secret_text", "text": "hunter2" }] });
    let first = platform.upload("shop", "export default {}", metadata).await.unwrap().version;
    let second = platform.upload("shop", "export default { b: 1 }", json!({})).await.unwrap().version;
    assert_eq!(sealed(&first, "KEY"), sealed(&second, "KEY"));
    let opened = SecretsKey::from_bytes(KEY).open(&platform.account, &name("shop"), "KEY", sealed(&second, "KEY"));
    assert_eq!(opened, Some(Secret::new("hunter2")));
    assert!(!machine.log().await.contains("hunter2"));
    drop(platform);
    for file in std::fs::read_dir(machine.view("view")).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_secret_is_inherited_under_another_name_with_one_start() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let metadata = json!({ "bindings": [{ "name": "OLD", "type": "secret_text", "text": "hunter2" }] });
    platform.upload("shop", "export default {}", metadata).await.unwrap();
    let metadata =
        json!({ "bindings": [{ "name": "NEW", "type": "inherit", "old_name": "OLD" }], "keep_bindings": [] });
    let made = platform.upload("shop", "export default {}", metadata).await.unwrap().version;
    assert_eq!(machine.pop.starts(), 2);
    assert_eq!(made.bindings.len(), 1);
    let opened = SecretsKey::from_bytes(KEY).open(&platform.account, &name("shop"), "NEW", sealed(&made, "NEW"));
    assert_eq!(opened, Some(Secret::new("hunter2")));
}

#[tokio::test]
async fn a_secret_that_could_not_be_sealed_is_not_kept() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let end = machine.log_end().await;
    let key = json!({ "name": "KEY", "type": "secret_key", "key_base64": "AAAA", "format": "raw", "usages": ["sign"] });
    let refused = platform.upload("shop", "export default {}", json!({ "bindings": [key] })).await.unwrap_err();
    assert!(matches!(refused, ControlError::NotAvailable { .. }), "{refused}");
    assert_eq!(machine.log_end().await, end);
}

#[tokio::test]
async fn settings_change_all_together_or_not_at_all() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    platform.upload("shop", "export default {}", json!({})).await.unwrap();
    let end = machine.log_end().await;
    let change = |consumer: &str| {
        let tail_consumers = Some(vec![Consumer { service: name(consumer) }]);
        let script = ScriptSettings { tail_consumers, ..ScriptSettings::default() };
        SettingsPatch { compatibility_date: Some("2026-02-02".into()), script, ..SettingsPatch::default() }
    };
    let worker = name("shop");
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    let refused = control.change_settings(caller, account, &worker, change("nobody")).await.unwrap_err();
    assert!(matches!(refused, ControlError::ServiceMissing { .. }), "{refused}");
    assert_eq!(machine.log_end().await, end);
    let changed = control.change_settings(caller, account, &worker, change("shop")).await.unwrap();
    assert_eq!(changed.tail_consumers, [Consumer { service: worker.clone() }]);
    let version = control.latest_version(caller, account, &worker).await.unwrap();
    assert_eq!((version.number, version.compatibility_date.as_str()), (2, "2026-02-02"));
}

#[tokio::test]
async fn a_deployment_is_later_than_the_one_before_whatever_the_clock_does() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let first = platform.upload("shop", "export default {}", json!({})).await.unwrap();
    machine.set_clock_back(Duration::from_secs(3600));
    let second = platform.upload("shop", "export default { b: 1 }", json!({})).await.unwrap();
    let back = NewDeployment { versions: vec![(first.version.id, 100.0)], ..NewDeployment::default() };
    let third = platform.control.deploy(&platform.caller, &platform.account, &name("shop"), back).await.unwrap();
    let created = [first.deployment.unwrap().created_ms, second.deployment.unwrap().created_ms, third.created_ms];
    assert!(created.is_sorted_by(|one, next| one < next), "{created:?}");
}
