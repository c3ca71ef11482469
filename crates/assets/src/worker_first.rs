//! `run_worker_first`: which paths skip assets, and which skip the worker.

use thiserror::Error;

use crate::config::RunWorkerFirst;
use crate::pattern::Glob;

/// Most rules in `run_worker_first`.
pub const WORKER_FIRST_RULES_MAX: usize = 100;
/// Longest rule in `run_worker_first`, in characters.
pub const WORKER_FIRST_RULE_CHARS_MAX: usize = 100;

/// A `run_worker_first` that cannot be used. The texts are the platform's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WorkerFirstError {
    #[error("No `run_worker_first` rules were provided; must provide at least 1 rule.")]
    Empty,
    #[error(
        "Too many `run_worker_first` rules were provided; {count} rules provided exceeds max of {WORKER_FIRST_RULES_MAX}."
    )]
    TooMany { count: usize },
    #[error("Only negative `run_worker_first` rules were provided; must provide at least 1 non-negative rule")]
    OnlyNegative,
    #[error("Invalid routes in `run_worker_first`:\n{}", .problems.join("\n"))]
    Invalid { problems: Vec<String> },
}

/// Who sees a path first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The worker, and assets only through its binding.
    Worker,
    /// Assets, and the worker never.
    AssetsOnly,
    /// Assets, and the worker if they have nothing.
    Assets,
}

#[derive(Clone, Debug)]
pub(crate) enum WorkerFirst {
    Always(bool),
    Rules { worker: Vec<Glob>, assets: Vec<Glob> },
}

// === impl WorkerFirst ===

impl WorkerFirst {
    pub(crate) fn new(config: &RunWorkerFirst) -> Result<Self, WorkerFirstError> {
        let rules = match config {
            RunWorkerFirst::Always(always) => return Ok(Self::Always(*always)),
            RunWorkerFirst::Rules(rules) => rules,
        };
        if rules.is_empty() {
            return Err(WorkerFirstError::Empty);
        }
        if rules.len() > WORKER_FIRST_RULES_MAX {
            return Err(WorkerFirstError::TooMany { count: rules.len() });
        }
        let mut problems = rules.iter().filter_map(|rule| check_start(rule)).collect::<Vec<_>>();
        let worker = rules.iter().filter(|rule| rule.starts_with('/')).collect::<Vec<_>>();
        let assets = rules.iter().filter(|rule| rule.starts_with("!/")).collect::<Vec<_>>();
        if worker.is_empty() && !assets.is_empty() {
            return Err(WorkerFirstError::OnlyNegative);
        }
        problems.extend(check_group(&worker));
        problems.extend(check_group(&assets));
        let worker = compile(&worker, &mut problems);
        let assets = compile(&assets, &mut problems);
        if !problems.is_empty() {
            return Err(WorkerFirstError::Invalid { problems });
        }
        Ok(Self::Rules { worker, assets })
    }

    pub(crate) fn first(&self, path: &str) -> First {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(path));
        match self {
            Self::Always(true) => First::Worker,
            Self::Rules { assets, .. } if any(assets) => First::AssetsOnly,
            Self::Rules { worker, .. } if any(worker) => First::Worker,
            Self::Always(false) | Self::Rules { .. } => First::Assets,
        }
    }

    /// With rules, the deployer has said what the worker is for, and `not_found_handling` answers the rest.
    pub(crate) fn has_rules(&self) -> bool {
        matches!(self, Self::Rules { .. })
    }
}

fn check_start(rule: &str) -> Option<String> {
    if rule.starts_with('/') || rule.starts_with("!/") {
        None
    } else if rule.starts_with('!') {
        Some(format!("'{rule}': negative rules must start with '!/'"))
    } else {
        Some(format!("'{rule}': rules must start with '/' or '!/'"))
    }
}

fn check_group(rules: &[&String]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        if rule.chars().count() > WORKER_FIRST_RULE_CHARS_MAX {
            problems.push(format!(
                "'{rule}': all rules must be less than {WORKER_FIRST_RULE_CHARS_MAX} characters in length"
            ));
        }
        if rules.iter().take(index).any(|earlier| earlier == rule) {
            problems.push(format!("'{rule}': rule is a duplicate; rules must be unique"));
        }
        if let Some(prefix) = rule.strip_suffix('*') {
            let covered = rules.iter().filter(|other| *other != rule && other.starts_with(prefix));
            problems.extend(covered.map(|other| format!("'{other}': rule '{rule}' makes it redundant")));
        }
    }
    problems
}

fn compile(rules: &[&String], problems: &mut Vec<String>) -> Vec<Glob> {
    let mut globs = Vec::with_capacity(rules.len());
    for rule in rules {
        match Glob::new(rule.trim_start_matches('!')) {
            Ok(glob) => globs.push(glob),
            Err(error) => problems.push(format!("'{rule}': {error}")),
        }
    }
    globs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rules: &[&str]) -> Result<WorkerFirst, WorkerFirstError> {
        WorkerFirst::new(&RunWorkerFirst::Rules(rules.iter().map(|rule| rule.to_string()).collect()))
    }

    #[test]
    fn rules_that_make_no_sense_are_refused_in_the_platforms_words() {
        let long = format!("/api/{}", "a".repeat(130));
        let long_message = format!("'{long}': all rules must be less than 100 characters in length");
        for (rules, message) in [
            (&[][..], "No `run_worker_first` rules were provided; must provide at least 1 rule."),
            (
                &["!/assets"],
                "Only negative `run_worker_first` rules were provided; must provide at least 1 non-negative rule",
            ),
            (&[long.as_str()], long_message.as_str()),
            (
                &["api/*", "!asset"],
                "'api/*': rules must start with '/' or '!/'\n'!asset': negative rules must start with '!/'",
            ),
            (
                &["/api/*", "/oauth/callback", "/api/some/route", "!/api/assets/*"],
                "'/api/some/route': rule '/api/*' makes it redundant",
            ),
            (
                &["/api/some/route", "/oauth/callback", "/api/some/route", "!/api/assets/*"],
                "'/api/some/route': rule is a duplicate; rules must be unique",
            ),
        ] {
            let error = parse(rules).unwrap_err().to_string();
            let error = error.strip_prefix("Invalid routes in `run_worker_first`:\n").unwrap_or(&error);
            assert_eq!(error, message);
        }
        let many = (0..120).map(|n| format!("/rule/{n}")).collect::<Vec<_>>();
        let many = many.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(parse(&many).unwrap_err(), WorkerFirstError::TooMany { count: 120 });
    }

    #[test]
    fn negative_rules_win() {
        let rules = parse(&["/api/*", "/oauth/callback", "!/api/assets/*"]).unwrap();
        for (path, first) in [
            ("/api/users", First::Worker),
            ("/oauth/callback", First::Worker),
            ("/api/assets/logo.png", First::AssetsOnly),
            ("/index.html", First::Assets),
        ] {
            assert_eq!(rules.first(path), first, "{path}");
        }
    }
}
