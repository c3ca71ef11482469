//! What wrangler asks, in its order, and what it needs of the answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use support::{Form, Platform};

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn whoami() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/client/v4/user/tokens/verify").await.result()["status"], "active");
    assert!(platform.get("/client/v4/user").await.result()["email"].is_string());
    let accounts = platform.get("/client/v4/accounts?page=1").await;
    let info = &accounts.json()["result_info"];
    assert!(
        info["page"].as_u64().unwrap() * info["per_page"].as_u64().unwrap() >= info["total_count"].as_u64().unwrap()
    );
    assert_eq!(accounts.result()[0]["id"], platform.account.as_str());
    let memberships = platform.get("/client/v4/memberships?page=1").await.result();
    assert_eq!(memberships[0]["account"]["id"], platform.account.as_str());
    assert!(memberships[0]["roles"].is_array());
}

#[tokio::test]
async fn a_worker_is_deployed_first_and_again() {
    let platform = Platform::start().await;
    let service = platform.path("/workers/services/hello");
    let script = platform.path("/workers/scripts/hello");
    assert!([10007, 10090].contains(&platform.get(&service).await.refused(404)));
    assert_eq!(platform.get(&format!("{script}/secrets")).await.refused(404), 10007);
    assert_eq!(platform.get(&format!("{script}/deployments")).await.refused(404), 10007);
    assert!(platform.get(&platform.path("/workers/subdomain")).await.result()["subdomain"].is_string());

    let metadata = json!({
        "bindings": [
            { "name": "T", "type": "plain_text", "text": "x" },
            { "name": "S", "type": "secret_text", "text": "hush-hush" },
            { "name": "KV", "type": "kv_namespace", "namespace_id": "abc" },
        ],
        "placement": { "mode": "smart" },
        "unknown_key": { "kept": true },
    });
    let uploaded = platform.put_script("hello", metadata).await;
    assert!(!uploaded.text().contains("hush-hush"));
    let first = uploaded.result()["deployment_id"].as_str().unwrap().to_owned();
    assert_eq!(uploaded.result()["startup_time_ms"], 3);

    let worker = platform.get(&platform.path("/workers/workers/hello")).await.result();
    assert_eq!(worker["subdomain"]["url"], "http://hello.localhost:8787");
    assert_eq!(worker["subdomain"]["preview_url_suffix"], "-hello.localhost:8787");
    let subdomain = json!({ "enabled": true, "previews_enabled": true });
    let subdomain = platform.json("POST", &format!("{script}/subdomain"), subdomain).await.result();
    assert_eq!(subdomain, json!({ "enabled": true, "previews_enabled": true }));
    assert_eq!(platform.get(&format!("{script}/subdomain")).await.result()["enabled"], true);

    let existing = platform.get(&service).await.result();
    assert_eq!(existing["default_environment"]["script"]["last_deployed_from"], "wrangler");
    let secrets = platform.get(&format!("{script}/secrets")).await.result();
    assert_eq!(secrets, json!([{ "name": "S", "type": "secret_text" }]));

    // All that are missing are named, each in an error of its own.
    let [one, other] = ["ONE", "OTHER"].map(|name| json!({ "name": name, "type": "inherit" }));
    let form = Form::worker(json!({ "bindings": [one, other] }));
    let refused = platform.form("POST", &format!("{script}/versions?bindings_inherit=strict"), form).await;
    assert_eq!(refused.refused(400), 10057);
    for (at, name) in ["ONE", "OTHER"].into_iter().enumerate() {
        let message = refused.json()["errors"][at]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("inherit binding '{name}' is invalid")), "{message}");
    }

    let form = Form::worker(json!({ "bindings": [{ "name": "KV", "type": "inherit" }] }));
    let created = platform.form("POST", &format!("{script}/versions?bindings_inherit=strict"), form).await.result();
    assert!(created["resources"]["script"].is_object() && created["metadata"]["has_preview"].is_boolean());
    let second = created["id"].as_str().unwrap().to_owned();
    let bindings = created["resources"]["bindings"].as_array().unwrap();
    assert!(bindings.contains(&json!({ "name": "KV", "type": "kv_namespace", "namespace_id": "abc" })), "{bindings:?}");
    assert!(bindings.contains(&json!({ "name": "S", "type": "secret_text" })), "a secret survives: {bindings:?}");

    let deployment = json!({
        "strategy": "percentage",
        "versions": [{ "version_id": second.replace('-', ""), "percentage": 100 }],
        "annotations": { "workers/message": "again" },
        "code_update_strategy": { "mode": "deferred", "max_delay": 300 },
    });
    platform.json("POST", &format!("{script}/deployments"), deployment).await.result();
    let settings = json!({ "observability": { "enabled": false }, "tags": ["cf:service=hello"] });
    platform.json("PATCH", &format!("{script}/script-settings"), settings).await.result();
    let deployments = platform.get(&format!("{script}/deployments")).await.result();
    assert_eq!(deployments["deployments"][0]["versions"][0]["version_id"], second.as_str());
    assert_eq!(deployments["deployments"][1]["versions"][0]["version_id"], first.as_str());
    assert_eq!(deployments["deployments"][0]["annotations"]["workers/message"], "again");
    assert_eq!(
        platform.get(&service).await.result()["default_environment"]["script"]["tags"],
        json!(["cf:service=hello"])
    );

    let shared = json!({ "versions": [{ "version_id": first, "percentage": 12.5 }, { "version_id": second, "percentage": 87.5 }] });
    platform.json("POST", &format!("{script}/deployments"), shared).await.result();
    let deployments = platform.get(&format!("{script}/deployments")).await.result();
    assert_eq!(deployments["deployments"][0]["versions"][0]["percentage"], 12.5);
    for _ in 0..10 {
        let again = json!({ "versions": [{ "version_id": second, "percentage": 100 }] });
        platform.json("POST", &format!("{script}/deployments"), again).await.result();
    }
    let deployments = platform.get(&format!("{script}/deployments")).await.result();
    assert_eq!(deployments["deployments"].as_array().unwrap().len(), 10);

    assert_eq!(platform.json("DELETE", &format!("{service}?force=false"), json!({})).await.result(), Value::Null);
    assert_eq!(platform.get(&service).await.refused(404), 10007);
}

#[tokio::test]
async fn versions_are_listed_viewed_and_read_back() {
    let platform = Platform::start().await;
    let script = platform.path("/workers/scripts/v");
    let annotations = json!({ "workers/message": "one", "workers/tag": "t1" });
    let metadata = json!({ "annotations": annotations, "placement": { "mode": "smart" } });
    let id = platform.put_script("v", metadata).await.result()["deployment_id"].as_str().unwrap().to_owned();
    let list = platform.get(&format!("{script}/versions?deployable=true")).await.result();
    assert_eq!(list["items"][0]["id"], id.as_str());
    assert_eq!(list["items"][0]["annotations"]["workers/tag"], "t1");
    assert_eq!(list["items"][0]["resources"]["bindings"], json!([]));
    assert_eq!(platform.get(&format!("{script}/versions?deployable=true&page=2")).await.result()["items"], json!([]));
    assert!(list["items"][0]["metadata"]["created_on"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(list["items"][0]["metadata"]["source"], "wrangler");
    let view = platform.get(&format!("{script}/versions/{}", id.replace('-', ""))).await.result();
    assert_eq!(view["resources"]["script_runtime"]["compatibility_date"], "2026-01-01");
    assert_eq!(view["resources"]["script"]["handlers"], json!(["fetch"]));
    assert_eq!(view["resources"]["script"]["placement_mode"], "smart");
    assert_eq!(view["resources"]["bindings"], json!([]));
    let unknown = platform.get(&format!("{script}/versions/00000000-0000-4000-8000-000000000000")).await;
    unknown.refused(404);

    let content = platform.get(&format!("{script}/content/v2?version={id}")).await;
    assert_eq!(content.headers["cf-entrypoint"], "index.js");
    let content_type = content.headers["content-type"].to_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let text = content.text();
    assert!(text.starts_with(&format!("--{boundary}\r\n")) && text.contains("return new Response('hello')"), "{text}");
    assert!(text.contains("filename=\"index.js\"\r\nContent-Type: application/javascript+module"), "{text}");
}

#[tokio::test]
async fn a_version_that_does_not_start_is_none() {
    let platform = Platform::start().await;
    let before = platform.log_end().await;
    let reply = platform.put_script("broken", json!({ "annotations": { "workers/message": "does not start" } })).await;
    assert_eq!(reply.refused(400), 10021);
    assert!(reply.text().contains("src/index.ts:3:7"), "{}", reply.text());
    assert_eq!(platform.log_end().await, before);
}

#[tokio::test]
async fn secrets_are_put_listed_and_removed_and_never_answered() {
    let platform = Platform::start().await;
    let script = platform.path("/workers/scripts/s");
    let secret = |name: &str| json!({ "name": name, "text": "hush-hush", "type": "secret_text" });
    let missing = platform.json("PUT", &format!("{script}/secrets"), secret("A")).await;
    assert!([10007, 10090].contains(&missing.refused(404)));
    let draft = json!({ "main_module": "s", "bindings": [], "logpush": false }).to_string();
    let draft = Form::new().field("metadata", &draft).file(
        "s",
        "application/javascript+module",
        b"export default { fetch() {} }",
    );
    platform.form("PUT", &script, draft).await.result();
    let put = platform.json("PUT", &format!("{script}/secrets"), secret("A")).await;
    put.result();
    let bulk = json!({ "secrets": { "B": secret("B"), "C": secret("C"), "A": null } });
    let bulk = platform.json("PATCH", &format!("{script}/secrets-bulk"), bulk).await;
    bulk.result();
    let list = platform.get(&format!("{script}/secrets")).await;
    assert_eq!(names(&list.result(), "name"), ["B", "C"]);
    platform.json("DELETE", &format!("{script}/secrets/B?url_encoded=true"), json!({})).await.result();
    // The way of older wranglers.
    let settings = json!({ "bindings": [{ "type": "secret_text", "name": "D", "text": "hush-hush" }, { "type": "secret_text", "name": "C" }] });
    let form = Form::new().field("settings", &settings.to_string());
    let patched = platform.form("PATCH", &format!("{script}/settings"), form).await;
    patched.result();
    assert_eq!(names(&platform.get(&format!("{script}/secrets")).await.result(), "name"), ["C", "D"]);
    // And a version with another that is not deployed.
    let latest = platform.path("/workers/workers/s/versions/latest");
    let edit = json!({ "env": { "E": { "type": "secret_text", "text": "hush-hush" }, "C": null } });
    let edited = platform.json("PATCH", &latest, edit).await;
    assert!(edited.result()["id"].is_string());
    let refused = platform.json("PUT", &format!("{script}/secrets"), secret("F")).await;
    assert!([10214, 10215].contains(&refused.refused(400)));
    let wrong = platform.json("PUT", &format!("{script}/secrets"), json!({ "name": 5, "text": "hush-hush" })).await;
    wrong.refused(400);
    let wrong_whole = platform.json("PUT", &format!("{script}/secrets"), json!("hush-hush")).await;
    wrong_whole.refused(400);
    for reply in [
        put,
        bulk,
        list,
        patched,
        edited,
        refused,
        wrong,
        wrong_whole,
        platform.get(&format!("{script}/settings")).await,
    ] {
        assert!(!reply.text().contains("hush-hush"), "{}", reply.text());
    }
    let audit = platform.get(&platform.path("/audit_logs")).await.text();
    assert!(!audit.contains("hush-hush"));
}

#[tokio::test]
async fn secrets_that_are_put_at_once_all_come_to_be() {
    let platform = Platform::start().await;
    platform.put_script("s", json!({})).await.result();
    let path = platform.path("/workers/scripts/s/secrets");
    // More than are worked on at once: the others wait.
    let put = |at: usize| platform.json("PUT", &path, json!({ "name": format!("S{at:02}"), "text": "hush-hush" }));
    for reply in join_all((0..24).map(put)).await {
        reply.result();
    }
    let expected: Vec<_> = (0..24).map(|at| format!("S{at:02}")).collect();
    assert_eq!(names(&platform.get(&path).await.result(), "name"), expected);
}

#[tokio::test]
async fn a_version_is_uploaded_again_with_another_secret_as_older_clients_do() {
    let platform = Platform::start().await;
    let script = platform.path("/workers/scripts/again");
    let bindings = json!([
        { "name": "T", "type": "plain_text", "text": "x" },
        { "name": "S", "type": "secret_text", "text": "hush-hush" },
    ]);
    let first = platform.put_script("again", json!({ "bindings": bindings })).await.result()["deployment_id"].clone();
    let latest = platform.get(&format!("{script}/versions")).await.result()["items"][0]["id"].clone();
    assert_eq!(latest, first);
    let version = platform.get(&format!("{script}/versions/{}", latest.as_str().unwrap())).await.result();
    let runtime = &version["resources"]["script_runtime"];
    let settings = platform.get(&format!("{script}/script-settings")).await.result();
    let metadata = json!({
        "bindings": [
            { "name": "T", "type": "inherit" },
            { "name": "N", "type": "secret_text", "text": "hush-hush" },
        ],
        "compatibility_date": runtime["compatibility_date"],
        "compatibility_flags": runtime["compatibility_flags"],
        "limits": runtime["limits"],
        "keep_bindings": ["secret_key", "secret_text"],
        "keep_assets": true,
        "logpush": settings["logpush"],
        "tail_consumers": settings["tail_consumers"],
        "annotations": { "workers/message": "another secret" },
    });
    let path = format!("{script}/versions?include_subdomain_availability=true&excludeScript=true");
    let again = platform.form("POST", &path, Form::worker(metadata)).await;
    assert!(!again.text().contains("hush-hush"));
    let mut bound = names(&again.result()["resources"]["bindings"], "name");
    bound.sort_unstable();
    assert_eq!(bound, ["N", "S", "T"]);
    let deployments = platform.get(&format!("{script}/deployments")).await.result();
    assert_eq!(deployments["deployments"][0]["versions"][0]["version_id"], first);
}

fn asset_hash(content: &[u8], extension: &str) -> String {
    let hash = blake3::hash(format!("{}{extension}", STANDARD.encode(content)).as_bytes());
    hash.to_hex()[..32].to_owned()
}

#[tokio::test]
async fn assets_are_uploaded_in_bulk_and_one_by_one() {
    let platform = Platform::start().await;
    let script = platform.path("/workers/scripts/site");
    let (index, style) = (b"<h1>hello</h1>".as_slice(), b"h1 { color: red }".as_slice());
    let (index_hash, style_hash) = (asset_hash(index, "html"), asset_hash(style, "css"));
    let manifest = json!({ "manifest": {
        "/index.html": { "hash": index_hash, "size": index.len() },
        "/with space.css": { "hash": style_hash, "size": style.len() },
    } });
    let session = platform.json("POST", &format!("{script}/assets-upload-session"), manifest.clone()).await.result();
    let token = session["jwt"].as_str().unwrap();
    let mut missing: Vec<&str> = session["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|bucket| bucket.as_array().unwrap())
        .map(|hash| hash.as_str().unwrap())
        .collect();
    missing.sort_unstable();
    let mut expected = [index_hash.as_str(), style_hash.as_str()];
    expected.sort_unstable();
    assert_eq!(missing, expected);

    let upload = platform.path("/workers/assets/upload?base64=true");
    let form = |hash: &str, text: &str| Form::new().file(hash, "text/html; charset=utf-8", text.as_bytes());
    platform.form_as("POST", &upload, &platform.token, form(&index_hash, "")).await.refused(401);
    platform.form_as("POST", &upload, token, form(&index_hash, "not base64!")).await.refused(400);
    platform.form_as("POST", &upload, token, form(&index_hash, &STANDARD.encode(b"another"))).await.refused(400);
    platform.form_as("POST", &upload, token, form(&"0".repeat(32), &STANDARD.encode(index))).await.refused(400);
    let first = platform.form_as("POST", &upload, token, form(&index_hash, &STANDARD.encode(index))).await.result();
    assert_eq!(first["jwt"], Value::Null);
    let raw = platform.path(&format!("/workers/assets/upload/{style_hash}"));
    let request = platform.request("POST", &raw, Some(token)).header("content-type", "text/css");
    let last = platform.send(request.body(Full::from(style)).unwrap()).await.result();
    let completion = last["jwt"].as_str().unwrap();

    let metadata = json!({
        "assets": { "jwt": completion, "config": { "html_handling": "auto-trailing-slash", "_headers": "/*\n  X-A: b" } },
        "compatibility_date": "2026-01-01",
    });
    let form = Form::new().field("metadata", &metadata.to_string());
    let uploaded = platform.form("PUT", &script, form).await.result();
    assert_eq!((&uploaded["has_assets"], &uploaded["has_modules"]), (&json!(true), &json!(false)));

    let again = platform.json("POST", &format!("{script}/assets-upload-session"), manifest).await.result();
    assert_eq!(again["buckets"], json!([]));
}

#[tokio::test]
async fn pages_end() {
    let platform = Platform::start().await;
    let base = platform.path("/storage/kv/namespaces");
    for number in 0..5 {
        platform.json("POST", &base, json!({ "title": format!("n{number}") })).await.result();
    }
    let exists = platform.json("POST", &base, json!({ "title": "n0" })).await;
    assert_eq!(exists.json()["errors"][0]["code"], 10014);
    let mut seen = Vec::new();
    for page in 1..=10 {
        let list = platform.get(&format!("{base}?per_page=2&order=title&direction=asc&page={page}")).await.result();
        let titles = names(&list, "title");
        if titles.is_empty() {
            break;
        }
        seen.extend(titles);
    }
    assert_eq!(seen, ["n0", "n1", "n2", "n3", "n4"]);
    for wrong in ["page=0", "per_page=0", "page=x", "page=-1", "page=99999999999999999999"] {
        platform.get(&format!("{base}?{wrong}")).await.refused(400);
    }
    assert_eq!(platform.get(&format!("{base}?page=18446744073709551615&per_page=1000")).await.result(), json!([]));
}

#[tokio::test]
async fn records_of_other_services_are_kept_and_their_content_is_not_available() {
    let platform = Platform::start().await;
    platform.put_script("w", json!({})).await.result();
    assert_eq!(platform.get(&platform.path("/r2/buckets/b-1")).await.refused(404), 10006);
    platform
        .json("POST", &platform.path("/r2/buckets"), json!({ "name": "b-1", "storageClass": "Standard" }))
        .await
        .result();
    assert_eq!(platform.get(&platform.path("/r2/buckets")).await.result()["buckets"][0]["name"], "b-1");
    assert_eq!(platform.get(&platform.path("/d1/database/db?fields=uuid%2Cname")).await.refused(404), 7404);
    let database = platform.json("POST", &platform.path("/d1/database"), json!({ "name": "db" })).await.result();
    assert_eq!(platform.get(&platform.path("/d1/database/db")).await.result()["uuid"], database["uuid"]);
    platform.json("POST", &platform.path("/queues"), json!({ "queue_name": "q" })).await.result();
    platform.json("POST", &platform.path("/queues"), json!({ "queue_name": "other" })).await.result();
    let queue = platform.get(&platform.path("/queues?page=1&name=q")).await.result();
    assert_eq!(names(&queue, "queue_name"), ["q"]);
    assert_eq!(queue[0]["consumers"], json!([]));
    let consumers = platform.path(&format!("/queues/{}/consumers", queue[0]["queue_id"].as_str().unwrap()));
    let consumer = json!({ "type": "worker", "script_name": "w", "settings": { "batch_size": 5 } });
    platform.json("POST", &consumers, consumer.clone()).await.result();
    // By a worker's name, clients look for its one consumer.
    assert_eq!(platform.json("POST", &consumers, consumer).await.refused(409), 11004);
    let queue = platform.get(&platform.path("/queues?page=1&name=q")).await.result();
    assert_eq!(queue[0]["consumers"][0]["script"], "w");
    assert!(queue[0]["consumers"][0]["consumer_id"].is_string());
    assert_eq!(queue[0]["consumers_total_count"], 1);
    assert_eq!(platform.get(&platform.path("/workflows/f")).await.refused(404), 10200);
    platform
        .json("PUT", &platform.path("/workflows/f"), json!({ "script_name": "w", "class_name": "F" }))
        .await
        .result();
    assert_eq!(platform.get(&platform.path("/workflows/f")).await.result()["script_name"], "w");
    assert_eq!(
        platform.get(&platform.path("/workers/durable_objects/namespaces?per_page=1000&page=1")).await.result(),
        json!([])
    );
    let bucket = platform.get(&platform.path("/r2/buckets/b-1/objects/a/b/c")).await;
    bucket.refused(400);
    assert!(bucket.text().contains("not available yet"), "{}", bucket.text());
}

#[tokio::test]
async fn changes_of_a_queue_at_once_are_all_kept() {
    let platform = Platform::start().await;
    platform.put_script("w", json!({})).await.result();
    let queue = json!({ "queue_name": "q", "settings": { "delivery_delay": 5 } });
    let queue = platform.json("POST", &platform.path("/queues"), queue).await.result();
    let path = platform.path(&format!("/queues/{}", queue["queue_id"].as_str().unwrap()));
    let consumer = json!({ "type": "worker", "script_name": "w", "settings": { "batch_size": 5 } });
    platform.json("POST", &format!("{path}/consumers"), consumer).await.result();
    let patch = |at: usize| platform.json("PATCH", &path, json!({ "settings": { (format!("s{at}")): at } }));
    for reply in join_all((0..16).map(patch)).await {
        reply.result();
    }
    let settings = platform.get(&path).await.result()["settings"].clone();
    assert_eq!(settings["delivery_delay"], 5);
    for at in 0..16 {
        assert_eq!(settings[format!("s{at}")], at, "{settings}");
    }
    let change = json!({ "queue_name": "r", "settings": { "s0": null, "s1": { "only": true } } });
    let changed = platform.json("PATCH", &path, change).await.result();
    assert_eq!(changed["queue_name"], "r");
    let settings = &changed["settings"];
    assert!(settings.get("s0").is_none() && settings["s1"] == json!({ "only": true }), "{settings}");
    assert_eq!(settings["s2"], 2);
    // Said as a whole, it is what is said; its consumers are said elsewhere.
    for (said, expected) in [
        (json!({ "queue_name": "r", "settings": { "delivery_delay": 1 } }), json!({ "delivery_delay": 1 })),
        (json!({ "queue_name": "r" }), json!({})),
    ] {
        let changed = platform.json("PUT", &path, said).await.result();
        assert_eq!((&changed["settings"], &changed["consumers_total_count"]), (&expected, &json!(1)));
    }
}

#[tokio::test]
async fn routes_domains_schedules_and_zones() {
    let platform = Platform::start().await;
    platform.put_script("w", json!({})).await.result();
    let script = platform.path("/workers/scripts/w");
    let zones = platform.get(&format!("/client/v4/zones?name=site.test&account.id={}", platform.account)).await;
    let zone = zones.result()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(zones.result()[0]["name"], "site.test");
    assert_eq!(platform.get("/client/v4/zones?name=site.test&page=2").await.result(), json!([]));
    assert_eq!(platform.get(&format!("/client/v4/zones/{zone}/workers/routes")).await.result(), json!([]));
    let routes = json!([{ "pattern": "site.test/*", "zone_name": "site.test" }]);
    platform.json("PUT", &format!("{script}/routes"), routes).await.result();
    let routes = platform.get(&format!("/client/v4/zones/{zone}/workers/routes")).await.result();
    assert_eq!((&routes[0]["pattern"], &routes[0]["script"]), (&json!("site.test/*"), &json!("w")));
    let elsewhere = json!([{ "pattern": "site.test/*", "zone_id": "abc" }]);
    let elsewhere = platform.json("PUT", &format!("{script}/routes"), elsewhere).await;
    assert_eq!(elsewhere.refused(400), 10022);
    assert!(elsewhere.text().contains("zone_name"), "{}", elsewhere.text());
    let added = json!({ "pattern": "site.test/more/*", "script": "w" });
    let added = platform.json("POST", &format!("/client/v4/zones/{zone}/workers/routes"), added).await.result();
    assert_eq!(added["pattern"], "site.test/more/*");

    let wanted = json!([{ "hostname": "www.site.test", "zone_name": "site.test" }]);
    let changes =
        platform.json("POST", &format!("{script}/domains/changeset?replace_state=true"), wanted).await.result();
    assert_eq!(names(&changes["added"], "hostname"), ["www.site.test"]);
    assert_eq!((&changes["removed"], &changes["conflicting"]), (&json!([]), &json!([])));
    let records = json!({ "override_scope": true, "override_existing_origin": false, "origins": [{ "hostname": "www.site.test" }] });
    platform.json("PUT", &format!("{script}/domains/records"), records).await.result();
    let domains =
        platform.get(&platform.path("/workers/domains/records?service=w&environment=production")).await.result();
    assert_eq!(names(&domains, "hostname"), ["www.site.test"]);
    // Another worker is told whose it is, and takes it if that is meant.
    platform.put_script("v", json!({})).await.result();
    let other = platform.path("/workers/scripts/v");
    let wanted = json!([{ "hostname": "www.site.test" }]);
    let changes = platform.json("POST", &format!("{other}/domains/changeset?replace_state=true"), wanted.clone()).await;
    let updated = &changes.result()["updated"][0];
    assert_eq!((&updated["modified"], &updated["service"]), (&json!(true), &json!("w")));
    let record = platform.path(&format!("/workers/domains/records/{}", updated["id"].as_str().unwrap()));
    assert_eq!(platform.get(&record).await.result()["service"], "w");
    let records = |take: bool| json!({ "origins": wanted, "override_existing_origin": take });
    platform.json("PUT", &format!("{other}/domains/records"), records(false)).await.refused(409);
    platform.json("PUT", &format!("{other}/domains/records"), records(true)).await.result();
    assert_eq!(platform.get(&record).await.refused(404), 100114);

    platform.json("PUT", &format!("{script}/schedules"), json!([{ "cron": "*/5 * * * *" }])).await.result();
    assert_eq!(
        names(&platform.get(&format!("{script}/schedules")).await.result()["schedules"], "cron"),
        ["*/5 * * * *"]
    );
    assert_eq!(
        platform.json("PUT", &format!("{script}/schedules"), json!([{ "cron": "never" }])).await.refused(400),
        10100
    );

    assert_eq!(
        platform.json("POST", "/client/v4/zones", json!({ "name": "claimed.test" })).await.result()["status"],
        "active"
    );
    let other = platform.make_account("other").await;
    let (_, token) = platform.make_token(&other, &["workers:read", "workers:write"], None).await;
    let taken = platform.json_as("POST", "/client/v4/zones", Some(&token), json!({ "name": "claimed.test" })).await;
    assert!(taken.status.is_client_error(), "{}", taken.text());
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_page_by_page() {
    let platform = Platform::start().await;
    for number in 0..3 {
        platform.put_script(&format!("w{number}"), json!({})).await.result();
    }
    let mut cursor = String::new();
    let mut seen = Vec::new();
    for _ in 0..50 {
        let page = platform.get(&platform.path(&format!("/audit_logs?limit=2&cursor={cursor}"))).await;
        let list = page.result();
        assert!(list.as_array().unwrap().len() <= 2);
        seen.extend(names(&list, "id"));
        assert!(
            list.as_array().unwrap().iter().all(|one| one["actor"]["email"].is_string() && one["when"].is_string())
        );
        cursor = page.json()["result_info"]["cursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert!(cursor.is_empty() && seen.len() >= 3, "{seen:?}");
    let mut newest_first: Vec<u64> = seen.iter().map(|id| id.parse().unwrap()).collect();
    newest_first.dedup();
    assert_eq!(newest_first.len(), seen.len());
    assert!(newest_first.windows(2).all(|pair| pair[0] > pair[1]), "{newest_first:?}");
    let of_one = platform.get(&platform.path("/audit_logs?target=w1")).await.result();
    assert!(of_one.as_array().unwrap().iter().all(|one| one["resource"]["id"] == "w1"));
    assert!(!of_one.as_array().unwrap().is_empty());
    assert_eq!(of_one[0]["actor"]["ip"], "127.0.0.1");
    assert_eq!(of_one[0]["interface"], "wrangler");
    for wrong in ["cursor=x", "since=yesterday", "limit=-1", "limit=0", "cursor=18446744073709551615"] {
        platform.get(&platform.path(&format!("/audit_logs?{wrong}"))).await.refused(400);
    }
    assert!(!platform.get("/client/v4/audit_logs").await.result().as_array().unwrap().is_empty());
}

#[tokio::test]
async fn who_runs_the_platform_sees_how_it_is() {
    let platform = Platform::start().await;
    let open = |path: &'static str| platform.send(platform.request("GET", path, None).body(Full::default()).unwrap());
    assert_eq!(open("/healthz").await.json()["status"], "ok");
    assert_eq!(open("/readyz").await.status, 200);
    platform.readiness.block("edge", "its copy is not read yet");
    let blocked = open("/readyz").await;
    assert_eq!(
        (blocked.status.as_u16(), &blocked.json()["reasons"]),
        (503, &json!(["edge: its copy is not read yet"]))
    );
    platform.readiness.clear("edge");
    assert_eq!(open("/readyz").await.status, 200);
    let metrics = open("/metrics").await;
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(metrics.text().contains("/readyz") && metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    let worker = selvedge_model::WorkerKey::new(platform.account.parse().unwrap(), "seldom-told".parse().unwrap());
    let moment = std::time::Duration::from_millis(1);
    platform.metrics.event(&worker, selvedge_model::Outcome::Ok, Some(200), moment, moment);
    assert!(!open("/metrics").await.text().contains("seldom-told"), "strangers are told no names");
    assert!(platform.get("/metrics").await.text().contains("seldom-told"));
    assert_eq!(open("/openapi.json").await.text(), selvedge_api::document());
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge() {
    let platform = Platform::start().await;
    let stream = tokio::net::TcpStream::connect(platform.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .uri(format!("http://{}/client/v4/user", platform.address))
        .header("authorization", format!("Bearer {}", platform.token));
    let response = sender.send_request(request.body(Full::<bytes::Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<Value>(&body).unwrap()["success"].as_bool().unwrap());
}

#[tokio::test]
async fn a_drain_answers_what_was_accepted() {
    let platform = Platform::start().await;
    let stream = tokio::net::TcpStream::connect(platform.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (send_body, body) =
        tokio::sync::mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>>(4);
    let body = http_body_util::StreamBody::new(futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|frame| (frame, body))
    }));
    let request = platform
        .request("PUT", &platform.path("/workers/scripts/late"), Some(&platform.token))
        .header("content-type", Form::CONTENT_TYPE);
    let answer = tokio::spawn(sender.send_request(request.body(body).unwrap()));
    let whole = Form::worker(json!({})).finish();
    let (first, rest) = whole.split_at(50);
    send_body.send(Ok(http_body::Frame::data(bytes::Bytes::copy_from_slice(first)))).await.unwrap();
    // Another request on another connection: by its answer, this one was accepted long before.
    platform.get("/healthz").await;
    platform.stop.send(true).unwrap();
    send_body.send(Ok(http_body::Frame::data(bytes::Bytes::copy_from_slice(rest)))).await.unwrap();
    drop(send_body);
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    tokio::time::timeout(std::time::Duration::from_secs(20), platform.running).await.expect("the drain ends").unwrap();
    assert!(tokio::net::TcpStream::connect(platform.address).await.is_err());
}
