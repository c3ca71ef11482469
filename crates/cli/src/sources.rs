//! What a project's files become, whether they are served here or uploaded: one bundle, one set of assets.

use std::path::Path;

use selvedge_assets::{AssetSet, AssetsConfig, AssetsError};
use selvedge_bundle::{BundleOptions, Mode};
use selvedge_project::Project;

/// How the project's worker is bundled.
pub fn bundle_options(project: &Project, main: &Path, mode: Mode) -> BundleOptions {
    let bundling = &project.bundling;
    let mut options = BundleOptions::new(&project.root, main);
    options.mode = mode;
    options.define = bundling.define.clone();
    options.alias = bundling.alias.clone();
    options.minify = bundling.minify;
    options.tsconfig = bundling.tsconfig.clone();
    options.no_bundle = bundling.no_bundle;
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
