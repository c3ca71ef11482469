//! What happened, as the log keeps it: typed, with the number of the form that it was written in. Members that a later
//! program adds are ignored by this one; so are events that it does not know, but for the audit.

use std::net::IpAddr;

use selvedge_model::{AccountId, CronRecord, VersionId, VersionRecord, WorkerName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::caller::Caller;
use crate::deployment::Deployment;
use crate::domain::CustomDomain;
use crate::resource::{Resource, ResourceKind};
use crate::route::Route;
use crate::token::Token;
use crate::worker::Consumer;

/// The most that the audit keeps of what else there is to say of one change, in bytes.
const DETAIL_BYTES_MAX: usize = 4 * 1024;
/// What it keeps of each member of that where all together are more, in bytes.
const MEMBER_BYTES_MAX: usize = 512;

/// The form that records are written in.
pub(crate) const FORM: u32 = 1;

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Logged {
    pub form: u32,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub by: By,
    pub event: Event,
}

/// Who did it, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct By {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    #[serde(default)]
    pub client: String,
}

impl By {
    /// What the platform does by itself.
    pub fn platform() -> Self {
        Self { name: "selvedge".into(), token: None, ip: None, client: "selvedge".into() }
    }

    pub fn caller(caller: &Caller) -> Self {
        Self {
            name: caller.name.clone(),
            token: Some(caller.token_id.clone()),
            ip: caller.origin.ip,
            client: caller.origin.client.clone(),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Event {
    AccountCreated {
        account: Account,
    },
    SubdomainSet {
        account: AccountId,
        subdomain: String,
    },
    TokenCreated {
        token: Token,
        hash: String,
    },
    TokenRevoked {
        account: Option<AccountId>,
        id: String,
        name: String,
    },
    WorkerCreated {
        account: AccountId,
        worker: WorkerName,
        id: String,
    },
    WorkerDeleted {
        account: AccountId,
        worker: WorkerName,
    },
    SettingsChanged {
        account: AccountId,
        worker: WorkerName,
        change: SettingsChange,
    },
    WorkerSubdomainSet {
        account: AccountId,
        worker: WorkerName,
        enabled: bool,
        previews: bool,
    },
    SchedulesSet {
        account: AccountId,
        worker: WorkerName,
        crons: Vec<CronRecord>,
    },
    VersionCreated {
        version: Box<VersionRecord>,
    },
    VersionsPruned {
        account: AccountId,
        worker: WorkerName,
        versions: Vec<VersionId>,
    },
    Deployed {
        account: AccountId,
        worker: WorkerName,
        deployment: Deployment,
    },
    Migrated {
        account: AccountId,
        worker: WorkerName,
        tag: Option<String>,
    },
    RoutesChanged {
        account: AccountId,
        worker: Option<WorkerName>,
        removed: Vec<Route>,
        added: Vec<Route>,
    },
    DomainsChanged {
        account: AccountId,
        worker: WorkerName,
        removed: Vec<CustomDomain>,
        added: Vec<CustomDomain>,
    },
    ZoneClaimed {
        account: AccountId,
        zone: String,
    },
    ZoneReleased {
        account: AccountId,
        zone: String,
    },
    ResourceSaved {
        account: AccountId,
        resource: Resource,
    },
    ResourceDeleted {
        account: AccountId,
        kind: ResourceKind,
        id: String,
        name: String,
    },
    /// What a later program wrote.
    #[serde(other)]
    Unknown,
}

/// What of a worker's settings changed: what is none did not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SettingsChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_consumers: Option<Vec<Consumer>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logpush: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Value>,
}

/// An event as the audit shows it.
pub(crate) struct Described {
    pub account: Option<AccountId>,
    pub action: &'static str,
    pub target: String,
    pub detail: Value,
}

impl Event {
    /// What the audit says of it: no secret, sealed or not, and nothing large.
    pub fn describe(&self) -> Described {
        let (account, action, target, detail) = match self {
            Self::AccountCreated { account } => (
                Some(&account.id),
                "account.created",
                account.name.clone(),
                json!({ "id": account.id, "subdomain": account.subdomain }),
            ),
            Self::SubdomainSet { account, subdomain } => {
                (Some(account), "account.subdomain_set", subdomain.clone(), Value::Null)
            }
            Self::TokenCreated { token, .. } => (
                token.account(),
                "token.created",
                token.name.clone(),
                json!({ "id": token.id, "permissions": token.permissions, "expires_ms": token.expires_ms }),
            ),
            Self::TokenRevoked { account, id, name } => {
                (account.as_ref(), "token.revoked", name.clone(), json!({ "id": id }))
            }
            Self::WorkerCreated { account, worker, .. } => {
                (Some(account), "worker.created", worker.to_string(), Value::Null)
            }
            Self::WorkerDeleted { account, worker } => {
                (Some(account), "worker.deleted", worker.to_string(), Value::Null)
            }
            Self::SettingsChanged { account, worker, change } => {
                (Some(account), "worker.settings_changed", worker.to_string(), json!(change))
            }
            Self::WorkerSubdomainSet { account, worker, enabled, previews } => (
                Some(account),
                "worker.subdomain_set",
                worker.to_string(),
                json!({ "enabled": enabled, "previews": previews }),
            ),
            Self::SchedulesSet { account, worker, crons } => {
                let crons: Vec<&str> = crons.iter().map(|cron| cron.cron.as_str()).collect();
                (Some(account), "worker.schedules_set", worker.to_string(), json!({ "crons": crons }))
            }
            Self::VersionCreated { version } => (
                Some(&version.account),
                "version.created",
                version.worker.to_string(),
                json!({
                    "version": version.id,
                    "number": version.number,
                    "content": version.content,
                    "annotations": version.annotations,
                    "bindings": version.bindings.iter().map(|binding| &binding.name).collect::<Vec<_>>(),
                }),
            ),
            Self::VersionsPruned { account, worker, versions } => {
                (Some(account), "version.pruned", worker.to_string(), json!({ "versions": versions }))
            }
            Self::Deployed { account, worker, deployment } => (
                Some(account),
                "worker.deployed",
                worker.to_string(),
                json!({
                    "deployment": deployment.id,
                    "versions": deployment.versions,
                    "annotations": deployment.annotations,
                }),
            ),
            Self::Migrated { account, worker, tag } => {
                (Some(account), "worker.migrated", worker.to_string(), json!({ "tag": tag }))
            }
            Self::RoutesChanged { account, worker, removed, added } => (
                Some(account),
                "routes.changed",
                worker.as_ref().map(ToString::to_string).unwrap_or_default(),
                json!({
                    "removed": removed.iter().map(|route| &route.pattern).collect::<Vec<_>>(),
                    "added": added.iter().map(|route| &route.pattern).collect::<Vec<_>>(),
                }),
            ),
            Self::DomainsChanged { account, worker, removed, added } => (
                Some(account),
                "domains.changed",
                worker.to_string(),
                json!({
                    "removed": removed.iter().map(|domain| &domain.hostname).collect::<Vec<_>>(),
                    "added": added.iter().map(|domain| &domain.hostname).collect::<Vec<_>>(),
                }),
            ),
            Self::ZoneClaimed { account, zone } => (Some(account), "zone.claimed", zone.clone(), Value::Null),
            Self::ZoneReleased { account, zone } => (Some(account), "zone.released", zone.clone(), Value::Null),
            Self::ResourceSaved { account, resource } => (
                Some(account),
                "resource.saved",
                resource.name.clone(),
                json!({ "kind": resource.kind, "id": resource.id }),
            ),
            Self::ResourceDeleted { account, kind, id, name } => {
                (Some(account), "resource.deleted", name.clone(), json!({ "kind": kind, "id": id }))
            }
            Self::Unknown => (None, "unknown", String::new(), Value::Null),
        };
        Described { account: account.cloned(), action, target, detail: bounded(detail) }
    }
}

/// Details that are not large: where they are, each member is cut to what is not.
fn bounded(detail: Value) -> Value {
    if bytes_of(&detail) <= DETAIL_BYTES_MAX {
        return detail;
    }
    match detail {
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, shortened(value))).collect::<Map<_, _>>().into()
        }
        other => shortened(other),
    }
}

/// Of a list that is large, its beginning and how many it has; of anything else that is, how many bytes.
fn shortened(value: Value) -> Value {
    let bytes = bytes_of(&value);
    if bytes <= MEMBER_BYTES_MAX {
        return value;
    }
    let Value::Array(list) = value else { return json!({ "bytes": bytes }) };
    let (count, mut left) = (list.len(), MEMBER_BYTES_MAX);
    let mut first = Vec::new();
    for entry in list {
        let Some(rest) = left.checked_sub(bytes_of(&entry)) else { break };
        left = rest;
        first.push(entry);
    }
    json!({ "count": count, "first": first })
}

fn bytes_of(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_keeps_nothing_large() {
        let (account, worker) = (AccountId::local(), "loom".parse::<WorkerName>().unwrap());
        let describe = |change| {
            let (account, worker) = (account.clone(), worker.clone());
            Event::SettingsChanged { account, worker, change }.describe().detail
        };
        let small = SettingsChange { observability: Some(json!({ "enabled": true })), ..SettingsChange::default() };
        assert_eq!(describe(small), json!({ "observability": { "enabled": true } }));
        let tags = (0..32).map(|at| format!("{at:0256}")).collect();
        let large = json!({ "x": "y".repeat(100_000) });
        let large = SettingsChange { tags: Some(tags), observability: Some(large), ..SettingsChange::default() };
        let detail = describe(large);
        assert!(bytes_of(&detail) < DETAIL_BYTES_MAX, "{detail}");
        assert_eq!(detail["tags"]["count"], 32);
        assert_eq!(detail["tags"]["first"], json!([format!("{:0256}", 0)]));
        assert!(detail["observability"]["bytes"].as_u64().unwrap() > 100_000);
    }

    #[test]
    fn what_a_later_program_wrote_is_tolerated() {
        let later = r#"{"form":2,"at_ms":5,"by":{"name":"a","client":"api","mood":"good"},
            "event":{"type":"zone_claimed","account":"0123456789abcdef0123456789abcdef","zone":"a.test","why":"so"}}"#;
        let logged: Logged = serde_json::from_str(later).unwrap();
        assert!(matches!(logged.event, Event::ZoneClaimed { zone, .. } if zone == "a.test"));
        let unknown = r#"{"form":9,"at_ms":5,"by":{"name":"a"},"event":{"type":"from_the_future","x":[1]}}"#;
        assert_eq!(serde_json::from_str::<Logged>(unknown).unwrap().event, Event::Unknown);
    }
}
