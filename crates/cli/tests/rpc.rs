//! Service bindings: `fetch` and RPC between workers of one `dev`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::{Dev, Folder};

const CALLEE: &str = r#"
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

class Counter extends RpcTarget {
  #value = 0;
  own = "not for callers";
  increment(by = 1) { return this.#value += by; }
  get value() { return this.#value; }
  [Symbol.dispose]() { globalThis.disposed = (globalThis.disposed ?? 0) + 1; }
}

export class Api extends WorkerEntrypoint {
  own = 5;
  add(a, b) { return a + b; }
  echo(value) { return value; }
  get limit() { return 42; }
  who() { return this.ctx.props; }
  counter() { return new Counter(); }
  twice(f, value) { return Promise.resolve(f(value)).then(f); }
  functions() { return { double: (n) => n * 2, n: 1 }; }
  fails() { const error = new TypeError("bad"); error.code = 7; throw error; }
  custom() { const error = new Error("mine"); error.name = "Mine"; throw error; }
  alien() { return new (class Zed {})(); }
  disposed() { return globalThis.disposed ?? 0; }
  stream(n) {
    return new ReadableStream({ type: "bytes", async start(c) { for (let i = 0; i < n; i++) c.enqueue(new Uint8Array(65536).fill(i)); c.close(); } });
  }
  async count(stream) { let bytes = 0; for await (const chunk of stream) bytes += chunk.byteLength; return bytes; }
  async fill(writable) { const w = writable.getWriter(); await w.write(new TextEncoder().encode("hello ")); await w.write(new TextEncoder().encode("there")); await w.close(); }
  async page(request) { return new Response(request.method + " " + request.url + " " + await request.text(), { status: 201, headers: { "x-y": "z" } }); }
  big(n) { return new Uint8Array(n); }
  fetch(request) {
    const url = new URL(request.url);
    if (url.pathname === "/redirect") return new Response(null, { status: 302, headers: { location: "/after" } });
    return Response.json({ method: request.method, url: request.url, cf: request.cf ?? null, redirect: request.redirect });
  }
}

export const plain = { greet(name, env, ctx) { return `hello ${name}, ${typeof env}, ${typeof ctx.waitUntil}`; } };

export default { async fetch(request) { return new Response(`callee: ${await request.text()}`); } };
"#;

const CALLER: &str = r#"
import { RpcPromise, RpcProperty, RpcStub } from "cloudflare:workers";
const attempt = async (f) => { try { return await f(); } catch (e) { return `${e.name}: ${e.message}`; } };
const cases = {
  plain: async ({ API }) => [await API.add(1, 2), await API.limit, await API.who()],
  values: async ({ API }) => {
    const value = { d: new Date(5), m: new Map([["k", new Set([1n])]]), u: new Uint8Array([1, 2]), n: null, x: undefined, a: [1, , 3], e: new RangeError("r") };
    value.self = value;
    const got = await API.echo(value);
    return [got.d.getTime(), [...got.m.get("k")].map(String), [...got.u], got.n, "x" in got, got.a.length, got.e instanceof RangeError, got.e.message, got.self === got];
  },
  hidden: async ({ API }) => [await attempt(() => API.own), await attempt(() => API.nope()), await attempt(() => API.constructor.name)],
  errors: async ({ API }) => {
    const out = [];
    for (const name of ["fails", "custom", "alien"]) {
      try { await API[name](); } catch (e) { out.push([e.name, e.message, e instanceof TypeError, e.remote, e.code ?? null]); }
    }
    return out;
  },
  target: async ({ API }) => {
    using counter = await API.counter();
    const first = await counter.increment();
    return [first, await counter.increment(5), await counter.value, await attempt(() => counter.own), counter instanceof RpcStub];
  },
  pipelined: async ({ API }) => [await API.counter().increment(3), await API.functions().double(21), await API.functions().n],
  callbacks: async ({ API }) => { let calls = 0; const value = await API.twice((n) => { calls++; return n * 10; }, 5); return [value, calls]; },
  functions: async ({ API }) => {
    using got = await API.functions();
    return [await got.double(4), got.n, typeof got[Symbol.dispose]];
  },
  classes: async ({ API }) => { const p = API.add(1, 1); const property = API.limit; return [p instanceof RpcPromise, property instanceof RpcProperty, typeof API, await p]; },
  disposal: async ({ API }) => {
    const before = await API.disposed();
    const counter = await API.counter();
    const copy = counter.dup();
    counter[Symbol.dispose]();
    const still = await copy.increment();
    copy[Symbol.dispose]();
    const after = await attempt(() => copy.increment());
    for (let i = 0; i < 20 && await API.disposed() === before; i++) await new Promise((r) => setTimeout(r, 25));
    return [still, after, await API.disposed() > before];
  },
  streams: async ({ API }) => {
    let bytes = 0;
    for await (const chunk of await API.stream(40)) bytes += chunk.byteLength;
    const sent = new ReadableStream({ type: "bytes", start(c) { for (let i = 0; i < 20; i++) c.enqueue(new Uint8Array(65536)); c.close(); } });
    const { readable, writable } = new TransformStream();
    const text = new Response(readable).text();
    const filling = API.fill(writable);
    return [bytes, await API.count(sent), await text, await filling ?? null];
  },
  http: async ({ API }) => {
    const response = await API.page(new Request("http://x/y", { method: "POST", body: "body" }));
    return [response.status, response.headers.get("x-y"), await response.text()];
  },
  large: async ({ API }) => [(await API.big(3 << 20)).length, (await API.echo(new Uint8Array(1 << 20))).length, await attempt(() => API.big(33 << 20)), await attempt(() => API.echo(new Uint8Array(33 << 20)))],
  object: async ({ PLAIN }) => [await PLAIN.greet("you"), await attempt(() => PLAIN.greet("a", "b"))],
  fetch: async ({ API, DEFAULT }) => [
    await (await DEFAULT.fetch("http://d/", { method: "POST", body: "posted" })).text(),
    await (await API.fetch("http://x/a", { cf: { a: 1 } })).json(),
    await API.fetch("http://x/redirect").then(async (r) => [r.status, r.url, r.redirected, (await r.json()).url]),
    await API.fetch("http://x/redirect", { redirect: "manual" }).then((r) => r.status),
  ],
  together: async ({ API }) => { const all = await Promise.all(Array.from({ length: 30 }, (_, i) => API.add(i, i))); return all.reduce((a, b) => a + b, 0); },
};
export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname.slice(1);
    return Response.json(await cases[name](env));
  },
};
"#;

fn start() -> (Dev, Folder) {
    let folder = Folder::new();
    folder.file(
        "callee/wrangler.jsonc",
        r#"{ "name": "callee", "main": "index.js", "compatibility_date": "2026-11-01" }"#,
    );
    folder.file("callee/index.js", CALLEE);
    folder.file(
        "caller/wrangler.jsonc",
        r#"{ "name": "caller", "main": "index.js", "compatibility_date": "2026-11-01", "services": [
            { "binding": "API", "service": "callee", "entrypoint": "Api", "props": { "role": "friend" } },
            { "binding": "PLAIN", "service": "callee", "entrypoint": "plain" },
            { "binding": "DEFAULT", "service": "callee" } ] }"#,
    );
    folder.file("caller/index.js", CALLER);
    let paths = [folder.path().join("caller"), folder.path().join("callee")];
    let dev = Dev::start(&[&paths[0], &paths[1]], &[]);
    (dev, folder)
}

#[test]
fn methods_properties_and_values_cross() {
    let (dev, _folder) = start();
    let get = |name: &str| dev.get(&format!("/{name}")).json();
    assert_eq!(get("plain"), serde_json::json!([3, 42, { "role": "friend" }]));
    assert_eq!(get("values"), serde_json::json!([5, ["1"], [1, 2], null, true, 3, true, "r", true]));
    assert_eq!(
        get("hidden"),
        serde_json::json!([
            "TypeError: The RPC receiver does not implement the method \"own\".",
            "TypeError: The RPC receiver does not implement the method \"nope\".",
            "ServiceStub"
        ])
    );
    assert_eq!(
        get("errors"),
        serde_json::json!([
            ["TypeError", "bad", true, true, 7],
            ["Mine", "mine", false, true, null],
            [
                "DataCloneError",
                "Could not serialize object of type \"Zed\". This type does not support serialization.",
                false,
                true,
                25
            ]
        ])
    );
    assert_eq!(get("object")[0], "hello you, object, function");
    assert!(get("object")[1].as_str().unwrap().contains("wrong number of arguments"));
    assert_eq!(get("classes"), serde_json::json!([true, true, "object", 2]));
    assert_eq!(get("together"), 870);
}

#[test]
fn targets_functions_and_pipelines_work_both_ways() {
    let (dev, _folder) = start();
    let get = |name: &str| dev.get(&format!("/{name}")).json();
    assert_eq!(
        get("target"),
        serde_json::json!([1, 6, 6, "TypeError: The RPC receiver does not implement the method \"own\".", true])
    );
    assert_eq!(get("pipelined"), serde_json::json!([3, 42, 1]));
    assert_eq!(get("callbacks"), serde_json::json!([500, 2]));
    assert_eq!(get("functions"), serde_json::json!([8, 1, "function"]));
    assert_eq!(get("disposal"), serde_json::json!([1, "Error: RPC stub used after being disposed.", true]));
}

#[test]
fn streams_and_http_cross_and_large_values_are_bounded() {
    let (dev, _folder) = start();
    let get = |name: &str| dev.get(&format!("/{name}")).json();
    assert_eq!(get("streams"), serde_json::json!([40 * 65536, 20 * 65536, "hello there", null]));
    assert_eq!(get("http"), serde_json::json!([201, "z", "POST http://x/y body"]));
    let large = get("large");
    assert_eq!((&large[0], &large[1]), (&serde_json::json!(3 << 20), &serde_json::json!(1 << 20)));
    for index in [2, 3] {
        assert!(large[index].as_str().unwrap().contains("limited to 32MiB"), "{large}");
    }
}

#[test]
fn fetch_follows_redirects_within_the_service() {
    let (dev, _folder) = start();
    let got = dev.get("/fetch").json();
    assert_eq!(got[0], "callee: posted");
    assert_eq!(
        got[1],
        serde_json::json!({ "method": "GET", "url": "http://x/a", "cf": { "a": 1 }, "redirect": "manual" })
    );
    assert_eq!(got[2], serde_json::json!([200, "http://x/after", true, "http://x/after"]));
    assert_eq!(got[3], 302);
}

#[test]
fn a_worker_reaches_its_own_entrypoints() {
    let (dev, _folder) = Dev::script(
        r#"import { WorkerEntrypoint, env, exports, withEnv } from "cloudflare:workers";
        export class Inner extends WorkerEntrypoint { who() { return this.ctx.props; } fetch() { return new Response("inner"); } }
        export default class extends WorkerEntrypoint {
          async fetch() {
            const { Inner } = this.ctx.exports;
            return Response.json([Object.keys(this.ctx.exports), await Inner.who(), await Inner({ props: { a: 1 } }).who(),
              await (await exports.Inner.fetch("http://x/")).text(), withEnv({ A: 1 }, () => env.A), typeof env.A]);
          }
        }"#,
    );
    let got = dev.get("/").json();
    assert_eq!(got, serde_json::json!([["Inner", "default"], {}, { "a": 1 }, "inner", 1, "undefined"]));
}
