//! What `tsconfig.json` leaves open about JSX, closed the way esbuild closes it.
//!
//! The bundler reads `tsconfig.json` by itself, but where that says nothing about JSX it imports `react/jsx-runtime`,
//! while the tools that Workers are written for call `React.createElement`.

use std::path::{Path, PathBuf};

use oxc_resolver::{ResolveError, ResolveOptions, Resolver, TsConfig, TsconfigDiscovery};
use rolldown::{BundlerTransformOptions, Either, JsxOptions};

use crate::error::Diagnostic;
use crate::options::{BundleOptions, Jsx};

/// What the files of a build are compiled by.
pub(crate) struct Compiler {
    pub(crate) transform: BundlerTransformOptions,
    pub(crate) tsconfig: rolldown::TsConfig,
    /// The `tsconfig.json` of the entry.
    pub(crate) file: Option<PathBuf>,
    pub(crate) warning: Option<Diagnostic>,
}

impl Compiler {
    /// As in esbuild, a `tsconfig.json` that was only found and cannot be used, say because it extends one that is not
    /// there, counts as none and gives a warning; one that was asked for must be usable.
    pub(crate) fn of(options: &BundleOptions, entry: &Path) -> Result<Self, Diagnostic> {
        let root = options.real_root();
        let resolver =
            Resolver::new(ResolveOptions { tsconfig: Some(TsconfigDiscovery::Auto), ..ResolveOptions::default() });
        let (found, option, warning) = match &options.tsconfig {
            Some(path) => {
                let path = root.join(path);
                let found = resolver.resolve_tsconfig(&path);
                let found = found.map_err(|error| unusable(&error, &path, &root))?;
                (Some(found), rolldown::TsConfig::Manual(path), None)
            }
            None => match resolver.find_tsconfig(entry) {
                Ok(found) => (found, rolldown::TsConfig::Auto(true), None),
                Err(error) => {
                    let warning = unusable(&error, Path::new("tsconfig.json"), &root);
                    (None, rolldown::TsConfig::Auto(false), Some(warning))
                }
            },
        };
        Ok(Self {
            transform: BundlerTransformOptions {
                jsx: Some(Either::Right(jsx(options, found.as_deref()))),
                ..BundlerTransformOptions::default()
            },
            tsconfig: option,
            file: found.map(|tsconfig| tsconfig.path.clone()),
            warning,
        })
    }
}

fn unusable(error: &ResolveError, path: &Path, root: &Path) -> Diagnostic {
    let shown = |path: &Path| {
        let relative = path.strip_prefix(root).unwrap_or(path);
        relative.to_string_lossy().into_owned()
    };
    let diagnostic = Diagnostic { file: Some(shown(path)), ..Diagnostic::default() };
    match error {
        ResolveError::Json(json) => Diagnostic {
            message: json.message.clone(),
            file: Some(shown(&json.path)),
            line: u32::try_from(json.line).ok(),
            column: u32::try_from(json.column).ok(),
            ..diagnostic
        },
        ResolveError::TsconfigNotFound(missing) => {
            Diagnostic { message: format!("{} does not exist", shown(missing)), ..diagnostic }
        }
        other => Diagnostic { message: other.to_string(), ..diagnostic },
    }
}

fn jsx(options: &BundleOptions, tsconfig: Option<&TsConfig>) -> JsxOptions {
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
        Jsx::FromTsconfig => {
            JsxOptions { runtime: default_runtime(tsconfig).map(str::to_owned), ..JsxOptions::default() }
        }
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
