//! What is deployed, as the control plane says it and every edge keeps it.
//!
//! Two kinds of record travel: a [`VersionRecord`] never changes once it is there; a [`WorkerRecord`] says which versions
//! serve now, and where. Code and assets are blobs, named by their hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{AccountId, BlobHash, Format, ModuleKind, VersionId, WorkerName};

/// An immutable upload of a worker: all that an edge needs to run it, but for the bytes of its blobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    pub id: VersionId,
    pub account: AccountId,
    pub worker: WorkerName,
    /// Counted from 1 for each worker.
    pub number: u64,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Who uploaded it: an e-mail address or a token's name.
    pub author: String,
    /// What uploaded it: `wrangler`, `selvedge`, `api`, …
    pub source: String,
    /// `workers/message`, `workers/tag`, `workers/alias`, `workers/triggered_by`, …
    pub annotations: BTreeMap<String, String>,
    /// BLAKE3, in hexadecimal digits, of what it is made of: of two uploads of the same, it is the same.
    pub content: String,
    pub format: Format,
    /// The name of the module that is evaluated first; empty where there are assets alone.
    pub main: String,
    pub modules: Vec<ModuleRecord>,
    /// Named after their modules, with `.map`.
    pub source_maps: Vec<SourceMapRecord>,
    pub compatibility_date: String,
    pub compatibility_flags: Vec<String>,
    pub bindings: Vec<BindingRecord>,
    /// CPU time of one event, in milliseconds, where the worker has a limit of its own.
    pub cpu_ms: Option<u32>,
    /// Subrequests of one event, where the worker has a limit of its own. Older records do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subrequests: Option<u32>,
    pub assets: Option<AssetsRecord>,
    /// The kinds of event that it handles, as its start showed.
    pub handlers: Vec<String>,
    /// CPU time of the start that showed that it starts, in milliseconds.
    pub startup_ms: u64,
    /// What of the upload's metadata is kept and shown, but has no meaning to an edge: `placement`, `observability`, ….
    pub extra: Map<String, Value>,
}

/// One module of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    pub name: String,
    pub kind: ModuleKind,
    pub blob: BlobHash,
    pub bytes: u64,
}

/// One source map of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMapRecord {
    /// The module that it is of.
    pub module: String,
    pub blob: BlobHash,
    pub bytes: u64,
}

/// One capability in `env`, in the words of the platform's API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingRecord {
    pub name: String,
    #[serde(flatten)]
    pub kind: BindingKind,
}

/// What a binding leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BindingKind {
    PlainText {
        text: String,
    },
    Json {
        json: Value,
    },
    SecretText {
        /// The sealed text, in base64. Only who holds the key can open it.
        sealed: String,
    },
    Service {
        service: WorkerName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entrypoint: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        props: Option<Value>,
    },
    Assets,
    VersionMetadata,
    Ratelimit {
        namespace_id: String,
        simple: RateLimit,
    },
    WasmModule {
        part: String,
    },
    TextBlob {
        part: String,
    },
    DataBlob {
        part: String,
    },
    /// A binding whose service is not here: kept, shown, and clear when used.
    #[serde(untagged)]
    Other {
        #[serde(rename = "type")]
        kind: String,
        #[serde(flatten)]
        fields: Map<String, Value>,
    },
}

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// How many times in one period.
    pub limit: u32,
    /// The period, in seconds: 10 or 60.
    pub period: u32,
}

/// The static assets of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetsRecord {
    /// A blob: the JSON of [`AssetFiles`].
    pub files: BlobHash,
    /// How many files.
    pub count: u64,
    /// `auto-trailing-slash` and its kin, as the platform names them; so are the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_handling: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found_handling: Option<String>,
    /// `true`, `false` or a list of globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_worker_first: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_path: Option<String>,
    /// The text of `_headers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<String>,
    /// The text of `_redirects`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirects: Option<String>,
}

/// The files of [`AssetsRecord`], by path: `/index.html`, unencoded.
pub type AssetFiles = BTreeMap<String, AssetFile>;

/// One static file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetFile {
    pub blob: BlobHash,
    pub bytes: u64,
    /// None for a file that is served without `Content-Type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// A worker as it is to be served now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    pub account: AccountId,
    pub name: WorkerName,
    /// What stands between worker and domain in a host name: `worker.subdomain.domain`. None for the first account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// Whether `worker.domain` leads to it.
    pub workers_dev: bool,
    /// Whether `version-worker.domain` leads to its versions.
    pub previews: bool,
    /// Names for versions, which lead to them as their ids do: `alias-worker.domain`.
    #[serde(default)]
    pub aliases: BTreeMap<String, VersionId>,
    /// None while no version is deployed.
    pub deployment: Option<DeploymentRecord>,
    /// Patterns such as `example.com/api/*`.
    pub routes: Vec<String>,
    /// Host names that lead to it whole.
    pub domains: Vec<String>,
    pub crons: Vec<CronRecord>,
    /// Workers that are told what became of its events.
    pub tail_consumers: Vec<WorkerName>,
    /// What its owner marked it with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Which versions serve, and how much each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// A UUID.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// One or two; together 10,000.
    pub versions: Vec<Share>,
}

/// A version's share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub version: VersionId,
    /// In hundredths of a percent.
    pub basis_points: u32,
}

/// All the traffic, in hundredths of a percent.
pub const BASIS_POINTS: u32 = 10_000;

/// A cron trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronRecord {
    pub cron: String,
    /// When it was set, in milliseconds since 1970: no minute before that is due.
    pub since_ms: u64,
}

/// The key of a worker in the fabric.
pub fn worker_key(account: &AccountId, worker: &WorkerName) -> String {
    format!("worker/{account}/{worker}")
}

/// The key of a version in the fabric.
pub fn version_key(account: &AccountId, worker: &WorkerName, version: &VersionId) -> String {
    format!("version/{account}/{worker}/{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_read_and_write_as_the_platforms_api_has_them() {
        for text in [
            r#"{"name":"A","type":"plain_text","text":"x"}"#,
            r#"{"name":"A","type":"assets"}"#,
            r#"{"name":"A","type":"ratelimit","namespace_id":"1","simple":{"limit":5,"period":60}}"#,
            r#"{"name":"A","type":"kv_namespace","namespace_id":"abc"}"#,
        ] {
            let binding: BindingRecord = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_value(&binding).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
        let other: BindingRecord = serde_json::from_str(r#"{"name":"A","type":"d1","id":"x"}"#).unwrap();
        assert!(matches!(other.kind, BindingKind::Other { kind, .. } if kind == "d1"));
    }
}
