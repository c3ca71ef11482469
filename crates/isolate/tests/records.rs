//! What an isolate tells of its events besides their answers: log records, exceptions, CPU time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Edge, Ended, script};

/// The records of a fetch handler with this body.
fn records(body: &str) -> Vec<Value> {
    run(body).logs
}

fn run(body: &str) -> Ended {
    let ended = Edge::start(&script(&format!(
        "export default {{ async fetch(request, env, ctx) {{ {body}; return new Response() }} }};"
    )))
    .fetch();
    ended.answer();
    ended
}

/// What the arguments of one `console.log` become: the text, and the values where they differ.
fn logged(arguments: &str) -> (Value, Option<Value>) {
    let records = records(&format!("console.log({arguments})"));
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    (record["message"].clone(), record.get("values").cloned())
}

#[test]
fn a_record_has_its_level_and_the_clock_that_code_sees() {
    let ended = run(
        "for (const level of ['debug', 'log', 'info', 'warn', 'error']) console[level](level); console.log(String(Date.now()))",
    );
    let levels: Vec<&Value> = ended.logs.iter().map(|record| &record["level"]).collect();
    assert_eq!(json!(levels), json!(["debug", "log", "info", "warn", "error", "log"]));
    let now: u64 = ended.logs[5]["message"][0].as_str().unwrap().parse().unwrap();
    assert!(ended.logs.iter().all(|record| record["timestamp"] == now), "{:?}", ended.logs);
}

#[test]
fn the_rest_of_the_console_has_levels_too() {
    let records = records(
        "console.dir({ a: 1 }); console.table([1]); console.assert(false, 'no'); console.group('g'); console.log('in'); \
         console.groupEnd(); console.trace('here')",
    );
    let told: Vec<Value> = records.iter().map(|record| json!([record["level"], record.get("values")])).collect();
    assert_eq!(
        json!(told),
        json!([["log", null], ["log", null], ["error", null], ["log", null], ["log", ["in"]], ["log", null]])
    );
    assert!(records[5]["message"][0].as_str().unwrap().starts_with("Trace: here\n    at "), "{:?}", records[5]);
}

#[test]
fn values_are_told_where_the_text_does_not_say_the_same() {
    assert_eq!(logged("'one string'"), (json!(["one string"]), None));
    assert_eq!(logged("'%s is %d', 'x', 5"), (json!(["x is 5"]), Some(json!(["%s is %d", "x", 5]))));
    assert_eq!(logged("'a', 'b'"), (json!(["a b"]), Some(json!(["a", "b"]))));
    let values = |arguments| logged(arguments).1.unwrap();
    assert_eq!(values("1.5, true, null, undefined, NaN"), json!([1.5, true, null, null, null]));
    assert_eq!(values("{ a: [1, { b: 'c' }], d: undefined }"), json!([{ "a": [1, { "b": "c" }] }]));
    assert_eq!(values("[1, 'two', [3]]"), json!([[1, "two", [3]]]));
    assert_eq!(values("'when', new Date(0)"), json!(["when", "1970-01-01T00:00:00.000Z"]));
    assert_eq!(values("new URL('http://a.test/'), Object.create(null)"), json!(["http://a.test/", {}]));
}

#[test]
fn what_json_cannot_say_is_told_as_text() {
    let values = |arguments| logged(arguments).1.unwrap();
    assert_eq!(values("new Map([[1, 2]]), 12n, Symbol('s')"), json!(["Map(1) { 1 => 2 }", "12n", "Symbol(s)"]));
    assert_eq!(
        values("'a', function name() {}, Promise.resolve(1)"),
        json!(["a", "[Function: name]", "Promise { 1 }"])
    );
    assert_eq!(values("'a', { big: 1n }"), json!(["a", "{ big: 1n }"]));
    let failed = values("'failed', new RangeError('no')");
    assert!(failed[1].as_str().unwrap().starts_with("RangeError: no\n    at "), "{failed}");
}

#[test]
fn values_that_are_too_large_are_told_as_text_without_colours() {
    let (message, values) = logged("'a', ...Array.from({ length: 5 }, () => ({ text: 'x'.repeat(20000) }))");
    assert!(message[0].as_str().unwrap().contains('\u{1b}'));
    let values = values.unwrap();
    assert!(values[0].as_str().unwrap().starts_with("a {\n  text: \"xxx"), "{values}");
    assert!(!values.to_string().contains("\\u001b"));
    let (message, values) = logged("'a', 'x'.repeat(100000)");
    assert_eq!((message[0].as_str().unwrap().len(), values), (100_002, None));
}

#[test]
fn hostile_values_neither_throw_nor_get_past_the_bound_of_logs() {
    for value in [
        "{ get a() { throw new Error('mine') } }",
        "{ toJSON() { throw new Error('mine') } }",
        "{ toJSON() { return this } }",
        "(() => { const cycle = {}; cycle.self = cycle; return cycle })()",
        "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 }, getPrototypeOf() { throw 3 } })",
        "new Proxy([], { get() { throw 1 } })",
        "(() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy })()",
        "new Array(1e9)",
        "{ huge: 'x'.repeat(1e7) }",
        "{ toJSON() { return 'x'.repeat(1e7) } }",
        "(() => { let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; return deep })()",
        "(() => { let deep = {}; for (let i = 0; i < 100; i++) deep = { deep }; return deep })()",
        "{ get a() { console.log(this); return 1 } }",
        "{ toJSON() { console.log(this, 1); return 1 } }",
        "{ [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('mine') } }",
        "Object.fromEntries(Array.from({ length: 3e3 }, (_, i) => ['key' + i, i]))",
    ] {
        let ended = run(&format!(
            "try {{ console.log('before', {value}) }} catch (error) {{ console.log('threw ' + error) }}; console.log('after')"
        ));
        let texts: Vec<String> =
            ended.logs.iter().map(|record| record["message"][0].as_str().unwrap().into()).collect();
        assert_eq!(texts.last().unwrap(), "after", "{value}: {texts:?}");
        assert!(texts.len() <= 4, "{value}: {texts:?}");
        let bytes: usize = ended.logs.iter().map(|record| record.to_string().len()).sum();
        assert!(bytes < 256 * 1024, "{value}: {bytes} bytes");
    }
}

#[test]
fn a_worker_that_tampers_with_builtins_breaks_no_record() {
    let records = records(
        "Array.prototype.toJSON = Object.prototype.toJSON = () => 'mine'; \
         Array.prototype[Symbol.iterator] = () => { throw 1 }; Array.prototype.push = Array.prototype.pop = () => { throw 2 }; \
         JSON.stringify = () => { throw 3 }; console.log('a', 5)",
    );
    assert_eq!(records[0]["values"], json!(["a", 5]));
}

#[test]
fn exceptions_that_end_no_answer_are_marked() {
    let records = records(
        "ctx.waitUntil(Promise.reject(new TypeError('late'))); ctx.waitUntil(Promise.reject('just text')); \
         setTimeout(() => { throw new RangeError('timer') }, 1); await scheduler.wait(20)",
    );
    let told: Vec<Value> = records
        .iter()
        .map(|record| {
            json!([record["during"], record["exception"]["name"], record["exception"]["message"], record["level"]])
        })
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["waitUntil", "TypeError", "late", "error"],
            ["waitUntil", "Error", "just text", "error"],
            ["uncaught", "RangeError", "timer", "error"],
        ])
    );
    assert!(records.iter().all(|record| record["timestamp"].is_u64()));
    assert!(records[0]["exception"]["stack"].as_str().unwrap().contains("file:///index.js:1:"), "{:?}", records[0]);
    // A rejection that nobody handled ends nothing.
    let records = self::records("Promise.reject(new Error('nobody')); await scheduler.wait(1)");
    assert!(records[0].get("exception").is_none(), "{records:?}");
}

/// What a fetch handler with this body published to channels, and what it logged besides.
fn published(body: &str) -> (Value, usize) {
    let source = format!(
        "import {{ channel, subscribe, tracingChannel }} from 'node:diagnostics_channel'; channel('start').publish('early'); \
         export default {{ async fetch() {{ {body}; return new Response() }} }};"
    );
    let mut version = script(&source);
    version.manifest.compatibility_flags = vec!["nodejs_compat".into()];
    let ended = Edge::start(&version).fetch();
    ended.answer();
    let (messages, logs): (Vec<&Value>, Vec<&Value>) =
        ended.logs.iter().partition(|record| record.get("channel").is_some());
    assert!(messages.iter().all(|record| record["timestamp"].is_u64()));
    let messages: Vec<Value> = messages.iter().map(|record| json!([record["channel"], record["values"][0]])).collect();
    (json!(messages), logs.len())
}

#[test]
fn what_is_published_to_channels_is_told_whether_or_not_anybody_subscribed() {
    let told = published(
        "const heard = []; const one = channel('one'); one.publish({ a: [1, 'b'] }); subscribe('one', (message) => heard.push(message)); \
         one.publish('again'); channel(Symbol('two')).publish(null); one.runStores(1, () => {}); \
         channel('three').runStores(2, () => {}); console.log(heard.length)",
    );
    let expected =
        json!([["one", { "a": [1, "b"] }], ["one", "again"], ["Symbol(two)", null], ["one", 1], ["three", 2]]);
    // The subscriber heard two, of which the log tells; what was published while the worker started has no event.
    assert_eq!(told, (expected, 1));
}

#[test]
fn what_cannot_be_told_of_a_channel_is_replaced_and_throws_nothing() {
    let (messages, _) = published(
        "const it = channel('it'); it.publish(() => {}); it.publish(Symbol('s')); it.publish('x'.repeat(1e5)); \
         it.publish({ get a() { throw new Error('mine') } }); it.publish({ get a() { it.publish('inner'); return 1 } }); \
         it.name = { toString() { throw new Error('mine') } }; it.publish('nameless')",
    );
    let told: Vec<&Value> = messages.as_array().unwrap().iter().map(|message| &message[1]).collect();
    let gone = json!("[[ Diagnostic event was not serializable ]]");
    assert_eq!(told[..3], [&gone, &gone, &gone]);
    assert!(told[3].as_str().unwrap().contains("[Getter]"), "{}", told[3]);
    assert_eq!(told[4..], [&json!({ "a": 1 })]);
}

#[test]
fn an_event_s_cpu_time_is_told_with_its_end() {
    const BUSY: &str = "let at = 0; for (let i = 0; i < 2e8; i++) at = (at * 31 + i) | 0; globalThis.at = at";
    // In one turn, in several, and after the answer.
    for body in [
        BUSY.to_owned(),
        format!("await scheduler.wait(1); {BUSY}"),
        format!("ctx.waitUntil(scheduler.wait(1).then(() => {{ {BUSY} }}))"),
    ] {
        let began = std::time::Instant::now();
        let ended = run(&body);
        let elapsed = began.elapsed().as_micros() as u64;
        assert!(ended.cpu_us > 30_000 && ended.cpu_us <= elapsed, "{} of {elapsed} µs: {body}", ended.cpu_us);
    }
    // What is little is told too.
    let little = run("").cpu_us;
    assert!((1..30_000).contains(&little), "{little} µs");
    let large = run("return new Response('x'.repeat(200000))").cpu_us;
    assert!((1..200_000).contains(&large), "{large} µs");
}
