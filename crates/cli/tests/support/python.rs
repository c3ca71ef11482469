//! Programs from PyPI, each in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::finished;
use super::up::printed;

/// What an uninstalled Python means.
const NEEDED: &str = "this test needs Python 3.10 or newer with venv on the PATH (README.md, \"What a machine needs\")";

/// How long one step of an installation may take.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(300);

/// The programs of what `tests/NAME/requirements.txt` lists: the folder that they are in. Installed once for each state
/// of the list.
pub fn installed(name: &str) -> PathBuf {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{name}/requirements.txt"));
    let hash = blake3::hash(&std::fs::read(&list).unwrap()).to_hex();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", &hash[..16]));
    let complete = folder.join("complete");
    if !complete.exists() {
        // An environment knows where it is, so it cannot be made elsewhere and moved.
        let _ = std::fs::remove_dir_all(&folder);
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        succeeds(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(&list),
        );
        std::fs::write(&complete, "").unwrap();
    }
    folder.join("bin")
}

fn succeeds(command: &mut Command) {
    let output = finished(command, "", INSTALL_TIME_MAX);
    assert!(output.status.success(), "{command:?} failed ({NEEDED}):\n{}", printed(&output));
}
