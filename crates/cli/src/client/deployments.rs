//! `selvedge deployments` and `selvedge rollback`: which versions serve, and going back.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::console::{Console, table};
use super::error::ClientError;
use super::fields::at;
use super::place::PlaceArguments;
use super::versions::full_id;
use super::worker::{Deployment, Share, Worker, WorkerArguments, message, shares};

/// All the traffic.
const WHOLE: f64 = 100.0;

#[derive(Debug, Subcommand)]
pub enum DeploymentsCommand {
    /// List the deployments, newest first
    List(DeploymentsArguments),
    /// Show what serves now
    Status(DeploymentsArguments),
}

#[derive(Debug, Args)]
pub struct DeploymentsArguments {
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct RollbackArguments {
    /// The version's id or the beginning of it [default: what served all of the traffic before]
    #[arg(value_name = "VERSION")]
    target: Option<String>,
    /// Why
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Also where secrets go back to former values
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    pub place: PlaceArguments,
}

/// How a deployment is meant.
pub struct Deploying<'a> {
    pub message: Option<&'a str>,
    pub force: bool,
}

impl DeploymentsCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::List(arguments) | Self::Status(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &DeploymentsCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        DeploymentsCommand::List(arguments) => {
            let worker = arguments.worker.find(&arguments.place, console)?;
            let all = deployments(&worker)?;
            console.result(|| all.iter().map(describe).collect(), || rows(&all))
        }
        DeploymentsCommand::Status(arguments) => {
            let worker = arguments.worker.find(&arguments.place, console)?;
            let all = deployments(&worker)?;
            let now = all.first().ok_or_else(|| ClientError::Missing(format!("{} is not deployed", worker.name)))?;
            console.result(|| describe(now), || rows(std::slice::from_ref(now)))
        }
    }
}

/// The deployments of a worker that must be there.
fn deployments(worker: &Worker) -> Result<Vec<Deployment>, ClientError> {
    #[derive(serde::Deserialize)]
    struct Deployments {
        deployments: Vec<Deployment>,
    }
    let found: Deployments = worker.place.api.get(&worker.path(&["deployments"]), &[])?;
    Ok(found.deployments)
}

fn describe(deployment: &Deployment) -> Value {
    json!({
        "id": deployment.id,
        "created_on": deployment.created_on,
        "source": deployment.source,
        "author": deployment.author_email,
        "annotations": deployment.annotations,
        "versions": deployment.versions.iter().map(|share| json!({
            "version_id": share.version_id, "percentage": share.percentage,
        })).collect::<Vec<_>>(),
    })
}

fn rows(deployments: &[Deployment]) -> String {
    let rows: Vec<_> = deployments
        .iter()
        .map(|deployment| {
            vec![
                deployment.created_on.clone(),
                shares(&deployment.versions),
                deployment.author_email.clone(),
                deployment.source.clone(),
                message(&deployment.annotations),
            ]
        })
        .collect();
    table(&["FROM", "VERSIONS", "AUTHOR", "BY", "MESSAGE"], &rows)
}

/// Goes back to an earlier version.
pub fn rollback(arguments: &RollbackArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let version_id = match &arguments.target {
        Some(version) => full_id(&worker, version)?,
        None => version_before(&worker, &deployments(&worker)?)?,
    };
    let message = arguments.message.clone().unwrap_or_else(|| "Rollback".to_owned());
    let versions = [Share { version_id, percentage: WHOLE }];
    deploy_shares(&worker, &versions, &Deploying { message: Some(&message), force: arguments.force }, console)
}

/// The version that served all of the traffic before the present deployment.
fn version_before(worker: &Worker, deployments: &[Deployment]) -> Result<String, ClientError> {
    let now = deployments.first().map(|now| now.versions.as_slice()).unwrap_or_default();
    let whole = |deployment: &Deployment| match deployment.versions.as_slice() {
        [only] if !now.contains(only) => Some(only.version_id.clone()),
        _ => None,
    };
    deployments.iter().skip(1).find_map(whole).ok_or_else(|| {
        let name = &worker.name;
        ClientError::Missing(format!("no version of {name} served alone before: name one of `selvedge versions list`"))
    })
}

/// Deploys versions with their shares, and says so.
pub fn deploy_shares(
    worker: &Worker,
    versions: &[Share],
    deploying: &Deploying<'_>,
    console: &Console,
) -> Result<(), ClientError> {
    let shared: Vec<Value> = versions
        .iter()
        .map(|share| json!({ "version_id": share.version_id, "percentage": share.percentage }))
        .collect();
    let mut body = json!({ "strategy": "percentage", "versions": shared });
    if let (Some(object), Some(message)) = (body.as_object_mut(), deploying.message) {
        object.insert("annotations".to_owned(), json!({ "workers/message": message }));
    }
    let query: &[(&str, &str)] = if deploying.force { &[("force", "true")] } else { &[] };
    let made: Value = worker.place.api.send("POST", &worker.path(&["deployments"]), query, &body)?;
    console.result(
        || json!({ "worker": worker.name, "deployment_id": at(&made, "/id"), "versions": shared }),
        || format!("{} now serves {}", worker.name, shares(versions)),
    )
}
