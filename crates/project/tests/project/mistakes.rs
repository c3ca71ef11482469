//! What is wrong is said with its file, line, column and key, and never guessed at.

use std::fs;

use crate::support::Folder;
use selvedge_project::{FILE_BYTES_MAX, ProjectError, WarningKind, load};

/// A JSONC config that is right but for one line, and the message it gives.
fn message(line: &str) -> String {
    let config = format!("{{\n  \"main\": \"index.js\",\n  {line}\n}}");
    Folder::jsonc(&config).error()
}

#[test]
fn mistyped_values_name_place_key_expectation_and_find() {
    for (line, expected) in [
        (r#""name": 5"#, "3:11: `name` must be a string, found the number 5"),
        (r#""minify": "yes""#, "3:13: `minify` must be true or false, found the string \"yes\""),
        (r#""vars": []"#, "3:11: `vars` must be an object, found a list"),
        (r#""rules": {}"#, "3:12: `rules` must be a list, found an object"),
        (
            r#""limits": { "cpu_ms": "50" }"#,
            "3:25: `limits.cpu_ms` must be a whole number from 1 to 300000, found the string \"50\"",
        ),
        (
            r#""limits": { "cpu_ms": 0 }"#,
            "3:25: `limits.cpu_ms` must be a whole number from 1 to 300000, found the number 0",
        ),
        (
            r#""limits": { "subrequests": 1.5 }"#,
            "3:30: `limits.subrequests` must be a whole number from 1 to 10000000, found the number 1.5",
        ),
        (
            r#""compatibility_flags": ["a", null]"#,
            "3:32: `compatibility_flags[1]` must be a string that is not empty, found null",
        ),
        (
            r#""services": [{ "binding": "A", "service": true }]"#,
            "3:45: `services[0].service` must be a string, found true",
        ),
        (
            r#""dev": { "ip": "nowhere" }"#,
            "3:18: `dev.ip` must be an IP address, \"localhost\" or \"*\", found the string \"nowhere\"",
        ),
        (
            r#""dev": { "port": 70000 }"#,
            "3:20: `dev.port` must be a whole number from 0 to 65535, found the number 70000",
        ),
        (r#""alias": { "a-b": 1 }"#, "3:21: `alias.a-b` must be a string, found the number 1"),
        (r#""define": { "a.b": 1 }"#, "3:22: `define[\"a.b\"]` must be a string, found the number 1"),
        (r#""logpush": 1"#, "3:14: `logpush` must be true or false, found the number 1"),
        (
            r#""kv_namespaces": [{ "binding": "KV", "id": 7 }]"#,
            "3:46: `kv_namespaces[0].id` must be a string, found the number 7",
        ),
        (
            r#""ratelimits": [{ "name": "R", "namespace_id": "1", "simple": { "limit": 5, "period": 30 } }]"#,
            "3:88: `ratelimits[0].simple.period` must be 10 or 60 seconds, found the number 30",
        ),
        (
            r#""routes": [{ "pattern": "a.test", "custom_domain": true, "enabled": false }]"#,
            "3:71: `routes[0].enabled` must be true: a domain that is not to answer is left out, found false",
        ),
        (r#""ai": true"#, "3:9: `ai` must be an object, found true"),
    ] {
        assert_eq!(message(line), format!("wrangler.jsonc:{expected}"));
    }
}

#[test]
fn choices_are_listed() {
    let folder = Folder::jsonc("{\n \"assets\": { \"directory\": \".\", \"html_handling\": \"auto\" } }");
    assert_eq!(
        folder.error(),
        "wrangler.jsonc:2:49: `assets.html_handling` must be one of \"auto-trailing-slash\", \
         \"force-trailing-slash\", \"drop-trailing-slash\", \"none\", found the string \"auto\""
    );
}

#[test]
fn missing_parts_are_named() {
    assert_eq!(
        message(r#""services": [{ "binding": "A" }]"#),
        "wrangler.jsonc:3:16: `services[0].service` is missing; it must be the name of a worker"
    );
    assert_eq!(
        message(r#""durable_objects": { "bindings": [{ "class_name": "Room" }] }"#),
        "wrangler.jsonc:3:37: `durable_objects.bindings[0].name` is missing; it must be the name of the binding"
    );
    assert_eq!(
        message(r#""assets": {}"#),
        "wrangler.jsonc:3:13: `assets.directory` is missing; it must be the folder of the static files"
    );
}

#[test]
fn all_problems_come_at_once() {
    let folder = Folder::toml("name = 5\nmain = 'index.js'\nminify = 'no'\n[limits]\ncpu_ms = -1\n");
    assert_eq!(
        folder.error().lines().collect::<Vec<_>>(),
        [
            "wrangler.toml:1:8: `name` must be a string, found the number 5",
            "wrangler.toml:3:10: `minify` must be true or false, found the string \"no\"",
            "wrangler.toml:5:10: `limits.cpu_ms` must be a whole number from 1 to 300000, found the number -1",
        ]
    );
}

#[test]
fn bad_names_dates_and_crons_say_why() {
    for (line, expected) in [
        (
            r#""name": "My Shop""#,
            "3:11: `name` is not a valid name: 'M' is not allowed; use lowercase letters, digits, dashes and underscores",
        ),
        (r#""name": """#, "3:11: `name` is not a valid name: it is empty"),
        (
            r#""vars": { "a b": "" }"#,
            "3:13: `vars[\"a b\"]` is not a valid name: ' ' is not allowed; use anything but spaces and control characters",
        ),
        (
            r#""vars": { "__proto__": "" }"#,
            "3:13: `vars.__proto__` is not a valid name: it is reserved by the language",
        ),
        (
            r#""compatibility_date": "2025-02-30""#,
            "3:25: `compatibility_date` is not a valid date: \"2025-02-30\" is not a day of the calendar written YYYY-MM-DD",
        ),
        (
            r#""compatibility_date": "9000-01-01""#,
            "3:25: `compatibility_date` is not a valid date: 9000-01-01 is in the future",
        ),
        (
            r#""triggers": { "crons": ["hourly"] }"#,
            "3:27: `triggers.crons[0]` is \"hourly\", which is not five cron fields such as \"*/5 * * * *\"",
        ),
    ] {
        assert_eq!(message(line), format!("wrangler.jsonc:{expected}"));
    }
}

#[test]
fn toml_dates_are_not_values() {
    let folder = Folder::toml("main = 'index.js'\ncompatibility_date = 2025-01-01\n[vars]\nDAY = 2025-01-01\n");
    assert_eq!(
        folder.error().lines().collect::<Vec<_>>(),
        [
            "wrangler.toml:2:22: `compatibility_date` must be a date as a string, \"YYYY-MM-DD\", \
             found the TOML date 2025-01-01 (quotes make it a string)",
            "wrangler.toml:4:7: `vars.DAY` must be written with quotes, as a string: \
             a TOML date is not a value a worker can hold",
        ]
    );
}

#[test]
fn syntax_errors_name_line_and_column() {
    for (config, content, place) in [
        ("wrangler.jsonc", "{\n  \"a\": \n}", "3:1"),
        ("wrangler.jsonc", "{\n  'a': 1\n}", "2:3"),
        ("wrangler.jsonc", "{ \"a\": 1", "1:"),
        ("wrangler.jsonc", "", "1:1"),
        ("wrangler.jsonc", "// nothing", "1:1"),
        ("wrangler.jsonc", "[]", "1:1"),
        ("wrangler.json", "{} {}", "1:4"),
        ("wrangler.toml", "a = 1\nb = \n", "2:"),
        ("wrangler.toml", "a = 1\nb = inf\n", "2:5"),
        ("wrangler.toml", "a = 99999999999999999999", "1:5"),
    ] {
        let message = Folder::new().file(config, content).error();
        assert!(message.starts_with(&format!("{config}:{place}")), "{content:?}: {message}");
    }
}

#[test]
fn duplicate_keys_are_refused() {
    let json = Folder::jsonc("{ \"main\": \"index.js\",\n \"vars\": { \"A\": \"1\", \"A\": \"2\" } }");
    assert_eq!(json.error(), "wrangler.jsonc:2:22: duplicate key \"A\", first on line 2");
    let toml = Folder::toml("main = 'index.js'\nmain = 'index.js'\n").error();
    assert!(toml.starts_with("wrangler.toml:2:1: duplicate key"), "{toml}");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let depth = 100_000;
    let json = format!("{{ \"vars\": {}1{} }}", "[".repeat(depth), "]".repeat(depth));
    let toml = format!("vars = {}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(matches!(Folder::jsonc(&json).try_load(None), Err(ProjectError::Syntax { .. })));
    assert!(matches!(Folder::toml(&toml).try_load(None), Err(ProjectError::Syntax { .. })));
}

#[test]
fn files_above_a_mebibyte_are_refused() {
    let padding = " ".repeat(FILE_BYTES_MAX as usize);
    let config = format!("{{{padding}}}");
    assert_eq!(Folder::jsonc(&config).error(), "wrangler.jsonc is 1048578 bytes; at most 1048576 are read");
    let secrets = Folder::jsonc(r#"{ "main": "index.js" }"#).file(".dev.vars", &padding);
    assert!(secrets.try_load(None).is_ok());
    let secrets = secrets.file(".dev.vars", &format!("{padding} "));
    assert!(matches!(secrets.try_load(None), Err(ProjectError::TooLarge { .. })));
}

#[test]
fn a_config_that_is_not_text_is_refused_where_it_stops_being_text() {
    let folder = Folder::new();
    fs::write(folder.path("wrangler.toml"), b"name = 'a'\nmain = '\xff'").unwrap();
    assert_eq!(folder.error(), "wrangler.toml:2:9: the file is not UTF-8 text");
}

#[test]
fn floods_of_mistakes_are_counted_not_listed() {
    let keys: String = (0..60_000).map(|n| format!("\"k{n}\":0,")).collect();
    let unknown = Folder::jsonc(&format!("{{ {keys} \"main\": \"index.js\" }}"));
    let warnings = unknown.load().warnings;
    assert_eq!(warnings.len(), 101);
    assert!(matches!(warnings[100].kind, WarningKind::More { .. }));

    let mistyped = Folder::jsonc(&format!("{{ \"alias\": {{ {keys} }}, \"main\": \"index.js\" }}"));
    assert!(mistyped.error().ends_with("and 59900 more problems"));

    let lines = "not an assignment\n".repeat(50_000);
    let secrets = Folder::toml("main = 'index.js'").file(".dev.vars", &lines);
    assert_eq!(secrets.load().warnings.len(), 101);
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = Folder::jsonc(
        "{ \"main\": \"src/app.ts\",\n  \"tsconfig\": \"ts.json\",\n  \"assets\": { \"directory\": \"dist\" } }",
    );
    assert_eq!(
        folder.error().lines().collect::<Vec<_>>(),
        [
            "wrangler.jsonc:1:11: `main` is \"src/app.ts\", but there is no file src/app.ts",
            "wrangler.jsonc:2:15: `tsconfig` is \"ts.json\", but there is no file ts.json",
            "wrangler.jsonc:3:28: `assets.directory` is \"dist\", but there is no folder dist",
        ]
    );
    let unbuilt = Folder::toml("main = 'out.js'\nbuild.command = 'make'\n");
    assert_eq!(
        unbuilt.error(),
        "wrangler.toml:1:8: `main` is \"out.js\", but there is no file out.js: run `make` first, \
         which `build.command` says makes it"
    );
}

#[test]
fn paths_stay_in_the_project() {
    let folder = Folder::new().file("outside.js", "").folder("project");
    let config = folder.path("project/wrangler.toml");
    for main in ["../outside.js", "/etc/hostname", "../absent.js", "link.js"] {
        fs::write(&config, format!("main = {main:?}")).unwrap();
        let folder = folder.path("project");
        let link = folder.join("link.js");
        if !link.is_symlink() {
            std::os::unix::fs::symlink("../outside.js", &link).unwrap();
        }
        let message = load(&folder, None).unwrap_err().to_string();
        let expected = format!("`main` is {main:?}, which leads out of {}", folder.display());
        assert!(message.ends_with(&expected), "{message}");
    }
}

#[test]
fn paths_may_reach_the_rest_of_the_repository() {
    let folder = Folder::new()
        .folder(".git")
        .folder("web/dist")
        .file("worker/wrangler.toml", "[assets]\ndirectory = '../web/dist'");
    let project = load(&folder.path("worker"), None).unwrap();
    assert_eq!(project.assets.unwrap().directory, folder.path("web/dist"));
}

#[test]
fn assets_may_lie_where_a_build_puts_them_and_nowhere_else() {
    let folder = Folder::new().folder("dist/client").folder("dist/.keys").folder("other").folder("dist/worker");
    let config = |directory: &str| format!("[assets]\ndirectory = {directory:?}");
    let folder = folder.file("dist/worker/wrangler.toml", &config("../client"));
    let worker = folder.path("dist/worker");
    assert_eq!(load(&worker, None).unwrap().assets.unwrap().directory, folder.path("dist/client"));
    std::os::unix::fs::symlink("../other", folder.path("dist/link")).unwrap();
    for directory in ["..", "../.keys", "../../other", "../link", "/"] {
        fs::write(worker.join("wrangler.toml"), config(directory)).unwrap();
        let message = load(&worker, None).unwrap_err().to_string();
        assert!(message.contains("which leads out of"), "{directory}: {message}");
    }
}

#[test]
fn links_inside_the_project_are_followed() {
    let folder = Folder::toml("main = 'link.js'").link("link.js", "index.js");
    assert_eq!(folder.load().main, Some(folder.path("index.js")));
}

#[test]
fn a_config_with_nothing_to_serve_says_what_to_add() {
    assert_eq!(
        Folder::jsonc("{}").error(),
        "wrangler.jsonc:1:1: `main` is missing: name the worker's file, or `assets.directory` for a site without a worker"
    );
}

#[test]
fn asset_settings_that_need_a_worker_are_refused_without_one() {
    let folder = Folder::toml("[assets]\ndirectory = '.'\nbinding = 'A'\nrun_worker_first = true\n");
    assert_eq!(
        folder.error().lines().collect::<Vec<_>>(),
        [
            "wrangler.toml:3:11: `assets.binding` needs a worker: add `main`, or remove it",
            "wrangler.toml:4:20: `assets.run_worker_first` needs a worker: add `main`, or remove it",
        ]
    );
}

#[test]
fn run_worker_first_rules_are_checked() {
    let rules = |rules: &str| {
        let config = format!("main = 'index.js'\n[assets]\ndirectory = '.'\nrun_worker_first = {rules}\n");
        Folder::toml(&config).error()
    };
    assert!(rules("['!/a']").contains("has only negative rules"));
    assert!(rules("['a']").contains("`assets.run_worker_first[0]` must be a path of at most 100 characters"));
    assert!(rules("'yes'").contains("must be true, false, or a list of paths"));
    let many = format!("{:?}", vec!["/a"; 101]);
    assert!(rules(&many).contains("has 101 entries; at most 100 are allowed"));
}

#[test]
fn binding_names_are_taken_once() {
    let folder = Folder::toml(
        "main = 'index.js'\n[vars]\nA = '1'\n[[kv_namespaces]]\nbinding = 'A'\n\
         [assets]\ndirectory = '.'\nbinding = 'A'\n",
    );
    assert_eq!(
        folder.error().lines().collect::<Vec<_>>(),
        [
            "wrangler.toml:5:11: `kv_namespaces[0].binding` names the binding \"A\", which `vars.A` has already taken",
            "wrangler.toml:8:11: `assets.binding` names the binding \"A\", which `vars.A` has already taken",
        ]
    );
}

#[test]
fn keys_that_exclude_each_other_are_refused() {
    assert_eq!(
        message(r#""route": "a.com/*", "routes": []"#),
        "wrangler.jsonc:3:12: `route` cannot stand beside `routes`: keep one of them"
    );
}

#[test]
fn python_workers_are_refused_plainly() {
    let folder = Folder::toml("main = 'worker.py'").file("worker.py", "");
    assert!(folder.error().contains("a Python worker: only JavaScript and TypeScript run here"));
}

#[test]
fn the_first_place_to_look_at_is_given() {
    let error = Folder::jsonc("{ \"main\": 1 }").try_load(None).unwrap_err();
    let location = error.location().unwrap();
    assert_eq!((location.line, location.column), (1, 11));
}
