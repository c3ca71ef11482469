//! `selvedge secret`: values that only the worker sees.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use selvedge_project::{BindingName, Secret};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Body, Call};
use super::console::{Console, table};
use super::error::{ClientError, code};
use super::multipart::Form;
use super::place::PlaceArguments;
use super::worker::{Worker, WorkerArguments};

/// What is piped in, as a file.
const INPUT: &str = "/dev/stdin";
/// No secret is larger.
const SECRET_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Set a secret; its value comes from standard input or is asked for
    #[command(after_help = "Examples:\n  \
        selvedge secret put API_KEY\n  \
        printf %s \"$KEY\" | selvedge secret put API_KEY --name shop")]
    Put(PutArguments),
    /// List the names of the secrets
    List(ListArguments),
    /// Remove a secret
    Delete(DeleteArguments),
    /// Set several secrets, from a file or from standard input
    Bulk(BulkArguments),
}

#[derive(Debug, Args)]
pub struct PutArguments {
    /// The secret's name in `env`
    #[arg(value_name = "KEY")]
    pub(super) key: BindingName,
    #[command(flatten)]
    pub(super) worker: WorkerArguments,
    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    pub(super) worker: WorkerArguments,
    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// The secret's name in `env`
    #[arg(value_name = "KEY")]
    pub(super) key: BindingName,
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) worker: WorkerArguments,
    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct BulkArguments {
    /// A JSON object of texts (null removes a secret), or lines as in .env [default: what is piped in]
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) worker: WorkerArguments,
    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
}

impl SecretCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::Put(arguments) => &arguments.place,
            Self::List(arguments) => &arguments.place,
            Self::Delete(arguments) => &arguments.place,
            Self::Bulk(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &SecretCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        SecretCommand::Put(arguments) => put(arguments, console),
        SecretCommand::List(arguments) => list(arguments, console),
        SecretCommand::Delete(arguments) => delete(arguments, console),
        SecretCommand::Bulk(arguments) => bulk(arguments, console),
    }
}

fn put(arguments: &PutArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let value = value(&arguments.key, console)?;
    let body = json!({ "name": arguments.key.as_str(), "text": value.expose(), "type": "secret_text" });
    let send = || worker.place.api.send::<Value>("PUT", &worker.path(&["secrets"]), &[], &body).map(drop);
    with_draft(&worker, console, send)?;
    let key = arguments.key.as_str();
    console.result(
        || json!({ "worker": worker.name, "name": key, "type": "secret_text" }),
        || format!("{} has the secret {key}", worker.name),
    )
}

/// Does it; where there is no such worker yet, makes an empty one first.
fn with_draft(
    worker: &Worker,
    console: &Console,
    action: impl Fn() -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    match action() {
        Err(error) if error.code().is_some_and(|code| code::WORKER_NOT_FOUND.contains(&code)) => {
            draft(worker)?;
            console.progress(&format!("made an empty worker {} for it", worker.name));
            action()
        }
        result => result,
    }
}

fn draft(worker: &Worker) -> Result<(), ClientError> {
    let mut form = Form::new();
    let metadata = json!({ "main_module": worker.name, "bindings": [], "logpush": false });
    form.field("metadata", &metadata.to_string());
    form.file(&worker.name, "application/javascript+module", b"export default { fetch() {} }");
    let (content_type, bytes) = form.finish();
    let body = Body::Bytes { content_type: &content_type, bytes: &bytes, sent: &|_| {} };
    let path = worker.path(&[]);
    let call = Call { method: "PUT", path: &path, query: &[], body, token: None, repeatable: true };
    worker.place.api.call(&call).map(drop)
}

/// The value, from whoever types or pipes it.
pub(super) fn value(key: &BindingName, console: &Console) -> Result<Secret, ClientError> {
    let value = if std::io::stdin().is_terminal() && !console.json {
        rpassword::prompt_password(format!("Value of {key}: ")).map_err(ClientError::Input)?
    } else {
        piped(std::io::stdin().lock())?
    };
    if value.is_empty() {
        let reason =
            format!("the value of {key} is empty: pipe it in, as in `printf %s \"$KEY\" | selvedge secret put {key}`");
        return Err(ClientError::Usage(reason));
    }
    Ok(Secret::new(value))
}

/// What is piped in, without the end of its last line: that is the shell's, not the secret's.
fn piped(input: impl Read) -> Result<String, ClientError> {
    let mut value = String::new();
    input.take(SECRET_BYTES_MAX + 1).read_to_string(&mut value).map_err(ClientError::Input)?;
    if value.len() as u64 > SECRET_BYTES_MAX {
        return Err(ClientError::Usage(format!(
            "the value is longer than {SECRET_BYTES_MAX} bytes: is it the right file?"
        )));
    }
    let line = value.strip_suffix('\n').map_or(value.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.to_owned())
}

pub(super) fn list(arguments: &ListArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let secrets: Vec<Value> = worker.place.api.get(&worker.path(&["secrets"]), &[])?;
    console.result(
        || json!(secrets),
        || {
            let rows: Vec<_> = secrets
                .iter()
                .filter_map(|secret| serde_json::from_value::<Listed>(secret.clone()).ok())
                .map(|secret| vec![secret.name])
                .collect();
            table(&["SECRET"], &rows)
        },
    )
}

fn delete(arguments: &DeleteArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let key = arguments.key.as_str();
    if !arguments.yes {
        console.confirm(&format!("Remove the secret {key} of {}?", worker.name), "--yes")?;
    }
    worker.place.api.delete(&worker.path(&["secrets", key]), &[("url_encoded", "true")])?;
    console.result(
        || json!({ "worker": worker.name, "name": key, "deleted": true }),
        || format!("{} has no secret {key} any more", worker.name),
    )
}

/// The secrets of a file, or of what is piped in.
pub(super) fn changes(file: Option<&Path>) -> Result<BTreeMap<BindingName, Option<Secret>>, ClientError> {
    if file.is_none() && std::io::stdin().is_terminal() {
        let reason = "name a FILE with the secrets, or pipe them in: selvedge secret bulk < secrets.json";
        return Err(ClientError::Usage(reason.to_owned()));
    }
    let file = file.unwrap_or(Path::new(INPUT));
    let secrets = selvedge_project::read_secret_changes(file)?;
    if secrets.is_empty() {
        return Err(ClientError::Usage(format!("{} holds no secrets", file.display())));
    }
    Ok(secrets)
}

fn bulk(arguments: &BulkArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let secrets = changes(arguments.file.as_deref())?;
    let names = |there: bool| -> Vec<&str> {
        secrets.iter().filter(|(_, value)| value.is_some() == there).map(|(name, _)| name.as_str()).collect()
    };
    let (put, removed) = (names(true), names(false));
    let entries: Map<String, Value> = secrets
        .iter()
        .map(|(name, value)| {
            let name = name.as_str();
            let secret = |value: &Secret| json!({ "name": name, "text": value.expose(), "type": "secret_text" });
            (name.to_owned(), value.as_ref().map_or(Value::Null, secret))
        })
        .collect();
    let body = json!({ "secrets": entries });
    let path = worker.path(&["secrets-bulk"]);
    let call =
        Call { method: "PATCH", path: &path, query: &[], body: Body::Patch(&body), token: None, repeatable: true };
    with_draft(&worker, console, || worker.place.api.call(&call).map(drop))?;
    console.result(
        || json!({ "worker": worker.name, "names": put, "removed": removed }),
        || {
            let put = (!put.is_empty()).then(|| format!("{} has the secrets {}", worker.name, put.join(", ")));
            let removed =
                (!removed.is_empty()).then(|| format!("{} has no longer {}", worker.name, removed.join(", ")));
            put.into_iter().chain(removed).collect::<Vec<_>>().join("\n")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_whole_or_not_at_all() {
        for (text, value) in [("s3cr3t\n", "s3cr3t"), ("s3cr3t\r\n", "s3cr3t"), ("a\nb\n\n", "a\nb\n"), (" s ", " s ")]
        {
            assert_eq!(piped(text.as_bytes()).unwrap(), value);
        }
        let long = "x".repeat(SECRET_BYTES_MAX as usize + 1);
        assert!(matches!(piped(long.as_bytes()), Err(ClientError::Usage(_))));
        assert!(matches!(piped(&b"\xff"[..]), Err(ClientError::Input(_))));
    }
}
