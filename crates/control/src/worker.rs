//! Workers: what stays the same from version to version.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_model::{AccountId, VersionId, WorkerName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::binding::BindingInput;
use crate::bounds::VERSIONS_KEPT;
use crate::caller::{Caller, Permission};
use crate::compatibility::{check_date, check_flags};
use crate::control::Control;
use crate::core::Decided;
use crate::deployment::Deployment;
use crate::draft::{Resealed, Resolver, check_annotations, check_inputs, check_types, read_limits};
use crate::error::ControlError;
use crate::event::Event;
use crate::make::Making;
use crate::page::Page;
use crate::resource::{ResourceKind, saved, without_consumer};
use crate::store::{View, WorkerRow};
use crate::upload::Deploy;
use crate::upload_version::{check_consumers, check_extra, check_settings, settings_event};
use crate::version::{VersionSummary, check_latest_deployed, latest, successor};

/// A worker that is told of another's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    pub service: WorkerName,
}

/// A worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    pub account: AccountId,
    pub name: WorkerName,
    /// 32 hexadecimal digits, which stay while it exists.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970: the last change of any kind.
    pub modified_ms: u64,
    pub tags: Vec<String>,
    /// The tag of the last migration that was applied.
    pub migration_tag: Option<String>,
    /// What deployed last: `wrangler`, `selvedge`, `api`.
    pub last_deployed_from: Option<String>,
    pub logpush: bool,
    pub observability: Option<Value>,
    pub tail_consumers: Vec<Consumer>,
    /// Whether `worker.domain` leads to it.
    pub workers_dev: bool,
    /// Whether its versions have previews.
    pub previews: bool,
    /// What its host name and those of its previews end with: `domain` or `subdomain.domain`.
    pub host_suffix: String,
    /// Names for versions.
    pub aliases: BTreeMap<String, VersionId>,
    /// The version that was uploaded last.
    pub latest: Option<VersionId>,
    /// The content hash of that version.
    pub etag: Option<String>,
    pub deployment: Option<Deployment>,
}

/// What else refers to a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Workers whose deployed or latest version binds it, with the binding's name.
    pub services: Vec<(WorkerName, String)>,
    /// Workers whose events it is told of.
    pub tails: Vec<WorkerName>,
    /// Workers that use its Durable Objects, with the class.
    pub durable_objects: Vec<(WorkerName, String)>,
    /// Queues that it consumes.
    pub queues: Vec<String>,
}

/// Changes to what is not part of a version. What is none stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ScriptSettings {
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub tail_consumers: Option<Vec<Consumer>>,
    #[serde(default)]
    pub logpush: Option<bool>,
    /// As the client gave it; its `enabled` is what is looked at.
    #[serde(default)]
    pub observability: Option<Value>,
}

/// Changes to a worker's settings, some of which make a new version of it that is deployed. What is none stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SettingsPatch {
    /// All of the bindings: what is not among them goes, but for secrets.
    #[serde(default)]
    pub bindings: Option<Vec<BindingInput>>,
    #[serde(default)]
    pub compatibility_date: Option<String>,
    #[serde(default)]
    pub compatibility_flags: Option<Vec<String>>,
    #[serde(default)]
    pub limits: Option<Value>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub script: ScriptSettings,
    /// `placement` and others, which are kept and shown.
    #[serde(skip)]
    pub extra: Map<String, Value>,
}

impl Control {
    /// A worker. Needs `workers:read`.
    pub async fn worker(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Worker, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        let row = self.ask(caller, account, Permission::WorkersRead, move |view| view.worker(&own, &worker)).await?;
        self.shown(row).await
    }

    /// The workers of an account, by name. Needs `workers:read`.
    pub async fn workers(&self, caller: &Caller, account: &AccountId, page: Page) -> Result<Vec<Worker>, ControlError> {
        let own = account.clone();
        let ask = move |view: &View<'_>| Ok((view.account(&own)?, view.workers(&own, page)?));
        let (account, rows) = self.ask(caller, account, Permission::WorkersRead, ask).await?;
        let suffix = self.host_suffix(&account);
        Ok(rows.into_iter().map(|row| worker_of(row, suffix.clone())).collect())
    }

    /// How many workers an account has. Needs `workers:read`.
    pub async fn count_workers(&self, caller: &Caller, account: &AccountId) -> Result<u64, ControlError> {
        let own = account.clone();
        self.ask(caller, account, Permission::WorkersRead, move |view| view.count_workers(&own)).await
    }

    /// Removes a worker with all of its versions, routes, domains and triggers. Unless forced, not while another worker
    /// or a queue refers to it; queues that it consumes lose it as their consumer. Needs `workers:write`.
    pub async fn delete_worker(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        force: bool,
    ) -> Result<(), ControlError> {
        let (own, name) = (account.clone(), worker.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            view.worker(&own, &name)?;
            if !force && let Some(by) = references(view, &own, &name)?.first() {
                return Err(ControlError::InUse { worker: name.clone(), by });
            }
            let kind = ResourceKind::DurableObjectNamespace;
            let namespaces = view.namespaces_of(&own, &name)?.into_iter();
            let mut events: Vec<Event> = namespaces
                .map(|one| Event::ResourceDeleted { account: own.clone(), kind, id: one.id, name: one.name })
                .collect();
            for queue in view.queues_of(&own, &name)? {
                let queue = view.resource(&own, ResourceKind::Queue, &queue)?;
                events.extend(saved(&own, without_consumer(queue, &name, at_ms)).events);
            }
            events.push(Event::WorkerDeleted { account: own.clone(), worker: name.clone() });
            Ok(Decided::new(events, ()))
        })
        .await
    }

    /// What refers to a worker. Needs `workers:read`.
    pub async fn references(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<References, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            references(view, &own, &worker)
        })
        .await
    }

    /// Changes what is not part of a version. Needs `workers:write`.
    pub async fn change_script_settings(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        settings: ScriptSettings,
    ) -> Result<Worker, ControlError> {
        check_script_settings(&settings)?;
        let (own, name) = (account.clone(), worker.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            view.worker(&own, &name)?;
            check_consumers(view, &own, &name, settings.tail_consumers.as_deref().unwrap_or_default())?;
            Ok(Decided::new(settings_event(&own, &name, &settings).into_iter().collect(), ()))
        })
        .await?;
        self.row_of(account, worker).await
    }

    /// Changes settings; those of them that belong to a version make a new one of the latest, which is deployed. Needs
    /// `workers:write`, and `secrets:write` if there are secrets in it.
    pub async fn change_settings(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        settings: SettingsPatch,
    ) -> Result<Worker, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        let SettingsPatch { bindings, compatibility_date, compatibility_flags, limits, annotations, script, extra } =
            settings;
        check_script_settings(&script)?;
        check_extra(&extra)?;
        let inputs = bindings.as_deref().unwrap_or_default();
        if inputs.iter().any(|input| matches!(input, BindingInput::Secret { .. })) {
            caller.require(account, Permission::SecretsWrite)?;
        }
        check_inputs(inputs)?;
        check_annotations(&annotations)?;
        if let Some(date) = &compatibility_date {
            check_date(date, self.core.clock.now_ms())?;
        }
        check_flags(compatibility_flags.as_deref().unwrap_or_default())?;
        let own_limits = limits.as_ref().map(|limits| read_limits(Some(limits))).transpose()?;
        let of_version = bindings.is_some()
            || compatibility_date.is_some()
            || compatibility_flags.is_some()
            || limits.is_some()
            || !extra.is_empty();
        if !of_version {
            return self.change_script_settings(caller, account, worker, script).await;
        }
        let sealed = self.seal_all(account, worker, inputs)?;
        let (making, key, resealed) = (Making::begin(caller, account, worker)?, self.key.clone(), Resealed::default());
        let drafting = move |view: &View<'_>, at_ms: u64| {
            let Making { account, worker, .. } = &making;
            let row = view.worker(account, worker)?;
            let base = latest(view, &row)?;
            check_latest_deployed(&row)?;
            check_types(bindings.as_deref().unwrap_or_default(), &base)?;
            let (base_of, sealed, resealed) = (Some(&base), &sealed, &resealed);
            let resolver = Resolver { view, key: &key, account, worker, base: base_of, sealed, resealed };
            let resolved = bindings.as_deref().map(|inputs| resolver.resolve(inputs, None)).transpose()?;
            let mut draft = successor(view, &making, row, base, annotations.clone(), at_ms, |version| {
                version.bindings = resolved.unwrap_or_else(|| std::mem::take(&mut version.bindings));
                if let Some(date) = &compatibility_date {
                    version.compatibility_date.clone_from(date);
                }
                if let Some(flags) = &compatibility_flags {
                    version.compatibility_flags.clone_from(flags);
                }
                if let Some(own) = own_limits {
                    (version.cpu_ms, version.subrequests) = (own.cpu_ms, own.subrequests);
                }
                version.extra.extend(extra.clone());
            })?;
            check_consumers(view, account, worker, script.tail_consumers.as_deref().unwrap_or_default())?;
            draft.after.extend(settings_event(account, worker, &script));
            Ok(draft)
        };
        self.make_version(caller, Deploy::Now, Arc::new(drafting)).await?;
        self.row_of(account, worker).await
    }

    /// Says whether the platform's domain leads to a worker and to its versions. Needs `workers:write`.
    pub async fn set_worker_subdomain(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        enabled: bool,
        previews: Option<bool>,
    ) -> Result<Worker, ControlError> {
        let (own, name) = (account.clone(), worker.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            let row = view.worker(&own, &name)?;
            let previews = previews.unwrap_or(enabled);
            if (row.data.workers_dev, row.data.previews) == (enabled, previews) {
                return Ok(Decided::new(Vec::new(), ()));
            }
            let (account, worker) = (own.clone(), name.clone());
            Ok(Decided::new(vec![Event::WorkerSubdomainSet { account, worker, enabled, previews }], ()))
        })
        .await?;
        self.row_of(account, worker).await
    }

    /// The versions that can be deployed, newest first: as many as there are, up to what is kept. Needs `workers:read`.
    pub async fn deployable_versions(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<VersionSummary>, ControlError> {
        self.versions(caller, account, worker, Page::first(VERSIONS_KEPT)).await
    }

    /// A worker after a change to it, by who was allowed the change.
    async fn row_of(&self, account: &AccountId, worker: &WorkerName) -> Result<Worker, ControlError> {
        let (account, worker) = (account.clone(), worker.clone());
        let row = self.core.store.read(move |view| view.worker(&account, &worker)).await?;
        self.shown(row).await
    }

    async fn shown(&self, row: WorkerRow) -> Result<Worker, ControlError> {
        let id = row.account.clone();
        let account = self.core.store.read(move |view| view.account(&id)).await?;
        Ok(worker_of(row, self.host_suffix(&account)))
    }
}

fn check_script_settings(settings: &ScriptSettings) -> Result<(), ControlError> {
    let ScriptSettings { tags, tail_consumers, observability, .. } = settings;
    check_settings(tags.as_deref(), tail_consumers.as_deref(), observability.as_ref())
}

fn worker_of(row: WorkerRow, host_suffix: String) -> Worker {
    let data = row.data;
    Worker {
        account: row.account,
        name: row.name,
        id: row.id,
        created_ms: row.created_ms,
        modified_ms: row.modified_ms,
        tags: data.tags,
        migration_tag: data.migration_tag,
        last_deployed_from: data.last_deployed_from,
        logpush: data.logpush,
        observability: data.observability,
        tail_consumers: data.tail_consumers,
        workers_dev: data.workers_dev,
        previews: data.previews,
        host_suffix,
        aliases: data.aliases,
        latest: row.latest,
        etag: row.etag,
        deployment: data.deployment,
    }
}

fn references(view: &View<'_>, account: &AccountId, worker: &WorkerName) -> Result<References, ControlError> {
    let mut references = References {
        tails: view.tailed_by(account, worker)?.into_iter().filter(|other| other != worker).collect(),
        queues: view.queues_of(account, worker)?,
        ..References::default()
    };
    for (user, binding, class) in view.users_of(account, worker)? {
        match class {
            Some(class) => references.durable_objects.push((user, class)),
            None => references.services.push((user, binding)),
        }
    }
    Ok(references)
}

impl References {
    /// Something that refers to it, in words.
    fn first(&self) -> Option<String> {
        let service =
            || self.services.first().map(|(worker, binding)| format!("the binding {binding} of the Worker {worker}"));
        let object = || {
            self.durable_objects
                .first()
                .map(|(worker, class)| format!("the Worker {worker}, by its Durable Objects {class}"))
        };
        let tail = || self.tails.first().map(|worker| format!("the Worker {worker}, whose events it is told of"));
        let queue = || self.queues.first().map(|queue| format!("the queue {queue}, which it consumes"));
        service().or_else(object).or_else(tail).or_else(queue)
    }
}
