//! Secrets: put, listed without their text, changed, and gone; with the worker live all the while.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::up::Up;
use crate::support::wrangler::{Client, Project, version_id};

/// Answers with what its bindings are.
const WORKER: &str = "export default { fetch: (request, env) => Response.json(env) }";

/// Never to be seen but by the worker.
const TEXT: &str = "opensesame-8f2b";

fn secrets_are_put_listed_and_deleted(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "vault", WORKER);
    project.config("vault", &json!({ "vars": { "PLAIN": "seen" } }));
    project.deploy(&[]);
    project.run_with(&["secret", "put", "KEY"], TEXT);
    until(&project, &json!({ "PLAIN": "seen", "KEY": TEXT }));
    let list = project.run(&["secret", "list"]);
    assert!(list.contains("KEY") && list.contains("secret_text") && !list.contains(TEXT), "{list}");

    // A variable is not made a secret, which the next deploy would drop.
    let refused = project.fails(&["secret", "put", "PLAIN"]);
    assert!(refused.contains("10053") && refused.contains("PLAIN"), "{refused}");

    // A deploy keeps them.
    project.config("vault", &json!({ "vars": { "PLAIN": "changed" } }));
    project.deploy(&[]);
    until(&project, &json!({ "PLAIN": "changed", "KEY": TEXT }));

    project.file("more.json", &json!({ "ONE": "1", "TWO": "two\nlines" }).to_string());
    project.run(&["secret", "bulk", "more.json"]);
    until(&project, &json!({ "PLAIN": "changed", "KEY": TEXT, "ONE": "1", "TWO": "two\nlines" }));
    // Without a terminal, "are you sure" is answered with yes.
    project.run(&["secret", "delete", "KEY"]);
    until(&project, &json!({ "PLAIN": "changed", "ONE": "1", "TWO": "two\nlines" }));
    // The older client does not know how to remove many.
    if client == Client::Latest {
        project.file("less.json", &json!({ "ONE": null, "KEY": null, "PLAIN": null, "SIX": "6" }).to_string());
        project.run(&["secret", "bulk", "less.json"]);
        until(&project, &json!({ "PLAIN": "changed", "SIX": "6", "TWO": "two\nlines" }));
    }
    nowhere_on_disk(&up);
}

fn secrets_come_with_a_deploy_from_a_file(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "armed", WORKER);
    project.file("secrets.json", &json!({ "KEY": TEXT }).to_string());
    project.deploy(&["--secrets-file", "secrets.json"]);
    until_of(&project, "armed", &json!({ "KEY": TEXT }));
    let view = project.run(&["versions", "list"]);
    assert!(!view.contains(TEXT), "{view}");
    project.file(".env.more", "OTHER=from a file\n");
    project.deploy(&["--secrets-file", ".env.more"]);
    until_of(&project, "armed", &json!({ "KEY": TEXT, "OTHER": "from a file" }));
    nowhere_on_disk(&up);
}

fn a_secret_for_a_worker_that_is_not_there_makes_a_draft(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "later", WORKER);
    project.run_with(&["secret", "put", "KEY"], TEXT);
    project.deploy(&[]);
    until_of(&project, "later", &json!({ "KEY": TEXT }));
}

fn a_versions_secret_is_live_only_when_that_version_is(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "staged", WORKER);
    project.config("staged", &json!({ "vars": { "PLAIN": "seen" } }));
    project.deploy(&[]);
    let put = project.run_with(&["versions", "secret", "put", "KEY", "--message", "A key"], TEXT);
    assert!(!put.contains(TEXT), "{put}");
    assert_eq!(project.json("staged", "/"), json!({ "PLAIN": "seen" }));
    let latest = project.run(&["versions", "secret", "list", "--latest-version"]);
    assert!(latest.contains("KEY"), "{latest}");
    let newest = |project: &Project<'_>| {
        let list = project.api("/workers/scripts/staged/versions?deployable=true");
        list["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let version = newest(&project);
    project.run(&["versions", "deploy", &format!("{version}@100"), "-y"]);
    until_of(&project, "staged", &json!({ "PLAIN": "seen", "KEY": TEXT }));
    let list = project.run(&["versions", "secret", "list"]);
    assert!(list.contains("KEY") && !list.contains(TEXT), "{list}");

    project.file("more.json", &json!({ "ONE": "1" }).to_string());
    project.run(&["versions", "secret", "bulk", "more.json"]);
    project.run(&["versions", "secret", "delete", "KEY"]);
    assert_eq!(project.json("staged", "/"), json!({ "PLAIN": "seen", "KEY": TEXT }));
    // What is not live cannot be changed in place: the message says so.
    let refused = project.fails(&["secret", "put", "KEY"]);
    assert!(refused.contains("version"), "{refused}");
    let version = newest(&project);
    project.run(&["versions", "deploy", &format!("{version}@100"), "-y"]);
    until_of(&project, "staged", &json!({ "PLAIN": "seen", "ONE": "1" }));

    // A version with other secrets is uploaded from the project too.
    project.config("staged", &json!({ "vars": { "PLAIN": "again" } }));
    let uploaded = version_id(&project.run(&["versions", "upload"]));
    let preview = format!("{}-staged", &uploaded[..8]);
    until_of(&project, &preview, &json!({ "PLAIN": "again", "ONE": "1" }));
}

fn until(project: &Project<'_>, env: &Value) {
    until_of(project, "vault", env);
}

/// Waits until the worker's bindings are `env`.
fn until_of(project: &Project<'_>, name: &str, env: &Value) {
    let mut last = Value::Null;
    eventually(&format!("{name} has {env}"), || {
        let answer = project.get(name, "/");
        let seen = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if seen != last {
            eprintln!("{name} has {seen}");
            last = seen.clone();
        }
        (seen == *env).then_some(())
    });
}

/// No file of the platform, and nothing that it printed, has the secret in the clear.
fn nowhere_on_disk(up: &Up) {
    assert!(!up.output().contains(TEXT));
    let mut folders = vec![up.data.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                files += 1;
                let found = bytes.windows(TEXT.len()).any(|window| window == TEXT.as_bytes());
                assert!(!found, "{} has the secret", path.display());
            }
        }
    }
    assert!(files > 2, "the data folder was looked at");
}

with_both_clients!(
    secrets_are_put_listed_and_deleted,
    secrets_come_with_a_deploy_from_a_file,
    a_secret_for_a_worker_that_is_not_there_makes_a_draft,
    a_versions_secret_is_live_only_when_that_version_is,
);
