//! What every handler may use.

use parking_lot::Mutex;
use selvedge_control::Control;
use selvedge_model::AccountId;
use selvedge_telemetry::{Metrics, Tails};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

use crate::connection::Timeouts;
use crate::error::ApiError;
use crate::memory::Memory;
use crate::throttle::Throttle;
use crate::turns::{Turn, Turns};

/// Uploads whose bodies are held in memory at once, and how many of them one account may have.
const UPLOADS_MAX: usize = 8;
const ACCOUNT_UPLOADS_MAX: usize = 2;
/// Versions whose content is held in memory for who reads it back, at once, and how many of them one account may have.
const DOWNLOADS_MAX: usize = 4;
const ACCOUNT_DOWNLOADS_MAX: usize = 2;
/// What may have come of bodies that are read whole, in bytes: 64 MiB; and of those of one account.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
const ACCOUNT_BODIES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What answers that clients have not taken yet may hold, in bytes: 256 MiB; and those of one account.
const ANSWERS_BYTES_MAX: usize = 256 * 1024 * 1024;
const ACCOUNT_ANSWERS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Lists that are put together at once, and how many of them one account may have.
const LISTS_MAX: usize = 8;
const ACCOUNT_LISTS_MAX: usize = 2;
/// How often a minute an address may fail to say who it is.
const FAILURES_MAX: u32 = 60;

/// How the API presents the platform.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// What a deployed worker's URL begins with: `http` or `https`.
    pub scheme: String,
    /// Where the edge is reached, if that is not the scheme's own port.
    pub port: Option<u16>,
    /// How clients reach this API, such as `https://api.example.com`, where it is not as the request's Host header says.
    pub api_url: Option<String>,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// How often a minute an address may fail to say who it is, before it is told to wait.
    pub failures_max: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            scheme: "http".into(),
            port: None,
            api_url: None,
            timeouts: Timeouts::default(),
            failures_max: FAILURES_MAX,
        }
    }
}

/// Why the platform is not ready, by who says so. Ready while nobody does.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Readiness {
    /// A part of the platform is not ready, and says why.
    pub fn block(&self, part: &'static str, reason: impl Into<String>) {
        self.0.lock().insert(part, reason.into());
    }

    /// A part of the platform is ready.
    pub fn clear(&self, part: &'static str) {
        self.0.lock().remove(part);
    }

    /// Why it is not ready.
    pub fn reasons(&self) -> Vec<String> {
        self.0.lock().iter().map(|(part, reason)| format!("{part}: {reason}")).collect()
    }
}

/// What every handler may use.
pub struct ApiState {
    pub control: Arc<Control>,
    pub tails: Tails,
    pub metrics: Arc<Metrics>,
    pub config: ApiConfig,
    pub readiness: Readiness,
    pub(crate) throttle: Throttle,
    /// What bodies are read into.
    pub(crate) bodies: Arc<Memory>,
    /// What answers are in until clients have taken them.
    pub(crate) answers: Memory,
    uploads: Turns,
    downloads: Turns,
    lists: Turns,
    draining: watch::Sender<bool>,
}

impl ApiState {
    /// A state that is ready as soon as nobody says otherwise.
    pub fn new(
        control: Arc<Control>,
        tails: Tails,
        metrics: Arc<Metrics>,
        config: ApiConfig,
        readiness: Readiness,
    ) -> Self {
        Self {
            control,
            tails,
            metrics,
            readiness,
            throttle: Throttle::new(config.failures_max),
            config,
            uploads: Turns::new("uploads", UPLOADS_MAX, ACCOUNT_UPLOADS_MAX),
            downloads: Turns::new("downloads", DOWNLOADS_MAX, ACCOUNT_DOWNLOADS_MAX),
            lists: Turns::new("lists", LISTS_MAX, ACCOUNT_LISTS_MAX),
            bodies: Arc::new(Memory::new("bodies", BODIES_BYTES_MAX, ACCOUNT_BODIES_BYTES_MAX)),
            answers: Memory::new("answers", ANSWERS_BYTES_MAX, ACCOUNT_ANSWERS_BYTES_MAX),
            draining: watch::Sender::new(false),
        }
    }

    /// Waits for the turn of an upload, or of another change that makes a version: what it is made of is held in memory.
    pub(crate) async fn upload_turn(&self, account: &AccountId) -> Result<Turn, ApiError> {
        self.uploads.take(account).await
    }

    /// Waits for the turn of a download, whose content is held in memory until the client has it.
    pub(crate) async fn download_turn(&self, account: &AccountId) -> Result<Turn, ApiError> {
        self.downloads.take(account).await
    }

    /// Waits for the turn of a list that may be large, which is held in memory while it is put together.
    pub(crate) async fn list_turn(&self, account: &AccountId) -> Result<Turn, ApiError> {
        self.lists.take(account).await
    }

    /// Turns true when no further request is to be accepted.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }
}
