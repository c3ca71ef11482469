//! `selvedge account`: who owns workers.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::console::{Console, table};
use super::error::ClientError;
use super::fields::text_at;
use super::place::{PlaceArguments, connect};

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account; for administrators of the platform
    Create(CreateArguments),
    /// List the accounts that the token reaches
    List(ListArguments),
}

#[derive(Debug, Args)]
pub struct CreateArguments {
    /// What it is called
    #[arg(value_name = "NAME")]
    name: String,
    /// What stands between its workers' names and the platform's domain [default: made of the name]
    #[arg(long, value_name = "LABEL")]
    subdomain: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Deserialize)]
struct Account {
    id: String,
    name: String,
    subdomain: Option<String>,
    #[serde(default)]
    created_on: String,
}

impl AccountCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::Create(arguments) => &arguments.place,
            Self::List(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &AccountCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        AccountCommand::Create(arguments) => create(arguments, console),
        AccountCommand::List(arguments) => list(arguments, console),
    }
}

fn create(arguments: &CreateArguments, console: &Console) -> Result<(), ClientError> {
    let (api, _) = connect(&arguments.place, None, console)?;
    let mut body = json!({ "name": arguments.name });
    if let (Some(object), Some(subdomain)) = (body.as_object_mut(), &arguments.subdomain) {
        object.insert("subdomain".to_owned(), json!(subdomain));
    }
    let made: Value = api.send("POST", &["accounts"], &[], &body)?;
    let id = text_at(&made, "/id");
    console.result(
        || made.clone(),
        || format!("made the account {id}\n  a token for it: `selvedge token create NAME --account {id}`"),
    )
}

fn list(arguments: &ListArguments, console: &Console) -> Result<(), ClientError> {
    let (api, _) = connect(&arguments.place, None, console)?;
    let accounts: Vec<Value> = api.list(&["accounts"])?;
    console.result(
        || json!(accounts),
        || {
            let rows: Vec<_> = accounts
                .iter()
                .filter_map(|account| serde_json::from_value::<Account>(account.clone()).ok())
                .map(|account| {
                    vec![account.id, account.name, account.subdomain.unwrap_or_default(), account.created_on]
                })
                .collect();
            table(&["ID", "NAME", "SUBDOMAIN", "MADE"], &rows)
        },
    )
}
