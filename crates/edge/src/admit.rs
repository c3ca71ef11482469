//! Whether an event may make another subrequest.

use std::sync::Arc;

use selvedge_model::{Failure, LimitError, LimitName};
use tokio::sync::OwnedSemaphorePermit;

use crate::instance::Instance;

/// Counts one subrequest of `event`, or says which limit it would exceed.
pub fn subrequest(instance: &Instance, event: u32) -> Result<(), Failure> {
    let manifest = &instance.deployed.version.manifest;
    let allowed = manifest.limits.subrequests;
    let used = instance.with_use(event, |used| {
        used.subrequests = used.subrequests.saturating_add(1);
        used.subrequests
    });
    if used <= allowed {
        return Ok(());
    }
    Err(Failure::Limit {
        error: LimitError {
            limit: LimitName::Subrequests,
            used: u64::from(used),
            allowed: u64::from(allowed),
            worker: manifest.worker.clone(),
            version: manifest.version.clone(),
            request_id: instance.request_id(event),
            place: None,
        },
    })
}

/// Waits until `event` may have another connection to the world.
pub async fn connection(instance: &Instance, event: u32) -> Option<OwnedSemaphorePermit> {
    let connections = instance.with_use(event, |used| Arc::clone(&used.connections));
    connections.acquire_owned().await.ok()
}
