//! Bindings that exist on the platform but not in this version of Selvedge: their names are kept, so that a worker that
//! touches one is told so instead of finding `undefined`.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::{
    bindings::Taken,
    name::BindingName,
    reader::{At, Fields, Reader, Type},
    warning::WarningKind,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnavailableBinding {
    pub name: BindingName,
    pub kind: BindingKind,
    /// What the author wrote of it.
    pub fields: Map<String, Json>,
}

/// What a declared binding is, by the config key that declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindingKind {
    Ai,
    AiSearch,
    AiSearchNamespace,
    AnalyticsEngine,
    Artifacts,
    Browser,
    D1,
    DispatchNamespace,
    DurableObject,
    Flagship,
    HelloWorld,
    Hyperdrive,
    Images,
    Kv,
    Media,
    MtlsCertificate,
    Pipeline,
    Queue,
    R2,
    SecretsStore,
    SendEmail,
    Stream,
    Unsafe,
    Vectorize,
    VpcNetwork,
    VpcService,
    WorkerLoader,
    Workflow,
}

/// Where the bindings of a key stand.
#[derive(Clone, Copy)]
enum Place {
    /// `key = [{ … }]`
    Each,
    /// `key = { … }`
    One,
    /// `key = { inner = [{ … }] }`, with what else may stand beside `inner`.
    Inside(&'static str, &'static [(&'static str, Type)]),
}

struct Shape {
    key: &'static str,
    kind: BindingKind,
    place: Place,
    /// The field that names the binding.
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [(&'static str, Type)],
}

const REMOTE: (&str, Type) = ("remote", Type::Flag);

const fn shape(
    key: &'static str,
    kind: BindingKind,
    place: Place,
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [(&'static str, Type)],
) -> Shape {
    Shape { key, kind, place, name, required, optional }
}

/// After wrangler 4's config schema. Required fields are strings.
#[rustfmt::skip]
const SHAPES: &[Shape] = {
    use BindingKind::*;
    use Place::*;
    use Type::*;
    &[
        shape("ai", Ai, One, "binding", &[], &[REMOTE, ("staging", Flag)]),
        shape("ai_search", AiSearch, Each, "binding", &["instance_name"], &[REMOTE]),
        shape("ai_search_namespaces", AiSearchNamespace, Each, "binding", &["namespace"], &[REMOTE]),
        shape("analytics_engine_datasets", AnalyticsEngine, Each, "binding", &[], &[("dataset", Text)]),
        shape("artifacts", Artifacts, Each, "binding", &["namespace"], &[REMOTE]),
        shape("browser", Browser, One, "binding", &[], &[REMOTE]),
        shape("d1_databases", D1, Each, "binding", &[], &[
            REMOTE, ("database_name", Text), ("database_id", Text), ("preview_database_id", Text),
            ("migrations_table", Text), ("migrations_dir", Text), ("migrations_pattern", Text),
            ("database_internal_env", Text),
        ]),
        shape("dispatch_namespaces", DispatchNamespace, Each, "binding", &["namespace"], &[
            REMOTE, ("outbound", Object),
        ]),
        shape("durable_objects", DurableObject, Inside("bindings", &[]), "name", &["class_name"], &[
            ("script_name", Text), ("environment", Text),
        ]),
        shape("flagship", Flagship, Each, "binding", &["app_id"], &[REMOTE]),
        shape("hyperdrive", Hyperdrive, Each, "binding", &["id"], &[("localConnectionString", Text)]),
        shape("images", Images, One, "binding", &[], &[REMOTE]),
        shape("kv_namespaces", Kv, Each, "binding", &[], &[REMOTE, ("id", Text), ("preview_id", Text)]),
        shape("media", Media, One, "binding", &[], &[REMOTE]),
        shape("mtls_certificates", MtlsCertificate, Each, "binding", &["certificate_id"], &[REMOTE]),
        shape("pipelines", Pipeline, Each, "binding", &[], &[
            REMOTE, ("pipeline", Text), ("stream", Text),
        ]),
        shape("queues", Queue, Inside("producers", &[("consumers", List)]), "binding", &["queue"], &[
            REMOTE, ("delivery_delay", Number),
        ]),
        shape("r2_buckets", R2, Each, "binding", &[], &[
            REMOTE, ("bucket_name", Text), ("preview_bucket_name", Text), ("jurisdiction", Text),
        ]),
        shape("secrets_store_secrets", SecretsStore, Each, "binding", &["store_id", "secret_name"], &[]),
        shape("send_email", SendEmail, Each, "name", &[], &[
            REMOTE, ("destination_address", Text), ("allowed_destination_addresses", Texts),
            ("allowed_sender_addresses", Texts),
        ]),
        shape("stream", Stream, One, "binding", &[], &[REMOTE]),
        shape("unsafe", Unsafe, Inside("bindings", &[("metadata", Object), ("capnp", Object)]), "name", &["type"], &[]),
        shape("unsafe_hello_world", HelloWorld, Each, "binding", &[], &[("enable_timer", Flag)]),
        shape("vectorize", Vectorize, Each, "binding", &["index_name"], &[REMOTE]),
        shape("vpc_networks", VpcNetwork, Each, "binding", &[], &[
            REMOTE, ("tunnel_id", Text), ("network_id", Text),
        ]),
        shape("vpc_services", VpcService, Each, "binding", &["service_id"], &[REMOTE]),
        shape("worker_loaders", WorkerLoader, Each, "binding", &[], &[]),
        shape("workflows", Workflow, Each, "binding", &["name", "class_name"], &[
            REMOTE, ("script_name", Text), ("limits", Object), ("schedules", Any),
        ]),
    ]
};

/// The keys that declare bindings no environment inherits.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|shape| shape.key)
}

pub(crate) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, taken: &mut Taken) -> Vec<UnavailableBinding> {
    let mut found = Vec::new();
    for shape in SHAPES {
        if let Some(at) = fields.get(shape.key) {
            found.extend(read_shape(reader, &at, taken, shape).unwrap_or_default());
        }
    }
    found
}

fn read_shape(
    reader: &mut Reader<'_>,
    at: &At<'_>,
    taken: &mut Taken,
    shape: &Shape,
) -> Option<Vec<UnavailableBinding>> {
    match shape.place {
        Place::Each => reader.each(at, |reader, at| binding(reader, at, taken, shape)),
        Place::One => binding(reader, at, taken, shape).map(|binding| vec![binding]),
        Place::Inside(inner, beside) => {
            let mut fields = reader.fields(at)?;
            for (key, expected) in beside {
                if let Some(at) = fields.get(key) {
                    reader.check(&at, *expected);
                    let reason = "this version of Selvedge cannot act on it";
                    reader.warn(at.node.at, at.key, WarningKind::NotSupported { reason });
                }
            }
            let bindings =
                fields.get(inner).and_then(|at| reader.each(&at, |reader, at| binding(reader, at, taken, shape)));
            fields.finish(reader);
            bindings
        }
    }
}

fn binding(reader: &mut Reader<'_>, at: &At<'_>, taken: &mut Taken, shape: &Shape) -> Option<UnavailableBinding> {
    let mut fields = reader.fields(at)?;
    let name = fields.require(reader, shape.name, "the name of the binding").and_then(|at| taken.name(reader, &at));
    for key in shape.required {
        if let Some(at) = fields.require(reader, key, "a string") {
            reader.text(&at);
        }
    }
    for (key, expected) in shape.optional {
        if let Some(at) = fields.get(key) {
            reader.check(&at, *expected);
        }
    }
    // An unsafe binding's other fields belong to its plugin.
    if shape.kind != BindingKind::Unsafe {
        fields.finish(reader);
    }
    Some(UnavailableBinding { name: name?, kind: shape.kind, fields: reader.json_object(at)? })
}

// === impl BindingKind ===

impl BindingKind {
    /// The platform's name for it, for messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ai => "Workers AI",
            Self::AiSearch => "AI Search",
            Self::AiSearchNamespace => "AI Search namespace",
            Self::AnalyticsEngine => "Analytics Engine dataset",
            Self::Artifacts => "Artifacts",
            Self::Browser => "Browser Rendering",
            Self::D1 => "D1 database",
            Self::DispatchNamespace => "dispatch namespace",
            Self::DurableObject => "Durable Object namespace",
            Self::Flagship => "Flagship",
            Self::HelloWorld => "hello world",
            Self::Hyperdrive => "Hyperdrive",
            Self::Images => "Images",
            Self::Kv => "KV namespace",
            Self::Media => "Media Transformations",
            Self::MtlsCertificate => "mTLS certificate",
            Self::Pipeline => "pipeline",
            Self::Queue => "queue",
            Self::R2 => "R2 bucket",
            Self::SecretsStore => "Secrets Store secret",
            Self::SendEmail => "email sender",
            Self::Stream => "Stream",
            Self::Unsafe => "unsafe binding",
            Self::Vectorize => "Vectorize index",
            Self::VpcNetwork => "VPC network",
            Self::VpcService => "VPC service",
            Self::WorkerLoader => "worker loader",
            Self::Workflow => "workflow",
        }
    }
}

impl fmt::Display for BindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
