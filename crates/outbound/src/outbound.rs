//! `fetch`, as far as it is outside the isolate.

use std::{fmt, sync::Arc, time::Duration};

use http::{StatusCode, Uri, Version};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service;

use crate::{
    Config, ConnectError, Connection, Denied, Inside, OutboundError, REDIRECTS_MAX, RedirectMode, RequestBody, Resolve,
    ResponseBody, SystemResolver,
    body::{Outgoing, Progress},
    connect::{ACCOUNT, Connector, FilteredConnector},
    headers,
    hop::{Hop, redirect_of},
    inside::{self, Arriving},
    permits::HostPermits,
    tls,
};

/// Connections to one host that are kept while nobody uses them.
const IDLE_PER_HOST_MAX: usize = 32;
/// Header fields of one response.
const RESPONSE_HEADERS_MAX: usize = 256;
/// The least that the client library takes for a bound on a response's head.
const RESPONSE_HEADERS_BYTES_MIN: usize = 8 * 1024;
/// Body bytes that one HTTP/2 stream may send ahead of its reader.
const H2_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a connection, so large that readers who do not read cannot stop their neighbours on it.
const H2_CONNECTION_WINDOW_BYTES: u32 = 256 * 1024 * 1024;
/// How often an HTTP/2 connection with requests on it is asked whether it lives, and how long it may think.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A redirect's body up to this size is read, to use the connection again.
const REDIRECT_BODY_BYTES_MAX: usize = 16 * 1024;
const REDIRECT_BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// Asked before each request leaves: the first, and one for each redirect.
///
/// The place to count subrequests. Closures are admitters.
pub trait Admit: Send + Sync {
    fn admit(&self, uri: &Uri) -> Result<(), Denied>;
}

impl<F> Admit for F
where
    F: Fn(&Uri) -> Result<(), Denied> + Send + Sync,
{
    fn admit(&self, uri: &Uri) -> Result<(), Denied> {
        self(uri)
    }
}

/// How one fetch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    pub redirect: RedirectMode,
    /// Whether content codings are undone. `false` passes the body on as it came.
    pub decode: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { redirect: RedirectMode::Follow, decode: true }
    }
}

/// What came back.
#[derive(Debug)]
pub struct OutboundResponse {
    pub status: StatusCode,
    pub version: Version,
    /// The server's headers without the hop-by-hop ones. `Content-Encoding` and `Content-Length` stay as they were
    /// sent, so after decoding they describe the body on the wire, not this one.
    pub headers: http::HeaderMap,
    pub body: ResponseBody,
    /// The last URL, without user and fragment.
    pub url: String,
    /// How many redirects were followed.
    pub redirects: usize,
    /// Whether the body's content codings were undone.
    pub decoded: bool,
}

/// The way to the world, with its pool of connections. Clones share the pool.
#[derive(Clone)]
pub struct Outbound {
    client: Client<Connector, Outgoing>,
    pub(crate) websocket_connector: Connector,
    tls: Arc<ClientConfig>,
    pub(crate) config: Arc<Config>,
    /// Whose requests these are.
    pub(crate) account: Option<Arc<str>>,
}

// === impl Outbound ===

impl Outbound {
    /// With the system's resolver.
    ///
    /// # Errors
    ///
    /// [`OutboundError::TlsConfig`] if an extra root is not a certificate.
    pub fn new(config: Config) -> Result<Self, OutboundError> {
        Self::with_resolver(config, Arc::new(SystemResolver::default()))
    }

    /// With another resolver; its answers are filtered like any.
    pub fn with_resolver(config: Config, resolver: Arc<dyn Resolve>) -> Result<Self, OutboundError> {
        let tls = tls::client_config(&config)?;
        let filtered = FilteredConnector::new(resolver, config.allow.clone().into(), config.refusals_explained);
        let permits =
            Arc::new(HostPermits::new(config.connections_per_host_max, config.connections_per_account_host_max));
        let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let connector = |https| Connector::new(https, Arc::clone(&permits), config.connect_timeout);
        let http_connector = connector(builder().enable_all_versions().wrap_connector(filtered.clone()));
        // A WebSocket begins as an HTTP/1.1 request.
        let websocket_connector = connector(builder().enable_http1().wrap_connector(filtered));
        let client = build_client(&config, http_connector);
        Ok(Self { client, websocket_connector, tls: Arc::new(tls), config: Arc::new(config), account: None })
    }

    /// The same way to the world, for an account: what connections it opens count among those of that account.
    #[must_use]
    pub fn of(&self, account: &str) -> Self {
        Self { account: Some(Arc::from(account)), ..self.clone() }
    }

    /// A connection of its own, for what is no HTTP request.
    pub(crate) async fn open(&self, uri: Uri) -> Result<Connection, OutboundError> {
        let mut connector = self.websocket_connector.clone();
        let opened = ACCOUNT.scope(self.account.clone(), async move { connector.call(uri).await });
        opened.await.map_err(OutboundError::Connect)
    }

    /// Opens a TCP connection, with TLS from its beginning if it is to be `secure`.
    ///
    /// # Errors
    ///
    /// [`OutboundError::Connect`]; [`OutboundError::Url`] if the host is none.
    pub async fn connect(&self, host: &str, port: u16, secure: bool) -> Result<Connection, OutboundError> {
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://{host}:{port}/");
        let uri: http::Uri = url.parse().map_err(|_| OutboundError::Url { url })?;
        self.open(uri).await
    }

    /// Begins TLS on an open connection, as `STARTTLS` of many protocols asks for; `host` is whom to trust.
    ///
    /// # Errors
    ///
    /// [`OutboundError::Connect`], also after the time that a connection may take.
    pub async fn secure(&self, connection: Connection, host: &str) -> Result<Connection, OutboundError> {
        let allowed = self.config.connect_timeout;
        let secured = connection.secured(host, Arc::clone(&self.tls));
        match tokio::time::timeout(allowed, secured).await {
            Ok(secured) => secured.map_err(OutboundError::Connect),
            Err(_) => Err(OutboundError::Connect(ConnectError::Timeout { host: host.to_owned(), allowed })),
        }
    }

    /// Sends a request and, as `options` say, the ones that its redirects ask for.
    ///
    /// The request's URI must be absolute. Its `Host`, `Content-Length` and hop-by-hop headers are replaced.
    ///
    /// # Errors
    ///
    /// See [`OutboundError`]; [`OutboundError::refusal`] tells whether the address filter stopped it.
    pub async fn fetch(
        &self,
        request: http::Request<RequestBody>,
        options: FetchOptions,
        admit: &dyn Admit,
    ) -> Result<OutboundResponse, OutboundError> {
        self.fetch_past(request, options, admit, None).await
    }

    /// The same, where some hosts are served `inside`.
    ///
    /// # Errors
    ///
    /// As for [`Outbound::fetch`].
    pub async fn fetch_past(
        &self,
        request: http::Request<RequestBody>,
        options: FetchOptions,
        admit: &dyn Admit,
        inside: Option<&dyn Inside>,
    ) -> Result<OutboundResponse, OutboundError> {
        let mut hop = Hop::first(request)?;
        for redirects in 0..=REDIRECTS_MAX {
            admit.admit(&hop.uri)?;
            let response = match inside.filter(|inside| inside.serves(&hop.uri)) {
                Some(inside) => {
                    let body = hop.body.send(Arc::new(Progress::new()));
                    let request = inside::arriving(hop.method.clone(), hop.uri.clone(), hop.headers.clone(), body);
                    let response = inside::answered(&hop.method, inside.answer(request).await);
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        return Err(OutboundError::UnexpectedUpgrade);
                    }
                    response
                }
                None => self.send(&mut hop).await?.map(Arriving::World),
            };
            let location = match options.redirect {
                RedirectMode::Manual => None,
                RedirectMode::Follow | RedirectMode::Error => redirect_of(&response),
            };
            let Some(location) = location.cloned() else {
                return Ok(finish(hop, response, redirects, options));
            };
            if options.redirect == RedirectMode::Error {
                return Err(OutboundError::Redirected {
                    location: String::from_utf8_lossy(location.as_bytes()).into_owned(),
                });
            }
            let status = response.status();
            discard(response).await;
            hop = hop.redirect(status, &location)?;
        }
        Err(OutboundError::TooManyRedirects { allowed: REDIRECTS_MAX })
    }

    /// One request, one response head.
    async fn send(&self, hop: &mut Hop) -> Result<http::Response<hyper::body::Incoming>, OutboundError> {
        let progress = Arc::new(Progress::new());
        let mut headers = hop.headers.clone();
        headers::complete_request(&hop.method, &mut headers, hop.body.is_empty());

        let mut request = http::Request::new(hop.body.send(Arc::clone(&progress)));
        *request.method_mut() = hop.method.clone();
        *request.uri_mut() = hop.uri.clone();
        *request.headers_mut() = headers;

        let headers_bytes_max = self.config.response_headers_bytes_max;
        let limit = self.config.response_headers_timeout;
        let mut response = tokio::select! {
            response = ACCOUNT.scope(self.account.clone(), self.client.request(request)) => {
                response.map_err(|error| OutboundError::of_client(error, headers_bytes_max))?
            }
            () = silence(&progress, limit) => return Err(OutboundError::HeadersTimeout { allowed: limit }),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(OutboundError::UnexpectedUpgrade);
        }
        // The client library stops reading somewhat later than it is told to.
        if headers::size_bytes(response.headers()) > headers_bytes_max {
            return Err(OutboundError::HeadersTooLarge { allowed: headers_bytes_max });
        }
        headers::clean_response(response.headers_mut());
        Ok(response)
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("config", &self.config).finish_non_exhaustive()
    }
}

fn build_client(config: &Config, connector: Connector) -> Client<Connector, Outgoing> {
    let headers_bytes_max = config.response_headers_bytes_max.max(RESPONSE_HEADERS_BYTES_MIN);
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .http1_max_buf_size(headers_bytes_max)
        .http1_max_headers(RESPONSE_HEADERS_MAX)
        .http2_max_header_list_size(u32::try_from(headers_bytes_max).unwrap_or(u32::MAX))
        .http2_initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(H2_PING_INTERVAL)
        .http2_keep_alive_timeout(H2_PING_TIMEOUT)
        .build(connector)
}

/// Ends when nothing of the request was sent for `limit`.
async fn silence(progress: &Progress, limit: Duration) {
    loop {
        let deadline = progress.last() + limit;
        if deadline <= Instant::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}

fn finish(hop: Hop, response: http::Response<Arriving>, redirects: usize, options: FetchOptions) -> OutboundResponse {
    let (parts, body) = response.into_parts();
    let (body, decoded) =
        if options.decode { ResponseBody::decoded(body, &parts.headers) } else { (ResponseBody::as_sent(body), false) };
    OutboundResponse {
        status: parts.status,
        version: parts.version,
        headers: parts.headers,
        body,
        url: hop.url.into(),
        redirects,
        decoded,
    }
}

/// Reads the small body of a redirect, so that its connection can carry the next request; any other is dropped, and
/// its connection with it.
async fn discard(response: http::Response<Arriving>) {
    let body = Limited::new(response.into_body(), REDIRECT_BODY_BYTES_MAX);
    let _ = timeout(REDIRECT_BODY_TIMEOUT, body.collect()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn upload_that_goes_on_is_not_silence() {
        const TOUCHES: u32 = 25;
        const BETWEEN: Duration = Duration::from_millis(40);
        let limit = Duration::from_millis(800);
        let progress = Arc::new(Progress::new());
        let started = Instant::now();
        let silence = tokio::spawn({
            let progress = Arc::clone(&progress);
            async move { silence(&progress, limit).await }
        });
        for _ in 0..TOUCHES {
            tokio::time::sleep(BETWEEN).await;
            progress.touch();
        }
        silence.await.unwrap();
        assert!(started.elapsed() >= TOUCHES * BETWEEN + limit);
    }
}
