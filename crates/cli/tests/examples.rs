//! The examples that people copy, each as it stands in `examples/`. Those that need npm are in `npm.rs`.

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
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::{Answer, Dev, PATIENCE, eventually};
use tungstenite::{Message, WebSocket};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn serve(name: &str) -> Dev {
    Dev::start(&[&example(name)], &[])
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers))
}

#[test]
fn every_example_is_tried() {
    let tried = [
        "hello",
        "hono-api",
        "html-rewriter",
        "jsx-page",
        "scheduled",
        "service-bindings",
        "static-site",
        "streaming",
        "websocket-echo",
    ];
    let mut present: Vec<String> = std::fs::read_dir(example(""))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    present.sort();
    assert_eq!(present, tried);
}

#[test]
fn hello_greets() {
    let mut dev = serve("hello");
    assert_eq!(dev.get("/you").text(), "Hello from Selvedge, at /you\n");
    assert_eq!(dev.get_of("hello", "/").text(), "Hello from Selvedge, at /\n");
    dev.wait_output("GET /you");
}

#[test]
fn html_rewriter_changes_the_page() {
    let page = serve("html-rewriter").get("/").text();
    let expected = "<!doctype html>\n<html>\n  <head><title>Plain page, rewritten</title></head>\n  <body>\n    \
                    <h1>News <small>of today</small></h1>\n    <p>Read <a href=\"https://example.com/a\" \
                    rel=\"noopener\" target=\"_blank\">this</a> and <a href=\"/b\">that</a>.</p>\n    \
                    <img src=\"photo.jpg\" loading=\"lazy\">\n    \n    \n  </body>\n</html>\n<!-- 2 links -->\n";
    assert_eq!(page, expected);
}

#[test]
fn jsx_page_escapes_what_visitors_write() {
    let dev = serve("jsx-page");
    let page = dev.get("/?name=%3Cb%3EAda");
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert!(page.text().starts_with("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"));
    assert!(page.text().contains("<h1>Hello, &lt;b&gt;Ada!</h1>"), "{}", page.text());
    assert!(dev.get("/").text().contains("<p>Tell me your name below.</p>"));
}

#[test]
fn scheduled_runs_when_it_is_told() {
    let dev = serve("scheduled");
    let answer = dev.get("/cdn-cgi/handler/scheduled?cron=0+3+*+*+1");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let runs = eventually("the report", || {
        let runs = dev.get("/").json();
        (runs[0]["report"] == "written").then_some(runs)
    });
    assert_eq!(runs[0]["cron"], "0 3 * * 1");
}

#[test]
fn service_bindings_call_streams_and_throw() {
    let dev = Dev::start(&[&example("service-bindings/front"), &example("service-bindings/accounts")], &[]);
    assert_eq!(dev.get("/any/path").text(), "accounts got GET /any/path\n");
    assert_eq!(dev.get("/call").json(), json!({ "balance": "42 EUR" }));
    assert_eq!(dev.get("/stream").json(), json!({ "total": 10 }));
    let error = dev.get("/error");
    assert_eq!((error.status, error.text().as_str()), (400, "RangeError: a deposit is more than nothing\n"));
}

#[test]
fn static_site_serves_files_and_asks_the_worker() {
    let dev = serve("static-site");
    let page = dev.get("/");
    assert!(page.text().contains("<h1>A site and its API</h1>"));
    assert_eq!((header(&page, "x-frame-options"), header(&page, "referrer-policy")), ("DENY", "no-referrer"));
    assert!(dev.get("/about").text().contains("<h1>About</h1>"));
    let moved = dev.get("/about.html");
    assert_eq!((moved.status, header(&moved, "location")), (307, "/about"));
    let style = dev.get("/style.css");
    assert_eq!(header(&style, "cache-control"), "public, max-age=3600");
    assert_eq!(header(&style, "content-type"), "text/css; charset=utf-8");
    let unchanged = dev.ask("GET", None, "/style.css", &[("if-none-match", header(&style, "etag"))], &[]);
    assert_eq!(unchanged.status, 304);
    let home = dev.get("/home");
    assert_eq!((home.status, header(&home, "location")), (301, "/"));
    let docs = dev.get("/docs/any/thing");
    assert_eq!((docs.status, header(&docs, "location")), (302, "/about"));
    assert_eq!(dev.get("/api/style-size").json(), json!({ "bytes": style.body.len() }));
    assert!(dev.get("/api/time").json()["now"].is_string());
    assert_eq!(dev.get("/api/none").status, 404);
    // A page of the application's own: a browser asks for it as a document.
    let deep = dev.ask("GET", None, "/an/app/page", &[("sec-fetch-mode", "navigate")], &[]);
    assert_eq!((deep.status, deep.text()), (200, page.text()));
}

#[test]
fn streaming_passes_pieces_on_before_the_end() {
    let dev = serve("streaming");
    let mut stream = TcpStream::connect(dev.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"POST /shout HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n4\r\none \r\n")
        .unwrap();
    let mut received = Vec::new();
    let mut read_until = |stream: &mut TcpStream, text: &str| {
        while !String::from_utf8_lossy(&received).contains(text) {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "ended before {text:?}: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..read]);
        }
    };
    read_until(&mut stream, "ONE ");
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    read_until(&mut stream, "TWO");
    read_until(&mut stream, "0\r\n\r\n");

    let events = dev.get("/clock?count=2");
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    assert_eq!(events.text().matches("data: ").count(), 2);
    let zeros = dev.get("/zeros?bytes=3000000");
    assert_eq!((header(&zeros, "content-length"), zeros.body.len()), ("3000000", 3_000_000));
}

fn dial(dev: &Dev) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(dev.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://localhost:{}/", dev.address.port());
    let (socket, response) = tungstenite::client(url, stream).unwrap();
    assert_eq!(response.status(), 101);
    socket
}

#[test]
fn websocket_echo_answers_and_closes() {
    let mut dev = serve("websocket-echo");
    assert!(dev.get("/").text().contains("new WebSocket("));
    let mut socket = dial(&dev);
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    for (sent, received) in [("one", "1: one"), ("\u{e9}t\u{e9}", "2: \u{e9}t\u{e9}")] {
        socket.send(Message::text(sent)).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(received));
    }
    socket.send(Message::binary(vec![0, 255])).unwrap();
    assert_eq!(socket.read().unwrap(), Message::binary(vec![0, 255]));
    socket.send(Message::text("bye")).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else {
        panic!("not a close");
    };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, "goodbye"));
    while socket.read().is_ok() {}
    dev.wait_output("closed with 1000 after 3 messages");
}
