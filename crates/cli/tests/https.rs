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

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pebble::Pebble;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use support::up::Up;
use support::{Folder, PATIENCE, eventually};

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
        Self::run("ask.py", ca, hosts)
    }

    /// One connection to `host` by HTTP/3, and what is said on it step by step.
    fn by_steps(ca: &Path, host: &str, port: u16) -> Self {
        Self::run("steps.py", ca, &[host, &port.to_string()])
    }

    fn run(script: &str, ca: &Path, arguments: &[&str]) -> Self {
        static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
        let python = INSTALLED.get_or_init(|| support::python::installed("https")).join("python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/https").join(script);
        let mut command = Command::new(python);
        command.arg(script).arg(ca).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
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

    /// Of a client by steps: begins a request, and maybe ends it with its head; gives its stream.
    fn head(&mut self, method: &str, path: &str, headers: &Value, end: bool) -> Value {
        let step = json!({ "do": "head", "method": method, "path": path, "headers": headers, "end": end });
        self.ask(&step)["stream"].clone()
    }

    /// Of a client by steps: does something with a stream.
    fn step(&mut self, what: &str, stream: &Value) -> Value {
        self.ask(&json!({ "do": what, "stream": stream }))
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

    /// A client of the worker `hello` by HTTP/3, step by step.
    fn by_steps(&self) -> Client {
        Client::by_steps(&self.authority.ca(), "hello.localhost", self.up.https.unwrap().port())
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
            if (pathname === "/bare") return new Response(request.method === "HEAD" ? null : "a body");
            if (pathname === "/said") return new Response(null, { headers: { "content-length": "6" } });
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
        // A length of 0 would be wrong of what GET gets.
        assert_eq!(ask(&mut site.client, "HEAD", "/bare", None)["headers"]["content-length"], Value::Null);
        if version < 3 {
            assert_eq!(ask(&mut site.client, "HEAD", "/said", None)["headers"]["content-length"], "6");
        }
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

/// A connection on which both ends agreed to speak HTTP/2, and then the client says nothing.
fn silent(site: &Site) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&std::fs::read(site.authority.ca()).unwrap()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("hello.localhost").unwrap()).unwrap();
    let mut socket = TcpStream::connect(site.up.https.unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.complete_io(&mut socket).unwrap();
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
    StreamOwned::new(connection, socket)
}

#[test]
fn a_client_that_agrees_on_http2_and_says_nothing_is_given_up() {
    let site = Site::start(&[]);
    let ended = silent(&site).read_to_end(&mut Vec::new());
    let is_held = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!is_held, "it holds its place for ever");
}

#[test]
fn clients_that_do_not_begin_hold_up_no_stop() {
    let mut site = Site::start(&[]);
    let _secured = silent(&site);
    let mut plain = TcpStream::connect(site.up.http).unwrap();
    plain.write_all(b"PRI").unwrap();
    assert!(site.up.stop().success());
    assert!(!site.up.output().contains("still unanswered"), "{}", site.up.output());
}

fn metrics_say_in_flight(up: &Up, number: u32) -> bool {
    metrics_say(up, "in_flight", number)
}

fn metrics_say(up: &Up, what: &str, number: u32) -> bool {
    // Series of single workers are the administrator's alone.
    let token = format!("Bearer {}", up.token);
    let headers = [("authorization", token.as_str())];
    let metrics = support::ask_host(up.api, "GET", &up.api.to_string(), "/metrics", &headers, &[]).text();
    metrics.lines().any(|line| line.contains(what) && line.ends_with(&format!(" {number}")))
}

/// Codes of RFC 9114, section 8.1.
const H3_REQUEST_CANCELLED: u64 = 0x10c;
const H3_MESSAGE_ERROR: u64 = 0x10e;

#[test]
fn a_request_by_http3_that_is_not_whole_reaches_no_worker() {
    let site = Site::start(&[]);
    site.up.deploy(
        "hello",
        &json!({}),
        r#"let runs = 0;
        export default { async fetch(request) {
            if (request.method === "POST") return new Response(String(runs));
            runs += 1;
            return new Response(await request.text());
        } };"#,
    );
    let mut client = site.by_steps();
    let data = |client: &mut Client, stream: &Value| {
        client.ask(&json!({ "do": "data", "stream": stream, "text": "12345", "end": true }));
    };
    for method in ["DELETE", "OPTIONS", "GET", "HEAD"] {
        let cut = client.head(method, "/", &json!({ "content-length": "40" }), false);
        client.step("reset", &cut);
        let answer = client.step("answer", &cut);
        assert!(answer["status"].is_null() && answer["closed"].is_null(), "{method}, cut: {answer}");

        let short = client.head(method, "/", &json!({ "content-length": "40" }), true);
        let long = client.head(method, "/", &json!({ "content-length": "1" }), false);
        data(&mut client, &long);
        let no_number = client.head(method, "/", &json!({ "content-length": "five" }), true);
        for (what, stream) in [("short", short), ("long", long), ("no number", no_number)] {
            let answer = client.step("answer", &stream);
            assert!(answer["status"].is_null() && answer["closed"].is_null(), "{method}, {what}: {answer}");
            assert_eq!(answer["reset"], H3_MESSAGE_ERROR, "{method}, {what}");
        }
    }
    let whole = client.head("DELETE", "/", &json!({ "content-length": "5" }), false);
    data(&mut client, &whole);
    assert_eq!(client.step("answer", &whole)["body"], "12345");
    let asked = client.head("POST", "/", &json!({}), true);
    assert_eq!(client.step("answer", &asked)["body"], "1", "only the whole request came to the worker");
}

#[test]
fn a_request_by_http3_ends_when_its_client_wants_no_answer() {
    let site = Site::start(&[]);
    // Longer than this test waits.
    site.up.deploy(
        "hello",
        &json!({}),
        r#"const silence = () => new Promise((done) => setTimeout(done, 200_000));
        export default { async fetch(request) {
            const { pathname } = new URL(request.url);
            if (pathname === "/silent") await silence();
            let begun = false;
            return new Response(new ReadableStream({ async pull(controller) {
                if (begun) await silence();
                begun = true;
                controller.enqueue(new TextEncoder().encode("first"));
            } }));
        } };"#,
    );
    let mut client = site.by_steps();
    let silent = client.head("GET", "/silent", &json!({}), true);
    eventually("the request is under way", || metrics_say_in_flight(&site.up, 1).then_some(()));
    let stuck = client.head("GET", "/stuck", &json!({}), true);
    assert_eq!(client.step("some", &stuck)["body"], "first");
    for (stream, number) in [(silent, 1), (stuck, 2)] {
        client.step("stop", &stream);
        eventually("the request is canceled", || {
            metrics_say(&site.up, r#"worker="hello",outcome="canceled"}"#, number).then_some(())
        });
        // As it came (RFC 9000, section 3.5).
        assert_eq!(client.step("answer", &stream)["reset"], H3_REQUEST_CANCELLED);
    }
    eventually("nothing is under way", || metrics_say_in_flight(&site.up, 0).then_some(()));
}

#[test]
fn a_drain_waits_until_answers_by_http3_have_arrived() {
    let mut site = Site::start(&[]);
    site.up.deploy(
        "hello",
        &json!({}),
        r#"export default { async fetch() {
            await new Promise((done) => setTimeout(done, 1000));
            return new Response("x".repeat(3_000_000));
        } };"#,
    );
    let mut client = site.by_steps();
    let stream = client.head("GET", "/", &json!({}), true);
    eventually("the request is under way", || metrics_say_in_flight(&site.up, 1).then_some(()));
    // Nothing of the answer arrives before the program has sent what it can, and drains.
    client.ask(&json!({ "do": "away", "seconds": 4 }));
    assert!(site.up.stop().success());
    let answer = client.step("answer", &stream);
    assert_eq!((answer["status"].as_u64(), answer["length"].as_u64()), (Some(200), Some(3_000_000)), "{answer}");
}

#[test]
fn a_drain_waits_for_no_handshake_by_quic() {
    let mut site = Site::start(&[]);
    let mut client = site.by_steps();
    client.ask(&json!({ "do": "knock" }));
    assert!(site.up.stop().success());
    assert!(!site.up.output().contains("still unanswered"), "{}", site.up.output());
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

/// A platform whose certificates are from an ACME server.
struct ByAcme {
    up: Up,
    pebble: Pebble,
    /// Vouches for them.
    issuing: PathBuf,
    _folder: Folder,
}

impl ByAcme {
    /// With further arguments.
    fn start(arguments: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pebble = runtime.block_on(Pebble::start(None));
        let folder = Folder::new();
        let root = folder.file("root.pem", &pebble.root_pem());
        let issuing = folder.file("issuing.pem", &runtime.block_on(pebble.issuing_root_pem()));
        let (https, directory) = (format!("127.0.0.1:{}", pebble.tls_port), pebble.directory());
        let own = ["--https", &https, "--domain", "apps.test", "--acme", "--acme-contact", "ops@apps.test"];
        let server = ["--acme-directory", &directory, "--acme-root", root.to_str().unwrap()];
        let up = Up::start_with(&[own.as_slice(), &server, arguments].concat());
        Self { up, pebble, issuing, _folder: folder }
    }
}

#[test]
fn the_api_has_a_certificate_of_its_public_name_by_acme() {
    let ByAcme { up, issuing, pebble: _pebble, _folder } =
        ByAcme::start(&["--api", "0.0.0.0:0", "--public-url", "https://api.apps.test"]);
    let mut client = Client::new(&issuing, &["api.apps.test", "other.apps.test"]);
    let url = |host: &str| format!("https://{host}:{}/healthz", up.api.port());
    assert_eq!(client.get(2, &url("api.apps.test"))["status"], 200);
    let refused = client.ask(&json!({ "version": 1, "method": "GET", "url": url("other.apps.test") }));
    assert!(!refused["error"].is_null(), "the API has no such name: {refused}");
}

#[test]
fn certificates_are_fetched_by_acme_for_the_hosts_that_workers_have() {
    let ByAcme { mut up, pebble, issuing, _folder } = ByAcme::start(&[]);
    up.deploy("hello", &json!({}), "export default { fetch: () => new Response('well') };");
    let routes = json!([{ "pattern": "*.example.com/*" }]);
    up.well("PUT", &format!("{}/routes", up.script_path("hello")), Some(&routes));
    let began = Instant::now();
    while up.get_host("made-up.example.com", "/").text() != "well" {
        assert!(began.elapsed() < PATIENCE, "the route never answers");
    }
    let hosts = ["hello.apps.test", "stranger.apps.test", "0a1b2c3d-hello.apps.test", "made-up.example.com"];
    let port = pebble.tls_port;
    let url = |host: &str| format!("https://{host}:{port}/");
    let mut client = Client::new(&issuing, &hosts);
    let first = client.get(2, &url("hello.apps.test"));
    assert_eq!(first["body"], "well");
    for host in ["stranger.apps.test", "0a1b2c3d-hello.apps.test", "made-up.example.com"] {
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
