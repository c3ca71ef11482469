//! How versions and their bindings are shown. A secret is shown by its name alone.

use std::collections::BTreeMap;

use selvedge_control::VersionSummary;
use selvedge_model::{BindingKind, BindingRecord, VersionRecord};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::page::time;

/// A version in a list.
#[derive(Serialize, ToSchema)]
pub struct VersionItem {
    #[schema(format = "uuid")]
    pub id: String,
    /// Counted from 1 for each worker.
    pub number: u64,
    pub metadata: VersionMetadata,
    /// `workers/message`, `workers/tag`, `workers/triggered_by`, ….
    pub annotations: BTreeMap<String, String>,
    /// Of the newest alone: clients look there for its secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub resources: Option<VersionResources>,
}

/// Where a version is from.
#[derive(Serialize, ToSchema)]
pub struct VersionMetadata {
    #[schema(format = DateTime)]
    pub created_on: String,
    #[schema(format = DateTime)]
    pub modified_on: String,
    /// The name of the token that uploaded it.
    pub author_email: String,
    pub author_id: String,
    /// What uploaded it: `wrangler`, `selvedge`, `api`.
    pub source: String,
    /// Whether it has a preview's host name.
    #[serde(rename = "hasPreview")]
    pub has_preview_camel: bool,
    pub has_preview: bool,
}

/// A version.
#[derive(Serialize, ToSchema)]
pub struct VersionView {
    #[schema(format = "uuid")]
    pub id: String,
    pub number: u64,
    pub metadata: VersionMetadata,
    pub annotations: BTreeMap<String, String>,
    pub resources: VersionResources,
    /// CPU time of the start that showed that it starts, in milliseconds.
    pub startup_time_ms: u64,
}

/// What a version is made of.
#[derive(Serialize, ToSchema)]
pub struct VersionResources {
    pub script: VersionScript,
    pub script_runtime: VersionRuntime,
    #[schema(value_type = Vec<Object>)]
    pub bindings: Vec<Value>,
}

#[derive(Serialize, ToSchema)]
pub struct VersionScript {
    /// The hash of all that it is made of.
    pub etag: String,
    /// The kinds of event that it handles.
    pub handlers: Vec<String>,
    /// Its modules.
    pub modules: Vec<ModuleView>,
    pub last_deployed_from: String,
    /// The `placement.mode` that the version asks for, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub placement_mode: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ModuleView {
    pub name: String,
    pub hash: String,
    pub bytes: u64,
}

#[derive(Serialize, ToSchema)]
pub struct VersionRuntime {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub compatibility_date: Option<String>,
    pub compatibility_flags: Vec<String>,
    /// Always `standard`.
    pub usage_model: &'static str,
    #[schema(value_type = Object)]
    pub limits: Map<String, Value>,
    /// What of the upload's metadata is kept and shown.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extra: Map<String, Value>,
}

impl VersionItem {
    pub fn of(version: VersionSummary, has_preview: bool) -> Self {
        Self {
            id: version.id.to_string(),
            number: version.number,
            metadata: metadata(version.created_ms, version.author, version.source, has_preview),
            annotations: version.annotations,
            resources: None,
        }
    }
}

impl VersionView {
    pub fn of(version: VersionRecord, has_preview: bool) -> Self {
        let (author, source) = (version.author.clone(), version.source.clone());
        Self {
            id: version.id.to_string(),
            number: version.number,
            metadata: metadata(version.created_ms, author, source, has_preview),
            annotations: version.annotations.clone(),
            startup_time_ms: version.startup_ms,
            resources: version.into(),
        }
    }
}

/// The limits that a worker has of its own.
pub fn limits(version: &VersionRecord) -> Map<String, Value> {
    let own = [("cpu_ms", version.cpu_ms), ("subrequests", version.subrequests)];
    own.into_iter().filter_map(|(key, limit)| Some((key.to_owned(), limit?.into()))).collect()
}

impl From<VersionRecord> for VersionResources {
    fn from(version: VersionRecord) -> Self {
        let limits = limits(&version);
        let placement_mode = version.extra.get("placement").and_then(|placement| placement.get("mode"));
        Self {
            script: VersionScript {
                placement_mode: placement_mode.and_then(Value::as_str).map(str::to_owned),
                etag: version.content,
                handlers: version.handlers,
                modules: version.modules.into_iter().map(ModuleView::from).collect(),
                last_deployed_from: version.source,
            },
            script_runtime: VersionRuntime {
                compatibility_date: Some(version.compatibility_date).filter(|date| !date.is_empty()),
                compatibility_flags: version.compatibility_flags,
                usage_model: "standard",
                limits,
                extra: version.extra,
            },
            bindings: version.bindings.iter().map(binding).collect(),
        }
    }
}

impl From<selvedge_model::ModuleRecord> for ModuleView {
    fn from(module: selvedge_model::ModuleRecord) -> Self {
        Self { name: module.name, hash: module.blob.to_string(), bytes: module.bytes }
    }
}

fn metadata(created_ms: u64, author: String, source: String, has_preview: bool) -> VersionMetadata {
    let created_on = time(created_ms);
    VersionMetadata {
        modified_on: created_on.clone(),
        created_on,
        author_id: author.clone(),
        author_email: author,
        source,
        has_preview_camel: has_preview,
        has_preview,
    }
}

/// A binding as the platform's API shows it.
pub fn binding(binding: &BindingRecord) -> Value {
    match &binding.kind {
        BindingKind::SecretText { .. } => json!({ "name": binding.name, "type": "secret_text" }),
        // Key material of a type that is only kept is no less secret.
        BindingKind::Other { kind, .. } if kind == "secret_key" => json!({ "name": binding.name, "type": kind }),
        // A record that came out of JSON goes into JSON.
        _ => serde_json::to_value(binding).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_its_name_alone() {
        let secret = BindingRecord { name: "S".into(), kind: BindingKind::SecretText { sealed: "c2VhbGVk".into() } };
        assert_eq!(binding(&secret), json!({ "name": "S", "type": "secret_text" }));
        let text = r#"{"name":"K","type":"secret_key","key_base64":"AAAA","format":"raw"}"#;
        let key: BindingRecord = serde_json::from_str(text).unwrap();
        assert_eq!(binding(&key), json!({ "name": "K", "type": "secret_key" }));
    }
}
