//! Workers that export nothing: scripts that call `addEventListener`, and cannot import.

use std::path::{Path, PathBuf};

use oxc::allocator::Allocator;
use oxc::ast::ast::Statement;
use oxc::parser::Parser;
use oxc::span::SourceType;

use crate::error::{BundleError, Diagnostic};
use crate::options::BundleOptions;

/// Refuses what a script cannot have: an import that is left in its `code`, and modules beside it.
pub(crate) fn check(options: &BundleOptions, entry: &Path, code: &str, watched: &[PathBuf]) -> Result<(), BundleError> {
    if options.find_additional_modules == Some(true) {
        return Err(BundleError::NotModules { entry: entry.to_path_buf() });
    }
    if !code.contains("import") {
        return Ok(());
    }
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, code, SourceType::mjs()).parse();
    let imports = parsed.program.body.iter().filter_map(|statement| match statement {
        Statement::ImportDeclaration(import) => Some(format!("\"{}\"", import.source.value.as_str())),
        _ => None,
    });
    let imports: Vec<String> = imports.collect();
    if imports.is_empty() {
        return Ok(());
    }
    let root = options.real_root();
    let relative = entry.strip_prefix(&root).unwrap_or(entry);
    let advice = "instead of calling addEventListener, write export default { fetch(request, env, ctx) { … } }";
    let diagnostic = Diagnostic {
        message: format!("a worker that exports nothing is a script, which cannot import {}", imports.join(", ")),
        file: Some(relative.to_string_lossy().into_owned()),
        hint: Some(advice.to_owned()),
        ..Diagnostic::default()
    };
    Err(BundleError::Build { diagnostics: vec![diagnostic], watched: watched.to_vec() })
}
