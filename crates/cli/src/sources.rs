//! What a project's files become, whether they are served here or uploaded: one bundle, one set of assets.

use std::io::Read;
use std::path::{Path, PathBuf};

use selvedge_assets::{AssetSet, AssetsConfig, AssetsError};
use selvedge_bundle::{Bundle, BundleError, BundleOptions, Format, Mode, Module, ModuleKind};
use selvedge_project::{FileKind, GlobalFile, Project};

/// Why a project's worker has no modules.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{}", .0.report())]
    Bundle(BundleError),
    #[error("cannot read {}", .path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "{}: `{key}.{name}` is a global of a worker that calls addEventListener, and this one exports its handlers: \
         take it out of the configuration, and import the file in the worker", .project.display()
    )]
    NoGlobals { project: PathBuf, key: &'static str, name: String },
}

/// The modules of the project's worker, if it has one. A script, which imports nothing, has its files as globals: see
/// [`globals`].
pub async fn bundle(project: &Project, mode: Mode) -> Result<Option<Bundle>, SourceError> {
    let Some(main) = &project.main else {
        return Ok(None);
    };
    let options = bundle_options(project, main, mode);
    let mut bundle = selvedge_bundle::bundle(&options).await.map_err(SourceError::Bundle)?;
    if let Some(first) = project.globals.first()
        && bundle.format != Format::ServiceWorker
    {
        return Err(SourceError::NoGlobals {
            project: project.config.clone().unwrap_or_else(|| project.root.clone()),
            key: first.kind.key(),
            name: first.name.to_string(),
        });
    }
    let mut bytes: u64 = bundle.modules.iter().map(|module| module.body.len() as u64).sum();
    for file in &project.globals {
        let module = module(file, bytes, options.size_max_bytes)?;
        bytes = bytes.saturating_add(module.body.len() as u64);
        bundle.modules.push(module);
        bundle.watched.push(file.path.clone());
    }
    bundle.watched.sort();
    Ok(Some(bundle))
}

/// The globals by which a script has its modules, with the types of their bindings. In the other form there are none.
pub fn globals(bundle: &Bundle) -> impl Iterator<Item = (&str, &'static str)> {
    let is_script = bundle.format == Format::ServiceWorker;
    bundle.modules.iter().filter(move |_| is_script).filter_map(|module| {
        let kind = match module.kind {
            ModuleKind::Wasm => "wasm_module",
            ModuleKind::Text => "text_blob",
            ModuleKind::Data => "data_blob",
            ModuleKind::EsModule | ModuleKind::CommonJs | ModuleKind::Json => return None,
        };
        Some((module.name.as_str(), kind))
    })
}

/// A file that the configuration makes a global, beside modules of so many bytes.
fn module(file: &GlobalFile, bytes: u64, bytes_max: u64) -> Result<Module, SourceError> {
    let fail = |source| SourceError::File { path: file.path.clone(), source };
    let left = bytes_max.saturating_sub(bytes);
    let mut body = Vec::new();
    let opened = std::fs::File::open(&file.path).map_err(fail)?;
    opened.take(left.saturating_add(1)).read_to_end(&mut body).map_err(fail)?;
    let actual_bytes = bytes.saturating_add(body.len() as u64);
    if actual_bytes > bytes_max {
        return Err(SourceError::Bundle(BundleError::TooLarge { actual_bytes, max_bytes: bytes_max }));
    }
    let kind = match file.kind {
        FileKind::Wasm => ModuleKind::Wasm,
        FileKind::Text => ModuleKind::Text,
        FileKind::Data => ModuleKind::Data,
    };
    Ok(Module { name: file.name.to_string(), kind, body: body.into(), source_map: None })
}

/// How the project's worker is bundled.
fn bundle_options(project: &Project, main: &Path, mode: Mode) -> BundleOptions {
    let bundling = &project.bundling;
    let mut options = BundleOptions::new(&project.root, main);
    options.mode = mode;
    options.define = bundling.define.clone();
    options.alias = bundling.alias.clone();
    options.minify = bundling.minify;
    options.keep_names = bundling.keep_names.unwrap_or(options.keep_names);
    options.tsconfig = bundling.tsconfig.clone();
    options.no_bundle = bundling.no_bundle;
    options.find_additional_modules = bundling.find_additional_modules;
    options.modules_folder.clone_from(&bundling.base_dir);
    if let Some(factory) = &bundling.jsx_factory {
        options.jsx = selvedge_bundle::Jsx::Classic {
            factory: factory.clone(),
            fragment: bundling.jsx_fragment.clone().unwrap_or_else(|| "React.Fragment".into()),
        };
    }
    options.rules = bundling
        .rules
        .iter()
        .map(|rule| selvedge_bundle::Rule {
            kind: match rule.module_type {
                selvedge_project::ModuleType::EsModule => selvedge_bundle::ModuleKind::EsModule,
                selvedge_project::ModuleType::CommonJs => selvedge_bundle::ModuleKind::CommonJs,
                selvedge_project::ModuleType::CompiledWasm => selvedge_bundle::ModuleKind::Wasm,
                selvedge_project::ModuleType::Text => selvedge_bundle::ModuleKind::Text,
                selvedge_project::ModuleType::Data => selvedge_bundle::ModuleKind::Data,
            },
            globs: rule.globs.clone(),
            fallthrough: rule.fallthrough,
        })
        .collect();
    options
}

/// The project's static files, if it has any.
pub fn asset_set(project: &Project, has_worker: bool) -> Result<Option<AssetSet>, AssetsError> {
    let Some(configured) = &project.assets else {
        return Ok(None);
    };
    let date = project.compatibility_date.to_string();
    let config = AssetsConfig {
        html_handling: match configured.html_handling {
            selvedge_project::HtmlHandling::AutoTrailingSlash => selvedge_assets::HtmlHandling::AutoTrailingSlash,
            selvedge_project::HtmlHandling::ForceTrailingSlash => selvedge_assets::HtmlHandling::ForceTrailingSlash,
            selvedge_project::HtmlHandling::DropTrailingSlash => selvedge_assets::HtmlHandling::DropTrailingSlash,
            selvedge_project::HtmlHandling::None => selvedge_assets::HtmlHandling::None,
        },
        not_found_handling: match configured.not_found_handling {
            selvedge_project::NotFoundHandling::SinglePageApplication => {
                selvedge_assets::NotFoundHandling::SinglePageApplication
            }
            selvedge_project::NotFoundHandling::NotFoundPage => selvedge_assets::NotFoundHandling::NotFoundPage,
            selvedge_project::NotFoundHandling::None => selvedge_assets::NotFoundHandling::None,
        },
        run_worker_first: match &configured.run_worker_first {
            selvedge_project::RunWorkerFirst::Never => selvedge_assets::RunWorkerFirst::Always(false),
            selvedge_project::RunWorkerFirst::Always => selvedge_assets::RunWorkerFirst::Always(true),
            selvedge_project::RunWorkerFirst::Matching(routes) => {
                let negated = routes.assets.iter().map(|rule| format!("!{rule}"));
                selvedge_assets::RunWorkerFirst::Rules(routes.worker.iter().cloned().chain(negated).collect())
            }
        },
        has_worker,
        navigation_prefers_assets: AssetsConfig::navigation_prefers_assets(&date, &project.compatibility_flags),
    };
    let set = AssetSet::open(&configured.directory, config)?;
    Ok(Some(set.with_base_path(configured.base_path.as_deref().unwrap_or_default())))
}
