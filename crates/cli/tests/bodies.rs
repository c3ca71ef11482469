//! Bodies of requests and responses: lengths, codings, back-pressure, and clients that go away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::io::{Read, Write};
use std::net::TcpStream;

mod support;

use support::{Dev, PATIENCE, eventually, raw};

fn start() -> (Dev, support::Folder) {
    let folder = support::Folder::new();
    let path = folder.file("worker.js", include_str!("workers/bodies.js"));
    (Dev::start(&[&path], &["--allow-net", "127.0.0.1"]), folder)
}

fn here(dev: &Dev, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", dev.address.port())
}

fn open(dev: &Dev, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(dev.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    stream
}

#[test]
fn a_stream_of_known_length_has_a_content_length() {
    let (dev, _folder) = start();
    let answer = dev.get("/fixed");
    assert_eq!((answer.header("content-length"), answer.text().as_str()), (Some("11"), "hello world"));

    let answer = dev.ask("POST", None, "/echo", &[], b"abc");
    assert_eq!((answer.header("content-length"), answer.header("x-length")), (Some("3"), Some("3")));
}

#[test]
fn a_large_body_that_is_there_whole_has_a_content_length() {
    let (dev, _folder) = start();
    for path in ["/large-text", "/large-bytes"] {
        let answer = dev.get(path);
        assert_eq!((answer.header("content-length"), answer.body.len()), (Some("3000000"), 3_000_000), "{path}");
    }
}

#[test]
fn a_length_that_a_stream_cannot_know_is_not_sent() {
    let (dev, _folder) = start();
    let answer = dev.get("/claims-length");
    assert_eq!((answer.header("content-length"), answer.text().as_str()), (None, "short"));
}

#[test]
fn a_response_that_fails_half_way_does_not_look_whole() {
    let (dev, _folder) = start();
    for path in ["/fails", "/fixed-short"] {
        let mut received = Vec::new();
        // The connection may end with a reset, which is as good.
        let _ = open(&dev, path).read_to_end(&mut received);
        let text = String::from_utf8_lossy(&received);
        assert!(!text.ends_with("0\r\n\r\n"), "{path}: {text}");
    }
}

#[test]
fn a_body_is_coded_as_its_headers_say() {
    let (dev, _folder) = start();
    for (path, coding, text) in [
        ("/gzip", "gzip", "in gzip"),
        ("/gzip-stream", "gzip", "in gzip"),
        ("/br", "br", "in brotli"),
        ("/manual", "gzip", "by hand"),
    ] {
        let answer = dev.ask("GET", None, path, &[("accept-encoding", "gzip, br")], &[]);
        assert_eq!(answer.header("content-encoding"), Some(coding), "{path}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{path}");
        assert_ne!(answer.text(), text, "{path}");
        // A client that does not say that it reads this is given what it does.
        let answer = dev.get(path);
        assert_eq!((answer.header("content-encoding"), answer.text().as_str()), (None, text), "{path}");
        let read = dev.get(&format!("/text-of?to={}", here(&dev, path))).json();
        assert_eq!(read[1], text, "{path}");
        // Wrapped once more, it is coded once.
        let again = here(&dev, &format!("/again?to={}", here(&dev, path)));
        let read = dev.get(&format!("/text-of?to={again}")).json();
        assert_eq!(read[1], text, "{path}, wrapped");
    }
}

#[test]
fn what_shrinks_is_compressed_for_clients_that_accept_it() {
    let (dev, _folder) = Dev::script(
        r#"export default { fetch(request) {
          const headers = { "content-type": "text/html", etag: '"one"' };
          if (new URL(request.url).pathname === "/short") return new Response("short", { headers });
          return new Response("does not unravel ".repeat(1000), { headers });
        } };"#,
    );
    for method in ["GET", "HEAD"] {
        for (accepted, coding) in [("gzip, deflate, br", Some("br")), ("gzip", Some("gzip")), ("zstd", None)] {
            let answer = dev.ask(method, None, "/", &[("accept-encoding", accepted)], &[]);
            assert_eq!(answer.header("content-encoding"), coding, "{method} {accepted}");
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{method} {accepted}");
            assert_eq!(answer.header("etag"), Some(if coding.is_some() { "W/\"one\"" } else { "\"one\"" }));
            assert!(coding.is_none() || answer.body.len() < 1000, "{method} {accepted}");
        }
        let answer = dev.ask(method, None, "/short", &[("accept-encoding", "br")], &[]);
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
        assert_eq!(answer.header("content-length"), Some("5"));
    }
    assert_eq!(dev.get("/").body.len(), 17_000);
}

#[test]
fn uploads_stream_through_a_worker() {
    let (dev, _folder) = start();
    let body = vec![7; 3_000_000];
    for path in ["/upload", "/pass-on"] {
        let answer = dev.ask("POST", None, &format!("{path}?to={}", here(&dev, "/count")), &[], &body);
        assert_eq!(answer.json(), serde_json::json!([3_000_000, "3000000"]), "{path}");
    }
}

#[test]
fn forms_are_parsed() {
    let (dev, _folder) = start();
    let form = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X\r\nContent-Disposition: form-data; \
                name=\"f\"; filename=\"x.bin\"\r\nContent-Type: a/b\r\n\r\nzzz\r\n--X--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=X")];
    let answer = dev.ask("POST", None, "/form", &headers, form.as_bytes());
    assert_eq!(answer.json(), serde_json::json!([["a", "1"], ["f", "x.bin", "a/b", 3]]));
}

#[test]
fn a_slow_reader_slows_the_source_down_and_its_leaving_ends_it() {
    let (mut dev, _folder) = start();
    let mut stream = open(&dev, "/endless");
    stream.read_exact(&mut [0; 1024]).unwrap();
    // While this client reads nothing, another is served.
    for _ in 0..200 {
        assert_eq!(dev.get("/nothing").status, 404);
    }
    drop(stream);
    let output = dev.wait_output("cancelled after");
    assert!(output.contains("signal aborted"), "{output}");
    let chunks = output.split("cancelled after ").nth(1).unwrap();
    let chunks: u32 = chunks.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    // What fits into the windows and the kernel's buffers: of 64 KiB each, far fewer than 50 MB.
    assert!(chunks < 800, "{chunks} chunks were made for a client that read none");
}

#[test]
fn a_client_that_leaves_aborts_the_handler_and_cancels_a_silent_source() {
    let (mut dev, _folder) = start();
    let mut stream = open(&dev, "/silent");
    let mut received = Vec::new();
    while !received.ends_with(b"first\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        received.extend_from_slice(&byte);
    }
    drop(stream);
    dev.wait_output("silent source cancelled");

    let stream = open(&dev, "/waits");
    // The request is there once another one, sent later, is answered.
    assert_eq!(dev.get("/nothing").status, 404);
    drop(stream);
    dev.wait_output("waiting handler aborted");
}

#[test]
fn an_exception_that_nobody_catches_is_logged_and_ends_nothing() {
    let (mut dev, _folder) = start();
    assert_eq!(dev.get("/rejects").text(), "unharmed");
    let output = dev.wait_output("nobody waits for this");
    assert!(output.contains("Uncaught (in promise) Error: nobody waits for this"), "{output}");
    assert_eq!(dev.get("/timer-throws").text(), "unharmed");
    dev.wait_output("Uncaught TypeError: thrown by a timer");
    eventually("an answer", || (dev.get("/fixed").status == 200).then_some(()));
}

#[test]
fn a_chunked_upload_without_a_length_is_streamed() {
    let (dev, _folder) = start();
    let request = b"POST /count HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                    3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let received = raw(dev.address, request, |bytes| bytes.ends_with(b"null]"));
    assert!(String::from_utf8_lossy(&received).contains("[5,null]"));
}
