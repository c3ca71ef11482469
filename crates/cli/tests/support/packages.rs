//! Packages from npm that tests use: installed once for each state of a lock file, and kept in the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What an uninstalled Node.js means.
pub const NEEDED: &str =
    "these tests need Node.js 20 or newer with npm on the PATH (README.md, \"What a machine needs\")";

/// The folder with the `node_modules` that `fixtures/package-lock.json` asks for.
pub fn installed(fixtures: &Path) -> PathBuf {
    let lock = std::fs::read(fixtures.join("package-lock.json")).unwrap();
    let name = fixtures.file_name().unwrap().to_str().unwrap();
    let hash = blake3::hash(&lock).to_hex();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("{name}-{}", &hash[..16]));
    if !folder.exists() {
        install(fixtures, target, &folder);
    }
    folder
}

/// Installs beside `folder` and renames, so that a folder of that name is always complete.
fn install(fixtures: &Path, target: &Path, folder: &Path) {
    let fresh = tempfile::tempdir_in(target).unwrap();
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(fixtures.join(name), fresh.path().join(name)).unwrap();
    }
    // Not `npm ci`: it refuses a lock file that leaves out an optional package of another operating system. Versions and
    // hashes are those of the lock file all the same.
    let output = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"])
        .current_dir(fresh.path())
        .output()
        .unwrap_or_else(|error| panic!("npm does not start ({error}): {NEEDED}"));
    assert!(output.status.success(), "npm install failed: {}", String::from_utf8_lossy(&output.stderr));
    let complete = fresh.keep();
    if std::fs::rename(&complete, folder).is_err() {
        // Another process was faster.
        assert!(folder.exists());
        std::fs::remove_dir_all(&complete).unwrap();
    }
}
