//! What a command prints: its result on standard output, all else on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::error::ClientError;
use crate::terminal;

/// How often a line tells of progress where no terminal shows it, in percent.
const PROGRESS_STEP_PERCENT: u64 = 25;
const SPINNER_STEP: Duration = Duration::from_millis(100);

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    pub json: bool,
}

/// How far something has come.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Where lines are printed instead: the last percentage that was.
    lines: Option<Lines>,
}

struct Lines {
    what: String,
    total: u64,
    done: std::sync::Mutex<(u64, u64)>,
}

// === impl Console ===

impl Console {
    /// Prints a result, one way or the other.
    pub fn result(&self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Result<(), ClientError> {
        if self.json { document(&format!("{:#}", json())) } else { line(&text()).map(drop) }
    }

    /// Tells what happens, to people.
    pub fn progress(&self, text: &str) {
        if !self.json {
            say(&harmless(text));
        }
    }

    pub fn warning(&self, text: &str) {
        terminal::warning(&harmless(text));
    }

    /// The last words of a command that failed.
    pub fn failure(&self, error: &ClientError) {
        let advice = error.advice();
        terminal::error(&harmless(&error.text()));
        if let Some(advice) = &advice {
            say(&format!("  {advice}"));
        }
        if self.json {
            let document = serde_json::json!({
                "error": { "message": error.text(), "code": error.code(), "status": error.status(), "advice": advice },
            });
            // In one line, as it may follow others of a stream. The exit code says that it failed, whether this can be
            // written or not.
            if let Err(error) = self::document(&document.to_string()) {
                terminal::error(&error.text());
            }
        }
    }

    /// A bar for `total` bytes.
    pub fn bar(&self, what: &str, total: u64) -> Progress {
        if self.json || total == 0 {
            return Progress { bar: None, lines: None };
        }
        if !std::io::stderr().is_terminal() {
            let lines = Lines { what: what.to_owned(), total, done: std::sync::Mutex::new((0, 0)) };
            return Progress { bar: None, lines: Some(lines) };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Progress { bar: Some(bar), lines: None }
    }

    /// Something that takes a while, of which no more is known.
    pub fn spinner(&self, what: &str) -> Progress {
        if self.json || !std::io::stderr().is_terminal() {
            return Progress { bar: None, lines: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(SPINNER_STEP);
        Progress { bar: Some(bar), lines: None }
    }

    /// Asks a question that `yes` answers; nobody is asked where nobody can answer.
    pub fn confirm(&self, question: &str, how: &str) -> Result<(), ClientError> {
        if self.json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(ClientError::Usage(format!("{question} Say so with {how}")));
        }
        anstream::eprint!("{question} [y/N] ");
        std::io::stderr().flush().map_err(ClientError::Output)?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(ClientError::Input)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(ClientError::Declined) }
    }
}

/// Writes a line to standard error; where nobody reads that, nobody needs to know.
fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Writes a document to standard output, to the byte as it is.
pub fn document(text: &str) -> Result<(), ClientError> {
    write_line(&mut std::io::stdout().lock(), text).map(drop)
}

/// Writes the next document of a stream of them; false where nobody reads any more.
pub fn next_document(text: &str) -> Result<bool, ClientError> {
    write_line(&mut std::io::stdout().lock(), text)
}

/// Writes lines for people to standard output; false where nobody reads any more.
pub fn line(text: &str) -> Result<bool, ClientError> {
    write_line(&mut anstream::stdout().lock(), &harmless(text))
}

fn write_line(output: &mut impl Write, text: &str) -> Result<bool, ClientError> {
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        // Who reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(ClientError::Output(error)),
    }
}

/// A text that does nothing to a terminal but be shown: what others wrote may hold characters that move its cursor or
/// hide what was printed.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            control if control.is_control() => shown.extend(control.escape_default()),
            other => shown.push(other),
        }
    }
    shown
}

/// Rows with a heading, the columns aligned.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|text| (*text).to_owned()).collect();
    // A cell is one line.
    let one_line =
        |row: &Vec<String>| -> Vec<String> { row.iter().map(|text| text.replace(['\n', '\t'], " ")).collect() };
    let rows: Vec<Vec<String>> = rows.iter().map(one_line).collect();
    let all = || std::iter::once(&heading).chain(&rows);
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

/// `1.5 MiB`
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

// === impl Progress ===

impl Progress {
    pub fn add(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(count);
        }
        if let Some(lines) = &self.lines {
            lines.add(count);
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

// === impl Lines ===

impl Lines {
    fn add(&self, count: u64) {
        let mut guard = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (done, told) = &mut *guard;
        *done = done.saturating_add(count).min(self.total);
        let percent = done.saturating_mul(100) / self.total.max(1);
        if percent >= *told + PROGRESS_STEP_PERCENT || (percent == 100 && *told < 100) {
            *told = percent;
            say(&format!("{} {percent} % of {}", self.what, bytes(self.total)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_does_nothing_to_a_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\r\u{9b}c\n\té"), "a\\u{1b}[2Jb\\r\\u{9b}c\n\té");
    }

    #[test]
    fn a_cell_of_a_table_is_one_line() {
        let rows = [vec!["a".to_owned(), "first\nsecond".to_owned()]];
        assert_eq!(table(&["X", "Y"], &rows), "X  Y\na  first second");
    }
}
