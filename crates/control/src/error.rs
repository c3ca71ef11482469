//! Why a command or a question was refused, in the words and numbers of the platform's API.

use selvedge_fabric::FabricError;
use selvedge_model::{AccountId, RouteError, VersionId, WorkerName};

use crate::caller::Permission;
use crate::resource::ResourceKind;

/// Why it was not done. [`ControlError::code`] and [`ControlError::status`] say what an API answers with; the text is
/// for the client, and holds neither a secret nor anything of another account.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    // === who ===
    #[error("Authentication error: the API token is missing, unknown, expired or revoked")]
    Unauthenticated,
    /// Also where the account is not one that the caller may know of.
    #[error("Authentication error: the API token has no permission \"{permission}\" on this account")]
    Forbidden { permission: Permission },
    #[error("Authentication error: the upload token of these assets is unknown or has expired; deploy again")]
    AssetsToken,

    // === what is not there ===
    #[error("The account {account} does not exist")]
    AccountNotFound { account: AccountId },
    #[error("This Worker does not exist on your account: {worker}")]
    WorkerNotFound { worker: String },
    #[error("The Worker {worker} has no version {version}")]
    VersionNotFound { worker: WorkerName, version: String },
    #[error("The Worker {worker} has no version yet: upload one")]
    NoVersions { worker: WorkerName },
    #[error("The Worker {worker} has no deployment {deployment}")]
    DeploymentNotFound { worker: WorkerName, deployment: String },
    #[error("There is no token {id}")]
    TokenNotFound { id: String },
    #[error("There is no zone {zone}")]
    ZoneNotFound { zone: String },
    #[error("There is no route {id}")]
    RouteNotFound { id: String },
    #[error("There is no custom domain {id}")]
    DomainNotFound { id: String },
    #[error("There is no {kind} {id}")]
    ResourceNotFound { kind: ResourceKind, id: String },
    #[error("The queue {queue} has no consumer {consumer}")]
    ConsumerNotFound { queue: String, consumer: String },
    #[error("The Worker {worker} has no secret named {name}")]
    SecretNotFound { worker: WorkerName, name: String },

    // === what is already there ===
    #[error("The subdomain {subdomain} is taken: choose another")]
    SubdomainTaken { subdomain: String },
    #[error("A {kind} named \"{name}\" already exists")]
    ResourceExists { kind: ResourceKind, name: String },
    #[error("The route {pattern} is already assigned to {}", holder(.worker.as_ref()))]
    RouteTaken { pattern: String, worker: Option<WorkerName> },
    #[error("The host name {hostname} is already the custom domain of the Worker {worker}")]
    DomainTaken { hostname: String, worker: WorkerName },
    #[error("The Worker {script} is a consumer of the queue {queue} already: change that one")]
    ConsumerTaken { queue: String, script: String },
    #[error("The zone {zone} is held by another account of this platform")]
    ZoneTaken { zone: String },
    #[error("Multiple attempts to modify {what} at the same time: try again")]
    Busy { what: String },
    #[error("The Worker {worker} is in use by {by}: remove that first, or delete with force")]
    InUse { worker: WorkerName, by: String },

    // === what is wrong with what was asked ===
    /// The message says what is wrong with what, and what to do.
    #[error("{at}: {problem}")]
    Invalid { at: String, problem: String },
    #[error(
        "\"{name}\" cannot be the name of a Worker: 1 to 63 lower-case letters, digits, - and _ are; no - at the start"
    )]
    WorkerNameInvalid { name: String },
    #[error("\"{pattern}\" is not a route pattern: {source}")]
    RouteInvalid { pattern: String, source: RouteError },
    #[error("\"{zone}\" cannot be a zone here: {problem}")]
    ZoneInvalid { zone: String, problem: &'static str },
    #[error(
        "{host} is in the zone {zone}, not in {given}: leave zone_id and zone_name out, or give \"zone_name\": \"{zone}\""
    )]
    OtherZone { host: String, zone: String, given: String },
    #[error("\"{cron}\" is not a cron expression: {problem}")]
    CronInvalid { cron: String, problem: String },
    #[error("{what} of {bytes} bytes: at most {bytes_max} are allowed")]
    ScriptTooLarge { what: String, bytes: u64, bytes_max: u64 },
    #[error("the binding {name} holds {bytes} bytes: at most {bytes_max} are allowed")]
    VariableTooLarge { name: String, bytes: u64, bytes_max: u64 },
    #[error("a version has {count} bindings: at most {count_max} are allowed")]
    TooManyBindings { count: usize, count_max: usize },
    #[error("a binding has no name")]
    BindingUnnamed,
    /// Begins with the platform's own words.
    #[error("Binding name '{name}' already in use. Please use a different name and try again. {by}")]
    BindingTaken { name: String, by: String },
    #[error("this account has {count_max} {what} already, and may not have more")]
    TooMany { what: &'static str, count_max: u64 },
    /// The words that wrangler looks for.
    #[error("inherit binding '{name}' is invalid: {problem}")]
    InheritInvalid {
        name: String,
        problem: String,
        /// What is wrong with others of the same upload.
        further: Vec<ControlError>,
    },
    #[error("the binding {name} leads to the Worker {service}, which does not exist on this account: deploy it first")]
    ServiceMissing { name: String, service: String },
    #[error("the version was not created, because it did not start: {message}{}", below(.message, .stack))]
    StartFailed { message: String, stack: String },
    /// Begins with the platform's own words.
    #[error(
        "The uploaded script has no registered event handlers. Export as default an object with fetch, scheduled, queue or \
         tail, or export a class of an entrypoint, Durable Object or Workflow; in the service-worker form, call \
         addEventListener"
    )]
    NoHandlers,
    #[error(
        "Migration tag precondition failed; the Worker's tag is {}, but the upload expects {}",
        tag(.current.as_deref()), tag(.expected.as_deref())
    )]
    MigrationTag { current: Option<String>, expected: Option<String> },
    #[error("the migration cannot be applied: {problem}")]
    MigrationInvalid { problem: String },
    #[error(
        "the binding {name} leads to the class {class}, which no migration has made a Durable Object of: add one with \
         new_sqlite_classes"
    )]
    ObjectClassMissing { name: String, class: String },
    #[error(
        "Secret edit failed: the latest version of the Worker {worker} is not the one that is deployed. Deploy it \
         first, or change the secret in a version that is not deployed, with `versions secret` of wrangler or selvedge"
    )]
    LatestNotDeployed { worker: WorkerName },
    /// The list of names comes last: wrangler shows what follows the colon as one.
    #[error(
        "Going back to the version {version} brings former secrets back, unless it is forced. The following secrets have \
         changed: {names}"
    )]
    SecretsChanged { version: VersionId, names: String },
    #[error("{what} is not available yet on this platform")]
    NotAvailable { what: String },

    // === our own faults ===
    #[error("the version could not be tried, because no runner is available: {message}; try again")]
    StarterUnavailable { message: String },
    #[error("the fabric failed")]
    Fabric(#[from] FabricError),
    #[error("the control plane's view failed: {action}")]
    View { action: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("a record of the control plane's log cannot be read (position {position})")]
    Record { position: u64, source: serde_json::Error },
    #[error("a secret could not be sealed")]
    Seal,
    #[error("the secrets of this platform were sealed with another key: bring back the file that held it")]
    OtherKey,
    #[error("{what} could not be {action}")]
    File { what: String, action: &'static str, source: std::io::Error },
}

fn holder(worker: Option<&WorkerName>) -> String {
    worker.map_or_else(|| "no Worker, as an exclusion".into(), |worker| format!("the Worker {worker}"))
}

/// The stack on lines of its own. It begins with the message, as engines have it, which is not said twice.
fn below(message: &str, stack: &str) -> String {
    let calls = stack.strip_prefix(message).unwrap_or(stack).trim_start_matches('\n');
    if calls.is_empty() { String::new() } else { format!("\n{calls}") }
}

fn tag(tag: Option<&str>) -> String {
    tag.map_or_else(|| "none".into(), |tag| format!("'{tag}'"))
}

impl ControlError {
    /// The platform's number for it: stable, and what wrangler branches on.
    pub fn code(&self) -> u32 {
        match self {
            Self::Unauthenticated | Self::Forbidden { .. } | Self::AssetsToken => 10000,
            Self::AccountNotFound { .. } => 7003,
            Self::WorkerNotFound { .. } => 10007,
            Self::VersionNotFound { .. } | Self::DeploymentNotFound { .. } => 10092,
            Self::NoVersions { .. } => 10222,
            Self::TokenNotFound { .. } => 1003,
            Self::ZoneNotFound { .. } => 1001,
            Self::RouteNotFound { .. } => 10009,
            Self::DomainNotFound { .. } => 100114,
            Self::ResourceNotFound { kind, .. } => kind.not_found_code(),
            Self::ConsumerNotFound { .. } => 11001,
            Self::SecretNotFound { .. } => 10056,
            Self::SubdomainTaken { .. } => 10031,
            Self::ResourceExists { kind, .. } => kind.exists_code(),
            Self::RouteTaken { .. } => 10020,
            Self::DomainTaken { .. } => 100117,
            Self::ConsumerTaken { .. } => 11004,
            Self::ZoneTaken { .. } => 1061,
            Self::Busy { .. } => 10035,
            Self::InUse { .. } => 10064,
            Self::Invalid { .. } | Self::StartFailed { .. } => 10021,
            Self::WorkerNameInvalid { .. } => 10016,
            Self::RouteInvalid { .. } | Self::OtherZone { .. } => 10022,
            Self::ZoneInvalid { .. } => 1049,
            Self::CronInvalid { .. } => 10100,
            Self::ScriptTooLarge { .. } => 10027,
            Self::VariableTooLarge { .. } => 10054,
            Self::TooManyBindings { .. } => 10055,
            Self::BindingUnnamed => 10052,
            Self::BindingTaken { .. } => 10053,
            Self::TooMany { .. } => 10037,
            Self::InheritInvalid { .. } => 10057,
            Self::ServiceMissing { .. } => 10143,
            Self::NoHandlers => 10068,
            Self::MigrationTag { .. } => 10079,
            Self::MigrationInvalid { .. } => 10074,
            Self::ObjectClassMissing { .. } => 10061,
            Self::LatestNotDeployed { .. } => 10215,
            Self::SecretsChanged { .. } => 10220,
            Self::NotAvailable { .. } => 10015,
            Self::StarterUnavailable { .. }
            | Self::Fabric(_)
            | Self::View { .. }
            | Self::Record { .. }
            | Self::Seal
            | Self::OtherKey
            | Self::File { .. } => 10013,
        }
    }

    /// The HTTP status. Only our own faults have one of 500 and above: those make wrangler try again.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthenticated | Self::AssetsToken => 401,
            Self::Forbidden { .. } => 403,
            Self::AccountNotFound { .. }
            | Self::WorkerNotFound { .. }
            | Self::VersionNotFound { .. }
            | Self::NoVersions { .. }
            | Self::DeploymentNotFound { .. }
            | Self::TokenNotFound { .. }
            | Self::ZoneNotFound { .. }
            | Self::RouteNotFound { .. }
            | Self::DomainNotFound { .. }
            | Self::ResourceNotFound { .. }
            | Self::ConsumerNotFound { .. }
            | Self::SecretNotFound { .. } => 404,
            Self::SubdomainTaken { .. }
            | Self::ResourceExists { .. }
            | Self::RouteTaken { .. }
            | Self::DomainTaken { .. }
            | Self::ConsumerTaken { .. }
            | Self::ZoneTaken { .. }
            | Self::Busy { .. }
            | Self::InUse { .. } => 409,
            Self::MigrationTag { .. } => 412,
            Self::ScriptTooLarge { .. } => 413,
            Self::Invalid { .. }
            | Self::WorkerNameInvalid { .. }
            | Self::RouteInvalid { .. }
            | Self::ZoneInvalid { .. }
            | Self::OtherZone { .. }
            | Self::CronInvalid { .. }
            | Self::VariableTooLarge { .. }
            | Self::TooManyBindings { .. }
            | Self::BindingUnnamed
            | Self::BindingTaken { .. }
            | Self::TooMany { .. }
            | Self::InheritInvalid { .. }
            | Self::ServiceMissing { .. }
            | Self::StartFailed { .. }
            | Self::NoHandlers
            | Self::MigrationInvalid { .. }
            | Self::ObjectClassMissing { .. }
            | Self::LatestNotDeployed { .. }
            | Self::SecretsChanged { .. }
            | Self::NotAvailable { .. } => 400,
            Self::StarterUnavailable { .. } => 503,
            Self::Fabric(_)
            | Self::View { .. }
            | Self::Record { .. }
            | Self::Seal
            | Self::OtherKey
            | Self::File { .. } => 500,
        }
    }

    /// Something about what was asked for is not as it must be.
    pub fn invalid(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { at: at.into(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_failed_is_told_of_once() {
        let told = |stack: &str| {
            ControlError::StartFailed { message: "Error: no".into(), stack: stack.to_owned() }.to_string()
        };
        let start = "the version was not created, because it did not start: Error: no";
        assert_eq!(told("Error: no\n    at index.js:3:7"), format!("{start}\n    at index.js:3:7"));
        assert_eq!(told("Error: no"), start);
        assert_eq!(told(""), start);
        assert_eq!(told("at index.js:3:7"), format!("{start}\nat index.js:3:7"));
    }
}
