//! Where a platform answers: for people, as it starts, and for tools on this machine, in a file.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use selvedge_control::{FirstStart, Secret};
use serde::{Deserialize, Serialize};

use crate::settings::UpSettings;
use crate::terminal;

/// Says where a running platform listens: for tools on this machine.
const ADDRESSES_FILE: &str = "addresses.json";
/// The administrator's token, with which everything else is made.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// How long a start waits for who reads its standard output.
const SAY_TIME_MAX: Duration = Duration::from_secs(1);

/// Where a platform listens, and for which account it was made.
#[derive(Debug, Serialize)]
pub struct Addresses {
    pub http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<SocketAddr>,
    /// By which clients reach the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub pid: u32,
}

/// A token that is shown this once.
pub enum Shown {
    First(FirstStart),
    /// Asked for, where another was lost.
    New(Secret),
}

// === impl Addresses ===

impl Addresses {
    /// Writes the file. A platform serves without it; tools then have to be told where.
    pub fn write(&self, data: &Path) {
        let file = data.join(ADDRESSES_FILE);
        let temporary = data.join(format!("{ADDRESSES_FILE}.new"));
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        let written = text.and_then(|text| std::fs::write(&temporary, text));
        let written = written.and_then(|()| std::fs::rename(&temporary, &file));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "where this platform listens is in no file: say it with --api");
            remove(&temporary);
        }
    }

    /// Removes the file, if it is this process's.
    pub fn remove(data: &Path) {
        #[derive(Deserialize)]
        struct Owner {
            pid: u32,
        }
        let file = data.join(ADDRESSES_FILE);
        let owner = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Owner>(&bytes).ok());
        if owner.is_some_and(|owner| owner.pid == std::process::id()) {
            remove(&file);
        }
    }
}

fn remove(file: &Path) {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %file.display(), "a file is left behind");
        }
        _ => {}
    }
}

/// The URL by which clients on this machine reach what listens there.
pub fn url_of(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        // That it listens on every address is none to ask.
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// Writes to the standard output. A reader that stands still does not hold the platform.
pub async fn say(text: String) {
    let writing = tokio::task::spawn_blocking(move || terminal::note(&text));
    if tokio::time::timeout(SAY_TIME_MAX, writing).await.is_err() {
        tracing::warn!("nobody reads the standard output: where this platform answers is written once somebody does");
    }
}

/// Says that the platform is up after `took`, and what to do next at its first start.
pub fn announcement(settings: &UpSettings, addresses: &Addresses, shown: Option<&Shown>, took: Duration) -> String {
    let port = addresses.http.port();
    let mut lines = vec![
        format!("Selvedge is up in {} ms, with its data in {}", took.as_millis(), settings.data.display()),
        format!("  workers  http://<worker>.{}:{port}/", settings.domain),
    ];
    if let Some(https) = addresses.https {
        lines.push(format!("           https://<worker>.{}:{}/", settings.domain, https.port()));
    }
    lines.push(format!("           those of every account but the first at <worker>.<subdomain>.{}", settings.domain));
    let Some(api) = &addresses.api_url else {
        lines.push("  no API: this serves what was deployed before, and takes in no change".to_owned());
        return lines.join("\n");
    };
    lines.push(format!("  API      {api}"));
    match shown {
        None => {}
        Some(Shown::First(first)) => lines.push(first_start(settings, api, first)),
        Some(Shown::New(token)) => lines.push(format!(
            "\nThe new token of the administrator is shown this once; it is in {} too, which only you can read:\n\n  {}\n\n\
             Tokens made before stay good: `selvedge token list` shows them, `selvedge token revoke` ends one.",
            settings.data.join(ADMIN_TOKEN_FILE).display(),
            token.expose()
        )),
    }
    lines.join("\n")
}

fn first_start(settings: &UpSettings, api: &str, first: &FirstStart) -> String {
    // Whoever deploys stands in another folder.
    let data = std::path::absolute(&settings.data).unwrap_or_else(|_| settings.data.clone());
    let token_file = data.join(ADMIN_TOKEN_FILE);
    format!(
        "\nThis is the first start. The account is {}.\n\
         Its token is shown this once; it is in {} too, which only you can read:\n\n  {}\n\n\
         Next, deploy a worker, from its project's folder:\n  \
         export SELVEDGE_DATA={}\n  \
         selvedge deploy\n\
         or with wrangler, from any Workers project:\n  \
         export CLOUDFLARE_API_BASE_URL={api}/client/v4\n  \
         export CLOUDFLARE_ACCOUNT_ID={}\n  \
         export CLOUDFLARE_API_TOKEN=$(cat {})\n  \
         npx wrangler deploy",
        first.account,
        token_file.display(),
        first.token.expose(),
        quoted(&data),
        first.account,
        quoted(&token_file),
    )
}

/// A path as a shell reads it as one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_this_machine() {
        assert_eq!(url_of("http", "0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url_of("https", "[::]:443".parse().unwrap()), "https://[::1]:443");
        assert_eq!(url_of("http", "192.0.2.1:8788".parse().unwrap()), "http://192.0.2.1:8788");
    }

    #[test]
    fn a_shell_reads_a_printed_path_as_one_word() {
        assert_eq!(quoted(Path::new("/var/lib/selvedge-1")), "/var/lib/selvedge-1");
        assert_eq!(quoted(Path::new("/my data/it's")), r"'/my data/it'\''s'");
    }

    #[test]
    fn the_file_of_another_process_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(ADDRESSES_FILE);
        let http = "127.0.0.1:1".parse().unwrap();
        let mut addresses =
            Addresses { http, https: None, api: None, api_url: None, account: None, pid: std::process::id() };
        addresses.write(folder.path());
        Addresses::remove(folder.path());
        assert!(!file.exists());
        addresses.pid += 1;
        addresses.write(folder.path());
        Addresses::remove(folder.path());
        assert!(file.exists());
    }
}
