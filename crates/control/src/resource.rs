//! Records of what bindings lead to and whose services are not part of this crate: namespaces, buckets, databases, ….

use std::fmt;

use selvedge_model::AccountId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::caller::Caller;
use crate::control::{Control, pending};
use crate::error::ControlError;
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
        pending((caller, account, kind, name, page))
    }

    /// How many resources of a kind there are. Needs `workers:read`.
    pub async fn count_resources(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
    ) -> Result<u64, ControlError> {
        pending((caller, account, kind))
    }

    /// A resource, by its id or its name. Needs `workers:read`.
    pub async fn resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Resource, ControlError> {
        pending((caller, account, kind, id))
    }

    /// Makes a resource. Needs `workers:write`.
    pub async fn create_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewResource,
    ) -> Result<Resource, ControlError> {
        pending((caller, account, new))
    }

    /// Makes a resource, or puts the data in the place of that of the one with this name (a workflow). Needs
    /// `workers:write`.
    pub async fn put_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        new: NewResource,
    ) -> Result<Resource, ControlError> {
        pending((caller, account, new))
    }

    /// Renames a resource, or merges into its data: members that are null are removed. Needs `workers:write`.
    pub async fn change_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
        name: Option<String>,
        data: Map<String, Value>,
    ) -> Result<Resource, ControlError> {
        pending((caller, account, kind, id, name, data))
    }

    /// Removes a resource. Needs `workers:write`.
    pub async fn delete_resource(
        &self,
        caller: &Caller,
        account: &AccountId,
        kind: ResourceKind,
        id: &str,
    ) -> Result<Resource, ControlError> {
        pending((caller, account, kind, id))
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
        pending((caller, account, queue, consumer_id, consumer))
    }

    /// Takes a consumer from a queue. Needs `workers:write`.
    pub async fn delete_queue_consumer(
        &self,
        caller: &Caller,
        account: &AccountId,
        queue: &str,
        consumer_id: &str,
    ) -> Result<(), ControlError> {
        pending((caller, account, queue, consumer_id))
    }
}
