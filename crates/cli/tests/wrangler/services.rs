//! Service bindings: workers that ask each other, by fetch and by RPC.

use serde_json::json;

use crate::support::eventually;
use crate::support::up::Up;
use crate::support::wrangler::{Client, Project};

const BACK: &str = "import { WorkerEntrypoint } from 'cloudflare:workers';
    export class Sums extends WorkerEntrypoint {
        add(a, b) { return { sum: a + b, by: this.env.NAME, props: this.ctx.props ?? null } }
    }
    export default class extends WorkerEntrypoint {
        fetch(request) { return new Response(`back ${new URL(request.url).pathname} ${this.env.NAME}`) }
        shout(word) { return word.toUpperCase() }
    }";

const FRONT: &str = "export default { async fetch(request, env) {
        const fetched = await (await env.BACK.fetch('https://anything/deep')).text();
        return Response.json({ fetched, shouted: await env.BACK.shout('hey'), sums: await env.SUMS.add(1, 2) });
    } }";

/// What looks like a key: tails show it to nobody.
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn workers_call_each_other(client: Client) {
    let up = Up::start();
    let front = Project::script(&up, client, "front", FRONT);
    let services = json!([
        { "binding": "BACK", "service": "back" },
        { "binding": "SUMS", "service": "back", "entrypoint": "Sums" },
    ]);
    front.config("front", &json!({ "services": services }));
    // Nothing to bind to yet: the message names it.
    let text = front.fails(&["deploy"]);
    assert!(text.contains("back"), "{text}");

    let back = Project::script(&up, client, "back", BACK);
    back.config("back", &json!({ "vars": { "NAME": "first" } }));
    back.deploy(&[]);
    front.deploy(&[]);
    let answer = front.json("front", "/");
    assert_eq!(answer["fetched"], "back /deep first");
    assert_eq!(answer["shouted"], "HEY");
    assert_eq!(answer["sums"], json!({ "sum": 3, "by": "first", "props": {} }));

    // The binding leads to what the other worker is now, not to what it was.
    back.config("back", &json!({ "vars": { "NAME": "second" } }));
    back.deploy(&[]);
    eventually("the front asks the new back", || (front.json("front", "/")["sums"]["by"] == "second").then_some(()));
}

fn a_tail_worker_hears_of_anothers_events(client: Client) {
    let up = Up::start();
    let listener = Project::script(
        &up,
        client,
        "listener",
        "let heard = [];
         const path = (request) => new URL(request.url).pathname;
         export default {
            tail(events) {
                for (const { scriptName, outcome, logs, event: { request } } of events) {
                    heard.push([scriptName, outcome, logs[0]?.message, path(request), path(request.getUnredacted())]);
                }
            },
            fetch() { return Response.json(heard) },
         }",
    );
    listener.deploy(&[]);
    let speaker = Project::script(
        &up,
        client,
        "speaker",
        "export default { fetch() { console.log('said', 1); return new Response('spoke') } }",
    );
    speaker.config("speaker", &json!({ "tail_consumers": [{ "service": "listener" }] }));
    speaker.deploy(&[]);
    speaker.deploy(&[]);
    eventually("the listener heard of the speaker", || {
        assert_eq!(speaker.text("speaker", &format!("/{KEY}")), "spoke");
        let heard = listener.json("listener", "/");
        heard.as_array()?.contains(&json!(["speaker", "ok", ["said", 1], "/REDACTED", format!("/{KEY}")])).then_some(())
    });
}

with_both_clients!(workers_call_each_other, a_tail_worker_hears_of_anothers_events);
