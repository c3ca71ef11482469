//! Which secret files count, in wrangler's order: `.dev.vars.<env>`, else `.dev.vars`, else the `.env` files together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    bindings::Taken,
    dotenv::{self, Assignment},
    error::{Problem, ProblemKind, Problems, ProjectError},
    expand::{Endless, expand},
    file::SourceFile,
    jsonc,
    name::{BindingName, EnvironmentName},
    project::Secret,
    reader::{At, Placed, Reader},
    tree::Value,
    warning::{Warning, WarningKind, Warnings},
};

/// Looks a name up in the process environment.
pub(crate) type ProcessEnv<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a project's secrets are.
#[derive(Clone, Copy)]
pub(crate) enum Secrets<'a> {
    /// In its files, and some of them in the process environment.
    Files(ProcessEnv<'a>),
    /// Nowhere that this machine knows of.
    None,
}

/// All the values of the `.env` files together, after expansion.
const EXPANDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the secret files hold, by key.
struct Found {
    assignments: BTreeMap<String, Assignment>,
    /// `.dev.vars` is complete in itself; `.env` is completed by the process environment.
    from_dot_env: bool,
}

/// The files that may hold secrets, whether they exist or not, in the order they are tried.
pub(crate) fn candidates(root: &Path, environment: Option<&EnvironmentName>) -> Vec<PathBuf> {
    dev_vars(root, environment).into_iter().chain(dot_env(root, environment)).collect()
}

/// The secrets of a project. `required`, when given, is all that is read.
pub(crate) fn read(
    root: &Path,
    environment: Option<&EnvironmentName>,
    required: Option<&[Placed<BindingName>]>,
    secrets: Secrets<'_>,
    warnings: &mut Warnings,
) -> Result<BTreeMap<BindingName, Secret>, ProjectError> {
    let Secrets::Files(process) = secrets else {
        return Ok(BTreeMap::new());
    };
    let mut found = find(root, environment, warnings)?;
    let Some(required) = required else {
        return all(found);
    };
    let mut secrets = BTreeMap::new();
    for name in required {
        let file = found.assignments.remove(name.value.as_str());
        let file = file.map(|assignment| assignment.value);
        let value = if found.from_dot_env { process(name.value.as_str()).or(file) } else { file };
        match value {
            Some(value) => {
                secrets.insert(name.value.clone(), Secret::new(value));
            }
            None => warnings.push(|| Warning {
                at: name.at.clone(),
                key: Some(name.value.to_string()),
                kind: WarningKind::SecretMissing,
            }),
        }
    }
    Ok(secrets)
}

/// Drops the secrets whose name a binding other than a variable has, with a warning each.
pub(crate) fn drop_shadowed(
    secrets: &mut BTreeMap<BindingName, Secret>,
    taken: &Taken,
    is_var: impl Fn(&BindingName) -> bool,
    file: &SourceFile,
    warnings: &mut Warnings,
) {
    secrets.retain(|name, _| match taken.holder(name) {
        Some(holder) if !is_var(name) => {
            warnings.push(|| Warning {
                at: file.locate(0),
                key: Some(name.to_string()),
                kind: WarningKind::SecretShadowed { binding: holder.to_owned() },
            });
            false
        }
        _ => true,
    });
}

fn dev_vars(root: &Path, environment: Option<&EnvironmentName>) -> Vec<PathBuf> {
    environment.map(|name| root.join(format!(".dev.vars.{name}"))).into_iter().chain([root.join(".dev.vars")]).collect()
}

/// Later files override earlier ones.
fn dot_env(root: &Path, environment: Option<&EnvironmentName>) -> Vec<PathBuf> {
    let mut files = vec![root.join(".env"), root.join(".env.local")];
    if let Some(name) = environment {
        files.push(root.join(format!(".env.{name}")));
        files.push(root.join(format!(".env.{name}.local")));
    }
    files
}

/// What the `.env` files of a folder say, whoever they say it to.
pub(crate) fn dot_env_of(
    root: &Path,
    environment: Option<&EnvironmentName>,
) -> Result<BTreeMap<String, Secret>, ProjectError> {
    let found = find_dot_env(root, environment, &mut Warnings::default())?;
    Ok(found.assignments.into_iter().map(|(key, assignment)| (key, Secret::new(assignment.value))).collect())
}

/// Whether `null` may stand in the place of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    Refused,
    Taken,
}

/// The secrets of one file: a JSON object of texts, or lines as in `.env`, taken as they are.
pub(crate) fn file_of(path: &Path, nulls: Nulls) -> Result<BTreeMap<BindingName, Option<Secret>>, ProjectError> {
    let file = SourceFile::read(path)?;
    if !file.text().trim_start().starts_with('{') {
        let assignments = by_key(dotenv::parse(&file, &mut Warnings::default())?);
        let secrets = all(Found { assignments, from_dot_env: false })?;
        return Ok(secrets.into_iter().map(|(name, secret)| (name, Some(secret))).collect());
    }
    let tree = jsonc::parse(&file)?;
    let mut reader = Reader::new(&file);
    let at = At { node: &tree, key: String::new() };
    let secrets = reader.entries(&at).unwrap_or_default();
    let secrets = secrets
        .into_iter()
        .filter_map(|(entry, at)| {
            let name = reader.key_name(entry, &at)?;
            let removed = nulls == Nulls::Taken && matches!(at.node.value, Value::Null);
            let secret = if removed { None } else { Some(Secret::new(secret_text(&mut reader, &at)?)) };
            Some((name, secret))
        })
        .collect();
    reader.problems.check()?;
    Ok(secrets)
}

/// Unlike other texts, one that is wrong is not shown.
fn secret_text(reader: &mut Reader<'_>, at: &At<'_>) -> Option<String> {
    if let Value::String(text) = &at.node.value {
        return Some(text.clone());
    }
    let (expected, found) = ("a string".to_owned(), "something else".to_owned());
    reader.problem(at, ProblemKind::Mistyped { expected, found });
    None
}

fn find(root: &Path, environment: Option<&EnvironmentName>, warnings: &mut Warnings) -> Result<Found, ProjectError> {
    for path in dev_vars(root, environment) {
        if let Some(file) = SourceFile::read_if_present(&path)? {
            let assignments = dotenv::parse(&file, warnings)?;
            return Ok(Found { assignments: by_key(assignments), from_dot_env: false });
        }
    }
    find_dot_env(root, environment, warnings)
}

fn find_dot_env(
    root: &Path,
    environment: Option<&EnvironmentName>,
    warnings: &mut Warnings,
) -> Result<Found, ProjectError> {
    let mut merged: Vec<Assignment> = Vec::new();
    let mut indexes: BTreeMap<String, usize> = BTreeMap::new();
    for path in dot_env(root, environment) {
        if let Some(file) = SourceFile::read_if_present(&path)? {
            for assignment in dotenv::parse(&file, warnings)? {
                let index = *indexes.entry(assignment.key.clone()).or_insert(merged.len());
                match merged.get_mut(index) {
                    Some(earlier) => *earlier = assignment,
                    None => merged.push(assignment),
                }
            }
        }
    }
    Ok(Found { assignments: by_key(expand_all(merged)?), from_dot_env: true })
}

/// A reference sees the keys that stand before it, as if all the files were one.
fn expand_all(mut assignments: Vec<Assignment>) -> Result<Vec<Assignment>, ProjectError> {
    let mut known = BTreeMap::new();
    let mut problems = Problems::default();
    let mut bytes = 0;
    for assignment in &mut assignments {
        match expand(&assignment.value, &known) {
            Ok(value) if bytes + value.len() <= EXPANDED_BYTES_MAX => {
                bytes += value.len();
                known.insert(assignment.key.clone(), value.clone());
                assignment.value = value;
            }
            Ok(_) | Err(Endless) => problems.push(|| Problem {
                at: assignment.at.clone(),
                key: assignment.key.clone(),
                kind: ProblemKind::EndlessExpansion,
            }),
        }
    }
    problems.check()?;
    Ok(assignments)
}

fn by_key(assignments: Vec<Assignment>) -> BTreeMap<String, Assignment> {
    assignments.into_iter().map(|assignment| (assignment.key.clone(), assignment)).collect()
}

fn all(found: Found) -> Result<BTreeMap<BindingName, Secret>, ProjectError> {
    let mut secrets = BTreeMap::new();
    let mut problems = Problems::default();
    for (key, assignment) in found.assignments {
        match key.parse() {
            Ok(name) => {
                secrets.insert(name, Secret::new(assignment.value));
            }
            Err(invalid) => problems.push(|| Problem { at: assignment.at, key, kind: ProblemKind::Name(invalid) }),
        }
    }
    problems.check()?;
    Ok(secrets)
}
