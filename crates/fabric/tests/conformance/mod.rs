//! What every fabric must do, whatever it is made of. A test file for an implementation opens one and hands it to
//! [`check_all`]; names are prefixed by the subject, so that a fabric that is not empty can be checked too.

mod blobs;
mod keys;
mod leases;
mod logs;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use selvedge_fabric::{Change, Fabric};

/// How long anything awaited here may take before the test fails.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Everything, one after the other.
pub async fn check_all(fabric: &dyn Fabric) {
    logs::check(fabric).await;
    keys::check(fabric).await;
    leases::check(fabric).await;
    blobs::check(fabric).await;
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {WAIT_MAX:?}"),
    }
}

/// Whether it is ready at once.
pub async fn is_ready<T>(future: impl Future<Output = T>) -> bool {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

fn put(key: &str, value: &str) -> Change {
    Change { key: key.to_owned(), value: Some(text(value)) }
}

fn removal(key: &str) -> Change {
    Change { key: key.to_owned(), value: None }
}
