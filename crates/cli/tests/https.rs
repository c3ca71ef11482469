//! HTTPS: a client that no one here wrote asks a real `selvedge up` by HTTP/1.1, HTTP/2 and HTTP/3, and certificates come
//! from files that change and from Pebble, an ACME server.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail where they find what they did not expect"
)]

mod support;

#[path = "../../tls/tests/support/pebble.rs"]
mod pebble;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pebble::Pebble;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use support::up::Up;
use support::{Folder, PATIENCE};

/// An authority, and what it vouches for.
struct Authority {
    folder: Folder,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than what it vouches for: those would look as if they vouched for themselves.
        params.distinguished_name.push(DnType::CommonName, "An authority of this test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = Folder::new();
        folder.file("ca.pem", &issuer.pem());
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Writes a pair for `names` as `<stem>.pem` and `<stem>.key`; gives it as `--tls` has it.
    fn pair(&self, stem: &str, names: &[&str]) -> String {
        let (chain, key) = self.issue(names);
        let chain = self.folder.file(&format!("{stem}.pem"), &chain);
        let key = self.folder.file(&format!("{stem}.key"), &key);
        format!("{},{}", chain.display(), key.display())
    }

    fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// The client: a process that asks what it is told to, and keeps its connections.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// Trusts `ca` alone; finds `hosts` on this machine.
    fn new(ca: &Path, hosts: &[&str]) -> Self {
        static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
        let python = INSTALLED.get_or_init(|| support::python::installed("https")).join("python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/https/ask.py");
        let mut command = Command::new(python);
        command.arg(script).arg(ca).args(hosts).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn begin(&mut self, request: &Value) {
        writeln!(self.input, "{request}").unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.begin(request);
        self.answer()
    }

    /// The answer to a request that must get one.
    fn get(&mut self, version: u8, url: &str) -> Value {
        let answer = self.ask(&json!({ "version": version, "method": "GET", "url": url }));
        assert!(answer["error"].is_null(), "{url} by HTTP/{version}: {answer}");
        answer
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const VERSIONS: [u8; 3] = [1, 2, 3];

/// A platform with a certificate for its domain, and a client of it.
struct Site {
    authority: Authority,
    up: Up,
    client: Client,
}

impl Site {
    fn start(arguments: &[&str]) -> Self {
        let authority = Authority::new();
        let pair = authority.pair("site", &["hello.localhost", "shop.localhost", "api.localhost"]);
        let up = Up::start_with(&[&["--https", "127.0.0.1:0", "--tls", &pair], arguments].concat());
        let client = Client::new(&authority.ca(), &["hello.localhost", "shop.localhost"]);
        Self { authority, up, client }
    }

    fn url(&self, worker: &str, path: &str) -> String {
        format!("https://{worker}.localhost:{}{path}", self.up.https.unwrap().port())
    }
}

#[test]
fn every_protocol_answers_and_the_worker_sees_which_it_was() {
    let mut site = Site::start(&[]);
    site.up.deploy(
        "hello",
        &json!({}),
        r#"export default { fetch(request) {
            const { httpProtocol, tlsVersion, tlsCipher } = request.cf;
            return Response.json({ httpProtocol, tlsVersion, tlsCipher, url: request.url,
                proto: request.headers.get("x-forwarded-proto"), client: request.headers.get("cf-connecting-ip") });
        } };"#,
    );
    let url = site.url("hello", "/path?q=1");
    for (version, protocol) in VERSIONS.into_iter().zip(["HTTP/1.1", "HTTP/2", "HTTP/3"]) {
        let answer = site.client.get(version, &url);
        assert_eq!(answer["status"], 200, "{answer}");
        let seen: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(seen["httpProtocol"], protocol);
        assert_eq!(seen["tlsVersion"], "TLSv1.3");
        assert!(seen["tlsCipher"].as_str().unwrap().starts_with("AEAD-"), "{seen}");
        assert_eq!(seen["url"], url.as_str());
        assert_eq!((seen["proto"].as_str(), seen["client"].as_str()), (Some("https"), Some("127.0.0.1")));
        assert_eq!(answer["headers"]["date"].as_str().unwrap().len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
        // Who speaks HTTP/3 need not be told where it is.
        let told = answer["headers"]["alt-svc"].as_str();
        let expected = format!("h3=\":{}\"; ma=86400", site.up.https.unwrap().port());
        assert_eq!(told, (version < 3).then_some(expected.as_str()));
    }
}

#[test]
fn bodies_go_both_ways_by_every_protocol() {
    let mut site = Site::start(&[]);
    site.up.deploy(
        "shop",
        &json!({}),
        r#"export default { async fetch(request) {
            const { pathname } = new URL(request.url);
            // Not while it comes: this client reads nothing before it has sent all.
            if (pathname === "/echo") return new Response(await request.arrayBuffer());
            if (pathname === "/size") return new Response(String((await request.arrayBuffer()).byteLength));
            if (pathname === "/large") return new Response("x".repeat(5_000_000));
            if (pathname === "/none") return new Response(null, { status: 204 });
            return new Response(request.method + String(request.body === null));
        } };"#,
    );
    let large: String = (0..5_000_000_u32).map(|at| char::from(u8::try_from(at % 127).unwrap())).collect();
    for version in VERSIONS {
        let ask = |client: &mut Client, method: &str, path: &str, body: Option<&str>| {
            let url = format!("https://shop.localhost:{}{path}", site.up.https.unwrap().port());
            let mut request = json!({ "version": version, "method": method, "url": url });
            if let Some(body) = body {
                request["body"] = json!(body);
            }
            let answer = client.ask(&request);
            assert!(answer["error"].is_null(), "{method} {path} by HTTP/{version}: {answer}");
            answer
        };
        let echoed = ask(&mut site.client, "POST", "/echo", Some(&large));
        assert_eq!((echoed["length"].as_u64(), echoed["echoed"].as_bool()), (Some(5_000_000), Some(true)));
        assert_eq!(ask(&mut site.client, "GET", "/large", None)["length"], 5_000_000);
        assert_eq!(ask(&mut site.client, "POST", "/size", Some(&large))["body"], "5000000");
        assert_eq!(ask(&mut site.client, "POST", "/size", Some(""))["body"], "0");
        assert_eq!(ask(&mut site.client, "GET", "/", None)["body"], "GETtrue");
        let head = ask(&mut site.client, "HEAD", "/", None);
        assert_eq!((head["status"].as_u64(), head["length"].as_u64()), (Some(200), Some(0)));
        assert_eq!(ask(&mut site.client, "HEAD", "/none", None)["status"], 204);
        assert_eq!(ask(&mut site.client, "GET", "/none", None)["status"], 204);
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_by_every_protocol() {
    let mut site = Site::start(&[]);
    site.up.deploy("hello", &json!({}), "export default { fetch: () => new Response('well') };");
    let url = site.url("hello", "/");
    for version in VERSIONS {
        let headers = json!({ "x-large": "x".repeat(80_000) });
        let request = json!({ "version": version, "method": "GET", "url": url, "headers": headers });
        let answer = site.client.ask(&request);
        let refused = answer["status"] == 431 || !answer["error"].is_null();
        assert!(refused, "HTTP/{version}: {answer}");
        assert_eq!(site.client.get(version, &url)["body"], "well", "the next request is served");
    }
}

#[test]
fn each_name_gets_its_certificate_and_changes_are_taken_up_without_dropping_connections() {
    let authority = Authority::new();
    let first = authority.pair("first", &["hello.localhost"]);
    let second = authority.pair("second", &["shop.localhost"]);
    let up = Up::start_with(&["--https", "127.0.0.1:0", "--tls", &first, "--tls", &second]);
    let saying = "export default { fetch: (request) => new Response(new URL(request.url).hostname) };";
    up.deploy("hello", &json!({}), saying);
    up.deploy("shop", &json!({}), saying);
    let hosts = ["hello.localhost", "shop.localhost", "other.localhost"];
    let url = |host: &str| format!("https://{host}:{}/", up.https.unwrap().port());
    let mut client = Client::new(&authority.ca(), &hosts);
    let mut before = Vec::new();
    for host in ["hello.localhost", "shop.localhost"] {
        for version in VERSIONS {
            let answer = client.get(version, &url(host));
            assert_eq!(answer["body"], host);
            before.push(answer["certificate"].as_str().unwrap().to_owned());
        }
    }
    assert!(before[..3].iter().all(|one| *one == before[0]) && before[3..].iter().all(|one| *one == before[3]));
    assert_ne!(before[0], before[3]);
    let stranger = client.ask(&json!({ "version": 2, "method": "GET", "url": url("other.localhost") }));
    assert!(!stranger["error"].is_null(), "no certificate has this name: {stranger}");

    // Half of a pair is no pair: the one before serves on.
    let (chain, key) = authority.issue(&["hello.localhost"]);
    authority.folder.file("first.pem", &chain);
    let began = Instant::now();
    while !up.output().contains("a certificate is not usable") {
        assert!(began.elapsed() < PATIENCE, "{}", up.output());
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let mut newcomer = Client::new(&authority.ca(), &hosts);
    assert_eq!(newcomer.get(2, &url("hello.localhost"))["certificate"], before[0].as_str());
    authority.folder.file("first.key", &key);
    let began = Instant::now();
    loop {
        let mut newcomer = Client::new(&authority.ca(), &hosts);
        let seen = VERSIONS.map(|version| newcomer.get(version, &url("hello.localhost"))["certificate"].clone());
        if seen.iter().all(|one| *one != before[0].as_str()) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the new certificate does not serve");
    }
    // Connections that were open are the ones that they were.
    for version in VERSIONS {
        let answer = client.get(version, &url("hello.localhost"));
        assert_eq!((answer["status"].as_u64(), answer["certificate"].as_str()), (Some(200), Some(before[0].as_str())));
    }
}

#[test]
fn what_was_accepted_is_answered_when_the_program_is_told_to_stop() {
    let mut site = Site::start(&[]);
    site.up.deploy(
        "hello",
        &json!({}),
        r#"export default { async fetch() {
            await new Promise((done) => setTimeout(done, 1500));
            return new Response("x".repeat(1_000_000));
        } };"#,
    );
    let url = site.url("hello", "/");
    let hosts = ["hello.localhost"];
    let mut clients: Vec<Client> = VERSIONS.iter().map(|_| Client::new(&site.authority.ca(), &hosts)).collect();
    // Each has its connection already.
    for (client, version) in clients.iter_mut().zip(VERSIONS) {
        client.get(version, &url);
    }
    for (client, version) in clients.iter_mut().zip(VERSIONS) {
        client.begin(&json!({ "version": version, "method": "GET", "url": url }));
    }
    let began = Instant::now();
    while !metrics_say_in_flight(&site.up, 3) {
        assert!(began.elapsed() < PATIENCE, "three requests are never under way");
    }
    assert!(site.up.stop().success());
    for (client, version) in clients.iter_mut().zip(VERSIONS) {
        let answer = client.answer();
        assert_eq!(answer["length"], 1_000_000, "HTTP/{version}: {answer}");
    }
}

fn metrics_say_in_flight(up: &Up, number: u32) -> bool {
    let metrics = support::ask_host(up.api, "GET", &up.api.to_string(), "/metrics", &[], &[]).text();
    metrics.lines().any(|line| line.contains("in_flight") && line.ends_with(&format!(" {number}")))
}

#[test]
fn who_speaks_no_tls_is_told_and_nonsense_harms_nobody() {
    let mut site = Site::start(&[]);
    site.up.deploy("hello", &json!({}), "export default { fetch: () => new Response('well') };");
    let https = site.up.https.unwrap();
    let say = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(https).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let plain = say(b"GET / HTTP/1.1\r\nhost: hello.localhost\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("This port speaks HTTPS"), "{plain}");
    for nonsense in [&b"\x16\x03\x01\xff\xff"[..], b"\x16\x03\x01\x00\x05hello", &[0x16; 70_000]] {
        // Whoever stops in the middle is let go by the bound on handshakes; the rest at once.
        let mut stream = TcpStream::connect(https).unwrap();
        let _ = stream.write_all(nonsense);
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [1, 20, 1200, 1400] {
        socket.send_to(&vec![0xc3; length], https).unwrap();
    }
    let url = site.url("hello", "/");
    for version in VERSIONS {
        assert_eq!(site.client.get(version, &url)["body"], "well");
    }
}

#[test]
fn the_api_speaks_tls_where_other_machines_reach_it() {
    let site = Site::start(&["--api", "0.0.0.0:0"]);
    let port = site.up.api.port();
    let mut client = Client::new(&site.authority.ca(), &["api.localhost"]);
    let url = format!("https://api.localhost:{port}/client/v4/user/tokens/verify");
    let authorization = json!({ "authorization": format!("Bearer {}", site.up.token) });
    for version in [1, 2] {
        let answer = client.ask(&json!({ "version": version, "method": "GET", "url": url, "headers": authorization }));
        assert_eq!(answer["status"], 200, "{answer}");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: api.localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "a token is never asked for in the clear");
}

#[test]
fn certificates_are_fetched_by_acme_for_the_hosts_that_workers_have() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pebble = runtime.block_on(Pebble::start(None));
    let folder = Folder::new();
    let root = folder.file("root.pem", &pebble.root_pem());
    let https = format!("127.0.0.1:{}", pebble.tls_port);
    let directory = pebble.directory();
    let mut up = Up::start_with(&[
        "--https",
        &https,
        "--domain",
        "apps.test",
        "--acme",
        "--acme-directory",
        &directory,
        "--acme-root",
        root.to_str().unwrap(),
        "--acme-contact",
        "ops@apps.test",
    ]);
    up.deploy("hello", &json!({}), "export default { fetch: () => new Response('well') };");
    let issuing = folder.file("issuing.pem", &runtime.block_on(pebble.issuing_root_pem()));
    let hosts = ["hello.apps.test", "stranger.apps.test", "0a1b2c3d-hello.apps.test"];
    let port = pebble.tls_port;
    let url = |host: &str| format!("https://{host}:{port}/");
    let mut client = Client::new(&issuing, &hosts);
    let first = client.get(2, &url("hello.apps.test"));
    assert_eq!(first["body"], "well");
    for host in ["stranger.apps.test", "0a1b2c3d-hello.apps.test"] {
        let refused = client.ask(&json!({ "version": 1, "method": "GET", "url": url(host) }));
        assert!(!refused["error"].is_null(), "nobody gave {host} to a worker: {refused}");
    }
    assert_eq!(up.output().matches("a certificate was ordered").count(), 1, "{}", up.output());
    // What was ordered is kept.
    drop(pebble);
    up.crash_and_restart();
    let mut client = Client::new(&issuing, &hosts);
    assert_eq!(client.get(2, &url("hello.apps.test"))["certificate"], first["certificate"]);
}
