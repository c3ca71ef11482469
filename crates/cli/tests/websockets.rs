//! WebSockets: served, dialled and passed on, with a client of another make.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::io::{Read, Write};
use std::net::TcpStream;

use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

mod support;

use support::{Dev, PATIENCE, eventually};

const WORKER: &str = include_str!("workers/websockets.js");

fn start() -> (Dev, support::Folder) {
    let folder = support::Folder::new();
    let path = folder.file("worker.js", WORKER);
    (Dev::start(&[&path], &["--allow-net", "127.0.0.1"]), folder)
}

fn connect(dev: &Dev, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(dev.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(format!("ws://localhost:{}{path}", dev.address.port()), stream).unwrap().0
}

fn close_frame(socket: &mut WebSocket<TcpStream>) -> (u16, String) {
    loop {
        match socket.read() {
            Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
            Ok(Message::Close(None)) => return (1005, String::new()),
            Ok(_) => {}
            Err(error) => panic!("no close frame: {error}"),
        }
    }
}

#[test]
fn text_binary_and_large_messages_come_back_as_they_went() {
    let (dev, _folder) = start();
    let mut socket = connect(&dev, "/echo");
    for message in [
        Message::text("hi"),
        Message::text(""),
        Message::text("\u{e9}\u{1f600}"),
        Message::binary(vec![0, 255, 7]),
        Message::binary(vec![]),
        Message::binary(vec![9; 5 * 1024 * 1024 + 1]),
        Message::text("y".repeat(3 * 1024 * 1024)),
    ] {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "a message of {} bytes", message.len());
    }
}

#[test]
fn either_side_closes_and_the_other_learns_why() {
    let (mut dev, _folder) = start();
    let mut socket = connect(&dev, "/echo");
    socket.close(Some(CloseFrame { code: 4005.into(), reason: "enough".into() })).unwrap();
    assert_eq!(close_frame(&mut socket), (4005, "enough".into()));
    dev.wait_output("closed 4005 enough true 3");

    let mut socket = connect(&dev, "/server-closes");
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    assert_eq!(close_frame(&mut socket), (4001, "bye".into()));
}

#[test]
fn a_client_that_vanishes_is_an_abnormal_close() {
    let (mut dev, _folder) = start();
    let mut socket = connect(&dev, "/echo");
    socket.send(Message::text("still here")).unwrap();
    socket.read().unwrap();
    drop(socket);
    dev.wait_output("closed 1006  false 3");
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    let (dev, _folder) = start();
    let mut socket = connect(&dev, "/flood");
    // The isolate stays usable while its messages wait.
    assert_eq!(dev.get("/").status, 404);
    for index in 0..1000 {
        let message = socket.read().unwrap().into_text().unwrap();
        assert!(message.ends_with(&format!("x{index}")), "message {index}");
    }
}

#[test]
fn a_worker_may_answer_an_upgrade_with_a_response() {
    let (dev, _folder) = start();
    let stream = TcpStream::connect(dev.address).unwrap();
    let error = tungstenite::client(format!("ws://localhost:{}/refuses", dev.address.port()), stream).unwrap_err();
    let tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(response.status(), 403);
}

#[test]
fn a_socket_that_nobody_accepts_ends() {
    let (dev, _folder) = start();
    let mut socket = connect(&dev, "/never-accepts");
    assert_eq!(close_frame(&mut socket).0, 1011);
}

#[test]
fn a_socket_without_an_upgrade_request_is_an_error() {
    let (dev, _folder) = start();
    let answer = dev.get("/echo");
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("Upgrade: websocket"), "{}", answer.text());
}

#[test]
fn a_worker_dials_in_both_ways_and_passes_sockets_on() {
    let (server, _server_folder) = start();
    let (dev, _folder) = start();
    let to = format!("http://127.0.0.1:{}/echo", server.address.port());
    for way in ["dial", "new"] {
        let seen = dev.get(&format!("/{way}?to={to}")).json();
        assert_eq!(seen, serde_json::json!(["one", "two", 3001, "done", true]), "{way}");
    }
    let refused = dev.get(&format!("/dial?to={}", to.replace("/echo", "/refuses")));
    assert_eq!(refused.text(), "refused 403");

    let mut socket = connect(&dev, &format!("/pass-on?to={to}"));
    socket.send(Message::text("by way of another")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("by way of another"));
    socket.close(Some(CloseFrame { code: 3333.into(), reason: "over".into() })).unwrap();
    assert_eq!(close_frame(&mut socket), (3333, "over".into()));
    eventually("the close at the far end", || server.output().contains("closed 3333 over true").then_some(()));
}

#[test]
fn each_message_has_cpu_time_of_its_own_and_too_much_of_it_closes_with_the_limit() {
    let folder = support::Folder::new();
    folder.file("wrangler.json", r#"{"name": "burner", "main": "worker.js", "limits": {"cpu_ms": 200}}"#);
    folder.file(
        "worker.js",
        r#"export default {
            fetch() {
                const { 0: client, 1: server } = new WebSocketPair();
                server.accept();
                server.addEventListener("message", (event) => {
                    const count = Number(event.data);
                    let sum = 0;
                    for (let i = 0; i < count; i++) sum += Math.sqrt(i);
                    server.send("done");
                });
                return new Response(null, { status: 101, webSocket: client });
            },
        };"#,
    );
    let mut dev = Dev::start(&[folder.path()], &[]);
    let mut socket = connect(&dev, "/");
    for _ in 0..60 {
        socket.send(Message::text("10000000")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("done"));
    }
    socket.send(Message::text("1e12")).unwrap();
    let (code, reason) = close_frame(&mut socket);
    assert_eq!(code, 1011);
    assert!(reason.contains("cpu_ms limit exceeded"), "{reason}");
    dev.wait_output("cpu_ms");
}

#[test]
fn a_service_binding_carries_a_socket() {
    let folder = support::Folder::new();
    let back = folder.file("back/wrangler.json", r#"{"name": "back", "main": "worker.js"}"#);
    folder.file("back/worker.js", WORKER);
    let front = folder.file(
        "front/wrangler.json",
        r#"{"name": "front", "main": "worker.js", "services": [{"binding": "BACK", "service": "back"}]}"#,
    );
    folder.file("front/worker.js", "export default { fetch: (request, env) => env.BACK.fetch(request) };");
    let dev = Dev::start(&[front.parent().unwrap(), back.parent().unwrap()], &[]);
    let mut socket = connect(&dev, "/echo");
    socket.send(Message::binary(vec![1, 2])).unwrap();
    assert_eq!(socket.read().unwrap(), Message::binary(vec![1, 2]));
    socket.close(Some(CloseFrame { code: 4000.into(), reason: "".into() })).unwrap();
    assert_eq!(close_frame(&mut socket).0, 4000);
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_how_and_so_is_the_worker() {
    let (mut dev, _folder) = start();
    // Text that is not UTF-8, masked with zeros; a frame that no client may send: without a mask.
    for (frame, expected) in [(&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007), (&[0x81, 1, b'a'][..], 1002)] {
        let mut socket = connect(&dev, "/echo");
        socket.get_mut().write_all(frame).unwrap();
        assert_eq!(close_frame(&mut socket).0, expected);
        dev.wait_output(&format!("closed {expected}"));
    }
    let mut socket = connect(&dev, "/echo");
    // It need not be taken whole.
    let _ = socket.send(Message::binary(vec![0; 32 * 1024 * 1024 + 1]));
    assert_eq!(close_frame(&mut socket).0, 1009);
    dev.wait_output("closed 1009");
}

#[test]
fn a_server_that_stops_closes_its_sockets() {
    let (mut dev, _folder) = start();
    let mut socket = connect(&dev, "/echo");
    socket.send(Message::text("here")).unwrap();
    socket.read().unwrap();
    let reading = std::thread::spawn(move || close_frame(&mut socket));
    assert!(dev.stop().success());
    assert_eq!(reading.join().unwrap().0, 1001);
}

#[test]
fn an_upgrade_is_a_get_of_version_13() {
    let (dev, _folder) = start();
    let ask = |method: &str, version: &str| {
        let mut stream = TcpStream::connect(dev.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "{method} /echo HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\
             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: {version}\r\n\
             content-length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.to_lowercase()
    };
    let other = ask("GET", "8");
    assert!(other.starts_with("http/1.1 426 ") && other.contains("sec-websocket-version: 13"), "{other}");
    let posted = ask("POST", "13");
    assert!(posted.starts_with("http/1.1 500 "), "{posted}");
}
