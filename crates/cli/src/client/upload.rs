//! The upload of a version: its metadata, its modules and their source maps.

use selvedge_bundle::{Bundle, Format, Module, ModuleKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Body, Call};
use super::assets::{self, Uploaded};
use super::console::Console;
use super::error::ClientError;
use super::multipart::Form;
use super::prepare::Prepared;
use super::worker::Worker;

/// What came of an upload.
#[derive(Debug, Default, Deserialize)]
pub struct Version {
    /// The version where one alone was made; the worker where it was deployed at once.
    id: Option<String>,
    /// The version that was deployed at once.
    deployment_id: Option<String>,
    pub startup_time_ms: Option<u64>,
}

/// What an upload is annotated with.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    pub message: Option<String>,
    pub tag: Option<String>,
    pub alias: Option<String>,
}

/// The parts of an upload.
pub struct Upload<'a> {
    pub prepared: &'a Prepared,
    pub bindings: Vec<Value>,
    /// None where there are none, or nothing was uploaded.
    pub assets: Option<&'a Uploaded>,
    pub migrations: Option<Value>,
    pub annotations: Annotations,
}

/// A part with its name, media type and content.
pub struct Part<'a> {
    pub name: String,
    pub content_type: &'static str,
    pub content: &'a [u8],
}

impl Upload<'_> {
    /// Sends it; `method` and `path` say what becomes of it.
    pub fn send(
        &self,
        worker: &Worker,
        method: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
        console: &Console,
    ) -> Result<Version, ClientError> {
        let mut form = Form::new();
        form.field("metadata", &self.metadata()?.to_string());
        for part in parts(self.prepared) {
            form.file(&part.name, part.content_type, part.content);
        }
        let (content_type, body) = form.finish();
        let bar = console.bar("upload", body.len() as u64);
        let sent = |count| bar.add(count);
        let body = Body::Bytes { content_type: &content_type, bytes: &body, sent: &sent };
        let version = worker.place.api.read::<Option<Version>>(&Call {
            method,
            path: &worker.path(path),
            query,
            body,
            token: None,
            repeatable: false,
        });
        bar.finish();
        Ok(version?.unwrap_or_default())
    }

    fn metadata(&self) -> Result<Value, ClientError> {
        let project = &self.prepared.project;
        let mut metadata = Map::new();
        let mut set = |key: &str, value: Value| drop(metadata.insert(key.to_owned(), value));
        if let Some(bundle) = &self.prepared.bundle {
            let key = if bundle.format == Format::ServiceWorker { "body_part" } else { "main_module" };
            set(key, json!(bundle.main));
        }
        set("bindings", json!(self.bindings));
        set("compatibility_date", json!(project.compatibility_date.to_string()));
        set("compatibility_flags", json!(project.compatibility_flags));
        let mut kept = vec!["secret_text", "secret_key"];
        if project.deploy.keep_vars {
            kept.extend(["plain_text", "json"]);
        }
        set("keep_bindings", json!(kept));
        if let Some(migrations) = &self.migrations {
            set("migrations", migrations.clone());
        }
        if let (Some(configured), Some(uploaded)) = (&project.assets, self.assets) {
            set("assets", json!({ "jwt": uploaded.token, "config": assets::config(configured)? }));
        }
        if let Some(limits) = limits(self.prepared) {
            set("limits", limits);
        }
        for (key, value) in [
            ("placement", project.deploy.placement.clone()),
            ("observability", project.deploy.observability.clone()),
            ("cache_options", project.deploy.cache.clone()),
        ] {
            if let Some(value) = value {
                set(key, Value::Object(value));
            }
        }
        if let Some(logpush) = project.deploy.logpush {
            set("logpush", json!(logpush));
        }
        set("tail_consumers", tail_consumers(self.prepared));
        let annotations = self.annotations.entries();
        if !annotations.is_empty() {
            set("annotations", Value::Object(annotations));
        }
        Ok(Value::Object(metadata))
    }
}

impl Version {
    /// Which version came of it, if the API said so.
    pub fn id(&self) -> Option<&str> {
        self.deployment_id.as_deref().or(self.id.as_deref())
    }
}

impl Annotations {
    /// In the API's words.
    pub fn entries(&self) -> Map<String, Value> {
        [("workers/message", &self.message), ("workers/tag", &self.tag), ("workers/alias", &self.alias)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))))
            .collect()
    }
}

/// The workers that are told of this one's events, as the API has them.
pub fn tail_consumers(prepared: &Prepared) -> Value {
    let consumers = &prepared.project.deploy.tail_consumers;
    consumers.iter().map(|worker| json!({ "service": worker.as_str() })).collect()
}

fn limits(prepared: &Prepared) -> Option<Value> {
    let limits = &prepared.project.limits;
    let mut object = Map::new();
    if let Some(cpu) = limits.cpu {
        object.insert("cpu_ms".to_owned(), json!(cpu.as_millis() as u64));
    }
    if let Some(subrequests) = limits.subrequests {
        object.insert("subrequests".to_owned(), json!(subrequests));
    }
    (!object.is_empty()).then_some(Value::Object(object))
}

/// The modules, the main one first, and their source maps.
pub fn parts(prepared: &Prepared) -> Vec<Part<'_>> {
    let Some(bundle) = &prepared.bundle else {
        return Vec::new();
    };
    let with_maps = prepared.project.deploy.upload_source_maps.unwrap_or(true);
    let modules = bundle.modules.iter().map(|module| Part {
        name: module.name.clone(),
        content_type: content_type(bundle, module),
        content: &module.body,
    });
    let maps = bundle.modules.iter().filter(|_| with_maps).filter_map(|module| {
        let content = module.source_map.as_ref()?.as_bytes();
        Some(Part { name: format!("{}.map", module.name), content_type: "application/source-map", content })
    });
    modules.chain(maps).collect()
}

fn content_type(bundle: &Bundle, module: &Module) -> &'static str {
    match module.kind {
        ModuleKind::EsModule if bundle.format == Format::ServiceWorker && module.name == bundle.main => {
            "application/javascript"
        }
        ModuleKind::EsModule => "application/javascript+module",
        ModuleKind::CommonJs => "application/javascript",
        ModuleKind::Text => "text/plain",
        ModuleKind::Data => "application/octet-stream",
        ModuleKind::Json => "application/json",
        ModuleKind::Wasm => "application/wasm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_whether_it_was_deployed_at_once_or_not() {
        let read = |answer: Value| serde_json::from_value::<Version>(answer).unwrap();
        assert_eq!(read(json!({ "id": "shop", "deployment_id": "0f8e2a11" })).id(), Some("0f8e2a11"));
        assert_eq!(read(json!({ "id": "0f8e2a11", "startup_time_ms": 3 })).id(), Some("0f8e2a11"));
        assert_eq!(read(json!({})).id(), None);
    }
}
