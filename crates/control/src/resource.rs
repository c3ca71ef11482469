//! Records of what bindings lead to and whose services are not part of this crate: namespaces, buckets, databases, ….

use std::fmt;

use selvedge_model::{AccountId, WorkerName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::account::check_name;
use crate::bounds::{CONSUMERS_MAX, RESOURCE_BYTES_MAX, RESOURCES_MAX};
use crate::caller::{Caller, Permission};
use crate::control::{Control, random_id};
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::Event;
use crate::page::Page;

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    KvNamespace,
    R2Bucket,
    D1Database,
    Queue,
    Workflow,
    /// Made and removed by migrations alone.
    DurableObjectNamespace,
    Hyperdrive,
    VectorizeIndex,
}

impl ResourceKind {
    /// The word that the view and the log know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KvNamespace => "kv_namespace",
            Self::R2Bucket => "r2_bucket",
            Self::D1Database => "d1_database",
            Self::Queue => "queue",
            Self::Workflow => "workflow",
            Self::DurableObjectNamespace => "durable_object_namespace",
            Self::Hyperdrive => "hyperdrive",
            Self::VectorizeIndex => "vectorize_index",
        }
    }

    /// Whether its id is its name.
    fn is_known_by_name(self) -> bool {
        matches!(self, Self::R2Bucket | Self::VectorizeIndex)
    }

    fn new_id(self, name: &str) -> String {
        match self {
            _ if self.is_known_by_name() => name.to_owned(),
            Self::D1Database | Self::Workflow => uuid::Uuid::new_v4().to_string(),
            _ => random_id(),
        }
    }

    pub(crate) fn not_found_code(self) -> u32 {
        match self {
            Self::KvNamespace => 10013,
            Self::R2Bucket => 10006,
            Self::D1Database => 7404,
            Self::Queue => 11000,
            Self::Workflow => 10200,
            Self::DurableObjectNamespace => 10066,
            Self::Hyperdrive => 2001,
            Self::VectorizeIndex => 3000,
        }
    }

    pub(crate) fn exists_code(self) -> u32 {
        match self {
            Self::KvNamespace => 10014,
            Self::R2Bucket => 10004,
            Self::D1Database => 7502,
            Self::Queue => 11009,
            Self::Workflow => 10201,
            Self::DurableObjectNamespace => 10065,
            Self::Hyperdrive => 2017,
            Self::VectorizeIndex => 3002,
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KvNamespace => "KV namespace",
            Self::R2Bucket => "R2 bucket",
            Self::D1Database => "D1 database",
            Self::Queue => "queue",
            Self::Workflow => "workflow",
            Self::DurableObjectNamespace => "Durable Object namespace",
            Self::Hyperdrive => "Hyperdrive configuration",
            Self::VectorizeIndex => "Vectorize index",
        })
    }
}

/// A record of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub kind: ResourceKind,
    /// 32 hexadecimal digits; a UUID for databases and workflows; the name for buckets.
    pub id: String,
    /// Unique in its account among those of its kind.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// What the client said of it: settings, location, …; of a queue, `consumers`.
    pub data: Map<String, Value>,
}

/// A resource to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewResource {
    pub kind: ResourceKind,
    pub name: String,
    pub data: Map<String, Value>,
}

impl Control {
    /// The resources of a kind, by name; with `name`, the one of exactly that name. Needs `workers:read`.
    pub async fn resources(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        name: Option<&str>,
        page: Page,
    ) -> Result<Vec<Resource>, ControlError> {
        let (own, name) = (account.clone(), name.map(str::to_owned));
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.resources(&own, kind, name.as_deref(), page)
        })
        .await
    }

    /// How many resources of a kind there are. Needs `workers:read`.
    pub async fn count_resources(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
    ) -> Result<u64, ControlError> {
        let own = account.clone();
        self.ask(caller, account, Permission::WorkersRead, move |view| view.count_resources(&own, kind)).await
    }

    /// A resource, by its id or its name. Needs `workers:read`.
    pub async fn resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Resource, ControlError> {
        let (own, id) = (account.clone(), id.to_owned());
        self.ask(caller, account, Permission::WorkersRead, move |view| view.resource(&own, kind, &id)).await
    }

    /// Makes a resource. Needs `workers:write`.
    pub async fn create_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewResource,
    ) -> Result<Resource, ControlError> {
        self.make_resource(caller, account, new, false).await
    }

    /// Makes a resource, or puts the data in the place of that of the one with this name (a workflow). Needs
    /// `workers:write`.
    pub async fn put_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewResource,
    ) -> Result<Resource, ControlError> {
        self.make_resource(caller, account, new, true).await
    }

    async fn make_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewResource,
        replace: bool,
    ) -> Result<Resource, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        refuse_namespaces(new.kind)?;
        check_resource_name(new.kind, &new.name)?;
        check_data(&new.data)?;
        let (own, id) = (account.clone(), new.kind.new_id(&new.name));
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            let mut resource = Resource {
                kind: new.kind,
                id: id.clone(),
                name: new.name.clone(),
                created_ms: at_ms,
                modified_ms: at_ms,
                data: new.data.clone(),
            };
            match view.resource_named(&own, new.kind, &new.name)? {
                Some(present) if replace => {
                    resource.id = present.id;
                    resource.created_ms = present.created_ms;
                }
                Some(_) => return Err(ControlError::ResourceExists { kind: new.kind, name: new.name.clone() }),
                None if view.count_resources(&own, new.kind)? >= RESOURCES_MAX => {
                    return Err(ControlError::TooMany { what: "resources of this kind", count_max: RESOURCES_MAX });
                }
                None => {}
            }
            Ok(saved(&own, resource))
        })
        .await
    }

    /// Renames a resource, or puts members in the place of those of its data: those that are null are removed. Needs
    /// `workers:write`.
    pub async fn change_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
        name: Option<String>,
        data: Map<String, Value>,
    ) -> Result<Resource, ControlError> {
        self.alter_resource(caller, account, kind, id, name, move |present| replace(present, &data)).await
    }

    /// As [`Control::change_resource`], but of a member that is an object only what it names is changed. Needs
    /// `workers:write`.
    pub async fn merge_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
        name: Option<String>,
        data: Map<String, Value>,
    ) -> Result<Resource, ControlError> {
        self.alter_resource(caller, account, kind, id, name, move |present| merge(present, &data)).await
    }

    /// Renames a resource, and alters its data as it is by then.
    async fn alter_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
        name: Option<String>,
        alter: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Result<Resource, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        refuse_namespaces(kind)?;
        if let Some(name) = &name {
            if kind.is_known_by_name() {
                return Err(ControlError::invalid("name", format!("a {kind} is known by its name, and keeps it")));
            }
            check_resource_name(kind, name)?;
        }
        let (own, id) = (account.clone(), id.to_owned());
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            let mut resource = view.resource(&own, kind, &id)?;
            if let Some(name) = name.as_ref().filter(|name| **name != resource.name) {
                if view.resource_named(&own, kind, name)?.is_some() {
                    return Err(ControlError::ResourceExists { kind, name: name.clone() });
                }
                resource.name = name.clone();
            }
            alter(&mut resource.data);
            check_data(&resource.data)?;
            resource.modified_ms = at_ms;
            Ok(saved(&own, resource))
        })
        .await
    }

    /// Removes a resource. Needs `workers:write`.
    pub async fn delete_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Resource, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        refuse_namespaces(kind)?;
        let (own, id) = (account.clone(), id.to_owned());
        self.change(caller, account, Permission::WorkersWrite, move |view, _| {
            let resource = view.resource(&own, kind, &id)?;
            let (account, id, name) = (own.clone(), resource.id.clone(), resource.name.clone());
            Ok(Decided::new(vec![Event::ResourceDeleted { account, kind, id, name }], resource))
        })
        .await
    }

    /// Gives a queue a consumer, or changes the one with that id. The consumer, with its `consumer_id`, comes back; the
    /// queue's record has all of them in `data.consumers`. Needs `workers:write`.
    pub async fn put_queue_consumer(
        &self,
        caller: &Caller,
        account: &AccountId,
        queue: &str,
        consumer_id: Option<&str>,
        consumer: Map<String, Value>,
    ) -> Result<Map<String, Value>, ControlError> {
        let (own, queue, given) = (account.clone(), queue.to_owned(), consumer_id.map(str::to_owned));
        let new_id = random_id();
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            let mut resource = view.resource(&own, ResourceKind::Queue, &queue)?;
            let mut consumer = consumer.clone();
            if let Some(script) = consumer.get("script_name").and_then(Value::as_str) {
                let worker: WorkerName = script
                    .parse()
                    .map_err(|_| ControlError::WorkerNameInvalid { name: script.chars().take(80).collect() })?;
                view.worker(&own, &worker)?;
            }
            let mut consumers = consumers_of(&resource);
            if given.is_none()
                && let Some(script) = consumer.get("script_name")
                && consumers.iter().any(|other| other.get("script_name") == Some(script))
            {
                // A second one could be told from the first by no client that goes by the Worker's name.
                let (queue, script) = (resource.name, script.as_str().unwrap_or_default().to_owned());
                return Err(ControlError::ConsumerTaken { queue, script });
            }
            let id = given.clone().unwrap_or_else(|| new_id.clone());
            consumer.insert("consumer_id".into(), Value::String(id.clone()));
            let count = consumers.len();
            let place = consumers.iter_mut().find(|other| is_consumer(other, &id));
            match (place, &given) {
                (Some(place), _) => *place = Value::Object(consumer.clone()),
                (None, Some(_)) => {
                    let (queue, consumer) = (resource.name, id.chars().take(64).collect());
                    return Err(ControlError::ConsumerNotFound { queue, consumer });
                }
                (None, None) if count >= CONSUMERS_MAX => {
                    let count_max = CONSUMERS_MAX as u64;
                    return Err(ControlError::TooMany { what: "consumers of one queue", count_max });
                }
                (None, None) => consumers.push(Value::Object(consumer.clone())),
            }
            resource.data.insert("consumers".into(), Value::Array(consumers));
            check_data(&resource.data)?;
            resource.modified_ms = at_ms;
            Ok(Decided::new(saved(&own, resource).events, consumer))
        })
        .await
    }

    /// Takes a consumer from a queue. Needs `workers:write`.
    pub async fn delete_queue_consumer(
        &self,
        caller: &Caller,
        account: &AccountId,
        queue: &str,
        consumer_id: &str,
    ) -> Result<(), ControlError> {
        let (own, queue, id) = (account.clone(), queue.to_owned(), consumer_id.to_owned());
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            let mut resource = view.resource(&own, ResourceKind::Queue, &queue)?;
            let mut consumers = consumers_of(&resource);
            let before = consumers.len();
            consumers.retain(|consumer| !is_consumer(consumer, &id));
            if consumers.len() == before {
                let (queue, consumer) = (resource.name, id.chars().take(64).collect());
                return Err(ControlError::ConsumerNotFound { queue, consumer });
            }
            resource.data.insert("consumers".into(), Value::Array(consumers));
            resource.modified_ms = at_ms;
            Ok(Decided::new(saved(&own, resource).events, ()))
        })
        .await
    }
}

/// Puts members in the place of those that are there. Those that are null are removed.
fn replace(present: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (key, value) in given {
        if value.is_null() {
            present.remove(key);
        } else {
            present.insert(key.clone(), value.clone());
        }
    }
}

/// As [`replace`], but members of an object are put into the object that is there.
fn merge(present: &mut Map<String, Value>, given: &Map<String, Value>) {
    let merged = given.iter().map(|(key, value)| {
        let Value::Object(members) = value else { return (key.clone(), value.clone()) };
        let mut object = present.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        replace(&mut object, members);
        (key.clone(), Value::Object(object))
    });
    let merged: Map<String, Value> = merged.collect();
    replace(present, &merged);
}

/// The consumers of a queue.
pub(crate) fn consumers_of(queue: &Resource) -> Vec<Value> {
    queue.data.get("consumers").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn is_consumer(consumer: &Value, id: &str) -> bool {
    consumer.get("consumer_id").and_then(Value::as_str) == Some(id)
}

/// A queue that the worker no longer consumes.
pub(crate) fn without_consumer(mut queue: Resource, worker: &WorkerName, at_ms: u64) -> Resource {
    let is_worker = |one: &Value| one.get("script_name").and_then(Value::as_str) == Some(worker.as_str());
    let mut consumers = consumers_of(&queue);
    consumers.retain(|consumer| !is_worker(consumer));
    queue.data.insert("consumers".into(), Value::Array(consumers));
    queue.modified_ms = at_ms;
    queue
}

pub(crate) fn saved(account: &AccountId, resource: Resource) -> Decided<Resource> {
    let event = Event::ResourceSaved { account: account.clone(), resource: resource.clone() };
    Decided::new(vec![event], resource)
}

/// Namespaces of Durable Objects come and go with their classes.
fn refuse_namespaces(kind: ResourceKind) -> Result<(), ControlError> {
    if kind == ResourceKind::DurableObjectNamespace {
        let problem = "they are made, renamed and removed by the migrations of the Worker that has their class";
        return Err(ControlError::invalid("Durable Object namespaces", problem));
    }
    Ok(())
}

pub(crate) fn check_resource_name(kind: ResourceKind, name: &str) -> Result<(), ControlError> {
    check_name("name", name)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match kind {
        // A namespace's title and a configuration's name are any text.
        ResourceKind::KvNamespace | ResourceKind::Hyperdrive => Ok(()),
        ResourceKind::R2Bucket if !(3..=63).contains(&name.len()) || name.bytes().any(|byte| !plain(byte)) => {
            let problem = "a bucket's name has 3 to 63 letters, digits, -, _ and .";
            Err(ControlError::invalid("name", problem))
        }
        _ if name.len() > 128 || name.bytes().any(|byte| !plain(byte)) => {
            let problem = format!("the name of a {kind} has 1 to 128 letters, digits, -, _ and .");
            Err(ControlError::invalid("name", problem))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_data(data: &Map<String, Value>) -> Result<(), ControlError> {
    let bytes = serde_json::to_vec(data).map_or(usize::MAX, |text| text.len());
    if bytes > RESOURCE_BYTES_MAX {
        let problem = format!("what is kept of it has {bytes} bytes: at most {RESOURCE_BYTES_MAX} are allowed");
        return Err(ControlError::invalid("resource", problem));
    }
    Ok(())
}
