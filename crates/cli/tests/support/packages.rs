//! Packages from npm that tests use: installed once for each state of a lock file, and kept in the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::up::printed;

/// What an uninstalled Node.js means.
pub const NEEDED: &str =
    "these tests need Node.js 20 or newer with npm on the PATH (README.md, \"What a machine needs\")";

/// How long an installation may take.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(10 * 60);

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
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"]).current_dir(fresh.path());
    let output = super::finished(&mut npm, "", INSTALL_TIME_MAX);
    assert!(output.status.success(), "npm install failed ({NEEDED}):\n{}", printed(&output));
    let complete = fresh.keep();
    if std::fs::rename(&complete, folder).is_err() {
        // Another process was faster.
        assert!(folder.exists());
        std::fs::remove_dir_all(&complete).unwrap();
    }
}
