use std::path::PathBuf;

use selvedge_edge::{EdgeConfig, LogRecord, Records};
use selvedge_fabric::{Change, Embedded};
use selvedge_model::{AccountId, AssetFile, AssetFiles, Failure, WorkerName};
use selvedge_outbound::Outbound;
use selvedge_runner::{Runners, RunnersConfig};
use serde_json::{Value, json};

use super::*;

/// Tells nobody anything.
struct Nobody;

impl Records for Nobody {
    fn log(&self, _record: LogRecord) {}
    fn failed(&self, _worker: &str, _request_id: &str, _failure: &Failure) {}
}

impl OpenSecret for Nobody {
    fn open(&self, _account: &AccountId, _worker: &WorkerName, _name: &str, _sealed: &str) -> Result<String, String> {
        Err("there are no secrets here".into())
    }
}

/// A machine with a fabric, and folders for copies of it.
struct Machine {
    folder: tempfile::TempDir,
    fabric: Arc<Embedded>,
}

/// A version, as the control plane publishes it.
struct Made {
    id: VersionId,
    modules: Vec<Value>,
    assets: Value,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fabric = Embedded::open(&folder.path().join("fabric")).unwrap();
        Self { folder, fabric }
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("edge")
    }

    /// Opens the copy, with an edge whose runners run nothing.
    async fn open(&self) -> Arc<Replica> {
        // It waits until the edge is gone.
        let arguments = vec!["-c".into(), "read line".into()];
        let (runners, stuck) = Runners::start(RunnersConfig { program: "/bin/sh".into(), arguments }).unwrap();
        let config = EdgeConfig {
            domain: "localhost".into(),
            default_worker: None,
            author: false,
            instances_per_worker_max: 1,
            isolates_max: 1,
            instance_idle_max: Duration::from_secs(60),
            memory_bytes_max: u64::MAX,
        };
        let outbound = Outbound::new(selvedge_outbound::Config::default()).unwrap();
        let edge = Edge::new(config, runners, stuck, outbound, Arc::new(Nobody));
        let fabric = Arc::clone(&self.fabric) as Arc<dyn Fabric>;
        Replica::open(&self.copy(), edge, Some(fabric), Arc::new(Nobody)).await.unwrap()
    }

    async fn put(&self, content: &str) -> BlobHash {
        self.fabric.put_blob(content.to_owned().into()).await.unwrap()
    }

    /// Puts the blobs of a version of one module and one page.
    async fn make(&self, number: u8, script: &str, page: &str) -> Made {
        let script = self.put(script).await;
        let file = AssetFile { blob: self.put(page).await, bytes: page.len() as u64, content_type: None };
        let files = AssetFiles::from([("/index.html".to_owned(), file)]);
        let files = self.put(&serde_json::to_string(&files).unwrap()).await;
        Made {
            id: format!("00000000-0000-4000-8000-0000000000{number:02x}").parse().unwrap(),
            modules: vec![json!({ "name": "index.js", "kind": "es_module", "blob": script, "bytes": 1 })],
            assets: json!({ "files": files, "count": 1 }),
        }
    }

    async fn set(&self, key: String, value: Option<Value>) {
        let value = value.map(|value| value.to_string().into());
        self.fabric.set(vec![Change { key, value }]).await.unwrap();
    }

    async fn publish(&self, version: &Made) {
        let (account, worker) = (AccountId::local(), "shop".parse::<WorkerName>().unwrap());
        let key = version_key(&account, &worker, &version.id);
        let record = json!({
            "id": version.id, "account": account, "worker": worker, "number": 1, "created_ms": 0, "author": "a",
            "source": "api", "annotations": {}, "content": "c", "format": "modules", "main": "index.js",
            "modules": version.modules, "source_maps": [], "compatibility_date": "2026-01-01",
            "compatibility_flags": [], "bindings": [], "assets": version.assets, "handlers": ["fetch"],
            "startup_ms": 0, "extra": {},
        });
        self.set(key, Some(record)).await;
    }

    async fn withdraw(&self, version: &Made) {
        self.set(version_key(&AccountId::local(), &"shop".parse().unwrap(), &version.id), None).await;
    }

    /// Publishes a worker with those versions.
    async fn deploy(&self, worker: &str, versions: &[&Made]) {
        let (account, worker) = (AccountId::local(), worker.parse::<WorkerName>().unwrap());
        let key = worker_key(&account, &worker);
        let share = |version: &&Made| json!({ "version": version.id, "basis_points": 10_000 / versions.len() });
        let shares: Vec<Value> = versions.iter().map(share).collect();
        let deployment = (!shares.is_empty()).then(|| json!({ "id": "d", "created_ms": 0, "versions": shares }));
        let record = json!({
            "account": account, "name": worker, "workers_dev": true, "previews": false, "deployment": deployment,
            "routes": [], "domains": [], "crons": [], "tail_consumers": [],
        });
        self.set(key, Some(record)).await;
    }

    /// The names of the blobs that the copy has.
    fn blobs(&self) -> HashSet<String> {
        let folders = std::fs::read_dir(self.copy().join("blobs")).unwrap().map(|folder| folder.unwrap().path());
        // Beside them, compressed variants have one.
        let folders = folders.filter(|folder| folder.file_name().is_some_and(|name| name.len() == 2));
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        files.map(|file| file.unwrap().file_name().to_str().unwrap().to_owned()).collect()
    }
}

fn names(contents: &[&str]) -> HashSet<String> {
    contents.iter().map(|content| blake3::hash(content.as_bytes()).to_hex().to_string()).collect()
}

#[tokio::test]
async fn a_copy_that_is_made_anew_is_filled_before_it_serves() {
    let machine = Machine::new();
    let version = machine.make(1, "script", "page").await;
    machine.publish(&version).await;
    machine.deploy("shop", &[&version]).await;
    for state in ["never there", "gone", "damaged", "whole"] {
        match state {
            "gone" => std::fs::remove_dir_all(machine.copy()).unwrap(),
            "damaged" => std::fs::write(machine.copy().join("edge.db"), "no database ".repeat(1_000)).unwrap(),
            _ => {}
        }
        // Nobody follows the fabric.
        let replica = machine.open().await;
        assert_eq!(replica.edge().load().workers, 1, "{state}");
        assert!(replica.is_current().await.unwrap());
        assert!(machine.blobs().is_superset(&names(&["script", "page"])));
    }
}

#[tokio::test]
async fn what_changed_while_it_was_away_is_served_from_the_start() {
    let machine = Machine::new();
    machine.deploy("shop", &[]).await;
    drop(machine.open().await);
    machine.deploy("other", &[]).await;
    assert_eq!(machine.open().await.edge().load().workers, 2);
}

#[tokio::test]
async fn blobs_stay_as_long_as_a_version_is_made_of_them() {
    let machine = Machine::new();
    let (one, other) = (machine.make(1, "one", "page").await, machine.make(2, "other", "page").await);
    machine.publish(&one).await;
    machine.publish(&other).await;
    machine.deploy("shop", &[&one, &other]).await;
    let replica = machine.open().await;
    assert_eq!(replica.sweep().await.unwrap(), 0);
    assert_eq!(machine.blobs().len(), 4);
    machine.deploy("shop", &[&other]).await;
    machine.withdraw(&one).await;
    replica.catch_up(&*machine.fabric).await.unwrap();
    assert_eq!(replica.sweep().await.unwrap(), 1);
    assert!(machine.blobs().is_superset(&names(&["other", "page"])));
    assert_eq!(machine.blobs().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_while_a_sweep_runs_stays() {
    let machine = Machine::new();
    let replica = machine.open().await;
    let mut before: Option<Made> = None;
    for number in 0..50 {
        let (script, page) = (format!("script {number}"), format!("page {number}"));
        let version = machine.make(number, &script, &page).await;
        machine.publish(&version).await;
        machine.deploy("shop", &[&version]).await;
        if let Some(before) = before.replace(version) {
            machine.withdraw(&before).await;
        }
        let (swept, taken, again) = tokio::join!(replica.sweep(), replica.catch_up(&*machine.fabric), replica.sweep());
        swept.and(taken).and(again).unwrap();
        assert!(machine.blobs().is_superset(&names(&[&script, &page])), "{number}");
    }
    replica.sweep().await.unwrap();
    assert_eq!(machine.blobs().len(), 3);
}
