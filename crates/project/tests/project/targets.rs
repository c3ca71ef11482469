//! What `selvedge dev` is pointed at.

use std::path::Path;

use crate::support::{Folder, secret};
use selvedge_project::{CompatibilityDate, ProjectError, load};

#[test]
fn a_script_is_a_worker_named_after_it() {
    for (file, name) in [
        ("hello.js", "hello"),
        ("Hello World.mjs", "hello-world"),
        ("my_api.v2.ts", "my-api-v2"),
        ("page.tsx", "page"),
        ("page.jsx", "page"),
        ("page.mts", "page"),
    ] {
        let folder = Folder::new().file(file, "").file(".dev.vars", "A=1");
        let project = load(&folder.path(file), None).unwrap();
        assert_eq!(project.name.as_str(), name);
        assert_eq!(project.main, Some(folder.path(file)));
        assert_eq!(Some(project.root.as_path()), folder.path(file).parent());
        assert_eq!(project.config, None);
        assert_eq!(project.compatibility_date, CompatibilityDate::today());
        assert_eq!(secret(&project, "A").unwrap(), "1");
        assert!(project.warnings.is_empty());
    }
}

#[test]
fn a_script_beside_a_config_is_read_without_it() {
    let folder = Folder::jsonc("not a config");
    assert_eq!(load(&folder.path("index.js"), None).unwrap().name.as_str(), "index");
}

#[test]
fn json_comes_before_jsonc_and_toml_and_the_others_are_named() {
    let folder = Folder::new()
        .file("index.js", "")
        .file("wrangler.json", r#"{ "name": "json", "main": "index.js", "compatibility_date": "2025-01-01" }"#)
        .file("wrangler.jsonc", "broken")
        .file("wrangler.toml", "broken");
    let project = folder.load();
    assert_eq!(project.name.as_str(), "json");
    assert_eq!(
        folder.warnings(&project),
        [
            "wrangler.jsonc:1:1: this file is ignored, because wrangler.json is read first",
            "wrangler.toml:1:1: this file is ignored, because wrangler.json is read first",
        ]
    );
}

#[test]
fn a_config_may_be_named_itself_and_have_any_name() {
    let folder = Folder::new()
        .file("index.js", "")
        .file("wrangler.json", "broken")
        .file("other.toml", "name = 'other'\nmain = 'index.js'");
    assert_eq!(load(&folder.path("other.toml"), None).unwrap().name.as_str(), "other");
}

#[test]
fn a_folder_without_a_config_is_a_worker_if_it_has_an_index() {
    for main in ["index.ts", "index.js", "src/index.ts", "src/index.js"] {
        let folder = Folder::new().file(&format!("My App/{main}"), "");
        let project = load(&folder.path("My App"), None).unwrap();
        assert_eq!(project.name.as_str(), "my-app");
        assert_eq!(project.main, Some(folder.path("My App").join(main)));
        assert!(project.inputs.contains(&folder.path("My App/wrangler.jsonc")));
    }
}

#[test]
fn a_folder_with_nothing_says_what_to_add() {
    let folder = Folder::new().file("readme.md", "");
    let error = folder.try_load(None).unwrap_err();
    assert!(matches!(error, ProjectError::NothingToRun { .. }));
    assert!(error.to_string().contains("add one of them, or give the path of the worker's file"));
}

#[test]
fn other_files_and_absent_paths_are_refused_plainly() {
    let folder = Folder::new().file("worker.py", "");
    assert!(matches!(load(&folder.path("worker.py"), None), Err(ProjectError::UnknownFileType { .. })));
    assert!(matches!(load(&folder.path("absent.js"), None), Err(ProjectError::NotFound { .. })));
    assert!(matches!(load(&folder.path("worker.py/x.js"), None), Err(ProjectError::NotFound { .. })));
    assert!(matches!(load(Path::new(""), None), Err(ProjectError::NotFound { .. })));
}
