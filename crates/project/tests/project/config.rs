//! What a config says is what the project holds, in each of its formats.

use std::time::Duration;

use crate::support::{Folder, text};
use selvedge_project::{
    AssetRoutes, BindingKind, DevAddress, HtmlHandling, ModuleType, NotFoundHandling, RunWorkerFirst, Var, Zone,
};

const JSONC: &str = r#"{
  // every key this crate reads
  "$schema": "node_modules/wrangler/config-schema.json",
  "name": "shop",
  "main": "src/worker.ts",
  "compatibility_date": "2025-03-01",
  "compatibility_flags": ["nodejs_compat"],
  "vars": { "API": "https://example.com", "DEBUG": true, "LIST": [1, { "a": null }] },
  "services": [
    { "binding": "AUTH", "service": "auth", "entrypoint": "Tokens", "props": { "role": "shop" } },
  ],
  "assets": {
    "directory": "./public", "binding": "ASSETS", "html_handling": "drop-trailing-slash",
    "not_found_handling": "404-page", "run_worker_first": ["/api/*", "!/api/docs/*"],
  },
  "limits": { "cpu_ms": 50, "subrequests": 20, "wall_ms": 5000, "wait_until_ms": 700, "memory_mb": 64, "startup_ms": 400,
              "connections": 3, "request_body_mb": 2, "response_headers_kb": 16, "log_kb": 8 },
  "rules": [{ "type": "Text", "globs": ["**/*.md"], "fallthrough": true }],
  "no_bundle": false, "minify": true, "keep_names": false,
  "define": { "VERSION": "\"1\"" },
  "alias": { "react": "preact/compat" },
  "tsconfig": "tsconfig.json", "jsx_factory": "h", "jsx_fragment": "Fragment",
  "triggers": { "crons": ["*/5 * * * *"] },
  "routes": ["example.com/*", { "pattern": "a.example.com", "custom_domain": true },
             { "pattern": "b.example.com/*", "zone_name": "example.com" }],
  "version_metadata": { "binding": "VERSION_METADATA" },
  "ratelimits": [{ "name": "RATE", "namespace_id": "1001", "simple": { "limit": 3, "period": 60 } }],
  "unsafe": { "bindings": [
    { "name": "OLD_RATE", "type": "ratelimit", "namespace_id": "1002", "simple": { "limit": 5, "period": 10 } },
  ] },
  "kv_namespaces": [{ "binding": "KV", "id": "abc" }],
  "durable_objects": { "bindings": [{ "name": "ROOM", "class_name": "Room" }] },
  "queues": { "producers": [{ "binding": "JOBS", "queue": "jobs" }] },
  "ai": { "binding": "AI" },
  "dev": { "port": 9000, "ip": "0.0.0.0" },
  "observability": { "enabled": true }, "workers_dev": true, "migrations": [],
}
"#;

const TOML: &str = r#"
name = "shop"
main = "src/worker.ts"
compatibility_date = "2025-03-01"
compatibility_flags = [ "nodejs_compat" ]
no_bundle = false
minify = true
keep_names = false
tsconfig = "tsconfig.json"
jsx_factory = "h"
jsx_fragment = "Fragment"
workers_dev = true
migrations = []
routes = [
  "example.com/*",
  { pattern = "a.example.com", custom_domain = true },
  { pattern = "b.example.com/*", zone_name = "example.com" },
]
triggers.crons = ["*/5 * * * *"]
ai = { binding = "AI" }

[vars]
API = "https://example.com"
DEBUG = true
LIST = [1, { a = "b" }]

[[services]]
binding = "AUTH"
service = "auth"
entrypoint = "Tokens"
props = { role = "shop" }

[assets]
directory = "./public"
binding = "ASSETS"
html_handling = "drop-trailing-slash"
not_found_handling = "404-page"
run_worker_first = ["/api/*", "!/api/docs/*"]

[limits]
cpu_ms = 50
subrequests = 20
wall_ms = 5_000
wait_until_ms = 700
memory_mb = 0x40
startup_ms = 400.0
connections = 3
request_body_mb = 2
response_headers_kb = 16
log_kb = 8

[[rules]]
type = "Text"
globs = ["**/*.md"]
fallthrough = true

[define]
VERSION = '"1"'

[alias]
react = "preact/compat"

[version_metadata]
binding = "VERSION_METADATA"

[[ratelimits]]
name = "RATE"
namespace_id = "1001"
simple = { limit = 3, period = 60 }

[[unsafe.bindings]]
name = "OLD_RATE"
type = "ratelimit"
namespace_id = "1002"
simple = { limit = 5, period = 10 }

[[kv_namespaces]]
binding = "KV"
id = "abc"

[[durable_objects.bindings]]
name = "ROOM"
class_name = "Room"

[[queues.producers]]
binding = "JOBS"
queue = "jobs"

[dev]
port = 9000
ip = "0.0.0.0"

[observability]
enabled = true
"#;

fn shop(config: &str, content: &str) -> Folder {
    Folder::new().file(config, content).file("src/worker.ts", "").file("tsconfig.json", "{}").folder("public")
}

#[test]
fn every_format_gives_the_same_project() {
    for (config, content) in [("wrangler.jsonc", JSONC), ("wrangler.json", JSONC), ("wrangler.toml", TOML)] {
        let folder = shop(config, content);
        let project = folder.load();
        assert_eq!(folder.warnings(&project), Vec::<String>::new());

        assert_eq!(project.name.as_str(), "shop");
        assert_eq!(project.root.as_path(), folder.path("").as_path());
        assert_eq!(project.config, Some(folder.path(config)));
        assert_eq!(project.main, Some(folder.path("src/worker.ts")));
        assert_eq!(project.compatibility_date.to_string(), "2025-03-01");
        assert_eq!(project.compatibility_flags, ["nodejs_compat"]);
        assert_eq!(project.version_metadata.unwrap().as_str(), "VERSION_METADATA");
        assert_eq!(project.crons.unwrap()[0].as_str(), "*/5 * * * *");
    }
}

#[test]
fn bindings_are_read_in_each_format() {
    for (config, content) in [("wrangler.jsonc", JSONC), ("wrangler.toml", TOML)] {
        let project = shop(config, content).load();
        assert_eq!(text(&project, "API").unwrap(), "https://example.com");
        assert_eq!(project.vars["DEBUG"], Var::Json(true.into()));
        assert!(matches!(&project.vars["LIST"], Var::Json(json) if json[0] == 1));

        let service = &project.services[0];
        assert_eq!(service.binding.as_str(), "AUTH");
        assert_eq!(service.service.as_str(), "auth");
        assert_eq!(service.entrypoint.as_deref(), Some("Tokens"));
        assert_eq!(service.props.as_ref().unwrap()["role"], "shop");

        let rates = project.rate_limits.iter();
        let rates = rates.map(|rate| (rate.binding.as_str(), rate.namespace_id.as_str(), rate.limit, rate.period));
        assert_eq!(rates.collect::<Vec<_>>(), [("RATE", "1001", 3, 60), ("OLD_RATE", "1002", 5, 10)]);

        let mut unavailable: Vec<_> =
            project.unavailable.iter().map(|binding| (binding.name.as_str(), binding.kind)).collect();
        unavailable.sort_unstable_by_key(|(name, _)| *name);
        assert_eq!(
            unavailable,
            [
                ("AI", BindingKind::Ai),
                ("JOBS", BindingKind::Queue),
                ("KV", BindingKind::Kv),
                ("ROOM", BindingKind::DurableObject),
            ]
        );
    }
}

#[test]
fn assets_limits_and_bundling_are_read_in_each_format() {
    for (config, content) in [("wrangler.jsonc", JSONC), ("wrangler.toml", TOML)] {
        let folder = shop(config, content);
        let project = folder.load();
        let assets = project.assets.unwrap();
        assert_eq!(assets.directory, folder.path("public"));
        assert_eq!(assets.binding.unwrap().as_str(), "ASSETS");
        assert_eq!(assets.html_handling, HtmlHandling::DropTrailingSlash);
        assert_eq!(assets.not_found_handling, NotFoundHandling::NotFoundPage);
        assert_eq!(
            assets.run_worker_first,
            RunWorkerFirst::Matching(AssetRoutes {
                worker: vec!["/api/*".to_owned()],
                assets: vec!["/api/docs/*".to_owned()],
            })
        );

        assert_eq!(project.limits.cpu, Some(Duration::from_millis(50)));
        assert_eq!(project.limits.subrequests, Some(20));
        assert_eq!(project.limits.wall, Some(Duration::from_secs(5)));
        assert_eq!(project.limits.wait_until, Some(Duration::from_millis(700)));
        assert_eq!(project.limits.memory_bytes, Some(64 << 20));
        assert_eq!(project.limits.startup, Some(Duration::from_millis(400)));
        assert_eq!(project.limits.connections, Some(3));
        assert_eq!(project.limits.request_body_bytes, Some(2 << 20));
        assert_eq!(project.limits.response_header_bytes, Some(16 << 10));
        assert_eq!(project.limits.log_bytes, Some(8 << 10));

        let bundling = project.bundling;
        assert_eq!(bundling.rules[0].module_type, ModuleType::Text);
        assert_eq!(bundling.rules[0].globs, ["**/*.md"]);
        assert!(bundling.rules[0].fallthrough && bundling.minify && !bundling.no_bundle);
        assert_eq!(bundling.keep_names, Some(false));
        assert_eq!(bundling.define["VERSION"], "\"1\"");
        assert_eq!(bundling.alias["react"], "preact/compat");
        assert_eq!(bundling.tsconfig, Some(folder.path("tsconfig.json")));
        assert_eq!(bundling.jsx_factory.as_deref(), Some("h"));
        assert_eq!(bundling.jsx_fragment.as_deref(), Some("Fragment"));
    }
}

#[test]
fn routes_and_dev_are_read_in_each_format() {
    for (config, content) in [("wrangler.jsonc", JSONC), ("wrangler.toml", TOML)] {
        let project = shop(config, content).load();
        assert_eq!(project.routes[0].pattern, "example.com/*");
        assert!(project.routes[1].custom_domain);
        assert_eq!(project.routes[2].zone, Some(Zone::Name("example.com".to_owned())));
        assert_eq!(project.dev.port, Some(9000));
        assert_eq!(project.dev.address, Some(DevAddress::Ip([0, 0, 0, 0].into())));
    }
}

#[test]
fn assets_need_no_worker() {
    let folder = Folder::new()
        .file("wrangler.jsonc", r#"{ "compatibility_date": "2025-01-01", "assets": { "directory": "public" } }"#)
        .folder("public");
    let project = folder.load();
    assert_eq!(project.main, None);
    let assets = project.assets.unwrap();
    assert_eq!(assets.html_handling, HtmlHandling::AutoTrailingSlash);
    assert_eq!(assets.not_found_handling, NotFoundHandling::None);
    assert_eq!(assets.run_worker_first, RunWorkerFirst::Never);
}

#[test]
fn a_config_without_a_name_takes_its_folders() {
    let folder = Folder::new()
        .file("My Shop/wrangler.toml", "main = 'index.js'\ncompatibility_date = '2025-01-01'")
        .file("My Shop/index.js", "");
    let project = selvedge_project::load(&folder.path("My Shop"), None).unwrap();
    assert_eq!(project.name.as_str(), "my-shop");
}

#[test]
fn a_config_without_a_date_uses_todays_and_says_so() {
    let folder = Folder::jsonc(r#"{ "main": "index.js" }"#);
    let project = folder.load();
    assert_eq!(
        folder.warnings(&project),
        [format!(
            "wrangler.jsonc:1:1: `compatibility_date` is missing, so today's is used: {}",
            project.compatibility_date
        )]
    );
}

#[test]
fn unknown_keys_are_warnings_with_their_place() {
    let folder = Folder::jsonc(
        r#"{
  "main": "index.js",
  "compatibility_date": "2025-01-01",
  "compatability_flags": [],
  "limits": { "cpu": 5 },
  "zebra stripes": 1
}"#,
    );
    let project = folder.load();
    assert_eq!(
        folder.warnings(&project),
        [
            "wrangler.jsonc:4:3: `compatability_flags` is not a known key and has no effect; \
             did you mean `compatibility_flags`?",
            "wrangler.jsonc:5:15: `limits.cpu` is not a known key and has no effect; did you mean `cpu_ms`?",
            "wrangler.jsonc:6:3: `[\"zebra stripes\"]` is not a known key and has no effect",
        ]
    );
}

#[test]
fn known_keys_that_cannot_work_are_warnings() {
    let folder = Folder::toml(
        "main = 'index.js'\ncompatibility_date = '2025-01-01'\npreserve_file_names = true\n[site]\nbucket = 'public'\n\
         [build]\ncommand = 'npm run build'\ncwd = 'web'\nwatch_dir = ['src', 'lib']\n\
         [dev]\nhost = 'shop.test'\n[[queues.consumers]]\nqueue = 'jobs'\n",
    );
    let warnings = folder.warnings(&folder.load()).join("\n");
    for key in ["site", "build.command", "queues.consumers", "preserve_file_names", "dev.host"] {
        assert!(warnings.contains(&format!("`{key}` has no effect")), "{warnings}");
    }
}

#[test]
fn assets_that_would_publish_the_project_are_a_warning() {
    let folder = Folder::jsonc(r#"{ "compatibility_date": "2025-01-01", "assets": { "directory": "." } }"#);
    let warnings = folder.warnings(&folder.load());
    assert!(warnings[0].contains("`assets.directory` serves the project's own folder"), "{warnings:?}");
}

#[test]
fn inputs_name_the_config_and_every_secret_file() {
    let folder = Folder::jsonc(r#"{ "main": "index.js" }"#);
    let inputs = folder.load().inputs;
    for name in ["wrangler.jsonc", "wrangler.toml", ".dev.vars", ".env", ".env.local"] {
        assert!(inputs.contains(&folder.path(name)), "{name}");
    }
}
