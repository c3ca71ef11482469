//! Clients that take their time: what was true when a request began may not be when its body ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use selvedge_api::{ApiConfig, Pace, Timeouts};
use serde_json::{Value, json};
use support::{Form, Platform};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// More than any answer here takes.
const LONG: Duration = Duration::from_secs(30);

/// A request whose head was let in, and of whose body all but the end was sent.
struct Begun {
    stream: TcpStream,
    last: Vec<u8>,
}

/// So many are of what ends the last part of a form: no reader can do without them.
const LAST_BYTES: usize = 8;

impl Begun {
    async fn post(platform: &Platform, path: &str, token: &str, body: &Value) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\n");
        Self::begin(platform, head, body.to_string().into_bytes()).await
    }

    /// An upload of a worker with a secret `S`.
    async fn upload(platform: &Platform, worker: &str) -> Self {
        let (path, token) = (platform.path(&format!("/workers/scripts/{worker}")), &platform.token);
        let content_type = Form::CONTENT_TYPE;
        let head = format!("PUT {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: {content_type}\r\n");
        let secret = json!({ "name": "S", "type": "secret_text", "text": "hush" });
        Self::begin(platform, head, Form::worker(json!({ "bindings": [secret] })).finish()).await
    }

    async fn begin(platform: &Platform, head: String, mut body: Vec<u8>) -> Self {
        let length = body.len();
        let last = body.split_off(length.saturating_sub(LAST_BYTES));
        let head =
            format!("{head}host: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(platform.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // That the body is wanted means that the token was good.
        let mut wanted = [0; 25];
        timeout(LONG, stream.read_exact(&mut wanted)).await.expect("a word in time").unwrap();
        assert_eq!(&wanted, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(&body).await.unwrap();
        Self { stream, last }
    }

    async fn end(mut self) -> String {
        self.stream.write_all(&self.last).await.unwrap();
        answer(&mut self.stream).await
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_token_that_is_revoked_while_it_sends_does_nothing() {
    let platform = Platform::start().await;
    let permissions = ["tokens:write", "tail:read", "workers:write"];
    let (id, token) = platform.make_token(&platform.account, &permissions, None).await;
    let asked = [
        ("/tokens", json!({ "name": "heir", "permissions": ["tail:read"] })),
        ("/workers/scripts/w/tails", json!({ "filters": [] })),
        ("/workers/scripts/w/assets-upload-session", json!({ "manifest": {} })),
    ];
    let mut begun = Vec::new();
    for (path, body) in &asked {
        begun.push(Begun::post(&platform, &platform.path(path), &token, body).await);
    }
    platform.json("DELETE", &platform.path(&format!("/tokens/{id}")), Value::Null).await.result();
    let before = platform.log_end().await;
    for one in begun {
        let answer = one.end().await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert_eq!(platform.log_end().await, before);
    assert_eq!(platform.tails.count(), 0);
}

#[tokio::test]
async fn a_token_that_expires_while_it_sends_does_nothing() {
    let platform = Platform::start().await;
    let expires_ms = platform.now_ms() + 1_000_000;
    let (_, token) = platform.make_token(&platform.account, &["tokens:write", "tail:read"], Some(expires_ms)).await;
    let heir = json!({ "name": "heir", "permissions": ["tail:read"], "expires_on": "2027-01-15T08:00:30Z" });
    let tokens = Begun::post(&platform, &platform.path("/tokens"), &token, &heir).await;
    let tail = Begun::post(&platform, &platform.path("/workers/scripts/w/tails"), &token, &json!({})).await;
    platform.advance_clock_ms(2_000_000);
    for one in [tokens, tail] {
        let answer = one.end().await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert_eq!(platform.tails.count(), 0);
}

#[tokio::test]
async fn a_change_of_the_latest_version_waits_for_the_turn_of_an_upload() {
    // Nobody is too slow here.
    let body = Pace { span: 10 * LONG, ..Pace::default() };
    let timeouts = Timeouts { body, ..Timeouts::default() };
    let platform = Platform::start_with(ApiConfig { timeouts, ..ApiConfig::default() }).await;
    // One of the two turns that an account has is taken all the time.
    let _stays = Begun::upload(&platform, "stays").await;
    let secret = json!({ "type": "secret_text", "text": "hush" });
    let asked = [
        ("PUT", "/workers/scripts/w0/secrets", json!({ "name": "N", "text": "hush" })),
        ("DELETE", "/workers/scripts/w1/secrets/S", json!({})),
        ("PATCH", "/workers/scripts/w2/secrets-bulk", json!({ "secrets": { "N": secret } })),
        ("PATCH", "/workers/scripts/w3/settings", json!({ "compatibility_date": "2026-01-02" })),
        ("PATCH", "/workers/workers/w4/versions/latest", json!({ "env": { "N": secret } })),
    ];
    for (at, (method, path, body)) in asked.into_iter().enumerate() {
        let upload = Begun::upload(&platform, &format!("w{at}")).await;
        let path = platform.path(path);
        let (reply, uploaded) = tokio::join!(platform.json(method, &path, body), async {
            // Another request on another connection: by its answer, the change was asked for long before.
            platform.get("/healthz").await;
            upload.end().await
        });
        assert!(uploaded.starts_with("HTTP/1.1 200"), "{uploaded}");
        // Whose worker came to be by the upload alone.
        reply.result();
    }
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_the_body() {
    let platform = Platform::start().await;
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let path = platform.path("/tokens");
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no\r\ncontent-length: 4\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(LONG, stream.read_exact(&mut status)).await.expect("an answer in time").unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
    // The rest is read away: what follows it on the connection is answered.
    stream.write_all(b"bodyGET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let rest = answer(&mut stream).await;
    assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
}
