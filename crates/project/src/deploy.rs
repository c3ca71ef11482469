//! The keys that a platform reads, and nobody else: where a worker answers, what its deployment replaces.

use serde_json::{Map, Value as Json};

use crate::{
    name::{BindingName, WorkerName},
    project::Deploy,
    reader::{At, Fields, Placed, Reader, Type},
};

/// The keys as one environment sets them.
#[derive(Debug, Default)]
pub(crate) struct DeploySettings {
    account_id: Option<String>,
    workers_dev: Option<bool>,
    preview_urls: Option<bool>,
    logpush: Option<bool>,
    upload_source_maps: Option<bool>,
    placement: Option<Map<String, Json>>,
    observability: Option<Map<String, Json>>,
    cache: Option<Map<String, Json>>,
    migrations: Option<Vec<Map<String, Json>>>,
    // Not inherited.
    tail_consumers: Vec<WorkerName>,
    queue_consumers: Vec<Map<String, Json>>,
}

pub(crate) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> DeploySettings {
    let account_id = fields.get("account_id").and_then(|at| reader.text(&at));
    let mut flag = |key| fields.get(key).and_then(|at| reader.boolean(&at));
    let (workers_dev, preview_urls) = (flag("workers_dev"), flag("preview_urls"));
    let (logpush, upload_source_maps) = (flag("logpush"), flag("upload_source_maps"));
    let mut object = |key| fields.get(key).and_then(|at| reader.json_object(&at));
    let (placement, observability, cache) = (object("placement"), object("observability"), object("cache"));
    let migrations = fields.get("migrations").and_then(|at| reader.each(&at, Reader::json_object));
    let tail_consumers = fields.get("tail_consumers").and_then(|at| reader.each(&at, tail_consumer));
    let queue_consumers = fields.get("queues").and_then(|at| queue_consumers(reader, &at));
    DeploySettings {
        account_id,
        workers_dev,
        preview_urls,
        logpush,
        upload_source_maps,
        placement,
        observability,
        cache,
        migrations,
        tail_consumers: tail_consumers.unwrap_or_default(),
        queue_consumers: queue_consumers.unwrap_or_default(),
    }
}

fn tail_consumer(reader: &mut Reader<'_>, at: &At<'_>) -> Option<WorkerName> {
    let mut fields = reader.fields(at)?;
    let service = fields.require(reader, "service", "the name of a worker").and_then(|at| reader.name(&at));
    if let Some(at) = fields.get("environment") {
        reader.check(&at, Type::Text);
    }
    fields.finish(reader);
    service
}

/// Whoever reads the producers warns of keys that `queues` does not have, and of what is no object.
fn queue_consumers(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<Map<String, Json>>> {
    if !at.node.is_object() {
        return None;
    }
    let consumers = reader.fields(at)?.get("consumers").filter(|at| at.node.is_array())?;
    reader.each(&consumers, |reader, at| {
        let queue = reader.fields(at)?.require(reader, "queue", "the name of a queue")?;
        reader.text(&queue)?;
        reader.json_object(at)
    })
}

// === impl DeploySettings ===

impl DeploySettings {
    /// What this environment sets, and the rest from `top`.
    pub(crate) fn inherit(self, top: Self) -> Self {
        Self {
            account_id: self.account_id.or(top.account_id),
            workers_dev: self.workers_dev.or(top.workers_dev),
            preview_urls: self.preview_urls.or(top.preview_urls),
            logpush: self.logpush.or(top.logpush),
            upload_source_maps: self.upload_source_maps.or(top.upload_source_maps),
            placement: self.placement.or(top.placement),
            observability: self.observability.or(top.observability),
            cache: self.cache.or(top.cache),
            migrations: self.migrations.or(top.migrations),
            tail_consumers: self.tail_consumers,
            queue_consumers: self.queue_consumers,
        }
    }

    pub(crate) fn finish(self, keep_vars: bool, required: Option<&[Placed<BindingName>]>) -> Deploy {
        Deploy {
            account_id: self.account_id,
            workers_dev: self.workers_dev,
            preview_urls: self.preview_urls,
            keep_vars,
            logpush: self.logpush,
            upload_source_maps: self.upload_source_maps,
            placement: self.placement,
            observability: self.observability,
            cache: self.cache,
            migrations: self.migrations.unwrap_or_default(),
            tail_consumers: self.tail_consumers,
            queue_consumers: self.queue_consumers,
            secrets_required: required.unwrap_or_default().iter().map(|name| name.value.clone()).collect(),
        }
    }
}
