//! A project's bindings in the words of the platform's API.

use selvedge_project::{BindingKind, Project, UnavailableBinding, Var};
use serde_json::{Map, Value, json};

use super::error::ClientError;
use super::fields::text_at;
use super::prepare::Prepared;
use crate::sources;

/// The bindings of a version. `provisioned` has those whose resource was made or found for them.
pub fn bindings(prepared: &Prepared, provisioned: &[Value]) -> Result<Vec<Value>, ClientError> {
    let project = &prepared.project;
    let mut bindings: Vec<Value> = Vec::new();
    for (name, var) in project.vars.iter().filter(|(name, _)| !prepared.secrets.contains_key(name.as_str())) {
        bindings.push(match var {
            Var::Text(text) => json!({ "name": name.as_str(), "type": "plain_text", "text": text }),
            Var::Json(value) => json!({ "name": name.as_str(), "type": "json", "json": value }),
        });
    }
    for (name, secret) in &prepared.secrets {
        bindings.push(json!({ "name": name.as_str(), "type": "secret_text", "text": secret.expose() }));
    }
    for service in &project.services {
        let mut binding = json!({
            "name": service.binding.as_str(), "type": "service", "service": service.service.as_str(),
        });
        add(&mut binding, "entrypoint", service.entrypoint.clone().map(Value::String));
        add(&mut binding, "props", service.props.clone().map(Value::Object));
        bindings.push(binding);
    }
    if let Some(name) = project.assets.as_ref().and_then(|assets| assets.binding.as_ref()) {
        bindings.push(json!({ "name": name.as_str(), "type": "assets" }));
    }
    if let Some(name) = &project.version_metadata {
        bindings.push(json!({ "name": name.as_str(), "type": "version_metadata" }));
    }
    for rate in &project.rate_limits {
        bindings.push(json!({
            "name": rate.binding.as_str(), "type": "ratelimit", "namespace_id": rate.namespace_id,
            "simple": { "limit": rate.limit, "period": rate.period },
        }));
    }
    for (name, kind) in prepared.bundle.iter().flat_map(sources::globals) {
        bindings.push(json!({ "name": name, "type": kind, "part": name }));
    }
    for binding in &project.unavailable {
        let made = provisioned.iter().find(|made| text_at(made, "/name") == binding.name.as_str());
        bindings.push(match made {
            Some(made) => made.clone(),
            None => resource(project, binding)?,
        });
    }
    Ok(bindings)
}

fn add(binding: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (binding.as_object_mut(), value) {
        object.insert(key.to_owned(), value);
    }
}

/// The type of such a binding, and the config's keys of it with the API's names for them.
fn shape(kind: BindingKind) -> Option<(&'static str, &'static [(&'static str, &'static str)])> {
    Some(match kind {
        BindingKind::Kv => ("kv_namespace", &[("id", "namespace_id")]),
        BindingKind::R2 => ("r2_bucket", &[("bucket_name", "bucket_name"), ("jurisdiction", "jurisdiction")]),
        BindingKind::D1 => ("d1", &[("database_id", "id")]),
        BindingKind::Queue => ("queue", &[("queue", "queue_name"), ("delivery_delay", "delivery_delay")]),
        BindingKind::DurableObject => (
            "durable_object_namespace",
            &[("class_name", "class_name"), ("script_name", "script_name"), ("environment", "environment")],
        ),
        BindingKind::Workflow => {
            ("workflow", &[("name", "workflow_name"), ("class_name", "class_name"), ("script_name", "script_name")])
        }
        BindingKind::Hyperdrive => ("hyperdrive", &[("id", "id")]),
        BindingKind::AnalyticsEngine => ("analytics_engine", &[("dataset", "dataset")]),
        BindingKind::Ai => ("ai", &[("staging", "staging")]),
        BindingKind::AiSearch => ("ai_search", &[("instance_name", "instance_name")]),
        BindingKind::AiSearchNamespace => ("ai_search_namespace", &[("namespace", "namespace")]),
        BindingKind::Artifacts => ("artifacts", &[("namespace", "namespace")]),
        BindingKind::Browser => ("browser", &[]),
        BindingKind::DispatchNamespace => {
            ("dispatch_namespace", &[("namespace", "namespace"), ("outbound", "outbound")])
        }
        BindingKind::Flagship => ("flagship", &[("app_id", "app_id")]),
        BindingKind::HelloWorld => ("unsafe_hello_world", &[("enable_timer", "enable_timer")]),
        BindingKind::Images => ("images", &[]),
        BindingKind::Media => ("media", &[]),
        BindingKind::MtlsCertificate => ("mtls_certificate", &[("certificate_id", "certificate_id")]),
        BindingKind::Pipeline => ("pipelines", &[("pipeline", "pipeline"), ("stream", "stream")]),
        BindingKind::SecretsStore => {
            ("secrets_store_secret", &[("store_id", "store_id"), ("secret_name", "secret_name")])
        }
        BindingKind::SendEmail => (
            "send_email",
            &[
                ("destination_address", "destination_address"),
                ("allowed_destination_addresses", "allowed_destination_addresses"),
                ("allowed_sender_addresses", "allowed_sender_addresses"),
            ],
        ),
        BindingKind::Stream => ("stream", &[]),
        BindingKind::Vectorize => ("vectorize", &[("index_name", "index_name")]),
        BindingKind::VpcNetwork => ("vpc_network", &[("tunnel_id", "tunnel_id"), ("network_id", "network_id")]),
        BindingKind::VpcService => ("vpc_service", &[("service_id", "service_id")]),
        BindingKind::WorkerLoader => ("worker_loader", &[]),
        _ => return None,
    })
}

/// A binding whose resource the config names.
fn resource(project: &Project, binding: &UnavailableBinding) -> Result<Value, ClientError> {
    let name = binding.name.as_str();
    if binding.kind == BindingKind::Unsafe {
        // Its author speaks the API's own language.
        return Ok(Value::Object(binding.fields.clone()));
    }
    let Some((kind, keys)) = shape(binding.kind) else {
        return Err(ClientError::Usage(format!(
            "{}: `{name}` is a {}, of which this client does not know how it is uploaded",
            project.name, binding.kind
        )));
    };
    let mut bound = Map::new();
    bound.insert("name".to_owned(), name.into());
    bound.insert("type".to_owned(), kind.into());
    for (key, named) in keys {
        if let Some(value) = binding.fields.get(*key) {
            bound.insert((*named).to_owned(), value.clone());
        }
    }
    if binding.kind == BindingKind::AnalyticsEngine && !bound.contains_key("dataset") {
        bound.insert("dataset".to_owned(), name.into());
    }
    Ok(Value::Object(bound))
}
