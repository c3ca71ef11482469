//! The TOML file.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::FILE_NAME;
use super::error::SettingsError;
use super::table::{self, SETTINGS, Setting, Shape};
use super::value::{Found, Source};

/// More is no file of settings.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How alike a suggestion must be, from 0 to 1.
const ALIKE_MIN: f64 = 0.7;

/// A file whose keys are all settings.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    found: Vec<(&'static Setting, Found)>,
}

impl File {
    /// The file that is named, or the first of those looked for by themselves; `None` where there is none.
    pub fn open(named: Option<&Path>, folder: &Path, data: &Path) -> Result<Option<Self>, SettingsError> {
        if let Some(path) = named {
            return Self::read(path).map(Some);
        }
        for path in [folder.join(FILE_NAME), data.join(FILE_NAME)] {
            let in_data = path.parent() == Some(data) && data != folder;
            match Self::read(&path) {
                Ok(file) if in_data => return file.without_data().map(Some),
                Ok(file) => return Ok(Some(file)),
                Err(SettingsError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    pub fn get(&self, setting: &'static Setting) -> Result<Option<Found>, SettingsError> {
        Ok(self.found.iter().find(|(other, _)| std::ptr::eq(*other, setting)).map(|(_, found)| found.clone()))
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        let failed = |source| SettingsError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            let reason = format!("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read");
            return Err(failed(std::io::Error::new(ErrorKind::InvalidData, reason)));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(path, &text)
    }

    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let document = DeTable::parse(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            SettingsError::Syntax { path: path.to_owned(), line, column, message: error.message().to_owned() }
        })?;
        let mut found = Vec::new();
        for (key, value) in document.get_ref() {
            let line = place(text, key.span().start).0;
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key.get_ref()) else {
                return Err(SettingsError::UnknownKey {
                    path: path.to_owned(),
                    line,
                    key: key.get_ref().to_string(),
                    suggestion: alike(key.get_ref()),
                });
            };
            let mut one = Found { source: Source::File { path: path.to_owned(), line }, values: Vec::new() };
            one.values = values(setting, value, text).map_err(|reason| one.wrong(setting, reason))?;
            found.push((*setting, one));
        }
        Ok(Self { path: path.to_owned(), found })
    }

    fn without_data(self) -> Result<Self, SettingsError> {
        let data = self.found.iter().find(|(setting, _)| std::ptr::eq(*setting, &table::DATA));
        match data.map(|(_, found)| &found.source) {
            Some(Source::File { path, line }) => Err(SettingsError::DataInData { path: path.clone(), line: *line }),
            _ => Ok(self),
        }
    }
}

/// The texts of a value of the type that the setting wants.
fn values(setting: &Setting, value: &Spanned<DeValue<'_>>, text: &str) -> Result<Vec<String>, String> {
    let written = |span: Range<usize>| text.get(span).unwrap_or_default().to_owned();
    match (setting.shape, value.get_ref()) {
        (Shape::One | Shape::Many, DeValue::String(one)) => Ok(vec![one.to_string()]),
        (Shape::One, DeValue::Integer(integer)) => Ok(vec![integer.as_str().replace('_', "")]),
        (Shape::Switch, DeValue::Boolean(on)) => Ok(vec![on.to_string()]),
        (Shape::Many, DeValue::Array(items)) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(one) => Ok(one.to_string()),
                _ => Err(format!("`{}` in the list is not a string", written(item.span()))),
            })
            .collect(),
        (Shape::One, _) => Err(format!("`{}` is not a string or a whole number", written(value.span()))),
        (Shape::Many, _) => Err(format!("`{}` is not a list of strings", written(value.span()))),
        (Shape::Switch, _) => Err(format!("`{}` is neither true nor false", written(value.span()))),
    }
}

/// The setting that was probably meant.
fn alike(key: &str) -> Option<&'static str> {
    let key = key.replace('-', "_").to_lowercase();
    SETTINGS
        .iter()
        .map(|setting| (strsim::jaro_winkler(&key, setting.name), setting.name))
        .filter(|(likeness, _)| *likeness >= ALIKE_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// Line and column of a byte, both from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}
