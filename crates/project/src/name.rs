//! Names, dates and schedules that are valid by construction.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A worker's name: wrangler's rules (`a-z`, `0-9`, `-`, `_`, not starting with `-`), and short enough for the DNS
/// label it is served under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerName(String);

/// The name of a property of `env`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingName(String);

/// The name of an environment: a key of `env` in the config, and the end of a file's name (`.dev.vars.<name>`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentName(String);

/// The day whose platform behaviour the worker was written for, `YYYY-MM-DD`, not in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompatibilityDate(Date);

/// Five cron fields: minute, hour, day of month, month, day of week.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cron(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    #[error("it is empty")]
    Empty,
    #[error("it has {chars} characters, at most {chars_max} are allowed")]
    TooLong { chars: usize, chars_max: usize },
    #[error("{character:?} is not allowed; use {allowed}")]
    Character { character: char, allowed: &'static str },
    #[error("it starts with {0:?}")]
    Start(char),
    #[error("it is reserved by the language")]
    Reserved,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDate {
    #[error("{0:?} is not a day of the calendar written YYYY-MM-DD")]
    NotADay(String),
    #[error("{0} is in the future")]
    Future(CompatibilityDate),
}

/// RFC 1035: a label of a host name. Workers answer at `<name>.<host>`.
const WORKER_CHARS_MAX: usize = 63;
const BINDING_CHARS_MAX: usize = 255;
const ENVIRONMENT_CHARS_MAX: usize = 63;

/// Longest schedule kept: far above any that five fields need.
const CRON_CHARS_MAX: usize = 256;

// === impl WorkerName ===

impl WorkerName {
    /// The nearest valid name to any text: lowercase letters, digits and single dashes.
    pub fn sanitised(text: &str) -> Self {
        let mut name = String::new();
        for character in text.chars().flat_map(char::to_lowercase) {
            let fits = character.is_ascii_lowercase() || character.is_ascii_digit();
            if fits && name.len() < WORKER_CHARS_MAX {
                name.push(character);
            } else if !name.is_empty() && !name.ends_with('-') && name.len() < WORKER_CHARS_MAX {
                name.push('-');
            }
        }
        let name = name.trim_end_matches('-');
        Self(if name.is_empty() { "worker" } else { name }.to_owned())
    }

    /// The name an environment's worker gets when the environment gives it none: `<name>-<environment>`.
    pub(crate) fn in_environment(&self, environment: &EnvironmentName) -> Result<Self, InvalidName> {
        let suffix = Self::sanitised(&environment.0);
        format!("{}-{}", self.0, suffix.0).parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        bounded(text, WORKER_CHARS_MAX)?;
        allow(text, "lowercase letters, digits, dashes and underscores", |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
        })?;
        if text.starts_with('-') {
            return Err(InvalidName::Start('-'));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl BindingName ===

impl BindingName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Fails where no part of an upload can have the name: as a file it would lie in another folder.
    pub(crate) fn check_part(&self) -> Result<(), InvalidName> {
        allow(&self.0, "anything but spaces, control characters and slashes", |c| !matches!(c, '/' | '\\'))?;
        if self.0.starts_with('.') {
            return Err(InvalidName::Start('.'));
        }
        Ok(())
    }
}

impl FromStr for BindingName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        bounded(text, BINDING_CHARS_MAX)?;
        allow(text, "anything but spaces and control characters", |c| !c.is_whitespace() && !c.is_control())?;
        // Assigning it would replace the prototype of `env` instead of adding a property.
        if text == "__proto__" {
            return Err(InvalidName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for BindingName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl EnvironmentName ===

impl EnvironmentName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvironmentName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        bounded(text, ENVIRONMENT_CHARS_MAX)?;
        allow(text, "letters, digits, dashes, underscores and dots", |c| {
            c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
        })?;
        // `.env..` and the like would name another file than the author means.
        if text.starts_with('.') {
            return Err(InvalidName::Start('.'));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl CompatibilityDate ===

impl CompatibilityDate {
    /// Today, in UTC.
    pub fn today() -> Self {
        Self(Timestamp::now().to_zoned(TimeZone::UTC).date())
    }

    pub fn year(self) -> i16 {
        self.0.year()
    }

    pub fn month(self) -> i8 {
        self.0.month()
    }

    pub fn day(self) -> i8 {
        self.0.day()
    }
}

impl FromStr for CompatibilityDate {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        let not_a_day = || InvalidDate::NotADay(text.to_owned());
        let shaped = text.len() == "YYYY-MM-DD".len()
            && text.bytes().enumerate().all(|(index, byte)| match index {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return Err(not_a_day());
        }
        let date = Self(text.parse().map_err(|_| not_a_day())?);
        // East of Greenwich, the author's today may be UTC's tomorrow.
        let tomorrow = Self::today().0.tomorrow().map_err(|_| not_a_day())?;
        if date.0 > tomorrow {
            return Err(InvalidDate::Future(date));
        }
        Ok(date)
    }
}

impl fmt::Display for CompatibilityDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Cron ===

impl Cron {
    /// `None` when `text` is not five fields of the cron alphabet. Ranges are not checked: the scheduler does that.
    pub fn parse(text: &str) -> Option<Self> {
        let alphabet = |c: char| c.is_ascii_alphanumeric() || "*/,-#? ".contains(c);
        let fits = text.len() <= CRON_CHARS_MAX && text.split_whitespace().count() == 5 && text.chars().all(alphabet);
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn bounded(text: &str, chars_max: usize) -> Result<(), InvalidName> {
    match text.chars().count() {
        0 => Err(InvalidName::Empty),
        chars if chars > chars_max => Err(InvalidName::TooLong { chars, chars_max }),
        _ => Ok(()),
    }
}

fn allow(text: &str, allowed: &'static str, fits: impl Fn(char) -> bool) -> Result<(), InvalidName> {
    match text.chars().find(|character| !fits(*character)) {
        Some(character) => Err(InvalidName::Character { character, allowed }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_sanitises_to_a_name_that_parses() {
        let long = "x".repeat(500);
        for (text, name) in [
            ("hello", "hello"),
            ("My Worker_2", "my-worker-2"),
            ("--a--b--", "a-b"),
            ("привет", "worker"),
            ("", "worker"),
            ("hello.worker", "hello-worker"),
            (long.as_str(), &long[..63]),
        ] {
            let sanitised = WorkerName::sanitised(text);
            assert_eq!(sanitised.as_str(), name);
            assert_eq!(sanitised.as_str().parse(), Ok(sanitised));
        }
    }

    #[test]
    fn worker_names_follow_wranglers_rules() {
        assert!("my_worker-2".parse::<WorkerName>().is_ok());
        for bad in ["", "-a", "A", "a.b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<WorkerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dates_are_days_of_the_calendar_and_not_in_the_future() {
        assert_eq!("2024-02-29".parse::<CompatibilityDate>().unwrap().to_string(), "2024-02-29");
        for bad in ["2023-02-29", "2024-1-1", "2024-01-01T00:00", "today", "", "+024-01-01"] {
            assert!(matches!(bad.parse::<CompatibilityDate>(), Err(InvalidDate::NotADay(_))));
        }
        assert!(matches!("9998-01-01".parse::<CompatibilityDate>(), Err(InvalidDate::Future(_))));
    }

    #[test]
    fn environment_names_cannot_name_another_folder() {
        assert!("staging.eu-1".parse::<EnvironmentName>().is_ok());
        for bad in ["../x", "a/b", "..", ".x", "", "a\0"] {
            assert!(bad.parse::<EnvironmentName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn crons_have_five_fields() {
        assert!(Cron::parse("*/5 * * * MON-FRI").is_some());
        for bad in ["", "* * * *", "* * * * * *", "a; b c d e"] {
            assert!(Cron::parse(bad).is_none(), "{bad:?}");
        }
    }
}
