//! A certificate that nobody vouches for: what a client gets where there is no other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::pair::Certificate;

/// How long one is taken for valid here. In itself it has no end that anybody will see.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    #[error("a self-signed certificate cannot be made")]
    Make(#[from] rcgen::Error),
    #[error("the key of a self-signed certificate is not usable")]
    Key(#[from] rustls::Error),
}

/// A certificate for `names`.
pub fn certificate(names: &[String], provider: &CryptoProvider) -> Result<Certificate, SelfSignedError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Selvedge, self-signed");
    let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let certified = sign(&params, provider)?;
    Ok(Certificate { certified, names, valid_from: SystemTime::now(), valid_until: SystemTime::now() + LIFETIME })
}

/// The certificate that proves to an ACME server who answers at `name` (RFC 8737, section 3).
pub fn proof(name: &str, digest: &[u8], provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, SelfSignedError> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    sign(&params, provider)
}

fn sign(params: &CertificateParams, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, SelfSignedError> {
    let key = KeyPair::generate()?;
    let certificate: CertificateDer<'static> = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(Arc::new(CertifiedKey::new(vec![certificate], provider.key_provider.load_private_key(key)?)))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn provider() -> CryptoProvider {
        rustls::crypto::aws_lc_rs::default_provider()
    }

    /// The PEM texts of a chain and its key.
    pub fn files(names: &[&str]) -> (String, String) {
        files_of(&params(names))
    }

    /// The same of a certificate that has ended.
    pub fn ended_files(names: &[&str]) -> (String, String) {
        let mut params = params(names);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        files_of(&params)
    }

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).unwrap()
    }

    fn files_of(params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn it_has_its_names_and_its_key() {
        let made = certificate(&["Localhost".into(), "*.localhost".into()], &provider()).unwrap();
        assert_eq!(made.names, ["localhost", "*.localhost"]);
        made.certified.keys_match().unwrap();
    }
}
