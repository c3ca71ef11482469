//! One request at a time, to each target once, in the order given.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::BufRead;
use std::time::{Duration, Instant};

use crate::LoadError;
use crate::arguments::get_request;
use crate::connection::{Connection, RequestError};
use crate::report::{Report, Tally};

const TARGETS_MAX: usize = 100_000;
const READ_BUFFER_BYTES: usize = 64 * 1024;

struct Target {
    port: u16,
    request: Vec<u8>,
    /// What the body begins with, so that an answer from another worker cannot pass.
    expected: Vec<u8>,
}

/// Times one request to each target. Connections are made beforehand, one for each port: their handshake is not
/// in the times, all that follows is.
pub fn run(pause: Duration) -> Result<Report, LoadError> {
    let targets = read_targets()?;
    let mut connections = connect(&targets)?;
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut tally = Tally::new()?;
    let began = Instant::now();
    for target in &targets {
        let Some(connection) = connections.get_mut(&target.port) else {
            continue;
        };
        match exchange(connection, target, &mut buffer) {
            Ok(latency) => tally.answered(latency, connection.response.body_bytes),
            Err(error) => tally.failed(&error),
        }
        if connection.response.closes || !connection.response.is_success() {
            connection.reopen_blocking()?;
        }
        std::thread::sleep(pause);
    }
    Ok(tally.report(began.elapsed()))
}

fn exchange(connection: &mut Connection, target: &Target, buffer: &mut [u8]) -> Result<Duration, RequestError> {
    let latency = connection.ask(&target.request, buffer)?;
    if connection.response.prefix.starts_with(&target.expected) { Ok(latency) } else { Err(RequestError::Body) }
}

fn connect(targets: &[Target]) -> Result<HashMap<u16, Connection>, LoadError> {
    let mut connections = HashMap::new();
    for target in targets {
        if let Entry::Vacant(place) = connections.entry(target.port) {
            place.insert(Connection::open_blocking(target.port)?);
        }
    }
    Ok(connections)
}

fn read_targets() -> Result<Vec<Target>, LoadError> {
    let mut targets = Vec::new();
    for (index, line) in std::io::stdin().lock().lines().enumerate().take(TARGETS_MAX) {
        let line = line.map_err(LoadError::ReadTargets)?;
        targets.push(parse_target(&line).ok_or(LoadError::Target { line: index + 1 })?);
    }
    Ok(targets)
}

/// `port host expected`.
fn parse_target(line: &str) -> Option<Target> {
    let mut words = line.splitn(3, ' ');
    let port = words.next()?.parse().ok()?;
    let request = get_request(words.next()?, "/");
    let expected = words.next()?.as_bytes().to_vec();
    Some(Target { port, request, expected })
}
