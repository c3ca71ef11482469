//! How many appends a second reach the disk: `cargo run --release -p selvedge-fabric --example appends -- [DIR] [SECONDS]`.
// A measurement that cannot be made ends the program.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_fabric::{Embedded, Fabric, Position};

const RECORD_BYTES: usize = 200;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next();
    let seconds = arguments.next().map_or(5, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let temporary = tempfile::tempdir_in(dir.as_deref().unwrap_or(".")).unwrap();
    for writers in [1, 8, 64, 256] {
        measure(&temporary.path().join(writers.to_string()), writers, time).await;
    }
}

/// Each writer appends to a log of its own, one record after the other.
async fn measure(dir: &Path, writers: usize, time: Duration) {
    let fabric = Embedded::open(dir).unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(append(Arc::clone(&fabric), writer, time))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    println!(
        "{writers:3} writers: {:7.0} appends/s, p50 {:?}, p99 {:?}",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
}

async fn append(fabric: Arc<Embedded>, writer: usize, time: Duration) -> Vec<Duration> {
    let log = format!("log {writer}");
    let record = Bytes::from(vec![7; RECORD_BYTES]);
    let (started, mut end, mut latencies) = (Instant::now(), Position(0), Vec::new());
    while started.elapsed() < time {
        let asked = Instant::now();
        end = fabric.append(&log, end, vec![record.clone()]).await.unwrap();
        latencies.push(asked.elapsed());
    }
    latencies
}
