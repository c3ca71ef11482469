//! A certificate chain with its key, read from PEM files and checked.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest file of certificates or keys, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most certificates of a chain.
const CHAIN_MAX: usize = 16;

/// Where the two halves of a certificate are. Both may be in one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Why a pair cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is longer than {FILE_BYTES_MAX} bytes")]
    TooLong { path: PathBuf },
    #[error("{path} is not a file of PEM sections")]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{path} holds no certificate (a section \"CERTIFICATE\")")]
    NoCertificate { path: PathBuf },
    #[error("{path} holds more than {CHAIN_MAX} certificates")]
    LongChain { path: PathBuf },
    #[error("{path} holds no private key that can be read; one with a password cannot")]
    NoKey { path: PathBuf },
    #[error("the first certificate of {path} is not one: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("the key in {key} is not usable with the certificate in {chain}")]
    Key { chain: PathBuf, key: PathBuf, source: rustls::Error },
}

/// A chain and its key, ready to be served.
pub struct Certificate {
    pub certified: Arc<CertifiedKey>,
    /// The DNS names that it is for, in lower case; a wildcard begins with `*.`.
    pub names: Vec<String>,
    pub valid_from: SystemTime,
    pub valid_until: SystemTime,
}

impl Certificate {
    /// Whether clients take it at that time.
    pub fn is_valid(&self, at: SystemTime) -> bool {
        self.valid_from <= at && at < self.valid_until
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// What two files hold, as they were read.
pub struct PairBytes {
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
}

impl PairBytes {
    /// By which a later content is known to be another, without keeping the key.
    pub fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(self.chain.len() as u64).to_le_bytes());
        context.update(&self.chain);
        context.update(&self.key);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        bytes
    }
}

// === impl Pair ===

impl Pair {
    /// Reads both files.
    pub fn read(&self) -> Result<PairBytes, PairError> {
        Ok(PairBytes { chain: read(&self.chain)?, key: read(&self.key)? })
    }

    /// Checks what the files hold.
    pub fn check(&self, bytes: &PairBytes, provider: &CryptoProvider) -> Result<Certificate, PairError> {
        let chain: Result<Vec<CertificateDer<'static>>, pem::Error> =
            CertificateDer::pem_slice_iter(&bytes.chain).take(CHAIN_MAX + 1).collect();
        let chain = chain.map_err(|source| PairError::Pem { path: self.chain.clone(), source })?;
        if chain.len() > CHAIN_MAX {
            return Err(PairError::LongChain { path: self.chain.clone() });
        }
        let first = chain.first().ok_or_else(|| PairError::NoCertificate { path: self.chain.clone() })?;
        let Described { names, valid_from, valid_until } =
            describe(first).map_err(|reason| PairError::Certificate { path: self.chain.clone(), reason })?;
        let key = PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|error| match error {
            pem::Error::NoItemsFound => PairError::NoKey { path: self.key.clone() },
            source => PairError::Pem { path: self.key.clone(), source },
        })?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|source| PairError::Key {
            chain: self.chain.clone(),
            key: self.key.clone(),
            source,
        })?;
        Ok(Certificate { certified: Arc::new(certified), names, valid_from, valid_until })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let failed = |source| PairError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(PairError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

struct Described {
    names: Vec<String>,
    valid_from: SystemTime,
    valid_until: SystemTime,
}

/// What a certificate says of itself. Its names are those of its subject's alternative names: nobody heeds the others.
fn describe(certificate: &CertificateDer<'_>) -> Result<Described, String> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    if let Some(alternatives) = certificate.subject_alternative_name().map_err(|error| error.to_string())? {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.trim_end_matches('.').to_ascii_lowercase());
            }
        }
    }
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = certificate.validity();
    Ok(Described {
        names,
        valid_from: time(validity.not_before.timestamp()),
        valid_until: time(validity.not_after.timestamp()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::self_signed::tests::{files, provider};

    fn check(chain: &str, key: &str) -> Result<Certificate, PairError> {
        let pair = Pair { chain: "chain.pem".into(), key: "key.pem".into() };
        pair.check(&PairBytes { chain: chain.into(), key: key.into() }, &provider())
    }

    #[test]
    fn names_are_those_of_the_subject_alternatives_in_lower_case() {
        let (chain, key) = files(&["App.Site.test", "*.site.test"]);
        let certificate = check(&chain, &key).unwrap();
        assert_eq!(certificate.names, ["app.site.test", "*.site.test"]);
        assert!(certificate.valid_until > SystemTime::now());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (chain, _) = files(&["one.test"]);
        let (_, key) = files(&["two.test"]);
        assert!(matches!(check(&chain, &key), Err(PairError::Key { .. })));
    }

    #[test]
    fn a_half_written_file_is_refused() {
        let (chain, key) = files(&["one.test"]);
        assert!(check(&chain[..chain.len() / 2], &key).is_err());
        assert!(check(&chain, &key[..key.len() / 2]).is_err());
        assert!(matches!(check("", &key), Err(PairError::NoCertificate { .. })));
        assert!(matches!(check(&chain, ""), Err(PairError::NoKey { .. })));
    }

    #[test]
    fn debug_texts_show_no_key() {
        let (chain, key) = files(&["one.test"]);
        let text = format!("{:?}", check(&chain, &key).unwrap());
        assert_eq!(text, "Certificate { names: [\"one.test\"], .. }");
    }
}
