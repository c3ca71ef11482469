//! A directory of assets, opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::asset::{Memory, StoredFile};
use crate::base_path::BasePath;
use crate::config::AssetsConfig;
use crate::header_rules::{self, HeaderRules};
use crate::index::{Index, read_rule_file};
use crate::redirect_rules::{self, RedirectRules};
use crate::variants::Variants;
use crate::worker_first::{WorkerFirst, WorkerFirstError};

/// The assets of one worker: an index of one directory and the rules that came with it. Immutable.
#[derive(Debug)]
pub struct AssetSet {
    pub(crate) config: AssetsConfig,
    pub(crate) index: Index,
    pub(crate) base_path: BasePath,
    pub(crate) headers: HeaderRules,
    pub(crate) redirects: RedirectRules,
    pub(crate) worker_first: WorkerFirst,
    pub(crate) memory: Memory,
    pub(crate) variants: Option<Arc<Variants>>,
    notices: Vec<Notice>,
}

/// Why a directory cannot be served.
#[derive(Debug, Error)]
pub enum AssetsError {
    #[error("cannot open the assets directory {}", .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{} is not a directory", .path.display())]
    NotADirectory { path: PathBuf },
    #[error("cannot read {}", .path.display())]
    ReadDirectory { path: PathBuf, source: io::Error },
    #[error("cannot read the rules in {}", .path.display())]
    ReadRules { path: PathBuf, source: io::Error },
    #[error("{} has {bytes} bytes; the limit is {bytes_max}", .path.display())]
    FileTooLarge { path: PathBuf, bytes: u64, bytes_max: u64 },
    #[error("{} holds more than {count_max} files, the limit", .directory.display())]
    TooManyFiles { directory: PathBuf, count_max: usize },
    #[error("{} holds more than {count_max} directories, the limit", .directory.display())]
    TooManyDirectories { directory: PathBuf, count_max: usize },
    #[error(
        "{} would be published as an asset, and server-side code with it; remove it, or name it in an .assetsignore file \
         (an empty .assetsignore publishes it)",
        .path.display()
    )]
    PagesWorker { path: PathBuf },
    #[error(transparent)]
    WorkerFirst(#[from] WorkerFirstError),
}

/// Something in the directory that was passed over, for the developer to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// A rule file's name, or the path of what is not served.
    pub file: String,
    /// Counted from 1.
    pub line: Option<usize>,
    /// The line itself, if there is one.
    pub text: Option<String>,
    pub message: String,
}

/// A file of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedFile<'a> {
    /// What requests ask for: `/index.html`, unencoded.
    pub path: &'a str,
    /// Where the content is.
    pub file: &'a Path,
    pub bytes: u64,
    /// None for a file that is served without `Content-Type`.
    pub content_type: Option<&'a str>,
}

// === impl AssetSet ===

impl AssetSet {
    /// Indexes `directory`. Blocks on the file system, but reads rule files only, so a rebuild is cheap.
    pub fn open(directory: &Path, config: AssetsConfig) -> Result<Self, AssetsError> {
        let worker_first = WorkerFirst::new(&config.run_worker_first)?;
        let root = directory.canonicalize().map_err(|source| AssetsError::Open { path: directory.into(), source })?;
        if !root.is_dir() {
            return Err(AssetsError::NotADirectory { path: root });
        }

        let mut notices = Vec::new();
        let headers = read_rule_file(&root, header_rules::FILE_NAME)?.unwrap_or_default();
        let (headers, found) = HeaderRules::parse(&headers);
        notices.extend(found);
        let redirects = read_rule_file(&root, redirect_rules::FILE_NAME)?.unwrap_or_default();
        let (redirects, found) = RedirectRules::parse(&redirects, config.html_handling);
        notices.extend(found);
        let index = Index::build(&root, &mut notices)?;

        Ok(Self {
            config,
            index,
            base_path: BasePath::default(),
            headers,
            redirects,
            worker_first,
            memory: Memory::default(),
            variants: None,
            notices,
        })
    }

    /// The set of files that a store keeps, with the texts of its `_headers` and `_redirects`.
    pub fn of_files(
        files: impl IntoIterator<Item = StoredFile>,
        headers: &str,
        redirects: &str,
        config: AssetsConfig,
    ) -> Result<Self, AssetsError> {
        let worker_first = WorkerFirst::new(&config.run_worker_first)?;
        let (headers, mut notices) = HeaderRules::parse(headers);
        let (redirects, found) = RedirectRules::parse(redirects, config.html_handling);
        notices.extend(found);
        let index = Index::of_files(files);
        Ok(Self {
            config,
            index,
            base_path: BasePath::default(),
            headers,
            redirects,
            worker_first,
            memory: Memory::default(),
            variants: None,
            notices,
        })
    }

    /// This set with `base` before the path of every file: `/index.html` answers at `/docs/` then, where `base` is
    /// `/docs`. Rules go on matching whole paths.
    #[must_use]
    pub fn with_base_path(mut self, base: &str) -> Self {
        self.base_path = BasePath::new(base);
        self
    }

    /// This set with a place for compressed variants of files that never change: those that a store keeps by hash.
    /// Without one, what memory does not hold is compressed for each request.
    #[must_use]
    pub fn with_variants(mut self, variants: Arc<Variants>) -> Self {
        self.variants = Some(variants);
        self
    }

    pub fn config(&self) -> &AssetsConfig {
        &self.config
    }

    /// Rules and files that were passed over.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// What is served, in the order of its paths.
    pub fn files(&self) -> Vec<ListedFile<'_>> {
        let mut files: Vec<_> = self
            .index
            .iter()
            .map(|(path, asset)| ListedFile {
                path,
                file: asset.file(),
                bytes: asset.bytes(),
                content_type: asset.content_type().and_then(|value| value.to_str().ok()),
            })
            .collect();
        files.sort_unstable_by_key(|file| file.path);
        files
    }

    /// How many files are served.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl Notice ===

impl Notice {
    /// Line 0 is no line: a problem that shows only once the whole file is read.
    pub(crate) fn of_line(file: &str, line: usize, text: &str, message: String) -> Self {
        Self { file: file.into(), line: (line > 0).then_some(line), text: Some(text.into()), message }
    }

    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self { file: file.into(), line: None, text: None, message }
    }

    pub(crate) fn of_path(path: &Path, message: &str) -> Self {
        Self::of_file(&path.display().to_string(), message.into())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.message)?;
        match &self.text {
            Some(text) => write!(formatter, " ({text})"),
            None => Ok(()),
        }
    }
}
