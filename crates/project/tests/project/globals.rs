//! Files that workers in the service-worker form have as globals.

use selvedge_project::{FileKind, identify};

use crate::support::Folder;

const CONFIG: &str = "name = 'old'\nmain = 'index.js'\ncompatibility_date = '2025-01-01'\n";

#[test]
fn files_are_found_from_the_configs_folder() {
    let folder = Folder::toml(&format!(
        "{CONFIG}wasm_modules = {{ ADD = 'lib/add.wasm' }}\ntext_blobs = {{ PAGE = './page.html' }}\n\
         data_blobs = {{ DATA = 'data' }}\n"
    ))
    .file("lib/add.wasm", "")
    .file("page.html", "")
    .file("data", "");
    let project = folder.load();
    let found: Vec<_> = project.globals.iter().map(|file| (file.name.as_str(), file.kind, file.path.clone())).collect();
    let expected = [
        ("ADD", FileKind::Wasm, folder.path("lib/add.wasm")),
        ("PAGE", FileKind::Text, folder.path("page.html")),
        ("DATA", FileKind::Data, folder.path("data")),
    ];
    assert_eq!(found, expected);
    assert!(project.unavailable.is_empty());
    assert_eq!(folder.warnings(&project), Vec::<String>::new());
}

#[test]
fn in_an_environment_they_are_not_read() {
    let folder = Folder::toml(&format!("{CONFIG}[env.test.text_blobs]\nPAGE = 'page.html'\n")).file("page.html", "");
    let project = folder.load_env("test");
    assert!(project.globals.is_empty());
    assert!(folder.warnings(&project)[0].contains("`env.test.text_blobs` belongs at the top level"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    for (line, said) in [
        ("data_blobs = { A = 'absent' }", "`data_blobs.A` is \"absent\", but there is no file absent"),
        ("text_blobs = { A = '.' }", "`text_blobs.A` is \".\", but there is no file"),
        ("wasm_modules = { A = '../../../../../../../../etc/passwd' }", "`wasm_modules.A` is"),
        ("text_blobs = { A = 'link' }", "which leads out of"),
        ("text_blobs = { A = 5 }", "`text_blobs.A` must be a string that is not empty, found the number 5"),
        ("text_blobs = ['index.js']", "`text_blobs` must be an object, found a list"),
        ("text_blobs = { 'a b' = 'index.js' }", "is not a valid name"),
        ("text_blobs = { '../../a' = 'index.js' }", "'/' is not allowed"),
        ("text_blobs = { 'a\\b' = 'index.js' }", "is not allowed"),
        ("text_blobs = { '..' = 'index.js' }", "it starts with '.'"),
    ] {
        let folder = Folder::toml(&format!("{CONFIG}{line}\n")).link("link", "/etc/passwd");
        let error = folder.error();
        assert!(error.starts_with("wrangler.toml:4:") && error.contains(said), "{line}: {error}");
    }
}

#[test]
fn a_name_is_bound_once_in_every_environment() {
    let folder = Folder::toml(&format!(
        "{CONFIG}text_blobs = {{ A = 'index.js' }}\ndata_blobs = {{ A = 'index.js' }}\n[env.test.vars]\nA = '1'\n"
    ));
    assert_eq!(
        folder.error(),
        "wrangler.toml:5:20: `data_blobs.A` names the binding \"A\", which `text_blobs.A` has already taken"
    );
    let error = folder.try_load(Some("test")).unwrap_err().to_string();
    assert!(error.contains("which `env.test.vars.A` has already taken"), "{error}");
}

#[test]
fn a_secret_of_this_machine_does_not_take_a_files_name() {
    let folder = Folder::toml(&format!("{CONFIG}text_blobs = {{ A = 'index.js' }}\n")).file(".dev.vars", "A=mine\n");
    let project = folder.load();
    assert!(project.secrets.is_empty());
    let said = ["wrangler.toml:1:1: `A` is ignored, because `text_blobs.A` already binds that name"];
    assert_eq!(folder.warnings(&project), said);
}

#[test]
fn without_a_worker_there_is_nothing_to_have_them() {
    let config = "compatibility_date = '2025-01-01'\nassets.directory = 'public'\ntext_blobs = { A = 'index.js' }\n";
    let folder = Folder::toml(config).folder("public");
    assert_eq!(folder.error(), "wrangler.toml:3:20: `text_blobs.A` needs a worker: add `main`, or remove it");
}

#[test]
fn a_worker_has_its_name_before_it_has_its_globals() {
    let folder = Folder::toml(&format!("{CONFIG}wasm_modules = {{ ADD = 'built/later.wasm' }}\n"));
    assert_eq!(identify(&folder.path(""), None).unwrap().name.as_str(), "old");
}
