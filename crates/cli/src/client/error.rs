//! Why a command of the client failed: what, where, and what to do next.

use std::path::PathBuf;

use serde::Deserialize;

use super::local;
use crate::sources::SourceError;
use crate::terminal;

/// One of the problems that the API names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    #[serde(default)]
    pub code: u64,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The arguments do not fit together, or not what they are about.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Project(#[from] selvedge_project::ProjectError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the assets cannot be deployed")]
    Assets(#[from] selvedge_assets::AssetsError),
    #[error("{}", .path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot read from the standard input")]
    Input(#[source] std::io::Error),
    #[error("cannot write to the standard output")]
    Output(#[source] std::io::Error),
    #[error("the asynchronous runtime could not be made")]
    Runtime(#[source] std::io::Error),
    #[error("`{text}` is not the URL of an API")]
    BadUrl { text: String },
    #[error("{} holds no certificate", .path.display())]
    Certificates { path: PathBuf, source: selvedge_outbound::OutboundError },
    #[error("TLS cannot be made ready")]
    Tls(#[from] rustls::Error),
    #[error("there is no token to ask {url} with")]
    NoToken {
        url: String,
        /// Where a platform would have left one.
        data: Option<PathBuf>,
    },
    #[error("{}: {reason}", .folder.display())]
    NoPlatform { folder: PathBuf, reason: &'static str },
    #[error("the token reaches {} accounts: {}", .names.len(), .names.join(", "))]
    ManyAccounts { names: Vec<String> },
    #[error("the token reaches no account")]
    NoAccount,
    #[error("{url} cannot be reached")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("{call} was refused with {status}: {}", said(.problems))]
    Refused { call: String, status: u16, problems: Vec<Problem> },
    #[error("{call} was answered with {status} and something that is not this API's: {start}")]
    NotApi { call: String, status: u16, start: String },
    #[error("{call} was answered with something else than expected")]
    Shape { call: String, source: serde_json::Error },
    #[error("{0}")]
    Missing(String),
    #[error("{worker} serves the new version {version}, but not all that leads to it could be set")]
    Triggers { worker: String, version: String, source: Box<ClientError> },
    #[error("the proxy {proxy} does not lead to {target}")]
    Proxy { proxy: String, target: String, source: std::io::Error },
    #[error("{}", broke(.0))]
    Tail(Box<tungstenite::Error>),
    #[error("nothing was done")]
    Declined,
}

/// What the platform's error codes mean here.
pub mod code {
    pub const WORKER_NOT_FOUND: [u64; 2] = [10007, 10090];
    /// Of an upload that is not right, or whose code does not start.
    pub const UPLOAD_REFUSED: u64 = 10021;
    pub const TOO_LARGE: u64 = 10027;
    pub const INHERIT_INVALID: u64 = 10057;
    pub const LATEST_NOT_DEPLOYED: [u64; 2] = [10214, 10215];
    pub const SECRETS_CHANGED: u64 = 10220;
}

// === impl ClientError ===

impl ClientError {
    /// The first of the API's codes, if the API spoke.
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Refused { problems, .. } => problems.first().map(|problem| problem.code),
            Self::Triggers { source, .. } => source.code(),
            _ => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::NotApi { status, .. } => Some(*status),
            Self::Triggers { source, .. } => source.status(),
            _ => None,
        }
    }

    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::BadUrl { .. } | Self::NoToken { .. } | Self::ManyAccounts { .. })
    }

    /// Whether the same may go well a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Tail(_) | Self::Proxy { .. } | Self::Unreachable { .. } => true,
            error => error.status().is_some_and(|status| status == 429 || status >= 500),
        }
    }

    /// The whole of it, with its causes.
    pub fn text(&self) -> String {
        match self {
            // A worker that does not start is told about without the call that found out.
            Self::Refused { problems, .. } if did_not_start(problems) => said(problems),
            error => terminal::chain(error),
        }
    }

    /// What to do next.
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::NoToken { data: Some(data), .. } => {
                return Some(format!(
                    "give one with --token or SELVEDGE_API_TOKEN; that of the data folder, {}, is of another platform \
                     or not there (where it is lost, `selvedge up --new-admin-token` makes another)",
                    data.join(local::TOKEN).display()
                ));
            }
            Self::NoToken { .. } => {
                "give one with --token or SELVEDGE_API_TOKEN, or name the data folder of a platform of this machine with \
                 SELVEDGE_DATA: its first token is in admin.token there. `selvedge token create NAME` makes more"
            }
            Self::NoPlatform { .. } => {
                "start it with `selvedge up --data DIR`, name another data folder with SELVEDGE_DATA, or say where the API \
                 is with --api URL or SELVEDGE_API"
            }
            Self::ManyAccounts { .. } => "say which with --account ID or SELVEDGE_ACCOUNT_ID",
            Self::NoAccount => "an administrator makes one with `selvedge account create NAME`",
            Self::Unreachable { source, .. } => return Some(unreachable_advice(source).to_owned()),
            Self::NotApi { .. } => "is --api (or SELVEDGE_API) the address of the API? Workers answer elsewhere",
            Self::BadUrl { .. } => "give one such as http://127.0.0.1:8788 or https://api.example.com",
            Self::Proxy { .. } => "ALL_PROXY, HTTPS_PROXY or HTTP_PROXY names it; NO_PROXY names hosts that need none",
            Self::Tail(_) => "run `selvedge tail` again",
            Self::Triggers { source, .. } => {
                let advice = source.advice().map(|advice| format!("{advice}; "));
                return Some(format!("{}then deploy again", advice.unwrap_or_default()));
            }
            Self::Refused { problems, .. } if did_not_start(problems) => {
                "nothing was deployed: what served before goes on"
            }
            Self::Refused { status, .. } => return self.refused_advice(*status).map(str::to_owned),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn refused_advice(&self, status: u16) -> Option<&'static str> {
        let code = self.code().unwrap_or_default();
        if status == 401 {
            return Some(
                "the token is wrong, revoked or expired: make another with `selvedge token create NAME` where one that \
                 works is set, and give it with --token or SELVEDGE_API_TOKEN",
            );
        }
        if status == 403 {
            return Some(
                "the token may not do this, or not in this account: `selvedge whoami` says what it may; \
                 `selvedge token create NAME --permission …` makes one that may more",
            );
        }
        if code::WORKER_NOT_FOUND.contains(&code) {
            return Some("is the name right? `selvedge deploy` makes the worker; --name and --env choose another");
        }
        if code::LATEST_NOT_DEPLOYED.contains(&code) {
            return Some("deploy the latest version first with `selvedge versions deploy`, or upload another");
        }
        match code {
            code::TOO_LARGE => {
                Some("`selvedge deploy --dry-run` shows what the upload is made of; --minify makes it smaller")
            }
            code::INHERIT_INVALID => Some("the worker's latest version has no such binding: give its id in the config"),
            code::SECRETS_CHANGED => Some("--force goes back to that version with the secrets that it had"),
            _ if status == 429 => Some("wait a little, then try again"),
            // The API says itself what to do about its own faults; others between do not.
            _ if status >= 500 && code == 0 => Some("the platform's own log says why; trying again may help"),
            _ => None,
        }
    }
}

fn unreachable_advice(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Io(source) if source.kind() == std::io::ErrorKind::ConnectionRefused => {
            "is `selvedge up` running? Start it, or say where the API is with --api URL or SELVEDGE_API"
        }
        error if matches!(tls_fault(error), Some(rustls::Error::InvalidMessage(_))) => {
            "it seems to answer without TLS there: is it http:// instead of https://?"
        }
        // A certificate that `openssl req -x509` makes without more is one of an authority.
        error if tls_fault(error).is_some_and(|fault| fault.to_string().contains("CaUsedAsEndEntity")) => {
            "its certificate is made for an authority, not for a server: make one with \
             `openssl req -x509 -addext basicConstraints=critical,CA:FALSE …`, or one that the authority signs"
        }
        error if is_certificate(error) => {
            "if its certificate comes from an authority of your own, name that with --ca FILE or SELVEDGE_CA"
        }
        ureq::Error::HostNotFound => "is the host's name right? --api URL or SELVEDGE_API says where the API is",
        _ => "say where the API is with --api URL or SELVEDGE_API; is a proxy or a firewall between?",
    }
}

/// How a log stream ended. The library's errors say theirs and what they come from in one.
fn broke(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            "the platform closed the log stream".to_owned()
        }
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            "the platform dropped the log stream".to_owned()
        }
        error => format!("the log stream broke: {error}"),
    }
}

/// Whether TLS found fault with the other end; a handshake that fails comes as an error of the stream.
pub fn is_certificate(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) => true,
        error => tls_fault(error).is_some(),
    }
}

fn tls_fault(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(fault) => Some(fault),
        ureq::Error::Io(source) => source.get_ref()?.downcast_ref::<rustls::Error>(),
        _ => None,
    }
}

/// Whether a version was not made because its code fails as it starts. The code of that is one of many reasons.
fn did_not_start(problems: &[Problem]) -> bool {
    problems.first().is_some_and(|first| first.code == code::UPLOAD_REFUSED && first.message.contains("did not start"))
}

fn said(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match problem.code {
        0 => problem.message.clone(),
        code => format!("{} [code {code}]", problem.message),
    };
    match problems {
        [] => "no reason given".to_owned(),
        problems => problems.iter().map(one).collect::<Vec<_>>().join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(fault: rustls::Error) -> String {
        let source = ureq::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, fault));
        let error = ClientError::Unreachable { url: "https://edge.test".into(), source: Box::new(source) };
        error.advice().unwrap()
    }

    #[test]
    fn what_is_wrong_with_tls_has_advice_of_its_own() {
        assert!(advice(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)).contains("http://"));
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(advice(unknown).contains("--ca"));
    }

    #[test]
    fn a_platform_that_says_what_to_do_is_not_repeated() {
        let refused = |code| {
            let problems = vec![Problem { code, message: "trying again may help".into() }];
            ClientError::Refused { call: "GET /".into(), status: 500, problems }
        };
        assert_eq!(refused(10013).advice(), None);
        assert!(refused(0).advice().is_some());
    }
}
