//! Whether an event may make another subrequest.

use std::sync::Arc;

use selvedge_model::{Failure, LimitName};
use tokio::sync::OwnedSemaphorePermit;

use crate::instance::Instance;

/// Counts one subrequest of `event`, or says which limit it would exceed.
pub fn subrequest(instance: &Instance, event: u32) -> Result<(), Failure> {
    let allowed = instance.deployed.version.manifest.limits.subrequests;
    let used = instance.with_use(event, |used| {
        used.subrequests = used.subrequests.saturating_add(1);
        used.subrequests
    });
    if used <= allowed {
        return Ok(());
    }
    let request_id = instance.request_id(event);
    Err(instance.deployed.limit(&request_id, LimitName::Subrequests, u64::from(used), u64::from(allowed)))
}

/// Waits until `event` may have another connection to the world.
pub async fn connection(instance: &Instance, event: u32) -> Option<OwnedSemaphorePermit> {
    let connections = instance.with_use(event, |used| Arc::clone(&used.connections));
    connections.acquire_owned().await.ok()
}
