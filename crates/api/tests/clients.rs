//! What unmodified clients ask for beyond what there is, and what they are told of it: so that they go on, or say why not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http_body_util::Full;
use serde_json::{Value, json};
use support::{Form, Platform, Reply};

/// What is refused because it is not here, in clear words.
fn absent(reply: &Reply, status: u16, word: &str) {
    assert_eq!(reply.refused(status), 10015, "{}", reply.text());
    let text = reply.text();
    assert!(text.contains("is not available yet on this platform") && text.contains(word), "{word}: {text}");
}

#[tokio::test]
async fn services_that_are_not_here_are_named_to_who_may_ask() {
    let platform = Platform::start().await;
    let stranger_account = platform.make_account("stranger").await;
    let (_, stranger) = platform.make_token(&stranger_account, &["workers:read", "workers:write"], None).await;
    let before = platform.log_end().await;
    for (method, path, status, word) in [
        // As what the token may not do: a deploy then goes on without them.
        ("GET", "/workers/dispatch/namespaces", 403, "dispatch namespaces"),
        ("POST", "/workers/dispatch/namespaces", 403, "dispatch namespaces"),
        ("GET", "/workers/dispatch/namespaces/n/scripts/w", 403, "dispatch namespaces"),
        ("GET", "/ai-search/namespaces/n", 403, "AI Search"),
        ("POST", "/ai-search/namespaces", 403, "AI Search"),
        ("GET", "/agent-memory/namespaces/n", 403, "Agent Memory"),
        ("GET", "/flagship/apps", 403, "Flagship"),
        ("PUT", "/triggers/w", 400, "trigger"),
        ("POST", "/email/routing/rules/plan", 400, "email"),
        ("GET", "/workers/subdomain/edge-preview", 400, "--remote"),
        ("GET", "/workers/scripts/w/subdomain/edge-preview", 400, "--remote"),
        ("POST", "/workers/scripts/w/edge-preview", 400, "--remote"),
        ("POST", "/hyperdrive/configs", 400, "Hyperdrive"),
        ("GET", "/vectorize/v2/indexes", 400, "Vectorize"),
        ("GET", "/workflows/f/versions", 400, "workflow"),
        ("PATCH", "/r2/buckets/b-1", 400, "R2"),
        ("GET", "/r2/buckets/b-1/lifecycle", 400, "R2"),
        ("GET", "/workers/workers/w/previews/main", 400, "preview"),
        ("POST", "/workers/workers", 400, "preview"),
        ("GET", "/pages/projects", 400, "Pages"),
        ("GET", "/secrets_store/stores", 400, "Secrets Store"),
        ("GET", "/containers/me", 400, "containers"),
    ] {
        let path = platform.path(path);
        absent(&platform.json(method, &path, json!({})).await, status, word);
        for token in [None, Some("slv_wrong")] {
            let told = platform.json_as(method, &path, token, json!({})).await;
            assert_eq!(told.refused(401), 10000, "{method} {path}");
        }
        let told = platform.json_as(method, &path, Some(&stranger), json!({})).await;
        assert_eq!(told.refused(403), 10000, "{method} {path}");
        assert!(!told.text().contains("not available"), "{}", told.text());
    }
    let zone = "/client/v4/zones/0123456789abcdef0123456789abcdef/email/routing";
    absent(&platform.get(zone).await, 400, "email");
    assert_eq!(platform.json_as("GET", zone, None, json!({})).await.refused(401), 10000);
    assert_eq!(platform.log_end().await, before);
}

#[tokio::test]
async fn a_bucket_of_another_jurisdiction_is_not_the_one_of_that_name() {
    let platform = Platform::start().await;
    let buckets = platform.path("/r2/buckets");
    let bucket = format!("{buckets}/b-1");
    let ask = |method: &str, path: &str, jurisdiction: &str| {
        let request = platform.request(method, path, Some(&platform.token)).header("cf-r2-jurisdiction", jurisdiction);
        platform.send(request.body(Full::from(json!({ "name": "b-1" }).to_string())).unwrap())
    };
    absent(&ask("POST", &buckets, "eu").await, 400, "eu");
    assert_eq!(platform.get(&buckets).await.result()["buckets"], json!([]));
    ask("POST", &buckets, "default").await.result();
    for (method, path) in [("GET", &buckets), ("GET", &bucket), ("DELETE", &bucket), ("POST", &buckets)] {
        absent(&ask(method, path, "eu").await, 400, "eu");
    }
    assert_eq!(ask("GET", &bucket, "default").await.result()["jurisdiction"], "default");
    ask("DELETE", &bucket, "default").await.result();
    assert_eq!(platform.get(&bucket).await.refused(404), 10006);
}

#[tokio::test]
async fn a_jurisdiction_is_shown_and_stays() {
    let platform = Platform::start().await;
    platform.put_script("w", json!({})).await.result();
    let workflow = |jurisdiction: Option<&str>| {
        let mut workflow = json!({ "script_name": "w", "class_name": "F", "limits": { "steps": 5 } });
        if let Some(jurisdiction) = jurisdiction {
            workflow["jurisdiction"] = jurisdiction.into();
        }
        workflow
    };
    let (kept, plain) = (platform.path("/workflows/kept"), platform.path("/workflows/plain"));
    for jurisdiction in [Some("eu"), Some("eu"), None] {
        platform.json("PUT", &kept, workflow(jurisdiction)).await.result();
        assert_eq!(platform.get(&kept).await.result()["jurisdiction"], "eu", "after {jurisdiction:?}");
    }
    platform.json("PUT", &plain, workflow(None)).await.result();
    assert!(platform.get(&plain).await.result().get("jurisdiction").is_none());
    for (path, jurisdiction) in [(&kept, "us"), (&plain, "eu")] {
        assert_eq!(platform.json("PUT", path, workflow(Some(jurisdiction))).await.refused(400), 10209, "{path}");
    }
    platform.json("DELETE", &kept, json!({})).await.result();
    platform.json("PUT", &kept, workflow(Some("us"))).await.result();
    // Who may not read may still say what there is to be.
    let (_, writer) = platform.make_token(&platform.account, &["workers:write"], None).await;
    platform.json_as("PUT", &plain, Some(&writer), workflow(None)).await.result();

    let databases = platform.path("/d1/database");
    platform.json("POST", &databases, json!({ "name": "db", "jurisdiction": "eu" })).await.result();
    platform.json("POST", &databases, json!({ "name": "other" })).await.result();
    assert_eq!(platform.get(&format!("{databases}/db")).await.result()["jurisdiction"], "eu");
    assert!(platform.get(&format!("{databases}/other")).await.result().get("jurisdiction").is_none());
}

#[tokio::test]
async fn bindings_of_all_of_wranglers_types_are_kept() {
    let platform = Platform::start().await;
    // All of which no more is said than their names, or a member that nothing here reads.
    let bindings = json!([
        { "name": "A", "type": "analytics" },
        { "name": "B", "type": "analytics_engine" },
        { "name": "C", "type": "k2", "stream": "s" },
        { "name": "D", "type": "unsafe_hello_world" },
        { "name": "E", "type": "unsafe_hello_world", "enable_timer": true },
        { "name": "F", "type": "dispatch_namespace", "namespace": "n" },
        { "name": "G", "type": "agent_memory", "namespace": "n" },
        { "name": "H", "type": "flagship", "app_id": "a" },
        { "name": "I", "type": "ai_search_namespace", "namespace": "n" },
        { "name": "J", "type": "browser" },
        { "name": "K", "type": "send_email" },
        { "name": "L", "type": "worker_loader" },
    ]);
    platform.put_script("w", json!({ "bindings": bindings })).await.result();
    assert_eq!(platform.get(&platform.path("/workers/scripts/w/settings")).await.result()["bindings"], bindings);
    // By an older client's patch of secrets, all else stays as it is.
    let sets = json!([{ "name": "B", "type": "analytics_engine", "dataset": "d" }]);
    platform.put_script("w", json!({ "bindings": sets })).await.result();
    let patch = json!({ "bindings": [
        { "name": "B", "type": "analytics_engine" },
        { "name": "S", "type": "secret_text", "text": "hush-hush" },
    ] });
    let form = Form::new().field("settings", &patch.to_string());
    let patched = platform.form("PATCH", &platform.path("/workers/scripts/w/settings"), form).await.result();
    assert!(patched["bindings"].as_array().unwrap().contains(&sets[0]), "{patched}");
    let nothing = platform.put_script("w", json!({ "bindings": [{ "name": "Z", "type": "kv_namespace" }] })).await;
    assert_eq!(nothing.refused(400), 10057);
}

#[tokio::test]
async fn workers_that_would_be_told_nothing_are_refused_as_streaming_tail_consumers() {
    let platform = Platform::start().await;
    platform.put_script("w", json!({ "streaming_tail_consumers": [] })).await.result();
    let script = platform.path("/workers/scripts/w");
    let before = platform.log_end().await;
    let change = json!({ "streaming_tail_consumers": [{ "service": "w" }] });
    let form = Form::new().field("settings", &change.to_string());
    for reply in [
        platform.put_script("w", change.clone()).await,
        platform.form("POST", &format!("{script}/versions"), Form::worker(change.clone())).await,
        platform.json("PATCH", &format!("{script}/script-settings"), change.clone()).await,
        platform.form("PATCH", &format!("{script}/settings"), form).await,
    ] {
        absent(&reply, 400, "streaming_tail_consumers");
    }
    assert_eq!(platform.log_end().await, before);
    let none = json!({ "streaming_tail_consumers": [], "logpush": false });
    platform.json("PATCH", &format!("{script}/script-settings"), none).await.result();
}

#[tokio::test]
async fn removing_secrets_that_are_not_there_changes_nothing_but_for_one_that_is_named_alone() {
    let platform = Platform::start().await;
    let bindings = json!([
        { "name": "S", "type": "secret_text", "text": "hush-hush" },
        { "name": "T", "type": "plain_text", "text": "x" },
    ]);
    platform.put_script("w", json!({ "bindings": bindings })).await.result();
    let script = platform.path("/workers/scripts/w");
    let path = format!("{script}/secrets-bulk");
    let bulk = |secrets: Value| platform.json("PATCH", &path, json!({ "secrets": secrets }));
    let before = platform.log_end().await;
    // What is no secret is not to be had by this way.
    assert_eq!(bulk(json!({ "GONE": null, "T": null })).await.result(), json!([]));
    assert_eq!(platform.json("DELETE", &format!("{script}/secrets/GONE"), json!({})).await.refused(404), 10056);
    assert_eq!(platform.json("DELETE", &format!("{script}/secrets/T"), json!({})).await.refused(404), 10056);
    assert_eq!(platform.log_end().await, before);

    let new = json!({ "N": { "text": "hush-hush" }, "GONE": null, "T": null, "S": null });
    assert_eq!(bulk(new).await.result(), json!([{ "name": "N", "type": "secret_text" }]));
    let shown = platform.get(&format!("{script}/settings")).await.result();
    let mut names: Vec<_> = shown["bindings"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["N", "T"]);
    platform.json("DELETE", &format!("{script}/secrets/N"), json!({})).await.result();
    assert_eq!(platform.get(&format!("{script}/secrets")).await.result(), json!([]));
    let nowhere = platform.path("/workers/scripts/nowhere/secrets-bulk");
    assert_eq!(platform.json("PATCH", &nowhere, json!({ "secrets": { "GONE": null } })).await.refused(404), 10007);
}

#[tokio::test]
async fn a_token_of_workers_alone_learns_where_they_answer() {
    let platform = Platform::start().await;
    let (_, deployer) = platform.make_token(&platform.account, &["workers:read", "workers:write"], None).await;
    let path = platform.path("/workers/subdomain");
    let told = platform.json_as("GET", &path, Some(&deployer), json!({})).await.result();
    assert_eq!(told["subdomain"], "localhost");
    let (_, auditor) = platform.make_token(&platform.account, &["audit:read"], None).await;
    assert_eq!(platform.json_as("GET", &path, Some(&auditor), json!({})).await.refused(403), 10000);
}

#[tokio::test]
async fn a_worker_is_read_back_as_its_one_environment() {
    let platform = Platform::start().await;
    let metadata = json!({
        "bindings": [
            { "name": "S", "type": "secret_text", "text": "hush-hush" },
            { "name": "T", "type": "plain_text", "text": "x" },
        ],
        "compatibility_flags": ["nodejs_compat"],
        "limits": { "cpu_ms": 50 },
        "placement": { "mode": "smart" },
        "tags": ["blue"],
    });
    platform.put_script("w", metadata).await.result();
    platform.put_script("bare", json!({})).await.result();
    let routes = json!([{ "pattern": "site.test/*", "zone_name": "site.test" }]);
    platform.json("PUT", &platform.path("/workers/scripts/w/routes"), routes).await.result();
    let subdomain = json!({ "enabled": true, "previews_enabled": false });
    platform.json("POST", &platform.path("/workers/scripts/w/subdomain"), subdomain.clone()).await.result();

    let service = platform.path("/workers/services/w/environments");
    let production = platform.get(&format!("{service}/production")).await;
    let script = &production.result()["script"];
    assert_eq!(script["compatibility_date"], "2026-01-01");
    assert_eq!(script["compatibility_flags"], json!(["nodejs_compat"]));
    assert_eq!(script["limits"], json!({ "cpu_ms": 50 }));
    assert_eq!((&script["placement_mode"], &script["tags"]), (&json!("smart"), &json!(["blue"])));
    assert_eq!(script["tail_consumers"], json!([]));
    let bindings = platform.get(&format!("{service}/production/bindings")).await;
    assert!(bindings.result().as_array().unwrap().contains(&json!({ "name": "S", "type": "secret_text" })));
    assert!(bindings.result().as_array().unwrap().contains(&json!({ "name": "T", "type": "plain_text", "text": "x" })));
    let routes = platform.get(&format!("{service}/production/routes?show_zonename=true")).await.result();
    assert_eq!((&routes[0]["pattern"], &routes[0]["zone_name"]), (&json!("site.test/*"), &json!("site.test")));
    assert_eq!(platform.get(&format!("{service}/production/subdomain")).await.result(), subdomain);
    let content = platform.get(&format!("{service}/production/content/v2")).await;
    assert_eq!((content.status.as_u16(), content.headers["cf-entrypoint"].to_str().unwrap()), (200, "index.js"));
    assert!(content.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data; boundary="));
    for reply in [&production, &bindings, &content] {
        assert!(!reply.text().contains("hush-hush"), "{}", reply.text());
    }

    // A configuration is made of it: what nobody said is not there, and not null.
    let bare = platform.get(&platform.path("/workers/services/bare/environments/production")).await.result();
    for member in ["limits", "observability", "placement_mode", "migration_tag"] {
        assert!(bare["script"].get(member).is_none(), "{member}: {bare}");
    }
    for rest in ["", "/content/v2", "/bindings", "/routes", "/subdomain"] {
        assert_eq!(platform.get(&format!("{service}/staging{rest}")).await.refused(404), 10092, "{rest}");
        let nowhere = platform.path(&format!("/workers/services/nowhere/environments/production{rest}"));
        assert_eq!(platform.get(&nowhere).await.refused(404), 10007, "{rest}");
    }
}
