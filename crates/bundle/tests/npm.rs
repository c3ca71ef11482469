//! Packages as npm has them: conditions, CommonJS, `require` of what only the runtime has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Folder, built, code, imports};

#[tokio::test]
async fn a_require_of_a_node_module_becomes_an_import() {
    let folder = Folder::with(&[
        ("index.js", "import { encode } from 'old'; export default { fetch: () => new Response(encode('x')) };"),
        ("node_modules/old/package.json", r#"{"name":"old","main":"./lib"}"#),
        (
            "node_modules/old/lib/index.js",
            "'use strict';\nvar Buffer = require('buffer').Buffer;\nvar EventEmitter = require('events');\n\
             var util = require('node:util');\nvar inherits = require('inherits');\nvar workers = require('cloudflare:workers');\n\
             function Old() {}\nutil.inherits(Old, EventEmitter);\n\
             exports.encode = function (text) { return inherits(new Old(), Buffer.from(text), workers.env); };",
        ),
        ("node_modules/inherits/package.json", r#"{"name":"inherits","main":"inherits.js","browser":"browser.js"}"#),
        ("node_modules/inherits/inherits.js", "throw new Error('the file for Node')"),
        (
            "node_modules/inherits/browser.js",
            "try { require('not-installed'); } catch (_) {}\nmodule.exports = function (a, b, c) { return [a, b, c, 'for browsers']; };",
        ),
    ]);
    let bundle = built(&folder.options("index.js")).await;
    let mut found = imports(&bundle);
    found.sort();
    assert_eq!(found, ["cloudflare:workers", "node:buffer", "node:events", "node:util"]);
    assert!(code(&bundle).contains("for browsers"));
    assert!(!code(&bundle).contains("for Node"));
    let required: Vec<&str> =
        code(&bundle).lines().filter(|line| line.contains("__require(\"") || line.contains(" require(\"")).collect();
    assert_eq!(required.len(), 1, "{required:?}");
    assert!(required[0].contains("not-installed"));
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[tokio::test]
async fn exports_conditions_of_workers_are_chosen() {
    let package = r#"{"name":"many","exports":{".":{"node":"./node.js","workerd":"./workerd.js","default":"./default.js"},
        "./worker":{"worker":{"import":"./worker.js","require":"./bad.js"},"default":"./bad.js"},
        "./browser":{"deno":"./bad.js","browser":"./browser.js","default":"./bad.js"}}}"#;
    let folder = Folder::with(&[
        (
            "index.js",
            "import a from 'many'; import b from 'many/worker'; import c from 'many/browser'; export default [a, b, c];",
        ),
        ("node_modules/many/package.json", package),
        ("node_modules/many/workerd.js", "export default 'for workerd';"),
        ("node_modules/many/worker.js", "export default 'for workers';"),
        ("node_modules/many/browser.js", "export default 'for browsers';"),
        ("node_modules/many/default.js", "export default 'wrong';"),
        ("node_modules/many/bad.js", "export default 'wrong';"),
        ("node_modules/many/node.js", "export default 'wrong';"),
    ]);
    let bundle = built(&folder.options("index.js")).await;
    for text in ["for workerd", "for workers", "for browsers"] {
        assert!(code(&bundle).contains(text), "{text} in {}", code(&bundle));
    }
    assert!(!code(&bundle).contains("wrong"));

    let mut options = folder.options("index.js");
    options.conditions = vec!["node".to_owned()];
    assert!(code(&built(&options).await).contains("wrong"));
}

#[tokio::test]
async fn a_package_brings_its_own_webassembly() {
    let folder = Folder::with(&[
        ("index.js", "import { run } from 'engine'; export default { fetch: () => new Response(run()) };"),
        (
            "node_modules/engine/package.json",
            r#"{"name":"engine","type":"module","exports":{".":"./index.js","./core.wasm":"./bin/core.wasm"}}"#,
        ),
        (
            "node_modules/engine/index.js",
            "import core from 'engine/core.wasm'; export const run = () => new WebAssembly.Instance(core);",
        ),
        ("node_modules/engine/bin/core.wasm", "not checked here"),
    ]);
    let bundle = built(&folder.options("index.js")).await;
    assert_eq!(bundle.modules.len(), 2);
    assert!(bundle.modules[1].name.ends_with("-core.wasm"));
    assert_eq!(imports(&bundle), [bundle.modules[1].name.clone()]);
}

#[tokio::test]
async fn a_package_kept_elsewhere_and_linked_is_found() {
    let folder = Folder::with(&[
        ("app/index.js", "import { shared } from 'shared'; export default shared;"),
        ("packages/shared/package.json", r#"{"name":"shared","main":"src/index.ts"}"#),
        ("packages/shared/src/index.ts", "export const shared: string = 'from the workspace';"),
        ("app/node_modules/keep", ""),
    ]);
    std::os::unix::fs::symlink(folder.path().join("packages/shared"), folder.path().join("app/node_modules/shared"))
        .unwrap();
    let bundle = built(&folder.options("app/index.js")).await;
    assert!(code(&bundle).contains("from the workspace"));
    assert!(bundle.watched.contains(&folder.path().join("packages/shared/src/index.ts")));
}

#[tokio::test]
async fn a_bundled_commonjs_file_keeps_its_variables_apart() {
    let folder = Folder::with(&[
        ("index.js", "import all from 'old'; export default all;"),
        ("node_modules/old/package.json", r#"{"name":"old","main":"main.js"}"#),
        (
            "node_modules/old/main.js",
            "const require_context = require('./context.js');\nconst require_context$1 = require('./api/context.js');\n\
             module.exports = { require_context, other: require_context$1 };",
        ),
        ("node_modules/old/context.js", "exports.one = 1;"),
        ("node_modules/old/api/context.js", "exports.two = 2;"),
    ]);
    let bundle = built(&folder.options("index.js")).await;
    let mut declared: Vec<&str> = code(&bundle)
        .lines()
        .map(str::trim_start)
        .filter_map(|line| line.strip_prefix("const ").or_else(|| line.strip_prefix("var ")))
        .filter_map(|rest| rest.split(" =").next())
        .collect();
    let count = declared.len();
    declared.sort();
    declared.dedup();
    assert_eq!(declared.len(), count, "{}", code(&bundle));
    assert!(code(&bundle).contains("require_context: _require_context"), "{}", code(&bundle));
}
