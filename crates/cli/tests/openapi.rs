//! Schemathesis, which no one here wrote, asks a real `selvedge up` for everything that its OpenAPI document has, in all
//! the wrong ways too, as one who may do anything. No answer is a server's error.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use support::up::{Up, printed};
use support::{Folder, finished, plain, python, world};

/// Runs are alike, so that what one found another finds.
const SEED: &str = "20261124";

/// Cases of one phase that one operation is asked with at most.
const EXAMPLES_MAX: &str = "12";

/// How long one run may take on a machine that is busy with something else.
const RUN_TIME_MAX: Duration = Duration::from_secs(15 * 60);

fn schemathesis() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| python::installed("schemathesis").join("schemathesis"))
}

/// Asks for everything in the document at `url`.
fn run(folder: &Folder, url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(schemathesis());
    command.args(["run", url, "--checks", "not_a_server_error", "--phases", "coverage,fuzzing"]);
    command.args(["--seed", SEED, "--max-examples", EXAMPLES_MAX, "--no-shrink", "--continue-on-failure"]);
    command.args(["--request-timeout", "30", "--suppress-health-check", "all", "--warnings", "off"]);
    command.args(arguments).current_dir(folder.path()).env("NO_COLOR", "1").env("HOME", folder.path());
    finished(&mut command, "", RUN_TIME_MAX)
}

/// Every operation was asked, and none answered with a server's error.
fn assert_well(output: &Output, up: &Up) {
    let text = printed(output);
    assert!(output.status.success(), "{text}\n{}", up.output());
    let (selected, tested) = (number_after(&text, "Selected: "), number_after(&text, "Tested: "));
    assert!(selected > 30 && tested == selected, "{tested} of {selected} operations were asked:\n{text}");
    let generated = number_before(&text, " generated");
    assert!(generated > 1_000, "{generated} cases only:\n{text}");
    println!("{generated} cases of {tested} operations");
    assert_eq!(up.call("GET", "/user/tokens/verify", None).status, 200, "the token is still good");
}

fn number_after(text: &str, word: &str) -> u64 {
    let after = text.split(word).nth(1).unwrap_or_default();
    after.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before.split_whitespace().next_back().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[test]
fn no_operation_answers_with_a_server_error() {
    let up = Up::start();
    let folder = Folder::new();
    folder.file("schemathesis.toml", &format!("[parameters]\naccount_id = \"{}\"\n", up.account));
    let url = format!("http://{}/openapi.json", up.api);
    let output = run(&folder, &url, &["--header", &format!("Authorization: Bearer {}", up.token)]);
    assert_well(&output, &up);
}

#[test]
fn no_operation_on_a_worker_that_is_there_answers_with_a_server_error() {
    let up = Up::start();
    let version = up.deploy("target", &json!({}), "export default { fetch: () => new Response('still here') }");
    let id = version["deployment_id"].as_str().unwrap();
    let folder = Folder::new();
    let parameters =
        format!("[parameters]\naccount_id = \"{}\"\nscript_name = \"target\"\nversion_id = \"{id}\"\n", up.account);
    folder.file("schemathesis.toml", &parameters);
    let url = format!("http://{}/openapi.json", up.api);
    let authorization = format!("Authorization: Bearer {}", up.token);
    let scripts = "/client/v4/accounts/{account_id}/workers/scripts/{script_name}";
    let services = "/client/v4/accounts/{account_id}/workers/services/{script_name}";
    let output = run(
        &folder,
        &url,
        &[
            "--header",
            &authorization,
            "--include-path-regex",
            "script_name",
            "--exclude-name",
            &format!("DELETE {scripts}"),
            "--exclude-name",
            &format!("DELETE {services}"),
        ],
    );
    assert_well(&output, &up);
    let answer = up.call("GET", &up.script_path("target"), None);
    assert_ne!(answer.status, 404, "the worker was there to the end: {}", answer.text());
}

#[test]
fn a_server_error_would_be_found() {
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "A server that fails", "version": "1" },
        "paths": { "/fails": { "get": { "responses": { "200": { "description": "Never." } } } } },
    });
    let server = world(move |head| {
        if head.starts_with("GET /openapi.json") {
            return plain(&document.to_string());
        }
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let output = run(&Folder::new(), &format!("http://{server}/openapi.json"), &[]);
    assert!(!output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("Server error"), "{}", printed(&output));
}
