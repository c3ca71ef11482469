//! What people read: lines on standard output and error, coloured where that helps.

use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use selvedge_edge::{LogRecord, Records};
use selvedge_model::Failure;

/// The exit code where what was asked is wrong, rather than what came of it.
pub const USAGE: u8 = 2;

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

fn style(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(color.into()))
}

/// Prints a line that tells of progress.
pub fn note(text: &str) {
    // A reader that is gone has nothing to be told.
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

/// Prints a warning.
pub fn warning(text: &str) {
    let yellow = style(AnsiColor::Yellow);
    complain(&format!("{yellow}warning{yellow:#}: {text}"));
}

/// Prints an error.
pub fn error(text: &str) {
    let red = style(AnsiColor::Red).bold();
    complain(&format!("{red}error{red:#}: {text}"));
}

fn complain(line: &str) {
    // There is no other place to say it in.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Prints what workers log.
pub struct Printer;

impl Records for Printer {
    fn log(&self, record: LogRecord) {
        let color = match record.level.as_str() {
            "error" => AnsiColor::Red,
            "warn" => AnsiColor::Yellow,
            "debug" => AnsiColor::BrightBlack,
            _ => AnsiColor::Cyan,
        };
        let (tint, dim) = (style(color), style(AnsiColor::BrightBlack));
        let id = if record.request_id.is_empty() { "start" } else { record.request_id.as_str() };
        let message = record.message.join(" ");
        note(&format!("{tint}[{}]{tint:#} {dim}{id} {}{dim:#} {message}", record.worker, record.level));
    }

    fn failed(&self, worker: &str, request_id: &str, failure: &Failure) {
        let (red, dim) = (style(AnsiColor::Red), style(AnsiColor::BrightBlack));
        let text = match failure {
            Failure::Exception { exception, .. } if !exception.stack.is_empty() => exception.stack.clone(),
            failure => selvedge_edge::sentence(failure),
        };
        complain(&format!("{red}[{worker}]{red:#} {dim}{request_id}{dim:#} {red}{text}{red:#}"));
    }
}
