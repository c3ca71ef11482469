//! `selvedge versions`: uploads, and which of them serve.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::assets;
use super::bindings::bindings;
use super::console::{Console, table};
use super::deploy::{self, before, check_secrets, migrations, warn_of_missing_services};
use super::deployments::{Deploying, deploy_shares};
use super::error::ClientError;
use super::fields::{at, each_at, words};
use super::place::PlaceArguments;
use super::prepare::{SourceArguments, TriggerArguments};
use super::provision::provision;
use super::triggers;
use super::upload::{Annotations, Upload};
use super::versions_secrets::{self, VersionsSecretCommand};
use super::worker::{Share, Worker, WorkerArguments, message};

/// All the traffic.
const WHOLE: f64 = 100.0;
/// Shares are in hundredths of a percent.
const SHARES_A_PERCENT: f64 = 100.0;
/// What two sums of shares may differ by and be the same.
const SHARE_ERROR_MAX: f64 = 0.005;
/// Versions that can serve side by side.
const VERSIONS_MAX: usize = 2;

#[derive(Debug, Subcommand)]
pub enum VersionsCommand {
    /// Upload a version that serves nobody yet, but its preview
    Upload(UploadArguments),
    /// List the versions that can be deployed, newest first
    List(ListArguments),
    /// Show a version
    View(ViewArguments),
    /// Serve one version, or two with a share of the traffic each
    #[command(after_help = "Examples:\n  \
        selvedge versions deploy 0f8e2a11-…\n  \
        selvedge versions deploy 0f8e2a11-…@10% 7c3b9d20-…@90%\n  \
        selvedge versions deploy latest@10%   the newest version; what serves now keeps the rest")]
    Deploy(DeployVersionsArguments),
    /// Put, list and delete secrets of the newest version, in a version that serves nobody yet
    #[command(subcommand)]
    Secret(VersionsSecretCommand),
}

#[derive(Debug, Args)]
pub struct UploadArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// What this version is about
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Name for the version
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Name for its preview, beside the version's own: <ALIAS>-<worker>.<domain>, or in every account but the first
    /// <ALIAS>-<worker>.<subdomain>.<domain>
    #[arg(long, value_name = "ALIAS")]
    preview_alias: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct ViewArguments {
    /// The version's id, the beginning of it, or "latest"
    #[arg(value_name = "VERSION")]
    target: String,
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
pub struct DeployVersionsArguments {
    /// A version's id, the beginning of it, or "latest", with its share in percent
    #[arg(value_name = "VERSION[@PERCENT]", required = true, num_args = 1..=VERSIONS_MAX)]
    versions: Vec<String>,
    /// What this deployment is about
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Also where secrets go back to former values
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

/// A version in a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    pub id: String,
    #[serde(default)]
    pub number: Option<u64>,
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    created_on: String,
    #[serde(default)]
    author_email: String,
    #[serde(default)]
    source: String,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Value>,
}

/// A version as it was written, and its share if one was.
#[derive(Debug, PartialEq)]
struct Wanted {
    version: String,
    percentage: Option<f64>,
}

impl VersionsCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::Upload(arguments) => &arguments.place,
            Self::List(arguments) => &arguments.place,
            Self::View(arguments) => &arguments.place,
            Self::Deploy(arguments) => &arguments.place,
            Self::Secret(command) => command.place(),
        }
    }
}

pub fn run(command: &VersionsCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        VersionsCommand::Upload(arguments) => upload(arguments, console),
        VersionsCommand::List(arguments) => list(arguments, console),
        VersionsCommand::View(arguments) => view(arguments, console),
        VersionsCommand::Deploy(arguments) => deploy(arguments, console),
        VersionsCommand::Secret(command) => versions_secrets::run(command, console),
    }
}

fn upload(arguments: &UploadArguments, console: &Console) -> Result<(), ClientError> {
    let prepared = arguments.source.prepare(&TriggerArguments::default(), console)?;
    let worker = deploy::worker(&arguments.place, &arguments.source, &prepared, console)?;
    let before = before(&worker)?;
    if !before.exists {
        let reason = format!("there is no worker {} yet: `selvedge deploy` makes it", worker.name);
        return Err(ClientError::Missing(reason));
    }
    if migrations(&prepared, before.migration_tag.as_deref()).is_some() {
        let reason = "the project has migrations that the worker has not seen: `selvedge deploy` makes them, as they \
                      hold for all versions at once";
        return Err(ClientError::Missing(reason.to_owned()));
    }
    check_secrets(&worker, &before, &prepared)?;
    let provisioned = provision(&worker, true, &prepared, console)?;
    warn_of_missing_services(&prepared, console);
    let assets = prepared.assets.as_ref().map(|set| assets::upload(&worker, set, console)).transpose()?;
    let annotations = Annotations {
        message: arguments.message.clone(),
        tag: arguments.tag.clone(),
        alias: arguments.preview_alias.clone(),
    };
    let bindings = bindings(&prepared, &provisioned)?;
    let upload = Upload { prepared: &prepared, bindings, assets: assets.as_ref(), migrations: None, annotations };
    let version = upload.send(&worker, "POST", &["versions"], &[("bindings_inherit", "strict")], console)?;
    let id = version.id().unwrap_or_default().to_owned();
    let reach = triggers::reach(&worker)?;
    let preview = reach.preview(&id);
    let alias = arguments.preview_alias.as_deref().and_then(|alias| reach.preview(alias));
    let json = || {
        json!({
            "worker": worker.name,
            "version_id": id,
            "preview_url": preview,
            "preview_alias_url": alias,
            "startup_time_ms": version.startup_time_ms,
        })
    };
    console.result(json, || {
        let mut lines = vec![format!("uploaded {}", worker.name), format!("  version   {id}")];
        lines.extend(version.startup_time_ms.map(|ms| format!("  start-up  {ms} ms")));
        lines.extend(preview.iter().chain(&alias).map(|url| format!("  preview   {url}")));
        lines.push(format!("  serve it with `selvedge versions deploy {id}`"));
        lines.join("\n")
    })
}

/// The versions that can be deployed, newest first.
fn listed(worker: &Worker) -> Result<Vec<Value>, ClientError> {
    let list: List = worker.place.api.get(&worker.path(&["versions"]), &[("deployable", "true")])?;
    Ok(list.items)
}

fn list(arguments: &ListArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let versions = listed(&worker)?;
    console.result(
        || json!(versions),
        || {
            let rows: Vec<_> = versions
                .iter()
                .filter_map(|version| serde_json::from_value::<Listed>(version.clone()).ok())
                .map(|version| {
                    vec![
                        version.id.clone(),
                        version.number.map(|number| number.to_string()).unwrap_or_default(),
                        version.metadata.created_on.clone(),
                        version.metadata.author_email.clone(),
                        version.metadata.source.clone(),
                        message(&version.annotations),
                    ]
                })
                .collect();
            table(&["VERSION", "NUMBER", "CREATED", "AUTHOR", "FROM", "MESSAGE"], &rows)
        },
    )
}

fn view(arguments: &ViewArguments, console: &Console) -> Result<(), ClientError> {
    let worker = arguments.worker.find(&arguments.place, console)?;
    let id = full_id(&worker, &arguments.target)?;
    let version: Value = worker.place.api.get(&worker.path(&["versions", &id]), &[])?;
    console.result(|| version.clone(), || describe(&version))
}

fn describe(version: &Value) -> String {
    let text = |pointer: &str| words(at(version, pointer));
    let list = |pointer: &str| each_at(version, pointer).iter().map(words).collect::<Vec<_>>().join(", ");
    let annotations: std::collections::BTreeMap<String, String> =
        serde_json::from_value(at(version, "/annotations").clone()).unwrap_or_default();
    let mut lines = vec![
        format!("version   {}", text("/id")),
        format!("number    {}", text("/number")),
        format!("created   {}", text("/metadata/created_on")),
        format!("author    {}", text("/metadata/author_email")),
        format!("from      {}", text("/metadata/source")),
        format!("message   {}", message(&annotations)),
        format!("date      {}", text("/resources/script_runtime/compatibility_date")),
        format!("flags     {}", list("/resources/script_runtime/compatibility_flags")),
        format!("handlers  {}", list("/resources/script/handlers")),
    ];
    let bindings: Vec<_> = each_at(version, "/resources/bindings")
        .iter()
        .map(|binding| vec![words(at(binding, "/name")), words(at(binding, "/type"))])
        .collect();
    if !bindings.is_empty() {
        lines.push(table(&["BINDING", "TYPE"], &bindings));
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn deploy(arguments: &DeployVersionsArguments, console: &Console) -> Result<(), ClientError> {
    let wanted = arguments.versions.iter().map(|text| wanted(text)).collect::<Result<Vec<_>, _>>()?;
    check(&wanted)?;
    let worker = arguments.worker.find(&arguments.place, console)?;
    let mut shares = Vec::new();
    for one in &wanted {
        shares.push((full_id(&worker, &one.version)?, one.percentage));
    }
    let now = match shares.as_slice() {
        // The other one is not named: it is what serves now.
        [(_, Some(share))] if *share < WHOLE => Some(worker.deployments()?),
        _ => None,
    };
    let current = now.as_ref().and_then(|now| now.first()).map(|now| now.versions.as_slice()).unwrap_or_default();
    let versions = share_out(shares, current)?;
    let deploying = Deploying { message: arguments.message.as_deref(), force: arguments.force };
    deploy_shares(&worker, &versions, &deploying, console)
}

/// `VERSION[@PERCENT[%]]`
fn wanted(text: &str) -> Result<Wanted, ClientError> {
    let Some((version, share)) = text.split_once('@') else {
        return Ok(Wanted { version: text.to_owned(), percentage: None });
    };
    let percentage = share.trim_end_matches('%').parse::<f64>().ok().filter(|share| (0.0..=WHOLE).contains(share));
    let Some(percentage) = percentage else {
        let reason = format!("{text}: a share is a number from 0 to 100, as in {version}@10%");
        return Err(ClientError::Usage(reason));
    };
    Ok(Wanted { version: version.to_owned(), percentage: Some(percentage) })
}

/// What can be told to be wrong before anything is asked.
fn check(wanted: &[Wanted]) -> Result<(), ClientError> {
    let given: f64 = wanted.iter().filter_map(|one| one.percentage).sum();
    let is_open = wanted.len() < VERSIONS_MAX || wanted.iter().any(|one| one.percentage.is_none());
    if given > WHOLE + SHARE_ERROR_MAX || (!is_open && (given - WHOLE).abs() > SHARE_ERROR_MAX) {
        return Err(ClientError::Usage(format!("the shares are {given} % together, not 100 %")));
    }
    match wanted {
        [one, other] if one.version == other.version => {
            Err(ClientError::Usage(format!("{} is named twice", one.version)))
        }
        _ => Ok(()),
    }
}

/// The shares of all the traffic: who has none said shares what is left, as does what serves now where one version
/// alone is named with a part.
fn share_out(mut shares: Vec<(String, Option<f64>)>, current: &[Share]) -> Result<Vec<Share>, ClientError> {
    if let [(version, Some(share))] = shares.as_slice()
        && *share < WHOLE
    {
        let mut others = current.iter().filter(|other| other.version_id != *version);
        let (Some(other), None) = (others.next(), others.next()) else {
            let reason = format!("{share} % is not all of the traffic: name the version that takes the rest");
            return Err(ClientError::Usage(reason));
        };
        shares.push((other.version_id.clone(), None));
    }
    let given: f64 = shares.iter().filter_map(|(_, share)| *share).sum();
    let open = shares.iter().filter(|(_, share)| share.is_none()).count();
    let rest = (WHOLE - given) / open.max(1) as f64;
    let rest = (rest * SHARES_A_PERCENT).round() / SHARES_A_PERCENT;
    let share = |(version_id, share): (String, Option<f64>)| Share { version_id, percentage: share.unwrap_or(rest) };
    Ok(shares.into_iter().map(share).collect())
}

/// A version's id, of which the beginning or `latest` may have been given.
pub fn full_id(worker: &Worker, text: &str) -> Result<String, ClientError> {
    /// Digits and dashes of a UUID.
    const ID_CHARS: usize = 36;
    if text.len() == ID_CHARS {
        return Ok(text.to_lowercase());
    }
    let versions = listed(worker)?;
    let ids: Vec<&str> = versions.iter().filter_map(|version| at(version, "/id").as_str()).collect();
    if text == "latest" {
        let newest = ids.first().map(|id| (*id).to_owned());
        return newest.ok_or_else(|| ClientError::Missing(format!("{} has no versions", worker.name)));
    }
    let found: Vec<&str> =
        ids.into_iter().filter(|id| !text.is_empty() && id.starts_with(&text.to_lowercase())).collect();
    match found.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(ClientError::Missing(format!(
            "{} has no version {text}: `selvedge versions list` shows those it has",
            worker.name
        ))),
        many => Err(ClientError::Missing(format!("{text} could be each of {}", many.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(texts: &[&str], current: &[(&str, f64)]) -> Result<Vec<(String, f64)>, ClientError> {
        let wanted = texts.iter().map(|text| wanted(text)).collect::<Result<Vec<_>, _>>()?;
        check(&wanted)?;
        let shares = wanted.into_iter().map(|one| (one.version, one.percentage)).collect();
        let current: Vec<Share> = current
            .iter()
            .map(|(id, percentage)| Share { version_id: (*id).to_owned(), percentage: *percentage })
            .collect();
        Ok(share_out(shares, &current)?.into_iter().map(|share| (share.version_id, share.percentage)).collect())
    }

    #[test]
    fn shares_are_all_of_the_traffic() {
        let two = |a: f64, b: f64| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(out(&["a"], &[]).unwrap(), [("a".to_owned(), 100.0)]);
        assert_eq!(out(&["a@10%", "b@90"], &[]).unwrap(), two(10.0, 90.0));
        assert_eq!(out(&["a@0.5", "b"], &[]).unwrap(), two(0.5, 99.5));
        assert_eq!(out(&["a@10.1", "b"], &[]).unwrap(), two(10.1, 89.9));
        assert_eq!(out(&["a", "b"], &[]).unwrap(), two(50.0, 50.0));
        assert_eq!(out(&["a@25"], &[("b", 100.0)]).unwrap(), two(25.0, 75.0));
        assert_eq!(out(&["a@25"], &[("a", 10.0), ("b", 90.0)]).unwrap(), two(25.0, 75.0));
    }

    #[test]
    fn shares_that_are_not_all_of_it_are_refused() {
        for (texts, current) in [
            (&["a@60", "b@60"][..], &[][..]),
            (&["a@10", "b@10"], &[]),
            (&["a@101"], &[]),
            (&["a@-1"], &[]),
            (&["a@ten"], &[]),
            (&["a", "a"], &[]),
            (&["a@10"], &[]),
            (&["a@10"], &[("b", 50.0), ("c", 50.0)]),
        ] {
            assert!(matches!(out(texts, current), Err(ClientError::Usage(_))), "{texts:?}");
        }
    }
}
