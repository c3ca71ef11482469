//! What leads to a worker: its place at the platform's domain, routes, custom domains, crons, queues, workflows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use selvedge_project::{BindingKind, Route, WorkerName, Zone};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::console::Console;
use super::error::ClientError;
use super::fields::{each_at, text_at};
use super::place::{Place, PlaceArguments};
use super::prepare::{Prepared, TriggerArguments};
use super::worker::Worker;

#[derive(Debug, Subcommand)]
pub enum TriggersCommand {
    /// Set a project's routes, custom domains and cron triggers, whatever version of it serves
    #[command(after_help = "Examples:\n  \
        selvedge versions upload && selvedge versions deploy latest && selvedge triggers deploy\n  \
        selvedge triggers deploy --schedule \"*/5 * * * *\"")]
    Deploy(DeployTriggersArguments),
}

#[derive(Debug, Args)]
pub struct DeployTriggersArguments {
    /// Project: a .js, .mjs, .jsx, .ts, .mts or .tsx file, a folder with wrangler.jsonc, wrangler.json, wrangler.toml or an
    /// index file, or such a configuration file
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Named environment of the project's configuration
    #[arg(long, short, env = "CLOUDFLARE_ENV", value_name = "NAME")]
    env: Option<String>,
    /// Name of the worker
    #[arg(long, value_name = "NAME")]
    name: Option<WorkerName>,
    #[command(flatten)]
    triggers: TriggerArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Where a worker answers.
#[derive(Debug, Default)]
pub struct Reach {
    /// URLs, those that one can open first.
    pub urls: Vec<String>,
    pub crons: Vec<String>,
    pub consumers: Vec<String>,
    /// What follows a version's short id in the host name of its preview.
    pub preview_suffix: Option<String>,
    /// `http` or `https`.
    pub scheme: String,
}

#[derive(Debug, Default, Deserialize)]
struct Described {
    subdomain: Option<Subdomain>,
}

#[derive(Debug, Default, Deserialize)]
struct Subdomain {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    previews_enabled: bool,
    url: Option<String>,
    preview_url_suffix: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Changeset {
    #[serde(default)]
    updated: Vec<Updated>,
}

/// A custom domain that leads somewhere else already.
#[derive(Debug, Default, Deserialize)]
struct Updated {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    service: String,
    /// To another worker than before.
    #[serde(default)]
    modified: bool,
}

impl TriggersCommand {
    pub fn place(&self) -> &PlaceArguments {
        match self {
            Self::Deploy(arguments) => &arguments.place,
        }
    }
}

pub fn run(command: &TriggersCommand, console: &Console) -> Result<(), ClientError> {
    match command {
        TriggersCommand::Deploy(arguments) => deploy(arguments, console),
    }
}

fn deploy(arguments: &DeployTriggersArguments, console: &Console) -> Result<(), ClientError> {
    let env = arguments.env.as_deref();
    let prepared = arguments.triggers.prepare(&arguments.path, env, arguments.name.as_ref(), console)?;
    let account = prepared.project.deploy.account_id.clone();
    let place = Place::find(&arguments.place, env, account, console)?;
    let worker = Worker { place, name: prepared.project.name.as_str().to_owned() };
    let reach = set(&worker, &prepared, console)?;
    console.result(
        || json!({ "worker": worker.name, "urls": reach.urls, "crons": reach.crons, "queues": reach.consumers }),
        || {
            let mut lines = vec![format!("{} has its triggers", worker.name)];
            lines.extend(reach.lines());
            lines.join("\n")
        },
    )
}

/// Sets all of them as the project says.
pub fn set(worker: &Worker, prepared: &Prepared, console: &Console) -> Result<Reach, ClientError> {
    let project = &prepared.project;
    let mut reach = subdomain(worker, prepared)?;
    let (domains, routes): (Vec<&Route>, Vec<&Route>) = project.routes.iter().partition(|route| route.custom_domain);
    if !routes.is_empty() {
        let body: Value = routes.iter().map(|route| with_zone("pattern", route)).collect();
        let _: Value = worker.place.api.send("PUT", &worker.path(&["routes"]), &[], &body)?;
        reach.urls.extend(routes.iter().map(|route| route.pattern.clone()));
    }
    if !domains.is_empty() {
        set_domains(worker, &domains, console)?;
        reach.urls.extend(domains.iter().map(|domain| format!("{}://{}", reach.scheme, domain.pattern)));
    }
    if let Some(crons) = &project.crons {
        let body: Value = crons.iter().map(|cron| json!({ "cron": cron.as_str() })).collect();
        let _: Value = worker.place.api.send("PUT", &worker.path(&["schedules"]), &[], &body)?;
        reach.crons = crons.iter().map(|cron| cron.as_str().to_owned()).collect();
    }
    for consumer in &project.deploy.queue_consumers {
        reach.consumers.extend(consume(worker, consumer)?);
    }
    workflows(worker, prepared)?;
    Ok(reach)
}

/// Where the platform's domain leads to the worker.
pub fn reach(worker: &Worker) -> Result<Reach, ClientError> {
    Ok(described(worker)?.reach())
}

fn described(worker: &Worker) -> Result<Subdomain, ClientError> {
    let path = ["accounts", &worker.place.account, "workers", "workers", &worker.name];
    let described: Described = worker.place.api.get(&path, &[])?;
    Ok(described.subdomain.unwrap_or_default())
}

fn subdomain(worker: &Worker, prepared: &Prepared) -> Result<Reach, ClientError> {
    let deploy = &prepared.project.deploy;
    let enabled = deploy.workers_dev.unwrap_or(prepared.project.routes.is_empty());
    let previews_enabled = deploy.preview_urls.unwrap_or(enabled);
    let mut subdomain = described(worker)?;
    if (subdomain.enabled, subdomain.previews_enabled) != (enabled, previews_enabled) {
        let body = json!({ "enabled": enabled, "previews_enabled": previews_enabled });
        let _: Value = worker.place.api.send("POST", &worker.path(&["subdomain"]), &[], &body)?;
        (subdomain.enabled, subdomain.previews_enabled) = (enabled, previews_enabled);
    }
    Ok(subdomain.reach())
}

fn set_domains(worker: &Worker, domains: &[&Route], console: &Console) -> Result<(), ClientError> {
    let origins: Value = domains.iter().map(|domain| with_zone("hostname", domain)).collect();
    let changes: Changeset = worker.place.api.send(
        "POST",
        &worker.path(&["domains", "changeset"]),
        &[("replace_state", "true")],
        &origins,
    )?;
    for Updated { hostname: host, service: other, .. } in changes.updated.iter().filter(|domain| domain.modified) {
        console.warning(&format!("{host} leads to another worker ({other}): from now on it leads to {}", worker.name));
    }
    let body = json!({
        "override_scope": true,
        "override_existing_origin": true,
        "override_existing_dns_record": true,
        "origins": origins,
    });
    let _: Value = worker.place.api.send("PUT", &worker.path(&["domains", "records"]), &[], &body)?;
    Ok(())
}

fn with_zone(key: &str, route: &Route) -> Value {
    let mut value = json!({ key: route.pattern });
    if let Some(object) = value.as_object_mut() {
        match &route.zone {
            Some(Zone::Id(id)) => drop(object.insert("zone_id".to_owned(), json!(id))),
            Some(Zone::Name(name)) => drop(object.insert("zone_name".to_owned(), json!(name))),
            None => {}
        }
    }
    value
}

/// Makes the worker a consumer of a queue, or changes how it is one; gives the queue's name.
fn consume(worker: &Worker, consumer: &Map<String, Value>) -> Result<Option<String>, ClientError> {
    let Some(name) = consumer.get("queue").and_then(Value::as_str) else {
        return Ok(None);
    };
    let account = worker.place.account.as_str();
    let queues: Vec<Value> =
        worker.place.api.get(&["accounts", account, "queues"], &[("page", "1"), ("name", name)])?;
    let Some(queue) = queues.iter().find(|queue| text_at(queue, "/queue_name") == name) else {
        let reason = format!("there is no queue {name} to consume: bind it as a producer, which makes it");
        return Err(ClientError::Missing(reason));
    };
    let settings: Map<String, Value> = [
        ("max_batch_size", "batch_size"),
        ("max_retries", "max_retries"),
        ("max_concurrency", "max_concurrency"),
        ("retry_delay", "retry_delay"),
    ]
    .into_iter()
    .filter_map(|(key, named)| Some((named.to_owned(), consumer.get(key)?.clone())))
    .chain(
        consumer
            .get("max_batch_timeout")
            .and_then(Value::as_f64)
            .map(|seconds| ("max_wait_time_ms".to_owned(), json!((seconds * 1000.0) as u64))),
    )
    .collect();
    let mut body = json!({ "type": "worker", "script_name": worker.name, "settings": settings });
    if let (Some(object), Some(letter)) = (body.as_object_mut(), consumer.get("dead_letter_queue")) {
        object.insert("dead_letter_queue".to_owned(), letter.clone());
    }
    let id = text_at(queue, "/queue_id");
    let is_own =
        |consumer: &&Value| ["/script", "/script_name"].iter().any(|name| text_at(consumer, name) == worker.name);
    let own = each_at(queue, "/consumers").iter().find(is_own);
    let path = ["accounts", account, "queues", id, "consumers"];
    let _: Value = match own.map(|own| text_at(own, "/consumer_id")) {
        Some(consumer) => worker.place.api.send("PUT", &[&path[..], &[consumer]].concat(), &[], &body)?,
        None => worker.place.api.send("POST", &path, &[], &body)?,
    };
    Ok(Some(name.to_owned()))
}

fn workflows(worker: &Worker, prepared: &Prepared) -> Result<(), ClientError> {
    let workflows = prepared.project.unavailable.iter().filter(|binding| binding.kind == BindingKind::Workflow);
    for binding in workflows.filter(|binding| !binding.fields.contains_key("script_name")) {
        let field = |key: &str| binding.fields.get(key).and_then(Value::as_str).unwrap_or_default();
        let body = json!({ "script_name": worker.name, "class_name": field("class_name") });
        let path = ["accounts", &worker.place.account, "workflows", field("name")];
        let _: Value = worker.place.api.send("PUT", &path, &[], &body)?;
    }
    Ok(())
}

// === impl Subdomain ===

impl Subdomain {
    fn reach(self) -> Reach {
        let scheme = self.url.as_deref().and_then(|url| url.split_once("://")).map_or("https", |(scheme, _)| scheme);
        let scheme = scheme.to_owned();
        let urls = self.url.filter(|_| self.enabled).into_iter().collect();
        let preview_suffix = self.preview_url_suffix.filter(|_| self.previews_enabled);
        Reach { urls, preview_suffix, scheme, ..Reach::default() }
    }
}

// === impl Reach ===

impl Reach {
    /// What leads to the worker, for people.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let urls = self.urls.iter().map(|url| format!("  at        {url}"));
        let crons = self.crons.iter().map(|cron| format!("  cron      {cron}"));
        let queues = self.consumers.iter().map(|queue| format!("  queue     {queue}"));
        urls.chain(crons).chain(queues)
    }

    /// The URL of a version's or an alias's preview.
    pub fn preview(&self, name: &str) -> Option<String> {
        /// What a version's preview is named by.
        const SHORT_CHARS: usize = 8;
        let suffix = self.preview_suffix.as_ref()?;
        let is_version = name.len() == 36 && name.contains('-');
        let short = if is_version { name.get(..SHORT_CHARS).unwrap_or(name) } else { name };
        Some(format!("{}://{short}{suffix}", self.scheme))
    }
}
