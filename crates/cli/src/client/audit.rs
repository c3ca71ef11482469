//! `selvedge audit`: who changed what, when, and from where.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Body, Call};
use super::console::{Console, table};
use super::error::ClientError;
use super::fields::text_at;
use super::place::{Place, PlaceArguments, connect};
use super::tokens::when;

/// What one page of the API holds at most.
const PAGE_MAX: usize = 1000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    selvedge audit --limit 20\n  \
    selvedge audit --since 24h --action token\n  \
    selvedge audit --platform             all accounts, for administrators of the platform")]
pub struct AuditArguments {
    /// How many changes at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
    /// Only what happened since: a while ago (90m, 12h, 30d), or a time such as 2030-01-31T00:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Only actions that begin so: worker, token.revoked, …
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what the token of that name did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only what was done to that: a worker, the id of a token, …
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Of the whole platform rather than one account
    #[arg(long)]
    platform: bool,
    #[command(flatten)]
    pub place: PlaceArguments,
}

pub fn audit(arguments: &AuditArguments, console: &Console) -> Result<(), ClientError> {
    let (api, account) = if arguments.platform {
        (connect(&arguments.place, None, console)?.0, None)
    } else {
        let place = Place::find(&arguments.place, None, None, console)?;
        (place.api, Some(place.account))
    };
    let path = match &account {
        Some(account) => vec!["accounts", account, "audit_logs"],
        None => vec!["audit_logs"],
    };
    let since = arguments.since.map(|time| time.to_string());
    let mut entries: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    while entries.len() < wanted {
        let limit = (wanted - entries.len()).min(PAGE_MAX).to_string();
        let given = [
            ("cursor", Some(cursor.as_str()).filter(|cursor| !cursor.is_empty())),
            ("since", since.as_deref()),
            ("action", arguments.action.as_deref()),
            ("actor", arguments.actor.as_deref()),
            ("target", arguments.target.as_deref()),
        ];
        let mut query = vec![("limit", limit.as_str())];
        query.extend(given.iter().filter_map(|(key, value)| Some((*key, (*value)?))));
        let call = Call { method: "GET", path: &path, query: &query, body: Body::None, token: None, repeatable: true };
        let answer = api.call(&call)?;
        let page = answer.result.as_array().cloned().unwrap_or_default();
        let next = text_at(&answer.result_info, "/cursor").to_owned();
        let is_last = page.is_empty() || next.is_empty() || next == cursor;
        entries.extend(page);
        if is_last {
            break;
        }
        cursor = next;
    }
    console.result(|| json!(entries), || rows(&entries))
}

fn rows(entries: &[Value]) -> String {
    /// What a row shows, from left to right.
    const COLUMNS: [&str; 6] = ["/when", "/action/type", "/resource/id", "/actor/email", "/actor/ip", "/interface"];
    let row =
        |entry: &Value| -> Vec<String> { COLUMNS.iter().map(|column| text_at(entry, column).to_owned()).collect() };
    let rows: Vec<_> = entries.iter().map(row).collect();
    table(&["WHEN", "ACTION", "OF", "BY", "FROM", "WITH"], &rows)
}

fn since(text: &str) -> Result<Timestamp, String> {
    when(text, -1)
}
