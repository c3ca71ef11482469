//! Versions beside what is live, gradual deployments, and the way back.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project, version_id};
use crate::support::{Answer, eventually};

fn source(word: &str) -> String {
    format!("export default {{ fetch(request, env) {{ return new Response(`{word} ${{env.VERSION.id}}`) }} }}")
}

fn project<'up>(up: &'up Up, client: Client, name: &str) -> Project<'up> {
    let project = Project::script(up, client, name, &source("first"));
    project.config(name, &json!({ "version_metadata": { "binding": "VERSION" } }));
    project
}

fn an_uploaded_version_has_a_preview_and_serves_when_it_is_deployed(client: Client) {
    let up = Up::start();
    let project = project(&up, client, "staged");
    let first = project.deploy(&["--message", "Opening"]);
    project.file("src/index.js", &source("second"));
    let text = project.run(&["versions", "upload", "--tag", "v2", "--message", "Second", "--preview-alias", "next"]);
    let second = version_id(&text);
    assert_eq!(project.text("staged", "/"), format!("first {first}"));
    for host in [format!("{}-staged", &second[..8]), "next-staged".to_owned()] {
        eventually("the preview answers", || {
            (project.get(&host, "/").text() == format!("second {second}")).then_some(())
        });
    }
    assert_eq!(project.text(&format!("{}-staged", &first[..8]), "/"), format!("first {first}"));

    let list = project.run(&["versions", "list"]);
    for part in [first.as_str(), &second, "Second", "v2"] {
        assert!(list.contains(part), "{part} is missing in {list}");
    }
    let view = project.run(&["versions", "view", &second]);
    for part in [second.as_str(), "Second", "v2", "VERSION", "fetch"] {
        assert!(view.contains(part), "{part} is missing in {view}");
    }

    project.run(&["versions", "deploy", &format!("{second}@100"), "-y", "--message", "Go"]);
    eventually("the second version is live", || {
        (project.text("staged", "/") == format!("second {second}")).then_some(())
    });
    let status = project.run(&["deployments", "status"]);
    assert!(status.contains(&second) && status.contains("Go"), "{status}");
    let list = project.run(&["deployments", "list"]);
    assert!(list.contains(&first) && list.contains(&second) && list.contains("Opening"), "{list}");
}

fn traffic_is_split_and_each_visitor_stays(client: Client) {
    let up = Up::start();
    let project = project(&up, client, "split");
    let first = project.deploy(&[]);
    project.file("src/index.js", &source("second"));
    let second = version_id(&project.run(&["versions", "upload"]));
    project.run(&["versions", "deploy", &format!("{first}@50"), &format!("{second}@50"), "-y"]);
    let (one, two) = (format!("first {first}"), format!("second {second}"));
    eventually("both versions answer", || {
        let seen: BTreeSet<_> = (0..16).map(|_| project.text("split", "/")).collect();
        (seen == BTreeSet::from([one.clone(), two.clone()])).then_some(())
    });
    let host = format!("split.localhost:{}", up.http.port());
    let asked = |headers: &[(&str, &str)]| -> Answer { up.ask("GET", &host, "/", headers, &[]) };
    for visitor in 0..8 {
        let key = format!("visitor-{visitor}");
        let seen: BTreeSet<_> = (0..8).map(|_| asked(&[("cloudflare-workers-version-key", &key)]).text()).collect();
        assert_eq!(seen.len(), 1, "visitor {visitor} saw {seen:?}");
    }
    for (version, text) in [(&first, &one), (&second, &two)] {
        let overridden = format!("split=\"{version}\"");
        for _ in 0..8 {
            assert_eq!(asked(&[("cloudflare-workers-version-overrides", &overridden)]).text(), *text);
        }
    }
    let status = project.run(&["deployments", "status"]);
    assert!(status.contains(&first) && status.contains(&second) && status.contains("50%"), "{status}");

    project.run(&["versions", "deploy", &format!("{second}@100"), "-y"]);
    eventually("only the second version answers", || (0..16).all(|_| project.text("split", "/") == two).then_some(()));
}

fn a_rollback_brings_back_code_and_variables(client: Client) {
    let up = Up::start();
    let project = Project::empty(&up, client);
    let write = |word: &str| {
        project.file(
            "src/index.js",
            &format!("export default {{ fetch: (request, env) => new Response(`{word} ${{env.WORD}}`) }}"),
        );
        project.file("public/page.txt", word);
        project.config("back", &json!({ "vars": { "WORD": word }, "assets": { "directory": "public" } }));
    };
    write("old");
    let old = project.deploy(&[]);
    write("new");
    project.deploy(&[]);
    assert_eq!(project.text("back", "/"), "new new");
    assert_eq!(project.text("back", "/page.txt"), "new");

    project.run(&["rollback", "-y", "--message", "Too new"]);
    eventually("the old version is back", || (project.text("back", "/") == "old old").then_some(()));
    assert_eq!(project.text("back", "/page.txt"), "old");
    let status = project.run(&["deployments", "status"]);
    assert!(status.contains(&old) && status.contains("Too new"), "{status}");

    write("newest");
    project.deploy(&[]);
    assert_eq!(project.text("back", "/"), "newest newest");
    project.run(&["rollback", &old, "-y", "--message", "By its id"]);
    eventually("the old version is back", || (project.text("back", "/") == "old old").then_some(()));
    let unknown = project.fails(&["rollback", "00000000-0000-4000-8000-000000000000", "-y"]);
    assert!(unknown.contains("00000000"), "{unknown}");
}

with_both_clients!(
    an_uploaded_version_has_a_preview_and_serves_when_it_is_deployed,
    traffic_is_split_and_each_visitor_stays,
    a_rollback_brings_back_code_and_variables,
);
