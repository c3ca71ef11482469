//! Reads typed values out of the tree, collecting every problem and warning on the way.
//!
//! Each `Option` these methods return is `None` exactly when a problem was recorded, so a caller may go on and find the
//! next one. A key is known because it was asked for: there is no second list to keep in step.

use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr};

use crate::{
    error::{Location, Problem, ProblemKind, Problems},
    file::SourceFile,
    name::{BindingName, InvalidName},
    tree::{Entry, Node, Value},
    warning::{Warning, WarningKind, Warnings},
};

pub(crate) struct Reader<'s> {
    file: &'s SourceFile,
    pub(crate) problems: Problems,
    pub(crate) warnings: Warnings,
}

/// A node and the key path that leads to it.
#[derive(Clone)]
pub(crate) struct At<'t> {
    pub(crate) node: &'t Node,
    pub(crate) key: String,
}

/// An object being read, key by key.
pub(crate) struct Fields<'t> {
    entries: &'t [Entry],
    at: usize,
    path: String,
    asked: Vec<&'static str>,
}

/// A value whose last checks need more than its own text: the place is kept for their messages.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: Location,
    pub(crate) key: String,
}

/// The type of a value that is checked and then dropped.
#[derive(Clone, Copy)]
pub(crate) enum Type {
    Text,
    Flag,
    Number,
    Texts,
    List,
    Object,
    Any,
}

/// An unknown key less similar (Jaro-Winkler) than this to every known one is not a slip of it.
const SIMILARITY_MIN: f64 = 0.85;

/// Longer keys are like none: no known key has half of it.
const SIMILAR_BYTES_MAX: usize = 64;

// === impl Reader ===

impl<'s> Reader<'s> {
    pub(crate) fn new(file: &'s SourceFile) -> Self {
        Self { file, problems: Problems::default(), warnings: Warnings::default() }
    }

    pub(crate) fn problem(&mut self, at: &At<'_>, kind: ProblemKind) {
        self.problem_in(at.node.at, &at.key, kind);
    }

    pub(crate) fn problem_at(&mut self, at: Location, key: String, kind: ProblemKind) {
        self.problems.push(|| Problem { at, key, kind });
    }

    /// A problem at an offset of the file.
    fn problem_in(&mut self, offset: usize, key: &str, kind: ProblemKind) {
        let file = self.file;
        self.problems.push(|| Problem { at: file.locate(offset), key: key.to_owned(), kind });
    }

    pub(crate) fn warn(&mut self, offset: usize, key: String, kind: WarningKind) {
        let file = self.file;
        self.warnings.push(|| Warning { at: file.locate(offset), key: Some(key), kind });
    }

    pub(crate) fn placed<T>(&self, at: &At<'_>, value: T) -> Placed<T> {
        Placed { value, at: self.file.locate(at.node.at), key: at.key.clone() }
    }

    pub(crate) fn mistyped<T>(&mut self, at: &At<'_>, expected: impl Into<String>) -> Option<T> {
        let expected = expected.into();
        let found = at.node.describe();
        self.problem(at, ProblemKind::Mistyped { expected, found });
        None
    }

    pub(crate) fn fields<'t>(&mut self, at: &At<'t>) -> Option<Fields<'t>> {
        match &at.node.value {
            Value::Object(entries) => Some(Fields { entries, at: at.node.at, path: at.key.clone(), asked: Vec::new() }),
            _ => self.mistyped(at, "an object"),
        }
    }

    pub(crate) fn list<'t>(&mut self, at: &At<'t>) -> Option<Vec<At<'t>>> {
        match &at.node.value {
            Value::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| At { node, key: format!("{}[{index}]", at.key) })
                    .collect(),
            ),
            _ => self.mistyped(at, "a list"),
        }
    }

    /// Every element that `read` accepts; the others have been recorded.
    pub(crate) fn each<'t, T>(
        &mut self,
        at: &At<'t>,
        mut read: impl FnMut(&mut Self, &At<'t>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list(at)?;
        Some(items.iter().filter_map(|item| read(self, item)).collect())
    }

    pub(crate) fn string(&mut self, at: &At<'_>) -> Option<String> {
        match &at.node.value {
            Value::String(text) => Some(text.clone()),
            _ => self.mistyped(at, "a string"),
        }
    }

    /// A string with something in it.
    pub(crate) fn text(&mut self, at: &At<'_>) -> Option<String> {
        match &at.node.value {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => self.mistyped(at, "a string that is not empty"),
        }
    }

    pub(crate) fn texts(&mut self, at: &At<'_>) -> Option<Vec<String>> {
        match &at.node.value {
            Value::Array(_) => self.each(at, Self::text),
            _ => self.mistyped(at, "a list of strings"),
        }
    }

    pub(crate) fn boolean(&mut self, at: &At<'_>) -> Option<bool> {
        match &at.node.value {
            Value::Bool(value) => Some(*value),
            _ => self.mistyped(at, "true or false"),
        }
    }

    pub(crate) fn integer(&mut self, at: &At<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let whole = match &at.node.value {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            _ => None,
        };
        match whole {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let (min, max) = (range.start(), range.end());
                self.mistyped(at, format!("a whole number from {min} to {max}"))
            }
        }
    }

    pub(crate) fn choice<T: Copy>(&mut self, at: &At<'_>, choices: &[(&str, T)]) -> Option<T> {
        if let Value::String(text) = &at.node.value
            && let Some((_, chosen)) = choices.iter().find(|(name, _)| name == text)
        {
            return Some(*chosen);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.mistyped(at, format!("one of {}", names.join(", ")))
    }

    pub(crate) fn name<T: FromStr<Err = InvalidName>>(&mut self, at: &At<'_>) -> Option<T> {
        match self.string(at)?.parse() {
            Ok(name) => Some(name),
            Err(invalid) => {
                self.problem(at, ProblemKind::Name(invalid));
                None
            }
        }
    }

    /// The entries of an object whose keys are the author's own.
    pub(crate) fn entries<'t>(&mut self, at: &At<'t>) -> Option<Vec<(&'t Entry, At<'t>)>> {
        let fields = self.fields(at)?;
        Some(fields.entries.iter().map(|entry| (entry, fields.child(entry))).collect())
    }

    pub(crate) fn string_map(&mut self, at: &At<'_>) -> Option<BTreeMap<String, String>> {
        let entries = self.entries(at)?;
        Some(entries.iter().filter_map(|(entry, at)| Some((entry.key.clone(), self.string(at)?))).collect())
    }

    /// The name under which `entry` of `at` is bound.
    pub(crate) fn key_name(&mut self, entry: &Entry, at: &At<'_>) -> Option<BindingName> {
        match entry.key.parse() {
            Ok(name) => Some(name),
            Err(invalid) => {
                self.problem_in(entry.key_at, &at.key, ProblemKind::Name(invalid));
                None
            }
        }
    }

    pub(crate) fn json(&mut self, at: &At<'_>) -> Option<serde_json::Value> {
        match at.node.to_json() {
            Ok(value) => Some(value),
            Err(date) => {
                self.problem_in(date.at, &at.key, ProblemKind::TomlDate);
                None
            }
        }
    }

    pub(crate) fn json_object(&mut self, at: &At<'_>) -> Option<serde_json::Map<String, serde_json::Value>> {
        match self.json(at)? {
            serde_json::Value::Object(object) => Some(object),
            _ => self.mistyped(at, "an object"),
        }
    }

    /// Checks the type of a value that has no effect here.
    pub(crate) fn check(&mut self, at: &At<'_>, expected: Type) -> Option<()> {
        match expected {
            Type::Text => self.string(at).map(drop),
            Type::Flag => self.boolean(at).map(drop),
            Type::Texts => self.texts(at).map(drop),
            Type::List => self.list(at).map(drop),
            Type::Object => self.fields(at).map(drop),
            Type::Any => Some(()),
            Type::Number => match at.node.value {
                Value::Number(_) => Some(()),
                _ => self.mistyped(at, "a number"),
            },
        }
    }
}

// === impl Fields ===

impl<'t> Fields<'t> {
    /// The value of a known key.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<At<'t>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.child(entry))
    }

    /// Like [`Fields::get`], but a key that is not there is a problem.
    pub(crate) fn require(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        expected: &'static str,
    ) -> Option<At<'t>> {
        let found = self.get(key);
        if found.is_none() {
            let key = join(&self.path, key);
            reader.problem_in(self.at, &key, ProblemKind::Missing { expected });
        }
        found
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Where the key itself stands, to warn about it.
    pub(crate) fn key_place(&self, key: &str) -> Option<(usize, String)> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some((entry.key_at, join(&self.path, key)))
    }

    /// Warns of every key that was never asked for.
    pub(crate) fn finish(self, reader: &mut Reader<'_>) {
        let file = reader.file;
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                reader.warnings.push(|| Warning {
                    at: file.locate(entry.key_at),
                    key: Some(join(&self.path, &entry.key)),
                    kind: WarningKind::UnknownKey { suggestion: nearest(&entry.key, &self.asked) },
                });
            }
        }
    }

    fn child(&self, entry: &'t Entry) -> At<'t> {
        At { node: &entry.node, key: join(&self.path, &entry.key) }
    }
}

fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match (path.is_empty(), bare) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if key.len() > SIMILAR_BYTES_MAX {
        return None;
    }
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(key, candidate), *candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `50.0` is the whole number 50, as it is in JavaScript.
fn whole(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    ((0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}
