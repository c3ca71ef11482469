//! A worker taken as it is: the entry, and the files beside it that the rules match.

use std::path::Path;

use bytes::Bytes;
use oxc::allocator::Allocator;
use oxc::parser::Parser;
use oxc::span::SourceType;
use oxc::syntax::module_record::ExportExportName;

use crate::additional;
use crate::diagnostics::Reader;
use crate::engine::check_size;
use crate::error::BundleError;
use crate::options::BundleOptions;
use crate::output::{Bundle, Format, Module, ModuleKind};
use crate::script;

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
    let main = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let body = additional::read(&entry, options.size_max_bytes)?;
    let (format, exports) = exports(options, &entry, &body)?;

    let mut watched = vec![entry.clone()];
    if format == Format::ServiceWorker {
        script::check(options, &entry, &String::from_utf8_lossy(&body), &watched)?;
    }
    let mut modules = vec![Module { name: main.clone(), kind: ModuleKind::EsModule, body, source_map: None }];
    if format == Format::Modules && options.finds_modules() {
        let found = additional::find(options, &entry, &main)?;
        watched.extend(found.files.into_keys());
        modules.extend(found.modules);
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
