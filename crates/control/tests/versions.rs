//! What comes to be a version, and what is kept of it.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_control::{
    Consumer, ControlError, EnvValue, NewDeployment, NewResource, Page, ResourceKind, ScriptSettings, Secret,
    SecretsKey, SettingsPatch,
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
async fn a_version_stays_of_the_time_that_its_code_was_told() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let (control, caller, account, worker) = (&platform.control, &platform.caller, &platform.account, name("shop"));
    let uploaded = platform.upload("shop", "export default {}", json!({})).await.unwrap().version;
    let secrets = BTreeMap::from([("KEY".to_owned(), Some(Secret::new("hunter2")))]);
    let changed = control.change_secrets(caller, account, &worker, secrets).await.unwrap();
    for version in [uploaded, changed] {
        assert_eq!(machine.pop.told_ms(&version.id), Some(version.created_ms));
        let kept = control.version(caller, account, &worker, version.id.as_str()).await.unwrap();
        assert_eq!(kept.created_ms, version.created_ms);
    }
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

#[tokio::test]
async fn a_secret_is_not_changed_into_a_variable_nor_a_variable_into_a_secret() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let bindings = json!([
        { "name": "VAR", "type": "plain_text", "text": "x" },
        { "name": "KEY", "type": "secret_text", "text": "hunter2" },
    ]);
    platform.upload("shop", "export default {}", json!({ "bindings": bindings })).await.unwrap();
    let end = machine.log_end().await;
    let worker = name("shop");
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    let secrets = |name: &str| BTreeMap::from([(name.to_owned(), Some(Secret::new("s3cr3t")))]);
    let put = control.change_secrets(caller, account, &worker, secrets("VAR")).await.unwrap_err();
    assert_eq!((put.code(), put.status()), (10053, 400));
    assert!(put.to_string().starts_with("Binding name 'VAR' already in use. Please use a different name"), "{put}");
    let env = |name: &str, value: EnvValue| BTreeMap::from([(name.to_owned(), Some(value))]);
    for env in [env("VAR", EnvValue::Secret(Secret::new("s3cr3t"))), env("KEY", EnvValue::Text("x".into()))] {
        let refused = control.edit_latest(caller, account, &worker, env, BTreeMap::new()).await.unwrap_err();
        assert_eq!(refused.code(), 10053, "{refused}");
    }
    for binding in [
        json!({ "name": "VAR", "type": "secret_text", "text": "s3cr3t" }),
        json!({ "name": "KEY", "type": "plain_text", "text": "x" }),
    ] {
        let bindings = Some(vec![serde_json::from_value(binding).unwrap()]);
        let patch = SettingsPatch { bindings, ..SettingsPatch::default() };
        let refused = control.change_settings(caller, account, &worker, patch).await.unwrap_err();
        assert_eq!(refused.code(), 10053, "{refused}");
    }
    assert_eq!(machine.log_end().await, end);
    control.change_secrets(caller, account, &worker, secrets("KEY")).await.unwrap();

    // An upload says all that a version is made of: clients ask before it takes a secret's place.
    let bindings = json!([{ "name": "KEY", "type": "plain_text", "text": "x" }]);
    let metadata = json!({ "bindings": bindings, "keep_bindings": ["secret_text", "secret_key"] });
    let replaced = platform.upload("shop", "export default {}", metadata).await.unwrap().version;
    assert_eq!(replaced.bindings.len(), 1);
    assert!(matches!(replaced.bindings[0].kind, BindingKind::PlainText { .. }));
    let twice = json!([{ "name": "A", "type": "assets" }, { "name": "A", "type": "plain_text", "text": "x" }]);
    let refused = platform.upload("shop", "export default {}", json!({ "bindings": twice })).await.unwrap_err();
    assert_eq!(refused.code(), 10053, "{refused}");
}

#[tokio::test]
async fn what_handles_no_event_is_no_version_but_entrypoints_alone_are() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let metadata = |message: &str| json!({ "annotations": { "workers/message": message } });
    let refused = platform.upload("idle", "export default {}", metadata("handles nothing")).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), (10068, 400));
    assert!(refused.to_string().contains("no registered event handlers"), "{refused}");
    platform.upload("rpc", "export class Rpc {}", metadata("entrypoints")).await.unwrap();
}

#[tokio::test]
async fn compatibility_that_nobody_knows_is_refused() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    for (metadata, said) in [
        (json!({ "compatibility_flags": ["nope_flag"] }), "No such compatibility flag: nope_flag"),
        (json!({ "compatibility_flags": ["nodejs_compat", "no_nodejs_compat"] }), "mutually contradictory"),
        (json!({ "compatibility_date": "2030-06-01" }), "in the future: 2030-06-01"),
    ] {
        let refused = platform.upload("shop", "export default {}", metadata).await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), (10021, 400));
        assert!(refused.to_string().contains(said), "{refused}");
    }
    platform.upload("shop", "export default {}", json!({})).await.unwrap();
    let patch = SettingsPatch { compatibility_flags: Some(vec!["nope_flag".into()]), ..SettingsPatch::default() };
    let changed = platform.control.change_settings(&platform.caller, &platform.account, &name("shop"), patch).await;
    assert_eq!(changed.unwrap_err().code(), 10021);
}

#[tokio::test]
async fn an_alias_does_not_take_another_workers_host_name() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    platform.upload("itty-app", "export default {}", json!({})).await.unwrap();
    let metadata = |alias: &str| json!({ "annotations": { "workers/alias": alias } });
    let refused = platform.upload("app", "export default {}", metadata("itty")).await.unwrap_err();
    assert!(refused.to_string().contains("itty-app"), "{refused}");
    platform.upload("app", "export default {}", metadata("bitty")).await.unwrap();
}

#[tokio::test]
async fn a_queue_loses_its_consumer_with_the_worker() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    for worker in ["shop", "other"] {
        platform.upload(worker, "export default {}", json!({})).await.unwrap();
    }
    let new = NewResource { kind: ResourceKind::Queue, name: "orders".into(), data: serde_json::Map::new() };
    let queue = control.create_resource(caller, account, new).await.unwrap().id;
    for worker in ["shop", "other"] {
        let consumer = json!({ "type": "worker", "script_name": worker }).as_object().unwrap().clone();
        control.put_queue_consumer(caller, account, &queue, None, consumer).await.unwrap();
    }
    control.delete_worker(caller, account, &name("shop"), false).await.unwrap_err();
    control.delete_worker(caller, account, &name("shop"), true).await.unwrap();
    let queue = control.resource(caller, account, ResourceKind::Queue, &queue).await.unwrap();
    let consumers = queue.data["consumers"].as_array().unwrap();
    assert_eq!(consumers.len(), 1);
    assert_eq!(consumers[0]["script_name"], "other");
}

#[tokio::test]
async fn what_refers_to_a_worker_is_said_once() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    platform.upload("shop", "export default {}", json!({})).await.unwrap();
    let binding = |name: &str| json!({ "name": name, "type": "service", "service": "shop" });
    let bindings = || json!({ "bindings": [binding("T"), binding("S")] });
    let mut versions = Vec::new();
    for worker in ["b", "a", "a"] {
        versions.push(platform.upload(worker, "export default {}", bindings()).await.unwrap().version.id);
    }
    // Both versions of the one serve; that of the other no more.
    let split = versions.drain(1..).map(|version| (version, 50.0)).collect();
    let split = NewDeployment { versions: split, ..NewDeployment::default() };
    control.deploy(caller, account, &name("a"), split).await.unwrap();
    platform.upload("b", "export default {}", json!({})).await.unwrap();
    let references = control.references(caller, account, &name("shop")).await.unwrap();
    assert_eq!(references.services, [(name("a"), "S".to_owned()), (name("a"), "T".to_owned())]);
    let refused = control.delete_worker(caller, account, &name("shop"), false).await.unwrap_err();
    assert!(matches!(refused, ControlError::InUse { .. }), "{refused}");
    control.delete_worker(caller, account, &name("shop"), true).await.unwrap();
}

#[tokio::test]
async fn what_is_only_kept_and_shown_is_bounded() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let end = machine.log_end().await;
    let long = "x".repeat(20_000);
    for (metadata, said) in [
        (json!({ "observability": { "enabled": true, "x": long } }), "observability"),
        (json!({ "placement": { "mode": long } }), "placement"),
        (json!({ "migrations": { "new_tag": long, "new_sqlite_classes": ["A"] } }), "new_tag"),
        (json!({ "annotations": { "workers/message": "a\u{202e}b" } }), "annotations"),
    ] {
        let refused = platform.upload("shop", "export default {}", metadata).await.unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(refused.status(), 400);
    }
    assert_eq!(machine.log_end().await, end);
    // What a client says of the machine that it built on is not kept, however long.
    let metadata = json!({ "package_dependencies": [long], "observability": { "enabled": true } });
    let version = platform.upload("shop", "export default {}", metadata).await.unwrap().version;
    assert!(version.extra.is_empty(), "{:?}", version.extra);
    let observability = Some(json!({ "x": "x".repeat(20_000) }));
    let settings = ScriptSettings { observability, ..ScriptSettings::default() };
    let refused = platform
        .control
        .change_script_settings(&platform.caller, &platform.account, &name("shop"), settings)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("observability"), "{refused}");
}
