//! Which API is asked, as whom, about which account.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_project::Secret;
use serde::Deserialize;

use super::api::Api;
use super::console::Console;
use super::error::ClientError;
use super::local;

/// Where `selvedge up` answers if nobody says otherwise.
const API_DEFAULT: &str = "http://127.0.0.1:8788";
/// The data folder of a local `selvedge up`, unless it was told another.
const DATA_DEFAULT: &str = ".selvedge";
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
    let said = arguments.api.clone().or_else(|| variables.process("SELVEDGE_API"));
    let said = said.or_else(|| variables.process("CLOUDFLARE_API_BASE_URL"));
    // Who wrote the files of this folder may be somebody else than who set the token.
    let from_files = said.is_none();
    let url = said.or_else(|| variables.file("SELVEDGE_API")).or_else(|| variables.file("CLOUDFLARE_API_BASE_URL"));
    let mut token = arguments.token.clone().or_else(|| variables.get("SELVEDGE_API_TOKEN"));
    if url.is_some() {
        // A token of another platform is shown to nobody but who was named with it.
        let name = "CLOUDFLARE_API_TOKEN";
        token = token.or_else(|| if from_files { variables.file(name) } else { variables.get(name) });
    }
    let mut account = arguments.account.clone().or_else(|| variables.get("SELVEDGE_ACCOUNT_ID"));
    if url.is_some() {
        account = account.or_else(|| variables.get("CLOUDFLARE_ACCOUNT_ID"));
    }
    let ca = arguments.ca.clone().or_else(|| variables.get("SELVEDGE_CA").map(PathBuf::from));
    let named = variables.get("SELVEDGE_DATA").map(PathBuf::from);
    let data = named.clone().unwrap_or_else(|| folder.join(DATA_DEFAULT));
    let Some(url) = url else {
        if named.is_none() && !local::is_data_folder(&data) {
            let note = format!("asking {API_DEFAULT}, as neither --api nor SELVEDGE_API says otherwise");
            let token = secret(token, API_DEFAULT, None)?;
            return Ok(Found { url: API_DEFAULT.to_owned(), token, account, ca, note: Some(note) });
        }
        // Whoever else listens where a platform did is not given a token, its own least of all.
        let local = local::running(&data)?;
        if token.is_none() {
            token = local_token(&data)?;
            account = account.or(local.account);
        }
        let note = format!("asking the platform of {} at {}", local.folder.display(), local.url);
        let token = secret(token, &local.url, Some(&data))?;
        return Ok(Found { url: local.url, token, account, ca, note: Some(note) });
    };
    super::api::check_url(&url)?;
    let note = from_files.then(|| format!("asking {url}, as the .env of this folder says"));
    // The token of a local platform is given to that platform alone.
    if token.is_none() && local::url(&data)?.is_some_and(|local| is_same(&url, &local)) {
        let local = local::running(&data)?;
        token = local_token(&data)?;
        account = account.or(local.account);
    }
    let token = secret(token, &url, named.as_deref())?;
    Ok(Found { url, token, account, ca, note })
}

/// The token that a platform left in its data folder, if it did.
fn local_token(data: &Path) -> Result<Option<String>, ClientError> {
    let path = data.join(local::TOKEN);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClientError::File { path, source }),
    }
}

/// `data` is the folder in which a token was looked for.
fn secret(token: Option<String>, url: &str, data: Option<&Path>) -> Result<Secret, ClientError> {
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    match token {
        Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(token)),
        Some(_) => Err(ClientError::Usage("the token has characters that no token has: was it cut or quoted?".into())),
        None => Err(ClientError::NoToken { url: url.to_owned(), data: data.map(Path::to_owned) }),
    }
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
        self.process(name).or_else(|| self.file(name))
    }

    /// What the folder's files say.
    fn file(&self, name: &str) -> Option<String> {
        self.files.get(name).map(|value| value.expose().to_owned()).filter(|value| !value.trim().is_empty())
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

    /// A folder whose platform is this process, as far as can be seen while the file is open.
    fn platform(mut addresses: serde_json::Value) -> (tempfile::TempDir, std::fs::File) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join(".selvedge");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("admin.token"), "slv_local\n").unwrap();
        addresses["pid"] = std::process::id().into();
        std::fs::write(data.join("addresses.json"), addresses.to_string()).unwrap();
        let open = std::fs::File::create(data.join("store")).unwrap();
        (folder, open)
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
    fn a_folder_that_names_a_platform_gets_no_token_of_another() {
        let nowhere = tempfile::tempdir().unwrap();
        let variables = [("CLOUDFLARE_API_TOKEN", "theirs")];
        let files = [("SELVEDGE_API", "http://d.test")];
        let result = found(PlaceArguments::default(), &variables, &files, nowhere.path());
        assert!(matches!(result, Err(ClientError::NoToken { .. })));
        let files = [("SELVEDGE_API", "http://d.test"), ("CLOUDFLARE_API_TOKEN", "own")];
        let found = found(PlaceArguments::default(), &variables, &files, nowhere.path()).unwrap();
        assert_eq!(found.token.expose(), "own");
    }

    #[test]
    fn a_folder_does_not_lead_away_from_the_platform_that_the_process_names() {
        let nowhere = tempfile::tempdir().unwrap();
        let variables = [("CLOUDFLARE_API_BASE_URL", "http://c.test"), ("CLOUDFLARE_API_TOKEN", "theirs")];
        let found = found(PlaceArguments::default(), &variables, &[("SELVEDGE_API", "http://d.test")], nowhere.path());
        assert_eq!(found.unwrap().url, "http://c.test");
    }

    #[test]
    fn a_local_platform_is_used_and_named_where_nothing_else_is() {
        let (folder, _open) = platform(serde_json::json!({ "api_url": "http://127.0.0.1:9300", "account": "abc" }));
        let found = found(PlaceArguments::default(), &[], &[], folder.path()).unwrap();
        assert_eq!((found.url.as_str(), found.token.expose()), ("http://127.0.0.1:9300", "slv_local"));
        assert_eq!(found.account.as_deref(), Some("abc"));
        assert!(found.note.unwrap().contains(".selvedge"));
    }

    #[test]
    fn the_local_token_goes_to_the_local_platform_alone() {
        let (folder, _open) = platform(serde_json::json!({ "api_url": "http://127.0.0.1:9300" }));
        let there = |url: &str| PlaceArguments { api: Some(url.into()), ..Default::default() };
        assert!(found(there("http://127.0.0.1:9300/client/v4"), &[], &[], folder.path()).is_ok());
        for url in ["http://127.0.0.1:9301", "https://127.0.0.1:9300", "http://edge.test:9300"] {
            let result = found(there(url), &[], &[], folder.path());
            assert!(matches!(result, Err(ClientError::NoToken { .. })), "{url}");
        }
    }

    #[test]
    fn whoever_listens_where_a_platform_did_gets_no_token() {
        let (folder, open) = platform(serde_json::json!({ "api_url": "http://127.0.0.1:9300" }));
        drop(open);
        let given = PlaceArguments { token: Some("slv_given".into()), ..Default::default() };
        for arguments in [PlaceArguments::default(), given.clone()] {
            let result = found(arguments, &[], &[], folder.path());
            assert!(matches!(result, Err(ClientError::NoPlatform { .. })));
        }
        std::fs::remove_file(folder.path().join(".selvedge/addresses.json")).unwrap();
        let result = found(given, &[], &[], folder.path());
        assert!(matches!(result, Err(ClientError::NoPlatform { .. })));
    }

    #[test]
    fn a_token_that_is_given_is_for_the_platform_of_the_data_folder() {
        let (folder, _open) = platform(serde_json::json!({ "api_url": "http://127.0.0.1:9300", "account": "abc" }));
        let nowhere = tempfile::tempdir().unwrap();
        let data = folder.path().join(".selvedge");
        let variables = [("SELVEDGE_DATA", data.to_str().unwrap()), ("SELVEDGE_API_TOKEN", "slv_given")];
        let found = found(PlaceArguments::default(), &variables, &[], nowhere.path()).unwrap();
        assert_eq!((found.url.as_str(), found.token.expose()), ("http://127.0.0.1:9300", "slv_given"));
        // It may be one of another account.
        assert_eq!(found.account, None);
    }

    #[test]
    fn a_data_folder_that_is_of_no_use_is_named() {
        let nowhere = tempfile::tempdir().unwrap();
        let gone = nowhere.path().join("gone");
        let variables = [("SELVEDGE_DATA", gone.to_str().unwrap())];
        let error = found(PlaceArguments::default(), &variables, &[], nowhere.path()).err().unwrap();
        assert!(error.text().contains(gone.to_str().unwrap()), "{}", error.text());

        let (folder, _open) = platform(serde_json::json!({ "api_url": "http://127.0.0.1:9300" }));
        std::fs::remove_file(folder.path().join(".selvedge/admin.token")).unwrap();
        let error = found(PlaceArguments::default(), &[], &[], folder.path()).err().unwrap();
        assert!(error.advice().unwrap().contains(".selvedge/admin.token"), "{:?}", error.advice());
    }

    #[test]
    fn a_url_that_is_none_is_complained_of_before_a_token() {
        let nowhere = tempfile::tempdir().unwrap();
        let arguments = PlaceArguments { api: Some("nonsense".into()), ..Default::default() };
        assert!(matches!(found(arguments, &[], &[], nowhere.path()), Err(ClientError::BadUrl { .. })));
    }

    #[test]
    fn a_token_is_one_word() {
        let nowhere = tempfile::tempdir().unwrap();
        let arguments = PlaceArguments { token: Some("slv_a\r\nX-Other: 1".into()), ..Default::default() };
        assert!(matches!(found(arguments, &[], &[], nowhere.path()), Err(ClientError::Usage(_))));
    }
}
