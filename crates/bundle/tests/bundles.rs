//! Whole builds of workers as people write them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Folder, built, code, diagnostics, fixture, imports};
use selvedge_bundle::{Format, Jsx, Mode, ModuleKind, Rule, SourceMap, map_stack};

#[tokio::test]
async fn typescript_is_compiled_with_its_tsconfig() {
    let bundle = built(&fixture("typescript", "index.ts")).await;
    let code = code(&bundle);
    assert_eq!(bundle.main, "index.js");
    assert_eq!(bundle.format, Format::Modules);
    assert_eq!(bundle.exports, ["Greeter", "Named", "default"]);
    assert!(code.contains("hello ${"), "{code}");
    assert!(code.contains("green"), "{code}");
    assert!(code.contains("1.2.3"), "{code}");
    assert!(code.contains("logged"), "{code}");
    assert!(!code.contains("interface"), "{code}");
    assert!(!code.contains("@logged"), "{code}");
    assert!(!code.contains("not in the output"), "{code}");
    assert!(imports(&bundle).is_empty(), "{code}");
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[tokio::test]
async fn every_file_that_took_part_is_watched() {
    let options = fixture("typescript", "index.ts");
    let bundle = built(&options).await;
    let root = options.root.canonicalize().unwrap();
    let names: Vec<&str> =
        bundle.watched.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
    let expected = ["barrel.ts", "config.json", "index.ts", "lib/greeting.ts", "tsconfig.json", "types.ts"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_stack_leads_back_to_the_typescript() {
    let bundle = built(&fixture("typescript", "index.ts")).await;
    let map = SourceMap::parse(bundle.main_module().unwrap().source_map.as_ref().unwrap()).unwrap();
    let line = code(&bundle).lines().position(|line| line.contains("nobody to greet")).unwrap();
    let column = code(&bundle).lines().nth(line).unwrap().find("new Error").unwrap();
    let stack = format!("Error: nobody to greet\n    at greeting (index.js:{}:{})", line + 1, column + 1);
    let mapped = map_stack(&stack, |module, line, column| {
        assert_eq!(module, "index.js");
        map.original_position(line, column)
    });
    assert_eq!(mapped, "Error: nobody to greet\n    at greeting (lib/greeting.ts:8:11)");
    assert!(bundle.main_module().unwrap().source_map.as_ref().unwrap().contains("enum Level"));
}

#[tokio::test]
async fn jsx_calls_react_where_nothing_says_otherwise() {
    for entry in ["index.jsx", "plain.js"] {
        let bundle = built(&fixture("jsx", entry)).await;
        assert!(code(&bundle).contains("React.createElement(\"p\""), "{}", code(&bundle));
        assert!(imports(&bundle).is_empty());
    }
}

#[tokio::test]
async fn jsx_takes_its_runtime_from_tsconfig_and_from_the_options() {
    let folder = Folder::with(&[
        ("tsconfig.json", r#"{"compilerOptions":{"jsx":"react-jsx","jsxImportSource":"tiny"}}"#),
        ("index.tsx", "export default { fetch: () => new Response(<p>x</p>) };"),
        ("node_modules/tiny/package.json", r#"{"name":"tiny","exports":{"./jsx-runtime":"./jsx.js"}}"#),
        ("node_modules/tiny/jsx.js", "export const jsx = (tag) => 'tiny ' + tag;"),
    ]);
    let mut options = folder.options("index.tsx");
    assert!(code(&built(&options).await).contains("tiny "));

    options.jsx = Jsx::Classic { factory: "h".to_owned(), fragment: "F".to_owned() };
    assert!(code(&built(&options).await).contains("h(\"p\""));
}

#[tokio::test]
async fn files_become_modules_of_their_own() {
    let bundle = built(&fixture("assets", "index.ts")).await;
    let mut found: Vec<(ModuleKind, &[u8])> = Vec::new();
    for module in &bundle.modules[1..] {
        let hash = module.name.strip_prefix("./").unwrap().split_once('-').unwrap().0;
        assert!(hash.len() == 40, "{}", module.name);
        assert!(imports(&bundle).contains(&module.name), "{}", code(&bundle));
        found.push((module.kind, &module.body));
    }
    found.sort_by_key(|(_, body)| body.to_vec());
    let expected: [(ModuleKind, &[u8]); 5] = [
        (ModuleKind::Data, b"\x00\x01\xfe\xff"),
        (ModuleKind::Wasm, b"\x00asm\x01\x00\x00\x00"),
        (ModuleKind::Text, b"<h1>page</h1>\n"),
        (ModuleKind::Text, b"SELECT 1\n"),
        (ModuleKind::Text, "hello, wörld\n".as_bytes()),
    ];
    assert_eq!(found, expected);
    assert!(code(&bundle).contains("inlined-name"));
}

#[tokio::test]
async fn a_rule_of_the_configuration_makes_modules_too() {
    let mut options = fixture("assets", "markdown.ts");
    options.rules = vec![Rule { kind: ModuleKind::Text, globs: vec!["**/*.md".to_owned()], fallthrough: false }];
    let bundle = built(&options).await;
    assert_eq!(bundle.modules.len(), 2);
    assert!(bundle.modules[1].name.ends_with("-README.md"));
}

#[tokio::test]
async fn modules_of_the_runtime_are_imported_from_it() {
    let bundle = built(&fixture("runtime_modules", "index.ts")).await;
    let mut found = imports(&bundle);
    found.sort();
    let expected = ["cloudflare:workers", "node:buffer", "node:crypto", "node:fs/promises"];
    assert_eq!(found, expected);
    assert!(code(&bundle).contains("import(\"node:path\")"), "{}", code(&bundle));
    assert_eq!(bundle.exports, ["Counter", "default"]);
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[tokio::test]
async fn a_service_worker_stays_one() {
    let bundle = built(&fixture("service_worker", "index.js")).await;
    assert_eq!(bundle.format, Format::ServiceWorker);
    assert!(bundle.exports.is_empty());
    assert!(code(&bundle).contains("addEventListener(\"fetch\""));
    assert!(code(&bundle).contains("from a service worker"));
    assert!(!code(&bundle).contains("export "));
}

#[tokio::test]
async fn a_service_worker_has_its_files_as_globals() {
    let folder = Folder::with(&[
        (
            "index.js",
            "import note from './a note.txt';\nimport { data } from './lib/data.ts';\n\
             addEventListener('fetch', (event) => event.respondWith(new Response(note + data.byteLength)));",
        ),
        ("lib/data.ts", "import bytes from '../data.bin';\nexport const data: ArrayBuffer = bytes;"),
        ("a note.txt", "Grüße"),
        ("data.bin", "1234"),
    ]);
    let mut options = folder.options("index.js");
    for minify in [false, true] {
        options.minify = minify;
        let bundle = built(&options).await;
        assert_eq!(bundle.format, Format::ServiceWorker);
        assert!(!code(&bundle).contains("import"), "{}", code(&bundle));
        let mut found: Vec<(&str, ModuleKind, &[u8])> = Vec::new();
        for module in &bundle.modules[1..] {
            assert!(code(&bundle).contains(&module.name), "{}", code(&bundle));
            let (hash, rest) = module.name.strip_prefix("__").unwrap().split_at(40);
            assert!(hash.chars().all(|letter| letter.is_ascii_hexdigit()), "{}", module.name);
            found.push((rest, module.kind, &module.body));
        }
        found.sort_by_key(|(rest, ..)| *rest);
        let expected: [(&str, ModuleKind, &[u8]); 2] =
            [("_a_note_txt", ModuleKind::Text, "Grüße".as_bytes()), ("_data_bin", ModuleKind::Data, b"1234")];
        assert_eq!(found, expected);
        for file in ["index.js", "lib/data.ts", "a note.txt", "data.bin"] {
            assert!(bundle.watched.contains(&folder.path().join(file)), "{:?}", bundle.watched);
        }
    }
}

#[tokio::test]
async fn a_dynamic_import_of_an_own_file_is_in_the_main_module() {
    let bundle = built(&fixture("dynamic", "index.ts")).await;
    assert_eq!(bundle.modules.len(), 1);
    assert!(code(&bundle).contains("loaded later"));
    assert!(!code(&bundle).contains("import("), "{}", code(&bundle));
}

#[tokio::test]
async fn every_variable_of_one_export_is_exported() {
    let folder = Folder::with(&[(
        "index.js",
        "export const first = class {}, second = () => 2;\nexport let { third, x: [fourth] } = { third: 3, x: [4] }, fifth;",
    )]);
    let bundle = built(&folder.options("index.js")).await;
    assert_eq!(bundle.exports, ["fifth", "first", "fourth", "second", "third"]);
}

#[tokio::test]
async fn names_survive_bundling_and_minifying() {
    let folder = Folder::with(&[
        ("a.js", "class Thing {}\nexport const a = new Thing();"),
        (
            "index.js",
            "import { a } from './a.js';\nclass Thing { x() { return a; } }\nexport default { fetch: () => new Response(a.constructor.name + new Thing().constructor.name) };",
        ),
    ]);
    let mut options = folder.options("index.js");
    let bundle = built(&options).await;
    assert!(code(&bundle).contains("__name(this, \"Thing\")"), "{}", code(&bundle));

    options.minify = true;
    let minified = built(&options).await;
    assert!(code(&minified).len() < code(&bundle).len());
    assert!(code(&minified).contains("Thing"), "{}", code(&minified));

    (options.minify, options.keep_names) = (false, false);
    let bundle = built(&options).await;
    assert!(!code(&bundle).contains("__name("), "{}", code(&bundle));
}

#[tokio::test]
async fn globals_are_replaced() {
    let folder = Folder::with(&[(
        "index.js",
        "export default { mode: process.env.NODE_ENV, version: VERSION, agent: navigator.userAgent,\
         dead: process.env.NODE_ENV === 'development' ? 'debug-only' : 'live' };",
    )]);
    let mut options = folder.options("index.js");
    options.define.insert("VERSION".to_owned(), "\"v9\"".to_owned());
    options.mode = Mode::Production;
    let bundle = built(&options).await;
    for text in ["mode: \"production\"", "version: \"v9\"", "agent: \"Cloudflare-Workers\"", "live"] {
        assert!(code(&bundle).contains(text), "{text} in {}", code(&bundle));
    }
    assert!(!code(&bundle).contains("debug-only"));
}

#[tokio::test]
async fn an_alias_replaces_a_whole_specifier() {
    let folder = Folder::with(&[
        ("src/index.js", "import a from 'real'; import b from 'gone'; export default [a, b.sep];"),
        ("mocks/real.js", "export default 'mocked';"),
    ]);
    let mut options = folder.options("src/index.js");
    options.alias.insert("real".to_owned(), "./mocks/real.js".to_owned());
    options.alias.insert("gone".to_owned(), "path".to_owned());
    let bundle = built(&options).await;
    assert!(code(&bundle).contains("mocked"));
    assert_eq!(imports(&bundle), ["node:path"]);
}

#[tokio::test]
async fn without_bundling_files_stay_as_they_are() {
    let mut options = fixture("plain", "index.js");
    options.no_bundle = true;
    options.rules = vec![Rule { kind: ModuleKind::EsModule, globs: vec!["**/*.mjs".to_owned()], fallthrough: false }];
    let bundle = built(&options).await;
    let names: Vec<(&str, ModuleKind)> =
        bundle.modules.iter().map(|module| (module.name.as_str(), module.kind)).collect();
    let expected = [
        ("index.js", ModuleKind::EsModule),
        ("lib/helper.mjs", ModuleKind::EsModule),
        ("lib/note.txt", ModuleKind::Text),
    ];
    assert_eq!(names, expected);
    assert_eq!(bundle.exports, ["default", "other"]);
    let original = std::fs::read(options.root.join("index.js")).unwrap();
    assert_eq!(bundle.main_module().unwrap().body, original);

    options.entry = "listener.js".into();
    assert_eq!(built(&options).await.format, Format::ServiceWorker);
}

#[tokio::test]
async fn files_that_rules_match_are_modules_under_their_own_names() {
    let folder = Folder::with(&[
        (
            "src/index.ts",
            "import './lib/first.mjs';\nimport { text } from './inner/reader.ts';\n\
             export default { fetch: (request: Request, env: any) => import(env.NAME), text };",
        ),
        ("src/inner/reader.ts", "import note from '../lib/note.txt';\nexport const text: string = note;"),
        ("src/lib/first.mjs", "globalThis.first = true;"),
        ("src/lib/deep/one.mjs", "export default 1;"),
        ("src/lib/note.txt", "noted"),
        ("src/index.js", "compiled before"),
        ("src/node_modules/pkg/two.mjs", "export default 2;"),
    ]);
    let mut options = folder.options("src/index.ts");
    options.rules = vec![Rule {
        kind: ModuleKind::EsModule,
        globs: vec!["**/*.mjs".to_owned(), "**/*.js".to_owned()],
        fallthrough: true,
    }];
    options.find_additional_modules = Some(true);
    let bundle = built(&options).await;
    let names: Vec<&str> = bundle.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["index.js", "lib/deep/one.mjs", "lib/first.mjs", "lib/note.txt"]);
    assert_eq!(bundle.modules[1].body, "export default 1;");
    let mut found = imports(&bundle);
    found.sort();
    assert_eq!(found, ["./lib/first.mjs", "./lib/note.txt"], "{}", code(&bundle));
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
    assert!(bundle.watched.contains(&folder.path().join("src/lib/deep/one.mjs")));

    // Names start from another folder.
    options.modules_folder = Some(".".into());
    let bundle = built(&options).await;
    assert!(bundle.modules.iter().any(|module| module.name == "src/lib/deep/one.mjs"));
}

#[tokio::test]
async fn a_computed_import_chooses_among_the_files_that_it_can_mean() {
    let folder = Folder::with(&[
        (
            "src/index.ts",
            "const before = 1\nimport(`./lang/${before}.mjs` as string)\n\
             export default { fetch: (name: string) => import('./lang/' + name + '.mjs') };\n// The end.",
        ),
        ("src/lang/de.mjs", "export default 'Guten Tag';"),
        ("src/lang/far/en.mjs", "export default 'Good day';"),
        ("src/lang/none.md", "not a module"),
    ]);
    let bundle = built(&folder.options("src/index.ts")).await;
    let code = code(&bundle);
    for text in ["Guten Tag", "Good day", "\"./lang/de.mjs\"", "\"./lang/far/en.mjs\"", "Module not found in bundle"] {
        assert!(code.contains(text), "{text} in {code}");
    }
    assert!(!code.contains("import("), "{code}");
    assert_eq!(bundle.modules.len(), 1);
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[tokio::test]
async fn a_computed_import_that_nothing_answers_is_warned_of() {
    let folder = Folder::with(&[(
        "index.js",
        "export default {\n  a: (name) => import(name),\n  b: (name) => import(`./gone/${name}.js`),\n  \
         c: (name) => import(/* @vite-ignore */ name),\n  d: (name) => import(`node:${name}`),\n};",
    )]);
    let bundle = built(&folder.options("index.js")).await;
    assert_eq!(bundle.warnings.len(), 2, "{:?}", bundle.warnings);
    assert!(bundle.warnings[0].starts_with("index.js:2:16: what this imports"), "{}", bundle.warnings[0]);
    assert!(bundle.warnings[1].starts_with("index.js:3:16: no file matches"), "{}", bundle.warnings[1]);
}

#[tokio::test]
async fn a_script_that_needs_an_import_is_refused() {
    let text = "import { createHash } from 'node:crypto';\naddEventListener('fetch', () => createHash('sha256'));";
    let folder = Folder::with(&[("index.js", text)]);
    let mut options = folder.options("index.js");
    for no_bundle in [false, true] {
        options.no_bundle = no_bundle;
        let found = diagnostics(&options).await;
        assert!(found[0].message.contains("\"node:crypto\""), "{found:?}");
        assert_eq!(found[0].file.as_deref(), Some("index.js"));
    }
}
