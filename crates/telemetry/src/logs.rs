//! The program's own log, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

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
}

/// Sets up the log of this process, once. `filter` is a level, or levels by part: `info`, `warn,selvedge_control=debug`.
///
/// # Errors
/// If the filter cannot be understood, or the log was set up before.
pub fn start(format: Format, filter: &str) -> Result<(), LogsError> {
    let parsed =
        EnvFilter::builder().parse(filter).map_err(|source| LogsError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let started = match format {
        Format::Text => {
            use std::io::IsTerminal;
            lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init()
        }
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|source| LogsError::Started { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_says_nothing_is_refused_with_an_example() {
        let refused = start(Format::Text, "selvedge=loud").unwrap_err();
        assert!(refused.to_string().contains("\"selvedge=loud\""), "{refused}");
    }
}
