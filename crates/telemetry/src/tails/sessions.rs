//! The tails that are open, and what they are sent.
//!
//! A session is over when it is closed, when its client goes, when no client came within [`CONNECT_TIME_MAX`], when the
//! token that opened it expires, and at the latest after [`SESSION_TIME_MAX`]. No timer is needed for that: sessions that
//! are over are taken out when another is opened, or when an event of their worker ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::RwLock;
use selvedge_model::{Trace, WorkerKey};

use super::queue::Queue;
use super::{Filters, TailError};

/// Tails of one worker: as on the platform.
const WORKER_SESSIONS_MAX: usize = 10;
/// Tails of one account's workers.
const ACCOUNT_SESSIONS_MAX: usize = 64;
/// Tails of all workers.
const SESSIONS_MAX: usize = 256;
/// How long a tail waits for its client.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a tail may be open.
const SESSION_TIME_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// The random part of an id, in bytes. Who knows the id may read the tail.
const ID_BYTES: usize = 32;

/// A tail, as whoever opened it is told of it.
#[derive(Clone, PartialEq, Eq)]
pub struct TailSession {
    /// A capability: whoever has it may read the tail.
    pub id: String,
    pub worker: WorkerKey,
    /// When it ends at the latest, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// All tails of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tails(Arc<Inner>);

/// The messages of one tail. Dropping it ends the session.
pub struct TailMessages {
    session: Arc<Session>,
    tails: Tails,
}

#[derive(Default)]
struct Inner {
    /// How many there are, so that nothing else is looked at where there is none.
    count: AtomicUsize,
    sessions: RwLock<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Arc<Session>>,
    by_worker: HashMap<WorkerKey, Vec<Arc<Session>>>,
}

struct Session {
    shown: TailSession,
    filters: Filters,
    /// Who opened it: the id of a token.
    owner: String,
    opened: Instant,
    /// How long it may be open.
    time_max: Duration,
    connected: AtomicBool,
    queue: Queue,
}

// === impl TailSession ===

impl fmt::Debug for TailSession {
    /// Without the id: it would let whoever reads a log read the tail.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("TailSession");
        shown.field("worker", &self.worker).field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}

// === impl Tails ===

impl Tails {
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a tail of a worker for `owner`, who may be told to leave, and who has `left` at most. What happens from now on
    /// waits for whoever connects.
    ///
    /// # Errors
    /// If there are too many.
    pub fn open(
        &self,
        worker: WorkerKey,
        filters: Filters,
        owner: &str,
        left: Option<Duration>,
    ) -> Result<TailSession, TailError> {
        self.open_at(worker, filters, owner, left, Instant::now())
    }

    /// Whether anybody watches a worker's events: nothing need be recorded of them otherwise.
    pub fn wants(&self, worker: &WorkerKey) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0 && self.0.sessions.read().by_worker.contains_key(worker)
    }

    /// Shows an event to those who watch its worker and want it.
    pub fn publish(&self, trace: &Trace) {
        self.publish_at(trace, Instant::now());
    }

    /// The messages of a tail, for the first that asks. None: there is no such tail, or somebody has them.
    pub fn connect(&self, id: &str) -> Option<TailMessages> {
        self.connect_at(id, Instant::now())
    }

    /// A tail that is open.
    pub fn session(&self, id: &str) -> Option<TailSession> {
        self.0.sessions.read().by_id.get(id).map(|session| session.shown.clone())
    }

    /// The tails of a worker.
    pub fn sessions(&self, worker: &WorkerKey) -> Vec<TailSession> {
        let sessions = self.0.sessions.read();
        sessions.by_worker.get(worker).into_iter().flatten().map(|session| session.shown.clone()).collect()
    }

    /// Closes a tail; its client is sent what waits, then no more. False: there was none.
    pub fn close(&self, id: &str) -> bool {
        let mut sessions = self.0.sessions.write();
        let closed = sessions.remove(id);
        self.0.count.store(sessions.by_id.len(), Ordering::Relaxed);
        closed
    }

    /// Closes all tails of an owner.
    pub fn close_of(&self, owner: &str) {
        let mut sessions = self.0.sessions.write();
        let own = sessions.by_id.values().filter(|session| session.owner == owner);
        let ids: Vec<_> = own.map(|session| session.shown.id.clone()).collect();
        for id in ids {
            sessions.remove(&id);
        }
        self.0.count.store(sessions.by_id.len(), Ordering::Relaxed);
    }

    /// How many tails are open.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    fn open_at(
        &self,
        worker: WorkerKey,
        filters: Filters,
        owner: &str,
        left: Option<Duration>,
        now: Instant,
    ) -> Result<TailSession, TailError> {
        let id = random_id()?;
        let time_max = left.map_or(SESSION_TIME_MAX, |left| left.min(SESSION_TIME_MAX));
        let expires = SystemTime::now() + time_max;
        let since_1970 = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let shown = TailSession { id, worker, expires_ms };
        let session = Session {
            shown,
            filters,
            owner: owner.to_owned(),
            opened: now,
            time_max,
            connected: AtomicBool::new(false),
            queue: Queue::default(),
        };

        let mut sessions = self.0.sessions.write();
        sessions.remove_expired(now);
        let opened = sessions.insert(Arc::new(session));
        self.0.count.store(sessions.by_id.len(), Ordering::Relaxed);
        opened
    }

    fn publish_at(&self, trace: &Trace, now: Instant) {
        if self.count() == 0 {
            return;
        }
        let worker = WorkerKey::new(trace.of.account.clone(), trace.of.worker.clone());
        let mut expired = false;
        {
            let sessions = self.0.sessions.read();
            let mut message: Option<Arc<str>> = None;
            for session in sessions.by_worker.get(&worker).into_iter().flatten() {
                if session.is_expired(now) {
                    expired = true;
                } else if session.filters.take(trace, draw) {
                    let Some(text) = message.clone().or_else(|| serialise(trace)) else { break };
                    session.queue.push(&text);
                    message = Some(text);
                }
            }
        }
        if expired {
            let mut sessions = self.0.sessions.write();
            sessions.remove_expired(now);
            self.0.count.store(sessions.by_id.len(), Ordering::Relaxed);
        }
    }

    fn connect_at(&self, id: &str, now: Instant) -> Option<TailMessages> {
        let session = self.0.sessions.read().by_id.get(id).cloned()?;
        if session.is_expired(now) || session.connected.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(TailMessages { session, tails: self.clone() })
    }
}

fn random_id() -> Result<String, TailError> {
    let mut bytes = [0_u8; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| TailError::NoRandomness { problem: error.to_string() })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A number from 0 up to 1. Where there is no randomness, the event is sampled.
fn draw() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

fn serialise(trace: &Trace) -> Option<Arc<str>> {
    match serde_json::to_string(trace) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            tracing::error!(request_id = %trace.request_id, %error, "an event could not be written for tails");
            None
        }
    }
}

// === impl Sessions ===

impl Sessions {
    fn insert(&mut self, session: Arc<Session>) -> Result<TailSession, TailError> {
        if self.by_id.len() >= SESSIONS_MAX {
            return Err(TailError::Busy { sessions_max: SESSIONS_MAX });
        }
        let of_account = |other: &&Arc<Session>| other.shown.worker.account == session.shown.worker.account;
        if self.by_id.values().filter(of_account).count() >= ACCOUNT_SESSIONS_MAX {
            return Err(TailError::AccountBusy { sessions_max: ACCOUNT_SESSIONS_MAX });
        }
        let of_worker = self.by_worker.entry(session.shown.worker.clone()).or_default();
        if of_worker.len() >= WORKER_SESSIONS_MAX {
            let worker = session.shown.worker.worker.to_string();
            return Err(TailError::WorkerBusy { worker, sessions_max: WORKER_SESSIONS_MAX });
        }
        of_worker.push(Arc::clone(&session));
        let shown = session.shown.clone();
        self.by_id.insert(shown.id.clone(), session);
        Ok(shown)
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(session) = self.by_id.remove(id) else { return false };
        session.queue.close();
        if let Some(of_worker) = self.by_worker.get_mut(&session.shown.worker) {
            of_worker.retain(|other| other.shown.id != id);
            if of_worker.is_empty() {
                self.by_worker.remove(&session.shown.worker);
            }
        }
        true
    }

    fn remove_expired(&mut self, now: Instant) {
        let expired = self.by_id.values().filter(|session| session.is_expired(now));
        let ids: Vec<_> = expired.map(|session| session.shown.id.clone()).collect();
        for id in ids {
            self.remove(&id);
        }
    }
}

// === impl Session ===

impl Session {
    fn is_expired(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.opened);
        age >= self.time_max || (age >= CONNECT_TIME_MAX && !self.connected.load(Ordering::Acquire))
    }
}

// === impl TailMessages ===

impl TailMessages {
    /// The next message, a JSON object, once there is one. None: the session is over.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        let end = tokio::time::Instant::from_std(self.session.opened + self.session.time_max);
        tokio::time::timeout_at(end, self.session.queue.next()).await.unwrap_or(None)
    }
}

impl Drop for TailMessages {
    fn drop(&mut self) {
        self.tails.close(&self.session.shown.id);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use selvedge_model::{
        AccountId, ExecutionModel, Outcome, ScriptVersion, TraceEvent, TraceLog, TraceOf, TraceRequest, TraceResponse,
        WorkerName,
    };
    use serde_json::{Value, json};

    use super::*;

    pub(in crate::tails) const VERSION: &str = "8e6a9a2b-0f0c-4c55-9d3a-1b2c3d4e5f60";

    /// A request that went well, from 192.0.2.7, which logged something.
    pub(in crate::tails) fn fetch() -> Trace {
        let headers = json!({"x-kind": "the warp of it", "cf-connecting-ip": "192.0.2.7"});
        let request = TraceRequest {
            url: "https://loom.site.test/".to_owned(),
            method: "GET".to_owned(),
            headers: headers.as_object().unwrap().clone(),
            cf: Value::Null,
        };
        trace(TraceEvent::Fetch { request, response: Some(TraceResponse { status: 200 }) })
    }

    pub(in crate::tails) fn scheduled() -> Trace {
        trace(TraceEvent::Scheduled { cron: "* * * * *".to_owned(), scheduled_time: 1_780_000_000_000 })
    }

    fn trace(event: TraceEvent) -> Trace {
        let version: selvedge_model::VersionId = VERSION.parse().unwrap();
        let worker = loom();
        Trace {
            of: TraceOf { account: worker.account, worker: worker.worker, version: version.clone() },
            request_id: "0123456789abcdef".to_owned(),
            outcome: Outcome::Ok,
            script_name: "loom".to_owned(),
            script_version: ScriptVersion { id: version, tag: None, message: None },
            script_tags: Vec::new(),
            entrypoint: None,
            execution_model: ExecutionModel::Stateless,
            exceptions: Vec::new(),
            logs: vec![TraceLog {
                message: vec![json!("a thread"), json!({"colour": "blue"})],
                level: "log".to_owned(),
                timestamp: 1_780_000_000_000,
            }],
            diagnostics_channel_events: Vec::new(),
            event_timestamp: 1_780_000_000_000,
            event: Some(event),
            cpu_time: 1,
            wall_time: 2,
            truncated: false,
        }
    }

    fn account() -> AccountId {
        "0123456789abcdef0123456789abcdef".parse().unwrap()
    }

    fn key(name: &str) -> WorkerKey {
        let name: WorkerName = name.parse().unwrap();
        WorkerKey::new(account(), name)
    }

    fn loom() -> WorkerKey {
        key("loom")
    }

    #[tokio::test]
    async fn an_event_reaches_those_who_watch_its_worker_and_want_it() {
        let tails = Tails::new();
        assert!(!tails.wants(&loom()));
        tails.publish(&fetch());

        let posts = Filters::parse(&json!([{"method": ["POST"]}]), "192.0.2.7".parse().unwrap()).unwrap();
        let all = tails.open(loom(), Filters::default(), "token", None).unwrap();
        let none = tails.open(loom(), posts, "token", None).unwrap();
        let other = tails.open(key("shuttle"), Filters::default(), "token", None).unwrap();
        let mut same_name = loom();
        same_name.account = "f".repeat(32).parse().unwrap();
        let elsewhere = tails.open(same_name, Filters::default(), "token", None).unwrap();
        assert!(tails.wants(&loom()));
        assert!(!tails.wants(&key("idle")));
        assert_eq!(tails.sessions(&loom()), [all.clone(), none.clone()]);

        // What ends before the client connects waits for it.
        tails.publish(&fetch());
        let mut messages = tails.connect(&all.id).unwrap();
        let message: Value = serde_json::from_str(&messages.next().await.unwrap()).unwrap();
        assert_eq!(message["scriptName"], "loom");
        assert_eq!(message["scriptVersion"]["id"], VERSION);
        assert_eq!(message["event"]["response"]["status"], 200);
        for quiet in [none, other, elsewhere] {
            let mut messages = tails.connect(&quiet.id).unwrap();
            assert!(tails.close(&quiet.id));
            assert_eq!(messages.next().await, None);
        }
    }

    #[test]
    fn an_event_is_serialised_once_for_all() {
        let tails = Tails::new();
        let ids: Vec<_> = (0..3).map(|_| tails.open(loom(), Filters::default(), "token", None).unwrap().id).collect();
        tails.publish(&fetch());
        let sessions = tails.0.sessions.read();
        let messages: Vec<_> = ids.iter().map(|id| sessions.by_id[id].queue.first().unwrap()).collect();
        assert!(messages.iter().all(|message| Arc::ptr_eq(message, &messages[0])));
    }

    #[test]
    fn ids_cannot_be_guessed() {
        let tails = Tails::new();
        let (one, other) = (
            tails.open(loom(), Filters::default(), "token", None).unwrap(),
            tails.open(loom(), Filters::default(), "token", None).unwrap(),
        );
        assert_ne!(one.id, other.id);
        assert_eq!(one.id.len(), 2 * ID_BYTES);
        assert!(tails.connect("").is_none());
        assert!(tails.session(&one.id).is_some());
        assert!(!format!("{one:?}").contains(&one.id));
    }

    #[test]
    fn one_client_has_a_tail_and_the_tail_ends_with_it() {
        let tails = Tails::new();
        let session = tails.open(loom(), Filters::default(), "token", None).unwrap();
        let messages = tails.connect(&session.id).unwrap();
        assert!(tails.connect(&session.id).is_none());
        drop(messages);
        assert_eq!(tails.session(&session.id), None);
        assert_eq!(tails.count(), 0);
        assert!(!tails.wants(&loom()));
        assert!(!tails.close(&session.id));
    }

    #[tokio::test]
    async fn tails_end_with_the_token_that_opened_them() {
        let tails = Tails::new();
        let gone = tails.open(loom(), Filters::default(), "revoked", None).unwrap();
        let kept = tails.open(loom(), Filters::default(), "other", None).unwrap();
        let mut messages = tails.connect(&gone.id).unwrap();
        tails.close_of("revoked");
        assert_eq!(messages.next().await, None);
        assert_eq!(tails.sessions(&loom()), [kept]);
        assert_eq!(tails.count(), 1);
    }

    #[test]
    fn a_tail_that_nobody_connects_to_is_over_after_a_minute() {
        let (tails, opened) = (Tails::new(), Instant::now());
        let session = tails.open_at(loom(), Filters::default(), "token", None, opened).unwrap();
        tails.publish_at(&fetch(), opened + Duration::from_secs(59));
        assert!(tails.wants(&loom()));
        assert!(tails.connect_at(&session.id, opened + Duration::from_secs(60)).is_none());
        tails.publish_at(&fetch(), opened + Duration::from_secs(60));
        assert!(!tails.wants(&loom()));
        assert_eq!(tails.count(), 0);
    }

    #[tokio::test]
    async fn a_tail_is_over_after_six_hours() {
        let tails = Tails::new();
        let opened = Instant::now();
        let session = tails.open_at(loom(), Filters::default(), "token", None, opened).unwrap();
        let mut messages = tails.connect_at(&session.id, opened).unwrap();
        tails.publish_at(&fetch(), opened + SESSION_TIME_MAX - Duration::from_secs(1));
        assert!(messages.next().await.is_some());
        tails.publish_at(&fetch(), opened + SESSION_TIME_MAX);
        assert_eq!(messages.next().await, None);
        assert!(!tails.wants(&loom()));
    }

    #[tokio::test]
    async fn a_tail_is_over_when_its_token_expires() {
        let (tails, opened, left) = (Tails::new(), Instant::now(), Duration::from_secs(90));
        let session = tails.open_at(loom(), Filters::default(), "token", Some(left), opened).unwrap();
        let forever = tails.open_at(loom(), Filters::default(), "token", Some(Duration::MAX), opened).unwrap();
        assert!(session.expires_ms < forever.expires_ms);
        let mut messages = tails.connect_at(&session.id, opened).unwrap();
        tails.publish_at(&fetch(), opened + left - Duration::from_secs(1));
        assert!(messages.next().await.is_some());
        tails.publish_at(&fetch(), opened + left);
        assert_eq!(messages.next().await, None);
    }

    #[test]
    fn tails_are_bounded_for_each_worker_and_in_all() {
        let (tails, opened) = (Tails::new(), Instant::now());
        let open_of = |account: usize, worker: &str, at: Instant| {
            let account = format!("{account:032x}").parse().unwrap();
            tails.open_at(WorkerKey::new(account, worker.parse().unwrap()), Filters::default(), "token", None, at)
        };
        let open = |worker: &str, at: Instant| open_of(0, worker, at);
        for _ in 0..WORKER_SESSIONS_MAX {
            open("loom", opened).unwrap();
        }
        let refused = open("loom", opened).unwrap_err();
        assert_eq!(refused, TailError::WorkerBusy { worker: "loom".to_owned(), sessions_max: WORKER_SESSIONS_MAX });
        for count in WORKER_SESSIONS_MAX..ACCOUNT_SESSIONS_MAX {
            open(&format!("worker-{count}"), opened).unwrap();
        }
        let refused = open("one-more", opened).unwrap_err();
        assert_eq!(refused, TailError::AccountBusy { sessions_max: ACCOUNT_SESSIONS_MAX });
        for count in ACCOUNT_SESSIONS_MAX..SESSIONS_MAX {
            open_of(1 + count / ACCOUNT_SESSIONS_MAX, &format!("worker-{count}"), opened).unwrap();
        }
        assert_eq!(open_of(9, "one-more", opened).unwrap_err(), TailError::Busy { sessions_max: SESSIONS_MAX });
        assert_eq!(tails.count(), SESSIONS_MAX);
        // Those that are over make room.
        open("loom", opened + CONNECT_TIME_MAX).unwrap();
        assert_eq!(tails.count(), 1);
    }
}
