//! What `tsconfig.json` leaves open about JSX, closed the way esbuild closes it.
//!
//! The bundler reads `tsconfig.json` by itself, but where that says nothing about JSX it imports `react/jsx-runtime`,
//! while the tools that Workers are written for call `React.createElement`.

use std::path::{Path, PathBuf};

use oxc_resolver::{ResolveOptions, Resolver, TsconfigDiscovery};
use rolldown::{Either, JsxOptions};

use crate::options::{BundleOptions, Jsx};

pub(crate) fn jsx(options: &BundleOptions, entry: &Path) -> JsxOptions {
    match &options.jsx {
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
        Jsx::FromTsconfig => JsxOptions {
            runtime: default_runtime(options, entry).map(str::to_owned),
            ..JsxOptions::default()
        },
    }
}

/// The runtime to use in spite of `tsconfig.json`; `None` where it names one.
fn default_runtime(options: &BundleOptions, entry: &Path) -> Option<&'static str> {
    let resolver = Resolver::new(ResolveOptions {
        tsconfig: Some(TsconfigDiscovery::Auto),
        ..ResolveOptions::default()
    });
    let found = match &options.tsconfig {
        Some(path) => resolver
            .resolve_tsconfig(options.real_root().join(path))
            .ok(),
        // An error here comes back with its place from the bundler.
        None => resolver.find_tsconfig(entry).ok().flatten(),
    };
    let Some(tsconfig) = found else {
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

pub(crate) fn option(path: &Path) -> rolldown::TsConfig {
    rolldown::TsConfig::Manual(PathBuf::from(path))
}

pub(crate) fn transform(jsx: JsxOptions) -> rolldown::BundlerTransformOptions {
    rolldown::BundlerTransformOptions {
        jsx: Some(Either::Right(jsx)),
        ..rolldown::BundlerTransformOptions::default()
    }
}
