//! What a module's imports find.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use selvedge_model::ModuleKind;
use serde_json::json;
use support::{Edge, script, version};

#[test]
fn a_bare_name_of_a_node_module_means_it() {
    let source = "import { EventEmitter } from 'events'; import { isDate } from 'util/types'; import { equal } from 'assert/strict';
        import { pipeline } from 'stream/promises'; import { readFile } from 'fs/promises'; import { join } from 'path/posix';
        export default { async fetch() { const { Buffer } = await import('buffer');
          return Response.json([typeof EventEmitter, isDate(new Date()), typeof equal, typeof pipeline, typeof readFile, join('a', 'b'),
            Buffer.from('x').toString('hex')]); } };";
    assert_eq!(
        Edge::start(&script(source)).fetch().json(),
        json!(["function", true, "function", "function", "function", "a/b", "78"])
    );
}

#[test]
fn a_versions_own_module_comes_before_nodes() {
    let version = version(
        &[
            (
                "index.js",
                ModuleKind::EsModule,
                b"import events from 'events'; import { sep } from 'path'; import { util } from './lib/a.js';
                  export default { async fetch() { return Response.json([events, (await import('events')).default, sep, util]); } };",
            ),
            ("events", ModuleKind::EsModule, b"export default 'mine'"),
            ("lib/a.js", ModuleKind::EsModule, b"export { default as util } from 'util';"),
            ("lib/util", ModuleKind::EsModule, b"export default 'mine beside it'"),
        ],
        vec![],
    );
    assert_eq!(Edge::start(&version).fetch().json(), json!(["mine", "mine", "/", "mine beside it"]));
}

#[test]
fn what_is_not_nodes_is_not_found_by_a_bare_name() {
    for name in ["no-such-module", "cloudflare/workers", "sqlite", "test", "core/mod.js"] {
        let source = format!("import {name:?}; export default {{ fetch() {{ }} }}");
        let Err(failure) = Edge::try_start(&script(&source)).1 else {
            panic!("{name} was found");
        };
        let text = serde_json::to_string(&failure).unwrap();
        assert!(text.contains("No such module"), "{text}");
    }
}
