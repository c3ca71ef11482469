//! Every setting there is, with its names, bounds and default.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How many values a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    /// May be given several times; a list in the file, words in the environment.
    Many,
    /// On or off.
    Switch,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// As the file has it; with dashes and `--`, as the command line has it.
    pub name: &'static str,
    pub variable: &'static str,
    pub shape: Shape,
    /// What holds where nobody says anything, for people.
    pub default: &'static str,
}

const fn setting(name: &'static str, variable: &'static str, shape: Shape, default: &'static str) -> Setting {
    Setting { name, variable, shape, default }
}

pub const DATA_DEFAULT: &str = ".selvedge";
pub const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);
pub const API_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8788);
pub const DOMAIN_DEFAULT: &str = "localhost";
pub const LOG_DEFAULT: &str = "info";
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(30);
pub const DRAIN_SECONDS_MAX: u64 = 3600;
pub const INSTANCES_MAX: usize = 1024;
pub const ISOLATES_DEFAULT: usize = 2000;
/// Each isolate takes a runner 5 of its 16,384 descriptors and 20 of the 65,530 mappings that the kernel allows.
pub const ISOLATES_MAX: usize = 2500;
/// Less holds no worker.
pub const MEMORY_MIB_MIN: u64 = 64;
pub const MEMORY_MIB_MAX: u64 = 64 * 1024 * 1024;

pub static DATA: Setting = setting("data", "SELVEDGE_DATA", Shape::One, DATA_DEFAULT);
pub static HTTP: Setting = setting("http", "SELVEDGE_HTTP", Shape::One, "127.0.0.1:8787");
pub static HTTPS: Setting = setting("https", "SELVEDGE_HTTPS", Shape::One, "off");
// `SELVEDGE_API` is the URL that clients ask, which may be another machine's.
pub static API: Setting = setting("api", "SELVEDGE_API_ADDRESS", Shape::One, "127.0.0.1:8788");
pub static DOMAIN: Setting = setting("domain", "SELVEDGE_DOMAIN", Shape::One, DOMAIN_DEFAULT);
pub static PUBLIC_URL: Setting = setting("public_url", "SELVEDGE_PUBLIC_URL", Shape::One, "where the API listens");
pub static TLS: Setting = setting("tls", "SELVEDGE_TLS", Shape::Many, "none");
pub static ACME: Setting = setting("acme", "SELVEDGE_ACME", Shape::Switch, "false");
pub static ACME_DIRECTORY: Setting =
    setting("acme_directory", "SELVEDGE_ACME_DIRECTORY", Shape::One, selvedge_tls::LETS_ENCRYPT);
pub static ACME_CONTACT: Setting = setting("acme_contact", "SELVEDGE_ACME_CONTACT", Shape::Many, "none");
pub static ACME_ROOT: Setting = setting("acme_root", "SELVEDGE_ACME_ROOT", Shape::One, "none");
pub static SECRETS_KEY: Setting =
    setting("secrets_key", "SELVEDGE_SECRETS_KEY", Shape::One, "secrets.key in the data folder");
pub static ALLOW_NET: Setting = setting("allow_net", "SELVEDGE_ALLOW_NET", Shape::Many, "none");
pub static INSTANCES: Setting = setting("instances", "SELVEDGE_INSTANCES", Shape::One, "the number of processors");
pub static ISOLATES: Setting = setting("isolates", "SELVEDGE_ISOLATES", Shape::One, "2000");
pub static MEMORY_MIB: Setting =
    setting("memory_mib", "SELVEDGE_MEMORY_MIB", Shape::One, "half of the machine's or control group's");
pub static LOG: Setting = setting("log", "SELVEDGE_LOG", Shape::One, LOG_DEFAULT);
pub static LOG_FORMAT: Setting = setting("log_format", "SELVEDGE_LOG_FORMAT", Shape::One, "text");
pub static DRAIN: Setting = setting("drain", "SELVEDGE_DRAIN", Shape::One, "30");

/// In the order in which they are printed.
pub static SETTINGS: &[&Setting] = &[
    &DATA,
    &HTTP,
    &HTTPS,
    &API,
    &PUBLIC_URL,
    &DOMAIN,
    &TLS,
    &ACME,
    &ACME_DIRECTORY,
    &ACME_CONTACT,
    &ACME_ROOT,
    &SECRETS_KEY,
    &ALLOW_NET,
    &INSTANCES,
    &ISOLATES,
    &MEMORY_MIB,
    &LOG,
    &LOG_FORMAT,
    &DRAIN,
];

// === impl Setting ===

impl Setting {
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}
