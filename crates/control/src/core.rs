//! How a command becomes true: decided against the view, appended to the log, applied to the view, published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use selvedge_fabric::{Change, Fabric, FabricError, Position, Revision};
use tokio::sync::Mutex;

use crate::bounds::ATTEMPTS_MAX;
use crate::control::Clock;
use crate::error::ControlError;
use crate::event::{By, Event, FORM, Logged};
use crate::store::{Store, View, apply};
use crate::token::check_token;

/// The log of all that was decided.
pub(crate) const LOG: &str = "control";
/// Records that are read from the log at once.
const READ_MAX: usize = 256;

/// What a command comes to.
pub(crate) struct Decided<T> {
    /// What happens, in this order, all or nothing. None: nothing.
    pub events: Vec<Event>,
    pub answer: T,
}

impl<T> Decided<T> {
    pub fn new(events: Vec<Event>, answer: T) -> Self {
        Self { events, answer }
    }
}

/// The log, the view of it, and what is published of it.
pub(crate) struct Core {
    pub fabric: Arc<dyn Fabric>,
    pub store: Arc<Store>,
    pub clock: Clock,
    /// Held while a command is decided and appended: one at a time.
    deciding: Mutex<()>,
    /// Held while the outbox is emptied: in one order.
    publishing: Mutex<()>,
    /// The revision of what was published last.
    published: AtomicU64,
}

impl Core {
    /// Opens the view and brings it to where the log ends.
    pub async fn open(store: Store, fabric: Arc<dyn Fabric>, clock: Clock) -> Result<Arc<Self>, ControlError> {
        let core = Arc::new(Self {
            fabric,
            store: Arc::new(store),
            clock,
            deciding: Mutex::new(()),
            publishing: Mutex::new(()),
            published: AtomicU64::new(0),
        });
        core.check_origin().await?;
        core.catch_up().await?;
        Ok(core)
    }

    /// Begins the view anew if it is not of this log.
    async fn check_origin(&self) -> Result<(), ControlError> {
        let (position, hash) = self.store.read(|view| view.position()).await?;
        if position == 0 {
            return Ok(());
        }
        let last = self.fabric.read(LOG, Position(position - 1), 1).await?;
        let found = last.first().map(|record| record_hash(&record.bytes));
        if found != hash {
            tracing::warn!(position, "the control plane's view is not of this log: made anew from it");
            self.store.clear()?;
        }
        Ok(())
    }

    /// Applies what the log has beyond the view.
    async fn catch_up(&self) -> Result<(), ControlError> {
        loop {
            let (position, _) = self.store.read(|view| view.position()).await?;
            let records = self.fabric.read(LOG, Position(position), READ_MAX).await?;
            // Only then: large records come fewer at a time, though more follow.
            if records.is_empty() {
                return Ok(());
            }
            let records = records.into_iter().map(|record| (record.position.0, record.bytes)).collect();
            self.apply(records).await?;
        }
    }

    async fn apply(&self, records: Vec<(u64, Bytes)>) -> Result<(), ControlError> {
        self.store
            .write(move |view| {
                for (position, bytes) in &records {
                    let logged: Logged = serde_json::from_slice(bytes)
                        .map_err(|source| ControlError::Record { position: *position, source })?;
                    apply(view, *position, &logged)?;
                }
                match records.last() {
                    Some((position, bytes)) => view.set_position(*position, &record_hash(bytes)),
                    None => Ok(()),
                }
            })
            .await
    }

    /// Carries out a command, also if whoever asked goes away meanwhile. `decide` may be asked more than once.
    pub async fn command<T, D>(self: &Arc<Self>, by: By, decide: D) -> Result<T, ControlError>
    where
        T: Send + 'static,
        D: Fn(&View<'_>, u64) -> Result<Decided<T>, ControlError> + Send + Sync + 'static,
    {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let answer = core.decide(by, Arc::new(decide)).await?;
            core.publish().await?;
            Ok(answer)
        })
        .await
        .map_err(|error| ControlError::View { action: "carry out a command", source: error.into() })?
    }

    async fn decide<T, D>(&self, by: By, decide: Arc<D>) -> Result<T, ControlError>
    where
        T: Send + 'static,
        D: Fn(&View<'_>, u64) -> Result<Decided<T>, ControlError> + Send + Sync + 'static,
    {
        let _one_at_a_time = self.deciding.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let (decide, at_ms, token) = (Arc::clone(&decide), self.clock.now_ms(), by.token.clone());
            let (position, decided) = self
                .store
                .read(move |view| {
                    let position = view.position()?.0;
                    // Who asks was let in when the request began, which may be minutes ago.
                    let allowed = token.map_or(Ok(()), |token| check_token(view, &token, at_ms));
                    Ok((position, allowed.and_then(|()| decide(view, at_ms))))
                })
                .await?;
            let changes = decided.as_ref().is_ok_and(|decided| !decided.events.is_empty());
            // That nothing is to be done, on the ground of what is old, says nothing: look again.
            if !changes && self.fabric.end(LOG).await?.0 != position {
                tracing::debug!(position, "a command changed nothing of an old view: decided anew");
                self.catch_up().await?;
                continue;
            }
            let decided = decided?;
            if decided.events.is_empty() {
                return Ok(decided.answer);
            }
            let records = encode(&by, at_ms, decided.events)?;
            match self.fabric.append(LOG, Position(position), records.clone()).await {
                Ok(_) => {
                    let records = records.into_iter().zip(position + 1..).map(|(bytes, at)| (at, bytes)).collect();
                    self.apply(records).await?;
                    return Ok(decided.answer);
                }
                Err(FabricError::Conflict { .. }) => self.catch_up().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ControlError::Busy { what: "the control plane".into() })
    }

    /// Finishes what a failure in between left: applies what the log has beyond the view, and publishes what waits.
    pub async fn settle(&self) -> Result<(), ControlError> {
        let deciding = self.deciding.lock().await;
        self.catch_up().await?;
        drop(deciding);
        self.publish().await
    }

    /// Changes the view while nothing is decided, once it has all that the log has: for who concludes from what the view
    /// does not have.
    pub async fn change_settled<T: Send + 'static>(
        &self,
        change: impl FnOnce(&View<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let _nothing_is_decided = self.deciding.lock().await;
        self.catch_up().await?;
        let end = self.fabric.end(LOG).await?.0;
        self.store
            .write(move |view| {
                let (position, _) = view.position()?;
                if position != end {
                    let source = format!("it is at {position}, and the log ends at {end}").into();
                    return Err(ControlError::View { action: "keep up with the log", source });
                }
                change(view)
            })
            .await
    }

    /// Publishes all that waits.
    pub async fn publish(&self) -> Result<(), ControlError> {
        let _in_order = self.publishing.lock().await;
        loop {
            let outgoing = self.store.read(|view| view.outgoing()).await?;
            if outgoing.rows.is_empty() {
                return Ok(());
            }
            let change = |(key, value): (String, Option<Vec<u8>>)| Change { key, value: value.map(Bytes::from) };
            let revision = self.fabric.set(outgoing.changes.into_iter().map(change).collect()).await?;
            self.published.fetch_max(revision.0, Ordering::Release);
            self.store.write(move |view| view.dequeue(&outgoing.rows)).await?;
        }
    }

    /// The revision of what was published last since this was opened.
    pub fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    /// Whether the fabric and the view answer.
    pub async fn ready(&self) -> Result<(), ControlError> {
        self.fabric.end(LOG).await?;
        self.store.read(|view| view.position()).await?;
        Ok(())
    }
}

/// The records of events. One that could not be read again is refused: in the log it would end all that comes after it.
fn encode(by: &By, at_ms: u64, events: Vec<Event>) -> Result<Vec<Bytes>, ControlError> {
    let failed = |error: serde_json::Error| ControlError::View { action: "write an event", source: error.into() };
    events
        .into_iter()
        .map(|event| {
            let logged = Logged { form: FORM, at_ms, by: by.clone(), event };
            let bytes = serde_json::to_vec(&logged).map_err(failed)?;
            serde_json::from_slice::<Logged>(&bytes).map_err(failed)?;
            Ok(Bytes::from(bytes))
        })
        .collect()
}

fn record_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use selvedge_model::AccountId;
    use serde_json::{Map, Value};

    use super::*;
    use crate::resource::{Resource, ResourceKind};

    #[test]
    fn what_could_not_be_read_again_is_not_logged() {
        let event = |levels: usize| {
            let nested = (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
            let resource = Resource {
                kind: ResourceKind::Queue,
                id: "1".into(),
                name: "q".into(),
                created_ms: 0,
                modified_ms: 0,
                data: Map::from_iter([("settings".to_owned(), nested)]),
            };
            Event::ResourceSaved { account: AccountId::local(), resource }
        };
        assert_eq!(encode(&By::platform(), 0, vec![event(1), event(100)]).unwrap().len(), 2);
        let refused = encode(&By::platform(), 0, vec![event(1), event(200)]).unwrap_err();
        assert!(matches!(refused, ControlError::View { action: "write an event", .. }), "{refused}");
    }
}
