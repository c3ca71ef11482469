//! The forms that a worker's handlers may have, and what each event is given.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::{Dev, Folder, eventually};

#[test]
fn scheduled_handlers_are_told_why_they_run() {
    let (mut dev, _folder) = Dev::script(
        r#"let seen;
        export default {
          async scheduled(controller, env, ctx) {
            seen = [controller.cron, controller.scheduledTime, typeof controller.noRetry, typeof ctx.waitUntil];
            controller.noRetry();
            ctx.waitUntil(Promise.reject(new Error("late and wrong")));
            if (controller.cron === "bad") throw new RangeError("not on my watch");
          },
          fetch() { return Response.json(seen ?? null); },
        };"#,
    );
    assert_eq!(dev.get("/cdn-cgi/handler/scheduled?cron=*/5+*+*+*+*&time=1000").status, 200);
    assert_eq!(dev.get("/").json(), serde_json::json!(["*/5 * * * *", 1000, "function", "function"]));
    dev.wait_output("late and wrong");
    let answer = dev.get("/cdn-cgi/handler/scheduled?cron=bad");
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("not on my watch"), "{}", answer.text());
}

#[test]
fn the_class_form_has_its_event_as_ctx() {
    let (dev, _folder) = Dev::script(
        r#"import { WorkerEntrypoint, waitUntil } from "cloudflare:workers";
        let cron;
        export default class extends WorkerEntrypoint {
          scheduled(controller) { cron = controller.cron; }
          fetch(request) {
            waitUntil(Promise.resolve());
            return Response.json([typeof this.ctx.waitUntil, typeof this.env, cron ?? null, new URL(request.url).pathname]);
          }
        }"#,
    );
    assert_eq!(dev.get("/cdn-cgi/handler/scheduled?cron=x").status, 200);
    assert_eq!(dev.get("/path").json(), serde_json::json!(["function", "object", "x", "/path"]));
}

#[test]
fn the_service_worker_form_has_events() {
    let (dev, _folder) = Dev::script(
        r#"let seen;
        addEventListener("scheduled", (event) => { seen = [event.type, event.cron, event.scheduledTime]; event.waitUntil(Promise.resolve()); });
        addEventListener("fetch", (event) => { event.respondWith(Response.json(seen ?? [event.type])); });"#,
    );
    assert_eq!(dev.get("/").json(), serde_json::json!(["fetch"]));
    assert_eq!(dev.get("/cdn-cgi/handler/scheduled?cron=x&time=7").status, 200);
    assert_eq!(dev.get("/").json(), serde_json::json!(["scheduled", "x", 7]));
}

#[test]
fn the_service_worker_form_has_files_as_globals() {
    let folder = Folder::new();
    folder.file(
        "src/index.js",
        r#"import page from "./page.html"; import data from "./data.bin";
        const bytes = (buffer) => [...new Uint8Array(buffer)];
        addEventListener("fetch", (event) => event.respondWith(Response.json(
          [CODE instanceof WebAssembly.Module, NOTE, bytes(DATA), page, bytes(data)])));"#,
    );
    folder.file("src/page.html", "<p>");
    folder.file("src/data.bin", "\0\u{1}");
    // The smallest WebAssembly module.
    folder.file("code.wasm", "\0asm\u{1}\0\0\0");
    folder.file("note.txt", "Grüße");
    folder.file(
        "wrangler.toml",
        "main = 'src/index.js'\ncompatibility_date = '2025-01-01'\nwasm_modules = { CODE = 'code.wasm' }\n\
         text_blobs = { NOTE = 'note.txt' }\ndata_blobs = { DATA = 'src/data.bin' }\n",
    );
    let mut dev = Dev::start(&[folder.path()], &[]);
    assert_eq!(dev.get("/").json(), serde_json::json!([true, "Grüße", [0, 1], "<p>", [0, 1]]));
    folder.file("note.txt", "changed");
    eventually("the new text is there", || dev.get("/").text().contains("changed").then_some(()));

    folder.file("src/index.js", "export default { fetch() {} }");
    dev.wait_output("`wasm_modules.CODE` is a global of a worker that calls addEventListener");
}

#[test]
fn an_export_that_is_no_handler_is_named() {
    for (source, text) in [
        ("export default function () {}", "is a function, which cannot handle fetch events"),
        ("export default () => new Response()", "is a function, which cannot handle fetch events"),
        ("export default { scheduled() {} }", "has no method \\\"fetch\\\""),
        (
            "import { WorkerEntrypoint } from 'cloudflare:workers'; export default class extends WorkerEntrypoint {}",
            "has no method \\\"fetch\\\"",
        ),
        ("export const fetch = 1;", "no default export"),
    ] {
        let (dev, _folder) = Dev::script(source);
        let answer = dev.get("/");
        assert_eq!(answer.status, 500, "{source}");
        assert!(answer.text().contains(text), "{source}: {}", answer.text());
    }
}

#[test]
fn an_aborted_context_fails_its_event() {
    let (dev, _folder) = Dev::script(
        "export default { async fetch(request, env, ctx) { ctx.abort(new RangeError('enough')); await new Promise(() => {}); } };",
    );
    let answer = dev.get("/");
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("enough"), "{}", answer.text());
}

/// The origin behind a worker in `dev` is its assets.
#[test]
fn an_exception_passes_through_to_the_assets_where_it_was_asked_to() {
    let folder = Folder::new();
    folder.file(
        "wrangler.jsonc",
        r#"{
          "name": "worker", "main": "worker.js", "compatibility_date": "2026-11-01",
          "assets": { "directory": "public", "run_worker_first": true }
        }"#,
    );
    folder.file("public/page.txt", "from the origin");
    folder.file(
        "worker.js",
        r#"export default {
          fetch(request, env, ctx) {
            if (new URL(request.url).searchParams.has("pass")) ctx.passThroughOnException();
            throw new RangeError("the worker's own");
          },
        };"#,
    );
    let mut dev = Dev::start(&[folder.path()], &[]);
    let answer = dev.get("/page.txt?pass");
    assert_eq!((answer.status, answer.text().as_str()), (200, "from the origin"));
    dev.wait_output("the worker's own");
    let answer = dev.get("/page.txt");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["name"], "RangeError");
}
