//! Certificates that are ordered as they are needed, from a server that speaks ACME (RFC 8555).
//!
//! A name is ordered when a client asks for it by TLS (or [`Acme::request`] does) and the caller's predicate says that
//! somebody was given it. One order at a time is made for a name, a few at once in all, and no more than a server's
//! limits allow. What was ordered is kept in files, and is ordered anew at two thirds of its life.

mod challenges;
mod client;
mod disk;
mod order;
mod schedule;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use instant_acme::Account;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, watch};

use crate::certificates::{Certificates, chain};
use crate::handshake::normal;
use crate::pair::PairError;
use crate::self_signed::SelfSignedError;

use disk::Disk;
use schedule::{Purpose, Schedule};

pub use challenges::Challenges;
pub use order::Challenge;

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Orders that are made at once.
const ORDERS_AT_ONCE: usize = 4;
/// The longest name of a host, in bytes (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
/// The longest label of it.
const LABEL_BYTES_MAX: usize = 63;

/// Whether somebody was given a host, by exactly this name: nothing else is ever ordered.
pub type Allowed = dyn Fn(&str) -> bool + Send + Sync;

/// How certificates are ordered.
pub struct AcmeConfig {
    /// Where the server says what it can do.
    pub directory: String,
    /// Whom the server may write to, as in `mailto:ops@site.test`.
    pub contacts: Vec<String>,
    /// Trusted beside the public roots: those of a private server.
    pub roots: Vec<CertificateDer<'static>>,
    /// The account and the certificates are kept below it.
    pub folder: PathBuf,
    /// The proofs that are offered; an order that failed is tried with the next.
    pub challenges: Vec<Challenge>,
    pub timing: AcmeTiming,
}

/// How long things take that have to do with orders.
#[derive(Debug, Clone, Copy)]
pub struct AcmeTiming {
    /// How often it is looked which certificates are to be renewed.
    pub look_interval: Duration,
    /// How long a handshake waits for a name's first certificate.
    pub handshake_wait_max: Duration,
    /// How long an order may take.
    pub order_max: Duration,
    /// How long a name waits after an order that failed; doubled by each further one, up to `retry_max`.
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// The most orders begun in any `orders_window`.
    pub orders_max: usize,
    /// How many of them are for renewals alone: nobody's new names keep a certificate from being renewed.
    pub orders_kept: usize,
    pub orders_window: Duration,
}

impl Default for AcmeTiming {
    /// Within the limits of Let's Encrypt: 300 orders in 3 hours, 5 failures of a name in an hour.
    /// <https://letsencrypt.org/docs/rate-limits/>
    fn default() -> Self {
        Self {
            look_interval: Duration::from_secs(60),
            handshake_wait_max: Duration::from_secs(8),
            order_max: Duration::from_secs(120),
            retry_first: Duration::from_secs(5 * 60),
            retry_max: Duration::from_secs(24 * 60 * 60),
            orders_max: 250,
            orders_kept: 50,
            orders_window: Duration::from_secs(3 * 60 * 60),
        }
    }
}

/// Why a certificate is not ordered.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("{path} cannot be read or written")]
    Disk { path: PathBuf, source: std::io::Error },
    #[error("{path} is not an ACME account")]
    Account { path: PathBuf, source: serde_json::Error },
    #[error("{0}")]
    Root(String),
    #[error("--acme-directory must be an https URL, and \"{0}\" is none")]
    Directory(String),
    #[error("TLS to the ACME server cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the ACME server did not do what it was asked")]
    Server(#[from] instant_acme::Error),
    #[error("the ACME server offers no proof of the kind {0:?} for this name")]
    NoChallenge(Challenge),
    #[error("the ACME server did not accept the proof: {0}")]
    Refused(String),
    #[error("the order took longer than {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Proof(#[from] SelfSignedError),
    #[error("what the ACME server gave is not usable")]
    Certificate(#[from] PairError),
    #[error("the certificate is not for {0}")]
    OtherName(String),
}

/// Orders certificates, and renews them.
pub struct Acme {
    config: AcmeConfig,
    disk: Disk,
    certificates: Arc<Certificates>,
    allowed: Box<Allowed>,
    challenges: Arc<Challenges>,
    schedule: Mutex<Schedule>,
    at_once: Semaphore,
    /// Made by the first order, or found on disk.
    account: tokio::sync::Mutex<Option<Account>>,
}

// === impl Acme ===

impl Acme {
    /// Serves what was ordered before, and orders from now on what `allowed` allows.
    pub fn start(
        config: AcmeConfig,
        certificates: Arc<Certificates>,
        allowed: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Arc<Self>, AcmeError> {
        if !config.directory.starts_with("https://") {
            return Err(AcmeError::Directory(config.directory));
        }
        let disk = Disk::open(&config.folder, &config.directory)?;
        for name in disk.names()? {
            match disk.certificate(&name, certificates.provider()) {
                Ok(certificate) => certificates.install(&name, certificate),
                Err(error) => {
                    tracing::warn!(name, error = %chain(&error), "a kept certificate is not usable; it is ordered anew");
                }
            }
        }
        let timing = config.timing;
        let challenges = Arc::new(Challenges::new(Arc::clone(certificates.provider())));
        let acme = Arc::new(Self {
            config,
            disk,
            certificates,
            allowed: Box::new(allowed),
            challenges,
            schedule: Mutex::new(Schedule::new(timing)),
            at_once: Semaphore::new(ORDERS_AT_ONCE),
            account: tokio::sync::Mutex::default(),
        });
        tokio::spawn(renew(Arc::downgrade(&acme)));
        Ok(acme)
    }

    /// The answers to the server's questions, for those who are asked.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// Sees to it that there is a certificate for `name`, if it may have one.
    pub fn request(self: &Arc<Self>, name: &str) {
        let name = normal(name);
        if !self.certificates.covers(&name) {
            // Whoever asks does not wait.
            let _ordered = self.order(&name);
        }
    }

    /// Waits, not for long, for the first certificate of `name`, if it may have one.
    pub async fn await_certificate(self: &Arc<Self>, name: &str) {
        let name = normal(name);
        if self.certificates.covers(&name) {
            return;
        }
        let Some(mut ordered) = self.order(&name) else {
            return;
        };
        // Either way the handshake goes on, with the default if need be. The sender goes when the order is over.
        let _ = tokio::time::timeout(self.config.timing.handshake_wait_max, ordered.changed()).await;
    }

    /// Orders a certificate, unless one is being ordered or none may be now. Resolves as the order ends.
    fn order(self: &Arc<Self>, name: &str) -> Option<watch::Receiver<()>> {
        if let Some(running) = self.schedule.lock().running(name) {
            return Some(running);
        }
        if !is_host(name) || !(self.allowed)(name) {
            return None;
        }
        let purpose = if self.certificates.has_ordered(name) { Purpose::Renewal } else { Purpose::New };
        let (done, ordered) = watch::channel(());
        let begun = self.schedule.lock().begin(name, purpose, Instant::now(), &ordered);
        let failures = match begun {
            Ok(failures) => failures,
            Err(schedule::NotNow::Running(running)) => return Some(running),
            Err(schedule::NotNow::Waits) => return None,
            Err(schedule::NotNow::Full { news }) => {
                if news {
                    tracing::warn!(name, "no certificate is ordered: too many were ordered of late");
                }
                return None;
            }
        };
        let acme = Arc::clone(self);
        let name = name.to_owned();
        tokio::spawn(async move {
            acme.order_now(&name, failures).await;
            drop(done);
        });
        Some(ordered)
    }

    async fn order_now(&self, name: &str, failures: u32) {
        // Nobody closes it.
        let Ok(_permit) = self.at_once.acquire().await else {
            return;
        };
        let kind = self.config.challenges.get(failures as usize % self.config.challenges.len().max(1)).copied();
        let timing = self.config.timing;
        let ordered = self.order_by(name, kind.unwrap_or(Challenge::Http01));
        let result = match tokio::time::timeout(timing.order_max, ordered).await {
            Ok(result) => result,
            Err(_) => Err(AcmeError::Timeout(timing.order_max)),
        };
        match result {
            Ok(()) => {
                tracing::info!(name, "a certificate was ordered");
                self.schedule.lock().succeeded(name);
            }
            Err(error) => {
                let wait = self.schedule.lock().failed(name, Instant::now());
                tracing::warn!(name, error = %chain(&error), again_after = ?wait, "no certificate could be ordered");
                if order::account_is_gone(&error) {
                    tracing::warn!("the ACME server does not know this account any more: another is made");
                    *self.account.lock().await = None;
                    if let Err(error) = self.disk.forget_account() {
                        tracing::error!(error = %chain(&error), "the account cannot be forgotten");
                    }
                }
            }
        }
    }

    /// Renews what is due, and forgets what nobody needs any more.
    fn look(self: &Arc<Self>) {
        self.schedule.lock().forget(Instant::now());
        let now = SystemTime::now();
        for (name, from, until) in self.certificates.ordered() {
            let life = until.duration_since(from).unwrap_or_default();
            if now < from + life / 3 * 2 {
                continue;
            }
            if !self.certificates.files_cover(&name) && (self.allowed)(&name) {
                let _ordered = self.order(&name);
            } else if now >= until {
                tracing::info!(name, "a certificate has expired, and is not needed any more");
                self.certificates.remove(&name);
                if let Err(error) = self.disk.remove(&name) {
                    tracing::warn!(name, error = %chain(&error), "an old certificate is left");
                }
            }
        }
    }
}

/// Looks after certificates for as long as there is somebody to order them.
async fn renew(acme: Weak<Acme>) {
    loop {
        let Some(acme) = acme.upgrade() else {
            return;
        };
        acme.look();
        let interval = acme.config.timing.look_interval;
        drop(acme);
        tokio::time::sleep(interval).await;
    }
}

/// Whether this is the name of a host that a certificate can be for: of letters, digits and hyphens, and no address.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.contains('.')
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::files::Source;
    use crate::self_signed::tests::{ended_files, files};

    const NAME: &str = "app.site.test";

    /// Orders from a server that is not there; an ended certificate of `NAME` is kept. The operator's wildcard beside it
    /// is of `wildcard`.
    fn acme(folder: &TempDir, wildcard: (String, String), allowed: bool) -> Arc<Acme> {
        let (tls, kept) = (folder.path().join("tls"), folder.path().join("acme"));
        let directory = "https://127.0.0.1:9/dir".to_owned();
        let (chain, key) = ended_files(&[NAME]);
        Disk::open(&kept, &directory).unwrap().keep(NAME, &key, &chain).unwrap();
        std::fs::create_dir(&tls).unwrap();
        std::fs::write(tls.join("a.pem"), wildcard.0).unwrap();
        std::fs::write(tls.join("a.key"), wildcard.1).unwrap();
        let certificates = Certificates::load(vec![Source::Path(tls)], &["localhost".into()]).unwrap();
        let config = AcmeConfig {
            directory,
            contacts: Vec::new(),
            roots: Vec::new(),
            folder: kept,
            challenges: vec![Challenge::Http01],
            timing: AcmeTiming::default(),
        };
        Acme::start(config, certificates, move |_| allowed).unwrap()
    }

    #[tokio::test]
    async fn an_ended_certificate_goes_where_a_valid_file_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let acme = acme(&folder, files(&["*.site.test"]), true);
        assert!(acme.certificates.has_ordered(NAME));
        acme.look();
        assert!(!acme.certificates.has_ordered(NAME) && acme.certificates.covers(NAME));
        assert!(acme.disk.names().unwrap().is_empty());
        assert!(acme.schedule.lock().running(NAME).is_none());
    }

    #[tokio::test]
    async fn an_ended_file_keeps_no_certificate_from_being_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let acme = acme(&folder, ended_files(&["*.site.test"]), true);
        acme.look();
        assert!(acme.certificates.has_ordered(NAME) && !acme.certificates.covers(NAME));
        assert!(acme.schedule.lock().running(NAME).is_some());
    }

    #[tokio::test]
    async fn an_ended_certificate_goes_where_nobody_has_the_name_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let acme = acme(&folder, files(&["other.test"]), false);
        acme.look();
        assert!(!acme.certificates.has_ordered(NAME));
        assert!(acme.schedule.lock().running(NAME).is_none());
    }

    #[test]
    fn only_names_of_hosts_are_ordered() {
        for name in ["site.test", "app-1.site.test", "xn--bcher-kva.test"] {
            assert!(is_host(name), "{name}");
        }
        let long = format!("{}.test", "a".repeat(64));
        for name in ["localhost", "127.0.0.1", "*.site.test", "a..test", "-a.test", "A.test", "../x.test", "", &long] {
            assert!(!is_host(name), "{name}");
        }
    }
}
