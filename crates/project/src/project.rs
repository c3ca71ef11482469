//! The project itself: plain data.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use serde_json::{Map, Value as Json};

use crate::{
    name::{BindingName, CompatibilityDate, Cron, EnvironmentName, WorkerName},
    unavailable::UnavailableBinding,
    warning::Warning,
};

/// One worker as its author declared it, in one environment. Paths are absolute, free of symlinks, and existed when
/// they were read. Binding names are unique over all of `vars`, `secrets`, `services`, `assets`, `version_metadata`,
/// `rate_limits`, `globals` and `unavailable`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Project {
    pub name: WorkerName,
    /// The folder relative paths start at: that of the config, or of the script.
    pub root: PathBuf,
    /// The config file, where there is one.
    pub config: Option<PathBuf>,
    pub environment: Option<EnvironmentName>,
    /// The worker's file. `None` only when `assets` is there: a site without a worker.
    pub main: Option<PathBuf>,
    pub compatibility_date: CompatibilityDate,
    pub compatibility_flags: Vec<String>,
    pub vars: BTreeMap<BindingName, Var>,
    /// From `.dev.vars` or `.env`. A secret replaces the variable of the same name.
    pub secrets: BTreeMap<BindingName, Secret>,
    pub services: Vec<Service>,
    pub assets: Option<Assets>,
    pub version_metadata: Option<BindingName>,
    pub rate_limits: Vec<RateLimit>,
    /// Files that a worker in the service-worker form has as globals.
    pub globals: Vec<GlobalFile>,
    /// Bindings that are declared but that this version of Selvedge cannot provide yet.
    pub unavailable: Vec<UnavailableBinding>,
    pub limits: Limits,
    pub bundling: Bundling,
    /// `None` leaves those alone that are set; an empty list removes them.
    pub crons: Option<Vec<Cron>>,
    pub routes: Vec<Route>,
    pub dev: Dev,
    pub deploy: Deploy,
    /// Every file whose content, appearance or disappearance changes this value: the config and the secret files,
    /// whether they exist or not. Sources are not among them; the bundler knows those.
    pub inputs: Vec<PathBuf>,
    pub warnings: Vec<Warning>,
}

/// What a worker is called, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: WorkerName,
    pub account_id: Option<String>,
}

/// The value of a variable: a string stays a string, all else is JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Var {
    Text(String),
    Json(serde_json::Value),
}

/// A value that must not be shown. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A binding to another worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub binding: BindingName,
    pub service: WorkerName,
    /// The named export to call; `None` is the default export.
    pub entrypoint: Option<String>,
    /// What the callee sees as `ctx.props`.
    pub props: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A binding that counts how often each key is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    pub binding: BindingName,
    /// What is counted together.
    pub namespace_id: String,
    /// Uses of one key in one period.
    pub limit: u32,
    /// The period, in seconds.
    pub period: u32,
}

/// A file, and the global that a worker in the service-worker form has it as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalFile {
    pub name: BindingName,
    pub kind: FileKind,
    pub path: PathBuf,
}

/// What a file is to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A `WebAssembly.Module`.
    Wasm,
    /// A string.
    Text,
    /// An `ArrayBuffer`.
    Data,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Assets {
    pub directory: PathBuf,
    pub binding: Option<BindingName>,
    pub html_handling: HtmlHandling,
    pub not_found_handling: NotFoundHandling,
    pub run_worker_first: RunWorkerFirst,
    /// The path below which the files are served, if it is not the root.
    pub base_path: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HtmlHandling {
    #[default]
    AutoTrailingSlash,
    ForceTrailingSlash,
    DropTrailingSlash,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotFoundHandling {
    SinglePageApplication,
    NotFoundPage,
    #[default]
    None,
}

/// Which requests reach the worker before the assets are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RunWorkerFirst {
    #[default]
    Never,
    Always,
    Matching(AssetRoutes),
}

/// Paths start with `/`; `*` stands for any characters. `assets` wins over `worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRoutes {
    /// Never empty.
    pub worker: Vec<String>,
    /// The rules written with `!`, without it.
    pub assets: Vec<String>,
}

/// Limits the author asked for; `None` is the platform's default. All but `cpu` and `subrequests` are Selvedge's own:
/// `limits.wall_ms`, `wait_until_ms`, `memory_mb`, `startup_ms`, `connections`, `request_body_mb`, `response_headers_kb` and
/// `log_kb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    pub cpu: Option<Duration>,
    pub subrequests: Option<u32>,
    pub wall: Option<Duration>,
    pub wait_until: Option<Duration>,
    pub memory_bytes: Option<u64>,
    pub startup: Option<Duration>,
    pub connections: Option<u32>,
    pub request_body_bytes: Option<u64>,
    pub response_header_bytes: Option<u64>,
    pub log_bytes: Option<u64>,
}

/// How sources become the modules of a version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bundling {
    /// In the author's order; they come before the platform's own rules.
    pub rules: Vec<ModuleRule>,
    pub no_bundle: bool,
    pub minify: bool,
    pub keep_names: Option<bool>,
    pub find_additional_modules: Option<bool>,
    pub base_dir: Option<PathBuf>,
    /// Identifier to the JavaScript expression that replaces it.
    pub define: BTreeMap<String, String>,
    /// Module to the module (a package, or a path relative to the root) imported in its place.
    pub alias: BTreeMap<String, String>,
    pub tsconfig: Option<PathBuf>,
    pub jsx_factory: Option<String>,
    pub jsx_fragment: Option<String>,
}

/// Which type files are imported as. In a glob, `*` stays in a folder and `**` does not; every other character is
/// itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRule {
    pub module_type: ModuleType,
    /// Never empty.
    pub globs: Vec<String>,
    /// Whether later rules of the same type, the platform's among them, still apply.
    pub fallthrough: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleType {
    EsModule,
    CommonJs,
    CompiledWasm,
    Text,
    Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub pattern: String,
    pub zone: Option<Zone>,
    pub custom_domain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    Id(String),
    Name(String),
}

/// What the config says about the local server; the command line wins over it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dev {
    /// 0 is any free port.
    pub port: Option<u16>,
    pub address: Option<DevAddress>,
}

/// What the config says about the platform that the worker is deployed to. The objects are as the author wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deploy {
    pub account_id: Option<String>,
    /// Whether the worker answers at the platform's own domain; `None` is: where it has no routes.
    pub workers_dev: Option<bool>,
    /// Whether its versions do; `None` is as `workers_dev`.
    pub preview_urls: Option<bool>,
    /// Variables that the config does not have are kept.
    pub keep_vars: bool,
    pub logpush: Option<bool>,
    /// `None` is yes.
    pub upload_source_maps: Option<bool>,
    pub placement: Option<Map<String, Json>>,
    pub observability: Option<Map<String, Json>>,
    pub cache: Option<Map<String, Json>>,
    /// Of Durable Objects' classes, oldest first.
    pub migrations: Vec<Map<String, Json>>,
    /// Workers that are told what became of this one's events.
    pub tail_consumers: Vec<WorkerName>,
    /// Each has a `queue`.
    pub queue_consumers: Vec<Map<String, Json>>,
    /// Secrets without which the worker must not be deployed.
    pub secrets_required: Vec<BindingName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevAddress {
    Localhost,
    /// Every address of the machine, written `*`.
    Any,
    Ip(IpAddr),
}

// === impl Project ===

impl Project {
    /// A worker about which nothing is known but its name and place: every setting at its default.
    pub(crate) fn new(name: WorkerName, root: PathBuf) -> Self {
        Self {
            name,
            root,
            config: None,
            environment: None,
            main: None,
            compatibility_date: CompatibilityDate::today(),
            compatibility_flags: Vec::new(),
            vars: BTreeMap::new(),
            secrets: BTreeMap::new(),
            services: Vec::new(),
            assets: None,
            version_metadata: None,
            rate_limits: Vec::new(),
            globals: Vec::new(),
            unavailable: Vec::new(),
            limits: Limits::default(),
            bundling: Bundling::default(),
            crons: None,
            routes: Vec::new(),
            dev: Dev::default(),
            deploy: Deploy::default(),
            inputs: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

// === impl DevAddress ===

impl DevAddress {
    /// What to listen on.
    pub fn ip(self) -> IpAddr {
        match self {
            Self::Localhost => Ipv4Addr::LOCALHOST.into(),
            Self::Any => Ipv4Addr::UNSPECIFIED.into(),
            Self::Ip(ip) => ip,
        }
    }
}

// === impl FileKind ===

impl FileKind {
    /// The config's key that declares such files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Wasm => "wasm_modules",
            Self::Text => "text_blobs",
            Self::Data => "data_blobs",
        }
    }
}

// === impl Secret ===

impl Secret {
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the worker's `env` and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
