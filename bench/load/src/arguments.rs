//! The command line.

use std::time::Duration;

use lexopt::{Arg, ValueExt};

use crate::LoadError;

/// What `closed`, `open` and `watch` have in common.
pub struct Load {
    pub port: u16,
    /// The bytes of the one request that is sent over and over.
    pub request: Vec<u8>,
    pub connections: usize,
    pub duration: Duration,
}

pub enum Command {
    Closed(Load),
    /// With the rate in requests per second.
    Open(Load, f64),
    /// With the pause after each answer.
    Each(Duration),
    /// Over one connection, whatever their number says.
    Watch(Load),
}

/// More than this many connections would measure the kernel, not the server.
const CONNECTIONS_MAX: usize = 4096;
const SECONDS_MAX: f64 = 600.0;

/// A GET request as the bytes to send. `host` names the worker; the connection goes to loopback in any case.
pub fn get_request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: selvedge-load\r\n\r\n").into_bytes()
}

pub fn parse() -> Result<Command, LoadError> {
    let mut mode = None;
    let mut port = 0_u16;
    let mut host = None;
    let mut path = String::from("/");
    let mut connections = 64_usize;
    let mut seconds = 5.0_f64;
    let mut rate = 0.0_f64;
    let mut pause_ms = 0.0_f64;

    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(value) if mode.is_none() => mode = Some(value.string()?),
            Arg::Long("port") => port = parser.value()?.parse()?,
            Arg::Long("host") => host = Some(parser.value()?.string()?),
            Arg::Long("path") => path = parser.value()?.string()?,
            Arg::Long("connections") => connections = parser.value()?.parse()?,
            Arg::Long("seconds") => seconds = parser.value()?.parse()?,
            Arg::Long("rate") => rate = parser.value()?.parse()?,
            Arg::Long("pause-ms") => pause_ms = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }

    let mode = mode.ok_or(LoadError::Usage)?;
    if mode == "each" && (0.0..=10_000.0).contains(&pause_ms) {
        return Ok(Command::Each(Duration::from_secs_f64(pause_ms / 1e3)));
    }
    let in_bounds = port > 0 && (1..=CONNECTIONS_MAX).contains(&connections) && seconds > 0.0 && seconds <= SECONDS_MAX;
    if !in_bounds {
        return Err(LoadError::Usage);
    }
    let host = host.unwrap_or_else(|| format!("localhost:{port}"));
    let load =
        Load { port, request: get_request(&host, &path), connections, duration: Duration::from_secs_f64(seconds) };
    match mode.as_str() {
        "closed" => Ok(Command::Closed(load)),
        "watch" => Ok(Command::Watch(load)),
        "open" if rate > 0.0 && rate.is_finite() => Ok(Command::Open(load, rate)),
        _ => Err(LoadError::Usage),
    }
}
