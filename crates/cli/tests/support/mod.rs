//! Starts the real program on real files, and asks it over real HTTP.
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

pub mod packages;
pub mod python;
pub mod up;
pub mod upload;
pub mod wrangler;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of workers that goes with the test.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders on the way to it; gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A running `selvedge dev`.
pub struct Dev {
    child: Child,
    pub address: SocketAddr,
    output: Arc<Mutex<String>>,
}

impl Dev {
    /// Serves `paths` on a free port.
    pub fn start(paths: &[&Path], arguments: &[&str]) -> Self {
        Self::start_in(paths, arguments, &[])
    }

    /// Serves `paths` with further variables in the environment.
    pub fn start_in(paths: &[&Path], arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        command.arg("dev").args(paths).args(["--port", "0"]).args(arguments);
        command.envs(variables.iter().copied());
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&output));
        collect(child.stderr.take().unwrap(), Arc::clone(&output));
        let text = wait_for(&output, &mut child, "http://localhost:");
        let port = text.split("http://localhost:").nth(1).unwrap();
        let port: u16 = port.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        let dev = Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), output };
        // The spare runner is started a little later.
        let began = Instant::now();
        while children(dev.pid()).len() < 2 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        dev
    }

    /// One worker in one file.
    pub fn script(source: &str) -> (Self, Folder) {
        let folder = Folder::new();
        let path = folder.file("worker.js", source);
        (Self::start(&[&path], &[]), folder)
    }

    /// Everything the program printed.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the program printed `text`; gives all that it printed.
    pub fn wait_output(&mut self, text: &str) -> String {
        let output = Arc::clone(&self.output);
        wait_for(&output, &mut self.child, text)
    }

    pub fn url(&self, worker: &str, path: &str) -> String {
        format!("http://{worker}.localhost:{}{path}", self.address.port())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the first worker.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", None, path, &[], &[])
    }

    /// Asks a worker by name.
    pub fn get_of(&self, worker: &str, path: &str) -> Answer {
        self.ask("GET", Some(worker), path, &[], &[])
    }

    pub fn ask(&self, method: &str, worker: Option<&str>, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(self.address, method, worker, path, headers, body)
    }

    /// Tells the program to stop, and waits for its end.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.stop_with("-TERM")
    }

    /// Sends a signal, and waits for the program's end.
    pub fn stop_with(&mut self, signal: &str) -> std::process::ExitStatus {
        self.signal(signal);
        self.child.wait().unwrap()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program printed:\n{}", self.output());
        }
    }
}

/// Asks over a connection of its own.
pub fn ask(
    address: SocketAddr,
    method: &str,
    worker: Option<&str>,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let host = worker.map_or_else(
        || format!("localhost:{}", address.port()),
        |worker| format!("{worker}.localhost:{}", address.port()),
    );
    ask_host(address, method, &host, path, headers, body)
}

/// Asks for a host, over a connection of its own.
pub fn ask_host(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .allow_non_standard_methods(true)
        .build()
        .into();
    let mut request =
        ureq::http::Request::builder().method(method).uri(format!("http://{address}{path}")).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = if body.is_empty() && (method == "GET" || method == "HEAD") {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body).unwrap())
    };
    let response = response.unwrap();
    let (parts, body) = response.into_parts();
    let mut bytes = Vec::new();
    body.into_reader().read_to_end(&mut bytes).unwrap();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Answer { status: parts.status.as_u16(), headers, body: bytes }
}

/// Sends bytes as they are and reads until the other end closes or `enough` says so.
pub fn raw(address: SocketAddr, request: &[u8], enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while !enough(&received) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => received.extend_from_slice(&buffer[..read]),
        }
    }
    received
}

/// Tries until `condition` holds.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, condition)
}

/// Tries for so long until `condition` holds.
pub fn within<T>(patience: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < patience, "{what} did not happen within {patience:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Runs a program that reads `input` to its end, which it must come to in so long.
pub fn finished(command: &mut Command, input: &str, time_max: Duration) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{} does not start ({error}): README.md, \"What a machine needs\"", command.get_program().display())
    });
    // What ends without reading says by itself why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let pid = child.id();
    let began = Instant::now();
    let watch = std::thread::spawn(move || child.wait_with_output().unwrap());
    while !watch.is_finished() {
        if began.elapsed() > time_max {
            // With all that it started, which would hold its outputs open.
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).status();
            let printed = up::printed(&watch.join().unwrap());
            panic!("{command:?} did not end within {time_max:?}:\n{printed}");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    watch.join().unwrap()
}

/// Appends what comes out of a program to `output`.
pub fn collect(stream: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else {
                return;
            };
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}

fn wait_for(output: &Arc<Mutex<String>>, child: &mut Child, text: &str) -> String {
    let began = Instant::now();
    loop {
        let printed = output.lock().unwrap().clone();
        if printed.contains(text) {
            return printed;
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the program ended with {status} before it printed {text:?}:\n{}", output.lock().unwrap());
        }
        assert!(began.elapsed() < PATIENCE, "the program did not print {text:?}:\n{printed}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The runners of a program.
pub fn children(pid: u32) -> std::collections::BTreeSet<u32> {
    let is_child = |path: &Path| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?);
        (state != "Z" && parent.parse() == Ok(pid)).then_some(())
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let child = entry.file_name().to_str()?.parse().ok()?;
            is_child(&entry.path()).map(|()| child)
        })
        .collect()
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The most memory that a process ever held.
pub fn resident_peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

/// The memory that a process holds.
pub fn resident_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// A server of the world: answers each request's head with what `answer` gives.
pub fn world(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer) = (stream, Arc::clone(&answer)) else {
                return;
            };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while let Ok(1) = stream.read(&mut byte) {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        let response = answer(&String::from_utf8_lossy(&head));
                        head.clear();
                        if stream.write_all(&response).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// A response of the world with a body of text.
pub fn plain(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into_bytes()
}
