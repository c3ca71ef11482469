//! Calls of the API: the envelope, the retries, the errors.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use selvedge_project::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Request, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use url::Url;

use super::error::{ClientError, Problem, is_certificate};

/// Where the API's paths begin.
const PREFIX: [&str; 2] = ["client", "v4"];
/// How often one call is made at most.
const ATTEMPTS_MAX: u32 = 4;
/// Waited before the second attempt; doubled before each further one.
const BACKOFF: Duration = Duration::from_millis(250);
/// The most that a server may ask to wait; who is to wait longer is told so instead.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(20);
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// An upload is started once before it is answered, and may wait for others that are.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(180);
const SEND_TIME_MAX: Duration = Duration::from_secs(1800);
/// No answer of the API is larger.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Of a list, at once.
const PER_PAGE: usize = 100;
const PAGES_MAX: usize = 1000;
/// What is shown of an answer that is not the API's, in characters.
const START_CHARS_MAX: usize = 120;

/// One API, asked with one token.
pub struct Api {
    agent: ureq::Agent,
    /// Without a slash at its end.
    base: Url,
    token: Secret,
    /// What vouches for the API, where it is not the public certificates.
    roots: Option<Vec<CertificateDer<'static>>>,
}

/// What a call carries.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    None,
    Json(&'a Value),
    /// A JSON document of another media type.
    Patch(&'a Value),
    Bytes {
        content_type: &'a str,
        bytes: &'a [u8],
        /// Told how many bytes more were taken to be sent.
        sent: &'a (dyn Fn(u64) + Sync),
    },
}

/// One call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub method: &'static str,
    /// Behind `/client/v4`; each is escaped.
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    pub body: Body<'a>,
    /// Instead of the API's token.
    pub token: Option<&'a str>,
    /// Whether doing it twice is doing it once.
    pub repeatable: bool,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    errors: Vec<Problem>,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    result_info: Value,
}

/// What a call gave.
#[derive(Debug)]
pub struct Answer {
    pub result: Value,
    pub result_info: Value,
}

enum Attempt {
    Done(Answer),
    Failed(ClientError),
    /// Worth another attempt, after that long if the server says so.
    Again(ClientError, Option<Duration>),
}

// === impl Api ===

impl Api {
    /// `ca` names certificates that vouch for the API instead of the public ones.
    pub fn new(url: &str, token: Secret, ca: Option<&Path>) -> Result<Self, ClientError> {
        let base = base(url)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = ca.map(certificates).transpose()?;
        let trusted = match &roots {
            Some(roots) => {
                let roots: Vec<Certificate<'static>> =
                    roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
                RootCerts::new_with_certs(&roots)
            }
            None => RootCerts::WebPki,
        };
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(trusted).build();
        let mut config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("selvedge/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_send_body(Some(SEND_TIME_MAX))
            .timeout_recv_response(Some(ANSWER_TIME_MAX))
            .timeout_recv_body(Some(ANSWER_TIME_MAX));
        if is_here(&base) {
            // A proxy does not lead back to this machine, and need not see the token.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into(), base, token, roots })
    }

    /// How connections of another kind to the same platform are secured; None where the public certificates vouch.
    pub fn tls(&self) -> Result<Option<Arc<rustls::ClientConfig>>, ClientError> {
        let Some(roots) = &self.roots else {
            return Ok(None);
        };
        let mut trusted = rustls::RootCertStore::empty();
        for root in roots {
            trusted.add(root.clone())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Ok(Some(Arc::new(config)))
    }

    /// The API's address, as people know it.
    pub fn url(&self) -> String {
        self.base.as_str().trim_end_matches('/').trim_end_matches("/client/v4").to_owned()
    }

    pub fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, ClientError> {
        let call = Call { method: "GET", path, query, body: Body::None, token: None, repeatable: true };
        self.read(&call)
    }

    /// None where there is no such thing.
    pub fn find<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<T>, ClientError> {
        match self.get(path, query) {
            Ok(found) => Ok(Some(found)),
            Err(ClientError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of a list, page by page until one is short.
    pub fn list<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let query = [("page", &*page.to_string()), ("per_page", &*PER_PAGE.to_string())];
            let some: Vec<T> = self.get(path, &query)?;
            let is_last = some.len() < PER_PAGE;
            all.extend(some);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    pub fn send<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<T, ClientError> {
        let repeatable = method == "PUT";
        self.read(&Call { method, path, query, body: Body::Json(body), token: None, repeatable })
    }

    pub fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.read(&Call { method: "DELETE", path, query, body: Body::None, token: None, repeatable: true })
    }

    /// The result of a call, as a type.
    pub fn read<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ClientError> {
        let answer = self.call(call)?;
        serde_json::from_value(answer.result).map_err(|source| ClientError::Shape { call: self.describe(call), source })
    }

    /// Makes a call, again where that may help.
    pub fn call(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let mut backoff = BACKOFF;
        let mut attempt = 1;
        loop {
            match self.attempt(call) {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Failed(error) => return Err(error),
                Attempt::Again(error, _) if attempt == ATTEMPTS_MAX => return Err(error),
                Attempt::Again(_, after) => std::thread::sleep(after.unwrap_or(backoff)),
            }
            attempt += 1;
            backoff *= 2;
        }
    }

    fn attempt(&self, call: &Call<'_>) -> Attempt {
        let response = match self.exchange(call) {
            Ok(response) => response,
            Err(error) => return self.broken(call, error),
        };
        let status = response.status();
        let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut text = Vec::new();
        let read = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).reader().read_to_end(&mut text);
        if let Err(error) = read {
            return self.broken(call, error.into());
        }
        let error = match self.open(call, status, &text) {
            Ok(answer) => return Attempt::Done(answer),
            Err(error) => error,
        };
        let after = after.map(Duration::from_secs);
        if is_worth_again(status, call.repeatable) && after.is_none_or(|after| after <= RETRY_AFTER_MAX) {
            Attempt::Again(error, after)
        } else {
            Attempt::Failed(error)
        }
    }

    /// What may have been done is not done again, if that makes a difference.
    fn broken(&self, call: &Call<'_>, error: ureq::Error) -> Attempt {
        let again = call.repeatable && is_passing(&error);
        let error = ClientError::Unreachable { url: self.url(), source: Box::new(error) };
        if again { Attempt::Again(error, None) } else { Attempt::Failed(error) }
    }

    fn exchange(&self, call: &Call<'_>) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let token = call.token.unwrap_or_else(|| self.token.expose());
        let request = Request::builder()
            .method(Method::from_bytes(call.method.as_bytes()).map_err(|error| ureq::Error::Http(error.into()))?)
            .uri(self.address(call).as_str())
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        match call.body {
            Body::None => self.agent.run(request.body(())?),
            Body::Json(value) => {
                self.agent.run(request.header(header::CONTENT_TYPE, "application/json").body(value.to_string())?)
            }
            Body::Patch(value) => self
                .agent
                .run(request.header(header::CONTENT_TYPE, "application/merge-patch+json").body(value.to_string())?),
            Body::Bytes { content_type, bytes, sent } => {
                let mut reader = Counted { bytes, sent };
                let request = request
                    .header(header::CONTENT_TYPE, content_type)
                    .header(header::CONTENT_LENGTH, bytes.len())
                    .body(ureq::SendBody::from_reader(&mut reader))?;
                self.agent.run(request)
            }
        }
    }

    fn open(&self, call: &Call<'_>, status: StatusCode, text: &[u8]) -> Result<Answer, ClientError> {
        if status.is_success() && text.is_empty() {
            return Ok(Answer { result: Value::Null, result_info: Value::Null });
        }
        match serde_json::from_slice::<Envelope>(text) {
            Ok(envelope) if envelope.success && status.is_success() => {
                Ok(Answer { result: envelope.result, result_info: envelope.result_info })
            }
            Ok(envelope) => Err(ClientError::Refused {
                call: self.describe(call),
                status: status.as_u16(),
                problems: envelope.errors,
            }),
            Err(_) => {
                let start: String = String::from_utf8_lossy(text).chars().take(START_CHARS_MAX).collect();
                let start = start.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(ClientError::NotApi { call: self.describe(call), status: status.as_u16(), start })
            }
        }
    }

    fn address(&self, call: &Call<'_>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        url
    }

    fn describe(&self, call: &Call<'_>) -> String {
        format!("{} /{}", call.method, call.path.join("/"))
    }
}

/// The URL of the API's root, whether `/client/v4` was given with it or not.
fn base(text: &str) -> Result<Url, ClientError> {
    let bad = || ClientError::BadUrl { text: shown(text) };
    let mut url: Url = text.trim().parse().map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !url.username().is_empty() {
        return Err(bad());
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    if !path.ends_with(&format!("/{}", PREFIX.join("/")))
        && let Ok(mut segments) = url.path_segments_mut()
    {
        segments.pop_if_empty().extend(PREFIX);
    }
    Ok(url)
}

/// Whether `text` can be the URL of an API.
pub fn check_url(text: &str) -> Result<(), ClientError> {
    base(text).map(drop)
}

/// A URL without what may be a password in it.
fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}

/// Whether a URL leads to this machine.
pub fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let pem = std::fs::read(path).map_err(|source| ClientError::File { path: path.to_owned(), source })?;
    selvedge_outbound::certificates(&pem).map_err(|source| ClientError::Certificates { path: path.to_owned(), source })
}

/// Whether a refusal may be another answer next time. Where it makes a difference, only if nothing was begun.
fn is_worth_again(status: StatusCode, repeatable: bool) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
        status => repeatable && status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED,
    }
}

/// Whether the next attempt may fare better.
fn is_passing(error: &ureq::Error) -> bool {
    match error {
        error if is_certificate(error) => false,
        ureq::Error::Io(source) => source.kind() != std::io::ErrorKind::ConnectionRefused,
        ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// Bytes that tell how far they were read.
struct Counted<'a> {
    bytes: &'a [u8],
    sent: &'a (dyn Fn(u64) + Sync),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        (self.sent)(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_found_with_or_without_its_prefix() {
        for text in ["http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/client/v4/"] {
            assert_eq!(base(text).unwrap().as_str(), "http://127.0.0.1:1/client/v4");
        }
        assert_eq!(base("https://edge.test/api").unwrap().as_str(), "https://edge.test/api/client/v4");
        for text in ["127.0.0.1:1", "ftp://edge.test", "", "http://me:word@edge.test"] {
            assert!(matches!(base(text), Err(ClientError::BadUrl { .. })), "{text}");
        }
        assert!(!base("http://me:word@edge.test").unwrap_err().to_string().contains("word"));
    }

    #[test]
    fn what_may_have_been_done_is_not_done_again() {
        let statuses = |repeatable| -> Vec<u16> {
            let all = [400, 401, 404, 409, 429, 500, 501, 502, 503, 504];
            let again = |status: &u16| is_worth_again(StatusCode::from_u16(*status).unwrap(), repeatable);
            all.into_iter().filter(again).collect()
        };
        assert_eq!(statuses(true), [429, 500, 502, 503, 504]);
        assert_eq!(statuses(false), [429, 503]);
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_not_asked_for_twice() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = ureq::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, unknown));
        assert!(is_certificate(&error) && !is_passing(&error));
        assert!(is_passing(&ureq::Error::Io(std::io::ErrorKind::ConnectionReset.into())));
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for (url, here) in [
            ("http://127.0.0.1:8788", true),
            ("http://localhost:8788", true),
            ("http://api.localhost", true),
            ("http://[::1]:8788", true),
            ("http://0.0.0.0:8788", true),
            ("https://api.example.com", false),
            ("http://192.0.2.1", false),
        ] {
            assert_eq!(is_here(&base(url).unwrap()), here, "{url}");
        }
    }
}
