//! Every operation of the OpenAPI document is tried by who must not be let in: nothing is changed, and nothing is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use http_body_util::Full;
use serde_json::{Value, json};
use support::{Form, Platform, Reply};

/// What may be asked without a token.
const OPEN: [&str; 5] = ["get_health", "get_readiness", "get_metrics", "get_openapi", "connect_tail"];
/// What any good token may ask: what is answered is about the token itself, or its own accounts.
const ANY_TOKEN: [&str; 4] = ["verify_token", "get_user", "list_memberships", "list_accounts"];
/// What answers without error, and empty, where the token knows of no such thing.
const EMPTY_FOR_OTHERS: [&str; 2] = ["list_zones", "list_zone_routes"];

/// What no answer to a stranger may hold.
const MARKS: [&str; 5] = ["mark-text", "mark-secret", "mark-message", "mark-tag", "mark-account"];

struct Operation {
    id: String,
    method: String,
    path: String,
    open: bool,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&selvedge_api::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                open: operation["security"].as_array().unwrap().contains(&json!({})),
            });
        }
    }
    operations
}

/// Things of the administrator's account, by what stands for them in paths.
async fn things(platform: &Platform) -> BTreeMap<&'static str, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let metadata = json!({
        "bindings": [
            { "name": "TEXT", "type": "plain_text", "text": "mark-text" },
            { "name": "SECRET", "type": "secret_text", "text": "mark-secret" },
        ],
        "annotations": { "workers/message": "mark-message", "workers/tag": "mark-tag" },
    });
    let version = text(&platform.put_script("victim", metadata).await.result()["deployment_id"]);
    let script = platform.path("/workers/scripts/victim");
    let deployments = platform.get(&format!("{script}/deployments")).await.result();
    let routes = json!([{ "pattern": "victim.test/*", "zone_name": "victim.test" }]);
    let routes = platform.json("PUT", &format!("{script}/routes"), routes).await.result();
    let domains = json!({ "override_scope": true, "origins": [{ "hostname": "www.victim.test" }] });
    let domains = platform.json("PUT", &format!("{script}/domains/records"), domains).await.result();
    let namespace = platform.json("POST", &platform.path("/storage/kv/namespaces"), json!({ "title": "kv" })).await;
    platform.json("POST", &platform.path("/r2/buckets"), json!({ "name": "bucket" })).await.result();
    let database = platform.json("POST", &platform.path("/d1/database"), json!({ "name": "db" })).await;
    let queue = platform.json("POST", &platform.path("/queues"), json!({ "queue_name": "queue" })).await.result();
    let consumer = json!({ "type": "worker", "script_name": "victim", "settings": {} });
    let consumers = platform.path(&format!("/queues/{}/consumers", text(&queue["queue_id"])));
    let consumer = platform.json("POST", &consumers, consumer).await.result();
    let workflow = json!({ "script_name": "victim", "class_name": "W" });
    platform.json("PUT", &platform.path("/workflows/flow"), workflow).await.result();
    let tail = platform.json("POST", &format!("{script}/tails"), json!({})).await.result();
    let (token, _) = platform.make_token(&platform.account, &["workers:read"], None).await;
    BTreeMap::from([
        ("account_id", platform.account.clone()),
        ("script_name", "victim".into()),
        ("environment", "production".into()),
        ("version_id", version),
        ("deployment_id", text(&deployments["deployments"][0]["id"])),
        ("secret_name", "SECRET".into()),
        ("tail_id", text(&tail["id"])),
        ("token_id", token),
        ("zone_id", text(&routes[0]["zone_id"])),
        ("route_id", text(&routes[0]["id"])),
        ("domain_id", text(&domains[0]["id"])),
        ("hash", "0".repeat(32)),
        ("namespace_id", text(&namespace.result()["id"])),
        ("key", "k".into()),
        ("bucket_name", "bucket".into()),
        ("database_id", text(&database.result()["uuid"])),
        ("queue_id", text(&queue["queue_id"])),
        ("consumer_id", text(&consumer["consumer_id"])),
        ("workflow_name", "flow".into()),
        ("instance_id", "i".into()),
    ])
}

/// A body that would be taken of who may send it, where the question of who comes after reading it.
fn body(operation: &str, account: &str) -> Value {
    match operation {
        "create_account" => json!({ "name": "intruder" }),
        "claim_zone" => json!({ "name": "intruder.test", "account": { "id": account } }),
        "add_zone_route" | "change_zone_route" => json!({ "pattern": "victim.test/intruder/*", "script": "intruder" }),
        _ => json!({}),
    }
}

async fn attempt(platform: &Platform, operation: &Operation, path: &str, token: Option<&str>) -> Reply {
    let mut path = path.to_owned();
    if operation.id == "list_zones" {
        path.push_str(&format!("?account.id={}", platform.account));
    }
    match operation.id.as_str() {
        "put_script" | "create_version" => {
            let request = platform.request(&operation.method, &path, token).header("content-type", Form::CONTENT_TYPE);
            platform.send(request.body(Full::from(Form::worker(json!({})).finish())).unwrap()).await
        }
        id => platform.json_as(&operation.method, &path, token, body(id, &platform.account)).await,
    }
}

fn filled(path: &str, things: &BTreeMap<&str, String>) -> String {
    let fill = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(name) => things.get(name).unwrap_or_else(|| panic!("nothing stands for {name}")).clone(),
        None => part.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn nobody_is_let_in_anywhere_without_a_token_that_is_good_for_it() {
    let platform = Platform::start().await;
    let things = things(&platform).await;
    let all =
        ["account:read", "workers:read", "workers:write", "secrets:write", "tail:read", "tokens:write", "audit:read"];
    let stranger_account = platform.make_account("stranger").await;
    let (_, stranger) = platform.make_token(&stranger_account, &all, None).await;
    let (revoked_id, revoked) = platform.make_token(&platform.account, &all, None).await;
    let revoking = platform.path(&format!("/tokens/{revoked_id}"));
    platform.json("DELETE", &revoking, json!({})).await.result();
    let (_, expired) = platform.make_token(&platform.account, &all, Some(platform.now_ms() + 60_000)).await;
    let (_, reader) = platform.make_token(&platform.account, &["account:read"], None).await;
    let (_, auditor) = platform.make_token(&platform.account, &["audit:read"], None).await;
    platform.advance_clock_ms(120_000);
    let marks: Vec<&str> =
        MARKS.into_iter().chain([things["version_id"].as_str(), things["deployment_id"].as_str()]).collect();

    let before = platform.log_end().await;
    let mut open = BTreeSet::new();
    for operation in operations() {
        if operation.open {
            open.insert(operation.id.clone());
            continue;
        }
        let path = filled(&operation.path, &things);
        let at = format!("{} {} ({})", operation.method, operation.path, operation.id);
        let assert_untold = |reply: &Reply| {
            let text = reply.text();
            let asked: Vec<_> = marks.iter().filter(|mark| text.contains(**mark) && !path.contains(**mark)).collect();
            assert!(asked.is_empty(), "{at} tells {asked:?}: {text}");
        };
        for token in [None, Some("slv_wrong"), Some(revoked.as_str()), Some(expired.as_str())] {
            let reply = attempt(&platform, &operation, &path, token).await;
            assert_eq!(reply.refused(401), 10000, "{at}");
            assert_untold(&reply);
        }
        if ANY_TOKEN.contains(&operation.id.as_str()) {
            let reply = attempt(&platform, &operation, &path, Some(&stranger)).await;
            reply.result();
            assert!(!reply.text().contains(&platform.account), "{at}: {}", reply.text());
            continue;
        }
        let small = if operation.path.contains("audit") { &reader } else { &auditor };
        let reply = attempt(&platform, &operation, &path, Some(small)).await;
        assert!([401, 403].contains(&reply.status.as_u16()), "{at}: {} {}", reply.status, reply.text());
        reply.refused(reply.status.as_u16());
        assert_untold(&reply);

        let reply = attempt(&platform, &operation, &path, Some(&stranger)).await;
        if EMPTY_FOR_OTHERS.contains(&operation.id.as_str()) && reply.status == 200 {
            assert_eq!(reply.result(), json!([]), "{at}");
        } else {
            assert!([401, 403, 404].contains(&reply.status.as_u16()), "{at}: {} {}", reply.status, reply.text());
            reply.refused(reply.status.as_u16());
        }
        assert_untold(&reply);
    }
    assert_eq!(open, OPEN.into_iter().map(str::to_owned).collect());
    assert_eq!(platform.log_end().await, before, "somebody changed something");
    assert!(platform.tails.session(&things["tail_id"]).is_some(), "somebody closed a tail");
}

#[tokio::test]
async fn an_account_that_the_token_does_not_reach_looks_like_one_that_does_not_exist() {
    let platform = Platform::start().await;
    let other = platform.make_account("other").await;
    let (_, token) = platform.make_token(&other, &["account:read", "workers:read", "workers:write"], None).await;
    let there = platform.account.clone();
    let nowhere = "f".repeat(32);
    for operation in operations().iter().filter(|operation| operation.path.contains("{account_id}")) {
        if operation.id.starts_with("upload_asset") {
            continue;
        }
        let mut things: BTreeMap<&str, String> = [
            "script_name",
            "environment",
            "version_id",
            "deployment_id",
            "secret_name",
            "tail_id",
            "token_id",
            "zone_id",
            "route_id",
            "domain_id",
            "hash",
            "namespace_id",
            "key",
            "bucket_name",
            "database_id",
            "queue_id",
            "consumer_id",
            "workflow_name",
            "instance_id",
        ]
        .into_iter()
        .map(|name| (name, "thing".to_owned()))
        .collect();
        let mut replies = Vec::new();
        for account in [&there, &nowhere, &"not-an-id".to_owned()] {
            things.insert("account_id", account.clone());
            let reply = attempt(&platform, operation, &filled(&operation.path, &things), Some(&token)).await;
            replies.push((reply.status, reply.text()));
        }
        assert_eq!(replies[0], replies[1], "{}", operation.id);
        assert_eq!(replies[0], replies[2], "{}", operation.id);
    }
}

#[tokio::test]
async fn the_key_and_email_of_older_clients_are_taken() {
    let platform = Platform::start().await;
    let ask = |key: Option<&str>, email: Option<&str>| {
        let mut request = platform.request("GET", "/client/v4/user/tokens/verify", None);
        if let Some(key) = key {
            request = request.header("x-auth-key", key);
        }
        if let Some(email) = email {
            request = request.header("x-auth-email", email);
        }
        platform.send(request.body(Full::default()).unwrap())
    };
    ask(Some(&platform.token), Some("someone@selvedge.test")).await.result();
    let reply = ask(Some(&platform.token), None).await;
    reply.refused(401);
    assert!(reply.text().contains("X-Auth-Email"));
    ask(None, Some("someone@selvedge.test")).await.refused(401);
    let reply = ask(None, None).await;
    reply.refused(401);
    assert!(reply.text().contains("Authorization: Bearer"));
}
