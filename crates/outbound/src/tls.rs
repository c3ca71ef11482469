//! TLS to the world: Mozilla's roots, TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::{Config, OutboundError};

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
