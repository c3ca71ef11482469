//! From a project on disk to a version that an edge can serve.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_bundle::{Bundle, Mode, SourceMap};
use selvedge_edge::{Assets, Deployed, ServiceTarget, SourceMapper};
use selvedge_model::{
    AccountId, Binding, Format, Limits, Manifest, Module, ModuleKind, Place, RateLimit, Version, WorkerKey,
};
use selvedge_project::{Project, ProjectError, Var};

use crate::sources::{self, SourceError};

/// Why a project has no version.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the assets cannot be served")]
    Assets(#[from] selvedge_assets::AssetsError),
}

/// A version, and what it was made from.
pub struct Built {
    pub deployed: Deployed,
    pub project: Project,
    /// Files whose change makes the version stale.
    pub inputs: Vec<PathBuf>,
    pub warnings: Vec<String>,
}

/// Builds the version of the project at `path`.
pub async fn build(path: &Path, env: Option<&str>) -> Result<Built, BuildError> {
    let project = selvedge_project::load(path, env)?;
    let mut warnings: Vec<String> = project.warnings.iter().map(ToString::to_string).collect();
    let mut inputs = project.inputs.clone();
    let bundle = sources::bundle(&project, Mode::Development).await?;
    let assets = assets(&project, bundle.is_some())?;
    if let Some(assets) = &assets {
        warnings.extend(assets.set.notices().iter().map(ToString::to_string));
    }
    if let Some(bundle) = &bundle {
        warnings.extend(bundle.warnings.iter().cloned());
        inputs.extend(bundle.watched.iter().cloned());
    }
    if !project.deploy.tail_consumers.is_empty() {
        warnings.push(format!("{}: `tail_consumers` are told of nothing by `selvedge dev`", project.name));
    }
    let version = version(&project, bundle.as_ref());
    let mut deployed = Deployed::new(key_of(&project.name), version);
    deployed.services = project
        .services
        .iter()
        .map(|service| {
            let target = ServiceTarget {
                worker: key_of(&service.service).worker,
                entrypoint: service.entrypoint.clone(),
                props: service.props.clone().map(serde_json::Value::Object),
            };
            (service.binding.as_str().to_owned(), target)
        })
        .collect();
    deployed.assets = assets;
    deployed.source_mapper = bundle.map(|bundle| Arc::new(Mapper::new(&bundle)) as Arc<dyn SourceMapper>);
    Ok(Built { deployed, project, inputs, warnings })
}

/// The key of a worker of this machine alone.
pub fn key_of(name: &selvedge_project::WorkerName) -> WorkerKey {
    let worker = name.as_str().parse().unwrap_or_else(|_| unreachable!("a project's name is a worker's name"));
    WorkerKey::new(AccountId::local(), worker)
}

fn assets(project: &Project, has_worker: bool) -> Result<Option<Assets>, BuildError> {
    let binding = project.assets.as_ref().and_then(|assets| assets.binding.as_ref());
    let binding = binding.map(|name| name.as_str().to_owned());
    let set = sources::asset_set(project, has_worker)?;
    Ok(set.map(|set| Assets { set: Arc::new(set), binding, has_worker }))
}

fn version(project: &Project, bundle: Option<&Bundle>) -> Version {
    let modules: Vec<Module> = bundle
        .into_iter()
        .flat_map(|bundle| {
            bundle.modules.iter().map(|module| Module {
                name: module.name.clone(),
                kind: match (module.kind, bundle.format) {
                    (selvedge_bundle::ModuleKind::EsModule, selvedge_bundle::Format::ServiceWorker)
                        if module.name == bundle.main =>
                    {
                        ModuleKind::Script
                    }
                    (selvedge_bundle::ModuleKind::EsModule, _) => ModuleKind::EsModule,
                    (selvedge_bundle::ModuleKind::CommonJs, _) => ModuleKind::CommonJs,
                    (selvedge_bundle::ModuleKind::Text, _) => ModuleKind::Text,
                    (selvedge_bundle::ModuleKind::Data, _) => ModuleKind::Data,
                    (selvedge_bundle::ModuleKind::Json, _) => ModuleKind::Json,
                    (selvedge_bundle::ModuleKind::Wasm, _) => ModuleKind::Wasm,
                },
                body: module.body.clone(),
                code_cache: None,
            })
        })
        .collect();
    let mut hasher = blake3::Hasher::new();
    for module in &modules {
        hasher.update(module.name.as_bytes()).update(&module.body);
    }
    let id = hasher.finalize().to_hex().get(..16).unwrap_or_default().to_owned();
    let format = match bundle.map(|bundle| bundle.format) {
        Some(selvedge_bundle::Format::ServiceWorker) => Format::ServiceWorker,
        _ => Format::Modules,
    };
    let manifest = Manifest {
        worker: project.name.as_str().to_owned(),
        version: id.clone(),
        format,
        main: bundle.map(|bundle| bundle.main.clone()).unwrap_or_default(),
        compatibility_date: project.compatibility_date.to_string(),
        compatibility_flags: project.compatibility_flags.clone(),
        bindings: bindings(project, bundle, &id),
        limits: limits(project),
    };
    Version { manifest, modules }
}

fn limits(project: &Project) -> Limits {
    let mut limits = Limits::default();
    let configured = &project.limits;
    if let Some(cpu) = configured.cpu {
        limits.cpu_ms = cpu.as_millis() as u32;
    }
    if let Some(wall) = configured.wall {
        limits.wall_ms = wall.as_millis() as u64;
    }
    if let Some(wait_until) = configured.wait_until {
        limits.wait_until_ms = wait_until.as_millis() as u64;
    }
    if let Some(startup) = configured.startup {
        limits.startup_ms = startup.as_millis() as u32;
    }
    if let Some(subrequests) = configured.subrequests {
        limits.subrequests = subrequests;
    }
    if let Some(bytes) = configured.memory_bytes {
        limits.memory_mib = (bytes / (1024 * 1024)) as u32;
    }
    if let Some(connections) = configured.connections {
        limits.connections = connections;
    }
    if let Some(bytes) = configured.request_body_bytes {
        limits.request_body_bytes = bytes;
    }
    if let Some(bytes) = configured.response_header_bytes {
        limits.response_header_bytes = bytes as u32;
    }
    if let Some(bytes) = configured.log_bytes {
        limits.log_bytes = bytes as u32;
    }
    limits
}

fn bindings(project: &Project, bundle: Option<&Bundle>, version: &str) -> Vec<Binding> {
    let mut bindings = Vec::new();
    for (name, var) in &project.vars {
        let mut binding = Binding::new(name.as_str(), "text");
        match var {
            Var::Text(text) => binding.text = Some(text.clone()),
            Var::Json(value) => {
                binding.kind = "json".into();
                binding.json = Some(value.to_string());
            }
        }
        bindings.push(binding);
    }
    for (name, secret) in &project.secrets {
        let mut binding = Binding::new(name.as_str(), "secret");
        binding.text = Some(secret.expose().to_owned());
        bindings.push(binding);
    }
    for service in &project.services {
        bindings.push(Binding::new(service.binding.as_str(), "service"));
    }
    if let Some(name) = project.assets.as_ref().and_then(|assets| assets.binding.as_ref()) {
        bindings.push(Binding::new(name.as_str(), "assets"));
    }
    if let Some(name) = &project.version_metadata {
        let mut binding = Binding::new(name.as_str(), "version_metadata");
        binding.id = Some(version.to_owned());
        binding.tag = Some(String::new());
        binding.timestamp = Some(String::new());
        bindings.push(binding);
    }
    for rate in &project.rate_limits {
        let mut binding = Binding::new(rate.binding.as_str(), "ratelimit");
        binding.id = Some(rate.namespace_id.clone());
        binding.json = serde_json::to_string(&RateLimit { limit: rate.limit, period: rate.period }).ok();
        bindings.push(binding);
    }
    for (name, kind) in bundle.into_iter().flat_map(sources::globals) {
        let mut binding = Binding::new(name, kind);
        binding.id = Some(name.to_owned());
        bindings.push(binding);
    }
    for missing in &project.unavailable {
        bindings.push(Binding::new(missing.name.as_str(), missing.kind.label()));
    }
    bindings
}

/// The source maps of a bundle.
struct Mapper {
    maps: HashMap<String, SourceMap>,
}

impl Mapper {
    fn new(bundle: &Bundle) -> Self {
        let maps = bundle
            .modules
            .iter()
            .filter_map(|module| Some((module.name.clone(), SourceMap::parse(module.source_map.as_deref()?)?)))
            .collect();
        Self { maps }
    }

    fn map_of(&self, file: &str) -> Option<&SourceMap> {
        self.maps.get(file.strip_prefix("file:///").unwrap_or(file))
    }
}

impl SourceMapper for Mapper {
    fn stack(&self, stack: &str) -> String {
        let mapped =
            selvedge_bundle::map_stack(stack, |file, line, column| self.map_of(file)?.original_position(line, column));
        // Frames of the runtime's own scripts tell the author nothing.
        mapped
            .lines()
            .filter(|line| !line.contains("(ext:") && !line.contains("at ext:"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn place(&self, place: Place) -> Place {
        let original = self.map_of(&place.file).and_then(|map| map.original_position(place.line, place.column));
        match original {
            Some(original) => Place {
                file: original.source,
                line: original.line,
                column: original.column,
                function: place.function.or(original.name),
            },
            None => place,
        }
    }
}
