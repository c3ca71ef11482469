//! `selvedge delete`: a worker and all that belongs to it.

use clap::Args;
use selvedge_project::WorkerName;
use serde::Deserialize;
use serde_json::json;

use super::console::Console;
use super::error::ClientError;
use super::place::PlaceArguments;
use super::worker::{Worker, WorkerArguments};

#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// Name of the worker [default: that of the project in this folder]
    #[arg(value_name = "WORKER", conflicts_with = "name")]
    target: Option<WorkerName>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Also if other workers refer to it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct References {
    services: Services,
    durable_objects: Vec<Referrer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Services {
    incoming: Vec<Referrer>,
}

#[derive(Debug, Deserialize)]
struct Referrer {
    service: String,
}

pub fn delete(arguments: &DeleteArguments, console: &Console) -> Result<(), ClientError> {
    let mut worker = arguments.worker.clone();
    worker.name = worker.name.or_else(|| arguments.target.clone());
    let worker = worker.find(&arguments.place, console)?;
    if !arguments.force {
        check_references(&worker)?;
    }
    if !arguments.yes && !arguments.force {
        console.confirm(&format!("Remove the worker {} with all of its versions?", worker.name), "--yes")?;
    }
    let path = ["accounts", &worker.place.account, "workers", "services", &worker.name];
    let force = if arguments.force { "true" } else { "false" };
    worker.place.api.delete(&path, &[("force", force)])?;
    console.result(|| json!({ "worker": worker.name, "deleted": true }), || format!("{} is gone", worker.name))
}

fn check_references(worker: &Worker) -> Result<(), ClientError> {
    let references: References = worker.place.api.get(&worker.path(&["references"]), &[])?;
    let referrers = references.services.incoming.iter().chain(&references.durable_objects);
    let mut names: Vec<&str> = referrers.map(|referrer| referrer.service.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    Err(ClientError::Missing(format!(
        "other workers refer to {}: {}. Remove their bindings first, or use --force",
        worker.name,
        names.join(", ")
    )))
}
