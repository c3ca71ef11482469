//! The certificates of `selvedge up`: the operator's files, and what an ACME server gives.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_api::{ApiServer, Io, Secure};
use selvedge_edge::{Edge, Security};
use selvedge_tls::{Acme, AcmeConfig, AcmeError, AcmeTiming, Certificates, CertificatesError, Challenge, Watch};

use tokio::net::TcpStream;

use crate::settings::{AcmeSettings, UpSettings};

/// The port on which an ACME server asks by HTTP; by TLS it asks on 443.
const HTTP_PORT: u16 = 80;

/// Why connections cannot be secured.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error("no certificate can be served")]
    Certificates(#[from] CertificatesError),
    #[error("the roots of the ACME server in {}", .path.display())]
    RootsFile { path: PathBuf, source: std::io::Error },
    #[error("the roots of the ACME server in {}", .path.display())]
    Roots { path: PathBuf, source: selvedge_outbound::OutboundError },
    #[error("certificates cannot be fetched by ACME")]
    Acme(#[from] AcmeError),
    #[error(transparent)]
    Edge(#[from] selvedge_edge::SecurityError),
}

/// What secures connections, where HTTPS is listened for. Files are read again as they change while the watch is kept.
pub fn start(settings: &UpSettings, edge: &Arc<Edge>) -> Result<Option<(Arc<Security>, Watch)>, SecurityError> {
    if settings.https.is_none() {
        return Ok(None);
    }
    let names = [settings.domain.clone(), format!("*.{}", settings.domain)];
    let certificates = Certificates::load(settings.tls.clone(), &names)?;
    let acme = settings.acme.as_ref().map(|acme| order(settings, acme, &certificates, edge)).transpose()?;
    let watch = certificates.watch();
    Ok(Some((Arc::new(Security::new(&certificates, acme)?), watch)))
}

fn order(
    settings: &UpSettings,
    acme: &AcmeSettings,
    certificates: &Arc<Certificates>,
    edge: &Arc<Edge>,
) -> Result<Arc<Acme>, SecurityError> {
    let roots = match &acme.root {
        None => Vec::new(),
        Some(path) => {
            let path = path.clone();
            let pem = std::fs::read(&path).map_err(|source| SecurityError::RootsFile { path: path.clone(), source })?;
            selvedge_outbound::certificates(&pem).map_err(|source| SecurityError::Roots { path, source })?
        }
    };
    let mut challenges = vec![Challenge::TlsAlpn01, Challenge::Http01];
    if settings.http.port() == HTTP_PORT {
        challenges.reverse();
    }
    let config = AcmeConfig {
        directory: acme.directory.clone(),
        contacts: acme.contact.iter().map(|address| format!("mailto:{address}")).collect(),
        roots,
        folder: settings.data.join("acme"),
        challenges,
        timing: AcmeTiming::default(),
    };
    let (api, edge) = (api_host(settings), Arc::downgrade(edge));
    let allowed =
        move |host: &str| api.as_deref() == Some(host) || edge.upgrade().is_some_and(|edge| edge.has_host(host));
    Ok(Acme::start(config, Arc::clone(certificates), allowed)?)
}

/// The host by which clients reach the API, where it speaks TLS itself.
fn api_host(settings: &UpSettings) -> Option<String> {
    let url = url::Url::parse(settings.public_url.as_deref()?).ok()?;
    let speaks_tls = url.scheme() == "https" && !settings.api.ip().is_loopback();
    let host = url.host_str()?.trim_end_matches('.').to_owned();
    speaks_tls.then_some(host)
}

/// Has the API speak TLS where other machines may reach it, if there are certificates.
pub fn secure_api(api: ApiServer, security: Option<&Arc<Security>>) -> ApiServer {
    if api.address().ip().is_loopback() {
        return api;
    }
    let Some(security) = security else {
        tracing::warn!(
            address = %api.address(),
            "the API is not secured: who listens on the network reads tokens. Give --https and certificates, or put a \
             proxy with TLS before it"
        );
        return api;
    };
    api.secured(Arc::new(ApiSecurity(Arc::clone(security))))
}

/// Secures the connections of the API with the edge's certificates.
struct ApiSecurity(Arc<Security>);

impl Secure for ApiSecurity {
    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let security = Arc::clone(&self.0);
        Box::pin(async move {
            let stream = security.accept(stream).await?;
            let stream = stream.ok_or_else(|| io::Error::other("the client asked for nothing"))?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
