//! What `tsconfig.json` leaves open about JSX, closed the way esbuild closes it.
//!
//! The bundler reads `tsconfig.json` by itself, but where that says nothing about JSX it imports `react/jsx-runtime`,
//! while the tools that Workers are written for call `React.createElement`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxc_resolver::{ResolveOptions, Resolver, TsConfig, TsconfigDiscovery};
use rolldown::{BundlerTransformOptions, Either, JsxOptions};

use crate::options::{BundleOptions, Jsx};

/// What the files of a build are compiled by.
pub(crate) struct Compiler {
    pub(crate) transform: BundlerTransformOptions,
    /// The `tsconfig.json` of the entry.
    pub(crate) file: Option<PathBuf>,
}

impl Compiler {
    pub(crate) fn of(options: &BundleOptions, entry: &Path) -> Self {
        let tsconfig = find(options, entry);
        let jsx = match &options.jsx {
            Jsx::Classic { factory, fragment } => JsxOptions {
                runtime: Some("classic".to_owned()),
                pragma: Some(factory.clone()),
                pragma_frag: Some(fragment.clone()),
                ..JsxOptions::default()
            },
            Jsx::Automatic { import_source } => JsxOptions {
                runtime: Some("automatic".to_owned()),
                import_source: Some(import_source.clone()),
                ..JsxOptions::default()
            },
            Jsx::FromTsconfig => {
                JsxOptions { runtime: default_runtime(tsconfig.as_deref()).map(str::to_owned), ..JsxOptions::default() }
            }
        };
        Self {
            transform: BundlerTransformOptions { jsx: Some(Either::Right(jsx)), ..BundlerTransformOptions::default() },
            file: tsconfig.map(|tsconfig| tsconfig.path.clone()),
        }
    }
}

/// An unreadable file counts as none: the bundler comes to it as well, and says what is wrong with it.
fn find(options: &BundleOptions, entry: &Path) -> Option<Arc<TsConfig>> {
    let resolver =
        Resolver::new(ResolveOptions { tsconfig: Some(TsconfigDiscovery::Auto), ..ResolveOptions::default() });
    match &options.tsconfig {
        Some(path) => resolver.resolve_tsconfig(options.real_root().join(path)).ok(),
        None => resolver.find_tsconfig(entry).ok().flatten(),
    }
}

/// The runtime to use in spite of `tsconfig`; `None` where it names one.
fn default_runtime(tsconfig: Option<&TsConfig>) -> Option<&'static str> {
    let Some(tsconfig) = tsconfig else {
        return Some("classic");
    };
    let compiler = &tsconfig.compiler_options;
    match compiler.jsx.as_deref() {
        Some("react" | "react-jsx" | "react-jsxdev") => None,
        // JSX kept as it is runs nowhere, and no later tool takes it away here.
        _ if compiler.jsx_import_source.is_some() => Some("automatic"),
        Some("preserve") if compiler.jsx_factory.is_none() => Some("automatic"),
        _ => Some("classic"),
    }
}
