//! A value as somebody wrote it: where, and whether it can be used.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::table::{Setting, Shape};
use super::{LogFormat, SettingsError};

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    Flag(String),
    Variable(&'static str),
    File {
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    #[default]
    Default,
}

/// What was found of one setting, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub source: Source,
    pub values: Vec<String>,
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

// === impl Found ===

impl Found {
    pub fn from_environment(setting: &'static Setting, text: &str) -> Result<Self, SettingsError> {
        let values = match setting.shape {
            Shape::Many => text.split_whitespace().map(str::to_owned).collect(),
            Shape::One | Shape::Switch => vec![text.to_owned()],
        };
        Ok(Self { source: Source::Variable(setting.variable), values })
    }

    /// The error that a value of this setting cannot be used.
    pub fn wrong(&self, setting: &Setting, reason: String) -> SettingsError {
        SettingsError::Value { name: setting.name, from: self.source.clone(), reason }
    }

    /// The only value, as a path.
    pub fn path(&self) -> PathBuf {
        self.values.last().map(|text| self.beside(text)).unwrap_or_default()
    }

    /// A path; one from the file begins in the file's folder.
    pub fn beside(&self, text: &str) -> PathBuf {
        match &self.source {
            Source::File { path, .. } => path.parent().unwrap_or(Path::new("")).join(text),
            Source::Flag(_) | Source::Variable(_) | Source::Default => PathBuf::from(text),
        }
    }
}

pub fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
}

pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not ADDRESS:PORT such as 127.0.0.1:8787, 0.0.0.0:80 or [::]:443"))
}

pub fn number<N: FromStr + PartialOrd + fmt::Display + Copy>(text: &str, min: N, max: N) -> Result<N, String> {
    let number = text.parse::<N>().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a whole number from {min} to {max}"))
}

pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// A host name in lower case.
pub fn domain(text: &str) -> Result<String, String> {
    const CHARS_MAX: usize = 253;
    const LABEL_CHARS_MAX: usize = 63;
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > CHARS_MAX || !name.split('.').all(is_label) {
        return Err(format!(
            "`{text}` is not a domain such as apps.example.com: give the name alone, without scheme or port"
        ));
    }
    Ok(name)
}

/// An http or https URL without user, query and fragment; no slash at its end.
pub fn url(text: &str) -> Result<String, String> {
    let uri: ureq::http::Uri = text.parse().map_err(|_| format!("`{text}` is not a URL"))?;
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    if authority.contains('@') {
        // Not repeated: what stands before the @ may be a password.
        return Err("a URL with a user or a password is not taken here".to_owned());
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.is_empty() || uri.query().is_some() {
        return Err(format!("`{text}` is not a URL such as https://api.example.com"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub fn mail_address(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let parts = address.split_once('@').filter(|(user, host)| !user.is_empty() && host.contains('.'));
    if parts.is_none() || address.contains(char::is_whitespace) {
        return Err(format!("`{text}` is not a mail address"));
    }
    Ok(address.to_owned())
}

/// `CERT,KEY`, or one path: of a folder of such pairs, or of a file that holds both.
pub fn certificates(text: &str) -> Result<(&str, Option<&str>), String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts.as_slice() {
        [path] if !path.is_empty() => Ok((path, None)),
        [chain, key] if !chain.is_empty() && !key.is_empty() => Ok((chain, Some(key))),
        _ => Err(format!(
            "`{text}` is neither CERT,KEY (the files of a certificate chain and of its key, both PEM) nor a folder of such files"
        )),
    }
}

pub fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{text}` is not a filter such as info, debug or info,selvedge_edge=debug: {error}")),
    }
}

pub fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}
