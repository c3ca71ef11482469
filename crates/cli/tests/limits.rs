//! Code that uses more than it may gets a clear answer, and the worker beside it notices nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Answer, Dev, Folder, ask, children, raw, resident_peak_kib};

/// The longest that a neighbour may wait: a stalled runner would take as long as the limit that it exceeds, at least.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(3);

const NEIGHBOUR: &str = r#"
const wait = (ms) => new Promise((go) => setTimeout(go, ms));
export default {
  async fetch(request) {
    if (new URL(request.url).pathname === "/slow") await wait(4000);
    return new Response("here");
  },
};
"#;

/// Asks a worker all the time, from a thread of its own.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Neighbour {
    fn of(dev: &Dev) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopped) = (dev.address, Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut asked, mut longest) = (0, Duration::ZERO);
            // Once at least, though the other be done before this thread begins.
            while asked == 0 || !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = ask(address, "GET", Some("neighbour"), "/", &[], &[]);
                assert_eq!((answer.status, answer.text().as_str()), (200, "here"));
                longest = longest.max(began.elapsed());
                asked += 1;
            }
            (asked, longest)
        });
        Self { stop, thread }
    }

    /// Every request of the neighbour was answered, and none waited for the one who misbehaved.
    fn noticed_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (asked, longest) = self.thread.join().expect("a request of the neighbour failed");
        println!("the neighbour asked {asked} times and waited {longest:?} at most");
        assert!(longest < NEIGHBOUR_MAX, "the neighbour waited {longest:?}");
    }
}

/// A project named `worker` beside a neighbour.
fn start(limits: &str, source: &str, files: &[(&str, &[u8])]) -> (Dev, Folder) {
    let folder = Folder::new();
    folder.file(
        "worker/wrangler.jsonc",
        &format!(
            r#"{{ "name": "worker", "main": "src/index.ts", "compatibility_date": "2026-11-01", "limits": {limits} }}"#
        ),
    );
    folder.file("worker/src/index.ts", source);
    for (name, bytes) in files {
        std::fs::write(folder.path().join("worker/src").join(name), bytes).unwrap();
    }
    let neighbour = folder.file("neighbour.js", NEIGHBOUR);
    let worker = folder.path().join("worker");
    let dev = Dev::start(&[&worker, &neighbour], &["--no-watch"]);
    (dev, folder)
}

/// Where `marker` stands in the source.
fn line_of(source: &str, marker: &str) -> String {
    let line = source.lines().position(|line| line.contains(marker)).unwrap() + 1;
    format!("src/index.ts:{line}:")
}

fn assert_limit(answer: &Answer, status: u16, limit: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"], "limit_exceeded", "{body:#}");
    assert_eq!(body["limit"], limit, "{body:#}");
    assert_eq!(body["worker"], "worker", "{body:#}");
    assert_eq!(body["version"].as_str().unwrap().len(), 16, "{body:#}");
    assert_eq!(body["request_id"].as_str().unwrap().len(), 16, "{body:#}");
    assert!(body["used"].as_u64() >= body["allowed"].as_u64(), "{body:#}");
    body
}

/// The line of the terminal says the same as the answer.
fn assert_terminal(dev: &mut Dev, body: &Value) {
    let id = body["request_id"].as_str().unwrap();
    let printed = dev.wait_output(id);
    let line = printed.lines().find(|line| line.contains(id)).unwrap();
    let limit = body["limit"].as_str().unwrap();
    assert!(line.contains("[worker]") && line.contains(&format!("{limit} limit exceeded")), "{line}");
    assert!(line.contains(&format!("allowed {}", body["allowed"])), "{line}");
    assert!(line.contains(&format!("used {}", body["used"])), "{line}");
    assert!(line.contains(body["version"].as_str().unwrap()), "{line}");
    if let Some(place) = body["where"].as_str() {
        assert!(line.contains(place), "{line}");
    }
}

/// `(module (func (export "spin") (loop br 0)))`
const SPIN: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x04, 0x01, 0x60, 0x00, 0x00, 0x03, 0x02, 0x01, 0x00, 0x07,
    0x08, 0x01, 0x04, b's', b'p', b'i', b'n', 0x00, 0x00, 0x0a, 0x09, 0x01, 0x07, 0x00, 0x03, 0x40, 0x0c, 0x00, 0x0b,
    0x0b,
];

const SPINNERS: &str = r#"
import module from "./spin.wasm";

interface Env {}
type Spinner = () => unknown;

let counted: number = 0;
function loop(): never {
  for (;;) counted++; // LOOP
}
async function microtasks(): Promise<void> {
  const again = (): Promise<void> => Promise.resolve().then(again);
  await again();
}
function expression(): boolean {
  return /^(a+)+$/.test("a".repeat(40) + "b"); // EXPRESSION
}
function wasm(): void {
  const instance = new WebAssembly.Instance(module, {});
  (instance.exports.spin as () => void)(); // WASM
}
async function awaits(): Promise<void> {
  for (;;) {
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
    for (let i = 0; i < 2_000_000; i++) counted++;
  }
}
function products(): never {
  for (let n = 3n; ; ) n *= n; // Each takes three times as long as the one before.
}
function getter(): unknown {
  return { get status() { for (;;) counted++; } };
}
function sort(): unknown {
  return [3, 2, 1].sort(() => { for (;;) counted++; });
}

const spinners: Record<string, Spinner> = { loop, microtasks, expression, wasm, awaits, sort, products };

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const name = new URL(request.url).pathname.slice(1);
    if (name === "") return new Response("well");
    if (name === "getter") return new Response("", getter() as ResponseInit);
    await spinners[name]();
    return new Response("done");
  },
};
"#;

#[test]
fn code_that_does_not_end_is_stopped_wherever_it_is() {
    let (mut dev, _folder) = start(r#"{ "cpu_ms": 200 }"#, SPINNERS, &[("spin.wasm", SPIN)]);
    let runners = children(dev.pid());
    assert_eq!(dev.get("/").text(), "well");
    let neighbour = Neighbour::of(&dev);
    for (name, marker) in [
        ("loop", Some("// LOOP")),
        ("microtasks", None),
        ("expression", Some("// EXPRESSION")),
        ("wasm", Some("// WASM")),
        ("awaits", None),
        ("sort", None),
        ("products", None),
        ("getter", None),
    ] {
        let began = Instant::now();
        let answer = dev.get(&format!("/{name}"));
        let body = assert_limit(&answer, 503, "cpu_ms");
        println!("{name}: {} after {:?}", body["message"], began.elapsed());
        assert_eq!(body["allowed"], 200, "{name}");
        let place = body["where"].as_str().unwrap_or_default();
        match marker {
            Some(marker) => assert!(place.starts_with(&line_of(SPINNERS, marker)), "{name}: {place}"),
            None => assert!(place.is_empty() || place.starts_with("src/index.ts:"), "{name}: {place}"),
        }
        assert_terminal(&mut dev, &body);
        assert_eq!(dev.get("/").text(), "well", "after {name}");
    }
    neighbour.noticed_nothing();
    assert_eq!(children(dev.pid()), runners, "no runner ended");
}

const UNSTOPPABLE: &str = r#"
export default {
  async fetch(request: Request): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case "/search": return new Response(String(Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)));
      case "/later": await new Promise((go) => setTimeout(go, 10)); Array.prototype.lastIndexOf.call({ length: 2 ** 53 - 1 }, 1);
    }
    return new Response("well");
  },
};
"#;

/// Loops inside of V8 that look for no interrupt: the process must end, and be empty of others by then.
#[test]
fn code_that_cannot_be_interrupted_ends_alone() {
    let (mut dev, _folder) = start(r#"{ "cpu_ms": 100 }"#, UNSTOPPABLE, &[]);
    for path in ["/search", "/later"] {
        assert_eq!(dev.get("/").text(), "well");
        assert_eq!(dev.get_of("neighbour", "/").text(), "here");
        let before = children(dev.pid());
        let neighbour = Neighbour::of(&dev);
        let address = dev.address;
        let slow = std::thread::spawn(move || ask(address, "GET", Some("neighbour"), "/slow", &[], &[]));
        let body = assert_limit(&dev.get(path), 503, "cpu_ms");
        assert_eq!(body["allowed"], 100, "{body:#}");
        assert_terminal(&mut dev, &body);
        assert_eq!(dev.get("/").text(), "well", "after {path}");
        let slow = slow.join().unwrap();
        assert_eq!((slow.status, slow.text().as_str()), (200, "here"), "what had begun beside it goes on");
        let began = Instant::now();
        while before.is_subset(&children(dev.pid())) {
            assert!(began.elapsed() < Duration::from_secs(30), "the runner goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        neighbour.noticed_nothing();
    }
}

#[test]
fn a_start_that_cannot_be_interrupted_is_reported() {
    let source =
        "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);\nexport default { fetch: () => new Response() };";
    let (dev, _folder) = start("{}", source, &[]);
    assert_limit(&dev.get("/"), 503, "startup_ms");
    assert_eq!(dev.get_of("neighbour", "/").text(), "here");
}

#[test]
fn a_limit_is_a_page_for_a_browser() {
    let (dev, _folder) = start(r#"{ "cpu_ms": 50 }"#, SPINNERS, &[("spin.wasm", SPIN)]);
    let answer = dev.ask("GET", None, "/loop", &[("accept", "text/html,*/*")], &[]);
    assert_eq!(answer.status, 503);
    assert!(answer.header("content-type").unwrap().starts_with("text/html"));
    let page = answer.text();
    for part in ["cpu_ms", "<th>used</th>", "<td>50</td>", "<td>worker</td>", "version", "request_id", "src/index.ts:"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn the_cpu_limit_of_the_configuration_is_the_one_that_counts() {
    let (dev, _folder) = start(r#"{ "cpu_ms": 50 }"#, SPINNERS, &[("spin.wasm", SPIN)]);
    let body = assert_limit(&dev.get("/loop"), 503, "cpu_ms");
    assert_eq!(body["allowed"], 50);
    assert!(body["used"].as_u64().unwrap() < 1_000, "{body:#}");
}

#[test]
fn a_start_that_does_not_end_is_stopped() {
    let source = "let n: number = 0;\n\nfor (;;) n++;\nexport default { fetch: () => new Response() };\n";
    let (mut dev, folder) = start(r#"{ "startup_ms": 300 }"#, source, &[]);
    let neighbour = Neighbour::of(&dev);
    let answer = dev.get_of("worker", "/");
    let body = assert_limit(&answer, 503, "startup_ms");
    assert_eq!(body["allowed"], 300);
    assert!(body["where"].as_str().unwrap().starts_with("src/index.ts:3:"), "{body:#}");
    let printed = dev.wait_output("worker does not start: startup_ms limit exceeded");
    assert!(printed.contains("src/index.ts:3:"), "{printed}");
    neighbour.noticed_nothing();
    drop(folder);
}

const BOMBS: &str = r#"
type Bomb = () => unknown;
const kept: unknown[] = [];
const bombs: Record<string, Bomb> = {
  arrays() { for (;;) kept.push(new Array(10_000).fill(1.5)); },
  push() { const list: number[] = []; for (;;) list.push(list.length); },
  concat() { let list: number[] = [1]; for (;;) list = list.concat(list); },
  strings() { let text = "x"; for (;;) { text += text; kept.push(text + "!"); kept.push(text.charCodeAt(text.length - 1)); text = text.slice(0); if (text.length > 2 ** 28) text = "x"; kept.push(JSON.stringify(text)); } },
  repeat() { for (;;) kept.push([..."x".repeat(2 ** 29 - 24)].length); },
  flatten() { for (;;) { const text = "x".repeat(2 ** 29 - 25) + "y"; kept.push(text); text.charCodeAt(5); /z/.test(text); } },
  stringify() { const text = "\u0001".repeat(2 ** 26); for (;;) kept.push(JSON.stringify([text])); },
  encode() { const text = "\u00e9".repeat(2 ** 28); for (;;) kept.push(new TextEncoder().encode(text)); },
  join() { const list = new Array(1000).fill("x".repeat(2 ** 18)); for (;;) kept.push(list.join("")); },
  split() { for (;;) kept.push("x,".repeat(2 ** 22).split(",")); },
  log() { for (;;) { console.log("x".repeat(2 ** 28)); kept.push("x".repeat(2 ** 24).split("")); } },
  buffers() { for (;;) kept.push(new Uint8Array(1024 * 1024).fill(1)); },
  buffersCaught() { for (let i = 0; i < 300; i++) { try { kept.push(new Uint8Array(1024 * 1024)); } catch { /* goes on */ } } return "caught"; },
  oneBuffer() { try { kept.push(new ArrayBuffer(2 ** 31)); } catch { /* goes on */ } return "caught"; },
  wasmMemory() { for (;;) { const memory = new WebAssembly.Memory({ initial: 256 }); new Uint8Array(memory.buffer).fill(1); kept.push(memory); } },
  wasmGrow() { const memories = [0, 1, 2].map(() => new WebAssembly.Memory({ initial: 1 })); kept.push(memories); for (;;) for (const memory of memories) { memory.grow(64); new Uint8Array(memory.buffer).fill(1); } },
  map() { const map = new Map<number, number>(); for (let i = 0; ; i++) map.set(i, i); },
  set() { const set = new Set<string>(); for (let i = 0; ; i++) set.add("k" + i); },
  objects() { const object: Record<string, number> = {}; for (let i = 0; ; i++) object["k" + i] = i; },
  template() { let text = "abcdefgh"; for (;;) { text = `${text}${text}`; if (text.length > 2 ** 27) text = text.slice(0, 8); kept.push([...text.slice(0, 1e6)]); } },
  expressions() { for (let i = 0; ; i++) { const e = new RegExp("(a|b)".repeat(20) + i); e.test("ab"); kept.push(e, new Array(5000).fill(e.source + i)); } },
  closures() { for (;;) { const big = new Array(1000).fill(kept); kept.push(() => big); } },
  promises() { for (;;) kept.push(new Promise(() => {}).then(() => {})); },
  big() { for (let n = 0n; ; n++) kept.push((1n << 8_000_000n) + n); },
  fill() { for (;;) kept.push(new Array(2 ** 24).fill(0)); },
  from() { for (;;) kept.push(Array.from({ length: 2 ** 20 }, (_, i) => ({ i }))); },
  clone() { const list = new Array(1_000_000).fill({ a: 1 }); for (;;) kept.push(structuredClone(list)); },
  blobs() { const piece = new Uint8Array(1024 * 1024); for (;;) kept.push(new Blob([piece, piece, piece, piece])); },
  body() { return new Response("x".repeat(100 * 1024 * 1024)); },
};

export default {
  async fetch(request: Request): Promise<Response> {
    const name = new URL(request.url).pathname.slice(1);
    if (name === "") return new Response("well");
    if (name === "recursion") {
      const deeper = (n: number): number => deeper(n + 1) + 1;
      try { deeper(0); } catch (error) { return new Response(`${(error as Error).name}: ${(error as Error).message}`); }
    }
    if (name === "uncaught") { const deeper = (): number => deeper() + 1; deeper(); }
    if (name === "slowly") {
      for (;;) { kept.push(new Array(50_000).fill(1.5)); await new Promise((go) => setTimeout(go, 0)); }
    }
    const result = await bombs[name]();
    return result instanceof Response ? result : new Response(String(result));
  },
};
"#;

#[test]
fn memory_that_only_grows_is_stopped_before_it_costs_the_runner() {
    let (mut dev, _folder) = start(r#"{ "cpu_ms": 20000 }"#, BOMBS, &[]);
    let runners = children(dev.pid());
    assert_eq!(dev.get("/").text(), "well");
    let neighbour = Neighbour::of(&dev);
    let only = std::env::var("ONLY").ok();
    let mut wrong: Vec<String> = Vec::new();
    for name in [
        "arrays",
        "push",
        "concat",
        "strings",
        "repeat",
        "flatten",
        "stringify",
        "encode",
        "join",
        "split",
        "log",
        "buffers",
        "buffersCaught",
        "oneBuffer",
        "wasmMemory",
        "wasmGrow",
        "map",
        "set",
        "objects",
        "template",
        "expressions",
        "closures",
        "promises",
        "big",
        "fill",
        "from",
        "clone",
        "blobs",
        "slowly",
    ] {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let began = Instant::now();
        let before = children(dev.pid());
        let answer = dev.get(&format!("/{name}"));
        let peak = runners.iter().map(|pid| resident_peak_kib(*pid)).max().unwrap_or_default();
        println!(
            "{name}: {} after {:?}; the runner held {} MiB at most",
            answer.text().replace('\n', " "),
            began.elapsed(),
            peak / 1024
        );
        if children(dev.pid()) != before {
            wrong.push(format!("{name} ended its runner"));
            continue;
        }
        if answer.json()["limit"] != "memory_bytes" {
            wrong.push(format!("{name}: {}", answer.text()));
            continue;
        }
        let body = assert_limit(&answer, 503, "memory_bytes");
        assert_eq!(body["allowed"], 128 * 1024 * 1024, "{name}");
        assert_terminal(&mut dev, &body);
        assert_eq!(dev.get("/").text(), "well", "after {name}");
    }
    neighbour.noticed_nothing();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(children(dev.pid()), runners, "no runner ended");
}

#[test]
fn recursion_is_an_exception_like_any_other() {
    let (dev, _folder) = start("{}", BOMBS, &[]);
    let runners = children(dev.pid());
    assert_eq!(dev.get("/recursion").text(), "RangeError: Maximum call stack size exceeded");
    let answer = dev.get("/uncaught");
    assert_eq!(answer.status, 500);
    let body = answer.json();
    assert_eq!(body["name"], "RangeError", "{body:#}");
    assert!(body["stack"].as_str().unwrap().contains("src/index.ts:"), "{body:#}");
    assert_eq!(children(dev.pid()), runners);
}

#[test]
fn a_small_memory_limit_is_kept() {
    let (dev, _folder) = start(r#"{ "memory_mb": 32, "cpu_ms": 20000 }"#, BOMBS, &[]);
    let body = assert_limit(&dev.get("/arrays"), 503, "memory_bytes");
    assert_eq!(body["allowed"], 32 * 1024 * 1024);
    let body = assert_limit(&dev.get("/buffers"), 503, "memory_bytes");
    assert_eq!(body["allowed"], 32 * 1024 * 1024);
}

#[test]
fn a_memory_limit_too_small_to_start_with_costs_no_runner() {
    let (dev, _folder) = start(r#"{ "memory_mb": 1 }"#, BOMBS, &[]);
    let runners = children(dev.pid());
    let answer = dev.get_of("worker", "/");
    assert!([200, 503].contains(&answer.status), "{}", answer.text());
    assert_eq!(dev.get_of("neighbour", "/").text(), "here");
    assert_eq!(children(dev.pid()), runners);
}

// === bodies, headers, logs ===

const BODIES: &str = r#"
export default {
  async fetch(request: Request, env: unknown, ctx: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/leave":
        ctx.waitUntil((async () => {
          for (;;) {
            globalThis.ticks = (globalThis.ticks ?? 0) + 1;
            await new Promise((go) => setTimeout(go, 10));
          }
        })());
        return new Response("left");
      case "/ticks": return new Response(String(globalThis.ticks ?? 0));
      case "/count": return new Response(String((await request.arrayBuffer()).byteLength));
      case "/ignore": return new Response("ignored");
      case "/headers": return new Response("x", { headers: { "x-large": "h".repeat(Number(url.searchParams.get("size"))) } });
      case "/many-headers": {
        const count = Number(url.searchParams.get("count"));
        return new Response("x", { headers: Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, ""])) });
      }
      case "/log":
        for (let i = 0; i < 200; i++) console.log(`line ${i} ` + "l".repeat(100));
        console.log("the last line");
        return new Response("logged");
      case "/log-large":
        console.log("l".repeat(10_000_000));
        return new Response("logged");
      case "/wait": await new Promise((go) => setTimeout(go, 60_000)); return new Response("waited");
      case "/timers": {
        let fired = 0;
        const timers = Array.from({ length: 10_000 }, (_, i) => new Promise<void>((go) => setTimeout(() => { fired++; go(); }, i % 50)));
        await Promise.all(timers);
        return new Response(String(fired));
      }
    }
    return new Response("?");
  },
};
"#;

#[test]
fn a_body_larger_than_allowed_is_refused_by_its_length() {
    let (mut dev, _folder) = start(r#"{ "request_body_mb": 1 }"#, BODIES, &[]);
    let neighbour = Neighbour::of(&dev);
    assert_eq!(dev.ask("POST", None, "/count", &[], &vec![b'b'; 1024 * 1024]).text(), "1048576");
    let head = "POST /count HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048577\r\nconnection: close\r\n\r\n";
    let text = String::from_utf8(raw(dev.address, head.as_bytes(), |_| false)).unwrap();
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    let body: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((body["limit"].as_str(), body["used"].as_u64()), (Some("request_body_bytes"), Some(1048577)));
    assert_eq!(body["allowed"], 1048576);
    assert_terminal(&mut dev, &body);
    neighbour.noticed_nothing();
}

#[test]
fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let (mut dev, _folder) = start(r#"{ "request_body_mb": 1 }"#, BODIES, &[]);
    let mut request =
        b"POST /count HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_vec();
    for _ in 0..80 {
        request.extend_from_slice(b"4000\r\n");
        request.extend_from_slice(&[b'c'; 0x4000]);
        request.extend_from_slice(b"\r\n");
    }
    let text =
        String::from_utf8(raw(dev.address, &request, |got| got.windows(4).any(|w| w == b"\n}\n" || w == b"}\n\r\n")))
            .unwrap();
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["limit"], "request_body_bytes");
    assert_terminal(&mut dev, &body);
    assert_eq!(dev.ask("POST", None, "/count", &[], b"small").text(), "5");
}

#[test]
fn a_body_that_nobody_reads_does_not_hold_the_answer() {
    let (dev, _folder) = start("{}", BODIES, &[]);
    let head = "POST /ignore HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50000000\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    request.extend_from_slice(&[b'n'; 600_000]);
    let text = String::from_utf8(raw(dev.address, &request, |got| got.ends_with(b"ignored"))).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[test]
fn response_headers_larger_than_allowed_are_refused() {
    let (mut dev, _folder) = start("{}", BODIES, &[]);
    let neighbour = Neighbour::of(&dev);
    assert_eq!(dev.get("/headers?size=50000").status, 200);
    for size in [200_000, 3_000_000] {
        let body = assert_limit(&dev.get(&format!("/headers?size={size}")), 502, "response_header_bytes");
        assert_eq!(body["allowed"], 128 * 1024);
        assert!(body["used"].as_u64().unwrap() >= size, "{body:#}");
        assert_terminal(&mut dev, &body);
    }
    assert_eq!(dev.get("/ignore").text(), "ignored");
    neighbour.noticed_nothing();
}

#[test]
fn a_response_of_too_many_different_headers_is_an_exception() {
    let (dev, _folder) = start("{}", BODIES, &[]);
    let neighbour = Neighbour::of(&dev);
    let answer = dev.get("/many-headers?count=4200");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("more than 4096 different headers"), "{}", answer.text());
    assert_eq!(dev.get("/ignore").text(), "ignored");
    neighbour.noticed_nothing();
}

#[test]
fn what_an_event_logs_ends_at_the_limit_and_says_so() {
    let (mut dev, _folder) = start(r#"{ "log_kb": 4 }"#, BODIES, &[]);
    for path in ["/log", "/log-large"] {
        assert_eq!(dev.get(path).text(), "logged");
    }
    dev.wait_output("log_bytes limit exceeded: this event logged more than 4096 bytes");
    assert_eq!(dev.get("/ignore").text(), "ignored");
    let printed = dev.output();
    assert!(printed.contains("line 0 "));
    assert!(!printed.contains("the last line"));
    assert_eq!(printed.matches("log_bytes limit exceeded").count(), 2, "once for each event");
}

#[test]
fn an_answer_that_takes_too_long_is_no_longer_awaited() {
    let (mut dev, _folder) = start(r#"{ "wall_ms": 500 }"#, BODIES, &[]);
    let neighbour = Neighbour::of(&dev);
    let body = assert_limit(&dev.get("/wait"), 504, "wall_ms");
    assert_eq!(body["allowed"], 500);
    assert_terminal(&mut dev, &body);
    assert_eq!(dev.get("/ignore").text(), "ignored");
    neighbour.noticed_nothing();
}

#[test]
fn what_follows_an_answer_is_cancelled_after_its_time_and_leaves_nothing_behind() {
    let (mut dev, _folder) = start(r#"{ "wait_until_ms": 300 }"#, BODIES, &[]);
    let neighbour = Neighbour::of(&dev);
    assert_eq!(dev.get("/leave").text(), "left");
    dev.wait_output("waitUntil() tasks did not complete within the allowed time");
    let begins_anew = (0..1000).any(|_| dev.get("/ticks").text() == "0");
    assert!(begins_anew, "the isolate whose event did not end still serves");
    neighbour.noticed_nothing();
}

#[test]
fn ten_thousand_timers_all_fire() {
    let (dev, _folder) = start("{}", BODIES, &[]);
    let neighbour = Neighbour::of(&dev);
    assert_eq!(dev.get("/timers").text(), "10000");
    neighbour.noticed_nothing();
}

const BUSY: &str = r#"
export default {
  fetch(request: Request): Response {
    if (new URL(request.url).pathname === "/loop") for (;;);
    return new Response("well");
  },
};
"#;

#[test]
fn code_that_does_not_give_way_holds_up_one_instance_of_its_worker() {
    // The most that one try waits for another instance to answer.
    const TRY: Duration = Duration::from_millis(500);
    let folder = Folder::new();
    folder.file(
        "wrangler.jsonc",
        r#"{ "name": "busy", "main": "index.ts", "compatibility_date": "2026-11-01", "limits": { "cpu_ms": 20000 } }"#,
    );
    folder.file("index.ts", BUSY);
    let dev = Dev::start(&[folder.path()], &["--no-watch", "--instances", "2"]);
    assert_eq!(dev.get("/").text(), "well");
    let address = dev.address;
    let looping = std::thread::spawn(move || ask(address, "GET", None, "/loop", &[], &[]).status);
    let (answered, answers) = std::sync::mpsc::channel();
    // Those that were sent before it was known wait behind the loop; the next do not.
    let passed = (0..20).any(|_| {
        let answered = answered.clone();
        std::thread::spawn(move || {
            let text = ask(address, "GET", None, "/", &[], &[]).text();
            // Whoever waits for the first answer takes no other.
            let _ = answered.send(text);
        });
        answers.recv_timeout(TRY).is_ok_and(|text| text == "well")
    });
    assert!(passed && !looping.is_finished(), "every request waited for the one that loops");
}

const BY_HOST: &str = r#"
export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname, port } = new URL(request.url);
    if (pathname === "/circle") return fetch(`http://worker.localhost:${port}/circle`);
    return fetch(`http://neighbour.localhost:${port}/`);
  },
};
"#;

#[test]
fn a_worker_reaches_another_by_its_host_and_a_circle_ends() {
    let (dev, _folder) = start("{}", BY_HOST, &[]);
    let answer = dev.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "here"), "{}", answer.text());
    let answer = dev.get("/circle");
    assert_eq!(answer.status, 508, "{}", answer.text());
    assert!(answer.text().contains("Too many Worker invocations"), "{}", answer.text());
}

// === requests to the world ===

const ASKING: &str = r#"
export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/world") return new Response("world");
    const target = url.searchParams.get("target")!;
    const times = Number(url.searchParams.get("times"));
    try {
      if (url.pathname === "/together") {
        const answers = await Promise.all(Array.from({ length: times }, () => fetch(target).then((r) => r.text())));
        return new Response(String(answers.length));
      }
      for (let i = 0; i < times; i++) await (await fetch(target)).text();
      return new Response("all");
    } catch (error) {
      return new Response(`${error}`, { status: 500 });
    }
  },
};
"#;

#[test]
fn subrequests_are_counted() {
    let world = support::world(|_| support::plain("hello"));
    let folder = Folder::new();
    folder.file(
        "worker/wrangler.jsonc",
        r#"{ "name": "worker", "main": "index.ts", "compatibility_date": "2026-11-01", "limits": { "subrequests": 5 } }"#,
    );
    folder.file("worker/index.ts", ASKING);
    let allowed = format!("127.0.0.1:{}", world.port());
    let dev = Dev::start(&[&folder.path().join("worker")], &["--no-watch", "--allow-net", &allowed]);
    let target = format!("/?target=http://{allowed}/&times=");
    assert_eq!(dev.get(&format!("{target}5")).text(), "all");
    let answer = dev.get(&format!("{target}6"));
    assert!(answer.text().contains("subrequests limit exceeded: used 6, allowed 5"), "{}", answer.text());
    assert_eq!(dev.get(&format!("{target}5")).text(), "all", "each event has its own");
}

#[test]
fn six_requests_are_open_at_once_and_the_others_wait() {
    use std::sync::atomic::AtomicUsize;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let world = support::world(move |_| {
        let open = counted.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(open, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(30));
        counted.fetch_sub(1, Ordering::SeqCst);
        support::plain("hello")
    });
    let folder = Folder::new();
    let path = folder.file("worker.ts", ASKING);
    let allowed = format!("127.0.0.1:{}", world.port());
    let dev = Dev::start(&[&path], &["--no-watch", "--allow-net", &allowed]);
    let answer = dev.get(&format!("/together?target=http://{allowed}/&times=30"));
    assert_eq!(answer.text(), "30");
    assert_eq!(most.load(Ordering::SeqCst), 6);
}

#[test]
fn runners_are_told_apart() {
    let (dev, _folder) = start("{}", BODIES, &[]);
    let runners: BTreeSet<u32> = children(dev.pid());
    assert_eq!(runners.len(), 2, "one serves, one is spare");
}
