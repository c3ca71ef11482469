//! Cron triggers of workers.

use axum::extract::State as Extract;
use selvedge_control::Schedule;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersRead, WorkersWrite};
use crate::envelope::{Answer, Envelope, answer};
use crate::extract::{JsonList, OfWorker};
use crate::page::time;

pub fn router() -> Router {
    Router::default().routes(routes!(get_schedules, put_schedules))
}

/// Cron triggers.
#[derive(Serialize, ToSchema)]
struct Schedules {
    schedules: Vec<ScheduleView>,
}

/// A cron trigger.
#[derive(Serialize, ToSchema)]
struct ScheduleView {
    cron: String,
    #[schema(format = DateTime)]
    created_on: String,
    #[schema(format = DateTime)]
    modified_on: String,
}

/// A cron trigger to set.
#[derive(Deserialize, ToSchema)]
pub struct ScheduleInput {
    /// Such as `*/5 * * * *`, in UTC.
    pub cron: String,
}

fn shown(schedules: Vec<Schedule>) -> Schedules {
    let view = |schedule: Schedule| {
        let created_on = time(schedule.created_ms);
        ScheduleView { cron: schedule.cron, modified_on: created_on.clone(), created_on }
    };
    Schedules { schedules: schedules.into_iter().map(view).collect() }
}

/// The cron triggers of a worker.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/schedules", tag = "schedules",
    responses((status = 200, body = Envelope<Schedules>))
)]
async fn get_schedules(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<Schedules> {
    answer(shown(state.control.schedules(&on.caller, &on.account, &name).await?))
}

/// Puts cron triggers in the place of all that the worker has.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/scripts/{script_name}/schedules", tag = "schedules",
    request_body = Vec<ScheduleInput>, responses((status = 200, body = Envelope<Schedules>))
)]
async fn put_schedules(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    JsonList(body): JsonList<ScheduleInput>,
) -> Answer<Schedules> {
    let crons = body.into_iter().map(|input| input.cron).collect();
    answer(shown(state.control.set_schedules(&on.caller, &on.account, &name, crons).await?))
}
