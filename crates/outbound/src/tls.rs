//! TLS to the world: Mozilla's roots, TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::{Config, OutboundError};

/// The certificates of a PEM file.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OutboundError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(OutboundError::Pem("it holds no certificate".into())),
        Err(error) => Err(OutboundError::Pem(error.to_string())),
    }
}

pub(crate) fn client_config(config: &Config) -> Result<ClientConfig, OutboundError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in &config.roots_extra {
        roots.add(certificate.clone()).map_err(OutboundError::TlsConfig)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(OutboundError::TlsConfig)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
