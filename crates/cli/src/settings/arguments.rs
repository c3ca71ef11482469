//! The flags.

use std::path::PathBuf;

use clap::Args;

use super::table::{self, Setting};
use super::value::{Found, Source};

/// What `selvedge up` and `selvedge config` are told on the command line. The values are checked with those of the other
/// sources.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "\
    Each setting may also come from the environment (--log-format is SELVEDGE_LOG_FORMAT; --api is\n\
    SELVEDGE_API_ADDRESS) or from a TOML file (log_format = \"json\"). Flags come before the environment, and\n\
    that before the file: --config, SELVEDGE_CONFIG, ./selvedge.toml or selvedge.toml in the data folder.\n\
    `selvedge config` prints what holds, and why.\n\n\
    Examples:\n  \
    selvedge up\n  \
    selvedge up --data /var/lib/selvedge --http 0.0.0.0:80 --domain apps.example.com\n  \
    selvedge up --http 0.0.0.0:80 --https 0.0.0.0:443 --tls cert.pem,key.pem\n  \
    selvedge up --http 0.0.0.0:80 --https 0.0.0.0:443 --acme --acme-contact admin@example.com")]
pub struct UpArguments {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for everything that must survive [default: .selvedge]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Where workers answer [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// Where workers answer over TLS: HTTP/1.1, HTTP/2 and, by UDP, HTTP/3 [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub https: Option<String>,
    /// Where the API answers [default: 127.0.0.1:8788]
    #[arg(long, value_name = "ADDRESS")]
    pub api: Option<String>,
    /// URL by which clients reach the API, where that is not its address
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Workers answer at <worker>.<DOMAIN>, those of every account but the first at <worker>.<subdomain>.<DOMAIN>
    /// [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Certificate chain and key, PEM files, or a folder of such pairs; read again as they change; may be repeated
    #[arg(long, value_name = "CERT,KEY")]
    pub tls: Vec<String>,
    /// Fetch certificates by ACME for the hosts that workers have, as they are first asked for
    #[arg(long)]
    pub acme: bool,
    /// Authority that certificates are fetched from [default: Let's Encrypt]
    #[arg(long, value_name = "URL")]
    pub acme_directory: Option<String>,
    /// Mail address for the authority; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub acme_contact: Vec<String>,
    /// Certificates, PEM, that vouch for the authority's own server
    #[arg(long, value_name = "FILE")]
    pub acme_root: Option<String>,
    /// Key that secrets are sealed with; made at the first start [default: secrets.key in the data folder]
    #[arg(long, value_name = "FILE")]
    pub secrets_key: Option<String>,
    /// Private destination that workers may reach: HOST, HOST:PORT or a network such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "DESTINATION")]
    pub allow_net: Vec<String>,
    /// Most instances of one worker [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub instances: Option<String>,
    /// Most isolates at once, 1 to 2,500; the one idle longest ends where another is needed [default: 2000]
    #[arg(long, value_name = "N")]
    pub isolates: Option<String>,
    /// Memory that workers may hold together, in MiB, before idle ones are ended [default: half of the machine's or control group's]
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,selvedge_edge=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines are written: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Seconds that requests under way may take after the order to stop [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub drain: Option<String>,
}

/// Arguments of `selvedge config`.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    #[command(flatten)]
    pub up: UpArguments,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

// === impl UpArguments ===

impl UpArguments {
    /// What the command line says of a setting.
    pub(super) fn given(&self, setting: &'static Setting) -> Option<Found> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let values = match setting.name {
            "data" => one(&self.data),
            "http" => one(&self.http),
            "https" => one(&self.https),
            "api" => one(&self.api),
            "public_url" => one(&self.public_url),
            "domain" => one(&self.domain),
            "tls" => self.tls.clone(),
            "acme" if self.acme => vec!["true".to_owned()],
            "acme_directory" => one(&self.acme_directory),
            "acme_contact" => self.acme_contact.clone(),
            "acme_root" => one(&self.acme_root),
            "secrets_key" => one(&self.secrets_key),
            "allow_net" => self.allow_net.clone(),
            "instances" => one(&self.instances),
            "isolates" => one(&self.isolates),
            "memory_mib" => one(&self.memory_mib),
            "log" => one(&self.log),
            "log_format" => one(&self.log_format),
            "drain" => one(&self.drain),
            _ => Vec::new(),
        };
        debug_assert!(
            table::SETTINGS.iter().any(|known| std::ptr::eq(*known, setting)),
            "every setting is in the table"
        );
        (!values.is_empty()).then(|| Found { source: Source::Flag(setting.flag()), values })
    }
}
