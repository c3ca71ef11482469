//! Starts a real `selvedge up` on a folder of its own, and asks it over HTTP at both of its addresses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Answer, Folder, collect, eventually};

/// A running `selvedge up`.
pub struct Up {
    child: Child,
    /// Where workers answer.
    pub http: SocketAddr,
    /// Where the API answers.
    pub api: SocketAddr,
    /// The first account.
    pub account: String,
    /// The first account's admin token.
    pub token: String,
    data: PathBuf,
    output: Arc<Mutex<String>>,
    /// Removed with the program, unless the caller brought a folder.
    _own: Option<Folder>,
}

impl Up {
    /// Starts on a new folder.
    pub fn start() -> Self {
        let folder = Folder::new();
        let data = folder.path().join("data");
        let mut up = Self::start_on(&data, &[]);
        up._own = Some(folder);
        up
    }

    /// Starts on `data`, which a former start may have filled.
    pub fn start_on(data: &Path, arguments: &[&str]) -> Self {
        // What a former start left is no sign that this one is ready.
        let addresses = data.join("addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        command.arg("up").arg("--data").arg(data).args(["--http", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
        command.args(arguments).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&output));
        collect(child.stderr.take().unwrap(), Arc::clone(&output));
        let said: Value = eventually("`selvedge up` says where it listens", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the program ended with {status} before it listened:\n{}", output.lock().unwrap());
            }
            serde_json::from_slice(&std::fs::read(&addresses).ok()?).ok()
        });
        let address = |name: &str| said[name].as_str().unwrap().parse().unwrap();
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap().trim().to_owned();
        let (http, api) = (address("http"), address("api"));
        let account = said["account"].as_str().unwrap().to_owned();
        Self { child, http, api, account, token, data: data.to_owned(), output, _own: None }
    }

    /// What CLOUDFLARE_API_BASE_URL is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}/client/v4", self.api)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything the program printed.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Gets a page of the host `host`, such as `hello.localhost`.
    pub fn get(&self, host: &str, path: &str) -> Answer {
        self.ask("GET", host, path, &[], &[])
    }

    /// Asks the edge.
    pub fn ask(&self, method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        super::ask_at(self.http, host, method, path, headers, body)
    }

    /// Asks the API; `path` is what comes after `/client/v4`.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default();
        super::ask_at(self.api, &self.api.to_string(), method, &format!("/client/v4{path}"), &headers, body.as_bytes())
    }

    /// Calls a path of the first account and gives the result of an answer that must be a success.
    pub fn account_result(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let path = format!("/accounts/{}{path}", self.account);
        let answer = self.call(method, &path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}\n{}", answer.text(), self.output());
        answer.json()["result"].clone()
    }

    /// Ends the program as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells the program to stop, and waits for its end.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program printed:\n{}", self.output());
        }
    }
}
