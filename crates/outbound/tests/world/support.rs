//! Servers that answer by script, and a resolver that does.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::BodyExt;
use selvedge_outbound::{
    Config, Denied, FetchOptions, Outbound, OutboundError, OutboundResponse, RequestBody, Resolve, Resolving,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Answers a name with one list of addresses after the other, the last for ever. Unknown names do not resolve.
#[derive(Default)]
pub struct Script {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    pub asked: AtomicUsize,
}

impl Script {
    pub fn new(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let answers = names
            .iter()
            .map(|(name, lists)| {
                let lists = lists
                    .iter()
                    .map(|list| list.iter().map(|address| address.parse().unwrap()).collect())
                    .rev()
                    .collect();
                ((*name).to_owned(), lists)
            })
            .collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Script {
    fn resolve(&self, host: &str) -> Resolving {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.get_mut(host) {
            Some(lists) if lists.len() > 1 => Ok(lists.pop().unwrap()),
            Some(lists) => Ok(lists[0].clone()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Box::pin(async move { answer })
    }
}

/// A server that answers each request head with bytes.
pub struct Server {
    pub address: SocketAddr,
    /// Connections accepted.
    pub connections: Arc<AtomicUsize>,
    /// What arrived, head and body, one entry per request.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` maps the request, as text, to the bytes to send; a connection goes on while they say how long they
    /// are, and ends otherwise.
    pub async fn start<F>(answer: F) -> Self
    where
        F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Self { address: listener.local_addr().unwrap(), connections: Arc::default(), requests: Arc::default() };
        let (connections, requests) = (Arc::clone(&server.connections), Arc::clone(&server.requests));
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(converse(stream, Arc::clone(&answer), Arc::clone(&requests)));
            }
        });
        server
    }

    pub async fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_| answer.clone()).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn request(&self, index: usize) -> String {
        self.requests.lock().unwrap()[index].clone()
    }

    /// An outbound that may reach this server and nothing else inside.
    pub fn outbound(&self) -> Outbound {
        outbound(&[&self.address.to_string()])
    }
}

async fn converse<F>(mut stream: TcpStream, answer: Arc<F>, requests: Arc<Mutex<Vec<String>>>)
where
    F: Fn(&str) -> Vec<u8>,
{
    while let Some(request) = read_request(&mut stream).await {
        let bytes = answer(&request);
        requests.lock().unwrap().push(request);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if !text.contains("content-length") || text.contains("connection: close") {
            return;
        }
    }
}

/// One request with its whole body, as text; `None` when the connection ends before.
pub async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let chunked = head.contains("transfer-encoding: chunked");
            let complete = if chunked { body.ends_with("0\r\n\r\n") } else { body.len() >= length };
            if complete {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

pub fn config(allow: &[&str]) -> Config {
    Config { allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(), ..Config::default() }
}

pub fn outbound(allow: &[&str]) -> Outbound {
    Outbound::new(config(allow)).unwrap()
}

pub fn resolving(allow: &[&str], script: Arc<Script>) -> Outbound {
    Outbound::with_resolver(config(allow), script).unwrap()
}

pub fn admit_all(_: &Uri) -> Result<(), Denied> {
    Ok(())
}

pub fn get(url: &str) -> Request<RequestBody> {
    Request::get(url).body(RequestBody::empty()).unwrap()
}

pub fn post(url: &str, body: RequestBody) -> Request<RequestBody> {
    Request::post(url).body(body).unwrap()
}

pub async fn fetch(outbound: &Outbound, request: Request<RequestBody>) -> Result<OutboundResponse, OutboundError> {
    outbound.fetch(request, FetchOptions::default(), &admit_all).await
}

pub async fn text(response: OutboundResponse) -> String {
    let bytes: Bytes = response.body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A response with a body and its length.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}
