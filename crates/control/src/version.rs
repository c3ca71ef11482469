//! Versions: immutable uploads, each started once before it exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use selvedge_model::{
    AccountId, BindingKind, BindingRecord, BlobHash, ModuleRecord, SourceMapRecord, VersionId, VersionRecord,
    WorkerName,
};
use serde_json::Value;

use crate::binding::BindingInput;
use crate::caller::{Caller, Permission};
use crate::control::Control;
use crate::draft::{
    Draft, Resealed, Resolver, check_alias, check_alias_host, check_annotations, check_bindings, check_inputs,
    check_types, finish,
};
use crate::error::ControlError;
use crate::make::{Made, Making};
use crate::migration::Plan;
use crate::page::Page;
use crate::secret::Secret;
use crate::store::{View, WorkerRow};
use crate::upload::Deploy;

/// What a list shows of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSummary {
    pub id: VersionId,
    pub number: u64,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    pub author: String,
    pub source: String,
    pub annotations: BTreeMap<String, String>,
}

/// A version with the bytes of its modules.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionContent {
    pub version: VersionRecord,
    pub modules: Vec<(ModuleRecord, Bytes)>,
    pub source_maps: Vec<(SourceMapRecord, Bytes)>,
}

/// What a binding of the latest version becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum EnvValue {
    Secret(Secret),
    Text(String),
    Json(Value),
}

/// Changes to `env` by name; none removes.
pub type EnvPatch = BTreeMap<String, Option<EnvValue>>;

impl Control {
    /// The versions of a worker, newest first. Needs `workers:read`.
    pub async fn versions(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        page: Page,
    ) -> Result<Vec<VersionSummary>, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            view.versions(&own, &worker, page)
        })
        .await
    }

    /// How many versions of the worker are kept. Needs `workers:read`.
    pub async fn count_versions(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<u64, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            view.count_versions(&own, &worker)
        })
        .await
    }

    /// One version, by its id with or without dashes. Secrets in it are sealed, and not to be shown even so. Needs
    /// `workers:read`.
    pub async fn version(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        id: &str,
    ) -> Result<VersionRecord, ControlError> {
        let (own, worker, id) = (account.clone(), worker.clone(), id.to_owned());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            view.version(&own, &worker, &id_of(&worker, &id)?)
        })
        .await
    }

    /// The version that was uploaded last. Needs `workers:read`.
    pub async fn latest_version(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<VersionRecord, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| latest(view, &view.worker(&own, &worker)?)).await
    }

    /// A version (the latest, if none is named) with the bytes of its modules. Needs `workers:read`.
    pub async fn version_content(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        id: Option<&str>,
    ) -> Result<VersionContent, ControlError> {
        let version = match id {
            Some(id) => self.version(caller, account, worker, id).await?,
            None => self.latest_version(caller, account, worker).await?,
        };
        let mut modules = Vec::with_capacity(version.modules.len());
        for module in &version.modules {
            modules.push((module.clone(), self.blob(&module.blob).await?));
        }
        let mut source_maps = Vec::with_capacity(version.source_maps.len());
        for map in &version.source_maps {
            source_maps.push((map.clone(), self.blob(&map.blob).await?));
        }
        Ok(VersionContent { version, modules, source_maps })
    }

    async fn blob(&self, hash: &BlobHash) -> Result<Bytes, ControlError> {
        let missing = || ControlError::View { action: "find a blob", source: format!("{hash} is gone").into() };
        self.core.fabric.get_blob(hash).await?.ok_or_else(missing)
    }

    /// Makes a version that is the latest one with another `env`, and does not deploy it. Needs `workers:write`, and
    /// `secrets:write` if a secret changes.
    pub async fn edit_latest(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        env: EnvPatch,
        annotations: BTreeMap<String, String>,
    ) -> Result<VersionRecord, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        if env.values().any(|value| matches!(value, Some(EnvValue::Secret(_)))) {
            caller.require(account, Permission::SecretsWrite)?;
        }
        check_annotations(&annotations)?;
        if let Some(alias) = annotations.get("workers/alias") {
            check_alias(alias, worker)?;
        }
        let edit = Edit { annotations, of_secrets: false, must_exist: None };
        let made = self.edit(caller, account, worker, env, edit, Deploy::No).await?;
        Ok(made.version)
    }

    /// The names of the secrets of the latest version. Needs `workers:read`.
    pub async fn secrets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<String>, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            let row = view.worker(&own, &worker)?;
            let latest = view.latest(&row)?;
            let secret = |binding: &BindingRecord| matches!(binding.kind, BindingKind::SecretText { .. });
            let bindings = latest.into_iter().flat_map(|version| version.bindings);
            Ok(bindings.filter(secret).map(|binding| binding.name).collect())
        })
        .await
    }

    /// Changes secrets: a version that is the latest with other secrets is made and deployed. Removing those that are not
    /// there changes nothing, and makes no version. Needs `secrets:write`.
    pub async fn change_secrets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        secrets: BTreeMap<String, Option<Secret>>,
    ) -> Result<VersionRecord, ControlError> {
        caller.require(account, Permission::SecretsWrite)?;
        if secrets.values().all(Option::is_none) {
            let (own, name) = (account.clone(), worker.clone());
            let ask = move |view: &View<'_>| latest(view, &view.worker(&own, &name)?);
            let version = self.ask(caller, account, Permission::SecretsWrite, ask).await?;
            if !secrets.keys().any(|name| has_secret(&version, name)) {
                return Ok(version);
            }
        }
        self.edit_secrets(caller, account, worker, secrets, None).await
    }

    /// Removes a secret, as [`Control::change_secrets`] does. One that is not there is
    /// [`ControlError::SecretNotFound`]. Needs `secrets:write`.
    pub async fn delete_secret(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        name: String,
    ) -> Result<VersionRecord, ControlError> {
        caller.require(account, Permission::SecretsWrite)?;
        let secrets = BTreeMap::from([(name.clone(), None)]);
        self.edit_secrets(caller, account, worker, secrets, Some(name)).await
    }

    async fn edit_secrets(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        secrets: BTreeMap<String, Option<Secret>>,
        must_exist: Option<String>,
    ) -> Result<VersionRecord, ControlError> {
        let env = secrets.into_iter().map(|(name, secret)| (name, secret.map(EnvValue::Secret))).collect();
        let annotations = BTreeMap::from([("workers/triggered_by".to_owned(), "secret".to_owned())]);
        let edit = Edit { annotations, of_secrets: true, must_exist };
        let made = self.edit(caller, account, worker, env, edit, Deploy::Now).await?;
        Ok(made.version)
    }

    /// Makes a version that is the latest one with another `env`.
    async fn edit(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        env: EnvPatch,
        edit: Edit,
        deploy: Deploy,
    ) -> Result<Made, ControlError> {
        let inputs = inputs_of(&env);
        check_inputs(&inputs)?;
        let sealed = self.seal_all(account, worker, &inputs)?;
        let (making, key, resealed) = (Making::begin(caller, account, worker)?, self.key.clone(), Resealed::default());
        let drafting = move |view: &View<'_>, at_ms: u64| {
            let Making { account, worker, .. } = &making;
            let row = view.worker(account, worker)?;
            let base = latest(view, &row)?;
            if edit.of_secrets {
                check_latest_deployed(&row)?;
            }
            check_types(&inputs, &base)?;
            if let Some(name) = edit.must_exist.as_ref().filter(|name| !has_secret(&base, name)) {
                return Err(ControlError::SecretNotFound { worker: worker.clone(), name: name.clone() });
            }
            let (base_of, sealed, resealed) = (Some(&base), &sealed, &resealed);
            let resolver = Resolver { view, key: &key, account, worker, base: base_of, sealed, resealed };
            // Secrets are among what is resolved whether they are named or not.
            let is_given = |binding: &BindingRecord| env.get(&binding.name).is_some_and(Option::is_some);
            let given: Vec<BindingRecord> = resolver.resolve(&inputs, None)?.into_iter().filter(is_given).collect();
            let goes = |name: &str| !edit.of_secrets || has_secret(&base, name);
            let gone: BTreeSet<&String> =
                env.iter().filter(|(name, to)| to.is_some() || goes(name)).map(|(name, _)| name).collect();
            successor(view, &making, row, base, edit.annotations.clone(), at_ms, |version| {
                version.bindings.retain(|binding| !gone.contains(&binding.name));
                version.bindings.extend(given);
            })
        };
        self.make_version(caller, deploy, Arc::new(drafting)).await
    }
}

/// What an edit of the latest version's `env` asks for besides.
struct Edit {
    annotations: BTreeMap<String, String>,
    /// Removes nothing but secrets, and refuses where the latest version is not the one that is deployed.
    of_secrets: bool,
    /// A secret that must be there.
    must_exist: Option<String>,
}

fn has_secret(version: &VersionRecord, name: &str) -> bool {
    let mut bindings = version.bindings.iter();
    bindings.any(|binding| binding.name == name && matches!(binding.kind, BindingKind::SecretText { .. }))
}

pub(crate) fn inputs_of(env: &EnvPatch) -> Vec<BindingInput> {
    let given = env.iter().filter_map(|(name, value)| Some((name.clone(), value.as_ref()?)));
    given
        .map(|(name, value)| match value {
            EnvValue::Secret(text) => BindingInput::Secret { name, text: text.clone() },
            EnvValue::Text(text) => {
                BindingInput::Given(BindingRecord { name, kind: BindingKind::PlainText { text: text.clone() } })
            }
            EnvValue::Json(json) => {
                BindingInput::Given(BindingRecord { name, kind: BindingKind::Json { json: json.clone() } })
            }
        })
        .collect()
}

/// The version that was uploaded last.
pub(crate) fn latest(view: &View<'_>, row: &WorkerRow) -> Result<VersionRecord, ControlError> {
    view.latest(row)?.ok_or_else(|| ControlError::NoVersions { worker: row.name.clone() })
}

/// Refuses where the latest version does not have all the traffic: what is made of it and deployed would bring along
/// what nobody deployed.
pub(crate) fn check_latest_deployed(row: &WorkerRow) -> Result<(), ControlError> {
    let shares = row.data.deployment.as_ref().map(|deployment| deployment.versions.as_slice()).unwrap_or_default();
    match shares {
        [only] if row.latest.as_ref() == Some(&only.version) => Ok(()),
        _ => Err(ControlError::LatestNotDeployed { worker: row.name.clone() }),
    }
}

/// A draft of the version that follows `base`: the same but for what is changed.
pub(crate) fn successor(
    view: &View<'_>,
    making: &Making,
    row: WorkerRow,
    base: VersionRecord,
    annotations: BTreeMap<String, String>,
    at_ms: u64,
    change: impl FnOnce(&mut VersionRecord),
) -> Result<Draft, ControlError> {
    let mut version = VersionRecord {
        id: making.id.clone(),
        number: row.number + 1,
        created_ms: at_ms,
        author: making.author.clone(),
        source: making.source.clone(),
        annotations,
        ..base
    };
    change(&mut version);
    let (classes, _) = Plan::begin(view, &making.account, &making.worker, at_ms)?.end();
    check_bindings(view, &version, &classes)?;
    check_alias_host(view, &version)?;
    finish(&mut version)?;
    Ok(Draft { row: Some(row), version, before: Vec::new(), after: Vec::new() })
}

/// A version's id, written with or without dashes.
fn id_of(worker: &WorkerName, text: &str) -> Result<VersionId, ControlError> {
    let missing = || ControlError::VersionNotFound { worker: worker.clone(), version: text.chars().take(64).collect() };
    let id = uuid::Uuid::try_parse(text).map_err(|_| missing())?;
    id.to_string().parse().map_err(|_| missing())
}
