//! Packages of other people, from npm, bundled and run by `selvedge dev`.
//!
//! The packages are those of `npm/package-lock.json`, in exact versions; they are installed once into the target folder.
//! The workers that use them are in `npm/workers/`; the servers that some of them talk to are in `npm/servers/` and run
//! on Node.js.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

#[path = "npm/clients.rs"]
mod clients;
#[path = "npm/frameworks.rs"]
mod frameworks;
#[path = "npm/libraries.rs"]
mod libraries;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use support::packages::{self, NEEDED};
use support::{Answer, Dev};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm")
}

/// The folder with `node_modules`.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| packages::installed(&fixtures()))
}

/// A worker of `npm/workers/` that runs.
struct Worker {
    dev: Dev,
    _project: tempfile::TempDir,
}

impl Worker {
    fn start(main: &str) -> Self {
        Self::with_vars(main, json!({}), &[])
    }

    fn with_vars(main: &str, vars: Value, arguments: &[&str]) -> Self {
        let project = tempfile::tempdir_in(installed()).unwrap();
        std::fs::copy(fixtures().join("workers").join(main), project.path().join(main)).unwrap();
        let config = json!({ "name": "npm", "main": main, "compatibility_date": "2026-11-01", "vars": vars });
        std::fs::write(project.path().join("wrangler.json"), config.to_string()).unwrap();
        Self { dev: Dev::start(&[project.path()], arguments), _project: project }
    }

    /// A worker that talks to a server of this machine, whose address it finds in the variable `name`.
    fn beside(main: &str, server: &Server, name: &str, path: &str) -> Self {
        let vars = json!({ name: format!("http://{}{path}", server.address) });
        Self::with_vars(main, vars, &["--allow-net", &server.address])
    }

    /// An example as it stands, with what its `package.json` asks for installed.
    fn example(name: &str) -> Self {
        let example = fixtures().join("../../../../examples").join(name);
        let project = tempfile::tempdir_in(installed()).unwrap();
        std::fs::create_dir(project.path().join("src")).unwrap();
        for file in ["wrangler.jsonc", "package.json", "src/index.ts"] {
            std::fs::copy(example.join(file), project.path().join(file)).unwrap();
        }
        let wanted = |folder: &Path| -> Value {
            let package = std::fs::read(folder.join("package.json")).unwrap();
            serde_json::from_slice::<Value>(&package).unwrap()["dependencies"].clone()
        };
        let here = wanted(installed());
        for (package, version) in wanted(&example).as_object().unwrap() {
            assert_eq!(here[package], *version, "npm/package.json has another {package} than the example {name}");
        }
        Self { dev: Dev::start(&[project.path()], &[]), _project: project }
    }

    fn get(&self, path: &str) -> Answer {
        self.dev.get(path)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.dev.ask(method, None, path, headers, body.as_bytes())
    }

    /// The JSON of an answer that must be a success.
    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), self.dev.output());
        answer.json()
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], &body.to_string())
    }
}

/// A server of `npm/servers/`, on a port that it chose.
struct Server {
    child: Child,
    address: String,
    /// What it printed after its port.
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Server {
    fn start(script: &str) -> Self {
        let mut child = Command::new("node")
            .arg(fixtures().join("servers").join(script))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node does not start ({error}): {NEEDED}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the server ended before it printed its port").unwrap();
        Self { child, address: format!("127.0.0.1:{port}"), lines }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
