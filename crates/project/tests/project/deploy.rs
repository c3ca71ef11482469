//! What is read for a deployment, and what of it environments inherit.

use selvedge_project::{Project, load_deployed};

use crate::support::{Folder, text};

const CONFIG: &str = r#"{
  "name": "shop", "main": "index.js", "compatibility_date": "2025-01-01",
  "account_id": "0123", "workers_dev": false, "preview_urls": true, "keep_vars": true, "logpush": true,
  "upload_source_maps": false, "placement": { "mode": "smart" }, "observability": { "enabled": true },
  "tail_consumers": [{ "service": "watcher" }],
  "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Room"] }],
  "triggers": { "crons": [] },
  "vars": { "KEY": "from the config" },
  "secrets": { "required": ["TOKEN"] },
  "kv_namespaces": [{ "binding": "KV", "id": "abc" }],
  "queues": { "producers": [{ "binding": "JOBS", "queue": "jobs" }],
              "consumers": [{ "queue": "jobs", "max_batch_size": 5 }] },
  "env": { "staging": { "workers_dev": true, "vars": {} } }
}"#;

fn deployed(folder: &Folder, env: Option<&str>) -> Project {
    load_deployed(&folder.path(""), env).unwrap()
}

#[test]
fn what_a_platform_reads_is_kept() {
    let project = deployed(&Folder::jsonc(CONFIG), None);
    let deploy = project.deploy;
    assert_eq!(deploy.account_id.as_deref(), Some("0123"));
    assert_eq!((deploy.workers_dev, deploy.preview_urls), (Some(false), Some(true)));
    assert_eq!((deploy.keep_vars, deploy.logpush, deploy.upload_source_maps), (true, Some(true), Some(false)));
    assert_eq!(deploy.placement.unwrap()["mode"], "smart");
    assert_eq!(deploy.observability.unwrap()["enabled"], true);
    assert_eq!(deploy.tail_consumers[0].as_str(), "watcher");
    assert_eq!(deploy.migrations[0]["tag"], "v1");
    assert_eq!(deploy.queue_consumers[0]["max_batch_size"], 5);
    assert_eq!(deploy.secrets_required[0].as_str(), "TOKEN");
    let bound: Vec<_> = project.unavailable.iter().map(|binding| serde_json::json!(binding.fields)).collect();
    assert!(bound.contains(&serde_json::json!({ "binding": "KV", "id": "abc" })));
    assert!(bound.contains(&serde_json::json!({ "binding": "JOBS", "queue": "jobs" })));
}

#[test]
fn no_crons_and_no_word_of_them_are_two_things() {
    assert_eq!(deployed(&Folder::jsonc(CONFIG), None).crons, Some(Vec::new()));
    assert_eq!(deployed(&Folder::jsonc(r#"{ "main": "index.js", "triggers": {} }"#), None).crons, None);
}

#[test]
fn an_environment_inherits_all_but_its_bindings_and_tail_workers() {
    let project = deployed(&Folder::jsonc(CONFIG), Some("staging"));
    let deploy = project.deploy;
    assert_eq!(project.name.as_str(), "shop-staging");
    assert_eq!((deploy.workers_dev, deploy.preview_urls), (Some(true), Some(true)));
    assert!(deploy.keep_vars);
    assert_eq!(deploy.account_id.as_deref(), Some("0123"));
    assert_eq!(deploy.migrations.len(), 1);
    assert_eq!(project.crons, Some(Vec::new()));
    assert!(deploy.tail_consumers.is_empty() && deploy.queue_consumers.is_empty());
    assert!(deploy.secrets_required.is_empty() && project.unavailable.is_empty());
}

#[test]
fn secrets_of_this_machine_are_not_deployed_and_hide_no_variable() {
    let folder = Folder::jsonc(CONFIG).file(".dev.vars", "KEY=mine\nTOKEN=mine\n");
    let project = deployed(&folder, None);
    assert!(project.secrets.is_empty());
    assert_eq!(text(&project, "KEY").as_deref(), Some("from the config"));
}

#[test]
fn what_a_frameworks_build_wrote_is_deployed_in_the_projects_place() {
    let folder = Folder::jsonc(r#"{ "name": "source", "main": "index.js", "compatibility_date": "2025-01-01" }"#)
        .file(".wrangler/deploy/config.json", r#"{ "configPath": "../../dist/server/wrangler.json" }"#)
        .file("dist/client/index.html", "hello")
        .file("dist/server/index.js", "")
        .file(
            "dist/server/wrangler.json",
            r#"{ "name": "built", "main": "index.js", "compatibility_date": "2025-01-01",
                 "assets": { "directory": "../client" } }"#,
        );
    let project = deployed(&folder, None);
    assert_eq!(project.name.as_str(), "built");
    assert_eq!(project.main, Some(folder.path("dist/server/index.js")));
    assert_eq!(project.assets.as_ref().unwrap().directory, folder.path("dist/client"));
    assert!(folder.warnings(&project).iter().any(|warning| warning.contains("that is deployed")));
    assert_eq!(folder.load().name.as_str(), "source");
}

#[test]
fn a_consumer_without_a_queue_is_a_problem() {
    let folder = Folder::jsonc(r#"{ "main": "index.js", "queues": { "consumers": [{}] } }"#);
    assert!(folder.error().contains("`queues.consumers[0].queue` is missing"));
}
