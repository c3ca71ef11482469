//! Cron triggers and tails: what the handlers are given, and what the edge is told.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use selvedge_model::{Failure, ModuleKind};
use serde_json::{Value, json};
use support::{Edge, script, version};

fn traces() -> Value {
    json!([
        {
            "scriptName": "producer",
            "scriptVersion": { "id": "8e6a9a2b-0f0c-4c55-9d3a-1b2c3d4e5f60" },
            "outcome": "exception",
            "eventTimestamp": 1_700_000_000_000_u64,
            "event": {
                "request": {
                    "url": "http://a.test/REDACTED", "method": "POST", "cf": { "colo": "X" },
                    "headers": { "accept": "*/*", "authorization": "REDACTED" },
                },
                "response": { "status": 500 },
            },
            "unredacted": { "url": "http://a.test/secret", "headers": { "authorization": "Bearer x" } },
            "logs": [{ "level": "log", "timestamp": 1, "message": ["grüße", 1, null, { "a": [true] }] }],
            "exceptions": [{ "name": "Error", "message": "boom", "stack": "Error: boom", "timestamp": 2 }],
            "cpuTime": 3, "wallTime": 4, "truncated": false,
        },
        { "scriptName": "clock", "event": { "cron": "* * * * *", "scheduledTime": 5 }, "outcome": "ok", "entrypoint": "Named" },
        { "event": { "request": { "url": "http://a.test/", "method": "GET", "headers": {} } }, "outcome": "ok" },
    ])
}

const TAIL: &str = r#"
  let seen;
  export default {
    tail(events, env, ctx) {
      const { request } = events[0].event;
      const whole = JSON.parse(JSON.stringify(events));
      // What code does to the one is not seen in the other.
      const unredacted = request.getUnredacted();
      unredacted.headers.authorization = request.headers.accept = request.method = "mine";
      const again = request.getUnredacted().getUnredacted();
      seen = {
        array: Array.isArray(events), length: events.length, env: typeof env, ctx: typeof ctx.waitUntil,
        whole,
        plain: [request.url, request.headers.authorization],
        unredacted: [unredacted.url, unredacted.cf, again.url, again.headers, again.method],
        open: events.length > 2 && [events[2].event.request.getUnredacted(), events[2].event.request.cf],
        names: ["tailAttributes", "preview", "durableObjectId", "scriptTags", "dispatchNamespace"].map((name) => name in events[0]),
      };
      ctx.waitUntil(scheduler.wait(1).then(() => { seen.waited = true; }));
    },
    fetch() { return Response.json(seen); },
  };"#;

#[test]
fn a_tail_handler_is_given_the_traces() {
    let mut edge = Edge::start(&script(TAIL));
    let ended = edge.send("tail", &json!({ "id": "1" }), traces().to_string().as_bytes());
    assert_eq!((ended.answer().status.as_str(), ended.meta()), ("200", json!({ "outcome": "ok" })));
    let seen = edge.fetch().json();
    assert_eq!(seen["array"], true);
    assert_eq!((&seen["length"], &seen["env"], &seen["ctx"]), (&json!(3), &json!("object"), &json!("function")));
    assert_eq!(seen["waited"], true, "the answer waits for waitUntil");
    assert_eq!(seen["plain"], json!(["http://a.test/REDACTED", "REDACTED"]));
    let headers = json!({ "accept": "*/*", "authorization": "Bearer x" });
    let unredacted = json!(["http://a.test/secret", { "colo": "X" }, "http://a.test/secret", headers, "POST"]);
    assert_eq!(seen["unredacted"], unredacted);
    assert_eq!(seen["open"], json!([{ "url": "http://a.test/", "method": "GET", "headers": {} }, null]));
    assert_eq!(seen["names"], json!([true, true, true, true, true]));
    let mut expected = traces();
    expected[0].as_object_mut().unwrap().remove("unredacted");
    for item in expected.as_array_mut().unwrap() {
        let item = item.as_object_mut().unwrap();
        item.insert("diagnosticsChannelEvents".into(), json!([]));
        item.insert("executionModel".into(), json!("stateless"));
    }
    assert_eq!(seen["whole"][0], expected[0]);
    assert_eq!(seen["whole"][1]["event"], expected[1]["event"]);
    assert_eq!((&seen["whole"][1]["entrypoint"], &seen["whole"][1]["logs"]), (&json!("Named"), &json!([])));
}

#[test]
fn many_traces_at_once_arrive_whole() {
    let mut edge = Edge::start(&script(
        "let count; export default { tail(events) { count = events.length; }, fetch() { return Response.json(count); } };",
    ));
    // More than one frame, less than the window.
    let one = traces()[0].clone();
    let many: Vec<&Value> = std::iter::repeat_n(&one, 300).collect();
    let body = serde_json::to_vec(&many).unwrap();
    assert!(body.len() > 64 * 1024);
    assert_eq!(edge.send("tail", &json!({}), &body).meta()["outcome"], "ok");
    assert_eq!(edge.fetch().json(), 300);
}

#[test]
fn tails_have_every_form_of_handler() {
    let class = r#"import { WorkerEntrypoint } from "cloudflare:workers";
        let seen;
        export default class extends WorkerEntrypoint {
          tail(events) { seen = [typeof this.ctx.waitUntil, events[0].scriptName]; }
          fetch() { return Response.json(seen); }
        }"#;
    let named = r#"let seen;
        export default { fetch() { return Response.json(seen); } };
        export const Named = { trace(events) { seen = ["trace", events[1].scriptName]; } };"#;
    let listener = r#"let seen = [];
        addEventListener("tail", (event) => { seen.push(event.type, event.events[0].scriptName, event.traces.length); event.waitUntil(Promise.resolve()); });
        addEventListener("trace", { handleEvent(event) { seen.push(event.type); } });
        addEventListener("fetch", (event) => event.respondWith(Response.json(seen)));"#;
    for (kind, source, target, expected) in [
        (ModuleKind::EsModule, class, "tail", json!(["function", "producer"])),
        (ModuleKind::EsModule, named, "tail:Named", json!(["trace", "clock"])),
        (ModuleKind::Script, listener, "tail", json!(["tail", "producer", 3, "trace"])),
    ] {
        let mut edge = Edge::start(&version(&[("index.js", kind, source.as_bytes())], vec![]));
        let ended = edge.send(target, &json!({}), traces().to_string().as_bytes());
        assert_eq!(ended.answer().body, "ok", "{source}");
        assert_eq!(edge.fetch().json(), expected, "{source}");
    }
}

#[test]
fn a_worker_without_a_tail_handler_fails_clearly() {
    let mut edge = Edge::start(&script("export default { fetch() {} };"));
    let Failure::Exception { exception, .. } = edge.send("tail", &json!({}), b"[]").failure() else {
        panic!();
    };
    assert!(exception.message.contains("Handler does not export a tail() function"), "{}", exception.message);
}

#[test]
fn a_cron_trigger_ends_with_all_of_its_work() {
    let mut edge = Edge::start(&script(
        r#"let state = "begun";
        export default {
          async scheduled(controller, env, ctx) {
            const { cron, scheduledTime, type } = controller;
            ctx.waitUntil(scheduler.wait(5).then(() => { state = JSON.stringify({ cron, scheduledTime, type }); }));
            if (cron === "late") ctx.waitUntil(scheduler.wait(1).then(() => { throw new RangeError("too late"); }));
            if (cron === "never") ctx.waitUntil(new Promise(() => {}));
            if (cron === "now") throw new TypeError("at once");
            if (cron === "final") controller.noRetry();
          },
          fetch() { return new Response(state); },
        };"#,
    ));
    let meta = |cron: &str| json!({ "id": "1", "cron": cron, "scheduledTime": 1_700_000_000_000_u64 });
    let ended = edge.send("scheduled", &meta("* * * * *"), b"");
    assert_eq!(ended.meta(), json!({ "outcome": "ok", "noRetry": false }));
    assert_eq!(
        edge.fetch().json(),
        json!({ "cron": "* * * * *", "scheduledTime": 1_700_000_000_000_u64, "type": "scheduled" })
    );
    assert_eq!(edge.send("scheduled", &meta("final"), b"").meta(), json!({ "outcome": "ok", "noRetry": true }));
    assert_eq!(edge.send("scheduled", &meta("never"), b"").meta()["outcome"], "ok");

    let ended = edge.send("scheduled", &meta("late"), b"");
    assert_eq!((ended.meta()["outcome"].clone(), ended.answer().body.as_str()), (json!("exception"), "exception"));
    let [record] = ended.logs.as_slice() else {
        panic!("{:?}", ended.logs);
    };
    assert_eq!(record["during"], "waitUntil");
    assert_eq!(
        (&record["exception"]["name"], &record["exception"]["message"]),
        (&json!("RangeError"), &json!("too late"))
    );
    assert!(record["exception"]["stack"].as_str().unwrap().contains("file:///index.js:"), "{record}");

    let Failure::Exception { exception, .. } = edge.send("scheduled", &meta("now"), b"").failure() else {
        panic!();
    };
    assert_eq!((exception.name.as_str(), exception.message.as_str()), ("TypeError", "at once"));
}
