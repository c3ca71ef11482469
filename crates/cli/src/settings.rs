//! The settings of `selvedge up`: from flags, the environment and a TOML file, in that order, each with its source.
//!
//! Every setting has one name: `log_format` is `--log-format`, `SELVEDGE_LOG_FORMAT` and `log_format = …`. A value is
//! checked by the same code wherever it comes from, and an error names where that was.

mod arguments;
mod error;
mod file;
mod print;
mod table;
mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_outbound::AllowRule;
use selvedge_tls::{LETS_ENCRYPT, Pair, Source as CertificateSource};

pub use arguments::{ConfigArguments, UpArguments};
pub use error::SettingsError;
pub use print::main;
pub use table::ISOLATES_DEFAULT;
use table::{SETTINGS, Setting};
use value::{Found, Source};

/// Read where no `--config` names another, in the working folder or else in the data folder.
const FILE_NAME: &str = "selvedge.toml";

/// All that `selvedge up` may be told.
#[derive(Debug, Clone, PartialEq)]
pub struct UpSettings {
    /// The folder that holds everything that must survive.
    pub data: PathBuf,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub api: SocketAddr,
    /// Workers answer at `<worker>.<domain>`, those of every account but the first at `<worker>.<subdomain>.<domain>`.
    pub domain: String,
    /// Where clients reach the API, if that is not where it listens. No slash at its end.
    pub public_url: Option<String>,
    /// Where the operator's certificates are.
    pub tls: Vec<CertificateSource>,
    pub acme: Option<AcmeSettings>,
    /// The key that secrets are sealed with.
    pub secrets_key: PathBuf,
    pub allow_net: Vec<AllowRule>,
    /// Most instances of one worker; `None` is the number of processors.
    pub instances: Option<usize>,
    /// Most isolates at once.
    pub isolates: usize,
    /// Memory of all workers together; `None` is half of the machine's, or of its control group's.
    pub memory_mib: Option<u64>,
    /// What is logged, as `tracing`'s filters are written.
    pub log: String,
    pub log_format: LogFormat,
    /// How long requests under way may take after the order to stop.
    pub drain: Duration,
}

/// Where certificates are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeSettings {
    pub directory: String,
    /// Mail addresses that the authority may write to.
    pub contact: Vec<String>,
    /// Certificates, PEM, that vouch for the directory's own server beside the public ones.
    pub root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The settings and where each came from.
#[derive(Debug)]
pub struct Resolved {
    pub settings: UpSettings,
    /// In the order of the table.
    found: Vec<(&'static Setting, Found)>,
    file: Option<PathBuf>,
}

// === impl Resolved ===

impl Resolved {
    /// Puts the settings together from what the command line says, the process's environment and the file.
    pub fn read(arguments: &UpArguments) -> Result<Self, SettingsError> {
        Self::resolve(arguments, Path::new(""), |name| std::env::var(name).ok())
    }

    /// `folder` is where relative paths begin that were not read from a file.
    fn resolve(
        arguments: &UpArguments,
        folder: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let early = |setting: &'static Setting| match arguments.given(setting) {
            Some(found) => Ok(Some(found)),
            None => environment(setting.variable).map(|text| Found::from_environment(setting, &text)).transpose(),
        };
        let data = early(&table::DATA)?.map_or_else(|| PathBuf::from(table::DATA_DEFAULT), |found| found.path());
        let named = arguments.config.clone().or_else(|| environment("SELVEDGE_CONFIG").map(PathBuf::from));
        let file = file::File::open(named.as_deref(), folder, &folder.join(data))?;

        let mut found = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            let one = match (early(setting)?, &file) {
                (Some(one), _) => one,
                (None, Some(file)) => file.get(setting)?.unwrap_or_else(Found::default),
                (None, None) => Found::default(),
            };
            found.push((*setting, one));
        }
        let settings = settings(&Values { found: &found })?;
        Ok(Self { settings, found, file: file.map(|file| file.path) })
    }
}

/// The values found, by setting.
struct Values<'a> {
    found: &'a [(&'static Setting, Found)],
}

impl Values<'_> {
    fn found(&self, setting: &'static Setting) -> Option<&Found> {
        let (_, found) = self.found.iter().find(|(other, _)| std::ptr::eq(*other, setting))?;
        (found.source != Source::Default).then_some(found)
    }

    /// The values of a setting, each as `parse` reads it.
    fn all<T>(
        &self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, SettingsError> {
        let Some(found) = self.found(setting) else {
            return Ok(Vec::new());
        };
        found.values.iter().map(|text| parse(text).map_err(|reason| found.wrong(setting, reason))).collect()
    }

    fn one<T>(
        &self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        Ok(self.all(setting, parse)?.pop())
    }

    /// A path, relative to the file where that is where it was found.
    fn path(&self, setting: &'static Setting) -> Result<Option<PathBuf>, SettingsError> {
        let found = self.found(setting);
        self.one(setting, |text| {
            value::not_empty(text)?;
            Ok(found.map_or_else(|| PathBuf::from(text), |found| found.beside(text)))
        })
    }
}

fn settings(values: &Values<'_>) -> Result<UpSettings, SettingsError> {
    let data = values.path(&table::DATA)?.unwrap_or_else(|| PathBuf::from(table::DATA_DEFAULT));
    let secrets_key = values.path(&table::SECRETS_KEY)?.unwrap_or_else(|| data.join("secrets.key"));
    let settings = UpSettings {
        http: values.one(&table::HTTP, value::address)?.unwrap_or(table::HTTP_DEFAULT),
        https: values.one(&table::HTTPS, value::address)?,
        api: values.one(&table::API, value::address)?.unwrap_or(table::API_DEFAULT),
        domain: values.one(&table::DOMAIN, value::domain)?.unwrap_or_else(|| table::DOMAIN_DEFAULT.to_owned()),
        public_url: values.one(&table::PUBLIC_URL, value::url)?,
        tls: values.all(&table::TLS, |text| certificates(values, text))?,
        acme: acme(values)?,
        allow_net: values.all(&table::ALLOW_NET, |text| text.parse().map_err(reason))?,
        instances: values.one(&table::INSTANCES, |text| value::number(text, 1, table::INSTANCES_MAX))?,
        isolates: values.one(&table::ISOLATES, isolates)?.unwrap_or(table::ISOLATES_DEFAULT),
        memory_mib: values
            .one(&table::MEMORY_MIB, |text| value::number(text, table::MEMORY_MIB_MIN, table::MEMORY_MIB_MAX))?,
        log: values.one(&table::LOG, value::log_filter)?.unwrap_or_else(|| table::LOG_DEFAULT.to_owned()),
        log_format: values.one(&table::LOG_FORMAT, value::log_format)?.unwrap_or(LogFormat::Text),
        drain: values
            .one(&table::DRAIN, |text| value::number(text, 0, table::DRAIN_SECONDS_MAX))?
            .map_or(table::DRAIN_DEFAULT, Duration::from_secs),
        data,
        secrets_key,
    };
    check(values, &settings)?;
    Ok(settings)
}

/// How many isolates there may be at once.
pub fn isolates(text: &str) -> Result<usize, String> {
    value::number(text, 1, table::ISOLATES_MAX)
}

fn certificates(values: &Values<'_>, text: &str) -> Result<CertificateSource, String> {
    let beside = |path: &str| values.found(&table::TLS).map_or_else(|| PathBuf::from(path), |found| found.beside(path));
    Ok(match value::certificates(text)? {
        (chain, Some(key)) => CertificateSource::Pair(Pair { chain: beside(chain), key: beside(key) }),
        (path, None) => CertificateSource::Path(beside(path)),
    })
}

fn acme(values: &Values<'_>) -> Result<Option<AcmeSettings>, SettingsError> {
    let on = values.one(&table::ACME, value::switch)?.unwrap_or(false);
    let settings = AcmeSettings {
        directory: values.one(&table::ACME_DIRECTORY, value::url)?.unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
        contact: values.all(&table::ACME_CONTACT, value::mail_address)?,
        root: values.path(&table::ACME_ROOT)?,
    };
    if !on
        && let Some((setting, found)) = values
            .found
            .iter()
            .find(|(setting, found)| setting.name.starts_with("acme_") && found.source != Source::Default)
    {
        return Err(found.wrong(setting, "it has an effect with `--acme` (or `acme = true`) only".to_owned()));
    }
    Ok(on.then_some(settings))
}

/// What must hold between settings.
fn check(values: &Values<'_>, settings: &UpSettings) -> Result<(), SettingsError> {
    let needs_https = [&table::TLS, &table::ACME].into_iter().find_map(|setting| {
        let found = values.found(setting)?;
        (!settings.tls.is_empty() || settings.acme.is_some()).then_some((setting, found))
    });
    if let (Some((setting, found)), None) = (needs_https, settings.https) {
        let reason =
            "certificates are for HTTPS, which is off: say where to listen for it, as in `--https 0.0.0.0:443`";
        return Err(found.wrong(setting, reason.to_owned()));
    }
    if let (Some(found), None, true) = (values.found(&table::HTTPS), &settings.acme, settings.tls.is_empty()) {
        let reason = "HTTPS needs a certificate: give one with `--tls CERT,KEY`, or have them fetched with `--acme`";
        return Err(found.wrong(&table::HTTPS, reason.to_owned()));
    }
    let listeners =
        [(&table::HTTP, Some(settings.http)), (&table::HTTPS, settings.https), (&table::API, Some(settings.api))];
    for (index, (setting, address)) in listeners.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else {
            continue;
        };
        let other = listeners.iter().take(index).find(|(_, other)| *other == Some(address));
        if let Some((other, _)) = other {
            let found = values.found(setting).or_else(|| values.found(other));
            return Err(SettingsError::SameAddress {
                first: other.name,
                second: setting.name,
                address,
                source_text: found.map_or_else(|| "default".to_owned(), |found| found.source.to_string()),
            });
        }
    }
    Ok(())
}

fn reason(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
