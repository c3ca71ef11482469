//! What `env` holds, and what its members do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use selvedge_model::{Binding, Failure, ModuleKind};
use serde_json::{Value, json};
use support::{Edge, version};

fn binding(name: &str, kind: &str, id: &str) -> Binding {
    let mut binding = Binding::new(name, kind);
    binding.id = Some(id.into());
    binding
}

fn start(source: &str, bindings: Vec<Binding>) -> Edge {
    Edge::start(&version(&[("index.js", ModuleKind::EsModule, source.as_bytes())], bindings))
}

/// The smallest WebAssembly module.
const WASM: &[u8] = b"\0asm\x01\0\0\0";

fn parts() -> Vec<Binding> {
    vec![
        binding("WASM", "wasm_module", "parts/a b.wasm"),
        binding("TEXT", "text_blob", "text"),
        binding("DATA", "data_blob", "./data"),
    ]
}

fn modules(kind: ModuleKind, source: &str) -> Vec<(&str, ModuleKind, &[u8])> {
    vec![
        ("index.js", kind, source.as_bytes()),
        ("parts/a b.wasm", ModuleKind::Wasm, WASM),
        // Whatever it was uploaded as.
        ("text", ModuleKind::EsModule, "grüße".as_bytes()),
        ("./data", ModuleKind::Data, &[0, 255, 7]),
    ]
}

#[test]
fn modules_are_bound_as_what_they_are() {
    let source = "export default { fetch(request, env) { return Response.json([\
        env.WASM instanceof WebAssembly.Module, env.TEXT, env.DATA instanceof ArrayBuffer, [...new Uint8Array(env.DATA)]]); } };";
    let mut edge = Edge::start(&version(&modules(ModuleKind::EsModule, source), parts()));
    assert_eq!(edge.fetch().json(), json!([true, "grüße", true, [0, 255, 7]]));
}

#[test]
fn in_the_service_worker_form_bindings_are_globals() {
    let source = "const instance = new WebAssembly.Instance(WASM); const text = TEXT, data = new Uint8Array(DATA)[1];\
        addEventListener('fetch', (event) => event.respondWith(Response.json([typeof instance, text, data, VAR, JSON_VAR.a, typeof RL.limit])));";
    let mut bindings = parts();
    let mut var = Binding::new("VAR", "text");
    var.text = Some("value".into());
    let mut json_var = Binding::new("JSON_VAR", "json");
    json_var.json = Some(r#"{"a":[1]}"#.into());
    bindings.extend([var, json_var, Binding::new("RL", "ratelimit")]);
    let mut edge = Edge::start(&version(&modules(ModuleKind::Script, source), bindings));
    assert_eq!(edge.fetch().json(), json!(["object", "grüße", 255, "value", [1], "function"]));
}

#[test]
fn a_binding_that_cannot_be_made_fails_the_start_and_is_named() {
    for (bad, text) in [
        (
            binding("BAD", "wasm_module", "text"),
            "the binding \"BAD\" (wasm_module) cannot be made: WebAssembly.Module()",
        ),
        (binding("BAD", "text_blob", "./data"), "the binding \"BAD\" (text_blob) cannot be made"),
        (binding("BAD", "data_blob", "absent"), "the binding \"BAD\" is the module \"absent\", which is missing"),
    ] {
        let source = "export default { fetch() {} };";
        let (_, loaded) = Edge::try_start(&version(&modules(ModuleKind::EsModule, source), vec![bad]));
        let Err(Failure::Exception { exception, .. }) = loaded else {
            panic!("{loaded:?}");
        };
        assert!(exception.message.contains(text), "{exception:?}");
    }
}

#[test]
fn a_rate_limit_asks_the_edge() {
    let mut edge = start(
        "export default { async fetch(request, env) { return Response.json([await env.RL.limit({ key: 'grüße\\n' }), await env.RL.limit({ key: '' })]); } };",
        vec![Binding::new("RL", "ratelimit")],
    );
    edge.world = |head| {
        assert_eq!(head.text(0), "ratelimit:RL");
        let meta: Value = serde_json::from_slice(head.field(3)).unwrap();
        assert!(meta["event"].is_u64(), "{meta}");
        json!({ "success": meta["key"] == "grüße\n" }).to_string()
    };
    assert_eq!(edge.fetch().json(), json!([{ "success": true }, { "success": false }]));
}

#[test]
fn a_rate_limit_without_a_proper_key_is_a_type_error() {
    for (options, text) in [
        ("", "invalid rate limit options"),
        ("null", "invalid rate limit options"),
        ("'key'", "invalid rate limit options"),
        ("{}", "invalid key"),
        ("{ key: 5 }", "invalid key"),
        ("{ key: 'x'.repeat(20000) }", "invalid key: it takes 20000 bytes"),
        ("{ key: 'a', limit: 5 }", "bad rate limit options: [limit]"),
    ] {
        let source = format!(
            "export default {{ async fetch(request, env) {{ try {{ await env.RL.limit({options}); }} catch (error) {{ return Response.json([error.name, error.message]); }} }} }};"
        );
        let told = start(&source, vec![Binding::new("RL", "ratelimit")]).fetch().json();
        assert_eq!(told[0], "TypeError", "{options}");
        assert!(told[1].as_str().unwrap().contains(text), "{options}: {told}");
    }
}

fn unavailable() -> Vec<Binding> {
    [
        ("KV", "kv_namespace"),
        ("DB", "d1"),
        ("BUCKET", "r2_bucket"),
        ("Q", "queue"),
        ("OBJ", "durable_object_namespace"),
        ("FLOW", "workflow"),
        ("AI", "ai"),
        ("HYPER", "hyperdrive"),
    ]
    .map(|(name, kind)| Binding::new(name, kind))
    .into()
}

#[test]
fn using_a_binding_that_is_not_available_yet_says_so() {
    for (use_of, text) in [
        ("await env.KV.get('a')", r#"binding "KV" (KV namespace) is not available yet: "KV.get()" was used"#),
        ("env.DB.prepare('select 1')", r#"binding "DB" (D1 database) is not available yet: "DB.prepare()" was used"#),
        ("await env.BUCKET.get('a')", r#"binding "BUCKET" (R2 bucket) is not available yet"#),
        ("await env.Q.send({})", r#"binding "Q" (queue) is not available yet"#),
        ("env.OBJ.idFromName('a')", r#"binding "OBJ" (Durable Object namespace) is not available yet"#),
        ("await env.FLOW.create()", r#"binding "FLOW" (workflow) is not available yet"#),
        ("await env.AI.run('model')", r#"binding "AI" (Workers AI) is not available yet"#),
        (
            "env.HYPER.connectionString",
            r#"binding "HYPER" (Hyperdrive) is not available yet: "HYPER.connectionString" was used"#,
        ),
        ("env.KV.x = 1", r#""KV.x" cannot be assigned"#),
    ] {
        let source = format!(
            "export default {{ async fetch(request, env) {{ try {{ {use_of}; }} catch (error) {{ return new Response(error.message); }} }} }};"
        );
        let told = start(&source, unavailable()).fetch();
        assert!(told.answer().body.contains(text), "{use_of}: {}", told.answer().body);
    }
}

#[test]
fn having_a_binding_that_is_not_available_yet_hinders_nothing() {
    let source = r#"
      import { env as global } from "cloudflare:workers";
      import { inspect } from "node:util";
      import { DurableObject, WorkflowEntrypoint } from "cloudflare:workers";
      export class Counter extends DurableObject {}
      export class Flow extends WorkflowEntrypoint {}
      const { KV } = global;
      const bound = KV.get;
      export default {
        async fetch(request, env) {
          const spread = { ...env };
          console.log(env);
          console.log("env", env, env.KV);
          await env.KV;
          inspect(env);
          return Response.json([
            JSON.stringify(env.KV), Object.keys(spread).length, String(env.DB), typeof env.Q, typeof bound, "KV" in env,
            env.KV === global.KV, env.KV ? 1 : 0, Object.keys(env.AI), Object.prototype.toString.call(env.AI),
          ]);
        },
      };"#;
    let ended = start(source, unavailable()).fetch();
    assert_eq!(
        ended.json(),
        json!(["{}", 8, "[object Object]", "object", "function", true, true, 1, [], "[object Object]"])
    );
    let empty: serde_json::Map<String, Value> = unavailable().into_iter().map(|one| (one.name, json!({}))).collect();
    assert_eq!(ended.logs[0]["values"], json!([empty]));
}

#[test]
fn a_service_is_not_told_what_only_the_sender_needs_of_a_url() {
    let source = "export default { async fetch(request, env) {
        const ask = async (url) => (await env.SERVICE.fetch(new Request(url, { redirect: 'manual' }))).url;
        return Response.json([await ask('http://user:pass@a.test:81/x?y=a@b#frag'), await ask('http://a.test/@')]);
    } };";
    let mut edge = start(source, vec![Binding::new("SERVICE", "service")]);
    // The answer's URL is the one that was asked for.
    edge.world = |head| json!({ "url": head.text(2) }).to_string();
    assert_eq!(edge.fetch().json(), json!(["http://a.test:81/x?y=a@b", "http://a.test/@"]));
}
