//! Paths a config names: they exist, are of the right kind, and stay in the repository.

use std::path::{Path, PathBuf};

use crate::{
    error::{ProblemKind, ProjectError},
    reader::{Placed, Reader},
};

/// Where relative paths start, and what no path may leave, symlinks included.
///
/// The boundary is the repository the project lives in (the nearest folder above with `.git`), because in a repository
/// of several packages a worker's assets are often another package's output (`../web/dist`). Without a repository it
/// is the project's own folder. Assets may lie beside that too, where Cloudflare's Vite plugin puts them (`../client`):
/// see [`Paths::is_beside`].
#[derive(Debug)]
pub(crate) struct Paths {
    root: PathBuf,
    boundary: PathBuf,
}

// === impl Paths ===

impl Paths {
    pub(crate) fn new(folder: &Path, within: &Path) -> Result<Self, ProjectError> {
        let root = canonical(folder)?;
        let within = canonical(within)?;
        let boundary = within.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&within).to_owned();
        Ok(Self { root, boundary })
    }

    /// Whether `path` is, or is in, a neighbour of the config's folder. A config that others wrote is not to publish what
    /// is nobody's build: hidden folders, those of the whole machine, and the user's own.
    fn is_beside(&self, path: &Path) -> bool {
        let Some(parent) = self.root.parent() else {
            return false;
        };
        let home = std::env::var_os("HOME").and_then(|home| Path::new(&home).canonicalize().ok());
        if parent.parent().is_none() || home.is_some_and(|home| home == parent) {
            return false;
        }
        let Ok(below) = path.strip_prefix(parent) else {
            return false;
        };
        let is_hidden = |part: std::path::Component<'_>| part.as_os_str().to_string_lossy().starts_with('.');
        below.components().next().is_some() && !below.components().any(is_hidden) && !self.root.starts_with(path)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn file(&self, reader: &mut Reader<'_>, given: &Placed<String>) -> Option<PathBuf> {
        self.resolve(reader, given, Path::is_file, |_| false, |given, path| ProblemKind::FileMissing { given, path })
    }

    /// The worker's file; where a build command makes it, its absence is put down to that.
    pub(crate) fn main(
        &self,
        reader: &mut Reader<'_>,
        given: &Placed<String>,
        build_command: Option<&str>,
    ) -> Option<PathBuf> {
        if given.value.ends_with(".py") {
            let kind = ProblemKind::Python { given: given.value.clone() };
            reader.problem_at(given.at.clone(), given.key.clone(), kind);
            return None;
        }
        let missing = |given, path| match build_command {
            Some(command) => ProblemKind::FileNotBuilt { given, path, command: command.to_owned() },
            None => ProblemKind::FileMissing { given, path },
        };
        self.resolve(reader, given, Path::is_file, |_| false, missing)
    }

    pub(crate) fn folder(&self, reader: &mut Reader<'_>, given: &Placed<String>) -> Option<PathBuf> {
        self.resolve(reader, given, Path::is_dir, |_| false, |given, path| ProblemKind::FolderMissing { given, path })
    }

    /// The folder of the static files.
    pub(crate) fn assets(&self, reader: &mut Reader<'_>, given: &Placed<String>) -> Option<PathBuf> {
        let missing = |given, path| ProblemKind::FolderMissing { given, path };
        self.resolve(reader, given, Path::is_dir, |path| self.is_beside(path), missing)
    }

    fn resolve(
        &self,
        reader: &mut Reader<'_>,
        given: &Placed<String>,
        fits: fn(&Path) -> bool,
        outside: impl Fn(&Path) -> bool,
        missing: impl FnOnce(String, PathBuf) -> ProblemKind,
    ) -> Option<PathBuf> {
        let text = given.value.clone();
        let path = normal(&self.root.join(&text));
        let escapes = |path: &Path| !path.starts_with(&self.boundary) && !outside(path);
        let real = path.canonicalize().ok();
        // Whether something exists outside is nobody's business, so the boundary is checked first.
        let kind = if escapes(&path) || real.as_deref().is_some_and(escapes) {
            ProblemKind::PathEscapes { given: text, boundary: self.boundary.clone() }
        } else {
            match real {
                Some(real) if fits(&real) => return Some(real),
                _ => missing(text, path),
            }
        };
        reader.problem_at(given.at.clone(), given.key.clone(), kind);
        None
    }
}

pub(crate) fn canonical(path: &Path) -> Result<PathBuf, ProjectError> {
    path.canonicalize().map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => ProjectError::NotFound { path },
            _ => ProjectError::Read { path, source },
        }
    })
}

/// `path` without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    use std::path::Component;

    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}
