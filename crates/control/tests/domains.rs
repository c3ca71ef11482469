//! Custom domains and the zones that they bring: how many an account may have.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use selvedge_control::{
    ACCOUNT_DOMAINS_MAX, ControlError, CustomDomain, DOMAINS_MAX, DomainInput, DomainOptions, RouteInput, ZONES_MAX,
};
use serde_json::json;
use support::{Machine, Platform, name};

async fn upload(platform: &Platform, worker: &str) {
    platform.upload(worker, "export default {}", json!({})).await.unwrap();
}

/// Gives a worker further host names, also those of others.
async fn give(platform: &Platform, worker: &str, hosts: &[String]) -> Result<Vec<CustomDomain>, ControlError> {
    let input = |host: &String| DomainInput { hostname: host.clone(), ..DomainInput::default() };
    let inputs = hosts.iter().map(input).collect();
    let options = DomainOptions { override_scope: false, override_existing_origin: true };
    platform.control.set_domains(&platform.caller, &platform.account, &name(worker), inputs, options).await
}

#[tokio::test]
async fn custom_domains_of_an_account_are_bounded() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let of_worker = |number: usize| (0..DOMAINS_MAX).map(move |at| format!("d{at}.w{number}.site.test"));
    for number in 0..ACCOUNT_DOMAINS_MAX as usize / DOMAINS_MAX {
        let worker = format!("w{number}");
        upload(&platform, &worker).await;
        give(&platform, &worker, &of_worker(number).collect::<Vec<_>>()).await.unwrap();
    }
    upload(&platform, "last").await;
    let end = machine.log_end().await;
    let refused = give(&platform, "last", &["more.site.test".into()]).await.unwrap_err();
    assert!(matches!(refused, ControlError::TooMany { count_max: ACCOUNT_DOMAINS_MAX, .. }), "{refused}");
    assert_eq!((refused.code(), refused.status()), (10037, 400));
    assert_eq!(machine.log_end().await, end);
    // One that goes from a worker to another is no further one.
    let given = give(&platform, "last", &["d0.w0.site.test".into()]).await.unwrap();
    assert_eq!(given.len(), 1);
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    let found = control.custom_domain(caller, account, &given[0].id).await.unwrap();
    assert_eq!(found, given[0]);
    control.delete_domain(caller, account, &found.id).await.unwrap();
    let missing = control.custom_domain(caller, account, &found.id).await.unwrap_err();
    assert!(matches!(missing, ControlError::DomainNotFound { .. }), "{missing}");
    give(&platform, "last", &["more.site.test".into()]).await.unwrap();
}

#[tokio::test]
async fn zones_that_custom_domains_bring_are_bounded() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    for number in 0..ZONES_MAX as usize / DOMAINS_MAX {
        let worker = format!("w{number}");
        upload(&platform, &worker).await;
        let hosts: Vec<_> = (0..DOMAINS_MAX).map(|at| format!("www.z{number}-{at}.test")).collect();
        give(&platform, &worker, &hosts).await.unwrap();
    }
    upload(&platform, "last").await;
    let refused = give(&platform, "last", &["www.new.test".into()]).await.unwrap_err();
    assert!(matches!(refused, ControlError::TooMany { what: "zones", count_max: ZONES_MAX }), "{refused}");
    let route = RouteInput { pattern: "new.test/*".into(), ..RouteInput::default() };
    let refused = control.set_routes(caller, account, &name("last"), vec![route]).await.unwrap_err();
    assert!(matches!(refused, ControlError::TooMany { what: "zones", .. }), "{refused}");
    // Another in a zone that is the account's already.
    give(&platform, "last", &["shop.z0-0.test".into()]).await.unwrap();
    assert_eq!(control.zones(caller, account).await.unwrap().len() as u64, ZONES_MAX);
}

#[tokio::test]
async fn a_custom_domain_that_would_do_otherwise_than_asked_is_refused() {
    let machine = Machine::new();
    let platform = machine.open("view").await;
    upload(&platform, "site").await;
    let end = machine.log_end().await;
    let (control, caller, account) = (&platform.control, &platform.caller, &platform.account);
    let site = name("site");
    let host = || DomainInput { hostname: "www.site.test".into(), ..DomainInput::default() };
    for (input, what) in [
        (DomainInput { enabled: Some(false), ..host() }, "enabled: false"),
        (DomainInput { previews_enabled: Some(true), ..host() }, "previews_enabled: true"),
    ] {
        let given = control.set_domains(caller, account, &site, vec![input], DomainOptions::default());
        let refused = given.await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), (10015, 400));
        assert!(refused.to_string().contains(what), "{refused}");
    }
    assert_eq!(machine.log_end().await, end);
    let same = DomainInput { enabled: Some(true), previews_enabled: Some(false), ..host() };
    let given = control.set_domains(caller, account, &site, vec![same], DomainOptions::default());
    assert_eq!(given.await.unwrap().len(), 1);
}
