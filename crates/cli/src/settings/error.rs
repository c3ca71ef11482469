//! Why there are no settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::value::Source;

/// What is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Syntax { path: PathBuf, line: usize, column: usize, message: String },
    #[error("{}:{line}: `{key}` is not a setting{}", .path.display(), hint(.suggestion))]
    UnknownKey { path: PathBuf, line: usize, key: String, suggestion: Option<&'static str> },
    #[error("{}:{line}: `data` cannot be set here: this file was found in the data folder itself", .path.display())]
    DataInData { path: PathBuf, line: usize },
    #[error("{from}: `{name}`: {reason}")]
    Value { name: &'static str, from: Source, reason: String },
    #[error("{source_text}: `{first}` and `{second}` are both {address}: give one of them another port")]
    SameAddress { first: &'static str, second: &'static str, address: SocketAddr, source_text: String },
}

fn hint(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `selvedge config` prints all that are".to_owned(),
    }
}
