//! The `KEY=VALUE` files, read as Node's `dotenv` reads them, because wrangler does.
//!
//! The Rust crates for such files differ where it hurts: they refuse spaces in an unquoted value, know no backtick
//! quotes, and put the process's own variables in place of a `$` in a password. Hence this small reader of its own.
//!
//! The grammar: `[export] KEY = VALUE [# comment]`, or `KEY: VALUE`; a value in `'`, `"` or backtick quotes may span
//! lines; `\n` and `\r` are expanded inside `"` only; an unquoted value ends at the first `#`.

use crate::{
    error::{Location, Problem, ProblemKind, Problems, ProjectError},
    file::SourceFile,
    warning::{Warning, WarningKind, Warnings},
};

/// The most keys read from all the files of one project.
pub const ENV_ENTRIES_MAX: usize = 4096;

/// One assignment, with where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) at: Location,
}

const QUOTES: [char; 3] = ['\'', '"', '`'];

pub(crate) fn parse(file: &SourceFile, warnings: &mut Warnings) -> Result<Vec<Assignment>, ProjectError> {
    let text = file.text().replace("\r\n", "\n").replace('\r', "\n");
    let mut at = Location { file: file.path().to_owned(), line: 1, column: 1 };
    let mut assignments = Vec::new();
    let mut seen = text.as_str();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let passed = seen.get(..seen.len() - rest.len()).unwrap_or_default();
        at.line += passed.matches('\n').count();
        seen = rest;
        rest = if rest.starts_with('#') {
            after_line(rest)
        } else if let Some((key, after)) = split_key(rest) {
            let (value, after) = split_value(after);
            if opens_quote(&value) {
                warn(warnings, &at, Some(key), WarningKind::OpenQuote);
            }
            assignments.push(Assignment { key: key.to_owned(), value: unquote(&value), at: at.clone() });
            after
        } else {
            warn(warnings, &at, None, WarningKind::NotAssignment);
            after_line(rest)
        }
        .trim_start();
        if assignments.len() > ENV_ENTRIES_MAX {
            return Err(too_many(at, assignments.len()));
        }
    }
    Ok(assignments)
}

/// The key, and what follows `=` or `: `.
fn split_key(text: &str) -> Option<(&str, &str)> {
    let exported = text
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map(|rest| rest.trim_start_matches([' ', '\t']))
        .filter(|rest| rest.starts_with(is_key));
    let text = exported.unwrap_or(text);
    let end = text.find(|c| !is_key(c)).unwrap_or(text.len());
    let (key, rest) = text.split_at_checked(end)?;
    if key.is_empty() {
        return None;
    }
    let assigned = rest.trim_start_matches([' ', '\t']).strip_prefix('=');
    let value = match assigned {
        Some(value) => value,
        None => rest.strip_prefix(':').filter(|value| value.starts_with([' ', '\t', '\n']))?,
    };
    Some((key, value.trim_start_matches([' ', '\t'])))
}

/// The value as written, quotes and all, and the text after it.
fn split_value(text: &str) -> (String, &str) {
    if let Some(quote) = text.chars().next().filter(|c| QUOTES.contains(c))
        && let Some((value, after)) = split_quoted(text, quote)
    {
        return (value.to_owned(), after);
    }
    let end = text.find(['#', '\n']).unwrap_or(text.len());
    let value = text.get(..end).unwrap_or_default();
    (value.trim().to_owned(), after_line(text))
}

/// A quoted value counts only when nothing but a comment follows it on its line. A quote after a backslash closes the
/// value only where no later one does.
fn split_quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut closing = Vec::new();
    let mut previous = quote;
    for (index, character) in text.char_indices().skip(1) {
        if character == quote {
            closing.push(index + quote.len_utf8());
            if previous != '\\' {
                break;
            }
        }
        previous = character;
    }
    closing.into_iter().rev().find_map(|end| {
        let (value, after) = text.split_at_checked(end)?;
        let trailing = after.trim_start_matches([' ', '\t']);
        let ends = trailing.is_empty() || trailing.starts_with(['#', '\n']);
        ends.then(|| (value, after_line(after)))
    })
}

fn unquote(value: &str) -> String {
    let inner = QUOTES.iter().find_map(|quote| {
        let inner = value.strip_prefix(*quote)?.strip_suffix(*quote)?;
        Some((*quote, inner))
    });
    match inner {
        Some(('"', inner)) => inner.replace("\\n", "\n").replace("\\r", "\r"),
        Some((_, inner)) => inner.to_owned(),
        None => value.to_owned(),
    }
}

fn opens_quote(value: &str) -> bool {
    QUOTES.iter().any(|quote| value.starts_with(*quote) && (value.chars().count() == 1 || !value.ends_with(*quote)))
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

fn is_key(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-')
}

fn warn(warnings: &mut Warnings, at: &Location, key: Option<&str>, kind: WarningKind) {
    warnings.push(|| Warning { at: at.clone(), key: key.map(str::to_owned), kind });
}

fn too_many(at: Location, count: usize) -> ProjectError {
    let key = "secrets".to_owned();
    let count_max = ENV_ENTRIES_MAX;
    let kind = ProblemKind::TooMany { count, count_max };
    Problems::one(Problem { at, key, kind })
}
