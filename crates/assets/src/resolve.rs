//! From a path to the file that answers it: `html_handling` and `not_found_handling`. Pure.
//!
//! Each way of handling HTML is a list of attempts for a path. An attempt either serves a file here, or sends the client
//! to the path that file is served at. The latter holds only if that path really answers with that file, so that a
//! redirect never leads to something else or back.

use std::sync::Arc;

use http::StatusCode;

use crate::asset::Asset;
use crate::config::{HtmlHandling, NotFoundHandling};
use crate::index::Index;

/// What answers a path.
#[derive(Clone, Debug)]
pub(crate) enum Intent {
    Serve {
        asset: Arc<Asset>,
        status: StatusCode,
    },
    /// The path (not encoded) that is served at.
    Redirect(String),
}

#[derive(Debug)]
enum Attempt {
    Serve(String),
    Redirect { file: String, to: String },
}

/// The ending of a path that decides its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Index,
    IndexHtml,
    Slash,
    Html,
    Other,
}

pub(crate) struct Resolver<'a> {
    pub(crate) index: &'a Index,
    pub(crate) html_handling: HtmlHandling,
    pub(crate) not_found_handling: NotFoundHandling,
}

// === impl Resolver ===

impl Resolver<'_> {
    /// `path` is decoded. `None` means that nothing answers it.
    pub(crate) fn resolve(&self, path: &str) -> Option<Intent> {
        let found = attempts(self.html_handling, path).into_iter().find_map(|attempt| self.attempt(attempt));
        found.or_else(|| self.not_found(path))
    }

    fn attempt(&self, attempt: Attempt) -> Option<Intent> {
        match attempt {
            Attempt::Serve(file) => self.index.get(&file).map(|asset| served(asset, StatusCode::OK)),
            Attempt::Redirect { file, to } => {
                let asset = self.index.get(&file)?;
                let leads_there =
                    !self.exists(&to) && self.served_at(&to).is_some_and(|there| Arc::ptr_eq(there, asset));
                leads_there.then_some(Intent::Redirect(to))
            }
        }
    }

    /// The file a path answers with by itself, without a redirect.
    fn served_at(&self, path: &str) -> Option<&Arc<Asset>> {
        attempts(self.html_handling, path).into_iter().find_map(|attempt| match attempt {
            Attempt::Serve(file) => self.index.get(&file),
            Attempt::Redirect { .. } => None,
        })
    }

    fn not_found(&self, path: &str) -> Option<Intent> {
        match self.not_found_handling {
            NotFoundHandling::None => None,
            NotFoundHandling::SinglePageApplication => {
                self.index.get("/index.html").map(|asset| served(asset, StatusCode::OK))
            }
            NotFoundHandling::NotFoundPage => {
                // No page is in a folder whose name is longer than that of every file.
                let mut end = path.len().min(self.index.path_bytes_max());
                let slash_before = |end: usize| path.as_bytes().get(..end)?.iter().rposition(|byte| *byte == b'/');
                while let Some(slash) = slash_before(end) {
                    let directory = path.get(..slash).unwrap_or_default();
                    if let Some(asset) = self.index.get(&format!("{directory}/404.html")) {
                        return Some(served(asset, StatusCode::NOT_FOUND));
                    }
                    end = slash;
                }
                None
            }
        }
    }

    fn exists(&self, path: &str) -> bool {
        self.index.get(path).is_some()
    }
}

fn served(asset: &Arc<Asset>, status: StatusCode) -> Intent {
    Intent::Serve { asset: Arc::clone(asset), status }
}

// === impl Ending ===

impl Ending {
    /// The ending, and the path without it.
    fn split(path: &str) -> (&str, Self) {
        let endings =
            [("/index", Self::Index), ("/index.html", Self::IndexHtml), ("/", Self::Slash), (".html", Self::Html)];
        endings
            .into_iter()
            .find_map(|(suffix, ending)| path.strip_suffix(suffix).map(|stem| (stem, ending)))
            .unwrap_or((path, Self::Other))
    }
}

fn attempts(handling: HtmlHandling, path: &str) -> Vec<Attempt> {
    let (stem, ending) = Ending::split(path);
    match handling {
        HtmlHandling::AutoTrailingSlash => auto(path, stem, ending),
        HtmlHandling::ForceTrailingSlash => force(path, stem, ending),
        HtmlHandling::DropTrailingSlash => drop(path, stem, ending),
        HtmlHandling::None => vec![serve(path)],
    }
}

/// `/x.html` at `/x`, `/x/index.html` at `/x/`.
fn auto(path: &str, stem: &str, ending: Ending) -> Vec<Attempt> {
    let as_folder = || redirect(format!("{stem}/index.html"), format!("{stem}/"));
    let as_file = || redirect(format!("{stem}.html"), stem);
    let mut attempts = match ending {
        Ending::Index => vec![serve(path), as_folder(), as_file()],
        Ending::IndexHtml => vec![as_folder(), as_file()],
        Ending::Slash => vec![serve(format!("{path}index.html")), as_file()],
        Ending::Html => vec![as_file(), as_folder()],
        Ending::Other => Vec::new(),
    };
    attempts.extend([
        serve(path),
        serve(format!("{path}.html")),
        redirect(format!("{path}/index.html"), format!("{path}/")),
    ]);
    attempts
}

/// `/x.html` and `/x/index.html` at `/x/`; where both exist the folder has it, and the file its own name.
fn force(path: &str, stem: &str, ending: Ending) -> Vec<Attempt> {
    let slashed = || format!("{stem}/");
    let folder = || redirect(format!("{stem}/index.html"), slashed());
    let file = || redirect(format!("{stem}.html"), slashed());
    let mut attempts = match ending {
        Ending::Index => vec![serve(path), folder(), file()],
        Ending::IndexHtml => vec![folder(), file()],
        Ending::Slash => vec![serve(format!("{path}index.html")), serve(format!("{stem}.html"))],
        Ending::Html => vec![file(), serve(path), folder()],
        Ending::Other => Vec::new(),
    };
    attempts.extend([
        serve(path),
        redirect(format!("{path}.html"), format!("{path}/")),
        redirect(format!("{path}/index.html"), format!("{path}/")),
    ]);
    attempts
}

/// `/x.html` and `/x/index.html` at `/x`; where both exist the file has it, and the folder's index its own name.
fn drop(path: &str, stem: &str, ending: Ending) -> Vec<Attempt> {
    let folder = || redirect(format!("{stem}/index.html"), stem);
    let file = || redirect(format!("{stem}.html"), stem);
    let root = || redirect("/index.html", "/");
    let is_root = stem.is_empty();
    let mut attempts = match ending {
        Ending::Index if is_root => vec![serve(path), root()],
        Ending::Index => vec![serve(path), file(), folder()],
        Ending::IndexHtml if is_root => vec![root()],
        Ending::IndexHtml => vec![folder(), serve(path), file()],
        Ending::Slash if is_root => vec![serve("/index.html")],
        Ending::Slash => vec![file(), folder()],
        Ending::Html => vec![file(), folder()],
        Ending::Other => Vec::new(),
    };
    attempts.extend([serve(path), serve(format!("{path}.html")), serve(format!("{path}/index.html"))]);
    attempts
}

fn serve(file: impl Into<String>) -> Attempt {
    Attempt::Serve(file.into())
}

fn redirect(file: impl Into<String>, to: impl Into<String>) -> Attempt {
    Attempt::Redirect { file: file.into(), to: to.into() }
}
