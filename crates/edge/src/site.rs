//! A worker as it serves now: its versions, and which of them a request gets.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use selvedge_model::{BASIS_POINTS, VersionId, WorkerKey, WorkerRecord};
use sha1::{Digest, Sha1};

use crate::client_head::{VERSION_KEY_COOKIE, version_key, version_named};
use crate::edge::RequestId;
use crate::slot::{Slot, Versions};

/// How long a browser keeps the key that its requests got their version by.
const VERSION_KEY_COOKIE_SECONDS: u32 = 24 * 60 * 60;

/// A version with its share of the traffic.
struct Part {
    /// Where its share ends, in hundredths of a percent; it begins where the one before ends.
    end: u32,
    slot: Arc<Slot>,
}

/// A worker as it serves now. Replaced whole by each change.
pub struct Site {
    pub key: WorkerKey,
    /// What the control plane says of it. None where there is none: a worker of `selvedge dev`.
    pub record: Option<WorkerRecord>,
    /// Where its versions come from.
    pub versions: Option<Arc<dyn Versions>>,
    parts: Vec<Part>,
}

/// What a request gets.
pub(crate) struct Chosen {
    pub slot: Arc<Slot>,
    /// Makes the client's next requests get the same.
    pub new_key: Option<NewKey>,
}

/// A key for a client that had none: it got its version by the id of its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewKey(RequestId);

// === impl NewKey ===

impl NewKey {
    /// What has the client's browser say the key.
    pub(crate) fn cookie(self, is_secure: bool) -> Option<HeaderValue> {
        let (key, secure) = (self.0, if is_secure { "; Secure" } else { "" });
        let cookie = format!(
            "{VERSION_KEY_COOKIE}={key}; Path=/; Max-Age={VERSION_KEY_COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
        );
        HeaderValue::try_from(cookie).ok()
    }
}

// === impl Site ===

impl Site {
    /// A worker of one version.
    pub(crate) fn of_one(key: WorkerKey, slot: Arc<Slot>) -> Self {
        Self { key, record: None, versions: None, parts: vec![Part { end: BASIS_POINTS, slot }] }
    }

    /// A worker as its record says; `slot_of` gives the place of a version.
    pub(crate) fn of_record(
        record: WorkerRecord,
        versions: Option<Arc<dyn Versions>>,
        mut slot_of: impl FnMut(&VersionId) -> Arc<Slot>,
    ) -> Self {
        let mut shares = record.deployment.as_ref().map(|deployment| deployment.versions.clone()).unwrap_or_default();
        // The same order whichever way shares move: a client that got the growing version keeps it.
        shares.sort_by(|one, other| one.version.cmp(&other.version));
        let mut end = 0;
        let parts = shares
            .iter()
            .map(|share| {
                end += share.basis_points;
                Part { end, slot: slot_of(&share.version) }
            })
            .collect();
        let key = WorkerKey::new(record.account.clone(), record.name.clone());
        Self { key, record: Some(record), versions, parts }
    }

    /// The id of its deployment, if it has one.
    pub fn deployment(&self) -> Option<&str> {
        Some(&self.record.as_ref()?.deployment.as_ref()?.id)
    }

    /// Whether a version serves.
    pub fn serves(&self, version: &VersionId) -> bool {
        self.slots().any(|slot| slot.version() == version.as_str())
    }

    /// The places of the versions that serve.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.parts.iter().map(|part| &part.slot)
    }

    /// The version for a request; none if none is deployed.
    pub(crate) fn choose(&self, headers: &HeaderMap, id: RequestId) -> Option<Chosen> {
        let chosen = |slot| Some(Chosen { slot, new_key: None });
        if let [only] = self.parts.as_slice() {
            return chosen(Arc::clone(&only.slot));
        }
        if let Some(slot) = self.overridden(headers) {
            return chosen(slot);
        }
        if let Some(slot) = self.whole() {
            return chosen(slot);
        }
        if let Some(key) = version_key(headers) {
            return chosen(self.at(self.bucket(key.as_bytes()))?);
        }
        let slot = self.at(self.bucket(id.to_string().as_bytes()))?;
        Some(Chosen { slot, new_key: Some(NewKey(id)) })
    }

    /// The version that all traffic goes to, if there is one: others may be deployed for those alone who name them.
    fn whole(&self) -> Option<Arc<Slot>> {
        let first = self.parts.iter().find(|part| part.end > 0)?;
        (first.end == BASIS_POINTS).then(|| Arc::clone(&first.slot))
    }

    /// The version that the client names, if it serves.
    fn overridden(&self, headers: &HeaderMap) -> Option<Arc<Slot>> {
        let version = version_named(headers, self.key.worker.as_str())?;
        self.slots().find(|slot| slot.version() == version).map(Arc::clone)
    }

    /// Where a key falls, in hundredths of a percent.
    fn bucket(&self, key: &[u8]) -> u32 {
        // The worker's name is in it, so that no client is first to meet every worker's new version.
        let digest = Sha1::new().chain_update(self.key.worker.as_str()).chain_update([0]).chain_update(key).finalize();
        let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        (number % u64::from(BASIS_POINTS)) as u32
    }

    fn at(&self, bucket: u32) -> Option<Arc<Slot>> {
        self.parts.iter().find(|part| bucket < part.end).or(self.parts.last()).map(|part| Arc::clone(&part.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_head::{VERSION_KEY_HEADER, VERSION_OVERRIDES_HEADER};
    use selvedge_model::{AccountId, DeploymentRecord, Share};

    const OLD: &str = "aaaaaaaa-0000-4000-8000-000000000000";
    const NEW: &str = "bbbbbbbb-0000-4000-8000-000000000000";

    fn site(new_basis_points: u32) -> Site {
        let share = |version: &str, basis_points| Share { version: version.parse().unwrap(), basis_points };
        let record = WorkerRecord {
            account: AccountId::local(),
            name: "shop".parse().unwrap(),
            subdomain: None,
            workers_dev: true,
            previews: true,
            aliases: Default::default(),
            deployment: Some(DeploymentRecord {
                id: String::new(),
                created_ms: 0,
                versions: vec![share(NEW, new_basis_points), share(OLD, BASIS_POINTS - new_basis_points)],
            }),
            routes: vec![],
            domains: vec![],
            crons: vec![],
            tail_consumers: vec![],
            tags: vec![],
        };
        Site::of_record(record, None, |version| Slot::empty(version.as_str()))
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    fn chosen(site: &Site, headers: &HeaderMap, id: u64) -> (String, bool) {
        let chosen = site.choose(headers, RequestId::of(id)).unwrap();
        (chosen.slot.version().to_owned(), chosen.new_key.is_some())
    }

    #[test]
    fn a_client_keeps_its_version_as_the_new_one_grows() {
        for client in 0..200 {
            let headers = with(VERSION_KEY_HEADER, &format!("client-{client}"));
            let mut had_new = false;
            for percent in [1, 10, 50, 90, 100] {
                let (version, cookie) = chosen(&site(percent * 100), &headers, client);
                assert!(!cookie);
                assert!(!(had_new && version == OLD), "client {client} went back at {percent} %");
                had_new |= version == NEW;
            }
            assert!(had_new);
        }
    }

    #[test]
    fn shares_are_kept() {
        let site = site(2500);
        let new = (0..10_000_u64)
            .filter(|id| chosen(&site, &HeaderMap::new(), id.wrapping_mul(0x9e37_79b9_7f4a_7c15)).0 == NEW)
            .count();
        assert!((2300..2700).contains(&new), "{new} of 10,000");
    }

    #[test]
    fn the_cookie_gives_the_same_version_again() {
        let site = site(5000);
        for id in 0..50 {
            let first = site.choose(&HeaderMap::new(), RequestId::of(id)).unwrap();
            let cookie = first.new_key.unwrap().cookie(true).unwrap();
            assert!(cookie.to_str().unwrap().ends_with("; Secure"));
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let (version, again) = chosen(&site, &with("cookie", &format!("a=b; {pair}")), id + 1000);
            assert_eq!(version, first.slot.version());
            assert!(!again);
        }
    }

    #[test]
    fn a_client_needs_no_key_where_all_get_one_version() {
        for (new_basis_points, version) in [(0, OLD), (BASIS_POINTS, NEW)] {
            let site = site(new_basis_points);
            for id in 0..20 {
                assert_eq!(chosen(&site, &HeaderMap::new(), id), (version.to_owned(), false));
                assert_eq!(chosen(&site, &with(VERSION_KEY_HEADER, "mine"), id), (version.to_owned(), false));
            }
            // Who names the other gets it.
            let other = if version == OLD { NEW } else { OLD };
            let named = with(VERSION_OVERRIDES_HEADER, &format!("shop=\"{other}\""));
            assert_eq!(chosen(&site, &named, 1), (other.to_owned(), false));
        }
    }

    #[test]
    fn an_override_names_a_version_that_serves() {
        let site = site(100);
        for id in 0..20 {
            let named = with(VERSION_OVERRIDES_HEADER, &format!("other=\"x\", shop=\"{NEW}\""));
            assert_eq!(chosen(&site, &named, id).0, NEW);
        }
        let twice = with(VERSION_OVERRIDES_HEADER, &format!("shop=\"{OLD}\", shop=\"{NEW}\";x=1"));
        assert_eq!(chosen(&site, &twice, 1).0, NEW);
        let unknown = with(VERSION_OVERRIDES_HEADER, "shop=\"cccccccc-0000-4000-8000-000000000000\"");
        assert!(site.choose(&unknown, RequestId::of(1)).is_some());
    }
}
