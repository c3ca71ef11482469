//! How a version comes to be: drafted, started once, drafted again against what is true by then, and appended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use selvedge_model::{AccountId, BASIS_POINTS, BlobHash, Share, VersionId, VersionRecord, WorkerName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::bounds::{ACCOUNT_STARTS_MAX, ATTEMPTS_MAX, STARTS_MAX};
use crate::caller::Caller;
use crate::control::Control;
use crate::core::Decided;
use crate::deployment::{Deployment, STRATEGY, created_after};
use crate::draft::{Draft, Drafting};
use crate::error::ControlError;
use crate::event::{By, Event};
use crate::nearest::{StartFailure, Started};
use crate::pins::Pinned;
use crate::store::View;
use crate::upload::Deploy;

/// What came to be.
pub(crate) struct Made {
    pub version: VersionRecord,
    pub deployment: Option<Deployment>,
    pub worker_created: bool,
    pub previews: bool,
}

/// A draft that did start.
struct Tried {
    started: Started,
    /// The hash of what was started.
    content: String,
    /// When the version came to be, as its code was told.
    created_ms: u64,
}

/// A decision on the ground of a draft.
enum Decision {
    Made(Box<Made>),
    /// What the version is made of has changed since it was started.
    Stale,
}

impl Control {
    /// Makes the version of a draft. The draft is asked for again when the version has been started: if it is of other
    /// things by then, it is started again.
    pub(crate) async fn make_version(
        &self,
        caller: &Caller,
        deploy: Deploy,
        drafting: Arc<Drafting>,
    ) -> Result<Made, ControlError> {
        for _ in 0..ATTEMPTS_MAX {
            let tried = self.try_draft(caller, &drafting).await?;
            let drawn = Arc::clone(&drafting);
            let deployment = (deploy == Deploy::Now).then(|| uuid::Uuid::new_v4().to_string());
            let by = By::caller(caller);
            let source = caller.origin().client.clone();
            let decided = self
                .carry_out(by, move |view, at_ms| {
                    let draft = drawn(view, at_ms)?;
                    if draft.version.content != tried.content {
                        return Ok(Decided::new(Vec::new(), Decision::Stale));
                    }
                    decide(view, draft, &tried, at_ms, deployment.as_deref(), &source)
                })
                .await?;
            if let Decision::Made(made) = decided {
                return Ok(*made);
            }
        }
        Err(ControlError::Busy { what: "this Worker".into() })
    }

    /// Drafts a version and starts it once, all in one turn: who waits for it has drafted nothing, which may be large.
    async fn try_draft(&self, caller: &Caller, drafting: &Arc<Drafting>) -> Result<Tried, ControlError> {
        let _turn = self.starts.take(caller.scope().account()).await?;
        let (now_ms, drawn) = (self.core.clock.now_ms(), Arc::clone(drafting));
        let version = self.core.store.read(move |view| drawn(view, now_ms)).await?.version;
        let started = self.start(&version).await?;
        Ok(Tried { started, created_ms: version.created_ms, content: version.content })
    }

    /// Starts a version once. One without code has nothing to start.
    async fn start(&self, version: &VersionRecord) -> Result<Started, ControlError> {
        if version.modules.is_empty() {
            return Ok(Started { handlers: Vec::new(), entrypoints: Vec::new(), startup_ms: 0 });
        }
        let started = self.nearest.start(version).await;
        let started = started.map_err(|StartFailure { message, stack, unavailable }| {
            if unavailable {
                ControlError::StarterUnavailable { message }
            } else {
                ControlError::StartFailed { message, stack }
            }
        })?;
        // It would answer every request with an error.
        if started.handlers.is_empty() && started.entrypoints.is_empty() {
            return Err(ControlError::NoHandlers);
        }
        Ok(started)
    }

    /// Keeps blobs, noted as unused until a version uses them. Gives their hashes, in their order, and what holds them
    /// until then.
    pub(crate) async fn put_blobs(&self, blobs: Vec<Bytes>) -> Result<(Vec<BlobHash>, Pinned), ControlError> {
        let _kept = self.blobs.read().await;
        let mut hashes = Vec::with_capacity(blobs.len());
        for blob in &blobs {
            let hash = blake3::hash(blob).to_hex();
            let hash: BlobHash =
                hash.as_str().parse().map_err(|_| ControlError::invalid("upload", "a part of it cannot be named"))?;
            hashes.push(hash);
        }
        let pinned = self.pins.pin(hashes.clone());
        let (noted, now_ms) = (hashes.clone(), self.core.clock.now_ms());
        self.core.store.write(move |view| view.note_unused(&noted, now_ms)).await?;
        for blob in blobs {
            self.core.fabric.put_blob(blob).await?;
        }
        Ok((hashes, pinned))
    }
}

fn decide(
    view: &View<'_>,
    draft: Draft,
    tried: &Tried,
    at_ms: u64,
    deployment: Option<&str>,
    source: &str,
) -> Result<Decided<Decision>, ControlError> {
    let Draft { row, mut version, before, after } = draft;
    version.handlers.clone_from(&tried.started.handlers);
    version.startup_ms = tried.started.startup_ms;
    // What its code was told stays true: the instance that was started serves first.
    version.created_ms = tried.created_ms;
    let (account, worker) = (version.account.clone(), version.worker.clone());
    let created_ms = created_after(row.as_ref().and_then(|row| row.data.deployment.as_ref()), at_ms);
    let deployment = deployment.map(|id| whole(id, &version, created_ms, source));
    let mut events = before;
    events.push(Event::VersionCreated { version: Box::new(version.clone()) });
    events.extend(after);
    if let Some(deployment) = &deployment {
        let (account, worker) = (account.clone(), worker.clone());
        events.push(Event::Deployed { account, worker, deployment: deployment.clone() });
    }
    if let Some(row) = &row {
        let versions = view.prunable_versions(row)?;
        if !versions.is_empty() {
            events.push(Event::VersionsPruned { account, worker, versions });
        }
    }
    let previews = row.as_ref().is_some_and(|row| row.data.previews);
    let made = Made { version, deployment, worker_created: row.is_none(), previews };
    Ok(Decided::new(events, Decision::Made(Box::new(made))))
}

/// A deployment that gives a version all the traffic.
fn whole(id: &str, version: &VersionRecord, created_ms: u64, source: &str) -> Deployment {
    let mut annotations = BTreeMap::new();
    for key in ["workers/message", "workers/triggered_by"] {
        if let Some(text) = version.annotations.get(key) {
            annotations.insert(key.to_owned(), text.clone());
        }
    }
    Deployment {
        id: id.to_owned(),
        created_ms,
        author: version.author.clone(),
        source: source.to_owned(),
        strategy: STRATEGY.into(),
        annotations,
        versions: vec![Share { version: version.id.clone(), basis_points: BASIS_POINTS }],
    }
}

/// Turns at starting versions. One account has no more than its part of them, so that the others have some.
pub(crate) struct Starts {
    all: Semaphore,
    /// Those of the accounts that have or want some.
    accounts: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// A turn, which ends as it is dropped.
struct Turn<'s> {
    _of_account: Option<OwnedSemaphorePermit>,
    _of_all: SemaphorePermit<'s>,
}

// === impl Starts ===

impl Starts {
    pub fn new() -> Self {
        Self { all: Semaphore::new(STARTS_MAX), accounts: Mutex::default() }
    }

    /// Waits for a turn. `account` is the one whose token asks: a token of the platform's administrators is of none.
    async fn take(&self, account: Option<&AccountId>) -> Result<Turn<'_>, ControlError> {
        let closed = |_| ControlError::Busy { what: "the control plane".into() };
        // The account's own first: who has too many waits without taking a place that others could have.
        let of_account = match account {
            Some(account) => Some(self.of(account).acquire_owned().await.map_err(closed)?),
            None => None,
        };
        let of_all = self.all.acquire().await.map_err(closed)?;
        Ok(Turn { _of_account: of_account, _of_all: of_all })
    }

    fn of(&self, account: &AccountId) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock();
        accounts.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = accounts.entry(account.clone()).or_insert_with(|| Arc::new(Semaphore::new(ACCOUNT_STARTS_MAX)));
        Arc::clone(turns)
    }
}

/// A new version's id.
pub(crate) fn new_version_id() -> Result<VersionId, ControlError> {
    let id = uuid::Uuid::new_v4().to_string();
    id.parse().map_err(|_| ControlError::invalid("version", "its id could not be made"))
}

/// Who makes a version, of which worker.
#[derive(Clone)]
pub(crate) struct Making {
    pub account: AccountId,
    pub worker: WorkerName,
    pub id: VersionId,
    pub author: String,
    pub source: String,
}

impl Making {
    pub fn begin(caller: &Caller, account: &AccountId, worker: &WorkerName) -> Result<Self, ControlError> {
        Ok(Self {
            account: account.clone(),
            worker: worker.clone(),
            id: new_version_id()?,
            author: caller.name().to_owned(),
            source: caller.origin().client.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// Whether there is no turn at once.
    async fn waits(starts: &Starts, account: Option<&AccountId>) -> bool {
        let mut taking = std::pin::pin!(starts.take(account));
        std::future::poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn one_account_leaves_starts_to_the_others() {
        let starts = Starts::new();
        let account = |digit: &str| digit.repeat(32).parse::<AccountId>().unwrap();
        let (one, other) = (account("1"), account("2"));
        let mut held = Vec::new();
        for _ in 0..ACCOUNT_STARTS_MAX {
            held.push(starts.take(Some(&one)).await.unwrap());
        }
        assert!(waits(&starts, Some(&one)).await);
        let left = STARTS_MAX - ACCOUNT_STARTS_MAX;
        assert_eq!(starts.all.available_permits(), left, "who waits for its own account takes no place");
        assert!(!waits(&starts, Some(&other)).await);
        for _ in 0..left {
            held.push(starts.take(None).await.unwrap());
        }
        assert!(waits(&starts, Some(&other)).await && waits(&starts, None).await);
        drop(held);
        assert!(!waits(&starts, Some(&one)).await);
        drop(starts.of(&other));
        assert_eq!(starts.accounts.lock().len(), 1, "nothing is kept of who wants nothing");
    }
}
