//! What a developer wrote about one worker, read into types that cannot be wrong.
//!
//! [`load`] takes a script, a folder or a config file (`wrangler.json`, `wrangler.jsonc`, `wrangler.toml`) and gives
//! a [`Project`]: every name valid, every path resolved and existing, every environment already merged by wrangler's
//! inheritance rules. Whoever holds a `Project` checks nothing again.
//!
//! What holds:
//! - A key this crate does not know is a [`Warning`], never an error: a config written for a newer wrangler still runs.
//! - A known key with a wrong value is a [`Problem`] with file, line, column, key path, what was expected and what was
//!   found. All problems of a file are reported at once.
//! - JSON, JSONC and TOML become one spanned tree (`tree`) before any meaning is read from them, so each rule is
//!   written once.
//! - Everything is bounded: [`FILE_BYTES_MAX`] per file, [`ENV_ENTRIES_MAX`] secrets, and no path may leave the
//!   repository the project lives in.
//! - Nothing here prints a secret's value: [`Secret`] hides it from `Debug`, and messages about `.dev.vars` and `.env`
//!   name the key only.
//!
//! It reads files and, for names listed under `secrets.required`, the process environment. It starts nothing, writes
//! nothing and follows no reference to the network.
#![forbid(unsafe_code)]

mod assemble;
mod assets;
mod bindings;
mod bundling;
mod deploy;
mod dotenv;
mod error;
mod expand;
mod file;
mod globals;
mod jsonc;
mod limits;
mod locate;
mod name;
mod network;
mod paths;
mod project;
mod reader;
mod secrets;
mod settings;
mod toml;
mod tree;
mod unavailable;
mod warning;

use std::{collections::BTreeMap, path::Path};

use crate::secrets::Secrets;

pub use crate::{
    dotenv::ENV_ENTRIES_MAX,
    error::{Location, Problem, ProblemKind, Problems, ProjectError},
    file::FILE_BYTES_MAX,
    limits::{CPU_MS_MAX, SUBREQUESTS_MAX},
    name::{BindingName, CompatibilityDate, Cron, EnvironmentName, InvalidDate, InvalidName, WorkerName},
    project::{
        AssetRoutes, Assets, Bundling, Deploy, Dev, DevAddress, FileKind, GlobalFile, HtmlHandling, Identity, Limits,
        ModuleRule, ModuleType, NotFoundHandling, Project, RateLimit, Route, RunWorkerFirst, Secret, Service, Var,
        Zone,
    },
    unavailable::{BindingKind, UnavailableBinding},
    warning::{Warning, WarningKind},
};

/// Reads the project at `path`, as the environment `env` sees it (`None` is the top level).
///
/// `path` is a script (`.js`, `.mjs`, `.jsx`, `.ts`, `.mts`, `.tsx`), a folder, or a config file.
pub fn load(path: &Path, env: Option<&str>) -> Result<Project, ProjectError> {
    assemble::load(path, env, Secrets::Files(&|name| std::env::var(name).ok()))
}

/// [`load`] without the secrets of `.dev.vars` and `.env`, which are this machine's and no platform's: what is deployed.
pub fn load_deployed(path: &Path, env: Option<&str>) -> Result<Project, ProjectError> {
    assemble::load(path, env, Secrets::None)
}

/// Who the worker at `path` is, though its files may not be there yet.
pub fn identify(path: &Path, env: Option<&str>) -> Result<Identity, ProjectError> {
    assemble::identify(path, env)
}

/// What the `.env` files of a folder say: for tools that take their own settings from there.
pub fn dot_env(folder: &Path, env: Option<&str>) -> Result<BTreeMap<String, Secret>, ProjectError> {
    let environment = assemble::environment(env)?;
    secrets::dot_env_of(folder, environment.as_ref())
}

/// The secrets in a file of their own: a JSON object of texts, or lines as in `.env`.
pub fn read_secrets(path: &Path) -> Result<BTreeMap<BindingName, Secret>, ProjectError> {
    let secrets = secrets::file_of(path, secrets::Nulls::Refused)?;
    Ok(secrets.into_iter().filter_map(|(name, secret)| Some((name, secret?))).collect())
}

/// The same for changes: what is `null` is to be removed, and none here.
pub fn read_secret_changes(path: &Path) -> Result<BTreeMap<BindingName, Option<Secret>>, ProjectError> {
    secrets::file_of(path, secrets::Nulls::Taken)
}
