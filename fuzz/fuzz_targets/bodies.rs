//! Bodies of JSON that the API takes. The first byte says which: `A` is the first of `selvedge_api::fuzzing`'s list.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use selvedge_api::fuzzing::{Asking, read_body};
use selvedge_control::{
    ASSETS_BUCKET_FILES, BINDING_NAME_BYTES_MAX, BINDINGS_MAX, BindingInput, CRONS_MAX, DOMAINS_MAX, NAME_BYTES_MAX,
    RESOURCE_BYTES_MAX, ROUTES_MAX, VARIABLE_BYTES_MAX,
};
use selvedge_model::{AssetsRecord, BASIS_POINTS, BindingRecord, RoutePattern, check_json, is_host_name};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// The longest refusal, in bytes: it may quote what it refuses in part.
const REFUSAL_BYTES_MAX: usize = 4096;
/// More levels than any record has around what it keeps.
const RECORD_LEVELS: usize = 32;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else {
        return;
    };
    match read_body(usize::from(kind.wrapping_sub(b'A')), body) {
        Ok(asking) => check(asking),
        Err(refusal) => {
            assert!((400..500).contains(&refusal.status), "{refusal:?}");
            assert!((1..=REFUSAL_BYTES_MAX).contains(&refusal.message.len()), "{refusal:?}");
        }
    }
});

fn check(asking: Asking) {
    match asking {
        Asking::Account(new, subdomain) => {
            assert!(!new.name.trim().is_empty() && new.name.len() <= NAME_BYTES_MAX);
            assert!(is_host_name(&subdomain) && !subdomain.contains('.'), "{subdomain}");
        }
        Asking::Bindings(inputs) => check_bindings(&inputs),
        Asking::Buckets(buckets) => {
            assert!(buckets.iter().all(|bucket| (1..=ASSETS_BUCKET_FILES).contains(&bucket.len())));
            let hashes: BTreeSet<&String> = buckets.iter().flatten().collect();
            assert_eq!(hashes.len(), buckets.iter().map(Vec::len).sum::<usize>(), "a file is asked for twice");
        }
        Asking::Crons(crons) => {
            assert!(crons.len() <= CRONS_MAX);
            assert!(crons.iter().all(|cron| selvedge_cron::parse(cron).is_ok()));
            assert_eq!(crons.iter().collect::<BTreeSet<_>>().len(), crons.len());
        }
        Asking::Domains(domains) => {
            assert!(domains.len() <= DOMAINS_MAX);
            for domain in domains {
                let host = domain.hostname;
                let zone = domain.zone_name.expect("a domain is in a zone");
                assert!(is_host_name(&host) && !host.bytes().any(|byte| byte.is_ascii_uppercase()), "{host}");
                assert!(host == zone || host.ends_with(&format!(".{zone}")), "{host} in {zone}");
            }
        }
        Asking::Metadata(assets) => {
            if let Some(assets) = assets {
                assert_eq!(reads_back::<AssetsRecord>(&assets), assets);
            }
        }
        Asking::Resource(new) => {
            assert!(!new.name.is_empty() && new.name.len() <= NAME_BYTES_MAX);
            assert!(serde_json::to_vec(&new.data).expect("JSON").len() <= RESOURCE_BYTES_MAX);
            assert_eq!(reads_back::<serde_json::Map<String, serde_json::Value>>(&new.data), new.data);
        }
        Asking::Routes(routes) => {
            assert!(routes.len() <= ROUTES_MAX);
            for route in routes {
                let pattern: RoutePattern = route.pattern.parse().expect("a pattern that was taken");
                assert_eq!(pattern.to_string(), route.pattern);
                let (host, zone) = (pattern.host(), &route.zone_name);
                assert!(host == zone || host.ends_with(&format!(".{zone}")), "{host} in {zone}");
                assert!(!pattern.matches_host("worker.apps.example"), "{}", route.pattern);
            }
        }
        Asking::Shares(shares) => {
            assert!((1..=2).contains(&shares.len()));
            assert_eq!(shares.iter().map(|share| share.basis_points).sum::<u32>(), BASIS_POINTS);
        }
        Asking::Token(new) => assert!(!new.name.trim().is_empty()),
        Asking::Zone(zone) => assert!(is_host_name(&zone), "{zone}"),
        Asking::Filters(_) | Asking::Other => {}
    }
}

fn check_bindings(inputs: &[BindingInput]) {
    assert!(inputs.len() <= BINDINGS_MAX);
    let names: BTreeSet<&str> = inputs.iter().map(BindingInput::name).collect();
    assert_eq!(names.len(), inputs.len(), "two bindings have one name");
    for input in inputs {
        assert!((1..=BINDING_NAME_BYTES_MAX).contains(&input.name().len()));
        match input {
            BindingInput::Secret { text, .. } => assert!(text.expose().len() <= VARIABLE_BYTES_MAX),
            BindingInput::Given(record) => assert_eq!(reads_back::<BindingRecord>(record), *record),
            _ => {}
        }
    }
}

/// What comes of it in the log and in an edge's copy, where it stands within a record.
fn reads_back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("what came out of JSON goes into JSON");
    assert_eq!(check_json(text.as_bytes()), Ok(()), "{text}");
    let record = format!("{}{text}{}", "[".repeat(RECORD_LEVELS), "]".repeat(RECORD_LEVELS));
    assert!(serde_json::from_str::<IgnoredAny>(&record).is_ok(), "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
