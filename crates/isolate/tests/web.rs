//! The web platform inside a worker, where Workers have it otherwise than Deno's crates.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Edge, Ended, script, version};

fn run(body: &str) -> Ended {
    Edge::start(&script(&format!("export default {{ async fetch(request, env, ctx) {{ {body} }} }};"))).fetch()
}

/// What a fetch handler with this body answers, as JSON.
fn value(body: &str) -> Value {
    run(body).json()
}

const FAILURE: &str = "const failure = async (act) => { try { await act(); } catch (error) { return `${error.name}: ${error.message}`; } return 'none'; };";

#[test]
fn an_empty_body_is_none_where_a_status_has_none() {
    let body = "return Response.json(['', new ArrayBuffer(0), new Uint8Array(0)].flatMap((body) =>
        [204, 205, 304].map((status) => { const response = new Response(body, { status }); return [response.status, response.body]; })))";
    let none = [[204, 205, 304]; 3].concat().into_iter().map(|status| json!([status, null]));
    assert_eq!(value(body), Value::Array(none.collect()));
    assert_eq!(run("return new Response('', { status: 204 })").answer().status, "204");
    let failure =
        value(&format!("{FAILURE} return Response.json(await failure(() => new Response('x', {{ status: 204 }})))"));
    assert!(failure.as_str().unwrap().starts_with("TypeError: "), "{failure}");
    let source = "addEventListener('fetch', (event) => event.respondWith(new Response('', { status: 304 })));";
    let listener = version(&[("index.js", selvedge_model::ModuleKind::Script, source.as_bytes())], vec![]);
    assert_eq!(Edge::start(&listener).fetch().answer().status, "304");
}

#[test]
fn a_body_can_be_read_into_a_buffer() {
    let body = "const read = async (stream, length) => {
          const reader = stream.getReader({ mode: 'byob' });
          const { value, done } = await reader.read(new Uint8Array(length));
          return [new TextDecoder().decode(value), done];
        };
        const least = async (stream) => {
          const reader = stream.getReader({ mode: 'byob' });
          const parts = [];
          for (;;) {
            const { value, done } = await reader.readAtLeast(4, new Uint8Array(4));
            if (done) return parts;
            parts.push(new TextDecoder().decode(value));
          }
        };
        const packed = () => new Response('abcdef').body.pipeThrough(new CompressionStream('gzip'));
        const bytes = new Uint8Array([97, 98, 99]);
        const response = new Response(bytes);
        const clone = response.clone();
        return Response.json([
          await read(new Response('abcdef').body, 4),
          await read(new Response('').body, 4),
          await read(new Request('http://a.test/', { method: 'POST', body: 'abcdef' }).body, 10),
          await least(new Response('abcdef').body),
          (await read(packed(), 2))[1],
          await read(packed().pipeThrough(new DecompressionStream('gzip')), 10),
          await read(response.body, 2), await clone.text(), bytes.length,
          await new Response(new Response('again').body).text(),
          (await Array.fromAsync(new Response('chunk').body)).length,
        ])";
    assert_eq!(
        value(body),
        json!([
            ["abcd", false],
            ["", true],
            ["abcdef", false],
            ["abcd", "ef"],
            false,
            ["abcdef", false],
            ["ab", false],
            "abc",
            3,
            "again",
            1
        ])
    );
}

#[test]
fn buffers_are_transferred_within_the_isolate() {
    let body = "const first = new Uint8Array([1, 2, 3, 4]).buffer;
        const { inner } = structuredClone({ inner: first }, { transfer: [first] });
        const { port1, port2 } = new MessageChannel();
        const heard = new Promise((resolve) => { port2.onmessage = (event) => resolve(event.data); });
        port1.postMessage(inner, [inner]);
        const arrived = await heard;
        port1.close();
        return Response.json([first.byteLength, inner.byteLength, [...new Uint8Array(arrived)]])";
    assert_eq!(value(body), json!([0, 0, [1, 2, 3, 4]]));
}

/// A form of these lines; `^` stands for the end of a line.
fn form(text: &str, end: &str) -> Value {
    let body = json!(text.replace('^', end));
    value(&format!(
        "{FAILURE} let entries;
         const failed = await failure(async () => {{
           const form = await new Response({body}, {{ headers: {{ 'content-type': 'multipart/form-data; boundary=B' }} }}).formData();
           entries = await Promise.all([...form].map(async ([name, value]) =>
             typeof value === 'string' ? [name, value] : [name, value.name, value.type, await value.text()]));
         }});
         return Response.json(entries ?? failed)"
    ))
}

#[test]
fn a_form_of_parts_is_read_whole_or_not_at_all() {
    let whole = "--B^Content-Disposition: form-data; name=\"a\"^^1^2^--B^\
        Content-Disposition: form-data; name=\"f\"; filename=\"q\\\"z.txt\"^^hi^--B--^";
    for end in ["\r\n", "\n"] {
        assert_eq!(form(whole, end), json!([["a", format!("1{end}2")], ["f", "q\"z.txt", "", "hi"]]));
    }
    for (broken, why) in [
        ("--B^Content-Disposition: form-data; name=\"a\"^^cut", "ends within a part"),
        ("--B^Content-Disposition: form-data; name=\"a\"", "ends among the headers"),
        ("--B^Content-Disposition: form-data^^1^--B--^", "has no name"),
        ("--B^^1^--B--^", "has no header \"Content-Disposition: form-data\""),
        ("", "does not have its boundary"),
    ] {
        let failed = form(broken, "\r\n");
        let failed = failed.as_str().unwrap_or_else(|| panic!("{broken}: {failed}"));
        assert!(failed.starts_with("TypeError: ") && failed.contains(why), "{failed}");
    }
    let long = format!("--B^X: {}^^", "x".repeat(20_000));
    assert!(form(&long, "\r\n").as_str().unwrap().contains("more than 16384 bytes"));
}

#[test]
fn a_response_that_was_read_is_not_sent() {
    for used in [
        "const response = new Response('x'); await response.text(); return response",
        "const response = Response.json({ a: 1 }); await response.json(); return response",
        "const response = new Response('x', { headers: { a: 'b' } }); await response.text(); return response",
        "const response = new Response('x'); response.body.tee(); return response",
    ] {
        let reset = run(used).answer.unwrap_err();
        assert!(reset.text.contains("Body has already been used"), "{reset:?}");
    }
    let mut twice =
        Edge::start(&script("const response = new Response('x'); export default { fetch: () => response };"));
    assert_eq!(twice.fetch().answer().body, "x");
    assert!(twice.fetch().answer.unwrap_err().text.contains("Body has already been used"));
}

#[test]
fn methods_are_in_upper_case() {
    let body = "return Response.json(['patch', 'Get', 'DELETE'].map((method) => new Request('http://a.test/', { method }).method))";
    assert_eq!(value(body), json!(["PATCH", "GET", "DELETE"]));
}

#[test]
fn a_data_url_is_fetched_without_asking_anyone() {
    let body = format!(
        "{FAILURE} const of = async (url) => {{ const response = await fetch(url); return [response.headers.get('content-type'), await response.text()]; }};
         return Response.json([await of('data:text/plain,hi'), await of('data:,a%20b'), await of('data:text/html;charset=utf-8;base64,PGI+'),
           await of('data:;charset=utf-8,x#y'), await failure(() => fetch('data:nothing'))])"
    );
    assert_eq!(
        value(&body),
        json!([
            ["text/plain", "hi"],
            ["text/plain;charset=US-ASCII", "a b"],
            ["text/html;charset=utf-8", "<b>"],
            ["text/plain;charset=utf-8", "x"],
            "TypeError: Fetch API cannot load: the data: URL has no comma."
        ])
    );
}

#[test]
fn a_function_of_the_context_needs_its_object() {
    let body =
        format!("{FAILURE} const {{ waitUntil }} = ctx; return Response.json(await failure(() => waitUntil(1)))");
    assert_eq!(value(&body), json!("TypeError: Illegal invocation: function called with incorrect `this` reference."));
}

#[test]
fn no_clock_runs_while_code_does() {
    let body = "const ask = () => [new Intl.DateTimeFormat('en', { timeStyle: 'full' }).format(),
            new Intl.DateTimeFormat('en', { hour: 'numeric', minute: 'numeric', second: 'numeric', fractionalSecondDigits: 3 }).format(),
            new File([], 'x').lastModified, Date.now()];
        const before = ask();
        console.time('t');
        let sum = 0;
        for (let i = 0; i < 3e6; i++) sum += Math.sqrt(i);
        console.timeLog('t', 'still');
        console.timeEnd('t');
        console.timeEnd('t');
        const after = ask();
        return Response.json([JSON.stringify(before) === JSON.stringify(after), before[2] === before[3]])";
    let ended = run(body);
    assert_eq!(ended.json(), json!([true, true]));
    let logged: Vec<&Value> = ended.logs.iter().map(|record| &record["message"][0]).collect();
    assert_eq!(json!(logged), json!(["t: 0ms still", "t: 0ms", "Timer 't' does not exist"]));
}

#[test]
fn what_has_no_values_is_logged_without_colours() {
    let ended = run("console.table([{ a: 1 }]); console.dir({ a: 'x' }); return new Response()");
    assert_eq!(ended.logs.len(), 2);
    assert!(!json!(ended.logs).to_string().contains("\\u001b"), "{:?}", ended.logs);
}
