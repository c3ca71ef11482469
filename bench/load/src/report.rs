//! What a run found, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::LoadError;
use crate::connection::RequestError;

/// Latencies are kept to three significant digits, from 1 ns to ten minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Times and errors as they come in.
pub struct Tally {
    latencies: Histogram<u64>,
    lateness: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    body_bytes: u64,
}

/// Latencies in microseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Requests that were answered with a success.
    requests: u64,
    seconds: f64,
    requests_per_second: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    mean_us: f64,
    /// How late this program itself sent a request while none was in flight: 99th percentile. Open loop only.
    late_p99_us: f64,
    body_bytes: u64,
    errors: BTreeMap<String, u64>,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).clamp(1, LATENCY_NS_MAX)
}

fn microseconds_at(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

// === impl Tally ===

impl Tally {
    pub fn new() -> Result<Self, LoadError> {
        Ok(Self {
            latencies: Histogram::new_with_max(LATENCY_NS_MAX, SIGNIFICANT_DIGITS)?,
            lateness: Histogram::new_with_max(LATENCY_NS_MAX, SIGNIFICANT_DIGITS)?,
            errors: BTreeMap::new(),
            body_bytes: 0,
        })
    }

    pub fn answered(&mut self, latency: Duration, body_bytes: u64) {
        self.latencies.saturating_record(nanoseconds(latency));
        self.body_bytes += body_bytes;
    }

    pub fn sent_late(&mut self, lateness: Duration) {
        self.lateness.saturating_record(nanoseconds(lateness));
    }

    pub fn failed(&mut self, error: &RequestError) {
        *self.errors.entry(error.to_string()).or_default() += 1;
    }

    pub fn unanswered(&mut self, count: u64) {
        if count > 0 {
            self.errors.insert("unanswered at the end".to_owned(), count);
        }
    }

    pub fn report(&self, window: Duration) -> Report {
        let requests = self.latencies.len();
        let seconds = window.as_secs_f64();
        Report {
            requests,
            seconds,
            requests_per_second: requests as f64 / seconds.max(1e-9),
            p50_us: microseconds_at(&self.latencies, 0.5),
            p90_us: microseconds_at(&self.latencies, 0.9),
            p99_us: microseconds_at(&self.latencies, 0.99),
            p999_us: microseconds_at(&self.latencies, 0.999),
            max_us: self.latencies.max() as f64 / 1e3,
            mean_us: self.latencies.mean() / 1e3,
            late_p99_us: microseconds_at(&self.lateness, 0.99),
            body_bytes: self.body_bytes,
            errors: self.errors.clone(),
        }
    }
}
