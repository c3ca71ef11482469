//! A running `selvedge up`, its API and its command line client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use super::{Answer, Folder, PATIENCE, ask_host, collect};

/// A running `selvedge up` on free ports, with a data folder that goes with it.
pub struct Up {
    child: Child,
    program: PathBuf,
    pub data: Folder,
    arguments: Vec<String>,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub api: SocketAddr,
    /// The account made at the first start.
    pub account: String,
    /// The administrator's token.
    pub token: String,
    output: Arc<Mutex<String>>,
}

impl Up {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(Folder::new(), arguments)
    }

    /// On a data folder that may have been used before.
    pub fn start_in(data: Folder, arguments: &[&str]) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_selvedge")), data, arguments)
    }

    /// From another file than the one that was built.
    pub fn start_program(program: &Path, data: Folder, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let output = Arc::new(Mutex::new(String::new()));
        let child = spawn(program, &data, &arguments, &output);
        let program = program.to_owned();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (account, token) = Default::default();
        let mut up =
            Self { child, program, data, arguments, http: nowhere, https: None, api: nowhere, account, token, output };
        up.learn();
        up
    }

    /// Ends the process as a power cut would, and starts another on the same data.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts again on the same data, after the process ended.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.program, &self.data, &self.arguments, &self.output);
        self.learn();
    }

    /// SIGKILL, and the process's end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the process's end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that was printed, by all its processes.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Asks a worker of the first account.
    pub fn get(&self, worker: &str, path: &str) -> Answer {
        self.get_host(&format!("{worker}.localhost:{}", self.http.port()), path)
    }

    pub fn get_host(&self, host: &str, path: &str) -> Answer {
        ask_host(self.http, "GET", host, path, &[], &[])
    }

    pub fn ask(&self, method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask_host(self.http, method, host, path, headers, body)
    }

    /// What wrangler calls `CLOUDFLARE_API_BASE_URL`.
    pub fn api_base(&self) -> String {
        format!("http://{}/client/v4", self.api)
    }

    /// Asks the API as the administrator; `path` begins behind `/client/v4`.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call_as(&self.token, method, path, body)
    }

    /// Asks the API with another token.
    pub fn call_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        ask_host(self.api, method, &self.api.to_string(), &format!("/client/v4{path}"), &headers, &body)
    }

    /// The client, told where the API is and as whom; in `folder`.
    pub fn client(&self, folder: &Path) -> Command {
        let mut command = client(folder);
        command.env("SELVEDGE_API", format!("http://{}", self.api));
        command.env("SELVEDGE_API_TOKEN", &self.token).env("SELVEDGE_ACCOUNT_ID", &self.account);
        command
    }

    /// Runs the client to its end, which must be a good one; gives what it printed on standard output.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.client(folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "selvedge {arguments:?} failed:\n{}\n{}", printed(&output), self.output());
        String::from_utf8(output.stdout).unwrap()
    }

    /// [`Self::run`] with `--json`.
    pub fn run_json(&self, folder: &Path, arguments: &[&str]) -> Value {
        let text = self.run(folder, &[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn learn(&mut self) {
        let file = self.data.path().join("addresses.json");
        let began = Instant::now();
        let addresses: Value = loop {
            if let Some(read) = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                break read;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("`selvedge up` ended with {status}:\n{}", self.output());
            }
            assert!(began.elapsed() < PATIENCE, "`selvedge up` did not start:\n{}", self.output());
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        };
        self.http = addresses["http"].as_str().unwrap().parse().unwrap();
        self.api = addresses["api"].as_str().unwrap().parse().unwrap();
        self.https = addresses["https"].as_str().map(|address| address.parse().unwrap());
        self.account = addresses["account"].as_str().unwrap().to_owned();
        let token = std::fs::read_to_string(self.data.path().join("admin.token")).unwrap();
        self.token = token.trim().to_owned();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- `selvedge up` printed:\n{}", self.output());
        }
    }
}

/// The program, with nothing set that would reach a platform.
pub fn client(folder: &Path) -> Command {
    client_of(Path::new(env!("CARGO_BIN_EXE_selvedge")), folder)
}

fn client_of(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SELVEDGE_") || text.starts_with("CLOUDFLARE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Both outputs of a program.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn spawn(program: &Path, data: &Folder, arguments: &Vec<String>, output: &Arc<Mutex<String>>) -> Child {
    // What is left of the process before says nothing of this one.
    match std::fs::remove_file(data.path().join("addresses.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    let mut command = client_of(program, data.path());
    command.arg("up").arg("--data").arg(data.path());
    for flag in ["--http", "--api"] {
        if !arguments.iter().any(|argument| argument == flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    command.args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    collect(child.stdout.take().unwrap(), Arc::clone(output));
    collect(child.stderr.take().unwrap(), Arc::clone(output));
    child
}
