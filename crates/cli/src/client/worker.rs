//! Which worker a command is about.

use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_project::WorkerName;
use serde::Deserialize;

use super::console::Console;
use super::error::ClientError;
use super::place::{Place, PlaceArguments};

/// A worker, by name or by the project that it is made from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerArguments {
    /// Name of the worker [default: that of the project in this folder]
    #[arg(long, value_name = "NAME")]
    pub name: Option<WorkerName>,
    /// Named environment of the project's configuration
    #[arg(long, short, env = "CLOUDFLARE_ENV", value_name = "NAME")]
    pub env: Option<String>,
    /// Project: a folder, a configuration file or a script
    #[arg(long, short = 'c', value_name = "PATH", default_value = ".")]
    pub config: PathBuf,
}

/// A worker of a platform, which may not be there yet.
pub struct Worker {
    pub place: Place,
    pub name: String,
}

/// A version's share of the traffic.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Share {
    pub version_id: String,
    /// Of 100.
    pub percentage: f64,
}

/// Which versions served, from when.
#[derive(Debug, Clone, Deserialize)]
pub struct Deployment {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub created_on: String,
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub author_email: String,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
    pub versions: Vec<Share>,
}

#[derive(Debug, Deserialize)]
struct Deployments {
    deployments: Vec<Deployment>,
}

// === impl WorkerArguments ===

impl WorkerArguments {
    /// The worker that is meant.
    pub fn find(&self, place: &PlaceArguments, console: &Console) -> Result<Worker, ClientError> {
        let identity = selvedge_project::identify(&self.config, self.env.as_deref());
        let (name, account) = match (&self.name, identity) {
            (Some(name), identity) => (name.clone(), identity.ok().and_then(|identity| identity.account_id)),
            (None, Ok(identity)) => (identity.name, identity.account_id),
            (None, Err(selvedge_project::ProjectError::NothingToRun { .. })) if self.config == Path::new(".") => {
                let reason = "which worker? This folder has no project: give --name NAME, or --config PATH of one";
                return Err(ClientError::Usage(reason.to_owned()));
            }
            (None, Err(error)) => return Err(error.into()),
        };
        let place = Place::find(place, self.env.as_deref(), account, console)?;
        Ok(Worker { place, name: name.as_str().to_owned() })
    }
}

// === impl Worker ===

impl Worker {
    /// `…/workers/scripts/NAME` and what follows.
    pub fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["accounts", &self.place.account, "workers", "scripts", &self.name], rest].concat()
    }

    /// The deployments, newest first; none where there is no such worker.
    pub fn deployments(&self) -> Result<Vec<Deployment>, ClientError> {
        let found: Option<Deployments> = self.place.api.find(&self.path(&["deployments"]), &[])?;
        Ok(found.map(|found| found.deployments).unwrap_or_default())
    }
}

/// `60 % of 0f8e2a11…, 40 % of …`
pub fn shares(versions: &[Share]) -> String {
    let one = |share: &Share| format!("{} % {}", share.percentage, share.version_id);
    versions.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a version or deployment was annotated with: its tag and message.
pub fn message(annotations: &std::collections::BTreeMap<String, String>) -> String {
    let of = |key: &str| annotations.get(key).map(String::as_str).unwrap_or_default();
    match (of("workers/tag"), of("workers/message")) {
        ("", message) => message.to_owned(),
        (tag, "") => format!("[{tag}]"),
        (tag, message) => format!("[{tag}] {message}"),
    }
}
