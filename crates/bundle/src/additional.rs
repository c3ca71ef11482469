//! Files beside the entry that become modules as they are, because a rule matches them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::BundleError;
use crate::options::BundleOptions;
use crate::output::{Module, ModuleKind};
use crate::rules::Rules;

/// How many files a version may have.
const FILES_MAX: usize = 10_000;

/// How many folders below the first are looked into.
const DEPTH_MAX: usize = 64;

/// Folders that hold no modules of a worker.
const SKIPPED: [&str; 3] = ["node_modules", ".git", ".wrangler"];

/// Files of secrets, which no rule is meant for, however wide; with more after a dot, those of an environment.
const PRIVATE: [&str; 2] = [".dev.vars", ".env"];

/// The files that the rules match below the folder of a worker's modules.
#[derive(Debug, Default)]
pub(crate) struct Additional {
    /// Named by their paths from that folder.
    pub(crate) modules: Vec<Module>,
    /// The name and kind of each, by its file.
    pub(crate) files: BTreeMap<PathBuf, (String, ModuleKind)>,
}

/// Reads what the rules match, but for the entry, what is called as the main module is, and what is private.
pub(crate) fn find(options: &BundleOptions, entry: &Path, main: &str) -> Result<Additional, BundleError> {
    let folder = options.modules_folder(entry);
    let rules = Rules::new(&options.rules);
    let mut found = Additional::default();
    let mut left_bytes = options.size_max_bytes;
    for (name, path) in files(&folder)? {
        let Some(kind) = rules.kind_of_path(&name) else {
            continue;
        };
        if path == entry || name == main || is_private(&name) {
            continue;
        }
        let body = read(&path, left_bytes)?;
        left_bytes = left_bytes.saturating_sub(body.len() as u64);
        found.files.insert(path, (name.clone(), kind));
        found.modules.push(Module { name, kind, body, source_map: None });
    }
    Ok(found)
}

fn is_private(name: &str) -> bool {
    let file_name = name.rsplit('/').next().unwrap_or(name);
    let more = PRIVATE.iter().find_map(|private| file_name.strip_prefix(private));
    more.is_some_and(|more| more.is_empty() || more.starts_with('.'))
}

/// Every file below `folder`, by its path from there.
pub(crate) fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, BundleError> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((path, prefix, depth)) = waiting.pop() {
        let fail = |source| BundleError::Read { path: path.clone(), source };
        for item in std::fs::read_dir(&path).map_err(fail)? {
            let item = item.map_err(fail)?;
            let kind = item.file_type().map_err(fail)?;
            let file_name = item.file_name().to_string_lossy().into_owned();
            let name = format!("{prefix}{file_name}");
            if kind.is_dir() {
                if depth < DEPTH_MAX && !SKIPPED.contains(&file_name.as_str()) {
                    waiting.push((item.path(), format!("{name}/"), depth + 1));
                }
            } else {
                found.insert(name, item.path());
            }
            if found.len() > FILES_MAX {
                return Err(BundleError::TooManyFiles { path: folder.to_path_buf(), max: FILES_MAX });
            }
        }
    }
    Ok(found)
}

pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Bytes, BundleError> {
    let fail = |source| BundleError::Read { path: path.to_path_buf(), source };
    let actual_bytes = std::fs::metadata(path).map_err(fail)?.len();
    if actual_bytes > max_bytes {
        return Err(BundleError::TooLarge { actual_bytes, max_bytes });
    }
    std::fs::read(path).map(Bytes::from).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_secrets_are_no_modules() {
        for name in [".env", ".env.local", "a/.dev.vars", ".dev.vars.staging"] {
            assert!(is_private(name), "{name}");
        }
        for name in [".envrc", "a.env", ".env/a.txt", "dev.vars"] {
            assert!(!is_private(name), "{name}");
        }
    }
}
