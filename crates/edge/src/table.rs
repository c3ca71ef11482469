//! Which worker answers where. A look-up costs the same however many workers there are: it follows the labels of the host
//! and the lengths of path patterns, never a list of workers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use selvedge_model::{HostWildcard, RoutePattern, RouteScheme, VersionId, WorkerKey};

use crate::site::Site;

/// How many digits of a version's id name its preview.
const SHORT_CHARS: usize = 8;

/// What answers at a host and path.
#[derive(Clone)]
pub enum Found {
    /// A worker, as it is deployed.
    Site(Arc<Site>),
    /// The version of a worker whose id begins so.
    Preview {
        site: Arc<Site>,
        short: String,
    },
    /// The version of a worker that an alias stands for.
    Alias {
        site: Arc<Site>,
        version: VersionId,
    },
    Nothing,
}

/// A route: the worker it leads to, for which scheme.
struct Leads {
    scheme: RouteScheme,
    worker: WorkerKey,
}

/// The routes of one host and one kind of wildcard, by path.
#[derive(Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<Leads>>,
    /// Those that end with `*`, longest first.
    open: BTreeMap<Reverse<usize>, HashMap<Box<str>, Vec<Leads>>>,
}

/// What is known of one host.
#[derive(Default)]
struct Host {
    /// Routes for the host alone.
    exact: Paths,
    /// `*.host`.
    below: Paths,
    /// `*host`.
    all: Paths,
    /// The worker that has the host whole.
    domain: Option<WorkerKey>,
}

/// The table of an edge.
pub struct Table {
    domain: String,
    default: Option<WorkerKey>,
    sites: HashMap<WorkerKey, Arc<Site>>,
    /// Workers by what stands before the domain in a host name: `worker` or `worker.subdomain`.
    labels: HashMap<Box<str>, Arc<Site>>,
    hosts: HashMap<Box<str>, Host>,
}

// === impl Paths ===

impl Paths {
    fn slot(&mut self, pattern: &RoutePattern) -> &mut Vec<Leads> {
        let by_path = if pattern.path_open() {
            self.open.entry(Reverse(pattern.path().len())).or_default()
        } else {
            &mut self.exact
        };
        by_path.entry(pattern.path().into()).or_default()
    }

    fn add(&mut self, pattern: &RoutePattern, worker: &WorkerKey) {
        self.slot(pattern).push(Leads { scheme: pattern.scheme(), worker: worker.clone() });
    }

    fn remove(&mut self, pattern: &RoutePattern, worker: &WorkerKey) {
        self.slot(pattern).retain(|leads| leads.worker != *worker || leads.scheme != pattern.scheme());
        self.exact.retain(|_, leads| !leads.is_empty());
        self.open.retain(|_, by_path| {
            by_path.retain(|_, leads| !leads.is_empty());
            !by_path.is_empty()
        });
    }

    /// The worker of the most specific pattern.
    fn find(&self, scheme: &str, path: &str) -> Option<&WorkerKey> {
        let wanted = if scheme == "https" { RouteScheme::Https } else { RouteScheme::Http };
        let exact = self.exact.get(path).into_iter();
        let open = self.open.iter().filter_map(|(Reverse(length), by_path)| by_path.get(path.get(..*length)?));
        exact.chain(open).find_map(|leads| {
            let of = |scheme| leads.iter().find(|leads| leads.scheme == scheme);
            of(wanted).or_else(|| of(RouteScheme::Any)).map(|leads| &leads.worker)
        })
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.open.is_empty()
    }
}

// === impl Host ===

impl Host {
    fn paths(&mut self, wildcard: HostWildcard) -> &mut Paths {
        match wildcard {
            HostWildcard::None => &mut self.exact,
            HostWildcard::Below => &mut self.below,
            HostWildcard::SelfAndBelow => &mut self.all,
        }
    }

    fn is_empty(&self) -> bool {
        self.domain.is_none() && self.exact.is_empty() && self.below.is_empty() && self.all.is_empty()
    }
}

// === impl Table ===

impl Table {
    /// A table without workers. Hosts are `<worker>.<domain>`; `default` answers at the domain itself and where nobody
    /// else does.
    pub fn new(domain: String, default: Option<WorkerKey>) -> Self {
        Self { domain, default, sites: HashMap::new(), labels: HashMap::new(), hosts: HashMap::new() }
    }

    /// Puts a worker in, in the place of what it was before, which this gives.
    pub fn set(&mut self, site: Arc<Site>) -> Option<Arc<Site>> {
        let before = self.remove(&site.key);
        if let Some(label) = label(&site) {
            self.labels.insert(label.into(), Arc::clone(&site));
        }
        for pattern in routes(&site) {
            let host = self.hosts.entry(pattern.host().into()).or_default();
            host.paths(pattern.wildcard()).add(&pattern, &site.key);
        }
        for domain in domains(&site) {
            self.hosts.entry(domain.as_str().into()).or_default().domain = Some(site.key.clone());
        }
        self.sites.insert(site.key.clone(), site);
        before
    }

    /// Takes a worker out.
    pub fn remove(&mut self, key: &WorkerKey) -> Option<Arc<Site>> {
        let site = self.sites.remove(key)?;
        if let Some(label) = label(&site) {
            self.labels.remove(label.as_str());
        }
        for pattern in routes(&site) {
            self.change_host(pattern.host(), |host| host.paths(pattern.wildcard()).remove(&pattern, key));
        }
        for domain in domains(&site) {
            self.change_host(domain, |host| host.domain = host.domain.take().filter(|worker| worker != key));
        }
        Some(site)
    }

    fn change_host(&mut self, name: &str, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(name) {
            change(host);
            if host.is_empty() {
                self.hosts.remove(name);
            }
        }
    }

    /// The worker of that key.
    pub fn site(&self, key: &WorkerKey) -> Option<&Arc<Site>> {
        self.sites.get(key)
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// The names of all workers, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.sites.keys().map(|key| key.worker.as_str().to_owned()).collect();
        names.sort();
        names
    }

    /// What stands before the domain in a host name.
    pub fn label_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        host.strip_suffix(self.domain.as_str()).and_then(|label| label.strip_suffix('.'))
    }

    /// What answers at a host (in lower case, without a port) and path (without a query). Routes come first, then custom
    /// domains, as on the platform; then the names that every worker has.
    pub fn find(&self, scheme: &str, host: &str, path: &str) -> Found {
        if let Some(site) = self.routed(scheme, host, path).and_then(|key| self.sites.get(key)) {
            return Found::Site(Arc::clone(site));
        }
        if let Some(label) = self.label_of(host) {
            return match self.labels.get(label) {
                Some(site) if is_open(site) => Found::Site(Arc::clone(site)),
                _ => self.preview(label),
            };
        }
        match self.default.as_ref().and_then(|key| self.sites.get(key)) {
            Some(site) => Found::Site(Arc::clone(site)),
            None => Found::Nothing,
        }
    }

    /// Whether anything may answer at a host.
    pub fn has_host(&self, host: &str) -> bool {
        let named = self.label_of(host).is_some_and(|label| {
            self.labels.get(label).is_some_and(is_open) || !matches!(self.preview(label), Found::Nothing)
        });
        let routed = || {
            let mut under = std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, rest)| rest));
            under.any(|name| {
                let Some(found) = self.hosts.get(name) else {
                    return false;
                };
                let itself = name == host && (found.domain.is_some() || !found.exact.is_empty());
                itself || !found.all.is_empty() || (name != host && !found.below.is_empty())
            })
        };
        named || routed()
    }

    /// The worker of the most specific route, or of the custom domain.
    fn routed(&self, scheme: &str, host: &str, path: &str) -> Option<&WorkerKey> {
        if self.hosts.is_empty() {
            return None;
        }
        let found = self.hosts.get(host);
        let itself = found.and_then(|host| host.exact.find(scheme, path).or_else(|| host.all.find(scheme, path)));
        if itself.is_some() {
            return itself;
        }
        let mut rest = host;
        while let Some((_, above)) = rest.split_once('.') {
            rest = above;
            let found = self.hosts.get(above);
            let below = found.and_then(|host| host.below.find(scheme, path).or_else(|| host.all.find(scheme, path)));
            if below.is_some() {
                return below;
            }
        }
        found.and_then(|host| host.domain.as_ref())
    }

    /// The version that a host name stands for: `<first 8>-<worker>` or `<alias>-<worker>`.
    fn preview(&self, label: &str) -> Found {
        for (at, _) in label.match_indices('-') {
            let (Some(name), Some(worker)) = (label.get(..at), label.get(at + 1..)) else {
                continue;
            };
            let Some((site, record)) =
                self.labels.get(worker).and_then(|site| site.record.as_ref().map(|record| (site, record)))
            else {
                continue;
            };
            if !record.previews {
                continue;
            }
            if let Some(version) = record.aliases.get(name) {
                return Found::Alias { site: Arc::clone(site), version: version.clone() };
            }
            if name.len() == SHORT_CHARS && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Found::Preview { site: Arc::clone(site), short: name.to_owned() };
            }
        }
        Found::Nothing
    }
}

/// Whether the worker answers under the platform's domain.
fn is_open(site: &Arc<Site>) -> bool {
    site.record.as_ref().is_none_or(|record| record.workers_dev)
}

fn label(site: &Site) -> Option<String> {
    let worker = &site.key.worker;
    let subdomain = site.record.as_ref().and_then(|record| record.subdomain.as_ref());
    Some(subdomain.map_or_else(|| worker.as_str().to_owned(), |subdomain| format!("{worker}.{subdomain}")))
}

fn routes(site: &Site) -> Vec<RoutePattern> {
    let routes = site.record.iter().flat_map(|record| &record.routes);
    // The control plane checked them; one that a newer one understands is none here.
    routes.filter_map(|route| route.parse().ok()).collect()
}

fn domains(site: &Site) -> impl Iterator<Item = &String> {
    site.record.iter().flat_map(|record| &record.domains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Slot;
    use selvedge_model::{AccountId, DeploymentRecord, Share, WorkerRecord};

    const VERSION: &str = "0a1b2c3d-0000-4000-8000-000000000000";

    fn record(name: &str, routes: &[&str], domains: &[&str]) -> WorkerRecord {
        WorkerRecord {
            account: AccountId::local(),
            name: name.parse().unwrap(),
            subdomain: None,
            workers_dev: true,
            previews: true,
            aliases: Default::default(),
            deployment: Some(DeploymentRecord {
                id: String::new(),
                created_ms: 0,
                versions: vec![Share { version: VERSION.parse().unwrap(), basis_points: 10_000 }],
            }),
            routes: routes.iter().map(|route| (*route).to_owned()).collect(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            crons: vec![],
            tail_consumers: vec![],
        }
    }

    fn table(records: Vec<WorkerRecord>) -> Table {
        let mut table = Table::new("localhost".into(), None);
        for record in records {
            table.set(Arc::new(Site::of_record(record, None, |version| Slot::empty(version.as_str()))));
        }
        table
    }

    fn at(table: &Table, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        match table.find(scheme, host, path) {
            Found::Site(site) => site.key.worker.to_string(),
            Found::Preview { site, short } => format!("{} at {short}", site.key.worker),
            Found::Alias { site, version } => format!("{} as {}", site.key.worker, version.short()),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let table = table(vec![
            record("all", &["*example.com/*"], &[]),
            record("below", &["*.example.com/*"], &[]),
            record("api", &["example.com/api/*"], &[]),
            record("login", &["example.com/api/login"], &[]),
            record("secure", &["https://example.com/api/*"], &[]),
            record("deep", &["a.example.com/*"], &[]),
        ]);
        for (url, expected) in [
            ("http://example.com/", "all"),
            ("http://example.com/api/x", "api"),
            ("https://example.com/api/x", "secure"),
            ("http://example.com/api/login", "login"),
            ("http://example.com/api/login/x", "api"),
            ("http://a.example.com/", "deep"),
            ("http://b.example.com/", "below"),
            ("http://b.a.example.com/", "below"),
            ("http://myexample.com/", "nothing"),
            ("http://example.org/", "nothing"),
        ] {
            assert_eq!(at(&table, url), expected, "{url}");
        }
    }

    #[test]
    fn routes_come_before_custom_domains() {
        let table =
            table(vec![record("shop", &[], &["shop.example.com"]), record("cart", &["shop.example.com/cart/*"], &[])]);
        assert_eq!(at(&table, "http://shop.example.com/"), "shop");
        assert_eq!(at(&table, "http://shop.example.com/cart/1"), "cart");
    }

    #[test]
    fn versions_have_names_of_their_own() {
        let mut aliased = record("my-shop", &[], &[]);
        aliased.aliases.insert("beta".into(), VERSION.parse().unwrap());
        let mut closed = record("closed", &[], &[]);
        closed.previews = false;
        closed.workers_dev = false;
        let table = table(vec![aliased, closed, record("0a1b2c3d-my-shop", &[], &[])]);
        for (host, expected) in [
            ("my-shop.localhost", "my-shop"),
            ("beta-my-shop.localhost", "my-shop as 0a1b2c3d"),
            ("11112222-my-shop.localhost", "my-shop at 11112222"),
            // A worker's own name comes first.
            ("0a1b2c3d-my-shop.localhost", "0a1b2c3d-my-shop"),
            ("gamma-my-shop.localhost", "nothing"),
            ("closed.localhost", "nothing"),
            ("11112222-closed.localhost", "nothing"),
            ("localhost", "nothing"),
        ] {
            assert_eq!(at(&table, &format!("http://{host}/")), expected, "{host}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let records = || vec![record("one", &["example.com/*", "*.example.com/a"], &["one.example.org"])];
        let mut table = table(records());
        assert!(table.has_host("example.com") && table.has_host("x.example.com") && table.has_host("one.example.org"));
        table.remove(&WorkerKey::new(AccountId::local(), "one".parse().unwrap()));
        assert!(table.hosts.is_empty() && table.labels.is_empty() && table.sites.is_empty());
        assert!(!table.has_host("example.com"));
    }
}
