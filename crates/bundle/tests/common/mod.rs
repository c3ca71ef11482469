//! What the tests of whole builds share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use selvedge_bundle::{Bundle, BundleError, BundleOptions, Diagnostic, bundle};

pub fn fixture(name: &str, entry: &str) -> BundleOptions {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    BundleOptions::new(root, entry)
}

pub async fn built(options: &BundleOptions) -> Bundle {
    match bundle(options).await {
        Ok(bundle) => bundle,
        Err(error) => panic!("{}", error.report()),
    }
}

pub async fn diagnostics(options: &BundleOptions) -> Vec<Diagnostic> {
    match bundle(options).await {
        Err(BundleError::Build { diagnostics, .. }) => diagnostics,
        other => panic!("{other:?}"),
    }
}

pub fn code(bundle: &Bundle) -> &str {
    std::str::from_utf8(&bundle.main_module().unwrap().body).unwrap()
}

/// The specifiers that the main module imports statically.
pub fn imports(bundle: &Bundle) -> Vec<String> {
    let lines = code(bundle).lines();
    let statements = lines.filter(|line| line.starts_with("import "));
    statements.filter_map(|line| line.split('"').nth(1).map(str::to_owned)).collect()
}

/// A folder with the given files, gone at the end of the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub fn options(&self, entry: &str) -> BundleOptions {
        BundleOptions::new(self.path(), entry)
    }
}
