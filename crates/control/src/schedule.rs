//! Cron triggers of workers.

use selvedge_model::{AccountId, CronRecord, WorkerName};
use serde::{Deserialize, Serialize};

use crate::bounds::CRONS_MAX;
use crate::caller::{Caller, Permission};
use crate::control::Control;
use crate::core::Decided;
use crate::error::ControlError;
use crate::event::Event;

/// A cron trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub cron: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

impl Control {
    /// The cron triggers of a worker. Needs `workers:read`.
    pub async fn schedules(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
    ) -> Result<Vec<Schedule>, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            Ok(schedules(&view.worker(&own, &worker)?.data.crons))
        })
        .await
    }

    /// Puts cron triggers in the place of all that the worker has. One that it has already goes on as it was. Needs
    /// `workers:write`.
    pub async fn set_schedules(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        crons: Vec<String>,
    ) -> Result<Vec<Schedule>, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        let wanted = read_crons(crons)?;
        let (own, worker) = (account.clone(), worker.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            let present = view.worker(&own, &worker)?.data.crons;
            let since = |text: &String| present.iter().find(|one| one.cron == *text).map_or(at_ms, |one| one.since_ms);
            let crons: Vec<CronRecord> =
                wanted.iter().map(|text| CronRecord { cron: text.clone(), since_ms: since(text) }).collect();
            let answer = schedules(&crons);
            if crons == present {
                return Ok(Decided::new(Vec::new(), answer));
            }
            let event = Event::SchedulesSet { account: own.clone(), worker: worker.clone(), crons };
            Ok(Decided::new(vec![event], answer))
        })
        .await
    }
}

/// Checks what is asked for: expressions, each once.
pub(crate) fn read_crons(crons: Vec<String>) -> Result<Vec<String>, ControlError> {
    if crons.len() > CRONS_MAX {
        return Err(ControlError::invalid("crons", format!("a Worker may have {CRONS_MAX}, not {}", crons.len())));
    }
    let mut wanted: Vec<String> = Vec::with_capacity(crons.len());
    for text in crons {
        let text = text.trim().to_owned();
        selvedge_cron::parse(&text).map_err(|error| ControlError::CronInvalid {
            cron: text.chars().take(selvedge_cron::EXPRESSION_BYTES_MAX).collect(),
            problem: error.to_string(),
        })?;
        if !wanted.contains(&text) {
            wanted.push(text);
        }
    }
    Ok(wanted)
}

fn schedules(crons: &[CronRecord]) -> Vec<Schedule> {
    crons.iter().map(|one| Schedule { cron: one.cron.clone(), created_ms: one.since_ms }).collect()
}
