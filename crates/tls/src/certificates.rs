//! The certificates that are served now.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::files::{Source, SourceError};
use crate::handshake::normal;
use crate::pair::{Certificate, Pair, PairError};
use crate::self_signed::{self, SelfSignedError};
use crate::table::Table;
use crate::watch::Watch;

/// TLS 1.2 sessions that are kept for clients without tickets.
const SESSIONS_MAX: usize = 4096;
/// Tickets that a client of TLS 1.3 gets: browsers open a few connections at once.
const TICKETS: usize = 2;

/// Why there are no certificates to serve.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error("{path} holds no certificate that can be served")]
    Nothing { path: String },
    #[error(transparent)]
    SelfSigned(#[from] SelfSignedError),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// A pair that was read.
struct Loaded {
    certificate: Option<Arc<Certificate>>,
    /// What the files held then, as a digest.
    digest: Option<[u8; 32]>,
    /// What is wrong with them since, as it was logged.
    problem: Option<String>,
}

/// The operator's pairs.
#[derive(Default)]
struct Files {
    /// In the order in which the sources name them.
    order: Vec<Pair>,
    loaded: BTreeMap<Pair, Loaded>,
    folders: Vec<PathBuf>,
    /// Folders that cannot be read, and why, as it was logged.
    unread: BTreeMap<PathBuf, String>,
}

/// What serves names now.
struct Serving {
    files: Table,
    /// The first of the operator's pairs.
    first: Option<Arc<Certificate>>,
}

/// The certificates of a machine: the operator's files, those that an ACME server gave, and one that nobody vouches
/// for where there is no other.
///
/// A name gets the first of these that is valid: a file's certificate for exactly this name, one that was ordered for it,
/// a file's wildcard. If none is, it gets the one that ends last, and where there is none, the default: the first of the
/// operator's pairs, or the self-signed one. So does a client that names no host.
pub struct Certificates {
    provider: Arc<CryptoProvider>,
    sources: Vec<Source>,
    files: Mutex<Files>,
    serving: RwLock<Arc<Serving>>,
    ordered: RwLock<HashMap<String, Arc<Certificate>>>,
    fallback: Arc<Certificate>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificates").field("sources", &self.sources).finish_non_exhaustive()
    }
}

// === impl Certificates ===

impl Certificates {
    /// The certificates of `sources`. A pair that a source names must be good; of a folder's pairs, one must.
    /// `names` are those of the self-signed certificate.
    pub fn load(sources: Vec<Source>, names: &[String]) -> Result<Arc<Self>, CertificatesError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let fallback = Arc::new(self_signed::certificate(names, &provider)?);
        let certificates = Arc::new(Self {
            provider,
            sources,
            files: Mutex::default(),
            serving: RwLock::new(Arc::new(Serving { files: Table::default(), first: None })),
            ordered: RwLock::default(),
            fallback,
        });
        certificates.check_sources()?;
        certificates.reload();
        Ok(certificates)
    }

    /// Whether the sources hold what they must at the start.
    fn check_sources(&self) -> Result<(), CertificatesError> {
        for source in &self.sources {
            let found = source.find()?;
            let mut checked = found.pairs.iter().map(|pair| pair.check(&pair.read()?, &self.provider));
            if found.named {
                checked.try_for_each(|pair| pair.map(drop))?;
            } else if !checked.any(|pair| pair.is_ok()) {
                let path = found.folders.first().map(|path| path.display().to_string());
                return Err(CertificatesError::Nothing { path: path.unwrap_or_default() });
            }
        }
        Ok(())
    }

    /// Looks for changes from now on, until what it gives is dropped.
    pub fn watch(self: &Arc<Self>) -> Watch {
        Watch::start(self)
    }

    /// Reads the sources again. What is not good leaves what there was.
    pub fn reload(&self) {
        let mut files = self.files.lock();
        let mut order = Vec::new();
        let mut folders = Vec::new();
        let mut unread = BTreeMap::new();
        for source in &self.sources {
            match source.find() {
                Ok(found) => {
                    order.extend(found.pairs);
                    folders.extend(found.folders);
                    unread.extend(found.unread);
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "certificates stay as they are");
                    return;
                }
            }
        }
        for pair in &order {
            let loaded = files.loaded.entry(pair.clone());
            let loaded = loaded.or_insert(Loaded { certificate: None, digest: None, problem: None });
            loaded.refresh(pair, &self.provider);
        }
        for (folder, error) in unread.iter().filter(|(folder, error)| files.unread.get(*folder) != Some(*error)) {
            tracing::warn!(folder = %folder.display(), error, "what certificates a folder holds is not known");
        }
        // A pair is gone when both its files are: one of them may be about to be replaced.
        let hidden = |pair: &Pair| unread.keys().any(|folder| pair.key.starts_with(folder));
        let kept = |pair: &Pair| order.contains(pair) || pair.chain.exists() || pair.key.exists() || hidden(pair);
        files.loaded.retain(|pair, _| {
            let keep = kept(pair);
            if !keep {
                tracing::info!(chain = %pair.chain.display(), "a certificate was taken away");
            }
            keep
        });
        let certificates: Vec<&Arc<Certificate>> =
            files.loaded.values().filter_map(|loaded| loaded.certificate.as_ref()).collect();
        let table = Table::new(certificates);
        let first = order.iter().find_map(|pair| files.loaded.get(pair)?.certificate.clone());
        folders.sort();
        folders.dedup();
        files.order = order;
        files.folders = folders;
        files.unread = unread;
        *self.serving.write() = Arc::new(Serving { files: table, first });
    }

    /// The folders whose changes matter.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.files.lock().folders.clone()
    }

    /// Whether there is a certificate for this name that has not ended, other than the default.
    pub fn covers(&self, name: &str) -> bool {
        let now = SystemTime::now();
        // One that is just made may not have begun by this machine's clock: another would not either.
        self.find(&normal(name)).is_some_and(|found| found.iter().any(|one| now < one.valid_until))
    }

    /// Whether the operator's files have a certificate for this name that is valid.
    pub fn files_cover(&self, name: &str) -> bool {
        let now = SystemTime::now();
        let serving = Arc::clone(&self.serving.read());
        let mut found = serving.files.exact(name).iter().chain(serving.files.wildcard(name));
        found.any(|one| one.is_valid(now))
    }

    fn find(&self, name: &str) -> Option<Vec<Arc<Certificate>>> {
        let now = SystemTime::now();
        let serving = Arc::clone(&self.serving.read());
        let ordered = self.ordered.read().get(name).cloned();
        let candidates = [serving.files.exact(name), ordered.as_slice(), serving.files.wildcard(name)];
        let valid = candidates.iter().find(|list| list.iter().any(|one| one.is_valid(now)));
        let last = || candidates.iter().max_by_key(|list| list.iter().map(|one| one.valid_until).max());
        let found = valid.or_else(last);
        found.filter(|list| !list.is_empty()).map(|list| list.to_vec())
    }

    /// The default, for names that no certificate has.
    fn default_certificate(&self) -> Arc<Certificate> {
        self.serving.read().first.clone().unwrap_or_else(|| Arc::clone(&self.fallback))
    }

    // === what an ACME server gave ===

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Serves an ordered certificate from now on.
    pub(crate) fn install(&self, name: &str, certificate: Certificate) {
        self.ordered.write().insert(name.to_owned(), Arc::new(certificate));
    }

    /// Whether one was ordered for this name, be it valid or not.
    pub(crate) fn has_ordered(&self, name: &str) -> bool {
        self.ordered.read().contains_key(name)
    }

    pub(crate) fn remove(&self, name: &str) {
        self.ordered.write().remove(name);
    }

    /// When the ordered certificates are valid: name, from, until.
    pub(crate) fn ordered(&self) -> Vec<(String, SystemTime, SystemTime)> {
        let ordered = self.ordered.read();
        ordered.iter().map(|(name, one)| (name.clone(), one.valid_from, one.valid_until)).collect()
    }

    // === how connections are secured ===

    /// For connections of HTTP/1.1 and HTTP/2: TLS 1.2 and 1.3.
    pub fn tcp_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CertificatesError> {
        let provider = Arc::clone(&self.provider);
        let mut config = self.config(provider, &[&TLS13, &TLS12])?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// For HTTP/3. It has the one cipher suite that every client of TLS 1.3 has (RFC 8446, section 9.1), so that it is
    /// known which a connection uses; and no early data, which could be played back.
    pub fn quic_config(self: &Arc<Self>) -> Result<ServerConfig, CertificatesError> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![QUIC_SUITE];
        let mut config = self.config(Arc::new(provider), &[&TLS13])?;
        config.alpn_protocols = vec![b"h3".to_vec()];
        config.max_early_data_size = 0;
        Ok(config)
    }

    fn config(
        self: &Arc<Self>,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<ServerConfig, CertificatesError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.ticketer = ticketer()?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.send_tls13_tickets = TICKETS;
        Ok(config)
    }
}

/// The cipher suite of HTTP/3.
pub(crate) const QUIC_SUITE: rustls::SupportedCipherSuite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// Makes tickets whose key is in this process only and changes every 6 hours.
fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    aws_lc_rs::Ticketer::new()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(&normal(name)));
        let candidates = found.unwrap_or_else(|| vec![self.default_certificate()]);
        let schemes = hello.signature_schemes();
        let usable = candidates.iter().find(|one| one.certified.key.choose_scheme(schemes).is_some());
        usable.or(candidates.first()).map(|one| Arc::clone(&one.certified))
    }
}

// === impl Loaded ===

impl Loaded {
    /// Takes what the files hold now, if it is good.
    fn refresh(&mut self, pair: &Pair, provider: &CryptoProvider) {
        let read = match pair.read() {
            Ok(bytes) if self.digest == Some(bytes.digest()) => {
                self.problem = None;
                return;
            }
            Ok(bytes) => pair.check(&bytes, provider).map(|certificate| (bytes.digest(), certificate)),
            Err(error) => Err(error),
        };
        match read {
            Ok((digest, certificate)) => {
                tracing::info!(chain = %pair.chain.display(), names = ?certificate.names, "a certificate serves");
                if certificate.valid_until <= SystemTime::now() {
                    tracing::warn!(chain = %pair.chain.display(), "the certificate has expired: clients will refuse it");
                }
                *self = Self { certificate: Some(Arc::new(certificate)), digest: Some(digest), problem: None };
            }
            Err(error) => {
                let problem = chain(&error);
                if self.problem.as_ref() != Some(&problem) {
                    let serves = if self.certificate.is_some() { "the one before it serves on" } else { "none serves" };
                    tracing::warn!(error = problem, "a certificate is not usable: {serves}");
                    self.problem = Some(problem);
                }
            }
        }
    }
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
