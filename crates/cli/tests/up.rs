//! `selvedge up` as a whole: what it makes at its first start, what survives, what serves where.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail where they find what they did not expect"
)]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::up::{Up, client};
use support::{PATIENCE, ask_host, collect};

fn saying(text: &str) -> String {
    format!("export default {{ fetch() {{ return new Response({text:?}); }} }};")
}

/// Asks until the answer is the one that is waited for.
fn until(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Where a platform that has just been started on that folder listens.
fn address_in(data: &Path, name: &str) -> SocketAddr {
    let mut address = None;
    until("it listens", || {
        let read = std::fs::read(data.join("addresses.json")).ok();
        let read: Option<Value> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        address = read.and_then(|read| read[name].as_str()?.parse().ok());
        address.is_some()
    });
    address.unwrap()
}

#[test]
fn the_first_start_makes_an_account_and_a_token_and_says_what_is_next() {
    let mut up = Up::start();
    until("what is next is printed", || up.output().contains("npx wrangler deploy"));
    let printed = up.output();
    assert!(printed.contains(&format!("export SELVEDGE_DATA={}", up.data.path().display())), "{printed}");
    assert!(printed.contains(&up.account) && printed.contains(&up.token), "{printed}");
    assert!(printed.contains("selvedge deploy") && printed.contains("CLOUDFLARE_API_BASE_URL"), "{printed}");
    for file in ["admin.token", "secrets.key"] {
        let mode = std::fs::metadata(up.data.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let verified = up.well("GET", "/user/tokens/verify", None);
    assert_eq!(verified["status"], "active");
    assert!(up.stop().success());
    let before = up.output().len();
    up.start_again();
    assert!(!up.output()[before..].contains(&up.token), "a token is shown once");
    up.well("GET", "/user/tokens/verify", None);
}

#[test]
fn what_the_api_acknowledged_is_what_the_edge_serves() {
    let up = Up::start();
    for round in 0..50 {
        let text = format!("round {round}");
        up.deploy("turns", &json!({}), &saying(&text));
        assert_eq!(up.get("turns", "/").text(), text);
    }
    up.well("DELETE", &up.script_path("turns"), None);
    assert_eq!(up.get("turns", "/").status, 404);
}

#[test]
fn what_was_acknowledged_survives_the_process() {
    let mut up = Up::start();
    for round in 0..3 {
        let worker = format!("round-{round}");
        up.deploy(
            &worker,
            &json!({ "bindings": [{ "type": "secret_text", "name": "S", "text": "s3cr3t" }] }),
            &format!("export default {{ fetch(_, env) {{ return new Response(env.S + {round}); }} }};"),
        );
        up.crash_and_restart();
        for earlier in 0..=round {
            let name = format!("round-{earlier}");
            until("the worker answers after the restart", || up.get(&name, "/").status == 200);
            assert_eq!(up.get(&name, "/").text(), format!("s3cr3t{earlier}"));
        }
    }
}

#[test]
fn an_edge_without_its_control_plane_serves_its_copy() {
    let mut up = Up::start();
    let secret = json!({ "bindings": [{ "type": "secret_text", "name": "S", "text": "still here" }] });
    up.deploy("kept", &secret, "export default { fetch(_, env) { return new Response(env.S); } };");
    assert_eq!(up.get("kept", "/").text(), "still here");
    assert!(up.stop().success());
    for folder in ["fabric", "control"] {
        std::fs::remove_dir_all(up.data.path().join(folder)).unwrap();
    }
    let mut alone = client(up.data.path())
        .args(["up", "--edge-only", "--http", "127.0.0.1:0", "--data"])
        .arg(up.data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let http = address_in(up.data.path(), "http");
    let answer = ask_host(http, "GET", "kept.localhost", "/", &[], &[]);
    alone.kill().unwrap();
    alone.wait().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "still here".to_owned()));
}

#[test]
fn shares_are_kept_and_clients_keep_their_version() {
    let up = Up::start();
    up.deploy("shop", &json!({}), &saying("old"));
    let old = up.well("GET", &format!("{}/deployments", up.script_path("shop")), None);
    let old = old["deployments"][0]["versions"][0]["version_id"].as_str().unwrap().to_owned();
    let new = up.upload_version("shop", &json!({}), &saying("new"));
    assert_eq!(up.get("shop", "/").text(), "old");
    up.share("shop", &[(&new, 30.0), (&old, 70.0)]);
    until("both serve", || {
        let seen: HashSet<String> = (0..20).map(|_| up.get("shop", "/").text()).collect();
        seen.len() == 2
    });
    let host = format!("shop.localhost:{}", up.http.port());
    let ask = |headers: &[(&str, &str)]| up.ask("GET", &host, "/", headers, &[]);
    let mut had = Vec::new();
    for client in 0..40 {
        let key = format!("client-{client}");
        let answers: HashSet<String> =
            (0..3).map(|_| ask(&[("cloudflare-workers-version-key", &key)]).text()).collect();
        assert_eq!(answers.len(), 1, "{key} met both");
        had.push(answers.into_iter().next().unwrap());
    }
    let first = ask(&[]);
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        let again = ask(&[("cookie", &cookie)]);
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("set-cookie"), None);
    }
    for (version, text) in [(&old, "old"), (&new, "new")] {
        let named = format!("shop=\"{version}\"");
        assert_eq!(ask(&[("cloudflare-workers-version-overrides", &named)]).text(), text);
    }
    up.share("shop", &[(&new, 80.0), (&old, 20.0)]);
    until("most meet the new one", || {
        let met = (0..40)
            .filter(|client| ask(&[("cloudflare-workers-version-key", &format!("client-{client}"))]).text() == "new");
        met.count() > 20
    });
    for (client, had) in had.iter().enumerate() {
        let key = format!("client-{client}");
        let now = ask(&[("cloudflare-workers-version-key", &key)]).text();
        assert!(!(had == "new" && now == "old"), "{key} went back");
    }
    up.share("shop", &[(&old, 100.0)]);
    until("the rollback serves", || (0..10).all(|_| up.get("shop", "/").text() == "old"));
}

#[test]
fn no_cache_gives_a_client_the_key_of_another() {
    // Says of caches what its query does.
    const SOURCE: &str = "export default { fetch(request) {
        const said = new URL(request.url).search.slice(1);
        return new Response('', { headers: said ? { 'cache-control': said } : {} });
    } };";
    let up = Up::start();
    up.deploy("shop", &json!({}), SOURCE);
    let old = up.well("GET", &format!("{}/deployments", up.script_path("shop")), None);
    let old = old["deployments"][0]["versions"][0]["version_id"].as_str().unwrap().to_owned();
    let new = up.upload_version("shop", &json!({}), &format!("{SOURCE} // new"));
    up.share("shop", &[(&new, 50.0), (&old, 50.0)]);
    until("clients get keys", || up.get("shop", "/").header("set-cookie").is_some());
    for (said, has_key) in [
        ("", true),
        ("no-store", true),
        ("private,max-age=600", true),
        // As files have it.
        ("public,max-age=0,must-revalidate", true),
        ("max-age=600", false),
        ("public", false),
        ("s-maxage=60", false),
    ] {
        let answer = up.get("shop", &format!("/?{said}"));
        assert_eq!(answer.header("set-cookie").is_some(), has_key, "{said}");
        let kept_back = answer.headers.iter().any(|(_, value)| value == "private=\"set-cookie\"");
        assert_eq!(kept_back, has_key && !said.starts_with("private") && said != "no-store", "{said}");
    }
}

#[test]
fn a_version_has_a_preview_before_it_is_deployed() {
    let up = Up::start();
    up.deploy("site", &json!({}), &saying("live"));
    let next = up.upload_version("site", &json!({ "annotations": { "workers/alias": "next" } }), &saying("next"));
    for name in [&next[..8], "next"] {
        let host = format!("{name}-site.localhost");
        until("the preview answers", || up.get_host(&host, "/").status == 200);
        assert_eq!(up.get_host(&host, "/").text(), "next");
    }
    assert_eq!(up.get("site", "/").text(), "live");
    assert_eq!(up.get_host("00000000-site.localhost", "/").status, 404);
}

#[test]
fn routes_and_custom_domains_lead_to_workers() {
    let up = Up::start();
    for worker in ["all", "api", "whole"] {
        up.deploy(worker, &json!({}), &saying(worker));
    }
    let routes = |worker: &str, patterns: &[&str]| {
        let body: Vec<Value> =
            patterns.iter().map(|pattern| json!({ "pattern": pattern, "zone_name": "example.com" })).collect();
        up.well("PUT", &format!("{}/routes", up.script_path(worker)), Some(&Value::from(body)));
    };
    routes("all", &["example.com/*", "*.example.com/*"]);
    routes("api", &["example.com/api/*"]);
    let domains = json!([{ "hostname": "whole.example.com", "zone_name": "example.com" }]);
    let path = format!("{}/domains/changeset?replace_state=true", up.script_path("whole"));
    up.well("POST", &path, Some(&domains));
    let records = json!({ "override_existing_dns_record": true, "origins": domains });
    up.well("PUT", &format!("{}/domains/records", up.script_path("whole")), Some(&records));
    for (host, path, text) in
        [("example.com", "/", "all"), ("example.com", "/api/x", "api"), ("www.example.com", "/api/x", "all")]
    {
        until("the route answers", || up.get_host(host, path).text() == text);
    }
    routes("all", &["example.com/*"]);
    until("the custom domain answers", || up.get_host("whole.example.com", "/").text() == "whole");
    until("the route is gone", || up.get_host("www.example.com", "/").status == 404);
}

#[test]
fn a_worker_on_a_route_reaches_the_custom_domain_behind_it_and_the_routes_of_other_zones() {
    let up = Up::start();
    // Says who it is, and what it is answered by where its query says, or else by what the request is for.
    let passing = |name: &str| {
        format!(
            "export default {{ async fetch(request) {{
                const to = new URL(request.url).searchParams.get('to') ?? request;
                return new Response('{name} ' + await (await fetch(to)).text());
            }} }};"
        )
    };
    up.deploy("api", &json!({}), &saying("api"));
    up.deploy("other", &json!({}), &saying("other"));
    up.deploy("auth", &json!({}), &passing("auth"));
    up.deploy("public", &json!({ "compatibility_flags": ["global_fetch_strictly_public"] }), &passing("public"));
    let domains = json!([{ "hostname": "api.example.com", "zone_name": "example.com" }]);
    let records = json!({ "override_existing_dns_record": true, "origins": domains });
    up.well("PUT", &format!("{}/domains/records", up.script_path("api")), Some(&records));
    until("the custom domain answers", || up.get_host("api.example.com", "/").text() == "api");
    for (worker, pattern) in
        [("other", "example.org/*"), ("auth", "api.example.com/auth*"), ("public", "api.example.com/public*")]
    {
        up.well("PUT", &format!("{}/routes", up.script_path(worker)), Some(&json!([{ "pattern": pattern }])));
    }
    until("the route of the other zone answers", || up.get_host("example.org", "/").text() == "other");
    for (path, text) in [
        ("/auth/x", "auth api"),
        ("/auth?to=http://api.example.com/auth/x", "auth api"),
        ("/auth?to=http://example.org/", "auth other"),
    ] {
        until("the worker before the domain reaches it", || up.get_host("api.example.com", path).text() == text);
    }
    // This one asks as a client does: it meets itself, up to the end of what one request may.
    until("the worker that meets itself is stopped", || {
        let text = up.get_host("api.example.com", "/public").text();
        text.starts_with("public public ") && text.contains("Too many Worker invocations")
    });
}

#[test]
fn a_platform_told_to_stop_answers_what_it_accepted() {
    let mut up = Up::start();
    let script = "export default { async fetch() { await scheduler.wait(3000); return new Response('done'); } };";
    up.deploy("slow", &json!({}), script);
    let address = up.http;
    let asked = std::thread::spawn(move || ask_host(address, "GET", "slow.localhost", "/", &[], &[]));
    let metrics = |up: &Up| ask_host(up.api, "GET", "localhost", "/metrics", &[], &[]).text();
    until("the request is under way", || {
        metrics(&up)
            .lines()
            .any(|line| line.starts_with("selvedge_") && line.contains("in_flight") && line.ends_with(" 1"))
    });
    assert!(up.stop().success());
    let answer = asked.join().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "done".to_owned()));
}

#[test]
fn health_readiness_and_metrics_are_told_to_anyone() {
    let up = Up::start();
    up.deploy("counted", &json!({}), &saying("one"));
    assert_eq!(up.get("counted", "/").status, 200);
    let ask = |path: &str| ask_host(up.api, "GET", "localhost", path, &[], &[]);
    assert_eq!(ask("/healthz").status, 200);
    until("it is ready", || ask("/readyz").status == 200);
    until("the request is counted", || {
        let text = ask("/metrics").text();
        text.lines().any(|line| line.starts_with("selvedge_events_total") && line.contains("outcome=\"ok\""))
    });
}

#[test]
fn a_tail_worker_is_told_what_became_of_events() {
    let up = Up::start();
    up.deploy(
        "listener",
        &json!({}),
        "let told = []; export default { fetch() { return Response.json(told); }, tail(events) { told.push(...events); } };",
    );
    up.deploy(
        "speaker",
        &json!({ "tail_consumers": [{ "service": "listener" }] }),
        "export default { fetch(request) { console.log('said', { a: 1 }); throw new RangeError('too far'); } };",
    );
    assert_eq!(up.get("speaker", "/x?y=1").status, 500);
    let mut told = Value::Null;
    until("the listener is told", || {
        told = up.get("listener", "/").json();
        told.as_array().is_some_and(|told| !told.is_empty())
    });
    let event = &told[0];
    assert_eq!(event["scriptName"], "speaker");
    assert_eq!(event["outcome"], "exception");
    assert_eq!(event["exceptions"][0]["name"], "RangeError");
    assert_eq!(event["logs"][0]["message"], json!(["said", { "a": 1 }]));
    assert!(event["event"]["request"]["url"].as_str().unwrap().ends_with("/x?y=1"));
}

/// A tail worker that keeps what it is told, and what each request was before it was redacted.
const LISTENER: &str = "const heard = [];
    const all = ({ url, method, headers, cf }) => ({ url, method, headers, cf });
    export default {
        fetch() { return Response.json(heard); },
        tail(events) {
            for (const item of events) heard.push({ item, unredacted: all(item.event.request.getUnredacted()) });
        },
    };";

#[test]
fn a_tail_shows_no_credentials_and_a_tail_worker_may_have_them() {
    let up = Up::start();
    up.deploy("listener", &json!({}), LISTENER);
    let metadata = json!({
        "tail_consumers": [{ "service": "listener" }],
        "tags": ["team:looms"],
        "annotations": { "workers/tag": "v1", "workers/message": "the first" },
        "compatibility_flags": ["nodejs_compat"],
    });
    let source = "import { channel } from 'node:diagnostics_channel';
        export default { fetch() { channel('threads').publish({ count: 2 }); return new Response('spoke'); } };";
    up.deploy("speaker", &metadata, source);
    let mut tail = up.client(up.data.path());
    let mut tail = tail.args(["tail", "speaker"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (shown, said) = <(Arc<Mutex<String>>, Arc<Mutex<String>>)>::default();
    collect(tail.stdout.take().unwrap(), Arc::clone(&shown));
    collect(tail.stderr.take().unwrap(), Arc::clone(&said));
    until("the tail is connected", || said.lock().unwrap().contains("following"));

    let key = "0123456789abcdef0123456789abcdef";
    let headers = [
        ("authorization", "Bearer opensesame"),
        ("cookie", "session=opensesame"),
        ("proxy-authorization", "Basic opensesame"),
        ("x-kind", "plain"),
    ];
    let host = format!("speaker.localhost:{}", up.http.port());
    assert_eq!(up.ask("GET", &host, &format!("/doors/{key}?a=1"), &headers, &[]).text(), "spoke");

    // An event is a line.
    until("the tail shows it", || shown.lock().unwrap().contains('\n'));
    tail.kill().unwrap();
    tail.wait().unwrap();
    let shown = shown.lock().unwrap().clone();
    assert!(!shown.contains("opensesame") && !shown.contains(key), "{shown}");
    let shown: Value = serde_json::from_str(shown.trim()).unwrap();
    assert_eq!(shown.get("unredacted"), None);
    let mut heard = Value::Null;
    until("the tail worker is told", || {
        heard = up.get("listener", "/").json()[0].clone();
        !heard.is_null()
    });
    let item = &heard["item"];
    assert!(!item.to_string().contains("opensesame") && !item.to_string().contains(key), "{item}");
    for told in [item, &shown] {
        let request = &told["event"]["request"];
        assert_eq!(request["url"], format!("http://{host}/doors/REDACTED?a=1"));
        assert_eq!(request["headers"]["authorization"], "REDACTED");
        assert_eq!(request["headers"]["cookie"], "REDACTED");
        assert_eq!(request["headers"]["x-kind"], "plain");
        assert_eq!(told["event"]["response"]["status"], 200);
        let version = &told["scriptVersion"];
        assert_eq!((&version["tag"], &version["message"]), (&json!("v1"), &json!("the first")));
        assert_eq!(told["scriptTags"], json!(["team:looms"]));
        assert_eq!(told["executionModel"], "stateless");
        let published = &told["diagnosticsChannelEvents"][0];
        assert_eq!((&published["channel"], &published["message"]), (&json!("threads"), &json!({ "count": 2 })));
    }
    let unredacted = &heard["unredacted"];
    assert_eq!(unredacted["url"], format!("http://{host}/doors/{key}?a=1"));
    assert_eq!(unredacted["headers"]["authorization"], "Bearer opensesame");
    assert_eq!(unredacted["headers"]["cookie"], "session=opensesame");
    assert_eq!(unredacted["headers"]["x-kind"], "plain");
    // What is for the edge alone the worker was not given either.
    assert_eq!(unredacted["headers"].get("proxy-authorization"), None);
    assert_eq!((&unredacted["method"], &unredacted["cf"]), (&json!("GET"), &item["event"]["request"]["cf"]));
    assert!(!up.output().contains("opensesame"), "the platform does not log them");
}

#[test]
fn a_rate_limit_counts_by_key() {
    let up = Up::start();
    let binding =
        json!({ "type": "ratelimit", "name": "RL", "namespace_id": "1", "simple": { "limit": 3, "period": 60 } });
    up.deploy(
        "limited",
        &json!({ "bindings": [binding] }),
        "export default { async fetch(request, env) {
            const { success } = await env.RL.limit({ key: new URL(request.url).pathname });
            return new Response(success ? 'yes' : 'no');
        } };",
    );
    let answers = |path: &str| (0..5).map(|_| up.get("limited", path).text()).collect::<Vec<_>>();
    assert_eq!(answers("/a"), ["yes", "yes", "yes", "no", "no"]);
    assert_eq!(answers("/b")[0], "yes");
}

#[test]
fn a_version_has_limits_of_its_own_and_the_log_says_which_went_over_one_and_where() {
    const SCRIPT: &str = "export default { async fetch(request) {
        if (request.url.endsWith('/spin')) for (;;);
        try {
            for (let asked = 0; asked < 4; asked++) await caches.default.match('https://loom.test/');
            return new Response('all');
        } catch (error) {
            return new Response(`${error}`);
        }
    } };";
    let up = Up::start();
    let limits = json!({ "cpu_ms": 60, "subrequests": 4 });
    let deployed = up.deploy("bounded", &json!({ "limits": limits }), SCRIPT);
    assert_eq!(up.get("bounded", "/").text(), "all");
    // A client that changes a version sends back what it was told of it.
    let settings = up.well("GET", &format!("{}/settings", up.script_path("bounded")), None);
    assert_eq!(settings["limits"], limits);
    let spun = up.get("bounded", "/spin");
    assert_eq!(spun.status, 503, "{}", spun.text());
    assert!(spun.text().contains("allowed 60"), "{}", spun.text());
    let version = deployed["deployment_id"].as_str().unwrap();
    until("it is logged", || {
        let output = up.output();
        let line = output.lines().find(|line| line.contains("exceeded a limit"));
        line.is_some_and(|line| line.contains(version) && line.contains("index.js:2:"))
    });

    up.deploy("bounded", &json!({ "limits": { "subrequests": 3 } }), SCRIPT);
    let answer = up.get("bounded", "/").text();
    assert!(answer.contains("subrequests limit exceeded: used 4, allowed 3"), "{answer}");
}

#[test]
fn a_cron_trigger_runs_once_for_its_minute() {
    let up = Up::start();
    up.deploy(
        "clock",
        &json!({}),
        "let runs = []; export default {
            fetch() { return Response.json(runs); },
            scheduled(controller) { runs.push({ cron: controller.cron, time: controller.scheduledTime }); },
        };",
    );
    up.well("PUT", &format!("{}/schedules", up.script_path("clock")), Some(&json!([{ "cron": "* * * * *" }])));
    let mut runs = Value::Null;
    let began = Instant::now();
    // A minute, and some.
    while runs.as_array().is_none_or(Vec::is_empty) {
        assert!(began.elapsed() < 2 * PATIENCE, "it never ran");
        std::thread::park_timeout(Duration::from_millis(200));
        runs = up.get("clock", "/").json();
    }
    assert_eq!(runs.as_array().unwrap().len(), 1);
    assert_eq!(runs[0]["cron"], "* * * * *");
    assert_eq!(runs[0]["time"].as_u64().unwrap() % 60_000, 0);
}
