//! From an upload to a version.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_model::{
    AccountId, AssetsRecord, BlobHash, Format, ModuleKind, ModuleRecord, SourceMapRecord, VersionRecord, WorkerName,
};
use serde_json::{Map, Value};

use crate::account::{check_below_domain, is_unseen};
use crate::binding::BindingInput;
use crate::bounds::{
    ASSET_RULES_BYTES_MAX, EXTRA_BYTES_MAX, OBSERVABILITY_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX, TAIL_CONSUMERS_MAX,
    WORKERS_MAX,
};
use crate::caller::{Caller, Permission};
use crate::compatibility::{check_date, check_flags};
use crate::control::{Control, random_id};
use crate::draft::{
    Draft, OwnLimits, Resealed, Resolver, check_alias, check_alias_host, check_annotations, check_bindings,
    check_inputs, finish, read_limits,
};
use crate::error::ControlError;
use crate::event::{Event, SettingsChange};
use crate::make::Making;
use crate::migration::Plan;
use crate::pins::Pinned;
use crate::store::View;
use crate::upload::{AssetsInput, Deploy, Metadata, Upload, UploadOptions, Uploaded};
use crate::worker::{Consumer, ScriptSettings};

/// What a script that names no date is taken to be of, as on the platform.
const COMPATIBILITY_DATE_DEFAULT: &str = "2021-11-02";
/// What metadata says of how it is to be rolled out, or of the machine it was built on, rather than of the version.
const TRANSIENT: [&str; 4] = ["code_update_strategy", "bindings_inherit", "has_preview", "package_dependencies"];

/// An upload whose parts are kept, ready to be drafted.
struct Kept {
    making: Making,
    options: UploadOptions,
    metadata: Metadata,
    format: Format,
    main: String,
    modules: Vec<ModuleRecord>,
    source_maps: Vec<SourceMapRecord>,
    assets: Option<AssetsRecord>,
    limits: OwnLimits,
    sealed: BTreeMap<String, String>,
    resealed: Resealed,
    /// Holds the blobs until a version uses them.
    _pinned: Vec<Pinned>,
}

impl Control {
    /// Makes a version of what was uploaded, once it was started; with [`crate::Deploy::Now`] it then has all the
    /// traffic. The worker comes to be, unless the options say that it must be there. Needs `workers:write`, and
    /// `secrets:write` if there are secrets in it.
    pub async fn upload(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        upload: Upload,
        options: UploadOptions,
    ) -> Result<Uploaded, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        let has_secrets = upload.metadata.bindings.iter().any(|one| matches!(one, BindingInput::Secret { .. }));
        if has_secrets {
            caller.require(account, Permission::SecretsWrite)?;
        }
        let making = Making::begin(caller, account, worker)?;
        let (id, name, must_exist) = (account.clone(), worker.clone(), options.must_exist);
        // Before anything is kept for it.
        self.ask(caller, account, Permission::WorkersWrite, move |view| {
            if must_exist { view.worker(&id, &name).map(drop) } else { Ok(()) }
        })
        .await?;
        let kept = Arc::new(self.keep(making, upload, options).await?);
        let key = self.key.clone();
        let drafting = {
            let kept = Arc::clone(&kept);
            Arc::new(move |view: &View<'_>, at_ms: u64| kept.draft(view, &key, at_ms))
        };
        let made = self.make_version(caller, options.deploy, drafting).await?;
        Ok(Uploaded {
            version: made.version,
            deployment: made.deployment,
            worker_created: made.worker_created,
            has_preview: made.previews,
        })
    }

    /// Checks an upload by itself, and keeps its parts.
    async fn keep(&self, making: Making, upload: Upload, options: UploadOptions) -> Result<Kept, ControlError> {
        upload.check_sizes()?;
        let Upload { mut metadata, modules, source_maps } = upload;
        let limits = check_metadata(&mut metadata, &making.worker, self.core.clock.now_ms())?;
        let kinds: Vec<(&str, ModuleKind)> = modules.iter().map(|one| (one.name.as_str(), one.kind)).collect();
        let (format, main) = main_of(&metadata, &kinds)?;
        let mut pinned = Vec::new();
        let assets = match metadata.assets.take() {
            Some(input) => Some(self.keep_assets(&making.account, &making.worker, input, &mut pinned).await?),
            None => None,
        };
        let sealed = self.seal_all(&making.account, &making.worker, &metadata.bindings)?;
        let bodies: Vec<Bytes> = modules.iter().map(|module| module.body.clone()).collect();
        let maps: Vec<Bytes> = source_maps.iter().map(|map| map.body.clone()).collect();
        let (hashes, bodies_pinned) = self.put_blobs(bodies).await?;
        let (map_hashes, maps_pinned) = self.put_blobs(maps).await?;
        pinned.extend([bodies_pinned, maps_pinned]);
        let modules = modules.into_iter().zip(hashes).map(|(module, blob)| ModuleRecord {
            bytes: module.body.len() as u64,
            name: module.name,
            kind: module.kind,
            blob,
        });
        let source_maps = source_maps.into_iter().zip(map_hashes).map(|(map, blob)| SourceMapRecord {
            bytes: map.body.len() as u64,
            module: map.module,
            blob,
        });
        Ok(Kept {
            making,
            options,
            metadata,
            format,
            main,
            modules: modules.collect(),
            source_maps: source_maps.collect(),
            assets,
            limits,
            sealed,
            resealed: Resealed::default(),
            _pinned: pinned,
        })
    }

    /// Seals the secrets of an upload, by the names of their bindings.
    pub(crate) fn seal_all(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        bindings: &[BindingInput],
    ) -> Result<BTreeMap<String, String>, ControlError> {
        let mut sealed = BTreeMap::new();
        for binding in bindings {
            if let BindingInput::Secret { name, text } = binding {
                sealed.insert(name.clone(), self.key.seal(account, worker, name, text)?);
            }
        }
        Ok(sealed)
    }

    /// The assets that a completion token stands for.
    async fn keep_assets(
        &self,
        account: &AccountId,
        worker: &WorkerName,
        input: AssetsInput,
        pinned: &mut Vec<Pinned>,
    ) -> Result<AssetsRecord, ControlError> {
        let Some(token) = &input.jwt else {
            return Err(ControlError::invalid(
                "assets.jwt",
                "the completion token of the assets' upload is missing: begin with assets-upload-session",
            ));
        };
        let (files, files_pinned) = self.completed_assets(account, worker, token).await?;
        let count = files.len() as u64;
        let text = serde_json::to_vec(&files)
            .map_err(|error| ControlError::View { action: "list assets", source: error.into() })?;
        let (hashes, list_pinned) = self.put_blobs(vec![text.into()]).await?;
        pinned.extend([files_pinned, list_pinned]);
        let Some(files) = hashes.into_iter().next() else {
            return Err(ControlError::invalid("assets", "they could not be listed"));
        };
        read_assets(files, count, input.config)
    }
}

/// Checks metadata by itself, and says what compatibility date it is of where it does not. Gives the worker's own
/// limits.
pub(crate) fn check_metadata(
    metadata: &mut Metadata,
    worker: &WorkerName,
    now_ms: u64,
) -> Result<OwnLimits, ControlError> {
    check_inputs(&metadata.bindings)?;
    check_annotations(&metadata.annotations)?;
    let date = metadata.compatibility_date.get_or_insert_with(|| COMPATIBILITY_DATE_DEFAULT.into());
    check_date(date, now_ms)?;
    check_flags(&metadata.compatibility_flags)?;
    if let Some(alias) = metadata.annotations.get("workers/alias") {
        check_alias(alias, worker)?;
    }
    check_settings(metadata.tags.as_deref(), metadata.tail_consumers.as_deref(), metadata.observability.as_ref())?;
    for transient in TRANSIENT {
        metadata.extra.remove(transient);
    }
    check_extra(&metadata.extra)?;
    read_limits(metadata.limits.as_ref())
}

/// What an upload says of how its assets are served.
pub(crate) fn read_assets(
    files: BlobHash,
    count: u64,
    mut config: Map<String, Value>,
) -> Result<AssetsRecord, ControlError> {
    Ok(AssetsRecord {
        files,
        count,
        html_handling: text_of(&mut config, "html_handling", &HTML_HANDLING)?,
        not_found_handling: text_of(&mut config, "not_found_handling", &NOT_FOUND_HANDLING)?,
        run_worker_first: worker_first_of(&mut config)?,
        base_path: base_path_of(&mut config)?,
        headers: rules_of(&mut config, "_headers")?,
        redirects: rules_of(&mut config, "_redirects")?,
    })
}

const HTML_HANDLING: [&str; 4] = ["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"];
const NOT_FOUND_HANDLING: [&str; 3] = ["none", "404-page", "single-page-application"];
/// The most globs of `run_worker_first`, and the longest, in characters: as the edge takes them.
const WORKER_FIRST_RULES_MAX: usize = 100;
const WORKER_FIRST_CHARS_MAX: usize = 100;
/// The longest path below which assets are served, in bytes.
const BASE_PATH_BYTES_MAX: usize = 256;

fn text_of(config: &mut Map<String, Value>, key: &str, allowed: &[&str]) -> Result<Option<String>, ControlError> {
    let at = || format!("assets.config.{key}");
    match config.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if allowed.is_empty() || allowed.contains(&text.as_str()) => Ok(Some(text)),
        Some(Value::String(_)) => Err(ControlError::invalid(at(), format!("it must be one of {}", allowed.join(", ")))),
        Some(_) => Err(ControlError::invalid(at(), "it must be a text")),
    }
}

/// The path below which assets are served, if it is not the root: one of this host.
fn base_path_of(config: &mut Map<String, Value>) -> Result<Option<String>, ControlError> {
    let path = text_of(config, "base_path", &[])?;
    let bad = |path: &String| {
        path.len() > BASE_PATH_BYTES_MAX
            || path.contains("//")
            || path.contains(['\\', '?', '#'])
            || path.chars().any(|letter| letter.is_control() || letter.is_whitespace())
            || path.split('/').any(|part| matches!(part, "." | ".."))
    };
    if path.as_ref().is_some_and(bad) {
        let problem = format!("it must be a path such as /docs, of at most {BASE_PATH_BYTES_MAX} bytes");
        return Err(ControlError::invalid("assets.config.base_path", problem));
    }
    Ok(path)
}

fn rules_of(config: &mut Map<String, Value>, key: &str) -> Result<Option<String>, ControlError> {
    let text = text_of(config, key, &[])?;
    if let Some(text) = &text
        && text.len() > ASSET_RULES_BYTES_MAX
    {
        let problem = format!("{} bytes: at most {ASSET_RULES_BYTES_MAX} are allowed", text.len());
        return Err(ControlError::invalid(format!("assets.config.{key}"), problem));
    }
    Ok(text)
}

fn worker_first_of(config: &mut Map<String, Value>) -> Result<Option<Value>, ControlError> {
    let invalid = |problem: &str| Err(ControlError::invalid("assets.config.run_worker_first", problem));
    // The name that it had before.
    let serve_directly = config.remove("serve_directly").and_then(|value| value.as_bool());
    match config.remove("run_worker_first") {
        None | Some(Value::Null) => Ok(serve_directly.map(|directly| Value::Bool(!directly))),
        Some(value @ Value::Bool(_)) => Ok(Some(value)),
        Some(Value::Array(globs)) => {
            let plain = |glob: &Value| {
                glob.as_str().is_some_and(|text| {
                    text.chars().count() <= WORKER_FIRST_CHARS_MAX && (text.starts_with('/') || text.starts_with("!/"))
                })
            };
            if globs.len() > WORKER_FIRST_RULES_MAX {
                return invalid("there are more than 100 rules");
            }
            if !globs.iter().all(plain) {
                return invalid("a rule begins with / or !/ and has 100 characters at most");
            }
            Ok(Some(Value::Array(globs)))
        }
        Some(_) => invalid("it must be true, false or a list of rules"),
    }
}

/// Which part is evaluated first, and in which form the script is.
fn main_of(metadata: &Metadata, modules: &[(&str, ModuleKind)]) -> Result<(Format, String), ControlError> {
    let kind_of = |name: &str| modules.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind);
    let missing = |key: &str, name: &str| {
        let shown: String = name.chars().take(80).collect();
        ControlError::invalid(key, format!("it names the part \"{shown}\", which the upload does not have"))
    };
    match (&metadata.main_module, &metadata.body_part) {
        (Some(_), Some(_)) => Err(ControlError::invalid(
            "metadata",
            "main_module and body_part cannot both be given: a script has one form",
        )),
        (Some(main), None) => match kind_of(main).ok_or_else(|| missing("main_module", main))? {
            ModuleKind::EsModule => Ok((Format::Modules, main.clone())),
            _ => Err(ControlError::invalid(
                "main_module",
                format!("the part {main} must be an ECMAScript module: application/javascript+module"),
            )),
        },
        (None, Some(body)) => match kind_of(body).ok_or_else(|| missing("body_part", body))? {
            ModuleKind::Script => Ok((Format::ServiceWorker, body.clone())),
            _ => Err(ControlError::invalid("body_part", format!("the part {body} must be application/javascript"))),
        },
        (None, None) if modules.is_empty() && (metadata.assets.is_some() || metadata.keep_assets) => {
            Ok((Format::Modules, String::new()))
        }
        (None, None) => Err(ControlError::invalid(
            "metadata",
            "main_module (or body_part, of a script without exports) must name the part that is evaluated first",
        )),
    }
}

/// Checks what of a worker's settings has bounds.
pub(crate) fn check_settings(
    tags: Option<&[String]>,
    consumers: Option<&[Consumer]>,
    observability: Option<&Value>,
) -> Result<(), ControlError> {
    if let Some(observability) = observability {
        let bytes = observability.to_string().len();
        if bytes > OBSERVABILITY_BYTES_MAX {
            let problem = format!("it has {bytes} bytes: at most {OBSERVABILITY_BYTES_MAX} are allowed");
            return Err(ControlError::invalid("observability", problem));
        }
    }
    if let Some(tags) = tags {
        if tags.len() > TAGS_MAX {
            return Err(ControlError::invalid("tags", format!("there are {}: at most {TAGS_MAX}", tags.len())));
        }
        if tags.iter().any(|tag| tag.len() > TAG_BYTES_MAX || tag.chars().any(is_unseen)) {
            let problem = format!("a tag has at most {TAG_BYTES_MAX} bytes, none of them control characters");
            return Err(ControlError::invalid("tags", problem));
        }
    }
    if let Some(consumers) = consumers
        && consumers.len() > TAIL_CONSUMERS_MAX
    {
        let problem = format!("there are {}: at most {TAIL_CONSUMERS_MAX}", consumers.len());
        return Err(ControlError::invalid("tail_consumers", problem));
    }
    Ok(())
}

/// Checks what is only kept of a version, and shown.
pub(crate) fn check_extra(extra: &Map<String, Value>) -> Result<(), ControlError> {
    let bytes_of = |(key, value): (&String, &Value)| key.len() + value.to_string().len();
    let bytes: usize = extra.iter().map(bytes_of).sum();
    if bytes <= EXTRA_BYTES_MAX {
        return Ok(());
    }
    let largest = extra.iter().max_by_key(|member| bytes_of(*member)).map_or("metadata", |(key, _)| key.as_str());
    let shown: String = largest.chars().take(80).filter(|char| !char.is_control()).collect();
    let problem = format!(
        "this and the other members that are only kept have {bytes} bytes: at most {EXTRA_BYTES_MAX} are allowed"
    );
    Err(ControlError::invalid(shown, problem))
}

/// Checks that the workers that are to be told of events are there.
pub(crate) fn check_consumers(
    view: &View<'_>,
    account: &AccountId,
    worker: &WorkerName,
    consumers: &[Consumer],
) -> Result<(), ControlError> {
    for consumer in consumers {
        let service = &consumer.service;
        if service != worker && view.find_worker(account, service)?.is_none() {
            let name = "tail_consumers".to_owned();
            return Err(ControlError::ServiceMissing { name, service: service.to_string() });
        }
    }
    Ok(())
}

/// The event that changes settings, if any do.
pub(crate) fn settings_event(account: &AccountId, worker: &WorkerName, settings: &ScriptSettings) -> Option<Event> {
    let change = SettingsChange {
        tags: settings.tags.clone(),
        tail_consumers: settings.tail_consumers.clone(),
        logpush: settings.logpush,
        observability: settings.observability.clone(),
    };
    (change != SettingsChange::default()).then(|| Event::SettingsChanged {
        account: account.clone(),
        worker: worker.clone(),
        change,
    })
}

impl Kept {
    /// What the version is to be, by what the view says now.
    fn draft(&self, view: &View<'_>, key: &crate::SecretsKey, at_ms: u64) -> Result<Draft, ControlError> {
        let Making { account, worker, id, author, source } = &self.making;
        let metadata = &self.metadata;
        let row = view.find_worker(account, worker)?;
        if row.is_none() && self.options.must_exist {
            return Err(ControlError::WorkerNotFound { worker: worker.to_string() });
        }
        let base = row.as_ref().map(|row| view.latest(row)).transpose()?.flatten();
        let (base_of, sealed, resealed) = (base.as_ref(), &self.sealed, &self.resealed);
        let resolver = Resolver { view, key, account, worker, base: base_of, sealed, resealed };
        let bindings = resolver.resolve(&metadata.bindings, metadata.keep_bindings.as_deref())?;
        let mut annotations = metadata.annotations.clone();
        annotations.entry("workers/triggered_by".into()).or_insert_with(|| "upload".into());
        let kept_assets = || base.as_ref().and_then(|base| base.assets.clone()).filter(|_| metadata.keep_assets);
        let mut version = VersionRecord {
            id: id.clone(),
            account: account.clone(),
            worker: worker.clone(),
            number: row.as_ref().map_or(0, |row| row.number) + 1,
            created_ms: at_ms,
            author: author.clone(),
            source: source.clone(),
            annotations,
            content: String::new(),
            format: self.format,
            main: self.main.clone(),
            modules: self.modules.clone(),
            source_maps: self.source_maps.clone(),
            compatibility_date: metadata.compatibility_date.clone().unwrap_or_default(),
            compatibility_flags: metadata.compatibility_flags.clone(),
            bindings,
            cpu_ms: self.limits.cpu_ms,
            subrequests: self.limits.subrequests,
            assets: self.assets.clone().or_else(kept_assets),
            handlers: Vec::new(),
            startup_ms: 0,
            extra: metadata.extra.clone(),
        };
        let (mut before, after) = self.around(view, row.is_none())?;
        let mut plan = Plan::begin(view, account, worker, at_ms)?;
        if self.options.deploy == Deploy::Now {
            plan.apply(metadata, row.as_ref().and_then(|row| row.data.migration_tag.as_deref()))?;
        } else if metadata.migrations.is_some() {
            let problem = "a version that is not deployed at once cannot bring migrations: deploy it".into();
            return Err(ControlError::MigrationInvalid { problem });
        }
        let (classes, events) = plan.end();
        check_bindings(view, &version, &classes)?;
        check_alias_host(view, &version)?;
        before.extend(events);
        finish(&mut version)?;
        Ok(Draft { row, version, before, after })
    }

    /// What happens before and after the version comes to be, but for migrations.
    fn around(&self, view: &View<'_>, new: bool) -> Result<(Vec<Event>, Vec<Event>), ControlError> {
        let Making { account, worker, .. } = &self.making;
        let metadata = &self.metadata;
        let mut before = Vec::new();
        if new {
            if view.count_workers(account)? >= WORKERS_MAX {
                return Err(ControlError::TooMany { what: "Workers", count_max: WORKERS_MAX });
            }
            check_below_domain(view, account, worker)?;
            let (account, worker) = (account.clone(), worker.clone());
            before.push(Event::WorkerCreated { account, worker, id: random_id() });
        }
        check_consumers(view, account, worker, metadata.tail_consumers.as_deref().unwrap_or_default())?;
        let settings = ScriptSettings {
            tags: metadata.tags.clone(),
            tail_consumers: metadata.tail_consumers.clone(),
            logpush: metadata.logpush,
            observability: metadata.observability.clone(),
        };
        // What is not deployed changes nothing of what is.
        let deployed = self.options.deploy == Deploy::Now;
        let after = settings_event(account, worker, &settings).filter(|_| deployed);
        Ok((before, after.into_iter().collect()))
    }
}
