//! Which worker answers where. A look-up costs the same however many workers there are: it follows the labels of the host
//! and the lengths of path patterns, never a list of workers.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use selvedge_model::{AccountId, HostWildcard, RoutePattern, RouteScheme, VersionId, WorkerKey};

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
    /// None: less specific routes do not count here.
    worker: Option<WorkerKey>,
}

/// The routes of one host and one kind of wildcard, by path.
#[derive(Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<Leads>>,
    /// Those that end with `*`, longest first.
    open: BTreeMap<Reverse<usize>, HashMap<Box<str>, Vec<Leads>>>,
    /// How many of them lead to a worker.
    leading: usize,
}

/// What a request asks for, as patterns see it.
#[derive(Clone, Copy)]
struct Requested<'a> {
    path: &'a str,
    /// Then only patterns that end with `*` match: a query belongs to what is compared, and none may name one.
    /// <https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior>
    has_query: bool,
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
    /// The zones in which a worker has routes or custom domains, where it has any.
    zones: HashMap<WorkerKey, HashSet<Box<str>>>,
    /// The routes of accounts that lead to no worker.
    exclusions: HashMap<AccountId, Vec<RoutePattern>>,
}

// === impl Paths ===

impl Paths {
    fn add(&mut self, pattern: &RoutePattern, worker: Option<&WorkerKey>) {
        let by_path = if pattern.path_open() {
            self.open.entry(Reverse(pattern.path().len())).or_default()
        } else {
            &mut self.exact
        };
        let leads = Leads { scheme: pattern.scheme(), worker: worker.cloned() };
        by_path.entry(pattern.path().into()).or_default().push(leads);
        self.leading += usize::from(worker.is_some());
    }

    /// Looks at nothing but the pattern's own place: a host may have thousands of others.
    fn remove(&mut self, pattern: &RoutePattern, worker: Option<&WorkerKey>) {
        let length = Reverse(pattern.path().len());
        let removed = if !pattern.path_open() {
            take_out(&mut self.exact, pattern, worker)
        } else if let Some(by_path) = self.open.get_mut(&length) {
            let removed = take_out(by_path, pattern, worker);
            if by_path.is_empty() {
                self.open.remove(&length);
            }
            removed
        } else {
            false
        };
        self.leading -= usize::from(removed && worker.is_some());
    }

    /// The most specific route.
    fn find(&self, scheme: &str, path: Requested<'_>) -> Option<&Leads> {
        let wanted = if scheme == "https" { RouteScheme::Https } else { RouteScheme::Http };
        let Requested { path, has_query } = path;
        let exact = self.exact.get(path).filter(|_| !has_query).into_iter();
        let open = self.open.iter().filter_map(|(Reverse(length), by_path)| by_path.get(path.get(..*length)?));
        exact.chain(open).find_map(|leads| {
            let of = |scheme| leads.iter().find(|leads| leads.scheme == scheme);
            of(wanted).or_else(|| of(RouteScheme::Any))
        })
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.open.is_empty()
    }
}

/// Gives whether it was there.
fn take_out(by_path: &mut HashMap<Box<str>, Vec<Leads>>, pattern: &RoutePattern, worker: Option<&WorkerKey>) -> bool {
    let Some(leads) = by_path.get_mut(pattern.path()) else {
        return false;
    };
    let same = |leads: &Leads| leads.worker.as_ref() == worker && leads.scheme == pattern.scheme();
    // One of them: a pattern without a worker may have been given to another account before it is taken from this.
    let at = leads.iter().position(same);
    if let Some(at) = at {
        leads.remove(at);
    }
    if leads.is_empty() {
        by_path.remove(pattern.path());
    }
    at.is_some()
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
        Self {
            domain,
            default,
            sites: HashMap::new(),
            labels: HashMap::new(),
            hosts: HashMap::new(),
            zones: HashMap::new(),
            exclusions: HashMap::new(),
        }
    }

    /// Puts a worker in, in the place of what it was before, which this gives.
    pub fn set(&mut self, site: Arc<Site>) -> Option<Arc<Site>> {
        let before = self.remove(&site.key);
        if let Some(label) = label(&site) {
            self.labels.insert(label.into(), Arc::clone(&site));
        }
        for pattern in routes(&site) {
            let host = self.hosts.entry(pattern.host().into()).or_default();
            host.paths(pattern.wildcard()).add(&pattern, Some(&site.key));
        }
        for domain in domains(&site) {
            self.hosts.entry(domain.as_str().into()).or_default().domain = Some(site.key.clone());
        }
        let zones = zones(&site);
        if !zones.is_empty() {
            self.zones.insert(site.key.clone(), zones);
        }
        self.sites.insert(site.key.clone(), site);
        before
    }

    /// Takes a worker out.
    pub fn remove(&mut self, key: &WorkerKey) -> Option<Arc<Site>> {
        let site = self.sites.remove(key)?;
        self.zones.remove(key);
        // Another account's worker may have the name by now: changes arrive in no order among accounts.
        if let Some(label) = label(&site)
            && self.labels.get(label.as_str()).is_some_and(|named| named.key == *key)
        {
            self.labels.remove(label.as_str());
        }
        for pattern in routes(&site) {
            self.change_host(pattern.host(), |host| host.paths(pattern.wildcard()).remove(&pattern, Some(key)));
        }
        for domain in domains(&site) {
            self.change_host(domain, |host| host.domain = host.domain.take().filter(|worker| worker != key));
        }
        Some(site)
    }

    /// Puts an account's routes that lead to no worker in the place of those it had.
    pub fn set_exclusions(&mut self, account: &AccountId, patterns: Vec<RoutePattern>) {
        for pattern in self.exclusions.remove(account).into_iter().flatten() {
            self.change_host(pattern.host(), |host| host.paths(pattern.wildcard()).remove(&pattern, None));
        }
        for pattern in &patterns {
            let host = self.hosts.entry(pattern.host().into()).or_default();
            host.paths(pattern.wildcard()).add(pattern, None);
        }
        if !patterns.is_empty() {
            self.exclusions.insert(account.clone(), patterns);
        }
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

    /// What answers at a host (in lower case, without a port) and path (with its query, if it has one). Routes come
    /// first, then custom domains, as on the platform; then the names that every worker has.
    ///
    /// `asker` is the worker that asks, and none for a client: to a worker, routes of its own zones do not count, so that
    /// it reaches what is behind them
    /// (<https://developers.cloudflare.com/workers/configuration/routing/routes/>: "Routes cannot be the target of a
    /// same-zone `fetch()` call").
    pub fn find(&self, asker: Option<&WorkerKey>, scheme: &str, host: &str, target: &str) -> Found {
        if let Some(site) = self.routed(asker, scheme, host, target).and_then(|key| self.sites.get(key)) {
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

    /// Whether what is found there was given this host: as a name below the domain, or as a route or a custom domain of
    /// `account`. Whoever names a domain first holds it, though it may be somebody else's: what other accounts send there,
    /// their credentials with it, goes to where DNS says. `asker` as for [`Table::find`].
    pub fn serves(
        &self,
        account: &AccountId,
        asker: Option<&WorkerKey>,
        scheme: &str,
        host: &str,
        target: &str,
    ) -> bool {
        match self.routed(asker, scheme, host, target).filter(|key| self.sites.contains_key(*key)) {
            Some(key) => key.account == *account,
            None => self.label_of(host).is_some() && !matches!(self.find(asker, scheme, host, target), Found::Nothing),
        }
    }

    /// Whether somebody gave exactly this host to a worker. What only a wildcard stands for is not among them, nor are the
    /// previews of single versions: anybody can make up such a name.
    pub fn has_host(&self, host: &str) -> bool {
        let named = self.label_of(host).is_some_and(|label| {
            self.labels.get(label).is_some_and(is_open) || matches!(self.preview(label), Found::Alias { .. })
        });
        let given = |found: &Host| found.domain.is_some() || found.exact.leading > 0 || found.all.leading > 0;
        named || self.hosts.get(host).is_some_and(given)
    }

    /// The worker of the most specific route; where there is no route, one without a worker or one that does not count for
    /// `asker`, of the custom domain.
    fn routed(&self, asker: Option<&WorkerKey>, scheme: &str, host: &str, target: &str) -> Option<&WorkerKey> {
        if self.hosts.is_empty() {
            return None;
        }
        let behind = asker.is_some_and(|asker| self.has_zone_of(asker, host));
        let route = if behind { None } else { self.route(scheme, host, target) };
        route.and_then(|leads| leads.worker.as_ref()).or_else(|| self.hosts.get(host)?.domain.as_ref())
    }

    /// Whether the worker has a route or a custom domain in the zone of a host.
    fn has_zone_of(&self, worker: &WorkerKey, host: &str) -> bool {
        self.zones.get(worker).is_some_and(|zones| zone(host).is_some_and(|zone| zones.contains(zone)))
    }

    /// The most specific route.
    fn route(&self, scheme: &str, host: &str, target: &str) -> Option<&Leads> {
        let (path, has_query) = target.split_once('?').map_or((target, false), |(path, _)| (path, true));
        let path = resolved(path);
        let path = Requested { path: &path, has_query };
        let found = self.hosts.get(host);
        let itself = found.and_then(|host| host.exact.find(scheme, path).or_else(|| host.all.find(scheme, path)));
        itself.or_else(|| self.wildcard(scheme, host, path))
    }

    /// The most specific route of a host above this one.
    fn wildcard(&self, scheme: &str, host: &str, path: Requested<'_>) -> Option<&Leads> {
        let mut above = std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, rest)| rest)).skip(1);
        above.find_map(|name| {
            let found = self.hosts.get(name)?;
            found.below.find(scheme, path).or_else(|| found.all.find(scheme, path))
        })
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

/// The path as the worker's URL will have it: with a slash before it, dot segments resolved, backslashes turned. A route
/// that compared another path than the one its worker sees could be led round.
fn resolved(path: &str) -> Cow<'_, str> {
    if !path.starts_with('/') {
        // `*`, and by HTTP/2 and HTTP/3 also a query alone.
        return Cow::Owned(resolved(&format!("/{path}")).into_owned());
    }
    if !path.contains("/.") && !path.contains("/%2") && !path.contains('\\') {
        return Cow::Borrowed(path);
    }
    let mut kept = Vec::new();
    let mut ends_with_slash = false;
    for segment in path.split(['/', '\\']).skip(1) {
        ends_with_slash = true;
        match segment.to_ascii_lowercase().as_str() {
            "." | "%2e" => {}
            ".." | ".%2e" | "%2e." | "%2e%2e" => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                ends_with_slash = false;
            }
        }
    }
    let slash = if ends_with_slash { "/" } else { "" };
    Cow::Owned(kept.into_iter().flat_map(|segment| ["/", segment]).chain([slash]).collect())
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

/// The zones in which a worker has routes or custom domains.
fn zones(site: &Site) -> HashSet<Box<str>> {
    let routes = routes(site);
    let hosts = routes.iter().map(RoutePattern::host).chain(domains(site).map(String::as_str));
    hosts.filter_map(zone).map(Into::into).collect()
}

/// The zone of a host, as the control plane has them: the domain that somebody can register.
fn zone(host: &str) -> Option<&str> {
    psl::domain_str(host)
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
            tags: vec![],
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
        match table.find(None, scheme, host, path) {
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
    fn a_query_is_matched_by_a_wildcard_alone() {
        let table = table(vec![
            record("cat", &["example.com/images/cat.png"], &[]),
            record("images", &["example.com/images/*"], &[]),
        ]);
        for (url, expected) in [
            ("http://example.com/images/cat.png", "cat"),
            ("http://example.com/images/cat.png?foo=bar", "images"),
            ("http://example.com/images/cat.png?", "images"),
            ("http://example.com/images/?a/../b", "images"),
            ("http://example.com/?/images/cat.png", "nothing"),
        ] {
            assert_eq!(at(&table, url), expected, "{url}");
        }
    }

    #[test]
    fn a_route_without_a_worker_takes_less_specific_ones_away() {
        let mut table = table(vec![
            record("images", &["*example.com/images/*"], &[]),
            record("deep", &["example.com/images/raw/*"], &[]),
            record("shop", &["*.example.org/*"], &["shop.example.org"]),
        ]);
        let account = AccountId::local();
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<RoutePattern>>();
        table.set_exclusions(&account, patterns(&["*example.com/images/cat.png", "https://example.com/images/a*"]));
        for (url, expected) in [
            ("http://example.com/images/cat.png", "nothing"),
            ("http://www.example.com/images/cat.png", "nothing"),
            ("http://example.com/images/cat.png?foo=bar", "images"),
            ("http://example.com/images/dog.png", "images"),
            ("http://example.com/images/a", "images"),
            ("https://example.com/images/a", "nothing"),
            ("http://example.com/images/raw/cat.png", "deep"),
        ] {
            assert_eq!(at(&table, url), expected, "{url}");
        }
        // A custom domain is what is behind the routes.
        table.set_exclusions(&account, patterns(&["shop.example.org/plain"]));
        assert_eq!(at(&table, "http://shop.example.org/plain"), "shop");
        assert_eq!(at(&table, "http://example.com/images/cat.png"), "images");
        table.set_exclusions(&account, Vec::new());
        assert!(table.exclusions.is_empty());
    }

    #[test]
    fn a_route_compares_the_path_that_its_worker_sees() {
        let table = table(vec![record("all", &["example.com/*"], &[]), record("admin", &["example.com/admin/*"], &[])]);
        for (path, expected) in [
            ("/admin/", "admin"),
            ("/x/../admin/", "admin"),
            ("/x/%2E./admin/", "admin"),
            ("/./admin/.", "admin"),
            ("/x\\..\\admin\\a", "admin"),
            ("/admin/..", "all"),
            ("/admin/../../..", "all"),
            ("/admin/../x", "all"),
            ("/admin.", "all"),
        ] {
            assert_eq!(at(&table, &format!("http://example.com{path}")), expected, "{path}");
        }
        for target in ["*", "?x", "?x/admin/", ""] {
            let Found::Site(site) = table.find(None, "http", "example.com", target) else {
                panic!("nothing at {target}")
            };
            assert_eq!(site.key.worker.as_str(), "all", "{target}");
        }
        for (path, seen) in [
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/a//../b", "/a/b"),
            ("/...", "/..."),
            ("/%2e%2E/%2F", "/%2F"),
            ("/a\\b/", "/a/b/"),
            ("*", "/*"),
            ("", "/"),
        ] {
            assert_eq!(resolved(path), seen, "{path}");
            if path.starts_with('/') {
                assert_eq!(url::Url::parse(&format!("http://h{path}")).unwrap().path(), seen, "{path}");
            }
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
            assert_eq!(table.serves(&AccountId::local(), None, "http", host, "/"), expected != "nothing", "{host}");
        }
    }

    #[test]
    fn a_host_that_nobody_was_given_is_not_served_here() {
        let default = WorkerKey::new(AccountId::local(), "shop".parse().unwrap());
        let mut table = Table::new("localhost".into(), Some(default));
        table.set(Arc::new(Site::of_record(
            record("shop", &["example.com/api/*"], &["shop.example"]),
            None,
            |version| Slot::empty(version.as_str()),
        )));
        let other: AccountId = "b".repeat(32).parse().unwrap();
        for (host, target, for_itself, for_others) in [
            ("example.com", "/api/x", true, false),
            ("example.com", "/", false, false),
            ("shop.example", "/", true, false),
            ("shop.localhost", "/", true, true),
            ("elsewhere.example", "/", false, false),
            ("localhost", "/", false, false),
        ] {
            assert_eq!(table.serves(&AccountId::local(), None, "http", host, target), for_itself, "{host}{target}");
            assert_eq!(table.serves(&other, None, "http", host, target), for_others, "{host}{target}");
        }
    }

    #[test]
    fn a_name_that_moved_to_another_account_stays_there() {
        let of = |account: &str, subdomain: &str| WorkerRecord {
            account: account.parse().unwrap(),
            subdomain: Some(subdomain.to_owned()),
            ..record("shop", &[], &[])
        };
        let (one, other) = ("1".repeat(32), "2".repeat(32));
        let mut table = table(vec![of(&one, "acme")]);
        let site = |record| Arc::new(Site::of_record(record, None, |version| Slot::empty(version.as_str())));
        table.set(site(of(&other, "acme")));
        table.set(site(of(&one, "former")));
        for (host, account) in [("shop.acme.localhost", &other), ("shop.former.localhost", &one)] {
            let Found::Site(site) = table.find(None, "http", host, "/") else { panic!("nothing at {host}") };
            assert_eq!(site.key.account.as_str(), account, "{host}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut table = table(vec![record("one", &["example.com/*", "*.example.com/a"], &["one.example.org"])]);
        assert!(table.has_host("example.com") && table.has_host("one.example.org"));
        table.remove(&WorkerKey::new(AccountId::local(), "one".parse().unwrap()));
        assert!(table.hosts.is_empty() && table.labels.is_empty() && table.sites.is_empty() && table.zones.is_empty());
        assert!(!table.has_host("example.com"));
    }

    #[test]
    fn a_worker_reaches_what_is_behind_the_routes_of_its_own_zones() {
        let table = table(vec![
            record("auth", &["api.example.com/auth*"], &[]),
            record("api", &[], &["api.example.com"]),
            record("site", &["*.example.com/*", "shop.example.co.uk/*"], &[]),
            record("plain", &[], &[]),
        ]);
        let found = |asker: &str, host: &str, target: &str| {
            let asker = WorkerKey::new(AccountId::local(), asker.parse().unwrap());
            let served = table.serves(&AccountId::local(), Some(&asker), "https", host, target);
            let found = match table.find(Some(&asker), "https", host, target) {
                Found::Site(site) => site.key.worker.to_string(),
                _ => "nothing".to_owned(),
            };
            assert_eq!(served, found != "nothing", "{asker} at {host}{target}");
            found
        };
        for (asker, host, target, expected) in [
            ("auth", "api.example.com", "/auth/x", "api"),
            ("api", "api.example.com", "/auth/x", "api"),
            ("site", "api.example.com", "/auth/x", "api"),
            // Nothing is behind this route.
            ("auth", "www.example.com", "/", "nothing"),
            ("site", "shop.example.co.uk", "/", "nothing"),
            // Other zones than the asker's.
            ("auth", "shop.example.co.uk", "/", "site"),
            ("plain", "api.example.com", "/auth/x", "auth"),
            ("plain", "www.example.com", "/", "site"),
            // What every worker has is no route.
            ("auth", "site.localhost", "/", "site"),
            ("auth", "auth.localhost", "/", "auth"),
        ] {
            assert_eq!(found(asker, host, target), expected, "{asker} at {host}{target}");
        }
        // Under the same public suffix is not in the same zone.
        let asker = WorkerKey::new(AccountId::local(), "site".parse().unwrap());
        assert!(!table.has_zone_of(&asker, "other.co.uk") && table.has_zone_of(&asker, "example.co.uk"));
    }

    #[test]
    fn a_host_is_given_by_its_whole_name_alone() {
        let mut aliased = record("shop", &["example.com/a", "https://example.com/*"], &["one.example.org"]);
        aliased.aliases.insert("beta".into(), VERSION.parse().unwrap());
        let mut table =
            table(vec![aliased, record("below", &["*.example.com/*"], &[]), record("all", &["*example.net/*"], &[])]);
        let exclusions = ["excluded.example.com/*", "*excluded.example.net/*"];
        table.set_exclusions(&AccountId::local(), exclusions.iter().map(|text| text.parse().unwrap()).collect());
        for (host, given) in [
            ("shop.localhost", true),
            ("beta-shop.localhost", true),
            ("11112222-shop.localhost", false),
            ("example.com", true),
            ("one.example.org", true),
            ("example.net", true),
            ("made-up.example.com", false),
            ("made-up.example.net", false),
            ("excluded.example.com", false),
            ("excluded.example.net", false),
        ] {
            assert_eq!(table.has_host(host), given, "{host}");
        }
        table.set(Arc::new(Site::of_record(record("shop", &["example.com/a"], &[]), None, |version| {
            Slot::empty(version.as_str())
        })));
        assert!(table.has_host("example.com"), "one of two routes is left");
        table.remove(&WorkerKey::new(AccountId::local(), "shop".parse().unwrap()));
        assert!(!table.has_host("example.com"));
    }
}
