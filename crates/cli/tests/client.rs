//! The command line's client against a running platform, and against servers that are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail where they find what they did not expect"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::up::{Up, client, printed};
use support::wrangler::COMPATIBILITY_DATE;
use support::{Folder, PATIENCE, collect, eventually, finished, world};

/// Exit codes.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
/// Never to be seen but by the worker.
const SECRET: &str = "opensesame-8f2b";
/// `(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))`
const ADD: &[u8] = &[
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3, 0x61, 0x64, 0x64,
    0, 0, 0x0a, 9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b,
];

/// A project in a folder, and the platform that it is deployed to.
struct Project<'up> {
    up: &'up Up,
    folder: Folder,
}

/// What a command that failed said with `--json`.
struct Refusal {
    code: i32,
    /// The document on standard output.
    error: Value,
    /// Standard error.
    text: String,
}

impl<'up> Project<'up> {
    /// A worker `name` of one module.
    fn new(up: &'up Up, name: &str, source: &str) -> Self {
        let project = Self { up, folder: Folder::new() };
        project.file("src/index.js", source);
        project.config(name, &json!({}));
        project
    }

    fn file(&self, name: &str, text: &str) {
        self.folder.file(name, text);
    }

    fn bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Writes the configuration: `src/index.js`, and what `more` adds or replaces. Null takes away.
    fn config(&self, name: &str, more: &Value) {
        let mut config = json!({ "name": name, "main": "src/index.js", "compatibility_date": COMPATIBILITY_DATE });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.file("wrangler.json", &config.to_string());
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.up.run(self.folder.path(), arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.up.run_json(self.folder.path(), arguments)
    }

    /// Deploys; gives the id of the version that is live then.
    fn deploy(&self, arguments: &[&str]) -> String {
        text(&self.json(&[&["deploy"][..], arguments].concat())["version_id"])
    }

    /// Runs a command that reads `input`.
    fn attempt(&self, arguments: &[&str], input: &str) -> Output {
        finished(self.up.client(self.folder.path()).args(arguments), input, PATIENCE)
    }

    /// Runs a command that reads `input` and must succeed.
    fn run_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.attempt(arguments, input);
        assert!(output.status.success(), "selvedge {arguments:?} failed: {}", printed(&output));
        printed(&output)
    }

    /// Runs a command that must fail.
    fn refused(&self, arguments: &[&str]) -> Refusal {
        let refused = refusal(self.attempt(&[arguments, &["--json"]].concat(), ""));
        // People are told the same.
        let message = text(&refused.error["message"]);
        assert!(refused.text.contains(message.lines().next().unwrap()), "{message}: {}", refused.text);
        refused
    }

    fn get(&self, worker: &str, path: &str) -> String {
        self.up.get(worker, path).text()
    }

    fn until(&self, worker: &str, path: &str, text: &str) {
        eventually(&format!("{worker}{path} answers {text}"), || (self.get(worker, path) == text).then_some(()));
    }
}

fn refusal(output: Output) -> Refusal {
    assert!(!output.status.success(), "it succeeded: {}", printed(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", printed(&output)));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Refusal { code: output.status.code().unwrap(), error: document["error"].clone(), text }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn saying(word: &str) -> String {
    format!("export default {{ fetch() {{ return new Response({word:?}) }} }}")
}

// === deploying ===

#[test]
fn a_project_is_deployed_again_and_rolled_back() {
    let up = Up::start();
    let source = |word: &str| {
        format!(
            "export default {{
                fetch: (request, env) => new Response(`{word} ${{env.PLAIN}} ${{env.VERSION.id}}`),
                scheduled() {{}},
            }}"
        )
    };
    let project = Project::new(&up, "shop", &source("first"));
    let config = |vars: Value| {
        let crons = json!({ "crons": ["*/5 * * * *"] });
        json!({ "vars": vars, "version_metadata": { "binding": "VERSION" }, "triggers": crons })
    };
    project.config("shop", &config(json!({ "PLAIN": "one" })));
    let deployed = project.json(&["deploy", "--tag", "v1", "--message", "The first"]);
    let first = text(&deployed["version_id"]);
    assert_eq!(deployed["worker"], "shop");
    assert_eq!(deployed["urls"], json!([format!("http://shop.localhost:{}", up.http.port())]));
    assert_eq!(deployed["crons"], json!(["*/5 * * * *"]));
    project.until("shop", "/", &format!("first one {first}"));

    // A variable that the project does not have any more stays where that is asked for.
    project.file("src/index.js", &source("second"));
    project.config("shop", &config(json!({})));
    let said = project.run_with(&["deploy", "--keep-vars"], "");
    assert!(said.contains("shop is live") && said.contains("upload 100 %"), "{said}");
    let second = text(&project.json(&["versions", "view", "latest"])["id"]);
    project.until("shop", "/", &format!("second one {second}"));

    let list = project.json(&["versions", "list"]);
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|version| text(&version["id"])).collect();
    assert_eq!(ids, [second.clone(), first.clone()]);
    let list = project.run(&["versions", "list"]);
    assert!(list.contains(&first) && list.contains("[v1] The first"), "{list}");
    let view = project.run(&["versions", "view", &first[..8]]);
    for part in [first.as_str(), "[v1] The first", COMPATIBILITY_DATE, "scheduled", "PLAIN", "version_metadata"] {
        assert!(view.contains(part), "{part} is missing in {view}");
    }
    let list = project.json(&["deployments", "list"]);
    assert_eq!(list[0]["versions"], json!([{ "version_id": second, "percentage": 100.0 }]));
    assert_eq!(list[1]["annotations"]["workers/message"], "The first");

    let back = project.json(&["rollback", "--message", "Too new"]);
    assert_eq!(back["versions"], json!([{ "version_id": first, "percentage": 100.0 }]));
    project.until("shop", "/", &format!("first one {first}"));
    let status = project.run(&["deployments", "status"]);
    assert!(status.contains(&first) && status.contains("Too new"), "{status}");

    project.run(&["versions", "deploy", &format!("{}@25", &second[..8])]);
    let mut shares = project.json(&["deployments", "status"])["versions"].as_array().unwrap().clone();
    shares.sort_by_key(|share| share["percentage"].as_f64().unwrap() as u64);
    let expected = json!([{ "version_id": second, "percentage": 25.0 }, { "version_id": first, "percentage": 75.0 }]);
    assert_eq!(Value::from(shares), expected);
    project.run(&["rollback", &second]);
    project.until("shop", "/", &format!("second one {second}"));

    let refused = project.refused(&["versions", "deploy", &format!("{first}@60"), &format!("{second}@60")]);
    assert_eq!(refused.code, USAGE);
    let unknown = project.refused(&["versions", "view", "00000000"]);
    assert_eq!(unknown.code, FAILED);
    assert!(unknown.text.contains("selvedge versions list"), "{}", unknown.text);
}

#[test]
fn an_uploaded_version_has_a_preview_and_serves_when_it_is_deployed() {
    let up = Up::start();
    let project = Project::new(&up, "staged", &saying("live"));
    let early = project.refused(&["versions", "upload"]);
    assert!(early.text.contains("selvedge deploy"), "{}", early.text);
    project.deploy(&[]);
    project.file("src/index.js", &saying("next"));
    let uploaded = project.json(&["versions", "upload", "--tag", "v2", "--preview-alias", "soon"]);
    let version = text(&uploaded["version_id"]);
    let port = up.http.port();
    assert_eq!(uploaded["preview_url"], format!("http://{}-staged.localhost:{port}", &version[..8]));
    assert_eq!(uploaded["preview_alias_url"], format!("http://soon-staged.localhost:{port}"));
    project.until(&format!("{}-staged", &version[..8]), "/", "next");
    project.until("soon-staged", "/", "next");
    assert_eq!(project.get("staged", "/"), "live");
    project.run(&["versions", "deploy", "latest"]);
    project.until("staged", "/", "next");
}

#[test]
fn modules_of_every_kind_arrive() {
    let up = Up::start();
    let project = Project::new(
        &up,
        "modules",
        "import add from './add.wasm'; import page from './page.html'; import data from './data.bin';
         import { twice } from './twice';
         export default { async fetch() {
            const { exports } = await WebAssembly.instantiate(add);
            return Response.json([exports.add(2, 3), page, [...new Uint8Array(data)], twice(21)]);
         } }",
    );
    project.bytes("src/add.wasm", ADD);
    project.file("src/page.html", "<p>Grüße</p>");
    project.bytes("src/data.bin", &[0, 255, 13, 10]);
    project.file("src/twice.ts", "export const twice = (n: number): number => 2 * n;");
    project.deploy(&[]);
    project.until("modules", "/", r#"[5,"<p>Grüße</p>",[0,255,13,10],42]"#);
    project.deploy(&["--minify"]);
    project.until("modules", "/", r#"[5,"<p>Grüße</p>",[0,255,13,10],42]"#);
}

#[test]
fn modules_that_are_imported_by_computed_names_arrive() {
    let up = Up::start();
    let project = Project::new(
        &up,
        "computed",
        "export default { async fetch(request) {
            const name = new URL(request.url).pathname.slice(1);
            const { default: word } = await import(`./lib/deep/${name}.mjs`);
            return new Response(word);
         } }",
    );
    project.file("src/lib/deep/one.mjs", "import { end } from '../end.mjs'; export default `first${end}`;");
    project.file("src/lib/end.mjs", "export const end = '!';");
    // Bundled, as every file that the name can mean.
    project.deploy(&[]);
    project.until("computed", "/one", "first!");
    // And as they are.
    let rules = json!([{ "type": "ESModule", "globs": ["**/*.mjs"] }]);
    project.config("computed", &json!({ "find_additional_modules": true, "rules": rules }));
    project.file(
        "src/index.js",
        "export default { async fetch(request, env) {
            const { default: word } = await import(env.FOLDER + new URL(request.url).pathname.slice(1) + '.mjs');
            return new Response(word);
         } }",
    );
    project.file("src/lib/end.mjs", "export const end = '?';");
    let plan = project.json(&["deploy", "--dry-run"]);
    let names: Vec<&str> =
        plan["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["index.js", "lib/deep/one.mjs", "lib/end.mjs", "index.js.map"]);
    project.deploy(&["--var", "FOLDER:./lib/deep/"]);
    project.until("computed", "/one", "first?");
}

#[test]
fn triggers_are_set_without_another_version() {
    let up = Up::start();
    let project = Project::new(&up, "triggered", &saying("one"));
    let version = project.deploy(&[]);
    project.config("triggered", &json!({ "triggers": { "crons": ["*/5 * * * *"] } }));
    let set = project.json(&["triggers", "deploy"]);
    assert_eq!(set["crons"], json!(["*/5 * * * *"]));
    let path = format!("/accounts/{}/workers/scripts/triggered/schedules", up.account);
    let schedules = up.call("GET", &path, None).json();
    assert_eq!(schedules["result"]["schedules"][0]["cron"], "*/5 * * * *");
    let status = project.json(&["deployments", "status"]);
    assert!(status.to_string().contains(&version), "{status}");
    let unknown = project.refused(&["triggers", "deploy", "--name", "nobody"]);
    assert_eq!(unknown.code, FAILED);
}

#[test]
fn a_service_worker_is_deployed_with_its_files_as_globals() {
    let up = Up::start();
    let project = Project::new(
        &up,
        "listener",
        "import add from './add.wasm'; import page from './page.html'; import { last } from './last';
         const sum = (module) => new WebAssembly.Instance(module).exports.add(2, 3);
         const answer = () => [WORD, sum(ADD), PAGE, [...new Uint8Array(DATA)], sum(add), page, last];
         addEventListener('fetch', (event) => event.respondWith(Response.json(answer())));",
    );
    project.bytes("src/add.wasm", ADD);
    project.file("src/page.html", "<p>Grüße</p>");
    project.bytes("src/data.bin", &[0, 255, 13, 10]);
    project.file("src/last.ts", "import data from './data.bin';\nexport const last: number = new Uint8Array(data)[3];");
    let globals = json!({
        "vars": { "WORD": "heard" },
        "wasm_modules": { "ADD": "src/add.wasm" },
        "text_blobs": { "PAGE": "src/page.html" },
        "data_blobs": { "DATA": "src/data.bin" },
    });
    project.config("listener", &globals);
    let answer = |word: &str| format!(r#"["{word}",5,"<p>Grüße</p>",[0,255,13,10],5,"<p>Grüße</p>",10]"#);
    let plan = project.json(&["deploy", "--dry-run"]);
    for (name, kind) in [("ADD", "wasm_module"), ("PAGE", "text_blob"), ("DATA", "data_blob")] {
        assert!(plan["bindings"].as_array().unwrap().contains(&json!({ "name": name, "type": kind })), "{plan}");
        assert!(plan["modules"].as_array().unwrap().iter().any(|module| module["name"] == name), "{plan}");
    }
    project.deploy(&[]);
    project.until("listener", "/", &answer("heard"));
    project.deploy(&["--minify", "--var", "WORD:again"]);
    project.until("listener", "/", &answer("again"));
    let staged = text(&project.json(&["versions", "upload", "--var", "WORD:staged"])["version_id"]);
    project.until(&format!("{}-listener", &staged[..8]), "/", &answer("staged"));
    assert_eq!(project.get("listener", "/"), answer("again"));
    // What is bound so arrives with the next upload again, or not at all.
    project.config("listener", &json!({ "vars": { "WORD": "alone" }, "main": "src/alone.js" }));
    let alone = "addEventListener('fetch', (event) => event.respondWith(new Response(`${WORD} ${typeof ADD}`)));";
    project.file("src/alone.js", alone);
    project.deploy(&[]);
    project.until("listener", "/", "alone undefined");

    project.file("src/index.js", &saying("modules"));
    project.config("listener", &globals);
    let refused = project.refused(&["deploy"]);
    assert_eq!(refused.code, FAILED);
    assert!(
        refused.text.contains("`wasm_modules.ADD`") && refused.text.contains("import the file"),
        "{}",
        refused.text
    );
    project.config("listener", &json!({ "text_blobs": { "PAGE": "src/absent.html" } }));
    let refused = project.refused(&["deploy"]);
    assert!(refused.text.contains("`text_blobs.PAGE` is \"src/absent.html\""), "{}", refused.text);
    assert_eq!(project.get("listener", "/"), "alone undefined");
}

#[test]
fn a_dry_run_asks_nobody() {
    let folder = Folder::new();
    let config = json!({ "name": "dry", "main": "a.js", "compatibility_date": COMPATIBILITY_DATE });
    folder.file("wrangler.json", &config.to_string());
    folder.file("a.js", &saying("dry"));
    folder.file("secrets.json", &json!({ "KEY": SECRET }).to_string());
    let arguments = ["deploy", "--dry-run", "--outdir", "out", "--secrets-file", "secrets.json", "--json"];
    let output = client(folder.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    assert!(!printed(&output).contains(SECRET));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["worker"], "dry");
    assert!(plan["bindings"].as_array().unwrap().contains(&json!({ "name": "KEY", "type": "secret_text" })), "{plan}");
    let main = text(&plan["modules"][0]["name"]);
    assert!(std::fs::read_to_string(folder.path().join("out").join(main)).unwrap().contains("dry"));
}

#[test]
fn code_that_does_not_start_is_refused_with_its_place() {
    let up = Up::start();
    let project = Project::new(&up, "broken", &saying("good"));
    let good = project.deploy(&[]);
    project.config("broken", &json!({ "main": "src/index.ts" }));
    project.file("src/index.ts", "import { open } from './door';\nopen(1);\nexport default { fetch() {} };\n");
    project.file(
        "src/door.ts",
        "interface Door { width: number }\n\nexport function open(width: number): Door {\n  throw new Error(`too narrow: ${width}`);\n}\n",
    );
    let refused = project.refused(&["deploy"]);
    assert_eq!((refused.code, &refused.error["code"]), (FAILED, &json!(10021)));
    let message = text(&refused.error["message"]);
    assert!(message.contains("too narrow: 1") && message.contains("door.ts:4"), "{message}");
    assert!(text(&refused.error["advice"]).contains("what served before goes on"), "{}", refused.text);
    assert_eq!(project.get("broken", "/"), "good");
    assert_eq!(project.json(&["deployments", "status"])["versions"][0]["version_id"], json!(good));
}

#[test]
fn only_assets_that_changed_are_uploaded() {
    let up = Up::start();
    let project = Project::new(&up, "site", &saying("worker"));
    project.file("public/index.html", "<h1>Home</h1>");
    project.file("public/with space.txt", "a space");
    project.file("public/twin.txt", "a space");
    project.file("public/_headers", "/with*\n  x-kind: text\n");
    // Several megabytes, that no text is.
    let large: Vec<u8> = (0..6_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    project.bytes("public/large.bin", &large);
    project.config("site", &json!({ "assets": { "directory": "public" } }));
    let said = project.run_with(&["deploy"], "");
    assert!(said.contains("assets 100 %"), "{said}");
    project.until("site", "/", "<h1>Home</h1>");
    assert!(up.get("site", "/large.bin").body == large);
    assert_eq!(up.get("site", "/with%20space.txt").header("x-kind"), Some("text"));
    assert_eq!(project.get("site", "/else"), "worker");

    assert_eq!(project.json(&["deploy"])["assets"], json!({ "files": 4, "uploaded": 0, "uploaded_bytes": 0 }));
    project.file("public/index.html", "<h1>Welcome</h1>");
    assert_eq!(project.json(&["deploy"])["assets"]["uploaded"], 1);
    project.until("site", "/", "<h1>Welcome</h1>");

    // Without a script.
    project.config("site", &json!({ "main": null, "assets": { "directory": "public" } }));
    project.json(&["deploy"]);
    eventually("no script serves", || (up.get("site", "/else").status == 404).then_some(()));
    project.config("files", &json!({ "main": null, "assets": { "directory": "public" } }));
    assert_eq!(project.json(&["deploy"])["assets"]["uploaded"], 0);
    project.until("files", "/twin.txt", "a space");
}

#[test]
fn environments_routes_domains_and_services_lead_to_workers() {
    let up = Up::start();
    let back = Project::new(&up, "back", &saying("from the back"));
    let source = "export default { fetch: async (request, env) => \
                  new Response(`${env.WHERE} ${await (await env.BACK.fetch(request)).text()}`) }";
    let front = Project::new(&up, "front", source);
    let services = json!([{ "binding": "BACK", "service": "back" }]);
    front.config(
        "front",
        &json!({
            "vars": { "WHERE": "production" },
            "services": services,
            "routes": [
                { "pattern": "bazaar.test/*", "zone_name": "bazaar.test" },
                { "pattern": "www.bazaar.test", "custom_domain": true },
            ],
            "env": { "staging": { "vars": { "WHERE": "staging" }, "services": services, "routes": [] } },
        }),
    );
    let early = front.refused(&["deploy"]);
    assert_eq!(early.code, FAILED);
    assert!(text(&early.error["message"]).contains("back"), "{}", early.text);
    back.deploy(&[]);
    // Before anything is uploaded.
    for pattern in ["baz*ar.test/*", "ftp://bazaar.test/*"] {
        let refused = front.refused(&["deploy", "--route", pattern]);
        assert_eq!(refused.code, USAGE, "{}", refused.text);
        assert!(text(&refused.error["message"]).contains(pattern), "{}", refused.text);
    }
    assert_eq!(front.refused(&["deployments", "list"]).error["status"], json!(404));
    let deployed = front.json(&["deploy"]);
    let urls: Vec<_> = deployed["urls"].as_array().unwrap().iter().map(text).collect();
    assert!(
        urls.contains(&"bazaar.test/*".to_owned()) && urls.contains(&"http://www.bazaar.test".to_owned()),
        "{urls:?}"
    );
    for host in ["bazaar.test", "www.bazaar.test"] {
        eventually("the host answers", || (up.get_host(host, "/").text() == "production from the back").then_some(()));
    }
    assert_eq!(up.get("front", "/").status, 404, "a worker with routes is at no other place");
    assert_eq!(front.json(&["deploy", "--env", "staging"])["worker"], "front-staging");
    front.until("front-staging", "/", "staging from the back");
    let listed = front.json(&["deployments", "list", "--env", "staging"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);

    // Who others refer to goes by force only.
    let asked = back.refused(&["delete"]);
    assert!(asked.text.contains("front") && asked.text.contains("--force"), "{}", asked.text);
    let asked = front.refused(&["delete"]);
    assert_eq!(asked.code, USAGE);
    assert!(asked.text.contains("--yes"), "{}", asked.text);
    assert_eq!(front.json(&["delete", "--yes"]), json!({ "worker": "front", "deleted": true }));
    eventually("its routes are gone", || (up.get_host("bazaar.test", "/").status == 404).then_some(()));
    back.run(&["delete", "back", "--force"]);
    eventually("it is gone", || (up.get("back", "/").status == 404).then_some(()));
    let gone = back.refused(&["deployments", "list"]);
    assert_eq!((gone.code, &gone.error["status"]), (FAILED, &json!(404)));
    assert!(text(&gone.error["advice"]).contains("--name"), "{}", gone.text);
}

#[test]
fn a_zone_of_another_account_is_not_to_be_had() {
    let up = Up::start();
    let routes = json!([{ "pattern": "held.test/*", "zone_name": "held.test" }]);
    let owner = Project::new(&up, "owner", &saying("owner"));
    owner.run(&["zone", "claim", "held.test"]);
    assert!(owner.run(&["zone", "list"]).contains("held.test"));
    let other = text(&owner.json(&["account", "create", "other"])["id"]);
    assert!(owner.run(&["account", "list"]).contains(&other));
    let intruder = Project::new(&up, "intruder", &saying("intruder"));
    intruder.config("intruder", &json!({ "routes": routes }));
    // The version is there; what was to lead to it is not, and that is said.
    let refused = intruder.refused(&["deploy", "--account", &other]);
    assert_eq!((refused.code, &refused.error["status"]), (FAILED, &json!(409)));
    let message = text(&refused.error["message"]);
    assert!(message.contains("serves the new version") && message.contains("held.test"), "{message}");
    assert_eq!(up.get_host("held.test", "/").status, 404);
    owner.run(&["zone", "release", "held.test"]);
    intruder.run(&["deploy", "--account", &other]);
    eventually("the route answers", || (up.get_host("held.test", "/").text() == "intruder").then_some(()));
}

// === secrets, tokens, the log of changes ===

#[test]
fn secrets_are_put_listed_and_deleted_and_never_shown() {
    let up = Up::start();
    let project = Project::new(&up, "vault", "export default { fetch: (request, env) => Response.json(env) }");
    let until = |env: Value| {
        eventually(&format!("the worker has {env}"), || {
            let seen: Option<Value> = serde_json::from_slice(&up.get("vault", "/").body).ok();
            (seen.as_ref() == Some(&env)).then_some(())
        });
    };
    // Where there is no worker yet, an empty one is made.
    let mut said = project.run_with(&["secret", "put", "KEY"], &format!("{SECRET}\n"));
    project.deploy(&[]);
    until(json!({ "KEY": SECRET }));
    project.file("more.json", &json!({ "ONE": SECRET, "TWO": "two\nlines" }).to_string());
    said += &project.run_with(&["secret", "bulk", "more.json"], "");
    said += &project.run_with(&["secret", "bulk"], &json!({ "ONE": SECRET }).to_string());
    assert_eq!(project.refused(&["secret", "bulk"]).code, USAGE);
    until(json!({ "KEY": SECRET, "ONE": SECRET, "TWO": "two\nlines" }));
    let list = project.json(&["secret", "list"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|secret| text(&secret["name"])).collect();
    assert_eq!(names, ["KEY", "ONE", "TWO"]);
    said += &list.to_string();
    project.file(".env.more", &format!("THREE={SECRET}\n"));
    said += &project.run_with(&["deploy", "--secrets-file", ".env.more"], "");
    said += &project.run_with(&["versions", "view", "latest", "--json"], "");
    said += &project.run_with(&["audit", "--json"], "");
    project.run(&["secret", "delete", "ONE", "--yes"]);
    project.run(&["secret", "delete", "TWO", "--yes"]);
    until(json!({ "KEY": SECRET, "THREE": SECRET }));

    // A variable takes no secret's place.
    let refused = project.refused(&["deploy", "--var", "KEY:seen"]);
    assert!(text(&refused.error["message"]).contains("KEY"), "{}", refused.text);
    // In a version beside what serves.
    said += &project.run_with(&["versions", "secret", "put", "FOUR"], SECRET);
    project.run(&["versions", "secret", "delete", "THREE", "--yes"]);
    assert_eq!(project.json(&["versions", "secret", "list"]), project.json(&["secret", "list"]));
    until(json!({ "KEY": SECRET, "THREE": SECRET }));
    project.run(&["versions", "deploy", "latest"]);
    until(json!({ "KEY": SECRET, "FOUR": SECRET }));

    for (arguments, code) in [
        (&["secret", "put", "EMPTY"][..], USAGE),
        (&["secret", "delete", "KEY"], USAGE),
        (&["secret", "delete", "NONE", "--yes"], FAILED),
    ] {
        let refused = project.refused(arguments);
        assert_eq!(refused.code, code, "{arguments:?}: {}", refused.text);
    }
    // One that cannot be read is not shown either.
    project.file("bad.json", &format!("{{ \"KEY\": [\"{SECRET}\"] }}"));
    said += &project.refused(&["secret", "bulk", "bad.json"]).text;
    assert!(!said.contains(SECRET), "{said}");
    assert!(!up.output().contains(SECRET));
}

#[test]
fn a_token_may_what_it_was_made_for_until_it_is_revoked() {
    let up = Up::start();
    let project = Project::new(&up, "guarded", &saying("here"));
    let whoami = project.json(&["whoami"]);
    assert_eq!(whoami["accounts"][0]["id"], json!(up.account));
    assert!(project.run(&["whoami"]).contains(&up.account));

    let read = ["--permission", "account:read", "--permission", "workers:read", "--expires", "30d"];
    let made = project.json(&[&["token", "create", "reader"][..], &read].concat());
    let (id, token) = (text(&made["id"]), text(&made["value"]));
    let alone = project.attempt(&["token", "create", "ci"], "");
    let ci = String::from_utf8(alone.stdout).unwrap();
    assert!(ci.starts_with("slv_") && ci.lines().count() == 1, "{ci}");
    assert_eq!(up.call_as(ci.trim(), "GET", "/user/tokens/verify", None).status, 200);
    let list = project.json(&["token", "list"]).to_string();
    assert!(list.contains(&id) && !list.contains(&token) && !list.contains(ci.trim()), "{list}");
    assert!(project.run(&["token", "list"]).contains("reader"));

    let refused = project.refused(&["deploy", "--token", &token]);
    assert_eq!((refused.code, &refused.error["status"]), (FAILED, &json!(403)));
    assert!(text(&refused.error["advice"]).contains("selvedge whoami"), "{}", refused.text);
    assert!(!refused.text.contains(&token));
    assert_eq!(up.get("guarded", "/").status, 404);

    // Asked with a token of its own: which one is revoked, and which one asks, are two things.
    let revoked = project.json(&["token", "revoke", "reader", "--token", &up.token]);
    assert_eq!(revoked, json!({ "id": id, "name": "reader", "revoked": true }));
    let refused = project.refused(&["whoami", "--token", &token]);
    assert_eq!((refused.code, &refused.error["status"]), (FAILED, &json!(401)));
    assert!(text(&refused.error["advice"]).contains("selvedge token create"), "{}", refused.text);
    let unknown = project.refused(&["token", "revoke", "reader"]);
    assert!(unknown.text.contains("selvedge token list"), "{}", unknown.text);

    project.deploy(&[]);
    let audit = project.json(&["audit"]);
    let entries = audit.as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| text(&entry["action"]["type"])).collect();
    for action in ["token.created", "token.revoked", "worker.created", "version.created", "worker.deployed"] {
        assert!(actions.iter().any(|done| done == action), "{action} is missing in {actions:?}");
    }
    assert!(entries.iter().any(|entry| entry["interface"] == "selvedge" && entry["actor"]["ip"] == "127.0.0.1"));
    let some = project.json(&["audit", "--action", "token", "--limit", "2", "--since", "1h"]);
    assert_eq!(some.as_array().unwrap().len(), 2);
    assert!(some.as_array().unwrap().iter().all(|entry| text(&entry["action"]["type"]).starts_with("token.")));
    let rows = project.run(&["audit", "--target", "guarded"]);
    assert!(rows.contains("worker.deployed") && !rows.contains("token.created"), "{rows}");
    assert!(project.run(&["audit", "--platform", "--limit", "1"]).lines().count() == 2);
}

#[test]
fn the_platform_of_a_data_folder_is_found_and_its_token_goes_nowhere_else() {
    let up = Up::start();
    let folder = Folder::new();
    let run = |arguments: &[&str]| {
        client(folder.path()).env("SELVEDGE_DATA", up.data.path()).args(arguments).output().unwrap()
    };
    let output = run(&["whoami", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", printed(&output)));
    assert_eq!(found["api"], format!("http://{}", up.api));
    let elsewhere = refusal(run(&["whoami", "--json", "--api", "http://127.0.0.1:9"]));
    assert_eq!(elsewhere.code, USAGE);
    assert!(elsewhere.text.contains("SELVEDGE_API_TOKEN"), "{}", elsewhere.text);
    let nothing = refusal(run(&["deployments", "list", "--json"]));
    assert_eq!(nothing.code, USAGE);
    assert!(nothing.text.contains("--name"), "{}", nothing.text);
}

#[test]
fn whoever_listens_where_a_platform_did_gets_no_token() {
    let mut up = Up::start();
    let folder = Folder::new();
    let run = |data: &std::path::Path, arguments: &[&str]| {
        client(folder.path()).env("SELVEDGE_DATA", data).args(arguments).output().unwrap()
    };
    // A token that is given is for the same platform.
    let wrong = refusal(run(up.data.path(), &["whoami", "--json", "--token", "slv_wrong"]));
    assert_eq!(wrong.error["status"], 401, "{}", wrong.text);

    up.kill();
    let listener = TcpListener::bind(up.api).unwrap();
    listener.set_nonblocking(true).unwrap();
    for arguments in [&["whoami", "--json"][..], &["whoami", "--json", "--token", "slv_mine"]] {
        let refused = refusal(run(up.data.path(), arguments));
        assert!(refused.text.contains(up.data.path().to_str().unwrap()), "{}", refused.text);
        assert!(refused.text.contains("was ended"), "{}", refused.text);
    }
    assert!(listener.accept().is_err(), "nobody was asked");
    let gone = folder.path().join("gone");
    let refused = refusal(run(&gone, &["whoami", "--json"]));
    assert!(refused.text.contains(gone.to_str().unwrap()), "{}", refused.text);
}

// === tails ===

const SPEAKER: &str = "export default {
        async fetch(request) {
            const { pathname } = new URL(request.url);
            console.log('asked for', pathname, { deep: [1, 2] });
            if (pathname === '/throw') throw new TypeError('thrown on purpose');
            return new Response('ok', { status: 201 });
        },
    }";

/// A running `selvedge tail`, connected.
struct Tail {
    child: Child,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
}

impl Tail {
    fn start(project: &Project<'_>, arguments: &[&str]) -> Self {
        let (tail, stdout) = Self::start_unread(project, arguments);
        collect(stdout, Arc::clone(&tail.output));
        tail
    }

    /// Also gives what nobody reads yet.
    fn start_unread(project: &Project<'_>, arguments: &[&str]) -> (Self, ChildStdout) {
        let mut command = project.up.client(project.folder.path());
        command.arg("tail").args(arguments);
        Self::run(&mut command)
    }

    fn run(command: &mut Command) -> (Self, ChildStdout) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().unwrap(), Arc::clone(&errors));
        let tail = Self { child, output: Arc::default(), errors };
        eventually("the tail is connected", || tail.errors.lock().unwrap().contains("following").then_some(()));
        (tail, stdout)
    }

    fn text(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// `METHOD /path` of each event so far.
    fn seen(&self) -> Vec<String> {
        let name = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let request = &event["event"]["request"];
            let url = text(&request["url"]);
            let path = url.splitn(4, '/').nth(3).unwrap_or_default();
            format!("{} /{path}", text(&request["method"]))
        };
        self.text().lines().map(name).collect()
    }

    /// A signal, and the end.
    fn stop(&mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        eventually("the tail ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the tail printed:\n{}\n{}", self.text(), self.errors.lock().unwrap());
        }
    }
}

#[test]
fn a_tail_shows_what_its_filters_let_through_until_it_is_interrupted() {
    let up = Up::start();
    let project = Project::new(&up, "spoken", SPEAKER);
    let version = project.deploy(&[]);
    let host = format!("spoken.localhost:{}", up.http.port());
    // What each filter lets through of three requests: `/ok` by GET, `/ok` by POST with a header, `/throw` by GET.
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &["GET /ok", "POST /ok", "GET /throw"]),
        (&["--status", "error"], &["GET /throw"]),
        (&["--method", "post", "--method", "PUT"], &["POST /ok"]),
        (&["--header", "x-kind"], &["POST /ok"]),
        (&["--header", "x-kind:special", "--status", "ok"], &["POST /ok"]),
        (&["--search", "/throw"], &["GET /throw"]),
        (&["--ip", "self", "--version-id", &version[..8], "--method", "POST"], &["POST /ok"]),
        (&["--sampling-rate", "0.999999", "--search", "for", "--method", "POST"], &["POST /ok"]),
        (&["--ip", "192.0.2.7"], &[]),
    ];
    let mut tails: Vec<_> = cases.iter().map(|(filter, wanted)| (Tail::start(&project, filter), *wanted)).collect();
    up.ask("GET", &host, "/ok", &[], &[]);
    up.ask("POST", &host, "/ok", &[("x-kind", "special")], b"body");
    up.ask("GET", &host, "/throw", &[], &[]);
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    // Events come in any order. When all that is wanted is there, what is held back would be, too.
    let all = |names: &[&str]| sorted(names.iter().map(|name| (*name).to_owned()).collect());
    for (tail, wanted) in &tails {
        eventually("the tail shows its events", || (sorted(tail.seen()) == all(wanted)).then_some(()));
    }
    for ((tail, wanted), (filter, _)) in tails.iter().zip(&cases) {
        assert_eq!(sorted(tail.seen()), all(wanted), "{filter:?}");
    }
    let thrown = tails[1].0.text();
    let event: Value = serde_json::from_str(thrown.trim()).unwrap();
    assert_eq!(event["scriptVersion"]["id"], json!(version));
    assert_eq!(event["exceptions"][0]["message"], "thrown on purpose");
    assert_eq!(event["logs"][0]["message"], json!(["asked for", "/throw", { "deep": [1, 2] }]));

    for (tail, _) in &mut tails {
        assert_eq!(tail.stop("-INT").code(), Some(0));
    }
    let open = up.well("GET", &format!("{}/tails", up.script_path("spoken")), None);
    assert_eq!(open, json!([]));
    let refused = project.refused(&["tail", "nowhere"]);
    assert_eq!((refused.code, &refused.error["status"]), (FAILED, &json!(404)));
    assert_eq!(project.refused(&["tail", "--sampling-rate", "2"]).code, USAGE);
}

#[test]
fn a_tail_is_pretty_for_people_and_ends_with_its_reader() {
    let up = Up::start();
    let project = Project::new(
        &up,
        "pretty",
        "export default { fetch() { console.log('\\x1b[2Jcleared'); throw new Error('no'); } }",
    );
    project.deploy(&[]);
    let mut told = Tail::start(&project, &["--format", "pretty"]);
    let (mut left, stdout) = Tail::start_unread(&project, &[]);
    up.get("pretty", "/page");
    let text = eventually("the tail shows it", || Some(told.text()).filter(|text| text.contains("Error: no")));
    assert!(text.contains("/page - exception"), "{text}");
    assert!(text.contains("(log) \\u{1b}[2Jcleared"), "what a worker logs does nothing to a terminal: {text}");
    assert_eq!(told.stop("-TERM").code(), Some(0));

    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert!(line.contains("/page"), "{line}");
    let status = eventually("the tail that nobody reads ends", || {
        up.get("pretty", "/");
        left.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}

/// A proxy that leads whoever asks for a tunnel to `target`, wherever to; gives its address and what it was asked.
fn proxy(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, heads) = (stream.unwrap(), Arc::clone(&heads));
            std::thread::spawn(move || tunnel(stream, target, &heads));
        }
    });
    (address, asked)
}

fn tunnel(mut client: TcpStream, target: SocketAddr, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let server = TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = std::thread::spawn(move || pass(back.0, back.1));
    pass(client, server);
    back.join().unwrap();
}

/// Passes on what one side says until it says no more.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    // One that is gone hears nothing, and that is its end.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_tail_goes_through_the_proxy_that_calls_go_through() {
    let up = Up::start();
    let project = Project::new(&up, "far", SPEAKER);
    project.deploy(&[]);
    let (proxy, asked) = proxy(up.api);
    // A name that leads nowhere but through the proxy.
    let platform = format!("platform.test:{}", up.api.port());
    let mut command = up.client(project.folder.path());
    command.env("SELVEDGE_API", format!("http://{platform}")).env("ALL_PROXY", format!("http://me:word@{proxy}"));
    command.env_remove("NO_PROXY").env_remove("no_proxy").arg("tail");
    let (mut tail, stdout) = Tail::run(&mut command);
    collect(stdout, Arc::clone(&tail.output));
    up.get("far", "/seen");
    eventually("the tail shows the event", || (tail.seen() == ["GET /seen"]).then_some(()));
    let asked = asked.lock().unwrap().clone();
    for head in &asked {
        assert!(head.starts_with(&format!("CONNECT {platform} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains(" Basic bWU6d29yZA==\r\n"), "{head}");
    }
    assert!(asked.len() > 1, "a call and the stream have a tunnel each: {asked:?}");
    assert_eq!(tail.stop("-INT").code(), Some(0));
}

// === servers that are no platform ===

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Asks a server who the token is.
fn whoami_at(address: SocketAddr) -> Output {
    let folder = Folder::new();
    let url = format!("http://{address}");
    // A proxy that is not there is not asked about this machine.
    let mut command = client(folder.path());
    command.env("HTTP_PROXY", "http://127.0.0.1:9").args(["whoami", "--json", "--token", "slv_x", "--api", &url]);
    command.output().unwrap()
}

#[test]
fn a_platform_that_is_not_there_is_told_of_with_what_to_do() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = refusal(whoami_at(address));
    assert_eq!(refused.code, FAILED);
    assert!(text(&refused.error["message"]).contains(&address.to_string()), "{}", refused.text);
    assert!(text(&refused.error["advice"]).contains("selvedge up"), "{}", refused.text);
}

#[test]
fn answers_that_are_not_the_apis_are_told_of() {
    for (body, shown) in [
        ("<html>\u{1b}[2J a page</html>", "<html>\\u{1b}[2J a page</html>"),
        ("", "something else than expected"),
        ("[1, 2]", "[1, 2]"),
        ("{\"success\": true, \"result\": 7}", "something else than expected"),
        ("{\"success\": false, \"errors\": []}", "no reason given"),
    ] {
        let server = world(move |_| answer("200 OK", "", body));
        let refused = refusal(whoami_at(server));
        assert_eq!(refused.code, FAILED, "{body}");
        assert!(refused.text.contains(shown), "{body}: {}", refused.text);
    }
    let moved = world(|_| answer("302 Found", "location: http://127.0.0.1:9/\r\n", ""));
    let refused = refusal(whoami_at(moved));
    assert!(text(&refused.error["advice"]).contains("--api"), "{}", refused.text);
}

#[test]
fn a_server_that_is_busy_is_asked_again_as_it_says() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let recovering = world(move |head| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => answer("503 Service Unavailable", "retry-after: 0\r\n", "{}"),
        1 => answer("500 Internal Server Error", "", "oh no"),
        2 => answer("429 Too Many Requests", "retry-after: 1\r\n", "{}"),
        _ if head.contains("/memberships") => answer("200 OK", "", r#"{"success":true,"result":[]}"#),
        _ => answer("200 OK", "", r#"{"success":true,"result":{"id":"t","name":"me"}}"#),
    });
    let output = whoami_at(recovering);
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(count.load(Ordering::Relaxed), 5);

    // So long, nobody waits.
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let busy = world(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let body = r#"{"success":false,"errors":[{"code":10429,"message":"come back later"}]}"#;
        answer("429 Too Many Requests", "retry-after: 3600\r\n", body)
    });
    let refused = refusal(whoami_at(busy));
    assert!(text(&refused.error["message"]).contains("come back later"), "{}", refused.text);
    assert_eq!((&refused.error["code"], &refused.error["status"]), (&json!(10429), &json!(429)));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}
