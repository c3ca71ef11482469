//! TypeScript that passes a type on without saying that it is one.
//!
//! `export { Options } from "./types"` is common, and nothing in that file tells whether `Options` is a type. The
//! bundler takes it for a value and then finds nothing of that name. esbuild, which decides after it has seen every
//! file, drops such exports; here the build is repeated with them marked as types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oxc::ast::ast::{ImportDeclarationSpecifier, ImportOrExportKind, Program, Statement};
use oxc::span::{GetSpan, Span};
use rolldown_error::{BuildDiagnostic, DiagnosticOptions, EventKind};

/// The names not found, by file: the offset of each in UTF-16 code units.
pub(crate) type Missing = BTreeMap<PathBuf, BTreeSet<usize>>;

/// Adds what a failed build did not find to `missing`. Whether the next build can differ.
pub(crate) fn note(errors: &[BuildDiagnostic], missing: &mut Missing, root: &Path) -> bool {
    let options = DiagnosticOptions { cwd: root.to_path_buf() };
    let mut grown = false;
    for error in errors {
        if !matches!(error.kind(), EventKind::MissingExportError) {
            continue;
        }
        let place = error.to_diagnostic_with(&options).get_primary_location();
        let (Some(file), Some((.., offset))) = (error.id(), place) else {
            continue;
        };
        let file = PathBuf::from(file);
        let is_typescript =
            file.extension().is_some_and(|extension| ["ts", "tsx", "mts", "cts"].iter().any(|ts| extension == *ts));
        if is_typescript {
            grown |= missing.entry(file).or_default().insert(offset);
        }
    }
    grown
}

/// Marks as types what `program` exports by the names at `offsets`, and what it exports of imports there.
pub(crate) fn mark(program: &mut Program<'_>, source: &str, offsets: &BTreeSet<usize>) {
    let starts = byte_offsets(source, offsets);
    let holds = |span: Span| starts.iter().any(|start| (span.start..span.end).contains(start));

    let imported = program.body.iter().filter_map(|statement| match statement {
        Statement::ImportDeclaration(import) => import.specifiers.as_ref(),
        _ => None,
    });
    let locals: BTreeSet<String> = imported
        .flatten()
        .filter_map(|specifier| match specifier {
            ImportDeclarationSpecifier::ImportSpecifier(one) if holds(one.span) => Some(one.local.name.to_string()),
            _ => None,
        })
        .collect();

    for statement in &mut program.body {
        let Statement::ExportNamedDeclaration(export) = statement else {
            continue;
        };
        let from_elsewhere = export.source.is_some();
        for specifier in &mut export.specifiers {
            let passed_on = if from_elsewhere {
                holds(specifier.local.span())
            } else {
                locals.contains(specifier.local.name().as_str())
            };
            if passed_on {
                specifier.export_kind = ImportOrExportKind::Type;
            }
        }
    }
}

fn byte_offsets(source: &str, offsets: &BTreeSet<usize>) -> Vec<u32> {
    let mut units = 0;
    let mut found = Vec::with_capacity(offsets.len());
    for (byte, character) in source.char_indices() {
        if offsets.contains(&units) {
            found.extend(u32::try_from(byte));
        }
        units += character.len_utf16();
    }
    found
}
