//! What joins the control plane, the point of presence and telemetry in one process: each knows a contract of its own, and
//! none of them the others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use selvedge_control::{NearestPop, SecretsKey, StartFailure, Started};
use selvedge_edge::{Attention, Ended, LogRecord, NoInstance, Records};
use selvedge_fabric::Revision;
use selvedge_model::{AccountId, Failure, Outcome, Place, VersionRecord, WorkerKey, WorkerName};
use selvedge_pop::{Fired, Firing, OpenSecret, Replica};
use selvedge_telemetry::{Metrics, Tails};

/// Opens secrets with the platform's key.
pub struct Key(pub SecretsKey);

impl OpenSecret for Key {
    fn open(&self, account: &AccountId, worker: &WorkerName, name: &str, sealed: &str) -> Result<String, String> {
        let secret = self.0.open(account, worker, name, sealed);
        let secret = secret.ok_or("it was sealed for another place, or with another key than this platform's")?;
        Ok(secret.expose().to_owned())
    }
}

/// The point of presence in this process.
pub struct Here(pub Arc<Replica>);

impl NearestPop for Here {
    fn start<'a>(&'a self, version: &'a VersionRecord) -> BoxFuture<'a, Result<Started, StartFailure>> {
        Box::pin(async move {
            match self.0.prepare(version).await {
                Ok(loaded) => Ok(Started {
                    handlers: loaded.handlers,
                    entrypoints: loaded.named_handlers.into_iter().map(|export| export.name).collect(),
                    startup_ms: loaded.startup_us.div_ceil(1000),
                }),
                Err(NoInstance::Failed(failure)) => Err(StartFailure {
                    message: selvedge_edge::sentence(&failure),
                    stack: match failure {
                        Failure::Exception { exception, .. } | Failure::Hung { exception } => exception.stack,
                        Failure::Limit { .. } => String::new(),
                    },
                    unavailable: false,
                }),
                Err(NoInstance::Unavailable(reason)) => {
                    Err(StartFailure { message: reason, stack: String::new(), unavailable: true })
                }
            }
        })
    }

    fn served(&self, published: Revision) -> BoxFuture<'_, ()> {
        Box::pin(self.0.reached(published))
    }
}

/// Tells tails and metrics what becomes of events.
pub struct Telemetry {
    pub tails: Tails,
    pub metrics: Arc<Metrics>,
}

impl Records for Telemetry {
    fn log(&self, record: LogRecord) {
        tracing::debug!(
            worker = record.worker,
            request_id = record.request_id,
            severity = record.level,
            "a worker logged {} values",
            record.message.len()
        );
    }

    fn failed(&self, worker: &str, request_id: &str, failure: &Failure) {
        // What the exception says is its author's: the tail has it.
        match failure {
            Failure::Limit { error } => tracing::info!(
                worker,
                request_id,
                limit = named(&error.limit),
                used = error.used,
                allowed = error.allowed,
                version = error.version,
                place = error.place.as_ref().map(place_text),
                "a worker exceeded a limit"
            ),
            Failure::Exception { .. } | Failure::Hung { .. } => {
                tracing::debug!(worker, request_id, "a worker threw an exception");
            }
        }
    }

    fn attention(&self, worker: &WorkerKey) -> Attention {
        if self.tails.wants(worker) { Attention::Trace } else { Attention::Outcome }
    }

    fn asset(&self, status: u16) {
        self.metrics.asset(status);
    }

    fn cold_start(&self, time: Duration) {
        self.metrics.cold_start(time);
    }

    fn deployed(&self, _worker: &WorkerKey) {
        self.metrics.deploy();
    }

    fn removed(&self, worker: &WorkerKey) {
        self.metrics.forget_worker(worker);
    }

    fn ended(&self, ended: Ended<'_>) {
        let worker = WorkerKey::new(ended.of.account.clone(), ended.of.worker.clone());
        self.metrics.event(&worker, ended.outcome, ended.status, ended.cpu, ended.wall);
        if let Some(trace) = ended.trace {
            self.tails.publish(&trace);
        }
    }
}

impl Firing for Telemetry {
    fn fired(&self, fired: Fired<'_>) {
        match fired {
            Fired::Ran { worker, cron, result: Ok(()) } => {
                self.metrics.cron_run(Outcome::Ok);
                tracing::debug!(%worker, cron, "a cron trigger ran");
            }
            Fired::Ran { worker, cron, result: Err(error) } => {
                self.metrics.cron_run(error.outcome());
                tracing::warn!(%worker, cron, outcome = named(&error.outcome()), "a cron trigger failed");
            }
            Fired::Missed { worker, cron, times, last } => {
                self.metrics.cron_missed(times);
                tracing::warn!(%worker, cron, times, %last, "a cron trigger was due and did not run; it is not made good");
            }
        }
    }
}

fn place_text(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

/// A name as it is in tails and answers too.
fn named(name: &impl serde::Serialize) -> String {
    serde_json::to_value(name).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
