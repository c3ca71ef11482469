//! The local copy, and the following of the fabric that keeps it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use selvedge_edge::{Edge, NoInstance, Versions};
use selvedge_fabric::{Entry, Fabric, Revision};
use selvedge_model::{
    BlobHash, CronRecord, Loaded, VersionId, VersionRecord, WorkerKey, WorkerRecord, version_key, worker_key,
};
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::error::{PopError, chain};
use crate::folder;
use crate::load::{OpenSecret, Stored};
use crate::rows::Rows;

/// What the keys begin with that hold an account's routes without a worker: a JSON list of patterns.
const EXCLUSIONS: &str = "exclusions/";
/// How many changes are taken in at once.
const CHANGES_MAX: usize = 256;
/// How long to wait before the fabric is asked again after it failed, first and at most.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a copy that holds something may take in what changed while it was not open, before it serves.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(2);

/// The local copy of what is deployed, and the edge that serves it.
pub struct Replica {
    edge: Arc<Edge>,
    stored: Arc<Stored>,
    versions: Arc<dyn Versions>,
    crons: RwLock<HashMap<WorkerKey, Vec<CronRecord>>>,
    /// Up to where the fabric's changes are served.
    reached: watch::Sender<Revision>,
    /// Held for reading by whoever needs blobs that no record names yet, for writing while a sweep begins: what is asked for
    /// from then on stays, and what was asked for before is named by then.
    sweep_begins: tokio::sync::RwLock<()>,
    /// Held by a sweep.
    sweeping: Arc<tokio::sync::Mutex<()>>,
    /// Nobody else writes to the folder.
    _lock: folder::Lock,
}

impl Replica {
    /// Opens the copy in `folder`, made if it is not there, and has the edge serve what it holds. Without a fabric the
    /// copy is all there is; with one, a copy that holds nothing is filled first.
    pub async fn open(
        folder: &Path,
        edge: Arc<Edge>,
        fabric: Option<Arc<dyn Fabric>>,
        secrets: Arc<dyn OpenSecret>,
    ) -> Result<Arc<Self>, PopError> {
        let lock = folder::take(folder)?;
        let rows = open_rows(&folder.join("edge.db"), fabric.is_some())?;
        let is_dropped = match &fabric {
            Some(fabric) => hold_against(&rows, &**fabric).await?,
            None => false,
        };
        let blobs = Blobs::open(&folder.join("blobs"))?;
        let stored = Arc::new(Stored::new(rows, blobs, fabric, secrets));
        let versions = Arc::clone(&stored) as Arc<dyn Versions>;
        let revision = stored.rows.revision()?;
        let is_new = is_dropped || revision == Revision(0);
        let reached = watch::Sender::new(revision);
        let replica = Arc::new(Self {
            edge,
            stored,
            versions,
            crons: RwLock::default(),
            reached,
            sweep_begins: tokio::sync::RwLock::default(),
            sweeping: Arc::default(),
            _lock: lock,
        });
        let opening = Arc::clone(&replica);
        tokio::task::spawn_blocking(move || opening.serve_all()).await.map_err(|_| PopError::Stopped)??;
        if let Some(fabric) = &replica.stored.fabric {
            let catching_up = replica.catch_up(&**fabric);
            if is_new {
                // Who is asked for a worker before that says there is none.
                catching_up.await?;
            } else {
                match tokio::time::timeout(CATCH_UP_TIME_MAX, catching_up).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(error = chain(&error), "what is in the local copy is served as it is")
                    }
                    Err(_) => tracing::warn!("the local copy is served, while it takes in what changed meanwhile"),
                }
            }
        }
        Ok(replica)
    }

    /// Whether a copy in `folder`, which no edge has open, holds anything that was deployed.
    pub fn is_used(folder: &Path) -> Result<bool, PopError> {
        let file = folder.join("edge.db");
        Ok(file.exists() && Rows::open(&file)?.revision()? > Revision(0))
    }

    pub(crate) fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.stored.rows
    }

    /// Every cron trigger that is set.
    pub(crate) fn crons(&self) -> Vec<(WorkerKey, CronRecord)> {
        let crons = self.crons.read();
        crons.iter().flat_map(|(key, crons)| crons.iter().map(|cron| (key.clone(), cron.clone()))).collect()
    }

    /// Has the edge serve everything that the copy holds.
    fn serve_all(&self) -> Result<(), PopError> {
        self.stored.rows.each(EXCLUSIONS, |key, value| self.exclude(key, Some(value)))?;
        self.stored.rows.each("worker/", |key, value| match serde_json::from_slice::<WorkerRecord>(value) {
            Ok(record) => {
                self.note_crons(&record);
                self.edge.restore_worker(record, &self.versions);
            }
            Err(error) => tracing::error!(key, %error, "the record of a worker cannot be read: it is not served"),
        })
    }

    /// Has the edge know the routes of an account that lead to no worker.
    fn exclude(&self, key: &str, value: Option<&[u8]>) {
        let Some(account) =
            key.strip_prefix(EXCLUSIONS).and_then(|account| account.parse::<selvedge_model::AccountId>().ok())
        else {
            return;
        };
        match value.map_or(Ok(Vec::new()), serde_json::from_slice::<Vec<String>>) {
            Ok(patterns) => self.edge.set_exclusions(&account, &patterns),
            Err(error) => {
                tracing::error!(key, %error, "the exclusions of an account cannot be read: the last are kept")
            }
        }
    }

    fn serve(&self, record: WorkerRecord) {
        self.note_crons(&record);
        self.edge.set_worker(record, &self.versions);
    }

    fn note_crons(&self, record: &WorkerRecord) {
        let key = WorkerKey::new(record.account.clone(), record.name.clone());
        if record.crons.is_empty() || record.deployment.is_none() {
            self.crons.write().remove(&key);
        } else {
            self.crons.write().insert(key, record.crons.clone());
        }
    }

    /// Starts a version that is not deployed yet, to see whether it does.
    pub async fn prepare(&self, record: &VersionRecord) -> Result<Loaded, NoInstance> {
        let _kept = self.sweep_begins.read().await;
        let deployed = self.stored.deployed(record).await.map_err(NoInstance::Unavailable)?;
        self.edge.prepare(&record.id, deployed).await
    }

    /// Resolves once everything is served that the fabric has up to that revision.
    pub async fn reached(&self, revision: Revision) {
        // An error would mean that this is gone, which it is not.
        let _ = self.reached.subscribe().wait_for(|reached| *reached >= revision).await;
    }

    /// Takes in what changes in the fabric for as long as there is one.
    pub async fn follow(self: Arc<Self>) {
        let Some(fabric) = self.stored.fabric.clone() else {
            return;
        };
        let mut wake = fabric.watch("");
        let mut retry = RETRY_MIN;
        loop {
            let caught_up = self.catch_up(&*fabric).await;
            let woken = match caught_up {
                Ok(()) => wake.wake().await.map_err(PopError::from),
                Err(error) => Err(error),
            };
            match woken {
                Ok(()) => retry = RETRY_MIN,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the fabric cannot be followed: what is here is served on");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Takes in all that changed since.
    pub async fn catch_up(&self, fabric: &dyn Fabric) -> Result<(), PopError> {
        loop {
            let after = self.stored.rows.revision()?;
            let entries = fabric.changes("", after, CHANGES_MAX).await?;
            if entries.is_empty() {
                return Ok(());
            }
            self.take(after, entries).await?;
        }
    }

    async fn take(&self, after: Revision, entries: Vec<Entry>) -> Result<(), PopError> {
        tracing::debug!(after = after.0, count = entries.len(), "changes");
        let _kept = self.sweep_begins.read().await;
        let mut versions: HashMap<&str, VersionRecord> = HashMap::new();
        let mut workers = Vec::new();
        for entry in &entries {
            let Some(value) = &entry.value else {
                continue;
            };
            let unreadable = |source| PopError::Record { key: entry.key.clone(), source };
            let read = if entry.key.starts_with("version/") {
                serde_json::from_slice(value).map(|record| drop(versions.insert(&entry.key, record)))
            } else if entry.key.starts_with("worker/") {
                serde_json::from_slice(value).map(|record: WorkerRecord| workers.push(record))
            } else {
                Ok(())
            };
            if let Err(error) = read.map_err(unreadable) {
                // A newer control plane's: the others are not to wait for it.
                tracing::error!(error = chain(&error), "a record is passed over");
            }
        }
        for worker in &workers {
            self.fetch_for(worker, &versions).await?;
        }
        self.stored.rows.apply(&entries)?;
        // Before the workers: a route that is not to lead somewhere must not, not even for a moment.
        for entry in &entries {
            self.exclude(&entry.key, entry.value.as_deref());
        }
        for worker in workers {
            self.serve(worker);
        }
        for entry in entries.iter().filter(|entry| entry.value.is_none()) {
            if let Some(key) = worker_of(&entry.key) {
                self.crons.write().remove(&key);
                self.edge.remove_worker(&key);
            }
        }
        if let Some(last) = entries.last() {
            self.reached.send_replace(last.revision);
        }
        Ok(())
    }

    /// Has the blobs of the versions that are about to serve here.
    async fn fetch_for(&self, worker: &WorkerRecord, new: &HashMap<&str, VersionRecord>) -> Result<(), PopError> {
        let key = WorkerKey::new(worker.account.clone(), worker.name.clone());
        let serving = self.edge.site(&key);
        for share in worker.deployment.iter().flat_map(|deployment| &deployment.versions) {
            if serving.as_ref().is_some_and(|site| site.serves(&share.version)) {
                continue;
            }
            match self.fetch_version(&key, &share.version, new).await {
                Err(error) if error.is_of_content() => {
                    // It will not be better for waiting; the other workers are not to suffer.
                    let error = chain(&error);
                    tracing::error!(worker = %key, version = %share.version, error, "a version is not complete");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn fetch_version(
        &self,
        worker: &WorkerKey,
        version: &VersionId,
        new: &HashMap<&str, VersionRecord>,
    ) -> Result<(), PopError> {
        let key = version_key(&worker.account, &worker.worker, version);
        let known = match new.get(key.as_str()) {
            Some(record) => Some(record.clone()),
            None => self.stored.record(worker, version)?,
        };
        let Some(record) = known else {
            tracing::error!(%worker, %version, "a version is deployed that has no record");
            return Ok(());
        };
        self.stored.fetch(self.stored.blobs_of(&record).await?).await
    }

    /// Removes the blobs that no version of the copy is made of; gives how many.
    pub async fn sweep(&self) -> Result<usize, PopError> {
        let one_at_a_time = Arc::clone(&self.sweeping).lock_owned().await;
        let sweep = {
            let _nobody_asks = self.sweep_begins.write().await;
            self.stored.blobs.sweep()
        };
        let stored = Arc::clone(&self.stored);
        let swept = tokio::task::spawn_blocking(move || {
            // The sweep ends before another may begin.
            let (_one_at_a_time, sweep) = (one_at_a_time, sweep);
            let named = named_blobs(&stored)?;
            sweep.retain(&named)
        });
        swept.await.map_err(|_| PopError::Stopped)?
    }

    /// Whether the copy holds all that the fabric does.
    pub async fn is_current(&self) -> Result<bool, PopError> {
        let Some(fabric) = &self.stored.fabric else {
            return Ok(true);
        };
        let after = self.stored.rows.revision()?;
        Ok(fabric.changes("", after, 1).await?.is_empty())
    }
}

/// The blobs that the versions of the copy are made of.
fn named_blobs(stored: &Stored) -> Result<HashSet<BlobHash>, PopError> {
    let (mut named, mut lists, mut unreadable) = (HashSet::new(), HashSet::new(), None);
    stored.rows.each("version/", |key, value| {
        let read = serde_json::from_slice(value).map_err(|source| PopError::Record { key: key.into(), source });
        let done = read.and_then(|mut record: VersionRecord| {
            // Many versions have the same list of assets: it is read once.
            record.assets.take_if(|assets| !lists.insert(assets.files.clone()));
            stored.name_blobs(&record, &mut named)
        });
        if let Err(error) = done {
            unreadable = Some(error);
        }
    })?;
    // What cannot be read may name any of them.
    unreadable.map_or(Ok(named), Err)
}

/// Opens the records. Damaged ones are made anew, where there is a fabric to fetch them from.
fn open_rows(file: &Path, has_fabric: bool) -> Result<Rows, PopError> {
    match Rows::open(file) {
        Err(error @ PopError::Damaged { .. }) if has_fabric => {
            tracing::warn!(
                error = error.to_string(),
                "the local copy is made anew; cron triggers begin with this minute"
            );
            Rows::remove(file)?;
            Rows::open(file)
        }
        opened => opened,
    }
}

/// Drops the records that are not of this fabric, or not any more; gives whether it did.
async fn hold_against(rows: &Rows, fabric: &dyn Fabric) -> Result<bool, PopError> {
    let identity = match fabric.identity().await {
        Ok(identity) => identity,
        Err(error) => {
            tracing::warn!(error = chain(&error), "whether the local copy is the fabric's is not known: it is served");
            return Ok(false);
        }
    };
    let is_dropped = rows.keep_to(&identity)?;
    if is_dropped {
        tracing::warn!(
            last = identity.last.0,
            "the local copy is of another fabric, or of a later state than this one has: it is made anew"
        );
    }
    Ok(is_dropped)
}

/// The worker of a key of the fabric.
pub(crate) fn worker_of(key: &str) -> Option<WorkerKey> {
    let (account, worker) = key.strip_prefix("worker/")?.split_once('/')?;
    let key_of = WorkerKey::new(account.parse().ok()?, worker.parse().ok()?);
    (worker_key(&key_of.account, &key_of.worker) == key).then_some(key_of)
}

#[cfg(test)]
mod tests;
