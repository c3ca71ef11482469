//! Many connections at once: the closed loop and the open loop, on one epoll.

use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::LoadError;
use crate::arguments::Load;
use crate::connection::{Connection, RequestError};
use crate::report::{Report, Tally};

/// How long after the window the answers still in flight are awaited.
const DRAIN: Duration = Duration::from_secs(10);
/// After this many failed requests a run shows nothing more, and reconnecting would only flood the server.
const FAILURES_MAX: u64 = 1000;
const READ_BUFFER_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 256;

/// The connections and what came over them.
struct Driver<'l> {
    load: &'l Load,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Indices of connections with no request in flight.
    idle: Vec<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    tally: Tally,
    failures: u64,
}

/// Throughput and latency with every connection always busy. The time until the last request is answered counts too:
/// a server that answers all connections in one slow batch is not judged by where the window cuts its last batch.
pub fn closed(load: &Load) -> Result<Report, LoadError> {
    let mut driver = Driver::new(load)?;
    let began = Instant::now();
    let end = began + load.duration;
    loop {
        let now = Instant::now();
        if now >= end || driver.failures > FAILURES_MAX {
            break;
        }
        while driver.failures <= FAILURES_MAX
            && let Some(index) = driver.idle.pop()
        {
            driver.send(index, Instant::now())?;
        }
        driver.wait(end.saturating_duration_since(now))?;
    }
    driver.drain()?;
    driver.tally.unanswered(driver.in_flight());
    Ok(driver.tally.report(began.elapsed()))
}

/// Latency at a constant `rate` (requests per second), from the instant that each request was due.
pub fn open(load: &Load, rate: f64) -> Result<Report, LoadError> {
    let mut driver = Driver::new(load)?;
    let began = Instant::now();
    let due_at = |index: u64| began + Duration::from_secs_f64(index as f64 / rate);
    let total = (load.duration.as_secs_f64() * rate).ceil() as u64;
    let end = began + load.duration;
    let mut sent = 0_u64;
    while sent < total && driver.failures <= FAILURES_MAX {
        let now = Instant::now();
        if now >= end + DRAIN {
            break;
        }
        let due = due_at(sent);
        if now < due {
            driver.wait(due - now)?;
        } else if let Some(index) = driver.idle.pop() {
            if driver.idle.len() + 1 == driver.connections.len() {
                driver.tally.sent_late(now - due);
            }
            driver.send(index, due)?;
            sent += 1;
        } else {
            driver.wait(end + DRAIN - now)?;
        }
    }
    driver.drain()?;
    driver.tally.unanswered(total - sent + driver.in_flight());
    Ok(driver.tally.report(began.elapsed()))
}

// === impl Driver ===

impl<'l> Driver<'l> {
    fn new(load: &'l Load) -> Result<Self, LoadError> {
        let mut driver = Self {
            load,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(load.connections),
            idle: (0..load.connections).rev().collect(),
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; READ_BUFFER_BYTES],
            tally: Tally::new()?,
            failures: 0,
        };
        for index in 0..load.connections {
            driver.connections.push(Connection::open(load.port)?);
            driver.register(index)?;
        }
        Ok(driver)
    }

    /// Level-triggered, for reading only; the kernel drops it when the socket is closed.
    fn register(&self, index: usize) -> Result<(), LoadError> {
        let Some(connection) = self.connections.get(index) else {
            return Ok(());
        };
        let port = self.load.port;
        connection.stream().set_nonblocking(true).map_err(|source| LoadError::Connect { port, source })?;
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, connection.stream(), data, epoll::EventFlags::IN)?)
    }

    fn in_flight(&self) -> u64 {
        (self.connections.len() - self.idle.len()) as u64
    }

    fn send(&mut self, index: usize, since: Instant) -> Result<(), LoadError> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        match connection.send(&self.load.request, since) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(index, &error),
        }
    }

    /// Waits for answers, at most for `timeout`, and takes them in.
    fn wait(&mut self, timeout: Duration) -> Result<(), LoadError> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            self.receive(event.data.u64() as usize)?;
        }
        self.events = events;
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<(), LoadError> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let received = connection.receive(&mut self.buffer);
        match (received, connection.since) {
            (Ok(false), _) => Ok(()),
            (Ok(true), Some(since)) => {
                self.tally.answered(since.elapsed(), connection.response.body_bytes);
                connection.since = None;
                self.idle.push(index);
                if connection.response.closes { self.reopen(index) } else { Ok(()) }
            }
            // The server may close a connection on which it owes nothing.
            (Err(RequestError::Closed), None) => self.reopen(index),
            (Ok(true), None) => Ok(()),
            (Err(error), _) => self.fail(index, &error),
        }
    }

    fn fail(&mut self, index: usize, error: &RequestError) -> Result<(), LoadError> {
        self.tally.failed(error);
        self.failures += 1;
        if !self.idle.contains(&index) {
            self.idle.push(index);
        }
        self.reopen(index)
    }

    fn reopen(&mut self, index: usize) -> Result<(), LoadError> {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.reopen()?;
        }
        self.register(index)
    }

    /// Awaits what is in flight, with nothing new sent.
    fn drain(&mut self) -> Result<(), LoadError> {
        let end = Instant::now() + DRAIN;
        while self.in_flight() > 0 && Instant::now() < end {
            self.wait(end.saturating_duration_since(Instant::now()))?;
        }
        Ok(())
    }
}
