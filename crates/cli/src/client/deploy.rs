//! `selvedge deploy`: a project's version, served from now on.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::assets::{self, Uploaded};
use super::bindings::bindings;
use super::console::{Console, bytes, table};
use super::error::{ClientError, code};
use super::fields::text_at;
use super::place::{Place, PlaceArguments};
use super::prepare::{Prepared, SourceArguments, TriggerArguments};
use super::provision::provision;
use super::triggers::{self, Reach};
use super::upload::{Annotations, Upload, Version, parts, tail_consumers};
use super::worker::{Worker, shares};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    selvedge deploy                       the project in this folder\n  \
    selvedge deploy hello.ts              one file, as a worker named \"hello\"\n  \
    selvedge deploy --env staging --message \"new prices\"\n  \
    selvedge deploy --dry-run --outdir build\n                                        \
    what would be uploaded, asking nobody")]
pub struct DeployArguments {
    #[command(flatten)]
    pub source: SourceArguments,
    #[command(flatten)]
    pub triggers: TriggerArguments,
    /// What this deployment is about
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Name for the version
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Bundle and check, but ask no platform
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: folder to write the modules to
    #[arg(long, value_name = "DIR", requires = "dry_run")]
    pub outdir: Option<PathBuf>,
    #[command(flatten)]
    pub place: PlaceArguments,
}

/// What the platform knows of a worker before a version is uploaded.
#[derive(Debug, Default)]
pub struct Before {
    pub exists: bool,
    pub migration_tag: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Service {
    default_environment: Option<Environment>,
}

#[derive(Debug, Deserialize)]
struct Environment {
    script: Option<Script>,
}

#[derive(Debug, Deserialize)]
struct Script {
    migration_tag: Option<String>,
}

/// Uploads the project and serves it.
pub fn deploy(arguments: &DeployArguments, console: &Console) -> Result<(), ClientError> {
    let began = Instant::now();
    let prepared = arguments.source.prepare(&arguments.triggers, console)?;
    if arguments.dry_run {
        return dry_run(&prepared, arguments.outdir.as_deref(), console);
    }
    let worker = worker(&arguments.place, &arguments.source, &prepared, console)?;
    let before = before(&worker)?;
    check_secrets(&worker, &before, &prepared)?;
    let migrations = migrations(&prepared, before.migration_tag.as_deref());
    warn_of_shared_traffic(&worker, &before, console)?;
    let provisioned = provision(&worker, before.exists, &prepared, console)?;
    warn_of_missing_services(&prepared, console);
    let assets = prepared.assets.as_ref().map(|set| assets::upload(&worker, set, console)).transpose()?;
    let annotations = Annotations { message: arguments.message.clone(), tag: arguments.tag.clone(), alias: None };
    let in_one = !before.exists || migrations.is_some() || is_service_worker(&prepared);
    let bindings = bindings(&prepared, &provisioned)?;
    let upload = Upload { prepared: &prepared, bindings, assets: assets.as_ref(), migrations, annotations };
    let version = if in_one {
        let query = [("excludeScript", "true"), ("bindings_inherit", "strict")];
        upload.send(&worker, "PUT", &[], &query, console)?
    } else {
        in_two(&worker, &upload, console)?
    };
    let reach = triggers::set(&worker, &prepared, console).map_err(|source| ClientError::Triggers {
        worker: worker.name.clone(),
        version: version.id().unwrap_or_default().to_owned(),
        source: Box::new(source),
    })?;
    report(&worker, &version, &reach, assets.as_ref(), began, console)
}

/// The worker that a project is deployed as.
pub fn worker(
    place: &PlaceArguments,
    source: &SourceArguments,
    prepared: &Prepared,
    console: &Console,
) -> Result<Worker, ClientError> {
    let account = prepared.project.deploy.account_id.clone();
    let place = Place::find(place, source.env.as_deref(), account, console)?;
    Ok(Worker { place, name: prepared.project.name.as_str().to_owned() })
}

/// What the platform knows of the worker.
pub fn before(worker: &Worker) -> Result<Before, ClientError> {
    let path = ["accounts", &worker.place.account, "workers", "services", &worker.name];
    let service: Option<Service> = match worker.place.api.get(&path, &[]) {
        Ok(service) => Some(service),
        Err(error) if error.code().is_some_and(|code| code::WORKER_NOT_FOUND.contains(&code)) => None,
        Err(error) => return Err(error),
    };
    let exists = service.is_some();
    let script = service.and_then(|service| service.default_environment?.script);
    Ok(Before { exists, migration_tag: script.and_then(|script| script.migration_tag) })
}

/// A worker whose project requires secrets is not deployed without them, and loses none to a variable of its name.
pub fn check_secrets(worker: &Worker, before: &Before, prepared: &Prepared) -> Result<(), ClientError> {
    #[derive(Deserialize)]
    struct Secret {
        name: String,
    }
    let required = prepared.project.deploy.secrets_required.iter();
    let mut missing: Vec<&str> =
        required.filter(|name| !prepared.secrets.contains_key(name.as_str())).map(|name| name.as_str()).collect();
    let vars = &prepared.project.vars;
    if before.exists && !(missing.is_empty() && vars.is_empty()) {
        let present: Vec<Secret> = worker.place.api.get(&worker.path(&["secrets"]), &[])?;
        let is_present = |name: &str| present.iter().any(|secret| secret.name == name);
        if let Some(name) = vars.keys().find(|name| is_present(name.as_str())) {
            let worker = &worker.name;
            return Err(ClientError::Missing(format!(
                "the variable {name} would take the place of a secret of {worker}, which would be lost: give it another \
                 name, or remove the secret with `selvedge secret delete {name}`"
            )));
        }
        missing.retain(|name| !is_present(name));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    Err(ClientError::Missing(format!(
        "the project requires secrets that {} does not have: {names}. Set them with `selvedge secret put NAME`, or give \
         them with --secrets-file FILE",
        worker.name
    )))
}

/// The migrations that the worker has not seen: those after the tag that it has.
pub fn migrations(prepared: &Prepared, tag: Option<&str>) -> Option<Value> {
    let all = &prepared.project.deploy.migrations;
    let tag_of = |migration: &Map<String, Value>| migration.get("tag").and_then(Value::as_str).map(str::to_owned);
    let newest = all.last().and_then(tag_of)?;
    if tag == Some(newest.as_str()) {
        return None;
    }
    let seen = all.iter().position(|migration| tag_of(migration).as_deref() == tag && tag.is_some());
    let steps: Vec<Value> = all
        .iter()
        .skip(seen.map_or(0, |at| at + 1))
        .map(|migration| {
            let step = migration.iter().filter(|(key, _)| *key != "tag");
            Value::Object(step.map(|(key, value)| (key.clone(), value.clone())).collect())
        })
        .collect();
    let mut migrations = json!({ "new_tag": newest, "steps": steps });
    if let (Some(object), Some(tag)) = (migrations.as_object_mut(), tag) {
        object.insert("old_tag".to_owned(), json!(tag));
    }
    Some(migrations)
}

/// Uploads a version, then deploys it: between the two, what served before does.
fn in_two(worker: &Worker, upload: &Upload<'_>, console: &Console) -> Result<Version, ClientError> {
    let version = upload.send(worker, "POST", &["versions"], &[("bindings_inherit", "strict")], console)?;
    let Some(id) = version.id() else {
        return Err(ClientError::Missing("the API named no version that it made of the upload".to_owned()));
    };
    let mut body = json!({
        "strategy": "percentage",
        "versions": [{ "version_id": id, "percentage": 100 }],
    });
    if let (Some(object), Some(message)) = (body.as_object_mut(), &upload.annotations.message) {
        object.insert("annotations".to_owned(), json!({ "workers/message": message }));
    }
    let _: Value = worker.place.api.send("POST", &worker.path(&["deployments"]), &[], &body)?;
    script_settings(worker, upload.prepared)?;
    Ok(version)
}

/// What belongs to the worker rather than to a version of it.
fn script_settings(worker: &Worker, prepared: &Prepared) -> Result<(), ClientError> {
    let deploy = &prepared.project.deploy;
    let body = json!({
        "tail_consumers": tail_consumers(prepared),
        "logpush": deploy.logpush.unwrap_or(false),
        "observability": deploy.observability.clone().unwrap_or_else(|| Map::from_iter([("enabled".into(), json!(false))])),
    });
    let _: Value = worker.place.api.send("PATCH", &worker.path(&["script-settings"]), &[], &body)?;
    Ok(())
}

fn is_service_worker(prepared: &Prepared) -> bool {
    prepared.bundle.as_ref().is_some_and(|bundle| bundle.format == selvedge_bundle::Format::ServiceWorker)
}

fn warn_of_shared_traffic(worker: &Worker, before: &Before, console: &Console) -> Result<(), ClientError> {
    if !before.exists {
        return Ok(());
    }
    if let Some(now) = worker.deployments()?.first().filter(|now| now.versions.len() > 1) {
        let shares = shares(&now.versions);
        console.warning(&format!("{} is deployed gradually ({shares}): the new version takes all of it", worker.name));
    }
    Ok(())
}

/// Bindings that are there, but whose service is not.
pub fn warn_of_missing_services(prepared: &Prepared, console: &Console) {
    for binding in &prepared.project.unavailable {
        let (name, kind) = (binding.name.as_str(), binding.kind);
        console.warning(&format!("`{name}` is bound, but not available yet ({kind}): using it throws"));
    }
}

fn report(
    worker: &Worker,
    version: &Version,
    reach: &Reach,
    assets: Option<&Uploaded>,
    began: Instant,
    console: &Console,
) -> Result<(), ClientError> {
    let took_ms = began.elapsed().as_millis() as u64;
    let id = version.id().unwrap_or_default();
    let preview = reach.preview(id);
    let json = || {
        json!({
            "worker": worker.name,
            "version_id": id,
            "urls": reach.urls,
            "preview_url": preview,
            "crons": reach.crons,
            "queues": reach.consumers,
            "startup_time_ms": version.startup_time_ms,
            "took_ms": took_ms,
            "assets": assets.map(|assets| json!({
                "files": assets.files, "uploaded": assets.sent, "uploaded_bytes": assets.sent_bytes,
            })),
        })
    };
    console.result(json, || {
        let mut lines = vec![format!("{} is live ({took_ms} ms)", worker.name), format!("  version   {id}")];
        lines.extend(version.startup_time_ms.map(|ms| format!("  start-up  {ms} ms")));
        lines.extend(assets.map(|assets| {
            format!(
                "  assets    {} files, {} of them uploaded ({})",
                assets.files,
                assets.sent,
                bytes(assets.sent_bytes)
            )
        }));
        lines.extend(reach.urls.iter().map(|url| format!("  at        {url}")));
        lines.extend(preview.iter().map(|url| format!("  preview   {url}")));
        lines.extend(reach.crons.iter().map(|cron| format!("  cron      {cron}")));
        lines.extend(reach.consumers.iter().map(|queue| format!("  queue     {queue}")));
        lines.join("\n")
    })
}

/// Says what would be uploaded, and writes it where that is wanted.
fn dry_run(prepared: &Prepared, outdir: Option<&Path>, console: &Console) -> Result<(), ClientError> {
    let parts = parts(prepared);
    if let Some(folder) = outdir {
        for part in &parts {
            let path = folder.join(part.name.trim_start_matches("./"));
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&path, part.content))
                .map_err(|source| ClientError::File { path: path.clone(), source })?;
        }
    }
    let total: u64 = parts.iter().map(|part| part.content.len() as u64).sum();
    let bindings = bindings(prepared, &[])?;
    let files = prepared.assets.as_ref().map(|set| set.len());
    let json = || {
        json!({
            "worker": prepared.project.name.as_str(),
            "modules": parts.iter().map(|part| json!({
                "name": part.name, "type": part.content_type, "bytes": part.content.len(),
            })).collect::<Vec<_>>(),
            "bytes": total,
            "bindings": bindings.iter().map(|binding| json!({
                "name": text_at(binding, "/name"), "type": text_at(binding, "/type"),
            })).collect::<Vec<_>>(),
            "assets": files,
        })
    };
    console.result(json, || {
        let rows: Vec<_> = parts
            .iter()
            .map(|part| vec![part.name.clone(), part.content_type.to_owned(), bytes(part.content.len() as u64)])
            .collect();
        let mut text = format!("{} would be uploaded ({})", prepared.project.name, bytes(total));
        if !rows.is_empty() {
            text = format!("{text}\n{}", table(&["MODULE", "TYPE", "SIZE"], &rows));
        }
        if !bindings.is_empty() {
            let rows: Vec<_> = bindings
                .iter()
                .map(|binding| vec![text_at(binding, "/name").to_owned(), text_at(binding, "/type").to_owned()])
                .collect();
            text = format!("{text}\n{}", table(&["BINDING", "TYPE"], &rows));
        }
        if let Some(files) = files {
            text = format!("{text}\n{files} assets");
        }
        text
    })
}
