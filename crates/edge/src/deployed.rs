//! One version of a worker as this edge serves it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use selvedge_assets::AssetSet;
use selvedge_model::{
    Exception, Failure, LimitError, LimitName, LoadError, Place, Ready, TraceOf, Version, WorkerKey, WorkerName,
};

/// Where a service binding leads.
#[derive(Debug, Clone)]
pub struct ServiceTarget {
    /// A worker of the same account.
    pub worker: WorkerName,
    /// A named export; none is the default export.
    pub entrypoint: Option<String>,
    /// JSON that the entrypoint finds as `ctx.props`.
    pub props: Option<serde_json::Value>,
}

/// A worker's static assets.
pub struct Assets {
    pub set: Arc<AssetSet>,
    /// The binding's name, where the worker may ask for them itself.
    pub binding: Option<String>,
    /// Whether there is a worker behind the assets.
    pub has_worker: bool,
}

/// Finds the places that the author of a worker knows.
pub trait SourceMapper: Send + Sync {
    /// Rewrites the places in V8's stack.
    fn stack(&self, stack: &str) -> String;
    /// The place in the author's files.
    fn place(&self, place: Place) -> Place;
}

/// A version, and what it needs around it.
pub struct Deployed {
    pub key: WorkerKey,
    /// Whose events these are, where there are tails and metrics to tell.
    pub trace_of: Option<TraceOf>,
    /// What its author called it, for the traces of its events.
    pub tag: Option<String>,
    /// What its author said of it.
    pub message: Option<String>,
    pub version: Version,
    pub services: HashMap<String, ServiceTarget>,
    pub assets: Option<Assets>,
    pub source_mapper: Option<Arc<dyn SourceMapper>>,
    /// The load frame, with V8's code caches once an instance made them.
    payload: Mutex<Option<Bytes>>,
}

impl Deployed {
    /// A version to serve.
    pub fn new(key: WorkerKey, version: Version) -> Self {
        Self {
            key,
            trace_of: None,
            tag: None,
            message: None,
            version,
            services: HashMap::new(),
            assets: None,
            source_mapper: None,
            payload: Mutex::new(None),
        }
    }

    /// Whether there is code to run: a worker may be assets alone.
    pub fn has_code(&self) -> bool {
        !self.version.modules.is_empty()
    }

    /// The bytes of the load frame.
    pub fn payload(&self) -> Result<Bytes, LoadError> {
        let mut payload = self.payload.lock();
        if let Some(bytes) = &*payload {
            return Ok(bytes.clone());
        }
        let bytes = self.version.encode()?;
        *payload = Some(bytes.clone());
        Ok(bytes)
    }

    /// Keeps the code caches that an instance made, for the next one.
    pub fn keep_code_caches(&self, ready: &Ready) -> Result<(), LoadError> {
        if ready.code_caches.is_empty() {
            return Ok(());
        }
        let mut version = self.version.clone();
        for (name, cache) in &ready.code_caches {
            if let Some(module) = version.modules.iter_mut().find(|module| module.name == *name) {
                module.code_cache = Some(cache.clone());
            }
        }
        *self.payload.lock() = Some(version.encode()?);
        Ok(())
    }

    /// The failure of an event that exceeded a limit.
    pub fn limit(&self, request_id: &str, limit: LimitName, used: u64, allowed: u64) -> Failure {
        let manifest = &self.version.manifest;
        Failure::Limit {
            error: LimitError {
                limit,
                used,
                allowed,
                worker: manifest.worker.clone(),
                version: manifest.version.clone(),
                request_id: request_id.to_owned(),
                place: None,
            },
        }
    }

    /// An exception with the places that the worker's author knows.
    pub fn map_exception(&self, mut exception: Exception) -> Exception {
        if let Some(mapper) = &self.source_mapper {
            exception.stack = mapper.stack(&exception.stack);
        }
        exception
    }

    /// A failure with the places that the worker's author knows.
    pub fn map(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Exception { exception, pass_through } => {
                Failure::Exception { exception: self.map_exception(exception), pass_through }
            }
            Failure::Hung { exception } => Failure::Hung { exception: self.map_exception(exception) },
            Failure::Limit { mut error } => {
                if let Some(mapper) = &self.source_mapper {
                    error.place = error.place.map(|place| mapper.place(place));
                }
                Failure::Limit { error }
            }
        }
    }
}
