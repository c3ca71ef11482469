//! `selvedge tail`: what a worker does, as it does it.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use selvedge_project::WorkerName;
use serde::Deserialize;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use super::api::{Body, Call};
use super::console::{Console, line};
use super::error::ClientError;
use super::place::PlaceArguments;
use super::worker::{Worker, WorkerArguments};

/// What the server and the platform's client call their protocol.
const PROTOCOL: &str = "trace-v1";
/// How often it is looked whether the stream is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often the server is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How often a broken stream is begun again, one after the other, and the longest wait before it.
const RECONNECTS_MAX: u32 = 5;
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(16);

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A few lines for people.
    Pretty,
    /// One JSON document in a line.
    Json,
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Ok,
    Error,
    Canceled,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    selvedge tail shop\n  \
    selvedge tail shop --status error --format json\n  \
    selvedge tail shop --method POST --header x-debug:1 --search checkout")]
pub struct TailArguments {
    /// Name of the worker [default: that of the project in this folder]
    #[arg(value_name = "WORKER", conflicts_with = "name")]
    target: Option<WorkerName>,
    /// How events are shown [default: pretty on a terminal, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Events that ended so; may be repeated
    #[arg(long, value_enum)]
    status: Vec<Status>,
    /// Requests of this method; may be repeated
    #[arg(long)]
    method: Vec<String>,
    /// Requests with this header, and value if one is given
    #[arg(long, value_name = "NAME[:VALUE]")]
    header: Option<String>,
    /// Requests from this address, or from yours with "self"; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<String>,
    /// Events that logged this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Which part of the events, from 0 to 1
    #[arg(long, value_name = "PART")]
    sampling_rate: Option<f64>,
    /// Events of this version
    #[arg(long, value_name = "ID")]
    version_id: Option<String>,
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    pub place: PlaceArguments,
}

/// A stream of events, opened.
#[derive(Debug, Deserialize)]
struct Opened {
    id: String,
    url: String,
}

/// Why a stream ended.
enum End {
    /// It was told to.
    Asked,
    /// The server closed it for good.
    Closed,
    Broken(tungstenite::Error),
}

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

pub fn tail(arguments: &TailArguments, console: &Console) -> Result<(), ClientError> {
    let mut worker = arguments.worker.clone();
    worker.name = worker.name.or_else(|| arguments.target.clone());
    let worker = worker.find(&arguments.place, console)?;
    let json = arguments.place.json || !std::io::IsTerminal::is_terminal(&std::io::stdout());
    let format = arguments.format.unwrap_or(if json { Format::Json } else { Format::Pretty });
    let filters = filters(arguments)?;
    let stop = stopping()?;
    let mut broken = 0;
    loop {
        let opened = open(&worker, &filters)?;
        let ended = match connect(&opened) {
            Ok(mut socket) => {
                console.progress(&format!("following {}; Ctrl-C ends it", worker.name));
                broken = 0;
                follow(&mut socket, &stop, |text| show(text, format))?
            }
            Err(error) => End::Broken(error),
        };
        match ended {
            End::Asked => {
                worker.place.api.delete(&worker.path(&["tails", &opened.id]), &[])?;
                return Ok(());
            }
            End::Closed => return Ok(()),
            End::Broken(error) if broken == RECONNECTS_MAX => return Err(ClientError::Tail(Box::new(error))),
            End::Broken(error) => {
                console.warning(&format!("the stream broke ({error}); it is begun again"));
                let wait = Duration::from_secs(1 << broken).min(RECONNECT_WAIT_MAX);
                broken += 1;
                let began = Instant::now();
                while began.elapsed() < wait && !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(LOOK_INTERVAL);
                }
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        }
    }
}

/// Turns true when the program is told to end.
fn stopping() -> Result<Arc<AtomicBool>, ClientError> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    let (told, waiting) = (Arc::clone(&stop), std::thread::current());
    std::thread::spawn(move || {
        runtime.block_on(async {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            match terminate {
                Ok(mut terminate) => tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                },
                // Then the signal ends the program as it always does.
                Err(_) => std::future::pending().await,
            }
        });
        told.store(true, Ordering::Relaxed);
        waiting.unpark();
    });
    Ok(stop)
}

/// What the server lets through.
fn filters(arguments: &TailArguments) -> Result<Value, ClientError> {
    let mut filters = Vec::new();
    if let Some(rate) = arguments.sampling_rate {
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(ClientError::Usage("--sampling-rate is a number above 0, up to 1".into()));
        }
        filters.push(json!({ "sampling_rate": rate }));
    }
    if !arguments.status.is_empty() {
        let outcomes: Vec<&str> = arguments.status.iter().flat_map(|status| status.outcomes()).copied().collect();
        filters.push(json!({ "outcome": outcomes }));
    }
    if !arguments.method.is_empty() {
        let methods: Vec<String> = arguments.method.iter().map(|method| method.to_ascii_uppercase()).collect();
        filters.push(json!({ "method": methods }));
    }
    if let Some(header) = &arguments.header {
        let filter = match header.split_once(':') {
            Some((key, query)) => json!({ "key": key.trim(), "query": query.trim() }),
            None => json!({ "key": header.trim() }),
        };
        filters.push(json!({ "header": filter }));
    }
    if !arguments.ip.is_empty() {
        filters.push(json!({ "client_ip": arguments.ip }));
    }
    if let Some(search) = &arguments.search {
        filters.push(json!({ "query": search }));
    }
    if let Some(version) = &arguments.version_id {
        filters.push(json!({ "scriptVersion": version }));
    }
    Ok(json!({ "filters": filters }))
}

fn open(worker: &Worker, filters: &Value) -> Result<Opened, ClientError> {
    worker.place.api.read(&Call {
        method: "POST",
        path: &worker.path(&["tails"]),
        query: &[],
        body: Body::Json(filters),
        token: None,
        repeatable: true,
    })
}

fn connect(opened: &Opened) -> Result<Socket, tungstenite::Error> {
    let mut request = opened.url.as_str().into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let (socket, _) = tungstenite::connect(request)?;
    let stream = match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => Some(stream),
        MaybeTlsStream::Rustls(stream) => Some(&stream.sock),
        _ => None,
    };
    if let Some(stream) = stream {
        stream.set_read_timeout(Some(LOOK_INTERVAL))?;
    }
    Ok(socket)
}

/// Shows events until the stream ends.
fn follow(
    socket: &mut Socket,
    stop: &AtomicBool,
    mut show: impl FnMut(&str) -> Result<(), ClientError>,
) -> Result<End, ClientError> {
    let mut asked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if asked.elapsed() >= PING_INTERVAL {
            asked = Instant::now();
            if let Err(error) = socket.send(Message::Ping("selvedge tail".into())) {
                return Ok(End::Broken(error));
            }
        }
        match socket.read() {
            Ok(Message::Text(text)) => show(&text)?,
            Ok(Message::Binary(bytes)) => show(&String::from_utf8_lossy(&bytes))?,
            Ok(Message::Close(frame)) => {
                let normal = frame.is_none_or(|frame| u16::from(frame.code) == 1000);
                return Ok(if normal { End::Closed } else { End::Broken(tungstenite::Error::ConnectionClosed) });
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Ok(End::Broken(error)),
        }
    }
    // The server forgets the stream in any case.
    let _ = socket.close(None);
    Ok(End::Asked)
}

fn show(text: &str, format: Format) -> Result<(), ClientError> {
    if format == Format::Json {
        return line(text);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(event) => line(&pretty(&event)),
        Err(_) => line(text),
    }
}

/// An event in a few lines.
fn pretty(event: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let what = &event["event"];
    let mut heading = if what["request"].is_object() {
        format!("{} {}", text(&what["request"]["method"]), text(&what["request"]["url"]))
    } else if what["cron"].is_string() {
        format!("cron \"{}\"", text(&what["cron"]))
    } else if what["rpcMethod"].is_string() {
        format!("rpc {}", text(&what["rpcMethod"]))
    } else if what["type"].is_string() {
        return format!("({}) {}", text(&what["type"]), text(&what["message"]));
    } else {
        "event".to_owned()
    };
    heading.push_str(&format!(" - {}", text(&event["outcome"])));
    if let Some(status) = what["response"]["status"].as_u64() {
        heading.push_str(&format!(" {status}"));
    }
    let mut lines = vec![heading];
    for log in event["logs"].as_array().into_iter().flatten() {
        let message: Vec<String> = log["message"].as_array().into_iter().flatten().map(text).collect();
        lines.push(format!("  ({}) {}", text(&log["level"]), message.join(" ")));
    }
    for exception in event["exceptions"].as_array().into_iter().flatten() {
        let stack = exception["stack"].as_str().filter(|stack| !stack.is_empty());
        let shown = stack
            .map_or_else(|| format!("{}: {}", text(&exception["name"]), text(&exception["message"])), str::to_owned);
        lines.push(format!("  ✘ {}", shown.replace('\n', "\n    ")));
    }
    lines.join("\n")
}

// === impl Status ===

impl Status {
    /// The outcomes that count as it.
    fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Ok => &["ok"],
            Self::Error => &["exception", "exceededCpu", "exceededMemory", "exceededLimit", "unknown"],
            Self::Canceled => &["canceled"],
        }
    }
}
