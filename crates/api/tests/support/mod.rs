//! A platform's API over a real control plane and a real fabric, with a point of presence that starts nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use selvedge_api::{ApiConfig, ApiServer, ApiState, Readiness};
use selvedge_control::{Clock, Control, ControlConfig, NearestPop, SecretsKey, StartFailure, Started};
use selvedge_fabric::{Embedded, Fabric, Revision};
use selvedge_model::VersionRecord;
use selvedge_telemetry::{Metrics, Tails};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// When the tests' clock begins: milliseconds since 1970.
const NOW_MS: u64 = 1_800_000_000_000;

/// Says that a version starts, unless its message says otherwise.
struct FakePop;

impl NearestPop for FakePop {
    fn start<'a>(&'a self, version: &'a VersionRecord) -> BoxFuture<'a, Result<Started, StartFailure>> {
        Box::pin(async move {
            if version.annotations.get("workers/message").is_some_and(|message| message == "does not start") {
                let stack = "Error: no\n    at src/index.ts:3:7".to_owned();
                return Err(StartFailure { message: "Error: no".into(), stack, unavailable: false });
            }
            let says = |word: &str| version.annotations.get("workers/message").is_some_and(|message| message == word);
            let handlers = if says("handles nothing") || says("entrypoints") { vec![] } else { vec!["fetch".into()] };
            let entrypoints = if says("entrypoints") { vec!["Rpc".into()] } else { vec![] };
            Ok(Started { handlers, entrypoints, startup_ms: 3 })
        })
    }

    fn served(&self, _published: Revision) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

pub struct Platform {
    pub address: SocketAddr,
    pub account: String,
    /// The administrator's.
    pub token: String,
    pub control: Arc<Control>,
    pub fabric: Arc<dyn Fabric>,
    pub tails: Tails,
    pub readiness: Readiness,
    pub metrics: Arc<Metrics>,
    pub stop: watch::Sender<bool>,
    pub running: tokio::task::JoinHandle<()>,
    now_ms: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The result, of what must have gone well.
    pub fn result(&self) -> Value {
        let json = self.json();
        assert!(self.status == 200 && json["success"] == true, "{} {}", self.status, self.text());
        json["result"].clone()
    }

    /// The code of the first error, of what must have been refused, in the envelope.
    pub fn refused(&self, status: u16) -> u64 {
        let json = self.json();
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(json["success"], false, "{}", self.text());
        assert!(!json["errors"][0]["message"].as_str().unwrap().is_empty(), "{}", self.text());
        json["errors"][0]["code"].as_u64().unwrap()
    }
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(ApiConfig { failures_max: 1_000_000, port: Some(8787), ..ApiConfig::default() }).await
    }

    pub async fn start_with(config: ApiConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fabric: Arc<dyn Fabric> = Embedded::open(&folder.path().join("fabric")).unwrap();
        let now_ms = Arc::new(AtomicU64::new(NOW_MS));
        let clock = Arc::clone(&now_ms);
        let control_config = ControlConfig {
            data: folder.path().join("control"),
            secrets_key: SecretsKey::from_bytes([7; 32]),
            domain: "localhost".into(),
            admin_token: None,
            clock: Clock::of(move || clock.fetch_add(1, Ordering::Relaxed)),
        };
        let opened = Control::open(control_config, Arc::clone(&fabric), Arc::new(FakePop)).await.unwrap();
        let first = opened.first_start.unwrap();
        let (tails, readiness) = (Tails::new(), Readiness::default());
        let control = opened.control;
        let metrics = Arc::new(Metrics::new());
        let state = ApiState::new(Arc::clone(&control), tails.clone(), Arc::clone(&metrics), config, readiness.clone());
        let server = ApiServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(server.run(Arc::new(state), stopped));
        Self {
            address,
            account: first.account.to_string(),
            token: first.token.expose().to_owned(),
            control,
            fabric,
            tails,
            readiness,
            metrics,
            stop,
            running,
            now_ms,
            _folder: folder,
        }
    }

    pub fn advance_clock_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Below the administrator's account.
    pub fn path(&self, rest: &str) -> String {
        format!("/client/v4/accounts/{}{rest}", self.account)
    }

    /// Where the control plane's log ends: nothing was changed while it stays.
    pub async fn log_end(&self) -> u64 {
        self.fabric.end("control").await.unwrap().0
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    pub fn request(&self, method: &str, path: &str, token: Option<&str>) -> http::request::Builder {
        let builder = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("host", self.address.to_string())
            .header("user-agent", "wrangler/4.86.0");
        match token {
            Some(token) => builder.header("authorization", format!("Bearer {token}")),
            None => builder,
        }
    }

    /// As the administrator.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path, Some(&self.token)).body(Full::default()).unwrap()).await
    }

    /// As the administrator, with JSON said to be text, as wrangler says.
    pub async fn json(&self, method: &str, path: &str, body: Value) -> Reply {
        self.json_as(method, path, Some(&self.token), body).await
    }

    pub async fn json_as(&self, method: &str, path: &str, token: Option<&str>, body: Value) -> Reply {
        let request = self.request(method, path, token).header("content-type", "text/plain;charset=UTF-8");
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    pub async fn form(&self, method: &str, path: &str, form: Form) -> Reply {
        self.form_as(method, path, &self.token, form).await
    }

    pub async fn form_as(&self, method: &str, path: &str, token: &str, form: Form) -> Reply {
        let request = self.request(method, path, Some(token)).header("content-type", Form::CONTENT_TYPE);
        self.send(request.body(Full::from(form.finish())).unwrap()).await
    }

    /// Uploads a worker and deploys it.
    pub async fn put_script(&self, name: &str, metadata: Value) -> Reply {
        let path = self.path(&format!("/workers/scripts/{name}?excludeScript=true&bindings_inherit=strict"));
        self.form("PUT", &path, Form::worker(metadata)).await
    }

    /// Makes a token for an account.
    pub async fn make_token(&self, account: &str, permissions: &[&str], expires_ms: Option<u64>) -> (String, String) {
        let expires_on =
            expires_ms.map(|ms| jiff::Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap().to_string());
        let body = serde_json::json!({ "name": "made", "permissions": permissions, "expires_on": expires_on });
        let made = self.json("POST", &format!("/client/v4/accounts/{account}/tokens"), body).await.result();
        (made["id"].as_str().unwrap().to_owned(), made["value"].as_str().unwrap().to_owned())
    }

    pub async fn make_account(&self, name: &str) -> String {
        let made = self.json("POST", "/client/v4/accounts", serde_json::json!({ "name": name })).await.result();
        made["id"].as_str().unwrap().to_owned()
    }
}

/// A multipart body.
pub struct Form(Vec<u8>);

impl Form {
    pub const BOUNDARY: &str = "----formdata-undici-012345678901";
    pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=----formdata-undici-012345678901";

    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn field(self, name: &str, text: &str) -> Self {
        self.raw(&format!("Content-Disposition: form-data; name=\"{name}\""), text.as_bytes())
    }

    pub fn file(self, name: &str, content_type: &str, bytes: &[u8]) -> Self {
        let disposition = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"");
        self.raw(&format!("{disposition}\r\nContent-Type: {content_type}"), bytes)
    }

    pub fn raw(mut self, head: &str, bytes: &[u8]) -> Self {
        self.0.extend(format!("--{}\r\n{head}\r\n\r\n", Self::BOUNDARY).as_bytes());
        self.0.extend(bytes);
        self.0.extend(b"\r\n");
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend(format!("--{}--\r\n", Self::BOUNDARY).as_bytes());
        self.0
    }

    /// A worker of one module, with that metadata beside what every worker has.
    pub fn worker(metadata: Value) -> Self {
        let mut whole = serde_json::json!({ "main_module": "index.js", "compatibility_date": "2026-01-01" });
        whole.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        Self::new().field("metadata", &whole.to_string()).file(
            "index.js",
            "application/javascript+module",
            b"export default { fetch() { return new Response('hello') } }",
        )
    }
}
