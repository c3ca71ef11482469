//! `selvedge whoami`: what the token is, and what it may do where.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::console::{Console, table};
use super::error::ClientError;
use super::place::{PlaceArguments, connect};

#[derive(Debug, Args)]
pub struct WhoamiArguments {
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Debug, Deserialize)]
struct Verified {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    expires_on: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Membership {
    account: Account,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Account {
    id: String,
    name: String,
}

pub fn whoami(arguments: &WhoamiArguments, console: &Console) -> Result<(), ClientError> {
    let (api, _) = connect(&arguments.place, None, console)?;
    let token: Verified = api.get(&["user", "tokens", "verify"], &[])?;
    let accounts: Vec<Membership> = api.list(&["memberships"])?;
    let json = || {
        json!({
            "api": api.url(),
            "token": {
                "id": token.id, "name": token.name, "expires_on": token.expires_on, "permissions": token.permissions,
            },
            "accounts": accounts.iter().map(|membership| json!({
                "id": membership.account.id, "name": membership.account.name, "permissions": membership.roles,
            })).collect::<Vec<_>>(),
        })
    };
    console.result(json, || {
        let mut lines = vec![format!("token  {} ({}) at {}", token.name, token.id, api.url())];
        lines.extend(token.expires_on.iter().map(|when| format!("ends   {when}")));
        lines.push(format!("may    {}", token.permissions.join(", ")));
        let rows: Vec<_> = accounts
            .iter()
            .map(|membership| vec![membership.account.id.clone(), membership.account.name.clone()])
            .collect();
        lines.push(table(&["ACCOUNT", "NAME"], &rows));
        lines.join("\n")
    })
}
