//! What is not HTTP, or is HTTP meant to harm, gets an answer of its own and disturbs nobody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Dev, raw};

const ECHO: &str = r#"
let asked = 0;
export default {
  async fetch(request) {
    const url = new URL(request.url);
    if (url.pathname === "/asked") return new Response(String(asked));
    asked++;
    return new Response(`${request.method} ${url.pathname} ${(await request.text()).length}`);
  },
};"#;

fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ").and_then(|text| text.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("{text:?}"))
}

#[test]
fn malformed_requests_are_refused_and_disturb_nobody() {
    let (dev, _folder) = Dev::script(ECHO);
    let large = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "h".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x-many: 1\r\n".repeat(5_000));
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "p".repeat(100_000));
    for (name, request) in [
        ("no request line", "hello\r\n\r\n"),
        ("no version", "GET /\r\n\r\n"),
        ("a version that is none", "GET / HTTP/9.9\r\nhost: localhost\r\n\r\n"),
        ("a method that is none", "G@T / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ("a header without a name", "GET / HTTP/1.1\r\nhost: localhost\r\n: x\r\n\r\n"),
        ("a folded header", "GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n"),
        ("a space before the colon", "GET / HTTP/1.1\r\nhost: localhost\r\nx : a\r\n\r\n"),
        ("a zero byte", "GET / HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("an empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n"),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}"),
        ("a length that is none", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ten\r\n\r\n0123456789"),
        ("two lengths", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        ("a negative length", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n"),
        ("an unknown coding", "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n"),
        (
            "chunked, but not last",
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        ("large headers", &large),
        ("many headers", &many),
        ("a long target", &long),
    ] {
        let answer = raw(dev.address, request.as_bytes(), |got| got.windows(4).any(|four| four == b"\r\n\r\n"));
        let status = status(&answer);
        assert!((400..500).contains(&status), "{name}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(dev.get("/well").text(), "GET /well 0", "after {name}");
    }
}

#[test]
fn a_request_cannot_be_smuggled_inside_another() {
    let (dev, _folder) = Dev::script(ECHO);
    let inner = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for headers in [
        format!("content-length: {}\r\ntransfer-encoding: chunked", 5 + inner.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}", 5 + inner.len()),
        "content-length: 5\r\ntransfer-encoding: chunked".to_owned(),
    ] {
        let request = format!("POST /outer HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n0\r\n\r\n{inner}");
        let answer = String::from_utf8_lossy(&raw(dev.address, request.as_bytes(), |_| false)).into_owned();
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers}: {answer}");
        assert!(!answer.contains("/smuggled"), "{headers}: {answer}");
    }
}

#[test]
fn hosts_lead_to_their_workers() {
    let (dev, _folder) = Dev::script(ECHO);
    let answer = dev.get_of("nobody", "/");
    assert_eq!(answer.status, 404);
    let body = answer.json();
    assert_eq!(body["error"], "no_worker");
    assert!(body["message"].as_str().unwrap().contains("nobody.localhost"), "{body:#}");
    assert_eq!(dev.get_of("worker", "/x").text(), "GET /x 0");
}

/// What serde_json would take for a text of JSON, with another in it, and so on: read at once, they overflow a stack.
const NESTED: &str = r#"
const name = "$serde_json::private::RawValue";
function nested() {
  let text = "1";
  for (let i = 0; i < 50; i++) {
    const quoted = text.replaceAll("\\", "\\u005c").replaceAll('"', "\\u0022");
    text = "[".repeat(120) + `{"${name}":"${quoted}"}` + "]".repeat(120);
  }
  return { [name]: text };
}
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/log") console.log(nested());
    if (pathname === "/cf") {
      return await fetch("http://world.test/", { cf: nested() }).catch((error) => new Response(error.message));
    }
    return new Response("well");
  },
};"#;

#[test]
fn json_that_a_worker_makes_ends_nobody_elses_process() {
    let (dev, _folder) = Dev::script(NESTED);
    assert_eq!(dev.get("/log").text(), "well");
    let refused = dev.get("/cf").text();
    assert!(refused.contains("is not taken"), "{refused}");
    assert_eq!(dev.get("/").text(), "well");
}

#[test]
fn a_name_that_no_host_has_is_refused() {
    let (dev, _folder) = Dev::script(ECHO);
    for host in [format!("{}.localhost", "-".repeat(60_000)), "localhost:99999".to_owned(), "a..localhost".to_owned()] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&raw(dev.address, request.as_bytes(), |_| false)), 400, "{host:.40}");
    }
    assert_eq!(dev.get("/well").text(), "GET /well 0");
}

#[test]
fn http_2_with_prior_knowledge_is_spoken() {
    let (dev, _folder) = Dev::script(ECHO);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let answer = raw(dev.address, preface, |got| got.len() >= 9);
    assert_eq!(answer.get(3), Some(&4), "settings come first: {answer:?}");
    let url = format!("http://localhost:{}/two", dev.address.port());
    let curl = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--http2-prior-knowledge",
            "--data",
            "body",
            "--write-out",
            " %{http_version} %{http_code}",
            &url,
        ])
        .output()
        .unwrap_or_else(|error| panic!("curl does not start ({error}): README.md, \"What a machine needs\""));
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "POST /two 4 2 200");
}

#[test]
fn a_preface_that_comes_byte_by_byte_is_understood() {
    let (dev, _folder) = Dev::script(ECHO);
    let mut stream = TcpStream::connect(dev.address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    for byte in b"PUT /slowly HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab" {
        stream.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("PUT /slowly 2"), "{text}");
}

#[test]
fn a_client_that_never_ends_its_head_is_given_up() {
    let (dev, _folder) = Dev::script(ECHO);
    let began = Instant::now();
    let waiting: Vec<_> = [&b"GET / HTTP/1.1\r\nhost: loc"[..], b"PR", b""]
        .into_iter()
        .map(|head| {
            let mut stream = TcpStream::connect(dev.address).unwrap();
            stream.write_all(head).unwrap();
            stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
            (head, stream)
        })
        .collect();
    for _ in 0..200 {
        assert_eq!(dev.get("/well").text(), "GET /well 0");
    }
    for (head, mut stream) in waiting {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        if head.len() > 3 {
            assert_eq!(status(&answer), 408);
        }
    }
    assert!(began.elapsed() < support::PATIENCE);
}
