//! From a version's record to what the edge starts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_assets::{AssetSet, AssetsConfig, HtmlHandling, NotFoundHandling, RunWorkerFirst, StoredFile};
use selvedge_edge::{Assets, Deployed, NoVersion, ServiceTarget, Versions};
use selvedge_fabric::Fabric;
use selvedge_model::{
    AccountId, AssetFiles, AssetsRecord, Binding, BindingKind, BindingRecord, BlobHash, Limits, Manifest, Module,
    TraceOf, Version, VersionId, VersionRecord, WorkerKey, WorkerName, version_key,
};
use serde_json::Value;

use crate::blobs::Blobs;
use crate::error::{PopError, chain};
use crate::rows::Rows;
use crate::source_maps::SourceMaps;

/// Opens the sealed secrets of versions.
pub trait OpenSecret: Send + Sync {
    /// The text of the secret `name` of a worker.
    ///
    /// # Errors
    /// A sentence, where it was sealed for another place or with another key.
    fn open(&self, account: &AccountId, worker: &WorkerName, name: &str, sealed: &str) -> Result<String, String>;
}

/// The versions of the local copy.
pub struct Stored {
    pub(crate) rows: Rows,
    pub(crate) blobs: Arc<Blobs>,
    /// None where this point of presence is on its own.
    pub(crate) fabric: Option<Arc<dyn Fabric>>,
    secrets: Arc<dyn OpenSecret>,
}

/// Why a version cannot be made of its record.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Pop(#[from] PopError),
    #[error("the secret {name} cannot be opened: {reason}")]
    Secret { name: String, reason: String },
    #[error("its list of assets cannot be read")]
    Assets(#[source] serde_json::Error),
    #[error("its assets cannot be served")]
    AssetSet(#[from] selvedge_assets::AssetsError),
}

impl Stored {
    pub(crate) fn new(rows: Rows, blobs: Blobs, fabric: Option<Arc<dyn Fabric>>, secrets: Arc<dyn OpenSecret>) -> Self {
        Self { rows, blobs: Arc::new(blobs), fabric, secrets }
    }

    /// The blobs that a version is made of.
    pub(crate) async fn blobs_of(&self, record: &VersionRecord) -> Result<Vec<BlobHash>, PopError> {
        let mut hashes: Vec<BlobHash> = record.modules.iter().map(|module| module.blob.clone()).collect();
        hashes.extend(record.source_maps.iter().map(|map| map.blob.clone()));
        if let Some(assets) = &record.assets {
            self.fetch(vec![assets.files.clone()]).await?;
            let files = self.asset_files(assets).await?;
            if self.fabric.is_some() {
                let sizes = files.values().map(|file| (file.blob.clone(), file.bytes)).collect();
                self.blobs.remove_cut(sizes).await?;
            }
            hashes.push(assets.files.clone());
            hashes.extend(files.into_values().map(|file| file.blob));
        }
        Ok(hashes)
    }

    /// Adds the blobs that a version is made of, as far as they are here.
    pub(crate) fn name_blobs(&self, record: &VersionRecord, named: &mut HashSet<BlobHash>) -> Result<(), PopError> {
        named.extend(record.modules.iter().map(|module| module.blob.clone()));
        named.extend(record.source_maps.iter().map(|map| map.blob.clone()));
        let Some(assets) = &record.assets else {
            return Ok(());
        };
        named.insert(assets.files.clone());
        let Some(content) = self.blobs.read_here(&assets.files)? else {
            return Ok(());
        };
        let files: AssetFiles = serde_json::from_slice(&content)
            .map_err(|source| PopError::Record { key: format!("the files {}", assets.files), source })?;
        named.extend(files.into_values().map(|file| file.blob));
        Ok(())
    }

    /// Has blobs here.
    pub(crate) async fn fetch(&self, hashes: Vec<BlobHash>) -> Result<(), PopError> {
        match &self.fabric {
            Some(fabric) => self.blobs.fetch(&**fabric, hashes).await,
            None => Ok(()),
        }
    }

    async fn asset_files(&self, assets: &AssetsRecord) -> Result<AssetFiles, PopError> {
        let content = self.blob(&assets.files).await?;
        serde_json::from_slice(&content)
            .map_err(|source| PopError::Record { key: format!("the files {}", assets.files), source })
    }

    async fn blob(&self, hash: &BlobHash) -> Result<bytes::Bytes, PopError> {
        if let Some(content) = self.blobs.read(hash).await? {
            return Ok(content);
        }
        // It was damaged, or removed since it was fetched.
        self.fetch(vec![hash.clone()]).await?;
        self.blobs.read(hash).await?.ok_or_else(|| PopError::NoBlob { hash: hash.as_str().to_owned() })
    }

    /// The record of a version.
    pub(crate) fn record(&self, worker: &WorkerKey, version: &VersionId) -> Result<Option<VersionRecord>, PopError> {
        let key = version_key(&worker.account, &worker.worker, version);
        let Some(value) = self.rows.get(&key)? else {
            return Ok(None);
        };
        serde_json::from_slice(&value).map(Some).map_err(|source| PopError::Record { key, source })
    }

    /// A version, ready to be started. Its blobs are fetched, if they are not here.
    pub(crate) async fn deployed(&self, record: &VersionRecord) -> Result<Deployed, String> {
        self.try_deployed(record).await.map_err(|error| chain(&error))
    }

    async fn try_deployed(&self, record: &VersionRecord) -> Result<Deployed, LoadError> {
        self.fetch(self.blobs_of(record).await?).await?;
        let mut modules = Vec::with_capacity(record.modules.len());
        for module in &record.modules {
            let body = self.blob(&module.blob).await?;
            modules.push(Module { name: module.name.clone(), kind: module.kind, body, code_cache: None });
        }
        let mut bindings = Vec::with_capacity(record.bindings.len());
        let mut services = HashMap::new();
        for binding in &record.bindings {
            bindings.push(self.binding(record, binding)?);
            if let BindingKind::Service { service, entrypoint, props } = &binding.kind {
                let target =
                    ServiceTarget { worker: service.clone(), entrypoint: entrypoint.clone(), props: props.clone() };
                services.insert(binding.name.clone(), target);
            }
        }
        let manifest = Manifest {
            worker: record.worker.as_str().to_owned(),
            version: record.id.as_str().to_owned(),
            format: record.format,
            main: record.main.clone(),
            compatibility_date: record.compatibility_date.clone(),
            compatibility_flags: record.compatibility_flags.clone(),
            bindings,
            limits: limits(record),
        };
        let key = WorkerKey::new(record.account.clone(), record.worker.clone());
        let mut deployed = Deployed::new(key, Version { manifest, modules });
        deployed.trace_of = Some(TraceOf {
            account: record.account.clone(),
            worker: record.worker.clone(),
            version: record.id.clone(),
        });
        let said = |key: &str| record.annotations.get(key).filter(|text| !text.is_empty()).cloned();
        deployed.tag = said("workers/tag");
        deployed.message = said("workers/message");
        deployed.services = services;
        deployed.assets = self.assets(record).await?;
        let mut maps = SourceMaps::default();
        for map in &record.source_maps {
            maps.add_file(&map.module, self.blobs.file(&map.blob));
        }
        deployed.source_mapper = Some(Arc::new(maps));
        Ok(deployed)
    }

    fn binding(&self, record: &VersionRecord, binding: &BindingRecord) -> Result<Binding, LoadError> {
        let of = |kind: &str| Binding::new(binding.name.as_str(), kind);
        let module = |kind: &str, part: &String| Binding { id: Some(part.clone()), ..of(kind) };
        Ok(match &binding.kind {
            BindingKind::PlainText { text } => Binding { text: Some(text.clone()), ..of("text") },
            BindingKind::Json { json } => Binding { json: Some(json.to_string()), ..of("json") },
            BindingKind::SecretText { sealed } => {
                let opened = self.secrets.open(&record.account, &record.worker, &binding.name, sealed);
                let text = opened.map_err(|reason| LoadError::Secret { name: binding.name.clone(), reason })?;
                Binding { text: Some(text), ..of("secret") }
            }
            BindingKind::Service { .. } => of("service"),
            BindingKind::Assets => of("assets"),
            BindingKind::VersionMetadata => Binding {
                id: Some(record.id.as_str().to_owned()),
                tag: Some(record.annotations.get("workers/tag").cloned().unwrap_or_default()),
                timestamp: Some(timestamp(record.created_ms)),
                ..of("version_metadata")
            },
            BindingKind::Ratelimit { namespace_id, simple } => {
                Binding { id: Some(namespace_id.clone()), json: serde_json::to_string(simple).ok(), ..of("ratelimit") }
            }
            BindingKind::WasmModule { part } => module("wasm_module", part),
            BindingKind::TextBlob { part } => module("text_blob", part),
            BindingKind::DataBlob { part } => module("data_blob", part),
            BindingKind::Other { kind, .. } => of(kind),
        })
    }

    async fn assets(&self, record: &VersionRecord) -> Result<Option<Assets>, LoadError> {
        let Some(assets) = &record.assets else {
            return Ok(None);
        };
        let has_worker = !record.modules.is_empty();
        let config = AssetsConfig {
            html_handling: named::<HtmlHandling>(assets.html_handling.as_deref())?,
            not_found_handling: named::<NotFoundHandling>(assets.not_found_handling.as_deref())?,
            run_worker_first: match assets.run_worker_first.clone() {
                Some(value) => serde_json::from_value(value).map_err(LoadError::Assets)?,
                None => RunWorkerFirst::default(),
            },
            has_worker,
            navigation_prefers_assets: AssetsConfig::navigation_prefers_assets(
                &record.compatibility_date,
                &record.compatibility_flags,
            ),
        };
        let files = self.asset_files(assets).await?.into_iter().map(|(path, file)| StoredFile {
            path,
            file: self.blobs.file(&file.blob),
            bytes: file.bytes,
            hash: file.blob.as_str().to_owned(),
            content_type: file.content_type,
        });
        let headers = assets.headers.as_deref().unwrap_or_default();
        let redirects = assets.redirects.as_deref().unwrap_or_default();
        let base = assets.base_path.as_deref().unwrap_or_default();
        let set = AssetSet::of_files(files, headers, redirects, config)?
            .with_base_path(base)
            .with_variants(Arc::clone(self.blobs.variants()));
        let binding = record.bindings.iter().find(|binding| binding.kind == BindingKind::Assets);
        Ok(Some(Assets { set: Arc::new(set), binding: binding.map(|binding| binding.name.clone()), has_worker }))
    }
}

impl Versions for Stored {
    fn load<'a>(&'a self, worker: &'a WorkerKey, version: &'a VersionId) -> BoxFuture<'a, Result<Deployed, NoVersion>> {
        Box::pin(async move {
            let unreadable = |reason: String| NoVersion::Unreadable { version: version.as_str().to_owned(), reason };
            let record = self.record(worker, version).map_err(|error| unreadable(chain(&error)))?;
            let record = record.ok_or_else(|| NoVersion::Missing { version: version.as_str().to_owned() })?;
            self.deployed(&record).await.map_err(unreadable)
        })
    }

    fn find<'a>(&'a self, worker: &'a WorkerKey, short: &'a str) -> BoxFuture<'a, Option<VersionId>> {
        Box::pin(async move {
            let prefix = format!("version/{}/{}/{short}", worker.account, worker.worker);
            let found = self.rows.first_with(&prefix);
            let found = found.inspect_err(|error| tracing::warn!(error = chain(error), "no preview"));
            found.ok()??.rsplit_once('/')?.1.parse().ok()
        })
    }
}

fn limits(record: &VersionRecord) -> Limits {
    let mut limits = Limits::default();
    if let Some(cpu_ms) = record.cpu_ms {
        limits.cpu_ms = cpu_ms;
    }
    if let Some(subrequests) = record.subrequests {
        limits.subrequests = subrequests;
    }
    limits
}

fn named<T: Default + serde::de::DeserializeOwned>(name: Option<&str>) -> Result<T, LoadError> {
    let value = name.map(|name| serde_json::from_value(Value::from(name)).map_err(LoadError::Assets));
    Ok(value.transpose()?.unwrap_or_default())
}

fn timestamp(ms: u64) -> String {
    jiff::Timestamp::from_millisecond(ms as i64).map(|time| time.to_string()).unwrap_or_default()
}
