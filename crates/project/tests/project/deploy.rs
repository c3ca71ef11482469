//! What is read for a deployment, and what of it environments inherit.

use selvedge_project::{Project, dot_env, identify, load_deployed, read_secret_changes, read_secrets};

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
fn a_script_and_a_config_are_deployed_by_their_own_paths() {
    let folder = Folder::jsonc(r#"{ "name": "named", "main": "index.js", "compatibility_date": "2025-01-01" }"#)
        .file("alone.js", "export default {}");
    let script = load_deployed(&folder.path("alone.js"), None).unwrap();
    assert_eq!((script.name.as_str(), script.main), ("alone", Some(folder.path("alone.js"))));
    assert_eq!(load_deployed(&folder.path("wrangler.jsonc"), None).unwrap().name.as_str(), "named");
}

#[test]
fn a_consumer_without_a_queue_is_a_problem() {
    let folder = Folder::jsonc(r#"{ "main": "index.js", "queues": { "consumers": [{}] } }"#);
    assert!(folder.error().contains("`queues.consumers[0].queue` is missing"));
}

#[test]
fn a_worker_has_its_name_before_it_has_its_files() {
    let config = r#"{ "name": "shop", "account_id": "0123", "main": "built/later.js", "env": { "test": {} } }"#;
    let folder = Folder::new().file("wrangler.jsonc", config);
    let identity = identify(&folder.path(""), Some("test")).unwrap();
    assert_eq!((identity.name.as_str(), identity.account_id.as_deref()), ("shop-test", Some("0123")));
    let wrong = Folder::new().file("wrangler.jsonc", r#"{ "name": "Not A Name" }"#);
    assert!(identify(&wrong.path(""), None).is_err());
}

#[test]
fn secrets_in_a_file_are_json_or_lines() {
    let folder = Folder::new().file("a.json", r#"{ "A": "one", "B": "two$C" }"#).file("b.env", "A=one\nB='two$C'\n");
    for file in ["a.json", "b.env"] {
        let secrets = read_secrets(&folder.path(file)).unwrap();
        assert_eq!((secrets["A"].expose(), secrets["B"].expose()), ("one", "two$C"), "{file}");
    }
    let folder = Folder::new().file("a.json", r#"{ "A": "one", "B": null }"#);
    let changes = read_secret_changes(&folder.path("a.json")).unwrap();
    assert_eq!(changes["A"].as_ref().map(|secret| secret.expose()), Some("one"));
    assert!(changes["B"].is_none() && read_secrets(&folder.path("a.json")).is_err());
    let folder = Folder::new().file("a.json", r#"{ "A": 12345 }"#);
    let error = read_secrets(&folder.path("a.json")).unwrap_err().to_string();
    assert!(error.contains("`A` must be a string") && !error.contains("12345"), "{error}");
}

#[test]
fn dot_env_files_are_read_for_tools_too() {
    let folder = Folder::new().file(".env", "A=1\nB=1").file(".env.test", "B=2").file(".dev.vars", "C=3");
    let found = dot_env(&folder.path(""), Some("test")).unwrap();
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(found, [("A", "1"), ("B", "2")]);
}
