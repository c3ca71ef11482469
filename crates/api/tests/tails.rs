//! Tails over their WebSocket, with a client that does as wrangler does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use selvedge_model::{ExecutionModel, Outcome, ScriptVersion, Trace, TraceOf};
use serde_json::{Value, json};
use support::Platform;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn trace(platform: &Platform, outcome: Outcome) -> Trace {
    let version: selvedge_model::VersionId = "8e6a9a2b-0f0c-4c55-9d3a-1b2c3d4e5f60".parse().unwrap();
    Trace {
        of: TraceOf {
            account: platform.account.parse().unwrap(),
            worker: "tailed".parse().unwrap(),
            version: version.clone(),
        },
        request_id: "r".into(),
        outcome,
        script_name: "tailed".into(),
        script_version: ScriptVersion { id: version, tag: None, message: None },
        script_tags: Vec::new(),
        entrypoint: None,
        execution_model: ExecutionModel::Stateless,
        exceptions: Vec::new(),
        logs: Vec::new(),
        diagnostics_channel_events: Vec::new(),
        event_timestamp: 0,
        event: None,
        cpu_time: 0,
        wall_time: 0,
        truncated: false,
    }
}

struct Client(TcpStream);

impl Client {
    /// Connects, and gives the answer's head.
    async fn connect(url: &str, more: &str) -> (Self, String) {
        let (host, path) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n{more}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
        (Self(stream), String::from_utf8(head).unwrap().to_lowercase())
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let opcode = timeout(LONG, self.0.read_u8()).await.unwrap().unwrap() & 0x0f;
        let length = match self.0.read_u8().await.unwrap() {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap() as usize,
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.unwrap();
        (opcode, payload)
    }

    async fn masked(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
        self.0.write_all(&frame).await.unwrap();
    }
}

async fn open(platform: &Platform, filters: Value) -> Value {
    let path = platform.path("/workers/scripts/tailed/tails");
    platform.json("POST", &path, json!({ "filters": filters })).await.result()
}

const TRACE_V1: &str = "sec-websocket-protocol: trace-v1\r\n";

#[tokio::test]
async fn a_tail_is_read_as_wrangler_reads_it() {
    let platform = Platform::start().await;
    platform.put_script("tailed", json!({})).await.result();
    let tail = open(&platform, json!([{ "outcome": ["exception"] }])).await;
    assert!(tail["expires_at"].as_str().unwrap().ends_with('Z'));

    let (mut client, head) = Client::connect(tail["url"].as_str().unwrap(), TRACE_V1).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("sec-websocket-protocol: trace-v1"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(!head.contains("permessage-deflate"), "{head}");

    // Its first frame has no mask.
    let first = br#"{"debug":false}"#;
    let mut frame = vec![0x81, first.len() as u8];
    frame.extend(first);
    client.0.write_all(&frame).await.unwrap();

    platform.tails.publish(&trace(&platform, Outcome::Ok));
    platform.tails.publish(&trace(&platform, Outcome::Exception));
    let (opcode, payload) = client.frame().await;
    let event: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((opcode, event["outcome"].as_str()), (1, Some("exception")));

    client.masked(0x9, b"wrangler tail ping").await;
    assert_eq!(client.frame().await, (0xa, b"wrangler tail ping".to_vec()));

    let path = platform.path(&format!("/workers/scripts/tailed/tails/{}", tail["id"].as_str().unwrap()));
    platform.json("DELETE", &path, json!({})).await.result();
    let (opcode, payload) = client.frame().await;
    assert_eq!((opcode, &payload[..2]), (8, &1000_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_tail_is_connected_to_once_and_ends_with_its_client() {
    let platform = Platform::start().await;
    platform.put_script("tailed", json!({})).await.result();
    let tail = open(&platform, json!([])).await;
    let url = tail["url"].as_str().unwrap();
    let (client, _) = Client::connect(url, TRACE_V1).await;
    let (_, head) = Client::connect(url, TRACE_V1).await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    drop(client);
    let gone = async {
        while platform.tails.count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, gone).await.expect("the session ends with its client");
}

#[tokio::test]
async fn what_is_no_websocket_or_no_tail_is_refused() {
    let platform = Platform::start().await;
    platform.put_script("tailed", json!({})).await.result();
    let tail = open(&platform, json!(null)).await;
    let path = tail["url"].as_str().unwrap().split_once(&platform.address.to_string()).unwrap().1.to_owned();
    platform.get(&path).await.refused(426);
    let (_, head) = Client::connect(&format!("ws://{}/tails/{}", platform.address, "0".repeat(64)), TRACE_V1).await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    for filters in [json!("x"), json!([{ "sampling_rate": 7 }]), json!([{ "what": 1 }])] {
        let reply =
            platform.json("POST", &platform.path("/workers/scripts/tailed/tails"), json!({ "filters": filters })).await;
        reply.refused(400);
        assert!(reply.text().contains("filters"), "{}", reply.text());
    }
    let missing = platform.json("POST", &platform.path("/workers/scripts/missing/tails"), json!({})).await;
    assert_eq!(missing.refused(404), 10007);
}

#[tokio::test]
async fn a_tail_is_told_that_the_platform_stops() {
    let platform = Platform::start().await;
    platform.put_script("tailed", json!({})).await.result();
    let tail = open(&platform, json!([])).await;
    let (mut client, _) = Client::connect(tail["url"].as_str().unwrap(), TRACE_V1).await;
    platform.stop.send(true).unwrap();
    let (opcode, payload) = client.frame().await;
    // Not 1000, so that the client connects to who comes after.
    assert_eq!((opcode, &payload[..2]), (8, &1012_u16.to_be_bytes()[..]));
    drop(client);
    timeout(LONG, platform.running).await.expect("the drain ends").unwrap();
}
