//! `_headers`, `_redirects`, a rule of `run_worker_first` and the path of a request, with NUL between.

#![no_main]

use std::path::PathBuf;

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use selvedge_assets::{AssetRequest, AssetSet, AssetsConfig, RunWorkerFirst, StoredFile};

fuzz_target!(|input: &str| {
    let mut parts = input.splitn(4, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let (headers, redirects, first, path) = (part(), part(), part(), part());
    let config = AssetsConfig {
        has_worker: true,
        run_worker_first: RunWorkerFirst::Rules(vec![first.to_owned()]),
        ..AssetsConfig::default()
    };
    let file = |path: &str| StoredFile {
        path: path.to_owned(),
        file: PathBuf::from("/nonexistent"),
        bytes: 1,
        hash: "00".repeat(32),
        content_type: Some("text/html".to_owned()),
    };
    let files = ["/index.html", "/about/index.html", "/404.html", path].map(file);
    let Ok(set) = AssetSet::of_files(files, headers, redirects, config) else {
        return;
    };
    let (method, none) = (Method::GET, HeaderMap::new());
    for path in ["/", "/about", path] {
        let request = AssetRequest::new(&method, "http", "example.com", path, &none);
        let _ = set.decide(&request);
        let _ = set.answer(&request);
    }
});
