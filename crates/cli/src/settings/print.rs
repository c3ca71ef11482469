//! `selvedge config`: what holds, and why.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::table::{SETTINGS, Setting, Shape};
use super::value::{Found, Source};
use super::{ConfigArguments, Resolved};
use crate::terminal;

/// Prints the settings.
pub fn main(arguments: &ConfigArguments) -> ExitCode {
    let resolved = match Resolved::read(&arguments.up) {
        Ok(resolved) => resolved,
        Err(error) => {
            terminal::error(&terminal::chain(&error));
            return ExitCode::from(terminal::USAGE);
        }
    };
    let mut output = std::io::stdout().lock();
    match print(&resolved, arguments.json, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        // Its reader has what it wants.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&format!("cannot write to the standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes every setting with its value and the source of that.
pub fn print(resolved: &Resolved, json: bool, output: &mut dyn Write) -> std::io::Result<()> {
    if json {
        let settings: serde_json::Map<_, _> =
            resolved.found.iter().map(|(setting, found)| (setting.name.to_owned(), describe(setting, found))).collect();
        let file = resolved.file.as_ref().map(|path| path.display().to_string());
        return writeln!(output, "{:#}", json!({ "file": file, "settings": settings }));
    }
    let rows: Vec<(&str, String, String)> = resolved
        .found
        .iter()
        .map(|(setting, found)| (setting.name, text(setting, found), found.source.to_string()))
        .collect();
    let names = SETTINGS.iter().map(|setting| setting.name.len()).max().unwrap_or_default();
    let values = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or_default();
    for (name, value, source) in rows {
        writeln!(output, "{name:names$}  {value:values$}  {source}")?;
    }
    Ok(())
}

fn text(setting: &Setting, found: &Found) -> String {
    match &found.source {
        Source::Default => setting.default.to_owned(),
        Source::Flag(_) | Source::Variable(_) | Source::File { .. } if found.values.is_empty() => "none".to_owned(),
        Source::Flag(_) | Source::Variable(_) | Source::File { .. } => found.values.join(" "),
    }
}

fn describe(setting: &Setting, found: &Found) -> Value {
    let value = match (&found.source, setting.shape) {
        (Source::Default, _) => json!(setting.default),
        (_, Shape::Many) => json!(found.values),
        (_, Shape::One | Shape::Switch) => json!(found.values.last()),
    };
    let mut described = json!({ "value": value, "source": kind(&found.source) });
    if let Some(described) = described.as_object_mut() {
        match &found.source {
            Source::Flag(flag) => drop(described.insert("flag".into(), json!(flag))),
            Source::Variable(name) => drop(described.insert("variable".into(), json!(name))),
            Source::File { path, line } => {
                described.insert("file".into(), json!(path.display().to_string()));
                described.insert("line".into(), json!(line));
            }
            Source::Default => {}
        }
    }
    described
}

fn kind(source: &Source) -> &'static str {
    match source {
        Source::Flag(_) => "flag",
        Source::Variable(_) => "environment",
        Source::File { .. } => "file",
        Source::Default => "default",
    }
}
