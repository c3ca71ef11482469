//! `selvedge versions secret`: secrets of a version that serves nobody yet.
//!
//! After a rollback the newest version is not the one that serves, and a secret cannot be changed where it serves.

use clap::Subcommand;
use selvedge_project::Secret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Body, Call};
use super::console::Console;
use super::error::ClientError;
use super::place::PlaceArguments;
use super::secrets::{self, BulkArguments, DeleteArguments, ListArguments, PutArguments};
use super::worker::Worker;

#[derive(Debug, Subcommand)]
pub enum VersionsSecretCommand {
    /// Set a secret in a new version; its value comes from standard input or is asked for
    Put(PutArguments),
    /// List the names of the newest version's secrets
    List(ListArguments),
    /// Remove a secret in a new version
    Delete(DeleteArguments),
    /// Set several secrets, from a file or from standard input, in one new version
    Bulk(BulkArguments),
}

#[derive(Debug, Deserialize)]
struct Made {
    id: String,
}

impl VersionsSecretCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::Put(arguments) => &arguments.place,
            Self::List(arguments) => &arguments.place,
            Self::Delete(arguments) => &arguments.place,
            Self::Bulk(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &VersionsSecretCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        VersionsSecretCommand::Put(arguments) => put(arguments, console),
        VersionsSecretCommand::List(arguments) => secrets::list(arguments, console),
        VersionsSecretCommand::Delete(arguments) => delete(arguments, console),
        VersionsSecretCommand::Bulk(arguments) => bulk(arguments, console),
    }
}

fn put(arguments: &PutArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let value = secrets::value(&arguments.key, console)?;
    edit(&worker, Map::from_iter([(arguments.key.as_str().to_owned(), secret(&value))]), console)
}

fn delete(arguments: &DeleteArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let key = arguments.key.as_str();
    if !arguments.yes {
        console.confirm(&format!("Remove the secret {key} in a new version of {}?", worker.name), "--yes")?;
    }
    // A version without what was not there would be made all the same.
    let _: Value = worker.place.api.get(&worker.path(&["secrets", key]), &[])?;
    edit(&worker, Map::from_iter([(key.to_owned(), Value::Null)]), console)
}

fn bulk(arguments: &BulkArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let changes = secrets::changes(arguments.file.as_deref())?;
    let env = changes
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_ref().map_or(Value::Null, secret)))
        .collect();
    edit(&worker, env, console)
}

fn secret(value: &Secret) -> Value {
    json!({ "type": "secret_text", "text": value.expose() })
}

/// Makes a version that is the newest one with other secrets.
fn edit(worker: &Worker, env: Map<String, Value>, console: &Console) -> Result<(), ClientError> {
    let body = json!({ "env": env });
    let path = ["accounts", &worker.place.account, "workers", "workers", &worker.name, "versions", "latest"];
    let body = Body::Patch(&body);
    // Twice makes two versions.
    let call = Call { method: "PATCH", path: &path, query: &[], body, token: None, repeatable: false };
    let Made { id } = worker.place.api.read(&call)?;
    console.result(
        || json!({ "worker": worker.name, "version_id": id }),
        || {
            let serve = format!("  serve it with `selvedge versions deploy {id}`");
            [format!("made a version of {}", worker.name), format!("  version   {id}"), serve].join("\n")
        },
    )
}
