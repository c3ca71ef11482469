//! What a build is asked to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::output::ModuleKind;

/// The sum of all modules of a version, unless [`BundleOptions::size_max_bytes`] says otherwise.
pub const SIZE_MAX_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// How long a build may take, unless [`BundleOptions::time_max`] says otherwise.
pub const TIME_MAX_DEFAULT: Duration = Duration::from_secs(60);

/// The value `process.env.NODE_ENV` is replaced with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Development,
    Production,
}

impl Mode {
    /// As a JavaScript string literal.
    pub(crate) fn literal(self) -> &'static str {
        match self {
            Self::Development => "\"development\"",
            Self::Production => "\"production\"",
        }
    }
}

/// How JSX becomes calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Jsx {
    /// As the nearest `tsconfig.json` says; without one, or when it says nothing, `React.createElement`.
    #[default]
    FromTsconfig,
    /// Calls of `factory`, with `fragment` for `<>…</>`, both already in scope.
    Classic { factory: String, fragment: String },
    /// Calls of `jsx` imported from `<import_source>/jsx-runtime`.
    Automatic { import_source: String },
}

/// Files whose import gives a module of `kind` instead of JavaScript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub kind: ModuleKind,
    /// Matched against the import's specifier and the file's path from the root; `**` crosses folders.
    pub globs: Vec<String>,
    /// Whether later rules of the same kind, the built-in ones included, still hold.
    pub fallthrough: bool,
}

/// One build. [`BundleOptions::new`] gives the defaults, every field is open to change.
#[derive(Debug, Clone)]
pub struct BundleOptions {
    /// The worker's folder. Paths in diagnostics and source maps are relative to it.
    pub root: PathBuf,
    /// The entry file, relative to `root` or absolute.
    pub entry: PathBuf,
    pub mode: Mode,
    /// Expressions to replace global names or member chains with, as JavaScript text: `"VERSION" → "\"1.2\""`.
    pub define: BTreeMap<String, String>,
    /// Import specifiers to replace, whole: `"pkg" → "./mock.ts"`. A relative target is relative to `root`.
    pub alias: BTreeMap<String, String>,
    pub minify: bool,
    /// Whether functions and classes that are renamed on the way keep what their `name` says.
    pub keep_names: bool,
    /// Instead of the nearest `tsconfig.json` of each file.
    pub tsconfig: Option<PathBuf>,
    pub jsx: Jsx,
    /// Before the built-in rules (`.txt`, `.html`, `.sql` text; `.bin` data; `.wasm` WebAssembly).
    pub rules: Vec<Rule>,
    /// The conditions of `package.json` `exports`, beside `import` or `require` and `default`.
    pub conditions: Vec<String>,
    /// Take the entry as it is.
    pub no_bundle: bool,
    /// Whether files that `rules` match become modules as they are, imported or not: what a worker imports by a name
    /// that it computes. `None` is what `no_bundle` is.
    pub find_additional_modules: Option<bool>,
    /// Where such files are looked for, and what their names start from; relative to `root` or absolute. `None` is the
    /// entry's folder.
    pub modules_folder: Option<PathBuf>,
    pub size_max_bytes: u64,
    pub time_max: Duration,
}

impl BundleOptions {
    pub fn new(root: impl Into<PathBuf>, entry: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            entry: entry.into(),
            mode: Mode::default(),
            define: BTreeMap::new(),
            alias: BTreeMap::new(),
            minify: false,
            keep_names: true,
            tsconfig: None,
            jsx: Jsx::default(),
            rules: Vec::new(),
            conditions: ["workerd", "worker", "browser", "module"].map(str::to_owned).to_vec(),
            no_bundle: false,
            find_additional_modules: None,
            modules_folder: None,
            size_max_bytes: SIZE_MAX_BYTES_DEFAULT,
            time_max: TIME_MAX_DEFAULT,
        }
    }

    /// `root`, absolute and without symbolic links, so that it is a prefix of the paths the resolver gives.
    pub(crate) fn real_root(&self) -> PathBuf {
        real(&self.root)
    }

    /// The entry, absolute.
    pub(crate) fn entry_path(&self) -> PathBuf {
        self.real_root().join(&self.entry)
    }

    pub(crate) fn finds_modules(&self) -> bool {
        self.find_additional_modules.unwrap_or(self.no_bundle)
    }

    /// Where files that become modules are looked for, absolute.
    pub(crate) fn modules_folder(&self, entry: &Path) -> PathBuf {
        match &self.modules_folder {
            Some(folder) => real(&self.real_root().join(folder)),
            None => entry.parent().unwrap_or(entry).to_path_buf(),
        }
    }
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_path_buf())
}
