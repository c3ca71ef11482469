//! What a developer should know about a project that loads all the same.

use std::{fmt, path::PathBuf};

use crate::{
    error::Location,
    name::{CompatibilityDate, EnvironmentName},
};

/// Something that has no effect, or another effect than its author may think.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    pub at: Location,
    /// Where in the config: `env.staging.vars.API`. `None` where the warning is about the file.
    pub key: Option<String>,
    pub kind: WarningKind,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WarningKind {
    #[error("is not a known key and has no effect{}", hint(.suggestion))]
    UnknownKey { suggestion: Option<&'static str> },
    #[error("belongs at the top level and has no effect in an environment")]
    TopLevelOnly,
    #[error("is set at the top level but not in `env.{environment}`, which does not inherit it")]
    NotInherited { environment: EnvironmentName },
    #[error("the config declares no environments, so {environment:?} changes the worker's name only")]
    NoEnvironments { environment: EnvironmentName },
    #[error("has no effect here: {reason}")]
    NotSupported { reason: &'static str },
    #[error("`compatibility_date` is missing, so today's is used: {used}")]
    NoCompatibilityDate { used: CompatibilityDate },
    #[error("this file is ignored, because {} is read first", .used.display())]
    Shadowed { used: PathBuf },
    #[error("a build made {} of this project: that is deployed", .used.display())]
    Redirected { used: PathBuf },
    #[error("serves the project's own folder: its config and its secret files would be public")]
    AssetsExposeProject,
    #[error("is ignored, because `{binding}` already binds that name")]
    SecretShadowed { binding: String },
    #[error("is required, but neither .dev.vars, .env nor the process environment has it")]
    SecretMissing,
    #[error("this line is not KEY=VALUE and is ignored")]
    NotAssignment,
    #[error("opens a quote that is never closed, so the quote is part of the value")]
    OpenQuote,
    #[error("{count} more warnings are not shown")]
    More { count: usize },
}

/// The most warnings kept of one project; the rest are counted.
const WARNINGS_MAX: usize = 100;

/// Collects warnings under their bound.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    kept: Vec<Warning>,
    dropped: usize,
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: `{key}` {}", self.at, self.kind),
            None => write!(f, "{}: {}", self.at, self.kind),
        }
    }
}

// === impl Warnings ===

impl Warnings {
    /// `make` runs only when the warning is kept: finding its place costs a walk over the file.
    pub(crate) fn push(&mut self, make: impl FnOnce() -> Warning) {
        if self.kept.len() < WARNINGS_MAX {
            self.kept.push(make());
        } else {
            self.dropped += 1;
        }
    }

    /// In the order of their places, file by file.
    pub(crate) fn finish(mut self) -> Vec<Warning> {
        self.kept.sort_by_cached_key(|warning| warning.at.clone());
        if let (Some(last), count @ 1..) = (self.kept.last(), self.dropped) {
            let at = last.at.clone();
            let kind = WarningKind::More { count };
            self.kept.push(Warning { at, key: None, kind });
        }
        self.kept
    }
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}
