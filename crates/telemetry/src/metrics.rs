//! Numbers for Prometheus.
//!
//! Every label has a bounded set of values: outcomes and status classes are enums; workers, and routes of the API, have
//! series of their own up to a number, and share `other` beyond it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use selvedge_model::{Outcome, WorkerKey};

/// The `content-type` of what [`Metrics::encode`] gives: OpenMetrics text, which Prometheus reads.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Workers that have series of their own; the rest share one named [`OTHER`].
const WORKERS_MAX: usize = 500;
/// Routes of the API that have series of their own.
const ROUTES_MAX: usize = 200;
const OTHER: &str = "other";

/// From a tenth of a millisecond to two minutes, in seconds.
const DURATION_BUCKETS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0];
/// From a twentieth of a millisecond to the most that a worker may use, in seconds.
const CPU_BUCKETS: [f64; 12] = [0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// The numbers of this process.
pub struct Metrics {
    registry: Registry,
    events: Family<EventLabels, Counter>,
    worker_events: WorkerCounters,
    event_duration: Histogram,
    event_cpu: Histogram,
    assets: Family<StatusLabels, Counter>,
    cold_starts: Histogram,
    isolates: Gauge,
    in_flight: Gauge,
    workers: Gauge,
    tails: Gauge,
    deploys: Counter,
    cron_runs: Family<OutcomeLabels, Counter>,
    cron_missed: Counter,
    api_requests: Family<ApiLabels, Counter>,
    api_duration: Histogram,
    api_routes: RwLock<HashMap<Box<str>, Arc<str>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OutcomeLabel(Outcome);

/// The first digit of a status, or none where there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StatusLabel(Option<u8>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    outcome: OutcomeLabel,
    status: StatusLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: OutcomeLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: StatusLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabels {
    account: String,
    worker: String,
    outcome: OutcomeLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    route: Arc<str>,
    status: u16,
}

/// Counters by worker, found without allocating once a worker is known.
#[derive(Default)]
struct WorkerCounters {
    family: Family<WorkerLabels, Counter>,
    known: RwLock<HashMap<WorkerKey, HashMap<OutcomeLabel, Counter>>>,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("selvedge"),
            events: Family::default(),
            worker_events: WorkerCounters::default(),
            event_duration: Histogram::new(DURATION_BUCKETS),
            event_cpu: Histogram::new(CPU_BUCKETS),
            assets: Family::default(),
            cold_starts: Histogram::new(DURATION_BUCKETS),
            isolates: Gauge::default(),
            in_flight: Gauge::default(),
            workers: Gauge::default(),
            tails: Gauge::default(),
            deploys: Counter::default(),
            cron_runs: Family::default(),
            cron_missed: Counter::default(),
            api_requests: Family::default(),
            api_duration: Histogram::new(DURATION_BUCKETS),
            api_routes: RwLock::default(),
        };
        metrics.register();
        metrics
    }

    /// An event of a worker is over; `status` is that of its answer, if it was a request and had one.
    pub fn event(&self, worker: &WorkerKey, outcome: Outcome, status: Option<u16>, cpu: Duration, wall: Duration) {
        let outcome = OutcomeLabel(outcome);
        self.events.get_or_create(&EventLabels { outcome, status: StatusLabel::of(status) }).inc();
        self.worker_events.count(worker, outcome);
        self.event_duration.observe(wall.as_secs_f64());
        self.event_cpu.observe(cpu.as_secs_f64());
    }

    /// A request was answered with a file of a worker.
    pub fn asset(&self, status: u16) {
        self.assets.get_or_create(&StatusLabels { status: StatusLabel::of(Some(status)) }).inc();
    }

    /// An instance of a worker was started for a request that waited for it.
    pub fn cold_start(&self, duration: Duration) {
        self.cold_starts.observe(duration.as_secs_f64());
    }

    /// A deployment took effect.
    pub fn deploy(&self) {
        self.deploys.inc();
    }

    /// A cron trigger ran.
    pub fn cron_run(&self, outcome: Outcome) {
        self.cron_runs.get_or_create(&OutcomeLabels { outcome: OutcomeLabel(outcome) }).inc();
    }

    /// Times at which a cron trigger should have run and did not.
    pub fn cron_missed(&self, times: u64) {
        self.cron_missed.inc_by(times);
    }

    /// A request to the API was answered. `route` is the pattern that it matched, never its path.
    pub fn api_request(&self, route: &str, status: u16, duration: Duration) {
        let route = self.known_route(route);
        self.api_requests.get_or_create(&ApiLabels { route, status }).inc();
        self.api_duration.observe(duration.as_secs_f64());
    }

    /// How many isolates live, and how many events are under way in them.
    pub fn set_running(&self, isolates: usize, in_flight: usize) {
        self.isolates.set(gauge(isolates));
        self.in_flight.set(gauge(in_flight));
    }

    /// How many workers are deployed.
    pub fn set_workers(&self, workers: usize) {
        self.workers.set(gauge(workers));
    }

    /// How many tails are open.
    pub fn set_tails(&self, tails: usize) {
        self.tails.set(gauge(tails));
    }

    /// A worker is gone: its series make room for another's.
    pub fn forget_worker(&self, worker: &WorkerKey) {
        self.worker_events.forget(worker);
    }

    /// All numbers, as text of [`METRICS_CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }

    fn known_route(&self, route: &str) -> Arc<str> {
        if let Some(known) = self.api_routes.read().get(route) {
            return Arc::clone(known);
        }
        let mut routes = self.api_routes.write();
        if routes.len() >= ROUTES_MAX {
            return OTHER.into();
        }
        Arc::clone(routes.entry(route.into()).or_insert_with(|| route.into()))
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let seconds = || Unit::Seconds;
        registry.register(
            "events",
            "Events of workers that are over, by how they ended and by the class of the status",
            self.events.clone(),
        );
        registry.register("worker_events", "Events by worker and by how they ended", self.worker_events.family.clone());
        registry.register_with_unit(
            "event_duration",
            "From the arrival of an event to its end",
            seconds(),
            self.event_duration.clone(),
        );
        registry.register_with_unit("event_cpu", "CPU time of an event", seconds(), self.event_cpu.clone());
        registry.register(
            "asset_responses",
            "Requests answered with a file, by the class of the status",
            self.assets.clone(),
        );
        registry.register_with_unit(
            "cold_start_duration",
            "What a request waited for an instance to start",
            seconds(),
            self.cold_starts.clone(),
        );
        registry.register("isolates", "Isolates that live", self.isolates.clone());
        registry.register("events_in_flight", "Events under way", self.in_flight.clone());
        registry.register("workers_deployed", "Workers that are deployed", self.workers.clone());
        registry.register("tails_open", "Tails that are open", self.tails.clone());
        registry.register("deploys", "Deployments that took effect", self.deploys.clone());
        registry.register("cron_runs", "Runs of cron triggers, by how they ended", self.cron_runs.clone());
        registry.register(
            "cron_missed",
            "Times at which a cron trigger should have run and did not",
            self.cron_missed.clone(),
        );
        registry.register("api_requests", "Requests to the API, by route and status", self.api_requests.clone());
        registry.register_with_unit(
            "api_request_duration",
            "From the arrival of a request to the API to its answer",
            seconds(),
            self.api_duration.clone(),
        );
    }
}

fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

// === impl WorkerCounters ===

impl WorkerCounters {
    fn count(&self, worker: &WorkerKey, outcome: OutcomeLabel) {
        let known = self.known.read();
        if let Some(counter) = known.get(worker).and_then(|counters| counters.get(&outcome)) {
            counter.inc();
            return;
        }
        drop(known);
        let mut known = self.known.write();
        if !known.contains_key(worker) && known.len() >= WORKERS_MAX {
            drop(known);
            let (account, worker) = (OTHER.to_owned(), OTHER.to_owned());
            self.family.get_or_create(&WorkerLabels { account, worker, outcome }).inc();
            return;
        }
        let counters = known.entry(worker.clone()).or_default();
        let counter = counters.entry(outcome).or_insert_with(|| {
            let (account, worker) = (worker.account.to_string(), worker.worker.to_string());
            self.family.get_or_create_owned(&WorkerLabels { account, worker, outcome })
        });
        counter.inc();
    }

    fn forget(&self, worker: &WorkerKey) {
        let Some(counters) = self.known.write().remove(worker) else { return };
        for outcome in counters.into_keys() {
            let (account, worker) = (worker.account.to_string(), worker.worker.to_string());
            self.family.remove(&WorkerLabels { account, worker, outcome });
        }
    }
}

// === impl labels ===

impl EncodeLabelValue for OutcomeLabel {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let text = match self.0 {
            Outcome::Ok => "ok",
            Outcome::Exception => "exception",
            Outcome::ExceededCpu => "exceededCpu",
            Outcome::ExceededMemory => "exceededMemory",
            Outcome::ExceededLimit => "exceededLimit",
            Outcome::Canceled => "canceled",
            Outcome::Unknown => "unknown",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl StatusLabel {
    fn of(status: Option<u16>) -> Self {
        Self(status.and_then(|status| u8::try_from(status / 100).ok()).filter(|class| (1..=5).contains(class)))
    }
}

impl EncodeLabelValue for StatusLabel {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let text = match self.0 {
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
            None => "none",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn worker(name: &str) -> WorkerKey {
        WorkerKey::new("0123456789abcdef0123456789abcdef".parse().unwrap(), name.parse().unwrap())
    }

    fn series<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.starts_with(prefix)).collect()
    }

    #[test]
    fn what_is_recorded_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.event(&worker("loom"), Outcome::Ok, Some(204), MILLISECOND, 3 * MILLISECOND);
        metrics.event(&worker("loom"), Outcome::ExceededCpu, None, MILLISECOND, 3 * MILLISECOND);
        metrics.asset(304);
        metrics.cold_start(2 * MILLISECOND);
        metrics.deploy();
        metrics.cron_run(Outcome::Exception);
        metrics.cron_missed(2);
        metrics.api_request("/accounts/{account}/workers/scripts/{worker}", 200, MILLISECOND);
        metrics.set_running(3, 7);
        metrics.set_workers(5);
        metrics.set_tails(1);
        let text = metrics.encode();
        for line in [
            r#"selvedge_events_total{outcome="ok",status="2xx"} 1"#,
            r#"selvedge_events_total{outcome="exceededCpu",status="none"} 1"#,
            r#"selvedge_worker_events_total{account="0123456789abcdef0123456789abcdef",worker="loom",outcome="ok"} 1"#,
            "selvedge_event_duration_seconds_count 2",
            r#"selvedge_event_cpu_seconds_bucket{le="0.001"} 2"#,
            r#"selvedge_asset_responses_total{status="3xx"} 1"#,
            "selvedge_cold_start_duration_seconds_sum 0.002",
            "selvedge_deploys_total 1",
            r#"selvedge_cron_runs_total{outcome="exception"} 1"#,
            "selvedge_cron_missed_total 2",
            r#"selvedge_api_requests_total{route="/accounts/{account}/workers/scripts/{worker}",status="200"} 1"#,
            "selvedge_isolates 3",
            "selvedge_events_in_flight 7",
            "selvedge_workers_deployed 5",
            "selvedge_tails_open 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn workers_beyond_the_bound_share_a_series() {
        let metrics = Metrics::new();
        for count in 0..WORKERS_MAX + 20 {
            metrics.event(&worker(&format!("worker-{count}")), Outcome::Ok, Some(200), MILLISECOND, MILLISECOND);
        }
        let text = metrics.encode();
        assert_eq!(series(&text, "selvedge_worker_events_total").len(), WORKERS_MAX + 1);
        let other = r#"selvedge_worker_events_total{account="other",worker="other",outcome="ok"} 20"#;
        assert_eq!(series(&text, "selvedge_worker_events_total{account=\"other\""), [other]);

        metrics.forget_worker(&worker("worker-0"));
        metrics.event(&worker("late"), Outcome::Ok, Some(200), MILLISECOND, MILLISECOND);
        let text = metrics.encode();
        assert_eq!(series(&text, "selvedge_worker_events_total").len(), WORKERS_MAX + 1);
        assert!(text.contains("worker=\"late\"") && !text.contains("worker=\"worker-0\""));
    }

    #[test]
    fn routes_beyond_the_bound_share_a_series() {
        let metrics = Metrics::new();
        for count in 0..ROUTES_MAX + 20 {
            metrics.api_request(&format!("/route/{count}"), 200, MILLISECOND);
        }
        let text = metrics.encode();
        assert_eq!(series(&text, "selvedge_api_requests_total").len(), ROUTES_MAX + 1);
        assert!(text.contains(r#"selvedge_api_requests_total{route="other",status="200"} 20"#));
    }
}
