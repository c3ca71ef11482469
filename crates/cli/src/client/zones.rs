//! `selvedge zone`: the domains that an account has routes and custom domains in.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::console::{Console, table};
use super::error::ClientError;
use super::place::{Place, PlaceArguments};

#[derive(Debug, Subcommand)]
pub enum ZoneCommand {
    /// List the zones of the account
    List(ListArguments),
    /// Claim a zone, so that no other account can have routes in it
    Claim(NameArguments),
    /// Give a claimed zone back; it stays the account's while there are routes or custom domains in it
    Release(NameArguments),
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct NameArguments {
    /// The zone's name: a registrable domain such as example.com
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Deserialize)]
struct Zone {
    id: String,
    name: String,
    #[serde(default)]
    status: String,
}

impl ZoneCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::List(arguments) => &arguments.place,
            Self::Claim(arguments) | Self::Release(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &ZoneCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        ZoneCommand::List(arguments) => list(arguments, console),
        ZoneCommand::Claim(arguments) => claim(arguments, console),
        ZoneCommand::Release(arguments) => release(arguments, console),
    }
}

fn zones(place: &Place) -> Result<Vec<Value>, ClientError> {
    place.api.get(&["zones"], &[("account.id", &place.account)])
}

fn list(arguments: &ListArguments, console: &Console) -> Result<(), ClientError> {
    let place = Place::find(&arguments.place, None, None, console)?;
    let zones = zones(&place)?;
    console.result(
        || json!(zones),
        || {
            let rows: Vec<_> = zones
                .iter()
                .filter_map(|zone| serde_json::from_value::<Zone>(zone.clone()).ok())
                .map(|zone| vec![zone.name, zone.id, zone.status])
                .collect();
            table(&["ZONE", "ID", "STATUS"], &rows)
        },
    )
}

fn claim(arguments: &NameArguments, console: &Console) -> Result<(), ClientError> {
    let place = Place::find(&arguments.place, None, None, console)?;
    let body = json!({ "name": arguments.name, "account": { "id": place.account } });
    let zone: Value = place.api.send("POST", &["zones"], &[], &body)?;
    console.result(|| zone.clone(), || format!("{} is this account's", arguments.name))
}

fn release(arguments: &NameArguments, console: &Console) -> Result<(), ClientError> {
    let place = Place::find(&arguments.place, None, None, console)?;
    let name = arguments.name.to_lowercase();
    let zones = zones(&place)?;
    let zone = zones.into_iter().filter_map(|zone| serde_json::from_value::<Zone>(zone).ok());
    let zone = zone.into_iter().find(|zone| zone.name == name || zone.id == name).ok_or_else(|| {
        ClientError::Missing(format!("the account has no zone {name}: `selvedge zone list` shows those it has"))
    })?;
    place.api.delete(&["zones", &zone.id], &[])?;
    console.result(
        || json!({ "id": zone.id, "name": zone.name, "released": true }),
        || format!("{} was given back", zone.name),
    )
}
