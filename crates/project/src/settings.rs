//! All the keys of a config, and wrangler's rules for what an environment inherits from the top level.

use std::collections::BTreeMap;

use crate::{
    assets::{self, AssetSettings},
    bindings::{self, Bindings},
    bundling::{self, BundlingSettings},
    deploy::{self, DeploySettings},
    error::{ProblemKind, ProjectError},
    file::SourceFile,
    globals::{self, GlobalSettings},
    limits,
    name::{CompatibilityDate, Cron, EnvironmentName, WorkerName},
    network,
    project::{Dev, Limits, Route},
    reader::{At, Fields, Placed, Reader, Type},
    tree::{Node, Value},
    unavailable,
    warning::WarningKind,
};

/// What an environment, or the top level, sets.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: Option<WorkerName>,
    pub(crate) main: Option<Placed<String>>,
    pub(crate) compatibility_date: Option<CompatibilityDate>,
    pub(crate) compatibility_flags: Option<Vec<String>>,
    pub(crate) assets: Option<AssetSettings>,
    pub(crate) limits: Option<Limits>,
    pub(crate) bundling: BundlingSettings,
    pub(crate) crons: Option<Vec<Cron>>,
    pub(crate) routes: Option<Vec<Route>>,
    pub(crate) deploy: DeploySettings,
    /// Of the top level.
    pub(crate) keep_vars: bool,
    pub(crate) define: BTreeMap<String, String>,
    pub(crate) bindings: Bindings,
    /// Of the top level.
    pub(crate) globals: Vec<GlobalSettings>,
    pub(crate) dev: Dev,
    pub(crate) alias: BTreeMap<String, String>,
}

/// Keys of wrangler's that change nothing here, or nothing yet. Environments may set them.
const WITHOUT_EFFECT: &[(&str, Type)] = &[
    ("first_party_worker", Type::Flag),
    ("compliance_region", Type::Text),
    ("previews", Type::Object),
    ("logfwdr", Type::Object),
];

/// Keys whose absence the worker would notice, with what to say.
const NOT_SUPPORTED: &[(&str, Type, &str)] = &[
    ("containers", Type::List, "containers are not available yet"),
    ("cloudchamber", Type::Object, "containers are not available yet"),
    ("streaming_tail_consumers", Type::List, "streaming tail workers are not available yet: use `tail_consumers`"),
    ("python_modules", Type::Object, "Python workers do not run in Selvedge"),
];

const TOP_LEVEL_WITHOUT_EFFECT: &[(&str, Type)] = &[("$schema", Type::Text), ("send_metrics", Type::Flag)];

const TOP_LEVEL_NOT_SUPPORTED: &[(&str, Type, &str)] = &[
    ("legacy_env", Type::Flag, "every environment is a worker of its own"),
    ("site", Type::Object, "Workers Sites gave way to static assets: use `assets.directory`"),
    ("pages_build_output_dir", Type::Text, "Pages projects do not run here: use `assets.directory` and `main`"),
];

/// Keys of this crate's own that wrangler reads at the top level only, for the warning in an environment.
const TOP_LEVEL_ONLY: &[&str] = &[
    "$schema",
    "alias",
    "data_blobs",
    "dev",
    "env",
    "keep_vars",
    "legacy_env",
    "pages_build_output_dir",
    "send_metrics",
    "site",
    "text_blobs",
    "wasm_modules",
];

/// Keys, beside those that declare unavailable bindings, that an environment does not inherit.
const NOT_INHERITED: &[&str] =
    &["vars", "define", "services", "version_metadata", "ratelimits", "secrets", "tail_consumers"];

/// Flags of a compatibility list, above which it is a mistake.
const FLAGS_MAX: usize = 200;

/// Reads the tree of a config, as `environment` sees it.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    file: &SourceFile,
    root: &Node,
    environment: Option<&EnvironmentName>,
) -> Result<Settings, ProjectError> {
    let at = At { node: root, key: String::new() };
    if !matches!(root.value, Value::Object(_)) {
        return Err(ProjectError::Syntax {
            at: file.locate(root.at),
            message: format!("a config is an object, found {}", root.describe()),
        });
    }
    let Some(mut fields) = reader.fields(&at) else {
        return Ok(Settings::default());
    };
    let mut top = read_level(reader, &mut fields);
    read_top_level(reader, &mut fields, &mut top);
    let environments = environments(reader, &mut fields);
    let settings = match environment {
        None => top,
        Some(name) => match environments.iter().find(|(key, _)| key == name.as_str()) {
            Some((_, at)) => inherit(reader, name, &fields, at, top),
            None if environments.is_empty() => {
                let kind = WarningKind::NoEnvironments { environment: name.clone() };
                reader.warn(root.at, "env".to_owned(), kind);
                suffix_name(reader, &at, name, &mut top);
                top
            }
            None => {
                return Err(ProjectError::NoSuchEnvironment {
                    file: file.path().to_owned(),
                    environment: name.clone(),
                    available: environments.into_iter().map(|(key, _)| key).collect(),
                });
            }
        },
    };
    fields.finish(reader);
    Ok(settings)
}

fn read_level(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Settings {
    let settings = Settings {
        name: fields.get("name").and_then(|at| reader.name(&at)),
        main: bundling::placed(reader, fields, "main"),
        compatibility_date: fields.get("compatibility_date").and_then(|at| compatibility_date(reader, &at)),
        compatibility_flags: fields.get("compatibility_flags").and_then(|at| compatibility_flags(reader, &at)),
        assets: fields.get("assets").and_then(|at| assets::read(reader, &at)),
        limits: fields.get("limits").and_then(|at| limits::read(reader, &at)),
        bundling: bundling::read(reader, fields),
        crons: fields.get("triggers").and_then(|at| network::crons(reader, &at)),
        routes: network::routes(reader, fields),
        deploy: deploy::read(reader, fields),
        keep_vars: false,
        define: fields.get("define").and_then(|at| reader.string_map(&at)).unwrap_or_default(),
        bindings: bindings::read(reader, fields),
        globals: Vec::new(),
        dev: Dev::default(),
        alias: BTreeMap::new(),
    };
    skim(reader, fields, WITHOUT_EFFECT, NOT_SUPPORTED);
    settings
}

fn read_top_level(reader: &mut Reader<'_>, fields: &mut Fields<'_>, top: &mut Settings) {
    if let Some(dev) = fields.get("dev").and_then(|at| network::dev(reader, &at)) {
        top.dev = dev;
    }
    if let Some(alias) = fields.get("alias").and_then(|at| reader.string_map(&at)) {
        top.alias = alias;
    }
    top.keep_vars = fields.get("keep_vars").and_then(|at| reader.boolean(&at)).unwrap_or_default();
    top.globals = globals::read(reader, fields);
    skim(reader, fields, TOP_LEVEL_WITHOUT_EFFECT, TOP_LEVEL_NOT_SUPPORTED);
}

/// Checks the types of keys that have no effect.
fn skim(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    silent: &'static [(&'static str, Type)],
    told: &'static [(&'static str, Type, &'static str)],
) {
    for (key, expected) in silent {
        if let Some(at) = fields.get(key) {
            reader.check(&at, *expected);
        }
    }
    for (key, expected, reason) in told {
        if let Some(at) = fields.get(key)
            && reader.check(&at, *expected).is_some()
        {
            reader.warn(at.node.at, at.key, WarningKind::NotSupported { reason });
        }
    }
}

fn environments<'t>(reader: &mut Reader<'_>, fields: &mut Fields<'t>) -> Vec<(String, At<'t>)> {
    fields
        .get("env")
        .and_then(|at| reader.entries(&at))
        .unwrap_or_default()
        .into_iter()
        .map(|(entry, at)| (entry.key.clone(), at))
        .collect()
}

/// The settings of the environment at `at`, with what it inherits from the top level.
fn inherit(
    reader: &mut Reader<'_>,
    name: &EnvironmentName,
    top_fields: &Fields<'_>,
    at: &At<'_>,
    mut top: Settings,
) -> Settings {
    let Some(mut fields) = reader.fields(at) else {
        return top;
    };
    let own = read_level(reader, &mut fields);
    for key in TOP_LEVEL_ONLY {
        if fields.get(key).is_some()
            && let Some((offset, path)) = fields.key_place(key)
        {
            reader.warn(offset, path, WarningKind::TopLevelOnly);
        }
    }
    warn_not_inherited(reader, name, top_fields, &fields, &top, &own);
    fields.finish(reader);
    if own.name.is_none() {
        suffix_name(reader, at, name, &mut top);
    }
    Settings {
        name: own.name.or(top.name),
        main: own.main.or(top.main),
        compatibility_date: own.compatibility_date.or(top.compatibility_date),
        compatibility_flags: own.compatibility_flags.or(top.compatibility_flags),
        assets: own.assets.or(top.assets),
        limits: own.limits.or(top.limits),
        bundling: own.bundling.inherit(top.bundling),
        crons: own.crons.or(top.crons),
        routes: own.routes.or(top.routes),
        deploy: own.deploy.inherit(top.deploy),
        keep_vars: top.keep_vars,
        define: own.define,
        bindings: own.bindings,
        globals: top.globals,
        dev: top.dev,
        alias: top.alias,
    }
}

fn warn_not_inherited(
    reader: &mut Reader<'_>,
    name: &EnvironmentName,
    top_fields: &Fields<'_>,
    own_fields: &Fields<'_>,
    top: &Settings,
    own: &Settings,
) {
    let kind = || WarningKind::NotInherited { environment: name.clone() };
    for key in NOT_INHERITED.iter().copied().chain(unavailable::keys()) {
        if !own_fields.has(key)
            && let Some((offset, path)) = top_fields.key_place(key)
        {
            reader.warn(offset, path, kind());
        }
    }
    let Some((offset, path)) = top_fields.key_place("vars").filter(|_| own_fields.has("vars")) else {
        return;
    };
    for var in top.bindings.vars.keys() {
        if !own.bindings.vars.contains_key(var) {
            reader.warn(offset, format!("{path}.{var}"), kind());
        }
    }
}

fn suffix_name(reader: &mut Reader<'_>, at: &At<'_>, environment: &EnvironmentName, settings: &mut Settings) {
    if let Some(name) = &settings.name {
        match name.in_environment(environment) {
            Ok(name) => settings.name = Some(name),
            Err(invalid) => reader.problem(at, ProblemKind::Name(invalid)),
        }
    }
}

fn compatibility_date(reader: &mut Reader<'_>, at: &At<'_>) -> Option<CompatibilityDate> {
    let Value::String(text) = &at.node.value else {
        return reader.mistyped(at, "a date as a string, \"YYYY-MM-DD\"");
    };
    match text.parse() {
        Ok(date) => Some(date),
        Err(invalid) => {
            reader.problem(at, ProblemKind::Date(invalid));
            None
        }
    }
}

fn compatibility_flags(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<String>> {
    let flags = reader.texts(at)?;
    if flags.len() > FLAGS_MAX {
        let (count, count_max) = (flags.len(), FLAGS_MAX);
        reader.problem(at, ProblemKind::TooMany { count, count_max });
        return None;
    }
    Some(flags)
}
