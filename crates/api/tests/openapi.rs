//! The OpenAPI document that is checked in is the one that the handlers make.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

#[test]
fn the_document_that_is_checked_in_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = selvedge_api::document();
    if std::env::var_os("SELVEDGE_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == document,
        "crates/api/openapi.json is not what the handlers say; run `SELVEDGE_WRITE_OPENAPI=1 cargo test -p selvedge-api \
         --test openapi` and look at the difference"
    );
}

#[test]
fn every_part_of_a_path_is_described_and_every_operation_has_a_name_of_its_own() {
    let document: serde_json::Value = serde_json::from_str(&selvedge_api::document()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}");
            let declared: Vec<&str> = operation["parameters"]
                .as_array()
                .map(|list| {
                    list.iter().filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap()).collect()
                })
                .unwrap_or_default();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(declared.contains(&part), "{at}: {part}");
            }
            assert!(operation["responses"]["4XX"].is_object(), "{at}");
            assert!(operation["security"].is_array(), "{at}");
        }
    }
    assert!(names.len() > 90, "{}", names.len());
}
