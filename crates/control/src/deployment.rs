//! Deployments: which versions serve, and how much each.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_model::{AccountId, BASIS_POINTS, BindingKind, Share, VersionId, VersionRecord, WorkerName};
use serde::{Deserialize, Serialize};

use crate::bounds::DEPLOYED_VERSIONS_MAX;
use crate::caller::{Caller, Permission};
use crate::control::Control;
use crate::core::Decided;
use crate::draft::check_annotations;
use crate::error::ControlError;
use crate::event::Event;
use crate::page::Page;
use crate::store::{View, WorkerRow};

/// A deployment of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// A UUID.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    pub author: String,
    /// `wrangler`, `selvedge`, `api`, …
    pub source: String,
    /// `percentage`.
    pub strategy: String,
    pub annotations: BTreeMap<String, String>,
    pub versions: Vec<Share>,
}

/// A deployment to make.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewDeployment {
    /// `percentage`, which also is meant where nothing is given.
    pub strategy: Option<String>,
    /// Versions with their percentages: one or two, with at most two decimals, together 100.
    pub versions: Vec<(VersionId, f64)>,
    pub annotations: BTreeMap<String, String>,
    /// Deploys also where secrets go back to former values.
    pub force: bool,
}

impl Control {
    /// Makes a deployment: the worker is served so from now on. Needs `workers:write`.
    pub async fn deploy(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        new: NewDeployment,
    ) -> Result<Deployment, ControlError> {
        caller.require(account, Permission::WorkersWrite)?;
        if let Some(strategy) = new.strategy.as_deref().filter(|strategy| *strategy != STRATEGY) {
            let shown: String = strategy.chars().take(40).collect();
            return Err(ControlError::invalid("strategy", format!("\"{shown}\" is none: it must be \"{STRATEGY}\"")));
        }
        check_annotations(&new.annotations)?;
        let shares = shares(&new.versions)?;
        let (own, name, id) = (account.clone(), worker.clone(), uuid::Uuid::new_v4().to_string());
        let (author, source) = (caller.name().to_owned(), caller.origin().client.clone());
        self.change(caller, account, Permission::WorkersWrite, move |view, at_ms| {
            let row = view.worker(&own, &name)?;
            for share in &shares {
                if !view.version_exists(&own, &name, &share.version)? {
                    let version = share.version.to_string();
                    return Err(ControlError::VersionNotFound { worker: name.clone(), version });
                }
            }
            if !new.force {
                check_secrets(view, &row, &shares)?;
            }
            let mut annotations = new.annotations.clone();
            annotations.entry("workers/triggered_by".into()).or_insert_with(|| "deployment".into());
            let deployment = Deployment {
                id: id.clone(),
                created_ms: created_after(row.data.deployment.as_ref(), at_ms),
                author: author.clone(),
                source: source.clone(),
                strategy: STRATEGY.into(),
                annotations,
                versions: shares.clone(),
            };
            let event = Event::Deployed { account: own.clone(), worker: name.clone(), deployment: deployment.clone() };
            Ok(Decided::new(vec![event], deployment))
        })
        .await
    }

    /// The deployments of a worker, newest first: the first is the present one. Needs `workers:read`.
    pub async fn deployments(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        page: Page,
    ) -> Result<Vec<Deployment>, ControlError> {
        let (own, worker) = (account.clone(), worker.clone());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            view.deployments(&own, &worker, page)
        })
        .await
    }

    /// One deployment. Needs `workers:read`.
    pub async fn deployment(
        &self,
        caller: &Caller,
        account: &AccountId,
        worker: &WorkerName,
        id: &str,
    ) -> Result<Deployment, ControlError> {
        let (own, worker, id) = (account.clone(), worker.clone(), id.to_owned());
        self.ask(caller, account, Permission::WorkersRead, move |view| {
            view.worker(&own, &worker)?;
            view.deployment(&own, &worker, &id)
        })
        .await
    }
}

/// The one way to share the traffic.
pub(crate) const STRATEGY: &str = "percentage";

/// When a deployment is made: later than the one before, also where the clock was set back, because clients take the
/// latest for the present one.
pub(crate) fn created_after(before: Option<&Deployment>, at_ms: u64) -> u64 {
    before.map_or(at_ms, |before| at_ms.max(before.created_ms.saturating_add(1)))
}

/// Reads percentages: the versions differ, and their shares are whole hundredths of a percent that come to all.
pub(crate) fn shares(versions: &[(VersionId, f64)]) -> Result<Vec<Share>, ControlError> {
    let invalid = |problem: String| ControlError::invalid("versions", problem);
    if versions.is_empty() || versions.len() > DEPLOYED_VERSIONS_MAX {
        return Err(invalid(format!("a deployment has 1 to {DEPLOYED_VERSIONS_MAX} versions, not {}", versions.len())));
    }
    let mut shares: Vec<Share> = Vec::with_capacity(versions.len());
    for (version, percentage) in versions {
        let points = percentage * 100.0;
        if !(0.0..=f64::from(BASIS_POINTS)).contains(&points) {
            return Err(invalid(format!("the percentage {percentage} of {version} is not between 0 and 100")));
        }
        if (points - points.round()).abs() > 1e-6 {
            return Err(invalid(format!("the percentage {percentage} of {version} has more than two decimals")));
        }
        if shares.iter().any(|share| share.version == *version) {
            return Err(invalid(format!("{version} is in it twice")));
        }
        shares.push(Share { version: version.clone(), basis_points: points.round() as u32 });
    }
    let sum: u32 = shares.iter().map(|share| share.basis_points).sum();
    if sum != BASIS_POINTS {
        return Err(invalid(format!("the percentages come to {}, not to 100", f64::from(sum) / 100.0)));
    }
    Ok(shares)
}

/// Refuses to go back to a version whose secrets are not those that are deployed: who changed them may have had a reason.
fn check_secrets(view: &View<'_>, row: &WorkerRow, shares: &[Share]) -> Result<(), ControlError> {
    let Some(deployed) = &row.data.deployment else { return Ok(()) };
    let mut present: Option<VersionRecord> = None;
    for share in &deployed.versions {
        if let Some(version) = view.find_version(&row.account, &row.name, &share.version)?
            && present.as_ref().is_none_or(|present| present.number < version.number)
        {
            present = Some(version);
        }
    }
    let Some(present) = present else { return Ok(()) };
    for share in shares {
        if deployed.versions.iter().any(|other| other.version == share.version) {
            continue;
        }
        let version = view.version(&row.account, &row.name, &share.version)?;
        if version.number > present.number {
            continue;
        }
        let (former, now) = (sealed_secrets(&version), sealed_secrets(&present));
        let names: BTreeSet<&str> = former.keys().chain(now.keys()).copied().collect();
        let changed: Vec<&str> = names.into_iter().filter(|name| former.get(name) != now.get(name)).collect();
        if !changed.is_empty() {
            let names = changed.join(", ");
            return Err(ControlError::SecretsChanged { version: share.version.clone(), names });
        }
    }
    Ok(())
}

fn sealed_secrets(version: &VersionRecord) -> BTreeMap<&str, &str> {
    version
        .bindings
        .iter()
        .filter_map(|binding| match &binding.kind {
            BindingKind::SecretText { sealed } => Some((binding.name.as_str(), sealed.as_str())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(digit: char) -> VersionId {
        let digits = |count: usize| digit.to_string().repeat(count);
        format!("{}-{}-{}-{}-{}", digits(8), digits(4), digits(4), digits(4), digits(12)).parse().unwrap()
    }

    #[test]
    fn percentages_are_whole_hundredths_that_come_to_all() {
        let points = |shares: Vec<Share>| shares.iter().map(|share| share.basis_points).collect::<Vec<_>>();
        let (a, b, c) = (version('a'), version('b'), version('c'));
        assert_eq!(points(shares(&[(a.clone(), 100.0)]).unwrap()), [10_000]);
        assert_eq!(points(shares(&[(a.clone(), 99.99), (b.clone(), 0.01)]).unwrap()), [9_999, 1]);
        assert_eq!(points(shares(&[(a.clone(), 33.33), (b.clone(), 66.67)]).unwrap()), [3_333, 6_667]);
        assert_eq!(points(shares(&[(a.clone(), 0.0), (b.clone(), 100.0)]).unwrap()), [0, 10_000]);
        for bad in [
            vec![],
            vec![(a.clone(), 99.0)],
            vec![(a.clone(), 101.0)],
            vec![(a.clone(), -1.0), (b.clone(), 101.0)],
            vec![(a.clone(), f64::NAN)],
            vec![(a.clone(), f64::INFINITY)],
            vec![(a.clone(), 33.333), (b.clone(), 66.667)],
            vec![(a.clone(), 50.0), (a.clone(), 50.0)],
            vec![(a.clone(), 40.0), (b.clone(), 30.0), (c, 30.0)],
            vec![(a, 1e308), (b, 1e308)],
        ] {
            assert!(shares(&bad).is_err(), "{bad:?}");
        }
    }
}
