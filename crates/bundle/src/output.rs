//! What a build gives.

use std::path::PathBuf;

use bytes::Bytes;

/// How the worker meets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The entry exports its handlers.
    Modules,
    /// The entry exports nothing and calls `addEventListener`.
    ServiceWorker,
}

/// What importing a module gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleKind {
    EsModule,
    /// Only of files taken as they are: what is bundled has its CommonJS inside the main module.
    CommonJs,
    /// The default export is a string.
    Text,
    /// The default export is an `ArrayBuffer`.
    Data,
    /// The default export is the parsed value.
    Json,
    /// The default export is a `WebAssembly.Module`.
    Wasm,
}

impl ModuleKind {
    /// Whether the bundler compiles such a file into the main module rather than leaving it one of its own.
    pub(crate) fn is_script(self) -> bool {
        matches!(self, Self::EsModule | Self::CommonJs)
    }
}

/// One module of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Exactly the specifier other modules import it by when it was bundled (`./<hash>-logo.txt`), else the path from
    /// [`crate::BundleOptions::modules_folder`] (`lib/logo.txt`). In the service-worker form nothing is imported: it is the global that the
    /// script has the file as (`__<hash>_logo_txt`). The main module's is a plain file name (`index.js`).
    pub name: String,
    pub kind: ModuleKind,
    pub body: Bytes,
    /// Version 3, with `sourcesContent`; sources are relative to the root. Only of modules that were compiled.
    pub source_map: Option<String>,
}

/// The modules of one version, and what the build learned on the way.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The main module first.
    pub modules: Vec<Module>,
    /// The name of the module to load.
    pub main: String,
    pub format: Format,
    /// The names the main module exports, `default` among them.
    pub exports: Vec<String>,
    /// Every file that took part, absolute, sorted: when one changes, the bundle is stale.
    pub watched: Vec<PathBuf>,
    pub warnings: Vec<String>,
}

impl Bundle {
    pub fn main_module(&self) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == self.main)
    }
}
