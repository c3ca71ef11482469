//! One request of a client, whichever protocol brings it.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use selvedge_tls::Challenges;

use crate::body::EdgeBody;
use crate::client_body::ClientBody;
use crate::edge::Edge;
use crate::pages;
use crate::requests::{self, Inquiry, TlsTerms};
use crate::sockets::Handover;

/// The most that a request's head may take: 64 KiB.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The methods that are served, of those that have a name in RFC 9110.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What the connections of a server have in common.
pub struct Common {
    pub edge: Arc<Edge>,
    /// What to answer to an ACME server.
    pub challenges: Option<Arc<Challenges>>,
    /// Where clients of HTTPS find HTTP/3, as `Alt-Svc` has it (RFC 7838).
    pub alt_svc: Option<HeaderValue>,
}

/// Who is at the other end of a connection, and how it is secured.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub address: IpAddr,
    /// None without TLS.
    pub tls: Option<TlsTerms>,
}

// === impl Peer ===

impl Peer {
    pub fn new(address: IpAddr, tls: Option<TlsTerms>) -> Self {
        // A socket for both families gives addresses of IPv4 in the form of IPv6.
        Self { address: address.to_canonical(), tls }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Answers a request. `upgrade` is the connection, where the client asks for another protocol on it.
pub async fn answer(
    common: &Common,
    peer: Peer,
    parts: Parts,
    body: ClientBody,
    upgrade: Option<Handover>,
) -> Response<EdgeBody> {
    if head_bytes(&parts) > HEAD_BYTES_MAX {
        let message = format!("the request's head takes more than {HEAD_BYTES_MAX} bytes");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let mut response = pages::plain(&parts.headers, status, "head_too_large", &message);
        requests::sign(&mut response, common.edge.request_id());
        return response;
    }
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        let mut response = not_served(&parts);
        requests::sign(&mut response, common.edge.request_id());
        return response;
    }
    if peer.tls.is_none()
        && let Some(challenges) = &common.challenges
        && let Some(proof) = challenges.answer(parts.uri.path())
    {
        return Response::new(EdgeBody::full(proof));
    }
    let newest = parts.version == http::Version::HTTP_3;
    let tls = peer.tls.unwrap_or_default();
    let inquiry = Inquiry { parts, body, upgrade, scheme: peer.scheme(), tls, client: peer.address };
    let mut response = requests::serve(Arc::clone(&common.edge), inquiry).await;
    if peer.tls.is_some()
        && !newest
        && let Some(alt_svc) = &common.alt_svc
    {
        // A worker's own word counts more.
        response.headers_mut().entry(header::ALT_SVC).or_insert_with(|| alt_svc.clone());
    }
    response
}

/// A proxy's work, and an echo of the client's credentials, are no worker's: `fetch` knows neither method
/// (<https://fetch.spec.whatwg.org/#forbidden-method>).
fn not_served(parts: &Parts) -> Response<EdgeBody> {
    let message = format!("the method {} is not served here", parts.method);
    let mut response = pages::plain(&parts.headers, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
    response.headers_mut().insert(header::ALLOW, ALLOWED);
    response
}

/// What a request's head takes on the wire, nearly: the protocol's reader bounds its own buffer only.
fn head_bytes(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    parts.headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}
