//! Leases: one holder at a time, epochs that only grow.

use std::time::Duration;

use futures_util::future::join_all;
use selvedge_fabric::{Epoch, Fabric};

use super::within;

const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn check(fabric: &dyn Fabric) {
    a_lease_has_one_holder_at_a_time(fabric).await;
    an_expired_lease_goes_to_another_with_a_greater_epoch(fabric).await;
    of_many_that_want_a_lease_one_gets_it(fabric).await;
}

async fn a_lease_has_one_holder_at_a_time(fabric: &dyn Fabric) {
    let name = "conformance/lease";
    let first = fabric.acquire(name, "paris", MINUTE).await.unwrap().unwrap();
    assert_eq!((first.name.as_str(), first.holder.as_str()), (name, "paris"));
    assert_eq!(fabric.acquire(name, "oslo", MINUTE).await.unwrap(), None);
    assert_eq!(fabric.acquire(name, "paris", MINUTE).await.unwrap().as_ref(), Some(&first), "the same, same epoch");
    assert!(fabric.renew(&first, MINUTE).await.unwrap());
    let mut forged = first.clone();
    forged.epoch = Epoch(first.epoch.0 + 1);
    assert!(!fabric.renew(&forged, MINUTE).await.unwrap());
    fabric.release(&forged).await.unwrap();
    assert_eq!(fabric.acquire(name, "oslo", MINUTE).await.unwrap(), None, "only its holder releases it");

    fabric.release(&first).await.unwrap();
    assert!(!fabric.renew(&first, MINUTE).await.unwrap());
    let second = fabric.acquire(name, "oslo", MINUTE).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
    fabric.release(&first).await.unwrap();
    assert!(fabric.renew(&second, MINUTE).await.unwrap(), "an earlier holder takes nothing away");
    fabric.release(&second).await.unwrap();
    let third = fabric.acquire(name, "paris", MINUTE).await.unwrap().unwrap();
    assert!(third.epoch > second.epoch);
    fabric.release(&third).await.unwrap();
}

async fn an_expired_lease_goes_to_another_with_a_greater_epoch(fabric: &dyn Fabric) {
    let name = "conformance/expiring";
    let first = fabric.acquire(name, "paris", Duration::from_millis(50)).await.unwrap().unwrap();
    let second = within("the expiry of a lease", async {
        loop {
            if let Some(lease) = fabric.acquire(name, "oslo", MINUTE).await.unwrap() {
                return lease;
            }
        }
    })
    .await;
    assert!(second.epoch > first.epoch);
    assert!(!fabric.renew(&first, MINUTE).await.unwrap());
    assert_eq!(fabric.acquire(name, "paris", MINUTE).await.unwrap(), None);
    fabric.release(&second).await.unwrap();
}

async fn of_many_that_want_a_lease_one_gets_it(fabric: &dyn Fabric) {
    let name = "conformance/wanted";
    let mut last = Epoch(0);
    for _ in 0..10 {
        let holders: Vec<_> = (0..16).map(|who| format!("pop-{who}")).collect();
        let outcomes = join_all(holders.iter().map(|holder| fabric.acquire(name, holder, MINUTE))).await;
        let held: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.unwrap()).collect();
        assert_eq!(held.len(), 1);
        assert!(held[0].epoch > last);
        last = held[0].epoch;
        fabric.release(&held[0]).await.unwrap();
    }
}
