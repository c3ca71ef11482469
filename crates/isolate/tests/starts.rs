//! What a start tells: what the worker answers to, or why it does not start.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use selvedge_model::{Exception, Failure, LimitName, ModuleKind, Version};
use serde_json::{Value, json};
use support::{Edge, script, version};

fn handlers(version: &Version) -> (Value, Value) {
    let loaded = Edge::try_start(version).1.unwrap();
    let named = loaded.named_handlers.iter().map(|named| (named.name.clone(), json!(named.handlers)));
    (json!(loaded.handlers), Value::Object(named.collect()))
}

#[test]
fn handlers_are_those_of_every_export() {
    let source = r#"
      import { DurableObject, RpcTarget, WorkerEntrypoint, WorkflowEntrypoint } from "cloudflare:workers";
      import { NonRetryableError } from "cloudflare:workflows";
      export class Counter extends DurableObject { increment() {} fetch() {} }
      export class Old { constructor(state) {} fetch() {} }
      export class OldToo { constructor(state) {} }
      export class Flow extends WorkflowEntrypoint { run() { throw new NonRetryableError("no"); } }
      export class Admin extends WorkerEntrypoint { fetch() {} #hidden() {} add() {} get value() { throw 1; } }
      export const api = { fetch() {}, scheduled: 1, queue: () => {} };
      export const settings = { a: 1 };
      export const hostile = { get fetch() { throw new Error("mine"); } };
      export function helper() {}
      export const arrow = () => {};
      export const number = 1, nothing = null;
      export default { async fetch() {}, scheduled() {}, tail: undefined, queue: "no", email() {}, helper() {} };"#;
    assert_eq!(
        handlers(&script(source)),
        (
            json!(["fetch", "scheduled", "email"]),
            json!({ "Counter": ["class"], "Old": ["fetch"], "OldToo": ["class"], "Flow": ["class"], "Admin": ["fetch", "add"], "api": ["fetch", "queue"] })
        )
    );
}

#[test]
fn handlers_of_each_form_of_default_export() {
    let none = || (json!([]), json!({}));
    let class = |body: &str| {
        handlers(&script(&format!(
            "import {{ WorkerEntrypoint }} from 'cloudflare:workers'; class Base extends WorkerEntrypoint {{ scheduled() {{}} }} export default class extends Base {{ {body} }}"
        )))
    };
    assert_eq!(class("fetch() {}").0, json!(["fetch", "scheduled"]));
    assert_eq!(class("add() {} static no() {}").0, json!(["scheduled", "add"]));
    let of = |source: &str| handlers(&script(source));
    assert_eq!(of("class App { fetch = () => {}; } export default new App();").0, json!(["fetch"]));
    assert_eq!(of("export default { add() {}, value: 1 };").0, json!(["add"]));
    for nothing in [
        "export default {};",
        "export const a = 1;",
        "",
        "export default () => {};",
        "export default 5; export { default as b } from './b.js';",
    ] {
        let version = version(
            &[
                ("index.js", ModuleKind::EsModule, nothing.as_bytes()),
                ("b.js", ModuleKind::EsModule, b"export default null"),
            ],
            vec![],
        );
        assert_eq!(handlers(&version), none(), "{nothing}");
    }
    let of = |source: &str| handlers(&version(&[("index.js", ModuleKind::Script, source.as_bytes())], vec![]));
    assert_eq!(of("addEventListener('fetch', () => {}); addEventListener('scheduled', () => {}); addEventListener('error', () => {});").0, json!(["fetch", "scheduled"]));
    assert_eq!(of("1;"), none());
}

fn failure(version: &Version) -> Exception {
    match Edge::try_start(version).1 {
        Err(Failure::Exception { exception, .. }) => exception,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_that_fails_says_what_and_where() {
    for (source, name, message, place) in [
        ("\nthrow new RangeError('top');", "RangeError", "top", "index.js:2:7"),
        ("\n\n  missing();", "ReferenceError", "missing is not defined", "index.js:3:3"),
        ("let a;\nlet a;", "SyntaxError", "Identifier 'a' has already been declared", "index.js:2:5"),
        ("export default {\n  fetch( {\n};", "SyntaxError", "", "index.js:"),
        (
            "import { no } from './other.js';",
            "SyntaxError",
            "'./other.js' does not provide an export named 'no'",
            "index.js:1:10",
        ),
        ("import './absent.js';", "TypeError", "No such module \"./absent.js\"", "index.js"),
        ("import 'cloudflare:absent';", "TypeError", "No such module \"cloudflare:absent\"", ""),
        (
            "import './other.js';\nawait Promise.reject(new TypeError('awaited'));",
            "TypeError",
            "awaited",
            "index.js:2:",
        ),
        ("import './throws.js';", "Error", "inner", "throws.js:1:"),
        ("throw 'text';", "Error", "text", ""),
        ("throw null;", "Error", "null", ""),
        ("throw { message: 'plain' };", "Error", "#<Object>", ""),
        ("await fetch('http://a.test/');", "", "Disallowed operation called within global scope", "index.js:1:"),
        ("class E extends Error { get stack() { throw 1; } } throw new E('hides');", "Error", "hides", ""),
    ] {
        let version = version(
            &[
                ("index.js", ModuleKind::EsModule, source.as_bytes()),
                ("other.js", ModuleKind::EsModule, b"export {}"),
                ("throws.js", ModuleKind::EsModule, b"throw new Error('inner');"),
            ],
            vec![],
        );
        let exception = failure(&version);
        assert!(name.is_empty() || exception.name == name, "{source}: {exception:?}");
        assert!(exception.message.contains(message), "{source}: {exception:?}");
        assert!(exception.stack.contains(place), "{source}: {exception:?}");
        assert!(exception.stack.contains(message), "{source}: {exception:?}");
    }
    let version = version(&[("index.js", ModuleKind::Script, b"\nlet a = ;")], vec![]);
    let exception = failure(&version);
    assert_eq!(exception.name, "SyntaxError");
    assert!(exception.stack.contains("index.js:2:9"), "{exception:?}");
}

#[test]
fn a_start_that_takes_too_long_names_the_limit_and_the_place() {
    let mut version = script("\nfor (;;);");
    version.manifest.limits.startup_ms = 50;
    let Err(Failure::Limit { error }) = Edge::try_start(&version).1 else {
        panic!();
    };
    assert_eq!((error.limit, error.allowed), (LimitName::StartupMs, 50));
    assert_eq!(error.place.map(|place| (place.file, place.line)), Some(("index.js".into(), 2)));
    let Err(Failure::Exception { exception, .. }) = Edge::try_start(&script("await new Promise(() => {});")).1 else {
        panic!();
    };
    assert!(exception.message.contains("Top-level await"), "{exception:?}");
}
