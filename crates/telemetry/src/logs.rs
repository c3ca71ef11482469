//! The program's own log, on standard error.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::log_lines::LogLines;

/// How long the end of the process waits for who reads the log.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A line for a person to read, in colour where standard error is a terminal.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error(
        "\"{filter}\" does not say what to log; write a level such as `info`, or levels by part such as `warn,selvedge_control=debug`"
    )]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("the log had been set up before")]
    Started { source: tracing_subscriber::util::TryInitError },
    #[error("standard error cannot be written to")]
    Output(#[source] std::io::Error),
}

/// The log of this process. When it is dropped, what was logged is written, as far as it is read within a second.
#[must_use = "what was logged last is lost where nothing waits for it"]
pub struct Log(Arc<LogLines>);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush(FLUSH_TIME_MAX);
    }
}

/// Sets up the log of this process, once. `filter` is a level, or levels by part: `info`, `warn,selvedge_control=debug`.
/// Whoever logs never waits for who reads, and never fails where nobody can.
///
/// # Errors
/// If the filter cannot be understood, or the log was set up before.
pub fn start(format: Format, filter: &str) -> Result<Log, LogsError> {
    let parsed =
        EnvFilter::builder().parse(filter).map_err(|source| LogsError::Filter { filter: filter.to_owned(), source })?;
    let lines = Arc::new(LogLines::default());
    let log = Log(Arc::clone(&lines));
    let builder =
        tracing_subscriber::fmt().with_env_filter(parsed).with_writer(Arc::clone(&lines)).log_internal_errors(false);
    let started = match format {
        Format::Text => builder.with_ansi(is_coloured()).finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|source| LogsError::Started { source })?;
    // Not through the lock that the standard library has: who else writes to standard error must not wait either.
    let output = std::io::stderr().as_fd().try_clone_to_owned().map(File::from).map_err(LogsError::Output)?;
    let tell_dropped =
        |dropped| tracing::warn!(dropped, "lines of this log were dropped: they came faster than they are read");
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || lines.write_to(output, tell_dropped))
        .map_err(LogsError::Output)?;
    Ok(log)
}

/// Whether text may be in colour: see <https://no-color.org>.
fn is_coloured() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_says_nothing_is_refused_with_an_example() {
        let refused = start(Format::Text, "selvedge=loud").err().unwrap();
        assert!(refused.to_string().contains("\"selvedge=loud\""), "{refused}");
    }
}
