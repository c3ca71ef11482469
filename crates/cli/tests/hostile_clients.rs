//! Clients that mean no good, against the API and the edge of a real `selvedge up`, by raw sockets: each is told what is
//! wrong (by the API in the platform's envelope), nothing is half-written, and everybody else is answered meanwhile.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::up::Up;
use support::{Folder, eventually, resident_kib};

const BOUNDARY: &str = "----a-boundary-of-a-hostile-client";

/// How long a client may take with its request before the platform gives up on it, and then some.
const TOO_LONG: Duration = Duration::from_secs(120);

/// What a platform may grow by while it refuses a client, in KiB.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

fn head(up: &Up, method: &str, path: &str, kind: &str, length: usize) -> String {
    format!(
        "{method} /client/v4/accounts/{}/workers{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
        up.account, up.api, up.token
    )
}

fn multipart_head(up: &Up, method: &str, path: &str, length: usize) -> String {
    head(up, method, path, &format!("multipart/form-data; boundary={BOUNDARY}"), length)
}

/// Reads all that comes until the connection ends.
fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(TOO_LONG)).unwrap();
    let mut bytes = Vec::new();
    // A reset after the answer is a way to end, too.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Sends what can be sent and reads the answer: who refuses early need not read on.
fn exchange(up: &Up, head: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(up.api).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    refusal(&read_all(&mut stream))
}

/// Status and envelope of an answer.
fn refusal(bytes: &[u8]) -> (u16, Value) {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let start = body.find('{').unwrap_or_else(|| panic!("no envelope: {text}"));
    let end = body.rfind('}').unwrap();
    (status, serde_json::from_str(&body[start..=end]).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn is_refused(what: &str, (status, envelope): &(u16, Value)) {
    assert!((400..500).contains(status), "{what}: {status} {envelope}");
    assert_eq!(envelope["success"], false, "{what}: {envelope}");
    let message = envelope["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10, "{what} is told nothing: {envelope}");
    assert!(envelope["errors"][0]["code"].is_u64(), "{what}: {envelope}");
    println!("{what}: {status} {message}");
}

fn part(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("--{BOUNDARY}\r\n{head}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn metadata(text: &[u8]) -> Vec<u8> {
    part("content-disposition: form-data; name=\"metadata\"", text)
}

fn module(name: &str, kind: &str, text: &str) -> Vec<u8> {
    let head = format!("content-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\ncontent-type: {kind}");
    part(&head, text.as_bytes())
}

const GOOD: &[u8] = br#"{"main_module":"index.js","compatibility_date":"2026-10-01"}"#;
const ESM: &str = "application/javascript+module";

fn closed(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = parts.concat();
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// The names in the account, and in the folder that the data folder is in.
fn state(up: &Up) -> (Value, Vec<std::ffi::OsString>) {
    let scripts = up.well("GET", &format!("/accounts/{}/workers/scripts", up.account), None);
    let mut files: Vec<_> =
        std::fs::read_dir(up.data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    (scripts, files)
}

#[test]
fn malformed_uploads_are_refused_and_leave_nothing() {
    let up = Up::start();
    let before = state(&up);
    let main = || module("index.js", ESM, "export default { fetch: () => new Response('in') }");
    let deep = format!("{{\"main_module\":\"index.js\",\"bindings\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let mut truncated = closed(&[metadata(GOOD), main()]);
    truncated.truncate(truncated.len() - 30);
    let climbing = |name: &str| closed(&[metadata(GOOD), main(), module(name, ESM, "export default 1")]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an upload that ends in a part", truncated),
        ("no parts", closed(&[])),
        ("no metadata", closed(&[main()])),
        ("no main module", closed(&[metadata(GOOD)])),
        ("metadata twice", closed(&[metadata(GOOD), metadata(GOOD), main()])),
        ("a module twice", closed(&[metadata(GOOD), main(), main()])),
        ("metadata that is not UTF-8", closed(&[metadata(b"{\"main_module\":\"\xff\xfe\"}"), main()])),
        ("metadata that is no JSON", closed(&[metadata(b"main_module=index.js"), main()])),
        ("metadata that is a list", closed(&[metadata(b"[]"), main()])),
        ("deep metadata", closed(&[metadata(deep.as_bytes()), main()])),
        ("a module that climbs", climbing("../../climbed.js")),
        ("a module that climbs from within", climbing("a/../../../climbed.js")),
        ("a module of an absolute name", climbing("/tmp/climbed.js")),
        ("a module with a backslash", climbing("..\\climbed.js")),
        ("a module of no kind", closed(&[metadata(GOOD), module("index.js", "application/x-nothing", "1")])),
        (
            "a kind that no date is",
            closed(&[metadata(br#"{"main_module":"index.js","compatibility_date":"soon"}"#), main()]),
        ),
    ];
    for (what, body) in &cases {
        let head = multipart_head(&up, "PUT", "/scripts/target", body.len());
        is_refused(what, &exchange(&up, &head, body));
    }
    for (what, kind) in [
        ("no multipart", "application/json"),
        ("no boundary", "multipart/form-data"),
        ("a long boundary", &format!("multipart/form-data; boundary={}", "b".repeat(5_000))),
    ] {
        let body = closed(&[metadata(GOOD), main()]);
        is_refused(what, &exchange(&up, &head(&up, "PUT", "/scripts/target", kind, body.len()), &body));
    }
    assert_eq!(before, state(&up));
    // A good one still goes through.
    let body = closed(&[metadata(GOOD), main()]);
    let (status, answer) = exchange(&up, &multipart_head(&up, "PUT", "/scripts/target", body.len()), &body);
    assert_eq!((status, &answer["success"]), (200, &Value::Bool(true)), "{answer}");
}

#[test]
fn absurd_deployments_change_nothing() {
    let up = Up::start();
    let version = up.deploy("target", &serde_json::json!({}), "export default { fetch: () => new Response('in') }");
    let before = up.well("GET", &format!("{}/deployments", up.script_path("target")), None);
    let id = before["deployments"][0]["versions"][0]["version_id"].as_str().unwrap().to_owned();
    assert!(!version.is_null());
    let share = |share: &str| format!("{{\"version_id\":\"{id}\",\"percentage\":{share}}}");
    let lists = [
        String::new(),
        share("101"),
        share("-1"),
        share("99.9"),
        share("1e308"),
        share("1e999"),
        share("\"100\""),
        share("null"),
        [share("50"), share("50")].join(","),
        vec![share("1"); 100].join(","),
        share("100").replace(&id, "not-an-id"),
        share("100").replace(&id, "00000000-0000-4000-8000-000000000000"),
    ];
    for list in lists {
        let body = format!("{{\"strategy\":\"percentage\",\"versions\":[{list}]}}");
        let head = head(&up, "POST", "/scripts/target/deployments", "application/json", body.len());
        is_refused(&format!("versions [{list:.90}]"), &exchange(&up, &head, body.as_bytes()));
    }
    let mut deep = "[".repeat(200_000);
    deep.push_str(&"]".repeat(200_000));
    for body in [deep.as_bytes(), b"\xff\xfe{}", b"{", b"null", b"\"\"", b"{\"strategy\":1}"] {
        let head = head(&up, "POST", "/scripts/target/deployments", "application/json", body.len());
        is_refused(&format!("{:.20}", String::from_utf8_lossy(body)), &exchange(&up, &head, body));
    }
    assert_eq!(before, up.well("GET", &format!("{}/deployments", up.script_path("target")), None));
}

#[test]
fn a_hundred_megabytes_of_metadata_are_refused_while_they_stream() {
    let up = Up::start();
    up.well("GET", "/user/tokens/verify", None);
    let before = resident_kib(up.pid());
    let size = 100 * 1024 * 1024;
    let mut stream = TcpStream::connect(up.api).unwrap();
    let opening = part("content-disposition: form-data; name=\"metadata\"", b"{\"main_module\":\"");
    stream.write_all(multipart_head(&up, "PUT", "/scripts/target", size + opening.len()).as_bytes()).unwrap();
    stream.write_all(&opening).unwrap();
    let chunk = vec![b'a'; 64 * 1024];
    let mut sent = 0;
    while sent < size && stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    let answer = read_all(&mut stream);
    let grown = resident_kib(up.pid()).saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "the platform grew by {grown} KiB");
    is_refused("100 MB of metadata", &refusal(&answer));
    println!("{sent} bytes were taken, the platform grew by {grown} KiB");
}

#[test]
fn slow_clients_are_let_go_and_hold_up_nobody() {
    let up = Up::start();
    let connect = |text: &str| {
        let mut stream = TcpStream::connect(up.api).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let half_head = "POST /client/v4/user HTTP/1.1\r\nhost: api\r\nx: ";
    let half_body =
        format!("{}{{\"strategy\":", head(&up, "POST", "/scripts/target/deployments", "application/json", 500));
    let half_upload = format!(
        "{}--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{{",
        multipart_head(&up, "PUT", "/scripts/target", 5_000)
    );
    let mut slow: Vec<_> =
        (0..8).flat_map(|_| [connect(half_head), connect(&half_body), connect(&half_upload), connect("")]).collect();
    // A byte now and then buys no more time.
    for (at, stream) in slow.iter_mut().enumerate() {
        let began_nothing = at % 4 == 3;
        let _ = stream.write_all(if began_nothing { b"G" } else { b" " });
    }
    for _ in 0..10 {
        let began = Instant::now();
        up.well("GET", "/user/tokens/verify", None);
        assert!(began.elapsed() < Duration::from_secs(10), "others are held up");
    }
    let began = Instant::now();
    let mut told = 0;
    for stream in &mut slow {
        let answer = read_all(stream);
        assert!(began.elapsed() < TOO_LONG, "a slow client is never let go");
        if !answer.is_empty() {
            is_refused("a slow client", &refusal(&answer));
            told += 1;
        }
    }
    println!("all were let go after {:?}, {told} were told why", began.elapsed());
    assert!(told >= 16, "those whose head was there are told why");
    eventually("the API answers", || (up.call("GET", "/user/tokens/verify", None).status == 200).then_some(()));
}

#[test]
fn heads_beyond_all_measure_are_refused() {
    let up = Up::start();
    let authorization = format!("authorization: Bearer {}\r\n", up.token);
    for (what, request) in [
        ("a path of a megabyte", format!("GET /client/v4/{} HTTP/1.1\r\nhost: api\r\n\r\n", "a".repeat(1 << 20))),
        (
            "a header of a megabyte",
            format!("GET /client/v4/user HTTP/1.1\r\nhost: api\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)),
        ),
        (
            "ten thousand headers",
            format!("GET /client/v4/user HTTP/1.1\r\nhost: api\r\n{}\r\n", "x: y\r\n".repeat(10_000)),
        ),
        (
            "two lengths",
            format!(
                "POST /client/v4/user HTTP/1.1\r\nhost: api\r\n{authorization}content-length: 1\r\ncontent-length: 2\r\n\r\nab"
            ),
        ),
        ("no HTTP", "\x16\x03\x01\x02\x00\x01\x00".to_owned()),
    ] {
        let mut stream = TcpStream::connect(up.api).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = read_all(&mut stream);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{what}: {text}");
        up.well("GET", "/user/tokens/verify", None);
    }
}

/// Sends `request` and reads all that comes until the connection ends.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    String::from_utf8_lossy(&read_all(&mut stream)).into_owned()
}

const READER: &str = "export default { fetch: async (request) => new Response(await request.text()) }";

#[test]
fn first_bytes_that_come_apart_are_waited_for_and_a_client_that_leaves_is_noticed() {
    let up = Up::start();
    let mut leaving = TcpStream::connect(up.http).unwrap();
    leaving.write_all(b"P").unwrap();
    leaving.shutdown(std::net::Shutdown::Write).unwrap();
    // It is not waited for until its time is over: that would be told.
    assert!(!String::from_utf8_lossy(&read_all(&mut leaving)).contains("408"));
    let mut slow = TcpStream::connect(up.http).unwrap();
    slow.set_nodelay(true).unwrap();
    slow.write_all(b"P").unwrap();
    slow.write_all(b"OST / HTTP/1.1\r\nhost: nobody.localhost\r\nconnection: close\r\n\r\n").unwrap();
    let answer = String::from_utf8_lossy(&read_all(&mut slow)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_preface_of_http2_that_does_not_come_whole_is_given_up() {
    let up = Up::start();
    let mut slow: Vec<_> = ["P", "PRI", "PRI * HTTP/2.0\r\n\r\n"]
        .map(|begun| {
            let mut stream = TcpStream::connect(up.http).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .into();
    for stream in &mut slow {
        let answer = String::from_utf8_lossy(&read_all(stream)).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[test]
fn methods_that_are_no_workers_and_bodies_that_are_not_valid_are_refused() {
    let up = Up::start();
    up.deploy("reader", &serde_json::json!({}), READER);
    let host = format!("reader.localhost:{}", up.http.port());
    for (method, target) in [("CONNECT", host.as_str()), ("TRACE", "/")] {
        let answer = raw(up.http, &format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(answer.to_lowercase().contains("allow: get, head"), "{method}: {answer}");
    }
    let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    let answer = raw(up.http, &format!("{head}3\r\nabc\r\nzz\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("not made of chunks"), "{answer}");
    let answer = raw(up.http, &format!("{head}3\r\nabc\r\n0\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("abc"), "{answer}");
}

#[test]
fn a_body_of_which_nothing_comes_is_given_up() {
    let up = Up::start();
    up.deploy("reader", &serde_json::json!({}), READER);
    let host = format!("reader.localhost:{}", up.http.port());
    let answer = raw(up.http, &format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10\r\n\r\nabc"));
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("nothing of the request's body"), "{answer}");
}

#[test]
fn connections_leave_descriptors_to_the_rest_of_the_platform() {
    let data = Folder::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_selvedge"), "up"]);
    command.arg("--data").arg(data.path()).args(["--http", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let addresses: Value = eventually("the platform starts", || {
        serde_json::from_slice(&std::fs::read(data.path().join("addresses.json")).ok()?).ok()
    });
    let address = |name: &str| addresses[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
    let mut held: Vec<_> = (0..250).map(|_| TcpStream::connect(address("http")).unwrap()).collect();
    let mut last = held.pop().unwrap();
    let refused = String::from_utf8_lossy(&read_all(&mut last)).into_owned();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let health = raw(address("api"), "GET /healthz HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    drop(held);
    eventually("clients are served again", || {
        let mut stream = TcpStream::connect(address("http")).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: nobody.localhost\r\nconnection: close\r\n\r\n").ok()?;
        String::from_utf8_lossy(&read_all(&mut stream)).starts_with("HTTP/1.1 404 ").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
