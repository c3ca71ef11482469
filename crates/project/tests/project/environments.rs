//! What an environment inherits is what wrangler lets it inherit.

use crate::support::{Folder, text};
use selvedge_project::{ProjectError, RunWorkerFirst};

const CONFIG: &str = r#"
name = "shop"
main = "index.js"
compatibility_date = "2025-01-01"
minify = true
triggers.crons = ["0 0 * * *"]

[vars]
A = "top"
B = "top"

[[services]]
binding = "AUTH"
service = "auth"

[limits]
cpu_ms = 10
subrequests = 10

[assets]
directory = "."
run_worker_first = true

[dev]
port = 9000

[env.staging]
minify = false
limits = { cpu_ms = 20 }
vars = { A = "staging" }

[env.production]
name = "shop-live"
main = "live.js"

[env.production.assets]
directory = "."
"#;

fn shop() -> Folder {
    Folder::toml(CONFIG).file("live.js", "")
}

#[test]
fn the_top_level_is_read_without_an_environment() {
    let project = shop().load();
    assert_eq!(project.name.as_str(), "shop");
    assert_eq!(project.environment, None);
    assert_eq!(text(&project, "A").unwrap(), "top");
}

#[test]
fn inheritable_keys_are_inherited_whole_and_replaced_whole() {
    let folder = shop();
    let staging = folder.load_env("staging");
    assert_eq!(staging.main, Some(folder.path("index.js")));
    assert_eq!(staging.crons.as_ref().unwrap().len(), 1);
    assert!(!staging.bundling.minify);
    assert_eq!(staging.limits.cpu.unwrap().as_millis(), 20);
    assert_eq!(staging.limits.subrequests, None);
    assert_eq!(staging.assets.unwrap().run_worker_first, RunWorkerFirst::Always);
    assert_eq!(staging.dev.port, Some(9000));

    let production = folder.load_env("production");
    assert_eq!(production.main, Some(folder.path("live.js")));
    assert!(production.bundling.minify);
    assert_eq!(production.assets.unwrap().run_worker_first, RunWorkerFirst::Never);
}

#[test]
fn an_environments_worker_has_a_name_of_its_own() {
    let folder = shop();
    assert_eq!(folder.load_env("staging").name.as_str(), "shop-staging");
    assert_eq!(folder.load_env("production").name.as_str(), "shop-live");
    assert_eq!(folder.load_env("staging").environment.unwrap().as_str(), "staging");
}

#[test]
fn bindings_are_not_inherited_and_that_is_said() {
    let folder = shop();
    let staging = folder.load_env("staging");
    assert_eq!(text(&staging, "A").unwrap(), "staging");
    assert_eq!(text(&staging, "B"), None);
    assert!(staging.services.is_empty());
    let not_inherited: Vec<_> =
        folder.warnings(&staging).into_iter().filter(|warning| warning.contains("does not inherit")).collect();
    assert_eq!(
        not_inherited,
        [
            "wrangler.toml:8:2: `vars.B` is set at the top level but not in `env.staging`, which does not inherit it",
            "wrangler.toml:12:3: `services` is set at the top level but not in `env.staging`, which does not inherit it",
        ]
    );
}

#[test]
fn unknown_environments_are_errors_that_list_the_known_ones() {
    let folder = shop();
    let error = folder.try_load(Some("prod")).unwrap_err();
    assert_eq!(
        folder.cut(&error.to_string()),
        "wrangler.toml: there is no environment \"prod\"; it declares staging, production"
    );
}

#[test]
fn a_config_without_environments_takes_any_with_a_warning() {
    let folder = Folder::toml("name = 'a'\nmain = 'index.js'\ncompatibility_date = '2025-01-01'\nvars.A = '1'\n");
    let project = folder.load_env("Staging");
    assert_eq!(project.name.as_str(), "a-staging");
    assert_eq!(text(&project, "A").unwrap(), "1");
    assert_eq!(folder.warnings(&project).len(), 1);
}

#[test]
fn environment_names_that_are_paths_are_refused() {
    for name in ["", "../../etc/passwd", "a/b"] {
        assert!(matches!(shop().try_load(Some(name)), Err(ProjectError::EnvironmentName { .. })));
    }
}

#[test]
fn mistakes_in_an_environment_name_it_and_other_environments_are_left_alone() {
    let folder = Folder::jsonc(
        "{ \"main\": \"index.js\", \"env\": {\n \"a\": { \"minify\": 1 },\n \"b\": { \"dev\": {}, \"wat\": 1 } } }",
    );
    let error = folder.try_load(Some("a")).unwrap_err().to_string();
    assert_eq!(folder.cut(&error), "wrangler.jsonc:2:19: `env.a.minify` must be true or false, found the number 1");
    let b = folder.load_env("b");
    let warnings = folder.warnings(&b).join("\n");
    assert!(warnings.contains("3:9: `env.b.dev` belongs at the top level"), "{warnings}");
    assert!(warnings.contains("3:20: `env.b.wat` is not a known key"), "{warnings}");
}

#[test]
fn top_level_keys_hold_in_every_environment() {
    let folder = Folder::toml(
        "main = 'index.js'\ncompatibility_date = '2025-01-01'\nalias = { a = 'b' }\n\
         wasm_modules = { CODE = 'code.wasm' }\n[env.staging]\n",
    )
    .file("code.wasm", "");
    let staging = folder.load_env("staging");
    assert_eq!(staging.bundling.alias["a"], "b");
    assert_eq!(staging.globals[0].name.as_str(), "CODE");
    assert_eq!(folder.warnings(&staging), Vec::<String>::new());
}

#[test]
fn an_environment_may_replace_a_main_that_is_missing() {
    let folder = Folder::toml("main = 'absent.js'\n[env.dev]\nmain = 'index.js'\n");
    assert!(folder.try_load(None).is_err());
    assert!(folder.try_load(Some("dev")).is_ok());
}
