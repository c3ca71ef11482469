//! What the author of a worker is told when it cannot be built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{Folder, built, diagnostics, fixture};
use selvedge_bundle::{BundleError, Diagnostic, bundle};

fn place(diagnostic: &Diagnostic) -> (Option<&str>, Option<u32>, Option<u32>) {
    (diagnostic.file.as_deref(), diagnostic.line, diagnostic.column)
}

#[tokio::test]
async fn a_syntax_error_has_its_place_and_a_frame() {
    let found = diagnostics(&fixture("broken", "syntax.ts")).await;
    assert_eq!(found.len(), 1);
    assert_eq!(place(&found[0]), (Some("syntax.ts"), Some(4), Some(42)));
    assert!(found[0].message.contains("Expected"), "{}", found[0].message);
    let frame = "  2 | \n  3 | export default {\n> 4 |   fetch() { return new Response(greeting ; }\n    |                                          ^\n  5 | };";
    assert_eq!(found[0].frame.as_deref().unwrap(), frame.replace("| \n", "|\n"));
}

#[tokio::test]
async fn an_import_of_a_file_that_is_not_there_is_an_error() {
    let found = diagnostics(&fixture("broken", "unresolved.ts")).await;
    assert_eq!(found.len(), 1);
    assert_eq!(place(&found[0]), (Some("unresolved.ts"), Some(1), Some(25)));
    assert_eq!(found[0].message, "could not resolve \"./missing\"");
}

#[tokio::test]
async fn a_package_that_is_not_installed_is_named_with_the_command() {
    let found = diagnostics(&fixture("broken", "uninstalled.ts")).await;
    let hints: Vec<&str> = found.iter().map(|one| one.hint.as_deref().unwrap()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(hints.iter().any(|hint| hint.ends_with("npm install left-pad")), "{hints:?}");
    assert!(hints.iter().any(|hint| hint.ends_with("npm install @scope/package")), "{hints:?}");
}

#[tokio::test]
async fn a_dynamic_import_of_an_absent_package_is_a_warning() {
    let folder = Folder::with(&[(
        "index.js",
        "export default { fetch: async () => new Response(await import('absent').catch(() => 'none')) };",
    )]);
    let bundle = built(&folder.options("index.js")).await;
    assert_eq!(bundle.warnings.len(), 1);
    assert!(bundle.warnings[0].contains("\"absent\""), "{}", bundle.warnings[0]);
}

#[tokio::test]
async fn a_tsconfig_that_cannot_be_used_is_named() {
    let folder = Folder::with(&[
        ("index.ts", "export default { fetch: () => new Response('x' as string) };"),
        ("tsconfig.json", r#"{ "extends": "./base.json" }"#),
    ]);
    let mut options = folder.options("index.ts");
    let bundle = built(&options).await;
    assert_eq!(bundle.warnings, ["tsconfig.json: base.json does not exist"]);

    options.tsconfig = Some("tsconfig.json".into());
    let found = diagnostics(&options).await;
    assert_eq!(found[0].to_string(), "tsconfig.json: base.json does not exist");
}

#[tokio::test]
async fn an_export_that_is_not_there_is_an_error() {
    let found = diagnostics(&fixture("broken", "export.ts")).await;
    assert_eq!(found.len(), 1);
    assert_eq!(place(&found[0]), (Some("export.ts"), Some(1), Some(19)));
    assert!(found[0].message.contains("\"absent\" is not exported by \"exporter.ts\""));
}

#[tokio::test]
async fn broken_json_has_its_place() {
    let found = diagnostics(&fixture("broken", "json.ts")).await;
    assert_eq!(place(&found[0]), (Some("broken.json"), Some(3), Some(3)));
}

#[tokio::test]
async fn a_decorator_v8_does_not_know_is_an_error_here() {
    let found = diagnostics(&fixture("broken", "decorator.ts")).await;
    assert_eq!(place(&found[0]), (Some("decorator.ts"), Some(6), Some(3)));
    assert!(found[0].hint.as_deref().unwrap().contains("experimentalDecorators"));
}

#[tokio::test]
async fn a_failed_build_says_what_to_watch() {
    let options = fixture("broken", "json.ts");
    let Err(BundleError::Build { watched, .. }) = bundle(&options).await else {
        panic!("it is broken");
    };
    let root = options.root.canonicalize().unwrap();
    assert!(watched.contains(&root.join("broken.json")), "{watched:?}");
    assert!(watched.contains(&root.join("json.ts")), "{watched:?}");
}

#[tokio::test]
async fn broken_code_taken_as_it_is_has_its_place_too() {
    let folder = Folder::with(&[("index.js", "const a = 1;\nexport default {")]);
    let mut options = folder.options("index.js");
    options.no_bundle = true;
    let found = diagnostics(&options).await;
    assert_eq!(found[0].file.as_deref(), Some("index.js"));
    assert_eq!(found[0].line, Some(2));
}

#[tokio::test]
async fn an_entry_that_is_not_there_is_named() {
    let error = bundle(&fixture("broken", "nothing.ts")).await.unwrap_err();
    assert!(matches!(&error, BundleError::EntryMissing { path } if path.ends_with("nothing.ts")));
}

#[tokio::test]
async fn modules_past_the_size_allowed_are_refused() {
    let mut options = fixture("assets", "index.ts");
    options.size_max_bytes = 16;
    let error = bundle(&options).await.unwrap_err();
    assert!(matches!(error, BundleError::TooLarge { max_bytes: 16, .. }), "{error:?}");

    options.entry = "index.ts".into();
    options.size_max_bytes = 100;
    let error = bundle(&options).await.unwrap_err();
    assert!(matches!(error, BundleError::TooLarge { max_bytes: 100, .. }), "{error:?}");
}

#[tokio::test]
async fn a_build_past_its_time_is_given_up() {
    let mut options = fixture("typescript", "index.ts");
    options.time_max = Duration::ZERO;
    let error = bundle(&options).await.unwrap_err();
    assert!(matches!(error, BundleError::TimedOut { .. }), "{error:?}");
    // The next one is not disturbed.
    built(&fixture("typescript", "index.ts")).await;
}

#[tokio::test]
async fn code_nested_thousands_deep_does_not_end_the_process() {
    let depth = 3_000;
    let text = format!("export default {}1{};", "[".repeat(depth), "]".repeat(depth));
    let folder = Folder::with(&[("index.js", text.as_str())]);
    built(&folder.options("index.js")).await;
}
