//! Resources whose service is not there yet: made, listed, bound, and clear about it when they are used.

use serde_json::json;

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};

/// Uses what `?` names, and says what came of it.
const WORKER: &str = "import { DurableObject, WorkflowEntrypoint } from 'cloudflare:workers';
    export class Counter extends DurableObject { fetch() { return new Response('counted') } }
    export class Flow extends WorkflowEntrypoint { async run() {} }
    const uses = {
        KV: (it) => it.get('key'),
        BUCKET: (it) => it.get('key'),
        DB: (it) => it.prepare('SELECT 1').all(),
        QUEUE: (it) => it.send('message'),
        COUNTER: (it) => it.get(it.idFromName('one')).fetch('http://do/'),
        FLOW: (it) => it.create(),
    };
    export default {
        async fetch(request, env) {
            const name = new URL(request.url).searchParams.get('use');
            if (name === null) return new Response('works');
            try { await uses[name](env[name]); return new Response('done') }
            catch (error) { return new Response(String(error), { status: 501 }) }
        },
        queue() {},
    }";

fn resources_are_made_bound_and_say_that_they_are_not_here_yet(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "bound", WORKER);
    let made = project.run(&["kv", "namespace", "create", "notes"]);
    let namespace = id_in(&made, 32);
    project.run(&["r2", "bucket", "create", "pictures"]);
    let made = project.run(&["d1", "create", "ledger"]);
    let database = id_in(&made, 36);
    project.run(&["queues", "create", "errands"]);
    for (command, name) in [
        (&["kv", "namespace", "list"][..], "notes"),
        (&["r2", "bucket", "list"], "pictures"),
        (&["d1", "list"], "ledger"),
        (&["queues", "list"], "errands"),
    ] {
        let list = project.run(command);
        assert!(list.contains(name), "{command:?}: {list}");
    }
    // A name is taken once.
    for command in
        [&["kv", "namespace", "create", "notes"][..], &["d1", "create", "ledger"], &["queues", "create", "errands"]]
    {
        project.fails(command);
    }

    let config = json!({
        "kv_namespaces": [{ "binding": "KV", "id": namespace }],
        "r2_buckets": [{ "binding": "BUCKET", "bucket_name": "pictures" }],
        "d1_databases": [{ "binding": "DB", "database_name": "ledger", "database_id": database }],
        "queues": {
            "producers": [{ "binding": "QUEUE", "queue": "errands" }],
            "consumers": [{ "queue": "errands", "max_batch_size": 5 }],
        },
        "durable_objects": { "bindings": [{ "name": "COUNTER", "class_name": "Counter" }] },
        "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Counter"] }],
        "workflows": [{ "binding": "FLOW", "name": "flow", "class_name": "Flow" }],
    });
    project.config("bound", &config);
    project.deploy(&[]);
    // The migration was taken note of: this is no first deploy, and sends none again.
    project.deploy(&[]);
    assert_eq!(project.text("bound", "/"), "works");
    for name in ["KV", "BUCKET", "DB", "QUEUE", "COUNTER", "FLOW"] {
        let answer = project.get("bound", &format!("/?use={name}"));
        assert_eq!(answer.status, 501, "{name}: {}", answer.text());
        let text = answer.text();
        assert!(text.contains("not available yet") && text.contains(name), "{name}: {text}");
    }
    let consumers = project.run(&["queues", "info", "errands"]);
    assert!(consumers.contains("bound"), "{consumers}");

    let text = project.fails(&["kv", "key", "put", "key", "value", "--namespace-id", &namespace, "--remote"]);
    assert!(text.contains("not available yet"), "{text}");
    project.run(&["delete", "--force"]);
    project.run(&["kv", "namespace", "delete", "--namespace-id", &namespace, "-y"]);
    project.run(&["r2", "bucket", "delete", "pictures"]);
    project.run(&["d1", "delete", "ledger", "-y"]);
    project.run(&["queues", "delete", "errands"]);
    let list = project.run(&["kv", "namespace", "list"]);
    assert!(!list.contains("notes"), "{list}");
}

fn bindings_without_an_id_are_provided_for_once(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "provided", "export default { fetch: () => new Response('ok') }");
    project.config(
        "provided",
        &json!({
            "kv_namespaces": [{ "binding": "KV" }],
            "r2_buckets": [{ "binding": "BUCKET" }],
            "d1_databases": [{ "binding": "DB" }],
        }),
    );
    project.deploy(&["--x-auto-create"]);
    project.deploy(&["--x-auto-create"]);
    assert_eq!(project.text("provided", "/"), "ok");
    assert_eq!(project.api("/storage/kv/namespaces?page=1&per_page=100").as_array().unwrap().len(), 1);
    assert_eq!(project.api("/d1/database?page=1&per_page=100").as_array().unwrap().len(), 1);
    assert_eq!(project.api("/r2/buckets")["buckets"].as_array().unwrap().len(), 1);
}

fn bindings_of_services_that_are_not_here_deploy_all_the_same(client: Client) {
    let up = Up::start();
    let source = "export default { async fetch(request, env) {
        try { return Response.json(await env.DISPATCH.get('w')) }
        catch (error) { return new Response(`${Object.keys(env).sort()}: ${error}`) }
     } }";
    let project = Project::script(&up, client, "bold", source);
    let mut config = json!({
        "dispatch_namespaces": [{ "binding": "DISPATCH", "namespace": "n" }],
        "flagship": [{ "binding": "FLAGS", "app_id": "a" }],
        "analytics_engine_datasets": [{ "binding": "POINTS" }],
        "unsafe_hello_world": [{ "binding": "HELLO" }],
    });
    let mut names = vec!["DISPATCH", "FLAGS", "HELLO", "POINTS"];
    if client == Client::Latest {
        config["agent_memory"] = json!([{ "binding": "MEMORY", "namespace": "n" }]);
        config["ai_search_namespaces"] = json!([{ "binding": "SEARCH", "namespace": "n" }]);
        config["analytics"] = json!({ "binding": "SQL" });
        config["k2"] = json!([{ "binding": "K2", "stream": "s" }]);
        names.extend(["MEMORY", "SEARCH", "SQL", "K2"]);
    }
    names.sort_unstable();
    project.config("bold", &config);
    // The second time they are the same as those of the version that is there.
    for _ in 0..2 {
        project.deploy(&[]);
        let text = project.text("bold", "/");
        assert!(text.starts_with(&format!("{}: ", names.join(","))) && text.contains("not available yet"), "{text}");
    }
}

fn a_workflow_with_a_jurisdiction_deploys_again_and_keeps_it(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "bound", WORKER);
    let config = |jurisdiction: &str| {
        let flow = json!({ "binding": "FLOW", "name": "flow", "class_name": "Flow", "jurisdiction": jurisdiction });
        project.config("bound", &json!({ "workflows": [flow] }));
    };
    config("eu");
    project.deploy(&[]);
    project.deploy(&[]);
    // The older client does not send what it does not know.
    if client == Client::Latest {
        assert_eq!(project.api("/workflows/flow")["jurisdiction"], "eu");
        config("us");
        let refused = project.fails(&["deploy"]);
        assert!(refused.contains("jurisdiction"), "{refused}");
        assert_eq!(project.api("/workflows/flow")["jurisdiction"], "eu");
    }
}

fn a_bucket_of_another_jurisdiction_is_not_taken_for_the_one_of_that_name(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "bound", "export default { fetch: () => new Response('ok') }");
    project.run(&["r2", "bucket", "create", "pictures"]);
    let refused = project.fails(&["r2", "bucket", "delete", "pictures", "-J", "eu"]);
    assert!(refused.contains("not available yet"), "{refused}");
    assert_eq!(project.api("/r2/buckets")["buckets"][0]["name"], "pictures");
}

fn what_is_not_here_is_named(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "bound", "export default { fetch: () => new Response('ok') }");
    for (command, named) in [
        (&["deploy", "--dispatch-namespace", "n"][..], "dispatch namespaces"),
        (&["dispatch-namespace", "list"], "dispatch namespaces"),
        (&["hyperdrive", "list"], "Hyperdrive"),
        (&["vectorize", "list"], "Vectorize"),
        (&["pages", "project", "list"], "Pages"),
    ] {
        let text = project.fails(command);
        assert!(text.contains("not available yet") && text.contains(named), "{command:?}: {text}");
    }
}

/// The first word of `digits` hexadecimal digits and hyphens in `text`.
fn id_in(text: &str, digits: usize) -> String {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .find(|word| word.len() == digits)
        .unwrap_or_else(|| panic!("no id in {text}"))
        .to_owned()
}

with_both_clients!(
    resources_are_made_bound_and_say_that_they_are_not_here_yet,
    bindings_without_an_id_are_provided_for_once,
    bindings_of_services_that_are_not_here_deploy_all_the_same,
    a_workflow_with_a_jurisdiction_deploys_again_and_keeps_it,
    a_bucket_of_another_jurisdiction_is_not_taken_for_the_one_of_that_name,
    what_is_not_here_is_named,
);
