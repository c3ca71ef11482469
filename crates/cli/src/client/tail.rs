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
use tokio::signal::unix::{SignalKind, signal};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::http::HeaderValue;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Connector, HandshakeError, Message, WebSocket, client_tls_with_config};

use super::api::{Body, CONNECT_TIME_MAX, Call};
use super::console::{Console, line, next_document};
use super::dial::dial;
use super::error::ClientError;
use super::fields::{at, each_at, text_at};
use super::place::PlaceArguments;
use super::versions::full_id;
use super::worker::{Worker, WorkerArguments};

/// What the server and the platform's client call their protocol.
const PROTOCOL: &str = "trace-v1";
/// How often it is looked whether the stream is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often the server is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long a server that is asked may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// How long a stream may take to end when it is told to.
const END_TIME_MAX: Duration = Duration::from_secs(3);
/// What a server says that has no more to tell.
const CLOSE_NORMAL: u16 = 1000;
/// How long it is tried to begin a broken stream again: a platform that is exchanged for another first ends what it has
/// begun. The waits between the attempts double, up to the longest.
const RECONNECT_TIME_MAX: Duration = Duration::from_secs(300);
const RECONNECT_WAIT: Duration = Duration::from_secs(1);
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

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
    /// Events of this version: its id, the beginning of it, or "latest"
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
    /// It was told to, or nobody reads what it shows.
    Asked,
    /// The server closed it for good.
    Closed,
    /// It had lasted so long.
    Broken { error: Box<tungstenite::Error>, lasted: Duration },
}

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

pub fn tail(arguments: &TailArguments, console: &Console) -> Result<(), ClientError> {
    let mut worker = arguments.worker.clone();
    worker.name = worker.name.or_else(|| arguments.target.clone());
    let worker = worker.find(&arguments.place, console)?;
    let json = arguments.place.json || !std::io::IsTerminal::is_terminal(&std::io::stdout());
    let format = arguments.format.unwrap_or(if json { Format::Json } else { Format::Pretty });
    let filters = filters(arguments, &worker)?;
    let stop = stopping()?;
    let (mut since, mut pause, mut told) = (None, RECONNECT_WAIT, String::new());
    loop {
        let (error, lasted) = match stream(&worker, &filters, format, &stop, console) {
            Ok(End::Asked) => return Ok(()),
            Ok(End::Closed) => {
                console.progress("the platform ended the stream: `selvedge tail` begins another");
                return Ok(());
            }
            Ok(End::Broken { error, lasted }) => (ClientError::Tail(error), lasted),
            // The platform may be starting again.
            Err(error) if since.is_some() && error.is_passing() => (error, Duration::ZERO),
            Err(error) => return Err(error),
        };
        if lasted > RECONNECT_WAIT_MAX {
            (since, pause, told) = (None, RECONNECT_WAIT, String::new());
        }
        let since = *since.get_or_insert_with(Instant::now);
        if since.elapsed() >= RECONNECT_TIME_MAX {
            return Err(error);
        }
        let text = error.text();
        if text != told {
            console.warning(&format!("{text}; connecting again"));
            told = text;
        }
        wait(pause, &stop);
        pause = (pause * 2).min(RECONNECT_WAIT_MAX);
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// One stream, from its opening to its end.
fn stream(
    worker: &Worker,
    filters: &Value,
    format: Format,
    stop: &AtomicBool,
    console: &Console,
) -> Result<End, ClientError> {
    let opened = open(worker, filters)?;
    let tls = worker.place.api.tls()?;
    let mut socket = connect(&opened.url, tls)?;
    console.progress(&format!("following {}; Ctrl-C ends it", worker.name));
    let end = follow(&mut socket, stop, |text| show(text, format))?;
    if matches!(end, End::Asked) {
        // The server forgets the stream in any case.
        let _ = socket.close(None);
        if let Err(error) = worker.place.api.delete(&worker.path(&["tails", &opened.id]), &[]) {
            console.warning(&error.text());
        }
    }
    Ok(end)
}

/// Waits, but no longer than until it is told to stop.
fn wait(length: Duration, stop: &AtomicBool) {
    let began = Instant::now();
    while began.elapsed() < length && !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}

/// Turns true when the program is told to end. If it does not then, because it waits for a server that says nothing, it is
/// ended.
fn stopping() -> Result<Arc<AtomicBool>, ClientError> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    let (told, waiting) = (Arc::clone(&stop), std::thread::current());
    std::thread::spawn(move || {
        runtime.block_on(async {
            if told_to_end().await.is_err() {
                // Then the signal ends the program as it always does.
                return;
            }
            told.store(true, Ordering::Relaxed);
            waiting.unpark();
            tokio::time::sleep(END_TIME_MAX).await;
            std::process::exit(0);
        });
    });
    Ok(stop)
}

/// Waits for SIGTERM or SIGINT.
async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What the server lets through.
fn filters(arguments: &TailArguments, worker: &Worker) -> Result<Value, ClientError> {
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
        filters.push(json!({ "scriptVersion": full_id(worker, version)? }));
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

fn connect(url: &str, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Socket, ClientError> {
    let broken = |error| ClientError::Tail(Box::new(error));
    let mut request = url.into_client_request().map_err(broken)?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let stream = dial(request.uri())?;
    shake_hands(request, stream, tls).map_err(broken)
}

fn shake_hands(
    request: Request,
    stream: TcpStream,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Socket, tungstenite::Error> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT_TIME_MAX))?;
    stream.set_write_timeout(Some(CONNECT_TIME_MAX))?;
    let connector = tls.map(Connector::Rustls);
    let (socket, _) = client_tls_with_config(request, stream, None, connector).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => std::io::Error::from(ErrorKind::TimedOut).into(),
    })?;
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

/// Shows events until the stream ends. `show` says whether somebody still reads.
fn follow(
    socket: &mut Socket,
    stop: &AtomicBool,
    mut show: impl FnMut(&str) -> Result<bool, ClientError>,
) -> Result<End, ClientError> {
    let began = Instant::now();
    let (mut asked, mut heard) = (began, began);
    let broken = |error: tungstenite::Error| End::Broken { error: Box::new(error), lasted: began.elapsed() };
    while !stop.load(Ordering::Relaxed) {
        if heard.elapsed() >= SILENCE_MAX {
            return Ok(broken(std::io::Error::from(ErrorKind::TimedOut).into()));
        }
        if asked.elapsed() >= PING_INTERVAL {
            asked = Instant::now();
            if let Err(error) = socket.send(Message::Ping("selvedge tail".into())) {
                return Ok(broken(error));
            }
        }
        let is_read = match socket.read() {
            Ok(Message::Text(text)) => show(&text)?,
            Ok(Message::Binary(bytes)) => show(&String::from_utf8_lossy(&bytes))?,
            Ok(Message::Close(frame)) => {
                let normal = frame.is_none_or(|frame| u16::from(frame.code) == CLOSE_NORMAL);
                return Ok(if normal { End::Closed } else { broken(tungstenite::Error::ConnectionClosed) });
            }
            Ok(_) => true,
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => return Ok(broken(error)),
        };
        heard = Instant::now();
        if !is_read {
            break;
        }
    }
    Ok(End::Asked)
}

fn show(text: &str, format: Format) -> Result<bool, ClientError> {
    if format == Format::Json {
        return next_document(text);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(event) => line(&pretty(&event)),
        Err(_) => line(text),
    }
}

/// An event in a few lines.
fn pretty(event: &Value) -> String {
    let text = |pointer: &str| text_at(event, pointer);
    if !text("/event/type").is_empty() {
        return format!("({}) {}", text("/event/type"), text("/event/message"));
    }
    let mut heading = format!("{} - {}", what(event), text("/outcome"));
    if let Some(status) = at(event, "/event/response/status").as_u64() {
        heading.push_str(&format!(" {status}"));
    }
    let mut lines = vec![heading];
    for log in each_at(event, "/logs") {
        let message: Vec<String> = each_at(log, "/message").iter().map(logged).collect();
        lines.push(format!("  ({}) {}", text_at(log, "/level"), message.join(" ")));
    }
    for exception in each_at(event, "/exceptions") {
        let shown = match text_at(exception, "/stack") {
            "" => format!("{}: {}", text_at(exception, "/name"), text_at(exception, "/message")),
            stack => stack.to_owned(),
        };
        lines.push(format!("  ✘ {}", shown.replace('\n', "\n    ")));
    }
    lines.join("\n")
}

/// What kind of event it was.
fn what(event: &Value) -> String {
    let text = |pointer: &str| text_at(event, pointer);
    if !text("/event/request/url").is_empty() {
        format!("{} {}", text("/event/request/method"), text("/event/request/url"))
    } else if !text("/event/cron").is_empty() {
        format!("cron \"{}\"", text("/event/cron"))
    } else if !text("/event/rpcMethod").is_empty() {
        format!("rpc {}", text("/event/rpcMethod"))
    } else if !each_at(event, "/event/consumedEvents").is_empty() {
        "tail".to_owned()
    } else {
        "event".to_owned()
    }
}

/// What was logged: a text as it is, all else as JSON.
fn logged(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_in_a_few_lines() {
        let fetched = json!({
            "outcome": "exception",
            "event": { "request": { "method": "GET", "url": "http://shop.localhost/x" }, "response": { "status": 500 } },
            "logs": [{ "level": "log", "message": ["said", { "a": 1 }] }],
            "exceptions": [{ "name": "Error", "message": "no", "stack": "Error: no\n  at x" }, { "name": "E", "message": "m" }],
        });
        let expected = "GET http://shop.localhost/x - exception 500\n  (log) said {\"a\":1}\n  \
                        ✘ Error: no\n      at x\n  ✘ E: m";
        assert_eq!(pretty(&fetched), expected);
        for (event, told) in [
            (json!({ "cron": "* * * * *", "scheduledTime": 1 }), "cron \"* * * * *\" - ok"),
            (json!({ "rpcMethod": "add" }), "rpc add - ok"),
            (json!({ "consumedEvents": [{ "scriptName": "x" }] }), "tail - ok"),
            (json!({ "type": "overload", "message": "too much" }), "(overload) too much"),
            (json!(null), "event - ok"),
            (json!([1]), "event - ok"),
        ] {
            assert_eq!(pretty(&json!({ "outcome": "ok", "event": event, "logs": 1 })), told);
        }
    }
}
