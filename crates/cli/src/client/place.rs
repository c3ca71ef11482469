//! Which API is asked, as whom, about which account.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_project::Secret;
use serde::Deserialize;

use super::api::Api;
use super::console::Console;
use super::error::ClientError;

/// Where `selvedge up` answers if nobody says otherwise.
const API_DEFAULT: &str = "http://127.0.0.1:8788";
/// The data folder of a local `selvedge up`, unless it was told another.
const DATA_DEFAULT: &str = ".selvedge";
/// What `selvedge up` leaves in its data folder.
const ADDRESSES: &str = "addresses.json";
const TOKEN: &str = "admin.token";
/// Accounts asked for at once; who reaches more must say which.
const ACCOUNTS_PER_PAGE: &str = "50";

/// Which platform a command is about.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Platform")]
pub struct PlaceArguments {
    /// URL of the API [env: SELVEDGE_API, CLOUDFLARE_API_BASE_URL]
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// API token [env: SELVEDGE_API_TOKEN, CLOUDFLARE_API_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Account, by its id [env: SELVEDGE_ACCOUNT_ID, CLOUDFLARE_ACCOUNT_ID; default: the only one that the token reaches]
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Certificates, PEM, that vouch for the API instead of the public ones [env: SELVEDGE_CA]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print one JSON document on standard output, and all else on standard error
    #[arg(long)]
    pub json: bool,
}

/// An API and an account of it.
pub struct Place {
    pub api: Api,
    pub account: String,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    api_url: Option<String>,
    account: Option<String>,
}

/// What a data folder says of the platform that uses it.
struct Local {
    folder: PathBuf,
    url: String,
    account: Option<String>,
}

/// Where variables are looked up: the process's own before those of `.env` files.
struct Variables<'a> {
    process: &'a dyn Fn(&str) -> Option<String>,
    files: BTreeMap<String, Secret>,
}

/// What was found, before the API was asked anything.
struct Found {
    url: String,
    token: Secret,
    account: Option<String>,
    ca: Option<PathBuf>,
    note: Option<String>,
}

// === impl Place ===

impl Place {
    /// The API and the account that `arguments`, the environment, the folder's `.env` or a local platform name.
    /// `config_account` is the one in the project's config.
    pub fn find(
        arguments: &PlaceArguments,
        env: Option<&str>,
        config_account: Option<String>,
        console: &Console,
    ) -> Result<Self, ClientError> {
        let (api, account) = connect(arguments, env, console)?;
        let account = match account.or(config_account) {
            Some(account) => account,
            None => only_account(&api)?,
        };
        Ok(Self { api, account })
    }
}

/// The API, and the account if one was named.
pub fn connect(
    arguments: &PlaceArguments,
    env: Option<&str>,
    console: &Console,
) -> Result<(Api, Option<String>), ClientError> {
    let process = |name: &str| std::env::var(name).ok();
    let files = selvedge_project::dot_env(Path::new("."), env)?;
    let found = find(arguments, &Variables { process: &process, files }, Path::new("."))?;
    if let Some(note) = &found.note {
        console.progress(note);
    }
    Ok((Api::new(&found.url, found.token, found.ca.as_deref())?, found.account))
}

fn find(arguments: &PlaceArguments, variables: &Variables<'_>, folder: &Path) -> Result<Found, ClientError> {
    let named_url = arguments.api.clone().or_else(|| variables.get("SELVEDGE_API"));
    let url = named_url.or_else(|| variables.get("CLOUDFLARE_API_BASE_URL"));
    let mut token = arguments.token.clone().or_else(|| variables.get("SELVEDGE_API_TOKEN"));
    if url.is_some() {
        // A token of another platform is shown to nobody but who was named with it.
        token = token.or_else(|| variables.get("CLOUDFLARE_API_TOKEN"));
    }
    let mut account = arguments.account.clone().or_else(|| variables.get("SELVEDGE_ACCOUNT_ID"));
    if url.is_some() {
        account = account.or_else(|| variables.get("CLOUDFLARE_ACCOUNT_ID"));
    }
    // Who wrote the files of this folder may be somebody else than who set the token.
    let from_files = arguments.api.is_none() && variables.process("SELVEDGE_API").is_none();
    let from_files = from_files && variables.process("CLOUDFLARE_API_BASE_URL").is_none();
    let ca = arguments.ca.clone().or_else(|| variables.get("SELVEDGE_CA").map(PathBuf::from));
    let data = variables.get("SELVEDGE_DATA").map_or_else(|| folder.join(DATA_DEFAULT), PathBuf::from);
    let mut note =
        url.as_ref().filter(|_| from_files).map(|url| format!("asking {url}, as the .env of this folder says"));
    // The token of a local platform is given to that platform alone.
    let local = match (&url, &token) {
        (_, Some(_)) => None,
        (None, None) => local(&data),
        (Some(url), None) => local(&data).filter(|local| is_same(url, &local.url)),
    };
    if let Some(local) = local {
        let path = local.folder.join(TOKEN);
        let text = std::fs::read_to_string(&path).map_err(|source| ClientError::File { path: path.clone(), source })?;
        token = Some(text.trim().to_owned());
        account = account.or(local.account);
        if url.is_none() {
            note = Some(format!("asking the platform of {} at {}", local.folder.display(), local.url));
            let token = secret(token, &local.url)?;
            return Ok(Found { url: local.url, token, account, ca, note });
        }
    }
    let url = url.unwrap_or_else(|| {
        note = Some(format!("asking {API_DEFAULT}, as neither --api nor SELVEDGE_API says otherwise"));
        API_DEFAULT.to_owned()
    });
    let token = secret(token, &url)?;
    Ok(Found { url, token, account, ca, note })
}

fn secret(token: Option<String>, url: &str) -> Result<Secret, ClientError> {
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    match token {
        Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(token)),
        Some(_) => Err(ClientError::Usage("the token has characters that no token has: was it cut or quoted?".into())),
        None => Err(ClientError::NoToken { url: url.to_owned() }),
    }
}

/// The platform that uses a data folder, if one did.
fn local(data: &Path) -> Option<Local> {
    if !data.join(TOKEN).is_file() {
        return None;
    }
    let addresses = std::fs::read(data.join(ADDRESSES)).ok();
    let addresses: Option<Addresses> = addresses.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (url, account) = addresses.map_or((None, None), |addresses| (addresses.api_url, addresses.account));
    Some(Local { folder: data.to_owned(), url: url.unwrap_or_else(|| API_DEFAULT.to_owned()), account })
}

/// Whether two URLs lead to the same host and port, in the same way.
fn is_same(one: &str, other: &str) -> bool {
    let origin = |text: &str| text.parse::<url::Url>().ok().map(|url| url.origin());
    origin(one).is_some() && origin(one) == origin(other)
}

fn only_account(api: &Api) -> Result<String, ClientError> {
    #[derive(Deserialize)]
    struct Account {
        id: String,
        #[serde(default)]
        name: String,
    }
    let accounts: Vec<Account> = api.get(&["accounts"], &[("page", "1"), ("per_page", ACCOUNTS_PER_PAGE)])?;
    match accounts.as_slice() {
        [] => Err(ClientError::NoAccount),
        [only] => Ok(only.id.clone()),
        many => Err(ClientError::ManyAccounts {
            names: many.iter().map(|account| format!("{} ({})", account.id, account.name)).collect(),
        }),
    }
}

// === impl Variables ===

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let file = || self.files.get(name).map(|value| value.expose().to_owned());
        self.process(name).or_else(file).filter(|value| !value.trim().is_empty())
    }

    /// What the process's own environment says.
    fn process(&self, name: &str) -> Option<String> {
        (self.process)(name).filter(|value| !value.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(
        arguments: PlaceArguments,
        variables: &[(&str, &str)],
        files: &[(&str, &str)],
        folder: &Path,
    ) -> Result<Found, ClientError> {
        let process =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let files = files.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect();
        find(&arguments, &Variables { process: &process, files }, folder)
    }

    fn platform(addresses: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".selvedge")).unwrap();
        std::fs::write(folder.path().join(".selvedge/admin.token"), "slv_local\n").unwrap();
        std::fs::write(folder.path().join(".selvedge/addresses.json"), addresses).unwrap();
        folder
    }

    #[test]
    fn arguments_come_before_variables_and_those_before_files() {
        let nowhere = tempfile::tempdir().unwrap();
        let arguments = PlaceArguments { api: Some("http://a.test".into()), ..Default::default() };
        let variables = [("SELVEDGE_API", "http://b.test"), ("SELVEDGE_API_TOKEN", "process")];
        let files = [("SELVEDGE_API_TOKEN", "file"), ("CLOUDFLARE_ACCOUNT_ID", "42")];
        let found = found(arguments, &variables, &files, nowhere.path()).unwrap();
        assert_eq!((found.url.as_str(), found.token.expose()), ("http://a.test", "process"));
        assert_eq!(found.account.as_deref(), Some("42"));
    }

    #[test]
    fn a_token_of_another_platform_is_not_given_away() {
        let nowhere = tempfile::tempdir().unwrap();
        let variables = [("CLOUDFLARE_API_TOKEN", "theirs")];
        let result = found(PlaceArguments::default(), &variables, &[], nowhere.path());
        assert!(matches!(result, Err(ClientError::NoToken { .. })));
        let variables = [("CLOUDFLARE_API_TOKEN", "theirs"), ("CLOUDFLARE_API_BASE_URL", "http://c.test/client/v4")];
        let found = found(PlaceArguments::default(), &variables, &[], nowhere.path()).unwrap();
        assert_eq!((found.url.as_str(), found.token.expose()), ("http://c.test/client/v4", "theirs"));
    }

    #[test]
    fn a_local_platform_is_used_and_named_where_nothing_else_is() {
        let folder = platform(r#"{ "api_url": "http://127.0.0.1:9300", "account": "abc" }"#);
        let found = found(PlaceArguments::default(), &[], &[], folder.path()).unwrap();
        assert_eq!((found.url.as_str(), found.token.expose()), ("http://127.0.0.1:9300", "slv_local"));
        assert_eq!(found.account.as_deref(), Some("abc"));
        assert!(found.note.unwrap().contains(".selvedge"));
    }

    #[test]
    fn the_local_token_goes_to_the_local_platform_alone() {
        let folder = platform(r#"{ "api_url": "http://127.0.0.1:9300" }"#);
        let there = |url: &str| PlaceArguments { api: Some(url.into()), ..Default::default() };
        assert!(found(there("http://127.0.0.1:9300/client/v4"), &[], &[], folder.path()).is_ok());
        for url in ["http://127.0.0.1:9301", "https://127.0.0.1:9300", "http://edge.test:9300"] {
            let result = found(there(url), &[], &[], folder.path());
            assert!(matches!(result, Err(ClientError::NoToken { .. })), "{url}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        let nowhere = tempfile::tempdir().unwrap();
        let arguments = PlaceArguments { token: Some("slv_a\r\nX-Other: 1".into()), ..Default::default() };
        assert!(matches!(found(arguments, &[], &[], nowhere.path()), Err(ClientError::Usage(_))));
    }
}
