//! What the head of a client's request says, and where it leads. The first lines are patterns of routes, up to an empty one;
//! then a line is the target of a request, and the others are its headers.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, uri};
use libfuzzer_sys::fuzz_target;
use selvedge_model::{AccountId, RoutePattern, WorkerKey, WorkerRecord};
use url::Url;

// The files themselves, because their crate brings V8 with it.
#[allow(dead_code, reason = "the rest of the edge uses it")]
#[path = "../../crates/edge/src/client_head.rs"]
mod client_head;
#[allow(dead_code, reason = "the rest of the edge uses it")]
#[path = "../../crates/edge/src/hop_by_hop.rs"]
mod hop_by_hop;
#[allow(dead_code, reason = "the rest of the edge uses it")]
#[path = "../../crates/edge/src/table.rs"]
mod table;

/// A worker as the table of the edge sees it.
mod site {
    use selvedge_model::{WorkerKey, WorkerRecord};

    pub struct Site {
        pub key: WorkerKey,
        pub record: Option<WorkerRecord>,
    }
}

use client_head::{authority_of, forwarded_for, host_of, version_key, version_named};
use site::Site;
use table::{Found, Table};

/// The patterns that are looked at.
const PATTERNS_MAX: usize = 8;
/// The longest name of a host, in bytes, and the dot that may end it.
const HOST_BYTES_MAX: usize = 254;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let patterns: Vec<RoutePattern> = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .take(PATTERNS_MAX)
        .filter_map(|line| line.parse().ok())
        .collect();
    let Some(uri) = uri_of(lines.next().unwrap_or_default()) else {
        return;
    };
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = uri;
    parts.headers = lines.filter_map(header).collect();

    check_headers(&parts.headers);
    let Some(authority) = authority_of(&parts) else {
        return;
    };
    check_authority(&authority);
    let host = host_of(&authority).trim_end_matches('.').to_ascii_lowercase();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    for scheme in ["http", "https"] {
        check_way(patterns.clone(), scheme, &host, target);
    }
});

/// A whole URL; or, as HTTP/2 has them, a path and query.
fn uri_of(line: &str) -> Option<Uri> {
    if line.starts_with("http") {
        return line.parse().ok();
    }
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(line.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(": ")?;
    Some((name.parse().ok()?, value.parse().ok()?))
}

fn check_headers(headers: &HeaderMap) {
    let client = "192.0.2.1";
    let forwarded = forwarded_for(headers, client);
    assert_eq!(forwarded.rsplit(", ").next(), Some(client));
    assert!(HeaderValue::from_str(&forwarded).is_ok(), "{forwarded}");
    if let Some(key) = version_key(headers) {
        assert!((1..=256).contains(&key.len()), "{key}");
    }
    if let Some(version) = version_named(headers, "worker") {
        assert!(!version.contains([',', ';']), "{version}");
    }
}

/// What follows an authority is the path, whatever the authority is.
fn check_authority(authority: &str) {
    assert!((1..=HOST_BYTES_MAX).contains(&host_of(authority).len()), "{authority}");
    if let Ok(url) = Url::parse(&format!("http://{authority}/x?y")) {
        assert_eq!((url.path(), url.query(), url.fragment()), ("/x", Some("y"), None), "{authority}");
        assert_eq!((url.username(), url.password()), ("", None), "{authority}");
    }
}

/// The table finds the route that is the most specific of those that match what the worker is shown.
fn check_way(mut patterns: Vec<RoutePattern>, scheme: &str, host: &str, target: &str) {
    patterns.sort_by(RoutePattern::by_specificity);
    patterns.dedup();
    let mut table = Table::new("localhost".to_owned(), None);
    for (at, pattern) in patterns.iter().enumerate() {
        table.set(site_of(at, pattern).into());
    }
    let found = match table.find(None, scheme, host, target) {
        Found::Site(site) => Some(site.key.worker.as_str().to_owned()),
        _ => None,
    };
    let slash = if target.starts_with('/') { "" } else { "/" };
    let url = Url::parse(&format!("http://host{slash}{target}")).expect("a target is the end of a URL");
    // Patterns compare bytes as they are sent, of which these are written otherwise in a URL.
    if target.bytes().any(|byte| !byte.is_ascii() || matches!(byte, b'"' | b'{' | b'}' | b'^' | b'|')) {
        return;
    }
    let wanted = patterns.iter().enumerate().find(|(_, pattern)| {
        let is_whole = pattern.path_open() || !target.contains('?');
        is_whole && pattern.matches_scheme(scheme == "https") && pattern.matches(host, url.path())
    });
    let wanted = wanted.map(|(at, _)| name_of(at)).or_else(|| label_of(host, patterns.len()));
    assert_eq!(found, wanted, "{scheme}://{host}{slash}{target}");
}

fn site_of(at: usize, pattern: &RoutePattern) -> Site {
    let account = AccountId::local();
    let name: selvedge_model::WorkerName = name_of(at).parse().expect("a name");
    let record = WorkerRecord {
        account: account.clone(),
        name: name.clone(),
        subdomain: None,
        workers_dev: true,
        previews: false,
        aliases: Default::default(),
        deployment: None,
        routes: vec![pattern.to_string()],
        domains: Vec::new(),
        crons: Vec::new(),
        tail_consumers: Vec::new(),
        tags: Vec::new(),
    };
    Site { key: WorkerKey::new(account, name), record: Some(record) }
}

fn name_of(at: usize) -> String {
    format!("worker-{at}")
}

/// The worker that a host names below the platform's domain.
fn label_of(host: &str, workers: usize) -> Option<String> {
    let label = host.strip_suffix(".localhost")?;
    (0..workers).map(name_of).find(|name| name == label)
}
