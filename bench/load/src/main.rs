//! A load generator for one HTTP/1.1 server on loopback.
//!
//! - `load closed`: every connection sends its next request when its last answer is complete. Gives throughput, and
//!   latency at full load.
//! - `load open`: requests are due at a constant rate, whatever the server does. Latency counts from the instant a
//!   request was *due*, so a stall is charged to every request that it delayed (no coordinated omission).
//! - `load each`: one request at a time to each target read from standard input: first-request times.
//! - `load watch`: one request after another over one connection until standard input ends: when the answer changed.
//!
//! One thread, no allocation per request; one JSON object on standard output, after one for each change that was
//! watched. It runs on the cores that the server runs on, so what it costs matters: hence epoll with a nanosecond
//! timeout and no runtime (tokio's timers tick at 1 ms, more than the latencies to be told apart).

mod arguments;
mod connection;
mod drive;
mod each;
mod framing;
mod report;
mod watch;

use std::num::NonZero;
use std::process::ExitCode;

use arguments::Command;

/// Why no measurement could be made. A failed *request* is not one of these: it is counted in the report.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("bad argument")]
    Argument(#[from] lexopt::Error),
    #[error(
        "usage: load closed|open|each|watch [--port P] [--host H] [--path /] [--connections N] [--seconds S] [--rate R] [--pause-ms M]"
    )]
    Usage,
    #[error("line {line} of the targets is not `port host expected-body-prefix`")]
    Target { line: usize },
    #[error("reading the targets")]
    ReadTargets(#[source] std::io::Error),
    #[error("connecting to 127.0.0.1:{port}")]
    Connect { port: u16, source: std::io::Error },
    #[error("waiting for events")]
    Poll(#[from] rustix::io::Errno),
    #[error("making the histogram")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("writing the report")]
    Write(#[from] serde_json::Error),
}

fn run() -> Result<(), LoadError> {
    // The default slack of 50 µs would be added to each wait for the next due request.
    rustix::thread::set_current_timer_slack(NonZero::new(1))?;
    let report = match arguments::parse()? {
        Command::Closed(load) => drive::closed(&load)?,
        Command::Open(load, rate) => drive::open(&load, rate)?,
        Command::Each(pause) => each::run(pause)?,
        Command::Watch(load) => watch::run(&load)?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = format!("load: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                line.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}
