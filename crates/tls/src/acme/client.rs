//! HTTP to an ACME server: with the public roots and the operator's, with bounds on time and size.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::AcmeError;

/// The longest that a request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A client for one server.
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Client {
    /// Trusts the public roots and `roots`.
    pub fn new(roots: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Result<Self, AcmeError> {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in roots {
            store.add(root.clone()).map_err(|error| AcmeError::Root(format!("--acme-root is not usable: {error}")))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().enable_http2().build();
        Ok(Self(legacy::Client::builder(TokioExecutor::new()).build(connector)))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.0.request(request);
        Box::pin(async move {
            let answered = async {
                let (parts, body) = asked.await.map_err(other)?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?;
                Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body.to_bytes()))))
            };
            tokio::time::timeout(REQUEST_TIME_MAX, answered).await.map_err(other)?
        })
    }
}

fn other(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}
