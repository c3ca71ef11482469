//! One request after another over one connection, and every change of the answer with its time.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::LoadError;
use crate::arguments::Load;
use crate::connection::Connection;
use crate::report::{Report, Tally};

/// After this many failed requests a run shows nothing more.
const FAILURES_MAX: u32 = 100;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What came, other than what came before: one line of JSON.
#[derive(Serialize)]
struct Change<'c> {
    /// When the answer was complete, by the clock that counts since the machine's start.
    at_ns: u64,
    /// Why it is none, where the request failed.
    error: Option<&'c str>,
    /// The start of the body.
    body: &'c str,
}

/// Asks until standard input ends, at most for the duration of the load. Answers are told apart by the start of their
/// bodies.
pub fn run(load: &Load) -> Result<Report, LoadError> {
    let stopped = stopped_by_stdin();
    let mut connection = Connection::open_blocking(load.port)?;
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut tally = Tally::new()?;
    let mut last = None;
    let mut failures = 0;
    let began = Instant::now();
    while !stopped.load(Ordering::Relaxed) && began.elapsed() < load.duration && failures <= FAILURES_MAX {
        let asked = connection.ask(&load.request, &mut buffer);
        let at_ns = now_ns();
        match asked {
            Ok(latency) => {
                tally.answered(latency, connection.response.body_bytes);
                if last.as_ref() != Some(&connection.response.prefix) {
                    tell(at_ns, None, &connection.response.prefix)?;
                    last = Some(connection.response.prefix.clone());
                }
                if connection.response.closes {
                    connection.reopen_blocking()?;
                }
            }
            Err(error) => {
                failures += 1;
                tally.failed(&error);
                tell(at_ns, Some(&error.to_string()), &connection.response.prefix)?;
                connection.reopen_blocking()?;
            }
        }
    }
    Ok(tally.report(began.elapsed()))
}

fn tell(at_ns: u64, error: Option<&str>, body: &[u8]) -> Result<(), LoadError> {
    let change = Change { at_ns, error, body: &String::from_utf8_lossy(body) };
    println!("{}", serde_json::to_string(&change)?);
    Ok(())
}

/// Turns true when standard input ends.
fn stopped_by_stdin() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(count) if count > 0) {}
        stop.store(true, Ordering::Relaxed);
    });
    stopped
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
