//! The forms that a worker's handlers may have, and what each event is given.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::net::SocketAddr;

use support::{Dev, Folder, ask, eventually, raw};

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
fn a_rate_limit_of_the_configuration_counts_by_key_where_the_configuration_says_to_listen() {
    let folder = Folder::new();
    folder.file(
        "wrangler.jsonc",
        r#"{ "name": "limited", "main": "index.js", "compatibility_date": "2026-11-01", "dev": { "ip": "127.0.0.2" },
             "ratelimits": [{ "name": "RATE", "namespace_id": "1001", "simple": { "limit": 2, "period": 60 } }] }"#,
    );
    folder.file(
        "index.js",
        r#"export default { async fetch(request, env) {
             const { success } = await env.RATE.limit({ key: new URL(request.url).pathname });
             return new Response(success ? "yes" : "no");
           } };"#,
    );
    let dev = Dev::start(&[folder.path()], &["--no-watch"]);
    let address = SocketAddr::from(([127, 0, 0, 2], dev.address.port()));
    let answers = |path: &str| [(); 3].map(|()| ask(address, "GET", None, path, &[], &[]).text());
    assert_eq!(answers("/a"), ["yes", "yes", "no"]);
    assert_eq!(answers("/b"), ["yes", "yes", "no"]);
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

/// The head of a worker's answer to a request as it stands, and its body where that is JSON.
fn told(dev: &Dev, head: &str) -> (String, serde_json::Value) {
    let answer = raw(dev.address, format!("{head}connection: x-mine, close\r\n\r\n").as_bytes(), |_| false);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_worker_is_told_of_its_client_what_the_platform_knows() {
    let (dev, _folder) = Dev::script(
        r#"export default { fetch(request) {
          const { url, cf } = request;
          return Response.json([url, cf.clientAcceptEncoding ?? null, Object.fromEntries(request.headers)]);
        } };"#,
    );
    let (head, told) = told(
        &dev,
        "GET /a/../b?c=/../d HTTP/1.1\r\nhost: LocalHost:80\r\ncookie: a=1\r\ncookie: b=2\r\naccept-encoding: zstd;q=0.5\r\n\
         cf-ipcountry: XX\r\ntrue-client-ip: 192.0.2.1\r\ncf-visitor: forged\r\nx-mine: 1\r\nhttp2-settings: x\r\n\
         upgrade: h2c\r\n",
    );
    assert!(head.contains("cf-ray: "), "{head}");
    assert_eq!((&told[0], &told[1]), (&"http://localhost/b?c=/../d".into(), &"zstd;q=0.5".into()));
    let headers = &told[2];
    for (name, value) in [
        ("accept-encoding", "br, gzip"),
        ("cf-connecting-ip", "127.0.0.1"),
        ("cf-visitor", r#"{"scheme":"http"}"#),
        ("cookie", "a=1; b=2"),
        ("host", "localhost"),
    ] {
        assert_eq!(headers[name], value, "{headers}");
    }
    for name in ["cf-ipcountry", "true-client-ip", "x-mine", "http2-settings", "upgrade", "connection"] {
        assert!(headers[name].is_null(), "{name} in {headers}");
    }
}

#[test]
fn a_path_that_is_no_ascii_is_encoded_once() {
    let (dev, _folder) = Dev::script("export default { fetch: (request) => Response.json([request.url]) };");
    let (_, told) = told(&dev, "GET /gr\u{fc}\u{df}e HTTP/1.1\r\nhost: localhost\r\n");
    assert_eq!(told[0], "http://localhost/gr%C3%BC%C3%9Fe");
}

#[test]
fn a_response_keeps_its_status_text() {
    let (dev, _folder) = Dev::script(
        r#"export default { async fetch(request, env, ctx) {
          const { pathname } = new URL(request.url);
          if (pathname === "/odd") return new Response("", { status: 299, statusText: "Odd Text" });
          if (pathname === "/bare") return new Response("", { status: 299 });
          if (pathname === "/teapot") return new Response("", { status: 418, statusText: "Short and stout" });
          const texts = ["/plain", "/odd", "/bare"].map(async (path) =>
            (await ctx.exports.default.fetch("http://x" + path)).statusText);
          return Response.json(pathname === "/texts" ? await Promise.all(texts) : null);
        } };"#,
    );
    for (path, line) in [
        ("/odd", "HTTP/1.1 299 Odd Text\r\n"),
        ("/bare", "HTTP/1.1 299 \r\n"),
        ("/teapot", "HTTP/1.1 418 Short and stout\r\n"),
        ("/plain", "HTTP/1.1 200 OK\r\n"),
    ] {
        let (head, _) = told(&dev, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n"));
        assert!(head.starts_with(line), "{path}: {head}");
    }
    assert_eq!(dev.get("/texts").json(), serde_json::json!(["OK", "Odd Text", ""]));
}
