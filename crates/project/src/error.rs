//! Everything that can be wrong with a project, with the place it is wrong at.

use std::{fmt, io, path::PathBuf};

use crate::name::{EnvironmentName, InvalidDate, InvalidName};

/// A place in a text file. Lines and columns count from 1; columns are characters, not bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

/// Why a project could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    #[error("{} does not exist", .path.display())]
    NotFound { path: PathBuf },
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is {bytes} bytes; at most {bytes_max} are read", .path.display())]
    TooLarge { path: PathBuf, bytes: u64, bytes_max: u64 },
    #[error("{at}: the file is not UTF-8 text")]
    NotText { at: Location },
    #[error(
        "{} is neither a worker nor a config: give a folder, a .js, .mjs, .jsx, .ts, .mts or .tsx file, \
         or a wrangler .json, .jsonc or .toml file", .path.display()
    )]
    UnknownFileType { path: PathBuf },
    #[error(
        "{} holds no wrangler.json, wrangler.jsonc or wrangler.toml, and no index.ts, index.js, src/index.ts or \
         src/index.js: add one of them, or give the path of the worker's file", .folder.display()
    )]
    NothingToRun { folder: PathBuf },
    #[error("invalid environment name {name:?}")]
    EnvironmentName { name: String, source: InvalidName },
    #[error("{}: there is no environment {environment:?}; it declares {}", .file.display(), list(.available))]
    NoSuchEnvironment { file: PathBuf, environment: EnvironmentName, available: Vec<String> },
    #[error("{at}: {message}")]
    Syntax { at: Location, message: String },
    #[error(transparent)]
    Invalid(Problems),
}

/// The problems found in one project, in the order of their places; never empty.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    /// How many were found beyond those kept.
    dropped: usize,
}

/// The most problems kept of one project; the rest are counted.
const PROBLEMS_MAX: usize = 100;

/// A known key with a value that cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{at}: `{key}` {kind}")]
pub struct Problem {
    pub at: Location,
    /// Where in the config: `env.staging.services[0].binding`.
    pub key: String,
    pub kind: ProblemKind,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    #[error("must be {expected}, found {found}")]
    Mistyped { expected: String, found: String },
    #[error("is missing; it must be {expected}")]
    Missing { expected: &'static str },
    #[error("is not a valid name: {0}")]
    Name(InvalidName),
    #[error("is not a valid date: {0}")]
    Date(InvalidDate),
    #[error("is {found:?}, which is not five cron fields such as \"*/5 * * * *\"")]
    Cron { found: String },
    #[error("must be written with quotes, as a string: a TOML date is not a value a worker can hold")]
    TomlDate,
    #[error("is {given:?}, but there is no file {}", .path.display())]
    FileMissing { given: String, path: PathBuf },
    #[error("is {given:?}, but there is no file {}: run `{command}` first, which `build.command` says makes it", .path.display())]
    FileNotBuilt { given: String, path: PathBuf, command: String },
    #[error("is {given:?}, but there is no folder {}", .path.display())]
    FolderMissing { given: String, path: PathBuf },
    #[error("is {given:?}, which leads out of {}", .boundary.display())]
    PathEscapes { given: String, boundary: PathBuf },
    #[error("is {given:?}, a Python worker: only JavaScript and TypeScript run here")]
    Python { given: String },
    #[error("is missing: name the worker's file, or `assets.directory` for a site without a worker")]
    NothingToServe,
    #[error("needs a worker: add `main`, or remove it")]
    NeedsMain,
    #[error("cannot stand beside `{other}`: keep one of them")]
    Exclusive { other: &'static str },
    #[error("names the binding {name:?}, which `{first}` has already taken")]
    BindingTaken { name: String, first: String },
    #[error("has only negative rules: add at least one that starts with \"/\"")]
    OnlyNegativeRules,
    #[error("has {count} entries; at most {count_max} are allowed")]
    TooMany { count: usize, count_max: usize },
    #[error("grows beyond all bounds when its `$` references are expanded")]
    EndlessExpansion,
}

// === impl Location ===

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

// === impl ProjectError ===

impl ProjectError {
    /// The first place to look at, where there is one.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::NotText { at } | Self::Syntax { at, .. } => Some(at),
            Self::Invalid(problems) => problems.iter().next().map(|problem| &problem.at),
            Self::NotFound { .. }
            | Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::UnknownFileType { .. }
            | Self::NothingToRun { .. }
            | Self::EnvironmentName { .. }
            | Self::NoSuchEnvironment { .. } => None,
        }
    }
}

// === impl Problems ===

impl Problems {
    pub(crate) fn one(problem: Problem) -> ProjectError {
        ProjectError::Invalid(Self { kept: vec![problem], dropped: 0 })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `make` runs only when the problem is kept: finding its place costs a walk over the file.
    pub(crate) fn push(&mut self, make: impl FnOnce() -> Problem) {
        if self.kept.len() < PROBLEMS_MAX {
            self.kept.push(make());
        } else {
            self.dropped += 1;
        }
    }

    /// `Err` when there is at least one problem.
    pub(crate) fn check(mut self) -> Result<(), ProjectError> {
        if self.is_empty() {
            return Ok(());
        }
        self.kept.sort_by_cached_key(|problem| problem.at.clone());
        Err(ProjectError::Invalid(self))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.kept.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.kept.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.dropped {
            0 => Ok(()),
            count => write!(f, "\nand {count} more problems"),
        }
    }
}

impl std::error::Error for Problems {}

fn list(names: &[String]) -> String {
    names.join(", ")
}
