//! The platform that uses a data folder on this machine.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ClientError;

/// What `selvedge up` leaves in its data folder: where it listens, while it does, and the first token.
const ADDRESSES: &str = "addresses.json";
pub const TOKEN: &str = "admin.token";

/// A platform that runs, or is believed to.
#[derive(Debug)]
pub struct Local {
    pub folder: PathBuf,
    pub url: String,
    pub account: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    api_url: Option<String>,
    account: Option<String>,
    pid: Option<u32>,
}

/// Whether a platform ever had its data in `folder`.
pub fn is_data_folder(folder: &Path) -> bool {
    // What cannot be looked at is said when it is read.
    let is_gone = |error: &std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    let is_there = |name: &str| !std::fs::symlink_metadata(folder.join(name)).is_err_and(|error| is_gone(&error));
    [TOKEN, ADDRESSES].into_iter().any(is_there)
}

/// The platform that runs with its data in `folder`. Once it was ended, others may listen where it did: they are not
/// to be asked anything with its token.
pub fn running(folder: &Path) -> Result<Local, ClientError> {
    let none = |reason| ClientError::NoPlatform { folder: folder.to_owned(), reason };
    let Some(addresses) = addresses(folder)? else {
        let reason =
            if folder.is_dir() { "no platform runs with its data in it" } else { "there is no such data folder" };
        return Err(none(reason));
    };
    if !addresses.pid.is_some_and(|pid| uses(pid, folder)) {
        return Err(none("the platform that had its data in it was ended"));
    }
    let url = addresses.api_url.ok_or_else(|| none("the platform with its data in it serves workers alone, no API"))?;
    Ok(Local { folder: folder.to_owned(), url, account: addresses.account })
}

/// Where the last platform with its data in `folder` had its API, whether it still has or not.
pub fn url(folder: &Path) -> Result<Option<String>, ClientError> {
    Ok(addresses(folder)?.and_then(|addresses| addresses.api_url))
}

/// None where there is no such file.
fn addresses(folder: &Path) -> Result<Option<Addresses>, ClientError> {
    let path = folder.join(ADDRESSES);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| ClientError::File { path, source: std::io::Error::new(ErrorKind::InvalidData, error) }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(ClientError::File { path, source }),
    }
}

/// Whether a process has a file of `folder` open. The numbers of processes that ended are given to others.
fn uses(pid: u32, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let process = PathBuf::from(format!("/proc/{pid}"));
    match std::fs::read_dir(process.join("fd")) {
        Ok(open) => {
            let mut files = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            files.any(|file| file.starts_with(&folder))
        }
        // Another user's, or one that has capabilities: its name and its user have to do.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
            std::fs::metadata(&folder).is_ok_and(|folder| is_platform_of(&status, folder.uid()))
        }
        Err(_) => false,
    }
}

/// Whether `/proc/PID/status` is of a process with the program's name that `owner` runs: a name alone anybody's process
/// can have.
fn is_platform_of(status: &str, owner: u32) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    // Real and effective.
    let users: Vec<u32> = field("Uid:").split_whitespace().take(2).filter_map(|user| user.parse().ok()).collect();
    field("Name:").starts_with("selvedge") && users == [owner, owner]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(folder: &Path) -> &'static str {
        match running(folder) {
            Err(ClientError::NoPlatform { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_platform_runs_while_its_process_has_its_data_open() {
        let folder = tempfile::tempdir().unwrap();
        assert!(reason(&folder.path().join("gone")).contains("no such data folder"));
        assert!(reason(folder.path()).contains("no platform runs"));
        let addresses = format!(r#"{{ "api_url": "http://127.0.0.1:9300", "pid": {} }}"#, std::process::id());
        std::fs::write(folder.path().join(ADDRESSES), addresses).unwrap();
        // This process is not that platform.
        assert!(reason(folder.path()).contains("was ended"));
        let _open = std::fs::File::create(folder.path().join("data")).unwrap();
        assert_eq!(running(folder.path()).unwrap().url, "http://127.0.0.1:9300");
        // No process has this number.
        std::fs::write(folder.path().join(ADDRESSES), r#"{ "api_url": "http://127.0.0.1:9300", "pid": 4294967295 }"#)
            .unwrap();
        assert!(reason(folder.path()).contains("was ended"));
    }

    #[test]
    fn a_process_that_cannot_be_looked_into_is_told_by_its_name_and_its_user() {
        let status = "Name:\tselvedge\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\n";
        assert!(is_platform_of(status, 1000));
        assert!(!is_platform_of(status, 1001) && !is_platform_of(status, 0));
        assert!(!is_platform_of(&status.replace("selvedge", "nginx"), 1000));
        assert!(!is_platform_of(&status.replace("1000\t1000\t", "1000\t0\t"), 0));
        assert!(!is_platform_of("", 0));
    }

    #[test]
    fn a_platform_without_an_api_is_not_asked() {
        let folder = tempfile::tempdir().unwrap();
        let _open = std::fs::File::create(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join(ADDRESSES), format!(r#"{{ "pid": {} }}"#, std::process::id())).unwrap();
        assert!(reason(folder.path()).contains("no API"));
    }
}
