//! What clients may send that no good client does: each is refused in the envelope, by a 4xx, and nothing is changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use selvedge_api::{ApiConfig, Pace, Timeouts};
use serde_json::{Value, json};
use support::{Form, Platform};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// More than any answer here takes.
const LONG: Duration = Duration::from_secs(30);

/// Sends bytes as they are, and reads to the end of the connection.
async fn raw(platform: &Platform, bytes: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> (u16, Value) {
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let start = body.find('{').unwrap_or(body.len());
    let end = body.rfind('}').map_or(start, |end| end + 1);
    (status, serde_json::from_str(&body[start..end]).unwrap_or(Value::Null))
}

fn head(platform: &Platform, method: &str, path: &str, more: &str) -> String {
    let token = &platform.token;
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

fn impatient() -> ApiConfig {
    let body = Pace { span: Duration::from_millis(300), bytes_min: 1_000, ..Pace::default() };
    let (head, answer) = (Duration::from_millis(300), Duration::from_millis(300));
    ApiConfig { timeouts: Timeouts { head, body, answer }, ..ApiConfig::default() }
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_ended() {
    let platform = Platform::start_with(impatient()).await;
    let before = platform.log_end().await;
    let more = format!("content-type: {}\r\ncontent-length: 100000\r\n", Form::CONTENT_TYPE);
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let head = head(&platform, "PUT", &platform.path("/workers/scripts/slow"), &more);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        // Until the other side has enough.
        while writer.write_all(b"-").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    timeout(LONG, reader.read_to_end(&mut answer)).await.unwrap().ok();
    dripping.abort();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(text.contains("too slowly") && text.contains("\"success\":false"), "{text}");
    assert_eq!(platform.log_end().await, before);
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_answered() {
    let platform = Platform::start_with(impatient()).await;
    for begun in ["G", "PR", "GET /healthz HTTP/1.1\r\nhost: x\r\n"] {
        let (status, body) = raw(&platform, begun.as_bytes()).await;
        assert_eq!((status, &body["success"]), (408, &Value::Bool(false)), "{begun}");
    }
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_ended() {
    let platform = Platform::start_with(impatient()).await;
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let asking = async {
        // Until the other side has enough.
        while stream.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {}
    };
    timeout(LONG, asking).await.expect("the connection ends");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let platform = Platform::start().await;
    let large = format!("x-large: {}\r\n", "y".repeat(70_000));
    let (status, body) = raw(&platform, head(&platform, "GET", "/client/v4/user", &large).as_bytes()).await;
    assert_eq!((status, &body["success"], &body["errors"][0]["code"]), (431, &false.into(), &10_431.into()), "{body}");
    let many = "x: y\r\n".repeat(1_000);
    let (status, body) = raw(&platform, head(&platform, "GET", "/client/v4/user", &many).as_bytes()).await;
    assert_eq!((status, &body["errors"][0]["code"]), (431, &10_431.into()), "{body}");
}

#[tokio::test]
async fn what_is_no_http_is_told_so_in_the_envelope() {
    let platform = Platform::start().await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(66_000));
    for (sent, expected) in [
        ("\x16\x03\x01 a handshake of TLS\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nhost: x\r\n\r\n", 400),
        ("GET /client/v4/user HTTP/1.1\r\nhost x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno length\r\n", 404),
        (&long, 431),
    ] {
        let (status, body) = raw(&platform, sent.as_bytes()).await;
        assert_eq!((status, &body["success"]), (expected, &false.into()), "{:.60}: {body}", sent);
        assert!(body["errors"][0]["message"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn metadata_of_100_mb_is_refused_while_it_streams() {
    let platform = Platform::start().await;
    let before = platform.log_end().await;
    let length = 100 * 1024 * 1024;
    let more = format!("content-type: {}\r\ncontent-length: {length}\r\n", Form::CONTENT_TYPE);
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let mut begin = head(&platform, "PUT", &platform.path("/workers/scripts/large"), &more);
    let part = format!("--{}\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n", Form::BOUNDARY);
    begin.push_str(&part);
    stream.write_all(begin.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        let piece = vec![b' '; 1024 * 1024];
        let mut left = length - part.len();
        while left > 0 {
            let length = left.min(piece.len());
            writer.write_all(&piece[..length]).await.expect("a client sees the answer, not a reset");
            left -= length;
        }
        // A half that is dropped closes its direction.
        writer
    });
    let mut answer = Vec::new();
    timeout(LONG, reader.read_to_end(&mut answer)).await.unwrap().unwrap();
    drop(writing.await.unwrap());
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    assert!(text.contains("10027") && text.contains("metadata"), "{text}");
    assert_eq!(platform.log_end().await, before);
}

#[tokio::test]
async fn a_body_that_is_longer_than_said_is_refused_before_it_is_read() {
    let platform = Platform::start().await;
    for (method, path) in [
        ("PUT", platform.path("/workers/scripts/n")),
        ("PUT", platform.path("/workers/scripts/n/routes")),
        ("POST", platform.path("/workers/scripts/n/assets-upload-session")),
    ] {
        let more =
            format!("content-type: {}\r\ncontent-length: 999999999999\r\nexpect: 100-continue\r\n", Form::CONTENT_TYPE);
        let (status, body) = raw(&platform, head(&platform, method, &path, &more).as_bytes()).await;
        assert_eq!((status, &body["errors"][0]["code"]), (413, &json!(10027)), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_upload_leaves_nothing() {
    let platform = Platform::start().await;
    let before = platform.log_end().await;
    let body = Form::worker(json!({})).finish();
    let more = format!("content-type: {}\r\ncontent-length: {}\r\n", Form::CONTENT_TYPE, body.len());
    let mut bytes = head(&platform, "PUT", &platform.path("/workers/scripts/gone"), &more).into_bytes();
    bytes.extend(&body[..body.len() - 10]);
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(platform.get(&platform.path("/workers/services/gone")).await.refused(404), 10007);
    assert_eq!(platform.log_end().await, before);
}

/// An upload that is refused: its bytes, its content type, the status, and a piece of what is said.
struct Refused(Vec<u8>, &'static str, u16, &'static str);

fn uploads() -> Vec<Refused> {
    let form = Form::CONTENT_TYPE;
    let metadata = r#"{"main_module":"index.js","compatibility_date":"2026-01-01"}"#;
    let module = "application/javascript+module";
    let with = |metadata: &str| Form::new().field("metadata", metadata).file("index.js", module, b"1").finish();
    let named = |name: &str| {
        Form::new().field("metadata", metadata).file("index.js", module, b"1").file(name, module, b"").finish()
    };
    let deep = format!(r#"{{"main_module":"index.js","x":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let whole = with(metadata);
    let mut truncated = whole.clone();
    truncated.truncate(whole.len() - 20);
    let binding = |binding: &str| with(&format!(r#"{{"main_module":"index.js","bindings":[{binding}]}}"#));
    let inherited = |at: u8| {
        format!(r#"{{"name":"I{at}","type":"inherit","version_id":"00000000-0000-4000-8000-00000000000{at}"}}"#)
    };
    let inherited = (0..9).map(inherited).collect::<Vec<_>>().join(",");
    vec![
        Refused(truncated, form, 400, "cut off"),
        Refused(whole.clone(), "multipart/form-data; boundary=other", 400, "boundary"),
        Refused(whole.clone(), "application/json", 415, "multipart/form-data"),
        Refused(whole, "multipart/form-data", 415, "boundary="),
        Refused(Vec::new(), form, 400, "cut off"),
        Refused(Form::new().finish(), form, 400, "metadata"),
        Refused(Form::new().file("index.js", module, b"1").finish(), form, 400, "no part named `metadata`"),
        Refused(with("{"), form, 400, "metadata"),
        Refused(with("null"), form, 400, "metadata"),
        Refused(with(&deep), form, 400, "64 levels"),
        Refused(with(r#"{"main_module":"other.js"}"#), form, 400, "\\\"other.js\\\""),
        Refused(
            with(r#"{"main_module":"index.js","compatibility_date":"yesterday"}"#),
            form,
            400,
            "compatibility_date",
        ),
        Refused(with(r#"{"main_module":"index.js","limits":{"cpu_ms":-1}}"#), form, 400, "cpu_ms"),
        Refused(with(r#"{"main_module":"index.js","limits":{"cpu_ms":1e300}}"#), form, 400, "cpu_ms"),
        Refused(binding(r#"{"type":"plain_text","text":"x"}"#), form, 400, "name"),
        Refused(binding(r#"{"name":"A","type":"plain_text","text":5}"#), form, 400, "bindings[0]"),
        Refused(
            binding(r#"{"name":"A","type":"ratelimit","namespace_id":"1","simple":{"limit":-1,"period":60}}"#),
            form,
            400,
            "bindings[0]",
        ),
        Refused(binding(r#"{"name":"A","type":"service","service":"NOT A NAME"}"#), form, 400, "bindings[0]"),
        Refused(binding(r#"{"name":"A","type":"service","service":"no-such-worker"}"#), form, 400, "no-such-worker"),
        Refused(binding(r#"{"name":"A","type":"inherit"}"#), form, 400, "inherit binding 'A' is invalid"),
        Refused(binding(&inherited), form, 400, "8 versions at most"),
        Refused(binding(r#"{"name":"A","type":"assets"},{"name":"A","type":"version_metadata"}"#), form, 400, "A"),
        Refused(Form::new().field("metadata", metadata).field("metadata", metadata).finish(), form, 400, "two parts"),
        Refused(named("index.js"), form, 400, "two parts"),
        Refused(named("../../etc/passwd"), form, 400, ".."),
        Refused(named("a/../../b.js"), form, 400, ".."),
        Refused(named("/etc/passwd"), form, 400, "begin with /"),
        Refused(named("a\\b.js"), form, 400, "backslash"),
        Refused(named("a\u{1}b.js"), form, 400, "head of a part"),
        Refused(named(&"n".repeat(600)), form, 400, "512"),
        Refused(
            Form::new().field("metadata", metadata).file("index.js", "image/png", b"").finish(),
            form,
            400,
            "content type",
        ),
        Refused(
            Form::new().field("metadata", metadata).file("index.js", module, b"\xff\xfe").finish(),
            form,
            400,
            "UTF-8",
        ),
        Refused(
            Form::new().raw("Content-Disposition: form-data; name=\"metadata\"", b"\xff").finish(),
            form,
            400,
            "UTF-8",
        ),
        Refused(Form::new().raw("Content-Disposition: form-data", b"").finish(), form, 400, "no name"),
        Refused(Form::new().raw("not a header", b"").finish(), form, 400, "head of a part"),
    ]
}

#[tokio::test]
async fn uploads_that_are_not_right_are_refused_and_leave_nothing() {
    let platform = Platform::start().await;
    let before = platform.log_end().await;
    let path = platform.path("/workers/scripts/hostile");
    for Refused(body, content_type, status, said) in uploads() {
        let request = platform.request("PUT", &path, Some(&platform.token)).header("content-type", content_type);
        let reply = platform.send(request.body(Full::from(body)).unwrap()).await;
        reply.refused(status);
        assert!(reply.text().contains(said), "{said}: {}", reply.text());
    }
    assert_eq!(platform.log_end().await, before);
    assert_eq!(platform.get(&platform.path("/workers/services/hostile")).await.refused(404), 10007);
}

#[tokio::test]
async fn a_body_that_is_compressed_is_not_taken() {
    let platform = Platform::start().await;
    for (method, path) in [("PUT", "/workers/scripts/n"), ("PUT", "/workers/scripts/n/routes"), ("POST", "/tokens")] {
        let request = platform
            .request(method, &platform.path(path), Some(&platform.token))
            .header("content-encoding", "gzip")
            .header("content-type", Form::CONTENT_TYPE);
        let reply = platform.send(request.body(Full::from(Bytes::from_static(b"\x1f\x8b"))).unwrap()).await;
        assert_eq!(reply.refused(415), 10415, "{path}");
    }
}

#[tokio::test]
async fn shares_that_are_absurd_are_refused() {
    let platform = Platform::start().await;
    let version = platform.put_script("shared", json!({})).await.result()["deployment_id"].clone();
    let before = platform.log_end().await;
    let path = platform.path("/workers/scripts/shared/deployments");
    let share = |percentage: Value| json!([{ "version_id": version, "percentage": percentage }]);
    for versions in [
        json!([]),
        json!(null),
        share(json!(0)),
        share(json!(99.5)),
        share(json!(-100)),
        share(json!(1e308)),
        share(json!("100")),
        share(json!(100.001)),
        json!([{ "version_id": version, "percentage": 50 }, { "version_id": version, "percentage": 50 }]),
        json!([{ "version_id": "../x", "percentage": 100 }]),
        json!([{ "version_id": "00000000-0000-4000-8000-000000000000", "percentage": 100 }]),
        Value::Array(vec![json!({ "version_id": version, "percentage": 1 }); 100]),
    ] {
        let reply = platform.json("POST", &path, json!({ "strategy": "percentage", "versions": versions })).await;
        assert!(reply.status.is_client_error(), "{versions}: {}", reply.text());
        reply.refused(reply.status.as_u16());
    }
    // Numbers that JSON has and no machine.
    let request = platform.request("POST", &path, Some(&platform.token));
    let body = r#"{"versions":[{"version_id":"x","percentage":1e999}]}"#;
    platform.send(request.body(Full::from(body)).unwrap()).await.refused(400);
    assert_eq!(platform.log_end().await, before);
}

#[tokio::test]
async fn ways_that_lead_nowhere_say_so_in_the_envelope() {
    let platform = Platform::start().await;
    for path in ["/", "/client/v4", "/client/v4/nothing", "/client/v4/accounts/abc/nothing", "/../../etc/passwd"] {
        let reply = platform.get(path).await;
        assert_eq!(reply.refused(404), 7003, "{path}");
    }
    for (method, path) in [("DELETE", "/client/v4/user"), ("POST", "/healthz"), ("PATCH", "/client/v4/accounts")] {
        let reply = platform.json(method, path, json!({})).await;
        assert_eq!(reply.refused(405), 10405, "{path}");
        assert!(reply.headers.contains_key("allow"), "{path}");
    }
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let platform = Platform::start().await;
    for name in ["UPPER", "a%2Fb", "..%2F..", "%00", "a%20b", "%FF", &"n".repeat(64)] {
        let reply = platform.get(&platform.path(&format!("/workers/services/{name}"))).await;
        assert!(reply.status == 400, "{name}: {} {}", reply.status, reply.text());
        reply.refused(400);
    }
}

#[tokio::test]
async fn who_fails_again_and_again_waits_and_a_good_token_does_not() {
    let platform = Platform::start_with(ApiConfig { failures_max: 5, ..ApiConfig::default() }).await;
    let ask = |token: Option<&'static str>| {
        platform.send(platform.request("GET", "/client/v4/user", token).body(Full::default()).unwrap())
    };
    for _ in 0..5 {
        assert_eq!(ask(Some("slv_wrong")).await.refused(401), 10000);
    }
    let reply = ask(None).await;
    assert_eq!(reply.refused(429), 10429);
    assert!(reply.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 60);
    platform.get("/client/v4/user").await.result();
}

#[tokio::test]
async fn nesting_is_kept_as_far_as_it_can_be_read_again() {
    let platform = Platform::start().await;
    let path = platform.path("/queues");
    let body = |name: &str, levels: usize| {
        // The body itself is a level, and so are the settings.
        let lists = format!("{}{}", "[".repeat(levels - 2), "]".repeat(levels - 2));
        format!(r#"{{"queue_name":"{name}","settings":{{"x":{lists}}}}}"#)
    };
    let send = |body: String| {
        let request = platform.request("POST", &path, Some(&platform.token));
        platform.send(request.body(Full::from(body)).unwrap())
    };
    send(body("deep", 64)).await.result();
    let before = platform.log_end().await;
    for levels in [65, 124, 126, 200] {
        let reply = send(body("deeper", levels)).await;
        assert_eq!(reply.refused(400), 10001, "{levels}");
        assert!(reply.text().contains("64 levels"), "{}", reply.text());
    }
    assert_eq!(platform.log_end().await, before);
    send(body("after", 3)).await.result();
    assert_eq!(platform.get(&path).await.result().as_array().unwrap().len(), 2);
}

/// What serde_json takes for a text of JSON within JSON, `times` within itself: each would be read on the same stack.
fn texts_within_texts(times: usize) -> String {
    let mut text = "1".to_owned();
    for _ in 0..times {
        let quoted = text.replace('\\', "\\u005c").replace('"', "\\u0022");
        let (open, close) = ("[".repeat(60), "]".repeat(60));
        text = format!(r#"{open}{{"$serde_json::private::RawValue":"{quoted}"}}{close}"#);
    }
    text
}

#[tokio::test]
async fn json_of_texts_within_texts_ends_nothing() {
    let platform = Platform::start().await;
    let before = platform.log_end().await;
    let texts = texts_within_texts(200);
    for (method, rest, body) in [
        ("POST", "/queues", format!(r#"{{"queue_name":"q","settings":{{"x":{texts}}}}}"#)),
        ("PATCH", "/workers/scripts/w/script-settings", format!(r#"{{"observability":{texts}}}"#)),
        ("PATCH", "/workers/scripts/w/settings", format!(r#"{{"limits":{texts}}}"#)),
        ("POST", "/workers/scripts/w/tails", format!(r#"{{"filters":{texts}}}"#)),
    ] {
        let request = platform.request(method, &platform.path(rest), Some(&platform.token));
        let reply = platform.send(request.body(Full::from(body)).unwrap()).await;
        assert_eq!(reply.refused(400), 10001, "{rest}");
        assert!(reply.text().contains("$serde_json"), "{}", reply.text());
    }
    let metadata = format!(r#"{{"main_module":"index.js","placement":{texts}}}"#);
    let form = Form::new().field("metadata", &metadata).file("index.js", "application/javascript+module", b"1");
    platform.form("PUT", &platform.path("/workers/scripts/w"), form).await.refused(400);
    assert_eq!(platform.log_end().await, before);
}
