//! `selvedge token`: who may ask the API for what.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::console::{Console, table};
use super::error::ClientError;
use super::fields::text_at;
use super::place::{Place, PlaceArguments};

/// What a token needs for deploying, secrets, tails and looking.
const PERMISSIONS_DEFAULT: [&str; 5] = ["account:read", "workers:read", "workers:write", "secrets:write", "tail:read"];
/// All that a token may be given.
const PERMISSIONS: [&str; 8] = [
    "account:read",
    "workers:read",
    "workers:write",
    "secrets:write",
    "tail:read",
    "tokens:write",
    "audit:read",
    "platform:admin",
];

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, which is shown this once
    #[command(after_help = "Examples:\n  \
        selvedge token create ci\n  \
        selvedge token create auditor --permission account:read --permission audit:read --expires 30d")]
    Create(CreateArguments),
    /// List the tokens that are good
    List(ListArguments),
    /// Make a token good for nothing, from now on
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
pub struct CreateArguments {
    /// What it is called: the author of what is done with it
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may do; may be repeated [default: what deploying needs]
    #[arg(long = "permission", value_name = "PERMISSION", value_parser = PERMISSIONS)]
    permissions: Vec<String>,
    /// When it ends: after so many minutes, hours or days (90m, 12h, 30d), or a time such as 2030-01-31T00:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Timestamp>,
    /// For all accounts; administrators of the platform may make such
    #[arg(long)]
    all_accounts: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct RevokeArguments {
    /// The token's id, or its name where only one has it
    #[arg(value_name = "ID")]
    target: String,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Deserialize)]
struct Token {
    id: String,
    name: String,
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default)]
    issued_on: String,
    expires_on: Option<String>,
    #[serde(default)]
    author: String,
}

impl TokenCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::Create(arguments) => &arguments.place,
            Self::List(arguments) => &arguments.place,
            Self::Revoke(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &TokenCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        TokenCommand::Create(arguments) => create(arguments, console),
        TokenCommand::List(arguments) => list(arguments, console),
        TokenCommand::Revoke(arguments) => revoke(arguments, console),
    }
}

fn create(arguments: &CreateArguments, console: &Console) -> Result<(), ClientError> {
    let place = Place::find(&arguments.place, None, None, console)?;
    let mut permissions: Vec<&str> = arguments.permissions.iter().map(String::as_str).collect();
    if permissions.is_empty() {
        permissions.extend(PERMISSIONS_DEFAULT);
    }
    let mut body = json!({
        "name": arguments.name, "permissions": permissions, "all_accounts": arguments.all_accounts,
    });
    if let (Some(object), Some(expires)) = (body.as_object_mut(), arguments.expires) {
        object.insert("expires_on".to_owned(), json!(expires.to_string()));
    }
    let made: Value = place.api.send("POST", &["accounts", &place.account, "tokens"], &[], &body)?;
    console.progress(&format!(
        "token {} ({}), shown this once; it may: {}",
        arguments.name,
        text_at(&made, "/id"),
        permissions.join(", ")
    ));
    // Alone on its line, so that a shell can take it.
    console.result(|| made.clone(), || text_at(&made, "/value").to_owned())
}

fn list(arguments: &ListArguments, console: &Console) -> Result<(), ClientError> {
    let place = Place::find(&arguments.place, None, None, console)?;
    let tokens: Vec<Value> = place.api.list(&["accounts", &place.account, "tokens"])?;
    console.result(
        || json!(tokens),
        || {
            let rows: Vec<_> = tokens
                .iter()
                .filter_map(|token| serde_json::from_value::<Token>(token.clone()).ok())
                .map(|token| {
                    let ends = token.expires_on.unwrap_or_else(|| "never".to_owned());
                    vec![token.id, token.name, token.issued_on, ends, token.author, token.permissions.join(", ")]
                })
                .collect();
            table(&["ID", "NAME", "MADE", "ENDS", "BY", "MAY"], &rows)
        },
    )
}

fn revoke(arguments: &RevokeArguments, console: &Console) -> Result<(), ClientError> {
    let place = Place::find(&arguments.place, None, None, console)?;
    let tokens: Vec<Token> = place.api.list(&["accounts", &place.account, "tokens"])?;
    let by_id = tokens.iter().find(|token| token.id == arguments.target);
    let named: Vec<&Token> = tokens.iter().filter(|token| token.name == arguments.target).collect();
    let token = match (by_id, named.as_slice()) {
        (Some(token), _) => token,
        (None, [token]) => token,
        (None, []) => {
            let reason = format!("there is no token {}: `selvedge token list` shows those there are", arguments.target);
            return Err(ClientError::Missing(reason));
        }
        (None, many) => {
            let ids: Vec<&str> = many.iter().map(|token| token.id.as_str()).collect();
            let reason = format!(
                "{} tokens are named {}: say which by its id: {}",
                many.len(),
                arguments.target,
                ids.join(", ")
            );
            return Err(ClientError::Usage(reason));
        }
    };
    place.api.delete(&["accounts", &place.account, "tokens", &token.id], &[])?;
    console.result(
        || json!({ "id": token.id, "name": token.name, "revoked": true }),
        || format!("{} ({}) is good for nothing any more", token.name, token.id),
    )
}

/// A time, or a while from now.
fn expiry(text: &str) -> Result<Timestamp, String> {
    when(text, 1)
}

/// A time, or a while before (`sign` -1) or after (1) now.
pub fn when(text: &str, sign: i64) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let unit_at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(unit_at).unwrap_or_default();
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let number = number.parse::<u32>().ok().filter(|_| seconds > 0);
    let length = number.and_then(|number| i64::from(number).checked_mul(seconds)).map(SignedDuration::from_secs);
    let time = length.and_then(|length| Timestamp::now().checked_add(length * i32::try_from(sign).unwrap_or(1)).ok());
    time.ok_or_else(|| "neither a while such as 90m, 12h or 30d, nor a time such as 2030-01-31T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_or_counted_from_now() {
        let now = Timestamp::now();
        let after = when("30d", 1).unwrap().duration_since(now).as_hours();
        assert!((719..=720).contains(&after), "{after}");
        assert!(when("2h", -1).unwrap() < now);
        assert_eq!(when("2030-01-31T00:00:00Z", 1).unwrap().to_string(), "2030-01-31T00:00:00Z");
        for bad in ["", "d", "3", "-3d", "3y", "tomorrow", "99999999999d", "é"] {
            assert!(when(bad, 1).is_err(), "{bad}");
        }
    }
}
