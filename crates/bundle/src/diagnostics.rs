//! The bundler's diagnostics to ours: a place in the file, a frame of its code, and what to do.

use std::path::{Path, PathBuf};

use rolldown_error::{BuildDiagnostic, DiagnosticOptions, EventKind, consolidate_diagnostics};

use crate::error::Diagnostic;
use crate::source_map::Position;

/// How many diagnostics one failed build reports.
const REPORTED_MAX: usize = 50;

/// Longer lines (minified code) are shown in part.
const FRAME_COLUMNS_MAX: usize = 120;

/// Lines shown above and below the place.
const FRAME_LINES_ABOVE: usize = 2;
const FRAME_LINES_BELOW: usize = 1;

pub(crate) struct Reader {
    root: PathBuf,
}

impl Reader {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn errors(&self, errors: Vec<BuildDiagnostic>) -> Vec<Diagnostic> {
        let mut diagnostics: Vec<Diagnostic> =
            consolidate_diagnostics(errors).iter().map(|error| self.diagnostic(error)).collect();
        diagnostics
            .sort_by(|a, b| (&a.file, a.line, a.column, &a.message).cmp(&(&b.file, b.line, b.column, &b.message)));
        diagnostics.dedup();
        diagnostics.truncate(REPORTED_MAX);
        diagnostics
    }

    /// Warnings as text, and those that are errors here: the bundler leaves a package it cannot find to the runtime,
    /// which has no packages. A dynamic import of one stays a warning, as it fails only if it is reached.
    pub(crate) fn warnings(&self, warnings: Vec<BuildDiagnostic>) -> (Vec<String>, Vec<Diagnostic>) {
        let (mut texts, mut fatal) = (Vec::new(), Vec::new());
        for warning in &warnings {
            let diagnostic = self.diagnostic(warning);
            if matches!(warning.kind(), EventKind::UnresolvedImport) && !self.is_dynamic_import(&diagnostic) {
                fatal.push(diagnostic);
            } else if texts.len() < REPORTED_MAX {
                texts.push(diagnostic.to_string());
            }
        }
        fatal.truncate(REPORTED_MAX);
        (texts, fatal)
    }

    /// Decorators of the language's next edition, at the places they were written.
    pub(crate) fn at_places(&self, places: &[Position]) -> Vec<Diagnostic> {
        let message = "this decorator needs \"experimentalDecorators\"";
        let hint = "set \"experimentalDecorators\": true in tsconfig.json's compilerOptions; \
                    decorators of the ECMAScript proposal are not compiled yet";
        let with_frame = |place: &Position| Diagnostic {
            message: message.to_owned(),
            file: Some(place.source.clone()),
            line: Some(place.line),
            column: Some(place.column),
            frame: self.frame(&place.source, place.line, place.column),
            hint: Some(hint.to_owned()),
        };
        places.iter().map(with_frame).collect()
    }

    /// A diagnostic about the byte at `offset` of a file whose text is at hand.
    pub(crate) fn in_text(&self, message: &str, path: &Path, text: &str, offset: usize) -> Diagnostic {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or(before);
        let column = last.encode_utf16().count() + 1;
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        Diagnostic {
            message: message.to_owned(),
            file: Some(relative.to_string_lossy().into_owned()),
            line: u32::try_from(line).ok(),
            column: u32::try_from(column).ok(),
            frame: Some(frame(text, line, column)),
            hint: None,
        }
    }

    fn diagnostic(&self, from: &BuildDiagnostic) -> Diagnostic {
        let options = DiagnosticOptions { cwd: self.root.clone() };
        let full = from.to_diagnostic_with(&options);
        let rendered = full.to_string();
        let mut result =
            Diagnostic { message: from.to_message_with(&options), hint: advice(&rendered), ..Diagnostic::default() };
        if let Some((file, line, column, _)) = full.get_primary_location() {
            result.line = u32::try_from(line).ok();
            result.column = u32::try_from(column + 1).ok();
            result.frame = match (result.line, result.column) {
                (Some(line), Some(column)) => self.frame(&file, line, column),
                _ => None,
            };
            result.file = Some(file);
        } else if let Some(id) = from.id() {
            result.file = Some(options.stabilize_path(id));
        }
        if matches!(from.kind(), EventKind::UnresolvedImport | EventKind::ResolveError)
            && let Some(specifier) = from.exporter()
        {
            result.message = format!("could not resolve \"{specifier}\"");
            result.hint = self.install_hint(&specifier).or(result.hint);
        }
        result
    }

    fn frame(&self, file: &str, line: u32, column: u32) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(file)).ok()?;
        Some(frame(&text, usize::try_from(line).ok()?, usize::try_from(column).ok()?))
    }

    fn is_dynamic_import(&self, diagnostic: &Diagnostic) -> bool {
        let (Some(file), Some(line), Some(column)) = (&diagnostic.file, diagnostic.line, diagnostic.column) else {
            return false;
        };
        let Ok(text) = std::fs::read_to_string(self.root.join(file)) else {
            return false;
        };
        let lines: Vec<&str> = text.split('\n').take(line as usize).collect();
        let Some((last, above)) = lines.split_last() else {
            return false;
        };
        let mut before = above.join("\n");
        before.extend(char::decode_utf16(last.encode_utf16().take(column as usize - 1)).flatten());
        before.trim_end().strip_suffix('(').is_some_and(|call| call.trim_end().ends_with("import"))
    }

    /// What to do about a package that is not there.
    fn install_hint(&self, specifier: &str) -> Option<String> {
        let package = package_name(specifier)?;
        let installed = self.root.ancestors().any(|folder| folder.join("node_modules").join(&package).exists());
        Some(if installed {
            format!("the package \"{package}\" is installed, but its package.json offers nothing for this import")
        } else {
            format!("the package \"{package}\" is not installed: npm install {package}")
        })
    }
}

/// The bundler's own advice, from the text it would print.
fn advice(rendered: &str) -> Option<String> {
    let (_, rest) = rendered.split_once("Help: ").or_else(|| rendered.split_once("Note: "))?;
    let first = rest.lines().next()?.trim();
    (!first.is_empty()).then(|| first.to_owned())
}

/// The package a bare specifier is about; `None` for a path.
fn package_name(specifier: &str) -> Option<String> {
    if specifier.starts_with(['.', '/', '#']) || specifier.contains(':') {
        return None;
    }
    let parts = if specifier.starts_with('@') { 2 } else { 1 };
    Some(specifier.split('/').take(parts).collect::<Vec<_>>().join("/"))
}

/// The lines around the place, numbered, with a caret below the column. Both count from 1.
fn frame(text: &str, line: usize, column: usize) -> String {
    let first = line.saturating_sub(FRAME_LINES_ABOVE).max(1);
    let last = line + FRAME_LINES_BELOW;
    let width = last.to_string().len();
    // A place far to the right moves the window, so that the caret is in it.
    let skipped = if column > FRAME_COLUMNS_MAX { column - FRAME_COLUMNS_MAX / 2 } else { 0 };
    let mut shown = Vec::new();
    let lines = text.lines().enumerate().skip(first - 1);
    for (index, content) in lines.take(last + 1 - first) {
        let number = index + 1;
        let part: String = content
            .chars()
            .skip(skipped)
            .take(FRAME_COLUMNS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let marker = if number == line { '>' } else { ' ' };
        shown.push(format!("{marker} {number:>width$} | {part}").trim_end().to_owned());
        if number == line {
            let offset = column.saturating_sub(1).saturating_sub(skipped);
            shown.push(format!("  {:>width$} | {}^", "", " ".repeat(offset)));
        }
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_points_at_the_column() {
        let text = "one\ntwo\n\tthree here\nfour\nfive";
        let expected = "  1 | one\n  2 | two\n> 3 |  three here\n    |        ^\n  4 | four";
        assert_eq!(frame(text, 3, 8), expected);
    }

    #[test]
    fn the_frame_of_a_long_line_is_bounded() {
        let text = "x".repeat(100_000);
        assert!(frame(&text, 1, 50_000).len() < 400);
    }

    #[test]
    fn a_package_has_its_scope() {
        assert_eq!(package_name("hono/jsx").as_deref(), Some("hono"));
        assert_eq!(package_name("@a/b/c").as_deref(), Some("@a/b"));
        assert_eq!(package_name("./a"), None);
        assert_eq!(package_name("http://x/y"), None);
    }
}
