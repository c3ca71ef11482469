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
