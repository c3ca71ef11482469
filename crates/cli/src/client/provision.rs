//! The resources that bindings lead to: found, taken over from the version before, or made.

use selvedge_project::{BindingKind, UnavailableBinding};
use serde::Deserialize;
use serde_json::{Value, json};

use super::console::Console;
use super::error::ClientError;
use super::fields::text_at;
use super::prepare::Prepared;
use super::worker::Worker;

/// Databases asked for at once, as the API allows.
const PER_PAGE: &str = "1000";
/// Pages of them at most.
const PAGES_MAX: u32 = 100;

#[derive(Debug, Default, Deserialize)]
struct Settings {
    #[serde(default)]
    bindings: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(alias = "uuid")]
    id: Option<String>,
    #[serde(alias = "title")]
    name: Option<String>,
}

/// Bindings with the resources that were made or found for them.
pub fn provision(
    worker: &Worker,
    exists: bool,
    prepared: &Prepared,
    console: &Console,
) -> Result<Vec<Value>, ClientError> {
    let bindings = &prepared.project.unavailable;
    let is_resource = |binding: &&UnavailableBinding| {
        matches!(binding.kind, BindingKind::Kv | BindingKind::R2 | BindingKind::D1 | BindingKind::Queue)
    };
    if !bindings.iter().any(|binding| is_resource(&binding)) {
        return Ok(Vec::new());
    }
    let bound = match exists {
        true => worker.place.api.find::<Settings>(&worker.path(&["settings"]), &[])?.unwrap_or_default().bindings,
        false => Vec::new(),
    };
    let maker = Maker { worker, bound, console };
    let mut provisioned = Vec::new();
    for binding in bindings.iter().filter(is_resource) {
        provisioned.extend(maker.provision(binding)?);
    }
    Ok(provisioned)
}

struct Maker<'a> {
    worker: &'a Worker,
    /// What the worker has now.
    bound: Vec<Value>,
    console: &'a Console,
}

impl Maker<'_> {
    /// None where the config says all that is needed and it is there.
    fn provision(&self, binding: &UnavailableBinding) -> Result<Option<Value>, ClientError> {
        let name = binding.name.as_str();
        let text = |key: &str| binding.fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        match binding.kind {
            BindingKind::Kv if text("id").is_none() => self.inherit(name, "kv_namespace", || {
                let id = self.namespace(&self.title(name))?;
                Ok(json!({ "name": name, "type": "kv_namespace", "namespace_id": id }))
            }),
            BindingKind::D1 if text("database_id").is_none() => self.inherit(name, "d1", || {
                let title = text("database_name").map_or_else(|| self.title(name), str::to_owned);
                Ok(json!({ "name": name, "type": "d1", "id": self.database(&title)? }))
            }),
            BindingKind::R2 => match text("bucket_name") {
                Some(bucket) => self.bucket(bucket).map(|()| None),
                None => self.inherit(name, "r2_bucket", || {
                    let bucket = self.title(name);
                    self.bucket(&bucket)?;
                    Ok(json!({ "name": name, "type": "r2_bucket", "bucket_name": bucket }))
                }),
            },
            BindingKind::Queue => match text("queue") {
                Some(queue) => self.queue(queue).map(|()| None),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// What the version before had under that name goes on; else it is made.
    fn inherit(
        &self,
        name: &str,
        kind: &str,
        make: impl FnOnce() -> Result<Value, ClientError>,
    ) -> Result<Option<Value>, ClientError> {
        let had = self.bound.iter().any(|bound| text_at(bound, "/name") == name && text_at(bound, "/type") == kind);
        if had { Ok(Some(json!({ "name": name, "type": "inherit" }))) } else { make().map(Some) }
    }

    fn title(&self, binding: &str) -> String {
        format!("{}-{}", self.worker.name, binding.to_lowercase().replace('_', "-"))
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["accounts", self.worker.place.account.as_str()], rest].concat()
    }

    fn namespace(&self, title: &str) -> Result<String, ClientError> {
        let path = self.path(&["storage", "kv", "namespaces"]);
        match self.listed(&path, title)? {
            Some(id) => Ok(id),
            None => self.made("KV namespace", title, &path, &json!({ "title": title })),
        }
    }

    fn database(&self, name: &str) -> Result<String, ClientError> {
        let path = self.path(&["d1", "database"]);
        match self.listed(&path, name)? {
            Some(id) => Ok(id),
            None => self.made("D1 database", name, &path, &json!({ "name": name })),
        }
    }

    fn bucket(&self, name: &str) -> Result<(), ClientError> {
        let found: Option<Value> = self.worker.place.api.find(&self.path(&["r2", "buckets", name]), &[])?;
        if found.is_none() {
            let path = self.path(&["r2", "buckets"]);
            let _: Value = self.worker.place.api.send("POST", &path, &[], &json!({ "name": name }))?;
            self.console.progress(&format!("made the R2 bucket {name}"));
        }
        Ok(())
    }

    fn queue(&self, name: &str) -> Result<(), ClientError> {
        let path = self.path(&["queues"]);
        let found: Vec<Value> = self.worker.place.api.get(&path, &[("name", name), ("page", "1")])?;
        if !found.iter().any(|queue| text_at(queue, "/queue_name") == name) {
            let _: Value = self.worker.place.api.send("POST", &path, &[], &json!({ "queue_name": name }))?;
            self.console.progress(&format!("made the queue {name}"));
        }
        Ok(())
    }

    /// The id of the thing of that name, page by page until one is short.
    fn listed(&self, path: &[&str], name: &str) -> Result<Option<String>, ClientError> {
        for page in 1..=PAGES_MAX {
            let query = [("per_page", PER_PAGE), ("page", &page.to_string())];
            let things: Vec<Named> = self.worker.place.api.get(path, &query)?;
            if let Some(found) = things.iter().find(|thing| thing.name.as_deref() == Some(name)) {
                return Ok(found.id.clone());
            }
            if things.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    fn made(&self, what: &str, name: &str, path: &[&str], body: &Value) -> Result<String, ClientError> {
        let made: Named = self.worker.place.api.send("POST", path, &[], body)?;
        self.console.progress(&format!("made the {what} {name}"));
        made.id.ok_or_else(|| ClientError::Missing(format!("the API made the {what} {name}, but named no id of it")))
    }
}
