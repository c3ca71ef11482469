//! `deploy`: code, variables, modules, environments, limits; and code that does not start.

use serde_json::json;

use crate::support::up::Up;
use crate::support::wrangler::{Client, Project, version_id};

fn deploys_again_and_again_with_variables_and_metadata(client: Client) {
    let up = Up::start();
    let source = |word: &str| {
        format!(
            "export default {{ fetch(request, env) {{
                return Response.json({{ word: {word:?}, plain: env.PLAIN, json: env.JSON, version: env.VERSION }})
            }} }}"
        )
    };
    let project = Project::script(&up, client, "again", &source("first"));
    let config = |vars| json!({ "vars": vars, "version_metadata": { "binding": "VERSION" } });
    project.config("again", &config(json!({ "PLAIN": "one", "JSON": { "deep": [1, null] } })));
    let first = project.deploy(&["--tag", "v1", "--message", "The first"]);
    let answer = project.json("again", "/");
    assert_eq!(answer["word"], "first");
    assert_eq!(answer["plain"], "one");
    assert_eq!(answer["json"], json!({ "deep": [1, null] }));
    assert_eq!(answer["version"]["id"], *first);
    assert_eq!(answer["version"]["tag"], "v1");
    assert!(answer["version"]["timestamp"].as_str().unwrap().starts_with("20"), "{answer}");

    project.file("src/index.js", &source("second"));
    project.config("again", &config(json!({ "PLAIN": "two" })));
    let second = project.deploy(&[]);
    assert_ne!(first, second);
    let answer = project.json("again", "/");
    assert_eq!(answer["word"], "second");
    assert_eq!(answer["plain"], "two");
    assert_eq!(answer["json"], json!(null));
    assert_eq!(answer["version"]["id"], *second);

    // A variable that the configuration does not have stays only where that is asked for.
    project.config("again", &config(json!({})));
    project.deploy(&["--keep-vars", "--var", "ADDED:yes"]);
    assert_eq!(project.json("again", "/")["plain"], "two");
    project.deploy(&[]);
    assert_eq!(project.json("again", "/")["plain"], json!(null));
}

/// `(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))`
const ADD: &[u8] = &[
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3, 0x61, 0x64, 0x64,
    0, 0, 0x0a, 9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b,
];

fn modules_of_every_kind_arrive(client: Client) {
    let up = Up::start();
    let project = Project::script(
        &up,
        client,
        "modules",
        "import add from './add.wasm'; import page from './page.html'; import data from './data.bin';
         import { twice } from './twice';
         export default { async fetch() {
            const { exports } = await WebAssembly.instantiate(add);
            return Response.json([exports.add(2, 3), page, [...new Uint8Array(data)], twice(21)]);
         } }",
    );
    std::fs::write(project.path().join("src/add.wasm"), ADD).unwrap();
    project.file("src/page.html", "<p>Grüße</p>");
    std::fs::write(project.path().join("src/data.bin"), [0, 255, 13, 10]).unwrap();
    project.file("src/twice.ts", "export const twice = (n: number): number => 2 * n;");
    project.deploy(&[]);
    assert_eq!(project.json("modules", "/"), json!([5, "<p>Grüße</p>", [0, 255, 13, 10], 42]));

    // As they are, in folders, without the client's bundling.
    project.file(
        "src/index.js",
        "import { word } from './lib/word.mjs'; export default { fetch: () => new Response(word) }",
    );
    project.file("src/lib/word.mjs", "import text from '../texts/a.txt'; export const word = `${text} unbundled`;");
    project.file("src/texts/a.txt", "as it is,");
    project.config(
        "modules",
        &json!({
            "no_bundle": true,
            "find_additional_modules": true,
            "rules": [
                { "type": "ESModule", "globs": ["**/*.js", "**/*.mjs"] },
                { "type": "Text", "globs": ["**/*.txt"], "fallthrough": true },
            ],
        }),
    );
    project.deploy(&[]);
    assert_eq!(project.text("modules", "/"), "as it is, unbundled");
}

/// The client leaves Node's modules in the code under the names that the project imports them by.
fn modules_of_node_are_found_by_their_bare_names(client: Client) {
    let up = Up::start();
    let project = Project::script(
        &up,
        client,
        "bare",
        "import { EventEmitter } from 'events'; import { Buffer } from 'buffer'; import { isDate } from 'util/types';
         const heard = [];
         new EventEmitter().on('word', (word) => heard.push(word)).emit('word', Buffer.from('heard').toString());
         export default { async fetch() {
            const { format } = await import('util');
            return new Response(format('%s %s', heard[0], isDate(new Date())));
         } }",
    );
    project.config("bare", &json!({ "compatibility_flags": ["nodejs_compat"] }));
    project.deploy(&[]);
    assert_eq!(project.text("bare", "/"), "heard true");
}

fn a_service_worker_deploys_with_its_globals(client: Client) {
    let up = Up::start();
    let project = Project::script(
        &up,
        client,
        "listener",
        "addEventListener('fetch', (event) => event.respondWith(new Response(`${WORD} ${typeof ADD}`)));",
    );
    std::fs::write(project.path().join("add.wasm"), ADD).unwrap();
    project.config("listener", &json!({ "vars": { "WORD": "heard" }, "wasm_modules": { "ADD": "add.wasm" } }));
    project.deploy(&[]);
    assert_eq!(project.text("listener", "/"), "heard object");
    project.config("listener", &json!({ "vars": { "WORD": "heard again" }, "wasm_modules": { "ADD": "add.wasm" } }));
    project.deploy(&[]);
    assert_eq!(project.text("listener", "/"), "heard again object");
}

fn an_environment_is_a_worker_of_its_own(client: Client) {
    let up = Up::start();
    let source = "export default { fetch(request, env) { return new Response(env.WHERE) } }";
    let project = Project::script(&up, client, "shop", source);
    project.config(
        "shop",
        &json!({
            "vars": { "WHERE": "production" },
            "env": {
                "staging": { "vars": { "WHERE": "staging" } },
                "named": { "name": "bazaar", "vars": { "WHERE": "by its name" } },
            },
        }),
    );
    project.deploy(&["--env", ""]);
    project.deploy(&["--env", "staging"]);
    project.deploy(&["--env", "named"]);
    project.deploy(&["--env", "staging"]);
    assert_eq!(project.text("shop", "/"), "production");
    assert_eq!(project.text("shop-staging", "/"), "staging");
    assert_eq!(project.text("bazaar", "/"), "by its name");
}

fn limits_and_rates_hold(client: Client) {
    let up = Up::start();
    let project = Project::script(
        &up,
        client,
        "bounded",
        "export default { async fetch(request, env) {
            if (request.url.endsWith('/spin')) for (;;);
            const { success } = await env.RATE.limit({ key: 'visitor' });
            return new Response(success ? 'in' : 'out');
         } }",
    );
    let rate = json!({ "name": "RATE", "namespace_id": "1001", "simple": { "limit": 3, "period": 60 } });
    project.config("bounded", &json!({ "limits": { "cpu_ms": 50 }, "ratelimits": [rate] }));
    project.deploy(&[]);
    let spun = project.get("bounded", "/spin");
    assert_eq!(spun.status, 503, "{}", spun.text());
    assert!(spun.text().contains("allowed 50"), "{}", spun.text());
    let answers: Vec<_> = (0..8).map(|_| project.text("bounded", "/")).collect();
    assert_eq!(answers[..3], ["in", "in", "in"]);
    assert!(answers.iter().any(|answer| answer == "out"), "{answers:?}");
}

fn code_that_does_not_start_is_refused_with_its_place(client: Client) {
    let up = Up::start();
    let project = Project::empty(&up, client);
    let config = json!({ "main": "src/index.ts", "upload_source_maps": true });
    project.config("broken", &config);
    project.file(
        "src/index.ts",
        "import { open } from './door';\nopen(1);\nexport default { fetch: () => new Response('never') };\n",
    );
    project.file(
        "src/door.ts",
        "interface Door { width: number }\n\nexport function open(width: number): Door {\n  throw new Error(`too narrow: ${width}`);\n}\n",
    );
    let text = project.fails(&["deploy"]);
    assert!(text.contains("too narrow: 1"), "{text}");
    assert!(text.contains("10021"), "{text}");
    assert!(text.contains("door.ts:4"), "{text}");
    assert_ne!(project.get("broken", "/").status, 200);

    // What served before goes on serving.
    project.file("src/door.ts", "export const open = (width: number) => width;\n");
    let good = project.deploy(&[]);
    project.file("src/door.ts", "export const open = (width: number) => { for (;;); };\n");
    let text = project.fails(&["deploy"]);
    assert!(text.contains("10021"), "{text}");
    project.file("src/index.ts", "export default {};\n");
    let text = project.fails(&["deploy"]);
    assert!(text.contains("10068") && text.contains("no registered event handlers"), "{text}");
    assert_eq!(project.text("broken", "/"), "never");
    let status = project.run(&["deployments", "status"]);
    assert!(status.contains(&good), "{status}");
}

fn a_dry_run_touches_nothing(client: Client) {
    let up = Up::start();
    let project = Project::script(&up, client, "rehearsed", "export default { fetch: () => new Response('x') }");
    let text = project.run(&["deploy", "--dry-run"]);
    assert!(text.contains("dry-run"), "{text}");
    assert_ne!(project.get("rehearsed", "/").status, 200);
    let id = version_id(&project.run(&["deploy"]));
    assert!(!id.is_empty());
}

fn a_worker_becomes_a_project_again(client: Client) {
    let up = Up::start();
    let source = "export default { fetch: (request, env) => new Response(`${env.WORD} ${env.KEY}`) }";
    let project = Project::script(&up, client, "shop", source);
    let routes = json!([{ "pattern": "bazaar.test/*", "zone_name": "bazaar.test" }]);
    let config = json!({
        "vars": { "WORD": "first" },
        "compatibility_flags": ["nodejs_compat"],
        "limits": { "cpu_ms": 5_000 },
        "routes": routes,
        "workers_dev": true,
    });
    project.config("shop", &config);
    project.deploy(&[]);
    project.run_with(&["secret", "put", "KEY"], "opensesame");

    let again = Project::empty(&up, client);
    again.run(&["init", "--from-dash", "shop", "--no-delegate-c3"]);
    let text = std::fs::read_to_string(again.path().join("shop/wrangler.jsonc")).unwrap();
    assert!(!text.contains("opensesame"), "{text}");
    let made: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["vars", "compatibility_flags", "limits", "routes", "workers_dev"] {
        assert_eq!(made[key], config[key], "{text}");
    }
    again.deploy(&["--cwd", "shop"]);
    assert_eq!(again.text("shop", "/"), "first opensesame");
    assert_eq!(up.get_host("bazaar.test", "/").text(), "first opensesame");
}

with_both_clients!(
    deploys_again_and_again_with_variables_and_metadata,
    modules_of_every_kind_arrive,
    modules_of_node_are_found_by_their_bare_names,
    a_service_worker_deploys_with_its_globals,
    an_environment_is_a_worker_of_its_own,
    limits_and_rates_hold,
    code_that_does_not_start_is_refused_with_its_place,
    a_dry_run_touches_nothing,
    a_worker_becomes_a_project_again,
);
