//! A control plane over a real fabric, with a point of presence that starts nothing and a clock that tests move.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "each test binary uses a part of it")]

mod faulty;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use selvedge_control::{
    AssetEntry, Caller, Clock, Control, ControlConfig, ControlError, Deploy, Metadata, NearestPop, Origin, Page,
    SecretsKey, StartFailure, Started, Upload, UploadModule, UploadOptions, Uploaded, Worker,
};
use selvedge_fabric::{Embedded, Fabric, Position, Revision};
use selvedge_model::{AccountId, ModuleKind, VersionId, VersionRecord, WorkerName, worker_key};
use serde_json::{Value, json};
use tokio::sync::{RwLock, watch};

pub use faulty::Faulty;

/// When the tests' clock begins: milliseconds since 1970.
const NOW_MS: u64 = 1_800_000_000_000;
/// What secrets are sealed with.
pub const KEY: [u8; 32] = [7; 32];
/// How long anything that a test waits for may take.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Says that a version starts, unless its message says otherwise.
pub struct FakePop {
    /// How many starts have begun.
    begun: watch::Sender<usize>,
    /// When the versions that were started last are said to be of, by their ids.
    told_ms: Mutex<BTreeMap<VersionId, u64>>,
    /// No start ends while it is held for writing, but for those of versions whose message is "goes by".
    pub door: RwLock<()>,
    /// Nothing that changed is served while it is held for writing.
    pub following: RwLock<()>,
}

impl FakePop {
    pub fn starts(&self) -> usize {
        *self.begun.borrow()
    }

    /// When a version is of, as its start was told.
    pub fn told_ms(&self, version: &VersionId) -> Option<u64> {
        self.told_ms.lock().unwrap().get(version).copied()
    }

    /// Waits until so many starts have begun.
    pub async fn begun(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        tokio::time::timeout(WAIT_MAX, begun.wait_for(|begun| *begun >= count)).await.unwrap().unwrap();
    }
}

impl NearestPop for FakePop {
    fn start<'a>(&'a self, version: &'a VersionRecord) -> BoxFuture<'a, Result<Started, StartFailure>> {
        Box::pin(async move {
            let says = |word: &str| version.annotations.get("workers/message").is_some_and(|message| message == word);
            self.told_ms.lock().unwrap().insert(version.id.clone(), version.created_ms);
            self.begun.send_modify(|begun| *begun += 1);
            let _open = if says("goes by") { None } else { Some(self.door.read().await) };
            if says("does not start") {
                let stack = "Error: no\n    at src/index.ts:3:7".to_owned();
                return Err(StartFailure { message: "Error: no".into(), stack, unavailable: false });
            }
            let handlers = if says("handles nothing") || says("entrypoints") { vec![] } else { vec!["fetch".into()] };
            let entrypoints = if says("entrypoints") { vec!["Rpc".into()] } else { vec![] };
            Ok(Started { handlers, entrypoints, startup_ms: 3 })
        })
    }

    fn served(&self, _published: Revision) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.following.read().await) })
    }
}

/// What outlives a control plane: the fabric, the views' folders and the clock.
pub struct Machine {
    pub fabric: Arc<Faulty>,
    pub pop: Arc<FakePop>,
    now_ms: Arc<AtomicU64>,
    token: OnceLock<String>,
    folder: tempfile::TempDir,
}

/// A control plane, asked by its administrator about the first account.
#[derive(Clone)]
pub struct Platform {
    pub control: Arc<Control>,
    pub caller: Caller,
    pub account: AccountId,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fabric = Arc::new(Faulty::over(Embedded::open(&folder.path().join("fabric")).unwrap()));
        let pop = Arc::new(FakePop {
            begun: watch::Sender::new(0),
            told_ms: Mutex::default(),
            door: RwLock::new(()),
            following: RwLock::new(()),
        });
        Self { fabric, pop, now_ms: Arc::new(AtomicU64::new(NOW_MS)), token: OnceLock::new(), folder }
    }

    /// The folder of a view.
    pub fn view(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a control plane with the view of that name.
    pub async fn open(&self, view: &str) -> Platform {
        let opened = self.try_open(view, KEY).await.unwrap();
        let account = opened.first_account().await.unwrap().unwrap();
        let origin = Origin { ip: None, client: "test".into() };
        let caller = opened.authenticate(self.token.get().unwrap(), origin).await.unwrap();
        Platform { control: opened, caller, account }
    }

    pub async fn try_open(&self, view: &str, key: [u8; 32]) -> Result<Arc<Control>, ControlError> {
        let clock = Arc::clone(&self.now_ms);
        let config = ControlConfig {
            data: self.view(view),
            secrets_key: SecretsKey::from_bytes(key),
            domain: "localhost".into(),
            admin_token: None,
            clock: Clock::of(move || clock.fetch_add(1, Ordering::Relaxed)),
        };
        let (fabric, pop) = (Arc::clone(&self.fabric), Arc::clone(&self.pop));
        let opened = Control::open(config, fabric, pop).await?;
        if let Some(first) = opened.first_start {
            self.token.set(first.token.expose().to_owned()).unwrap();
        }
        Ok(opened.control)
    }

    pub fn advance_clock(&self, by: Duration) {
        self.now_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    pub fn set_clock_back(&self, by: Duration) {
        self.now_ms.fetch_sub(by.as_millis() as u64, Ordering::Relaxed);
    }

    /// Where the control plane's log ends: nothing was changed while it stays.
    pub async fn log_end(&self) -> u64 {
        self.fabric.end("control").await.unwrap().0
    }

    /// All that the log says, as text.
    pub async fn log(&self) -> String {
        let (mut text, mut seen) = (String::new(), Position(0));
        loop {
            let records = self.fabric.read("control", seen, 1_000).await.unwrap();
            let Some(last) = records.last() else { return text };
            seen = last.position;
            text.extend(records.iter().map(|record| String::from_utf8_lossy(&record.bytes)));
        }
    }

    /// Whether edges are told of the worker.
    pub async fn is_published(&self, platform: &Platform, worker: &str) -> bool {
        let key = worker_key(&platform.account, &name(worker));
        self.fabric.get(&key).await.unwrap().is_some()
    }

    /// How many blobs are kept.
    pub fn blobs(&self) -> usize {
        let folders = std::fs::read_dir(self.folder.path().join("fabric/blobs")).unwrap();
        folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }
}

impl Platform {
    /// Uploads a worker of one module and deploys it.
    pub async fn upload(&self, worker: &str, script: &str, metadata: Value) -> Result<Uploaded, ControlError> {
        let mut members = json!({ "main_module": "index.js", "compatibility_date": "2026-01-01" });
        members.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let body = script.to_owned().into();
        let module = UploadModule { name: "index.js".into(), kind: ModuleKind::EsModule, body };
        let metadata = Metadata::parse(members.to_string().as_bytes())?;
        let upload = Upload { metadata, modules: vec![module], source_maps: Vec::new() };
        let options = UploadOptions { deploy: Deploy::Now, must_exist: false };
        self.control.upload(&self.caller, &self.account, &name(worker), upload, options).await
    }

    /// Uploads a worker whose version has a record of nearly 1 MiB.
    pub async fn upload_large(&self, worker: &str) {
        let text = "x".repeat(64_000);
        let bindings: Vec<Value> =
            (0..15).map(|at| json!({ "name": format!("V{at}"), "type": "plain_text", "text": text })).collect();
        self.upload(worker, "export default {}", json!({ "bindings": bindings })).await.unwrap();
    }

    /// Uploads files; gives the completion token.
    pub async fn upload_assets(&self, worker: &str, files: &[(&str, &str)]) -> String {
        let mut manifest = BTreeMap::new();
        for (path, content) in files {
            let entry = AssetEntry { hash: asset_hash(path, content), size: content.len() as u64 };
            manifest.insert((*path).to_owned(), entry);
        }
        let session = self.control.start_assets(&self.caller, &self.account, &name(worker), manifest).await.unwrap();
        for (path, content) in files {
            let (hash, body) = (asset_hash(path, content), (*content).to_owned().into());
            self.control.put_asset(&session.token, &hash, Some("text/html"), body).await.unwrap();
        }
        session.token
    }

    pub async fn worker(&self, worker: &str) -> Result<Worker, ControlError> {
        self.control.worker(&self.caller, &self.account, &name(worker)).await
    }

    pub async fn workers(&self) -> Vec<Worker> {
        self.control.workers(&self.caller, &self.account, Page::first(100)).await.unwrap()
    }

    pub async fn delete(&self, worker: &str) {
        self.control.delete_worker(&self.caller, &self.account, &name(worker), false).await.unwrap();
    }

    /// The script of the latest version.
    pub async fn script(&self, worker: &str) -> String {
        let content = self.control.version_content(&self.caller, &self.account, &name(worker), None).await.unwrap();
        String::from_utf8(content.modules[0].1.to_vec()).unwrap()
    }
}

pub fn name(worker: &str) -> WorkerName {
    worker.parse().unwrap()
}

/// As clients hash an asset.
pub fn asset_hash(path: &str, content: &str) -> String {
    let extension = path.rsplit('.').next().unwrap();
    let hash = blake3::hash(format!("{}{extension}", STANDARD.encode(content)).as_bytes());
    hash.to_hex().chars().take(32).collect()
}
