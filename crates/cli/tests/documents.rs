//! What the documents name is there.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn tests_that_the_specification_names_exist() {
    let spec = read("SPEC.md");
    // Every second piece between backticks is code.
    let named: Vec<(&str, &str)> =
        spec.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    assert!(named.len() > 20);
    let mut file = "";
    for (in_file, test) in named {
        if in_file == "file" {
            continue;
        }
        // `::test` is in the file named before it.
        if !in_file.is_empty() {
            file = in_file;
        }
        let source = read(format!("crates/{file}.rs"));
        assert!(source.contains(&format!("fn {test}(")), "SPEC.md names {file}::{test}, which is not there");
    }
}

/// Where a file may be that a document names: from the root, from `crates/`, or from a crate's sources. A name without a
/// folder is that of a file beside the one named before it.
fn places_of(named: &str, before: &Path) -> Vec<PathBuf> {
    let Some((name, rest)) = named.split_once('/') else {
        return vec![before.with_file_name(named)];
    };
    let crates = root().join("crates");
    vec![root().join(named), crates.join(named), crates.join(name).join("src").join(rest)]
}

#[test]
fn sources_that_the_documents_name_exist() {
    for document in ["SPEC.md", "ARCHITECTURE.md"] {
        let text = read(document);
        let (mut count, mut before) = (0, PathBuf::new());
        for named in text.split('`').skip(1).step_by(2).filter(|code| code.ends_with(".rs")) {
            // Every crate has one.
            if ["lib.rs", ".rs"].contains(&named) {
                continue;
            }
            let found = places_of(named, &before).into_iter().find(|place| place.is_file());
            before = found.unwrap_or_else(|| panic!("{document} names {named}, which is not there"));
            count += 1;
        }
        assert!(count > 10, "{document} names {count} sources");
    }
}

#[test]
fn files_that_the_documents_link_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "SPEC.md", "CONTRIBUTING.md"] {
        for link in read(document).split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.contains("://") || target == "bench/RESULTS.md" {
                continue;
            }
            assert!(root().join(target).exists(), "{document} links {target}, which is not there");
        }
    }
}

#[test]
fn the_table_of_flags_is_that_of_the_program() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_selvedge")).args(["dev", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let readme = read("README.md");
    let flags: Vec<&str> = help
        .split_whitespace()
        .map(|word| word.trim_end_matches(','))
        .filter(|word| word.starts_with("--") && !["--help", "--version"].contains(word))
        .collect();
    assert!(flags.len() > 5);
    for flag in flags {
        assert!(readme.contains(flag), "README.md does not name {flag}");
    }
}
