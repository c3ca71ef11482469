//! A worker taken as it is: the entry, and the files beside it that the rules match.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oxc::allocator::Allocator;
use oxc::parser::Parser;
use oxc::span::SourceType;
use oxc::syntax::module_record::ExportExportName;

use crate::diagnostics::Reader;
use crate::engine::check_size;
use crate::error::BundleError;
use crate::options::BundleOptions;
use crate::output::{Bundle, Format, Module, ModuleKind};
use crate::rules::Rules;

/// How many files a version may have.
const FILES_MAX: usize = 10_000;

/// How many folders below the entry's are looked into.
const DEPTH_MAX: usize = 64;

/// Folders that hold no modules of a worker.
const SKIPPED: [&str; 3] = ["node_modules", ".git", ".wrangler"];

pub(crate) async fn collect(options: &BundleOptions) -> Result<Bundle, BundleError> {
    let options = options.clone();
    // Walking and parsing block; this is the bundler's own runtime, which has threads for that.
    let task = tokio::task::spawn_blocking(move || collect_blocking(&options));
    task.await.unwrap_or_else(|failure| Err(BundleError::Internal { reason: crate::engine::panic_text(failure) }))
}

fn collect_blocking(options: &BundleOptions) -> Result<Bundle, BundleError> {
    let entry = options.entry_path();
    if !entry.exists() {
        return Err(BundleError::EntryMissing { path: entry });
    }
    let folder = entry.parent().unwrap_or(&entry).to_path_buf();
    let main = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let body = read(&entry, options.size_max_bytes)?;
    let (format, exports) = exports(options, &entry, &body)?;

    let mut modules = vec![Module { name: main.clone(), kind: ModuleKind::EsModule, body, source_map: None }];
    let mut watched = vec![entry.clone()];
    if format == Format::Modules {
        let rules = Rules::new(&options.rules);
        let mut left_bytes = options.size_max_bytes;
        for (name, path) in files(&folder)? {
            let Some(kind) = rules.kind_of_path(&name) else {
                continue;
            };
            if path == entry {
                continue;
            }
            let body = read(&path, left_bytes)?;
            left_bytes = left_bytes.saturating_sub(body.len() as u64);
            watched.push(path);
            modules.push(Module { name, kind, body, source_map: None });
        }
    }
    check_size(&modules, options.size_max_bytes)?;
    watched.sort();
    Ok(Bundle { modules, main, format, exports, watched, warnings: Vec::new() })
}

/// What the entry exports, by its syntax.
fn exports(options: &BundleOptions, entry: &Path, body: &Bytes) -> Result<(Format, Vec<String>), BundleError> {
    let text = String::from_utf8_lossy(body);
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &text, SourceType::mjs()).parse();
    if let (true, Some(error)) = (parsed.panicked, parsed.errors.first()) {
        let reader = Reader::new(options.real_root());
        let offset = error.labels.as_ref().and_then(|labels| labels.first()).map_or(0, |label| label.offset());
        return Err(BundleError::Build {
            diagnostics: vec![reader.in_text(&error.message, entry, &text, offset)],
            watched: vec![entry.to_path_buf()],
        });
    }
    let record = &parsed.module_record;
    let mut names: Vec<String> = record.exported_bindings.keys().map(|name| name.to_string()).collect();
    let default = ExportExportName::is_default;
    if record.local_export_entries.iter().any(|entry| default(&entry.export_name)) {
        names.push("default".to_owned());
    }
    names.sort();
    names.dedup();
    let has_exports = !names.is_empty() || !record.star_export_entries.is_empty();
    let format = if has_exports { Format::Modules } else { Format::ServiceWorker };
    Ok((format, names))
}

/// Every file below `folder`, by its path from there.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, BundleError> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((path, prefix, depth)) = waiting.pop() {
        let fail = |source| BundleError::Read { path: path.clone(), source };
        for item in std::fs::read_dir(&path).map_err(fail)? {
            let item = item.map_err(fail)?;
            let kind = item.file_type().map_err(fail)?;
            let file_name = item.file_name().to_string_lossy().into_owned();
            let name = format!("{prefix}{file_name}");
            if kind.is_dir() {
                if depth < DEPTH_MAX && !SKIPPED.contains(&file_name.as_str()) {
                    waiting.push((item.path(), format!("{name}/"), depth + 1));
                }
            } else {
                found.insert(name, item.path());
            }
            if found.len() > FILES_MAX {
                return Err(BundleError::TooManyFiles { path: folder.to_path_buf(), max: FILES_MAX });
            }
        }
    }
    Ok(found)
}

fn read(path: &Path, max_bytes: u64) -> Result<Bytes, BundleError> {
    let fail = |source| BundleError::Read { path: path.to_path_buf(), source };
    let actual_bytes = std::fs::metadata(path).map_err(fail)?.len();
    if actual_bytes > max_bytes {
        return Err(BundleError::TooLarge { actual_bytes, max_bytes });
    }
    std::fs::read(path).map(Bytes::from).map_err(fail)
}
