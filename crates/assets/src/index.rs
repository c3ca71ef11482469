//! The files of a directory, by the path they are named with.

use std::collections::HashMap;
use std::fs::{self, DirEntry, FileType, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::asset::{Asset, StoredFile};
use crate::set::{AssetsError, Notice};
use crate::{FILE_BYTES_MAX, FILES_MAX, header_rules, redirect_rules};

const IGNORE_FILE_NAME: &str = ".assetsignore";
/// The script of a Pages project, which lay among its assets.
const PAGES_WORKER_NAME: &str = "_worker.js";
/// Most directories under one set.
const DIRECTORIES_MAX: usize = 100_000;
/// Largest `_headers`, `_redirects` or `.assetsignore`, in bytes: more than all their rules at full length.
const RULE_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Paths such as `/a/b.html`, unencoded, to files.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: HashMap<Box<str>, Arc<Asset>>,
    path_bytes_max: usize,
}

struct Walk<'a> {
    root: &'a Path,
    ignored: Gitignore,
    has_ignore_file: bool,
    directories: Vec<PathBuf>,
    directory_count: usize,
    index: Index,
    notices: &'a mut Vec<Notice>,
}

// === impl Index ===

impl Index {
    /// Indexes what `root` (canonical) holds. Reads directories and `.assetsignore`, no other file.
    pub(crate) fn build(root: &Path, notices: &mut Vec<Notice>) -> Result<Self, AssetsError> {
        let rules = read_rule_file(root, IGNORE_FILE_NAME)?;
        let mut walk = Walk {
            root,
            ignored: ignore_rules(root, rules.as_deref().unwrap_or_default(), notices),
            has_ignore_file: rules.is_some(),
            directories: vec![root.to_owned()],
            directory_count: 0,
            index: Self::default(),
            notices,
        };
        while let Some(directory) = walk.directories.pop() {
            walk.visit(&directory)?;
        }
        Ok(walk.index)
    }

    /// Indexes files of a store.
    pub(crate) fn of_files(files: impl IntoIterator<Item = StoredFile>) -> Self {
        let mut index = Self::default();
        for file in files.into_iter().take(FILES_MAX) {
            index.insert(file.path.clone(), Asset::stored(file));
        }
        index
    }

    fn insert(&mut self, path: String, asset: Asset) {
        self.path_bytes_max = self.path_bytes_max.max(path.len());
        self.files.insert(path.into(), Arc::new(asset));
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Asset>> {
        self.files.get(path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Asset>)> {
        self.files.iter().map(|(path, asset)| (path.as_ref(), asset))
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The length of the longest path, in bytes.
    pub(crate) fn path_bytes_max(&self) -> usize {
        self.path_bytes_max
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn visit(&mut self, directory: &Path) -> Result<(), AssetsError> {
        self.directory_count += 1;
        if self.directory_count > DIRECTORIES_MAX {
            return Err(AssetsError::TooManyDirectories { directory: self.root.into(), count_max: DIRECTORIES_MAX });
        }
        let read_error = |source| AssetsError::ReadDirectory { path: directory.into(), source };
        for entry in fs::read_dir(directory).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let kind = entry.file_type().map_err(read_error)?;
            self.visit_entry(&entry, kind)?;
        }
        Ok(())
    }

    fn visit_entry(&mut self, entry: &DirEntry, kind: FileType) -> Result<(), AssetsError> {
        let path = entry.path();
        if self.ignored.matched(&path, kind.is_dir()).is_ignore() {
            return Ok(());
        }
        let Some(name) = self.asset_name(&path) else {
            self.notices.push(Notice::of_path(&path, "its name is not UTF-8, so no URL can name it"));
            return Ok(());
        };
        self.check_pages_worker(&name)?;
        if kind.is_dir() {
            self.directories.push(path);
        } else if kind.is_symlink() {
            self.visit_link(&path, name)?;
        } else if kind.is_file() {
            let metadata = entry.metadata().map_err(|source| stat_error(&path, source))?;
            self.add(path, name, &metadata)?;
        }
        // Sockets, pipes and devices are no assets.
        Ok(())
    }

    /// A link counts as the file it leads to, if that lies in the directory too. Links to directories are not followed.
    fn visit_link(&mut self, path: &Path, name: String) -> Result<(), AssetsError> {
        let Ok(target) = path.canonicalize() else {
            self.notices.push(Notice::of_path(path, "the link leads nowhere"));
            return Ok(());
        };
        if !target.starts_with(self.root) {
            self.notices.push(Notice::of_path(path, "the link leads outside the assets directory"));
            return Ok(());
        }
        let metadata = fs::metadata(&target).map_err(|source| stat_error(&target, source))?;
        if metadata.is_dir() {
            self.notices.push(Notice::of_path(path, "links to directories are not followed"));
        } else if metadata.is_file() {
            self.add(target, name, &metadata)?;
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, name: String, metadata: &Metadata) -> Result<(), AssetsError> {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(AssetsError::FileTooLarge { path, bytes: metadata.len(), bytes_max: FILE_BYTES_MAX });
        }
        if self.index.len() >= FILES_MAX {
            return Err(AssetsError::TooManyFiles { directory: self.root.into(), count_max: FILES_MAX });
        }
        self.index.insert(name, Asset::new(path, metadata.len(), metadata.modified().ok()));
        Ok(())
    }

    /// `/a/b.html` for `root/a/b.html`.
    fn asset_name(&self, path: &Path) -> Option<String> {
        let mut name = String::new();
        for component in path.strip_prefix(self.root).ok()? {
            name.push('/');
            name.push_str(component.to_str()?);
        }
        Some(name)
    }

    /// Refuses to publish a Pages project's script by mistake. An `.assetsignore`, even an empty one, says it is none.
    fn check_pages_worker(&self, name: &str) -> Result<(), AssetsError> {
        if !self.has_ignore_file && name.trim_start_matches('/') == PAGES_WORKER_NAME {
            return Err(AssetsError::PagesWorker { path: self.root.join(PAGES_WORKER_NAME) });
        }
        Ok(())
    }
}

/// A rule file at the top of the directory, or `None` if there is none.
pub(crate) fn read_rule_file(root: &Path, name: &str) -> Result<Option<String>, AssetsError> {
    let path = root.join(name);
    let error = |source| AssetsError::ReadRules { path: path.clone(), source };
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&path).map_err(error)?;
    file.take(RULE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > RULE_FILE_BYTES_MAX {
        return Err(AssetsError::FileTooLarge { path, bytes: metadata.len(), bytes_max: RULE_FILE_BYTES_MAX });
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn ignore_rules(root: &Path, text: &str, notices: &mut Vec<Notice>) -> Gitignore {
    let mut builder = GitignoreBuilder::new(root);
    let own = [IGNORE_FILE_NAME, redirect_rules::FILE_NAME, header_rules::FILE_NAME];
    for name in own {
        // These three are valid patterns.
        let _ = builder.add_line(None, &format!("/{name}"));
    }
    for (index, line) in text.lines().enumerate() {
        if let Err(error) = builder.add_line(None, line) {
            notices.push(Notice::of_line(IGNORE_FILE_NAME, index + 1, line, error.to_string()));
        }
    }
    builder.build().unwrap_or_else(|error| {
        notices.push(Notice::of_file(IGNORE_FILE_NAME, error.to_string()));
        Gitignore::empty()
    })
}

fn stat_error(path: &Path, source: std::io::Error) -> AssetsError {
    AssetsError::ReadDirectory { path: path.into(), source }
}
