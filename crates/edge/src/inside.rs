//! What workers fetch of hosts that are served here: it goes to the worker that answers there, not by the network, where
//! this machine's own addresses are closed to workers.
//!
//! It is routed and answered as a client's request, but that routes of the asking worker's own zones do not count: so a
//! worker on a route reaches the custom domain behind it. Those are the zones in which the worker has routes or custom
//! domains. Of the calls that one request may make it is one. Routes and custom domains count for workers of their own
//! account alone: nobody checks whose a domain is that an account names.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use selvedge_model::WorkerKey;
use selvedge_outbound::{Answering, Inside, InsideBody};

use crate::body::EdgeBody;
use crate::calls::Calls;
use crate::client_body::ClientBody;
use crate::deployed::Deployed;
use crate::edge::Edge;
use crate::pages;
use crate::requests::{self, Inquiry, TlsTerms};

/// The client's address in a request that a worker makes, as on the platform:
/// <https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-connecting-ip-in-worker-subrequests>.
const WORKER: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2a06, 0x98c0, 0x3600, 0, 0, 0, 0, 0x103));

/// The flag of versions that ask as a client does, and may meet themselves:
/// <https://developers.cloudflare.com/workers/configuration/compatibility-flags/#global-fetch-strictly-public>.
const AS_A_CLIENT: &str = "global_fetch_strictly_public";

/// In a request that a worker makes: the worker, as far as it matters to where the request is led. Not there where it asks
/// as a client does.
#[derive(Clone)]
pub struct Asker(pub WorkerKey);

/// The hosts that an edge serves, for one of its events.
pub struct Here<'a> {
    pub edge: &'a Arc<Edge>,
    /// What asks.
    pub deployed: &'a Deployed,
    pub calls: &'a Arc<Calls>,
}

// === impl Here ===

impl Here<'_> {
    fn asker(&self) -> Option<&WorkerKey> {
        let flags = &self.deployed.version.manifest.compatibility_flags;
        (!flags.iter().any(|flag| flag == AS_A_CLIENT)).then_some(&self.deployed.key)
    }
}

impl Inside for Here<'_> {
    fn serves(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (scheme_of(uri), uri.host()) else {
            return false;
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let port = uri.port_u16();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        port.is_none_or(|port| self.edge.listens(scheme, port))
            && self.edge.serves(&self.deployed.key.account, self.asker(), scheme, &host, target)
    }

    fn answer(&self, request: Request<InsideBody>) -> Answering<'_> {
        let (edge, calls) = (Arc::clone(self.edge), Arc::clone(self.calls));
        let answered = answer(edge, calls, self.asker().cloned().map(Asker), request);
        Box::pin(async move { answered.await.map(BodyExt::boxed_unsync) })
    }
}

async fn answer(
    edge: Arc<Edge>,
    calls: Arc<Calls>,
    asker: Option<Asker>,
    request: Request<InsideBody>,
) -> Response<EdgeBody> {
    let (mut parts, body) = request.into_parts();
    if let Err(error) = calls.call() {
        return pages::plain(&parts.headers, StatusCode::LOOP_DETECTED, "too_many_calls", &error.to_string());
    }
    let scheme = scheme_of(&parts.uri).unwrap_or("http");
    // What the network asks of codings is not asked here.
    parts.headers.remove(header::ACCEPT_ENCODING);
    parts.extensions.insert(calls);
    if let Some(asker) = asker {
        parts.extensions.insert(asker);
    }
    let body = ClientBody::inside(body);
    let inquiry = Inquiry { parts, body, upgrade: None, scheme, tls: TlsTerms::default(), client: WORKER };
    requests::serve(edge, inquiry).await
}

fn scheme_of(uri: &Uri) -> Option<&'static str> {
    match uri.scheme_str()? {
        "http" => Some("http"),
        "https" => Some("https"),
        _ => None,
    }
}
