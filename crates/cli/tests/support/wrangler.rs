//! The unmodified client, in two versions, on a project of its own against a running platform.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::up::{Up, printed};
use super::{Answer, Folder, finished, packages};

/// The day that projects are compatible with.
pub const COMPATIBILITY_DATE: &str = "2026-10-01";

/// How long one command may take on a machine that is busy with something else.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);

/// Which wrangler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The newest that runs on Node.js 20, on that: 4.86.
    Node20,
    /// The newest of all, on Node.js 22.
    Latest,
}

impl Client {
    fn script(self) -> PathBuf {
        let package = match self {
            Self::Node20 => "wrangler-node20",
            Self::Latest => "wrangler-latest",
        };
        packages_of_wrangler().join("node_modules").join(package).join("bin/wrangler.js")
    }

    /// The program of the Node.js for it, which is npm's too: what is on the machine may be another.
    pub fn node(self) -> PathBuf {
        let package = match self {
            Self::Node20 => "node20",
            Self::Latest => "node22",
        };
        packages_of_wrangler().join("node_modules").join(package).join("bin/node")
    }

    /// The command without arguments.
    fn command(self) -> Command {
        let mut command = Command::new(self.node());
        command.arg(self.script());
        command
    }
}

fn packages_of_wrangler() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| packages::installed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrangler")))
}

/// A project in a folder, and the client that deploys it.
pub struct Project<'up> {
    pub up: &'up Up,
    client: Client,
    folder: Folder,
}

impl<'up> Project<'up> {
    /// A worker `name` of one module.
    pub fn script(up: &'up Up, client: Client, name: &str, source: &str) -> Self {
        let project = Self::empty(up, client);
        project.file("src/index.js", source);
        project.config(name, &serde_json::json!({}));
        project
    }

    pub fn empty(up: &'up Up, client: Client) -> Self {
        Self { up, client, folder: Folder::new() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str, text: &str) {
        self.folder.file(name, text);
    }

    /// Writes the configuration of the worker `name`: `src/index.js`, and what `more` adds or replaces. Null takes away.
    pub fn config(&self, name: &str, more: &Value) {
        let mut config = serde_json::json!({
            "name": name,
            "main": "src/index.js",
            "compatibility_date": COMPATIBILITY_DATE,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.file("wrangler.json", &config.to_string());
    }

    /// Runs a command that must succeed; gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "")
    }

    /// Runs a command that reads `input` and must succeed.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> String {
        let (succeeded, text) = self.attempt(arguments, input);
        assert!(succeeded, "wrangler {arguments:?} of {:?} failed:\n{text}\n{}", self.client, self.up.output());
        text
    }

    /// Runs a command that must fail; gives what it printed.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.attempt(arguments, "");
        assert!(!succeeded, "wrangler {arguments:?} of {:?} succeeded:\n{text}", self.client);
        text
    }

    fn attempt(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let output = finished(&mut self.command(arguments), input, COMMAND_TIME_MAX);
        (output.status.success(), printed(&output))
    }

    /// The command, in the project's folder, with the three variables that a user sets.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.client.command();
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("CLOUDFLARE_API_BASE_URL", self.up.api_base())
            .env("CLOUDFLARE_API_TOKEN", &self.up.token)
            .env("CLOUDFLARE_ACCOUNT_ID", &self.up.account);
        isolate(&mut command, self.path());
        command
    }

    /// Deploys; gives the id of the version that is live then.
    pub fn deploy(&self, arguments: &[&str]) -> String {
        let mut all = vec!["deploy"];
        all.extend_from_slice(arguments);
        version_id(&self.run(&all))
    }

    /// Gets a page of the worker `name`.
    pub fn get(&self, name: &str, path: &str) -> Answer {
        self.up.get(name, path)
    }

    /// Asks the API for what is behind `path` of the account, and gives the result.
    pub fn api(&self, path: &str) -> Value {
        let path = format!("/accounts/{}{path}", self.up.account);
        let answer = self.up.call("GET", &path, None);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), self.up.output());
        answer.json()["result"].clone()
    }

    /// The text of a page that must be there.
    pub fn text(&self, name: &str, path: &str) -> String {
        let answer = self.get(name, path);
        assert_eq!(answer.status, 200, "{name} {path}: {}\n{}", answer.text(), self.up.output());
        answer.text()
    }

    /// The JSON of a page that must be there.
    pub fn json(&self, name: &str, path: &str) -> Value {
        let text = self.text(name, path);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Keeps a program of Node.js away from the network, the terminal and the user's own settings.
pub fn isolate(command: &mut Command, home: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env("PATH", path)
        .env("HOME", home)
        .env("CI", "1")
        .env("NO_COLOR", "1")
        .env("FORCE_COLOR", "0")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_SEND_ERROR_REPORTS", "false")
        .env("WRANGLER_HIDE_BANNER", "true");
}

/// The last id after "Version ID:" in what a command printed.
pub fn version_id(text: &str) -> String {
    let (_, rest) = text.rsplit_once("Version ID:").unwrap_or_else(|| panic!("no version in {text}"));
    let id = rest.split_whitespace().next().unwrap_or_default().to_owned();
    assert_eq!(id.len(), 36, "no version in {text}");
    id
}
