//! Apps of frameworks that no one here wrote: built by the frameworks' own tools and adapters for Workers, deployed by the
//! unmodified wrangler to a real `selvedge up`. Pages made by the server, files and an API answer.
//!
//! The packages are those of `frameworks/package-lock.json`; the apps beside it are sources only.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use support::up::{Up, printed};
use support::wrangler::{Client, isolate, version_id};
use support::{finished, packages};

/// How long a build may take on a machine that is busy with something else.
const BUILD_TIME_MAX: Duration = Duration::from_secs(5 * 60);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks")
}

/// The folder with `node_modules`.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| packages::installed(&fixtures()))
}

/// An app that was built and deployed.
struct App {
    name: &'static str,
    up: Up,
    _folder: tempfile::TempDir,
}

impl App {
    /// Builds the app `name` with the framework's own `tool`, and deploys it.
    fn deploy(name: &'static str, tool: &str) -> Self {
        let folder = tempfile::tempdir_in(installed()).unwrap();
        copy(&fixtures().join(name), folder.path());
        let up = Up::start();
        run(&up, folder.path(), tool, &["build"]);
        let first = version_id(&run(&up, folder.path(), "wrangler", &["deploy"]));
        let second = version_id(&run(&up, folder.path(), "wrangler", &["deploy"]));
        assert_ne!(first, second);
        Self { name, up, _folder: folder }
    }

    fn get(&self, path: &str) -> support::Answer {
        self.up.get(self.name, path)
    }

    fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), self.up.output());
        answer.text()
    }

    fn post(&self, path: &str, kind: &str, body: &str) -> support::Answer {
        let host = format!("{}.localhost:{}", self.name, self.up.http.port());
        let origin = format!("http://{host}");
        let headers = [("content-type", kind), ("origin", origin.as_str()), ("accept", "text/html")];
        self.up.ask("POST", &host, path, &headers, body.as_bytes())
    }

    /// What each app has: a page that was made when it was built, one that the server makes, a form, a file, an API.
    fn answers(&self, title: &str, file: &str) {
        let home = self.page("/");
        assert!(home.contains(&format!("<h1>{title}</h1>")), "{home}");
        assert_eq!(self.page("/note.txt"), format!("A file of {file}.\n"));
        let hello = self.up.ask(
            "GET",
            &format!("{}.localhost:{}", self.name, self.up.http.port()),
            "/hello/Ada%20L%C3%B6ve",
            &[("user-agent", "a test")],
            &[],
        );
        assert_eq!(hello.status, 200, "{}", hello.text());
        assert!(hello.text().contains("Good morning, Ada Löve, from a test"), "{}", hello.text());
        let api = self.get("/api/hello?q=1").json();
        assert_eq!(api, json!({ "greeting": "Good morning", "query": "1" }));
        let posted = self.post("/api/hello", "application/json", r#"{"a":[1]}"#);
        assert_eq!((posted.status, posted.json()), (201, json!({ "a": [1] })));
        assert_eq!(self.get("/nowhere/at/all").status, 404);
    }

    /// Every script that the home page names is there, and carries what clients keep it by: an `ETag`, and `caching` if
    /// the framework says so.
    fn scripts_are_kept(&self, folder: &str, caching: Option<&str>) {
        let home = self.page("/");
        let mut found = 0;
        for part in home.split('"').filter(|part| part.contains(folder) && part.ends_with(".js")) {
            let answer = self.get(part.trim_start_matches('.'));
            assert_eq!(answer.status, 200, "{part}");
            assert!(answer.header("content-type").unwrap().starts_with("text/javascript"), "{part}");
            assert!(answer.header("etag").is_some(), "{part}");
            if caching.is_some() {
                assert_eq!(answer.header("cache-control"), caching, "{part}");
            }
            found += 1;
        }
        assert!(found > 0, "the page names no script: {home}");
    }
}

/// Runs a program of the packages on Node.js 22.
fn run(up: &Up, folder: &Path, tool: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(Client::Latest.node());
    command.arg(installed().join("node_modules/.bin").join(tool)).args(arguments).current_dir(folder).env_clear();
    isolate(&mut command, folder);
    command
        .env("PATH", path())
        .env("ASTRO_TELEMETRY_DISABLED", "1")
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        .env("CLOUDFLARE_API_BASE_URL", up.api_base())
        .env("CLOUDFLARE_API_TOKEN", &up.token)
        .env("CLOUDFLARE_ACCOUNT_ID", &up.account);
    let output = finished(&mut command, "", BUILD_TIME_MAX);
    assert!(output.status.success(), "{tool} {arguments:?} failed:\n{}\n{}", printed(&output), up.output());
    printed(&output)
}

/// Where a tool finds programs: another Node.js that it starts is the same.
fn path() -> OsString {
    let node = Client::Latest.node();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(node.parent().unwrap().to_owned()).chain(std::env::split_paths(&path)))
        .unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_sveltekit_app_answers() {
    let app = App::deploy("sveltekit", "vite");
    app.answers("SvelteKit at the edge", "SvelteKit");
    app.scripts_are_kept("_app/immutable/", Some("public, immutable, max-age=31536000"));
    let said = app.post("/hello/Ada", "application/x-www-form-urlencoded", "word=yes");
    assert!(said.text().contains("said YES"), "{}", said.text());
    let forged = app.up.ask(
        "POST",
        &format!("sveltekit.localhost:{}", app.up.http.port()),
        "/hello/Ada",
        &[("content-type", "application/x-www-form-urlencoded"), ("origin", "http://elsewhere.test")],
        b"word=yes",
    );
    assert_eq!(forged.status, 403, "the app sees the true origin of a form");
}

#[test]
fn an_astro_app_answers() {
    let app = App::deploy("astro", "astro");
    app.answers("Astro at the edge", "Astro");
}

#[test]
fn a_react_router_app_answers() {
    let app = App::deploy("react-router", "react-router");
    app.answers("React Router at the edge", "React Router");
    app.scripts_are_kept("/assets/", None);
    let said = app.post("/hello/Ada", "application/x-www-form-urlencoded", "word=yes");
    assert!(said.text().contains("said YES"), "{}", said.text());
    // The data of a route, as the client's router asks for it.
    let data = app.page("/hello/Ada.data");
    assert!(data.contains("Good morning, Ada"), "{data}");
}
