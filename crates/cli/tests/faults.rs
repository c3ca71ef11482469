//! Handlers that fail, clients that go away, processes that die: each costs what it must and no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Dev, Folder, PATIENCE, ask, children, eventually, finished, raw, resident_kib};

// === files that are not there ===

#[test]
fn a_file_that_is_not_there_at_the_start_ends_the_program() {
    let folder = Folder::new();
    folder.file("here.js", "export default { fetch: () => new Response('here') }");
    for paths in [&["absent.js"][..], &["here.js", "absent"], &["here.js/absent"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        command.current_dir(folder.path()).env("NO_COLOR", "1").args(["dev", "--port", "0"]).args(paths);
        let output = finished(&mut command, "", PATIENCE);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{paths:?}: {said}");
        assert!(said.contains("absent") && said.contains("does not exist: give the file"), "{paths:?}: {said}");
    }
}

#[test]
fn a_file_that_goes_is_said_and_served_again_when_it_is_back() {
    let (mut dev, folder) = Dev::script("export default { fetch: () => new Response('first') }");
    assert_eq!(dev.get("/").text(), "first");
    std::fs::remove_file(folder.path().join("worker.js")).unwrap();
    dev.wait_output("worker.js does not exist");
    folder.file("worker.js", "export default { fetch: () => new Response('second') }");
    eventually("it is served again", || (dev.get("/").text() == "second").then_some(()));
}

// === handlers that fail ===

const HANDLERS: &str = r#"
const handlers = {
  "/throws"() { throw new RangeError("thrown"); },
  async "/rejects"() { await null; throw new TypeError("rejected"); },
  "/nothing"() {},
  "/number"() { return 42; },
  "/object"() { return { status: 200 }; },
  "/never"() { return new Promise(() => {}); },
  async "/never-awaited"() { await new Promise(() => {}); },
  "/thenable"() { return { then() {} }; },
  "/null"() { throw null; },
  "/undefined"() { throw undefined; },
  "/symbol"() { throw Symbol("s"); },
  "/bare"() { throw Object.create(null); },
  "/proxy"() { throw new Proxy({}, { get() { throw new Error("trap"); }, getPrototypeOf() { throw new Error("trap"); } }); },
  "/returns-proxy"() { return new Proxy({}, { get() { throw new Error("trap"); }, getPrototypeOf() { throw new Error("trap"); } }); },
  "/tostring"() { throw { toString() { throw new Error("no text"); }, get message() { throw 1; }, get stack() { throw 2; } }; },
  "/huge-message"() { throw new Error("m".repeat(5_000_000)); },
  "/huge-stack"() { const error = new Error("m"); error.stack = "\u0001".repeat(3_000_000); throw error; },
  async "/unhandled"() { Promise.reject(new Error("nobody handles this")); return new Response("fine"); },
  "/stream-fails"() { let n = 0; return new Response(new ReadableStream({ pull(c) { if (n++ < 3) c.enqueue(new Uint8Array(1000)); else throw new Error("broke"); } })); },
  "/stream-hangs"() { return new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(1000)); } })); },
  "/ok"() { return new Response("ok"); },
};
export default { fetch(request) { return handlers[new URL(request.url).pathname](); } };
"#;

#[test]
fn a_handler_that_fails_is_answered_for_at_once() {
    let (dev, _folder) = Dev::script(HANDLERS);
    let runners = children(dev.pid());
    for (path, status, error, message) in [
        ("/throws", 500, "exception", "RangeError: thrown"),
        ("/rejects", 500, "exception", "TypeError: rejected"),
        ("/nothing", 500, "exception", "but it returned nothing (undefined)"),
        ("/number", 500, "exception", "but it returned a number"),
        ("/object", 500, "exception", "but it returned an object of class Object"),
        ("/never", 500, "hung", "hung"),
        ("/never-awaited", 500, "hung", "hung"),
        ("/thenable", 500, "hung", "hung"),
        ("/null", 500, "exception", "null"),
        ("/undefined", 500, "exception", "undefined"),
        ("/symbol", 500, "exception", "Symbol(s)"),
        ("/bare", 500, "exception", ""),
        ("/proxy", 500, "exception", "an exception that cannot be shown as text"),
        ("/returns-proxy", 500, "exception", "trap"),
        ("/tostring", 500, "exception", "an exception that cannot be shown as text"),
        ("/huge-message", 500, "exception", "mmmmm"),
        ("/huge-stack", 500, "exception", "m"),
    ] {
        let began = Instant::now();
        let answer = dev.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let body = answer.json();
        assert_eq!(body["error"], error, "{path}: {body:#}");
        assert!(body["message"].as_str().unwrap().contains(message), "{path}: {body:#}");
        assert_eq!(body["worker"], "worker", "{path}: {body:#}");
        assert_eq!(body["request_id"].as_str().unwrap().len(), 16, "{path}: {body:#}");
        assert!(began.elapsed() < Duration::from_secs(5), "{path} took {:?}", began.elapsed());
        assert_eq!(dev.get("/ok").text(), "ok", "after {path}");
    }
    assert_eq!(dev.get("/unhandled").text(), "fine");
    assert_eq!(children(dev.pid()), runners);
}

#[test]
fn a_body_that_breaks_off_does_not_look_whole() {
    let (dev, _folder) = Dev::script(HANDLERS);
    for path in ["/stream-fails", "/stream-hangs"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let answer = raw(dev.address, request.as_bytes(), |_| false);
        let text = String::from_utf8_lossy(&answer);
        // What fails at once may leave no time for a head.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
        assert!(!text.ends_with("0\r\n\r\n"), "{path}: the last chunk says that the body is whole");
    }
    assert_eq!(dev.get("/ok").text(), "ok");
}

#[test]
fn what_is_missing_is_named() {
    let folder = Folder::new();
    folder.file("ok.js", r#"export default { fetch: () => new Response("ok") };"#);
    for (name, source, status, expected) in [
        ("syntax", "export default { fetch( { };", 500, "syntax.js"),
        ("none", "export const a = 1;", 500, "no default export"),
        ("nofetch", "export default { scheduled() {} };", 500, "fetch"),
        (
            "noimport",
            "import x from \"./missing.js\"; export default { fetch: () => new Response(x) };",
            500,
            "missing.js",
        ),
        (
            "nopackage",
            "import x from \"not-a-package\"; export default { fetch: () => new Response(x) };",
            500,
            "not-a-package",
        ),
        ("throws", "throw new Error(\"at start\");\nexport default {};", 500, "at start"),
        ("wait", "await new Promise(() => {});\nexport default {};", 500, ""),
        ("class", "export default class {}", 500, "fetch"),
    ] {
        let path = folder.file(&format!("{name}.js"), source);
        let ok = folder.path().join("ok.js");
        let dev = Dev::start(&[&ok, &path], &["--no-watch"]);
        let answer = dev.get_of(name, "/");
        assert!(answer.status >= status, "{name}: {}", answer.text());
        assert!(answer.text().contains(expected), "{name}: {}", answer.text());
        assert_eq!(dev.get_of("ok", "/").text(), "ok", "beside {name}");
    }
}

// === requests that had not started ===

const LOOPING: &str = r#"
export default {
  async fetch(request) {
    if (new URL(request.url).pathname === "/loop") for (;;);
    return new Response(request.method + (await request.text()).length);
  },
};
"#;

#[test]
fn requests_behind_one_that_loops_are_answered_elsewhere() {
    let folder = Folder::new();
    folder.file(
        "worker/wrangler.jsonc",
        r#"{ "name": "worker", "main": "index.js", "compatibility_date": "2026-11-01", "limits": { "cpu_ms": 500 } }"#,
    );
    folder.file("worker/index.js", LOOPING);
    let worker = folder.path().join("worker");
    let dev = Dev::start(&[&worker], &["--no-watch", "--instances", "1"]);
    assert_eq!(dev.get("/").text(), "GET0");
    let address = dev.address;
    let loops: Vec<_> =
        (0..1).map(|_| std::thread::spawn(move || ask(address, "GET", None, "/loop", &[], &[]))).collect();
    std::thread::sleep(Duration::from_millis(50));
    let others: Vec<_> = (0..50)
        .map(|index| {
            std::thread::spawn(move || match index % 3 {
                0 => (ask(address, "GET", None, "/", &[], &[]), "GET0".to_owned()),
                1 => (ask(address, "POST", None, "/", &[], &[b'b'; 10]), "POST10".to_owned()),
                _ => (ask(address, "PUT", None, "/", &[], &vec![b'b'; 300_000]), "PUT300000".to_owned()),
            })
        })
        .collect();
    for other in others {
        let (answer, expected) = other.join().unwrap();
        assert_eq!((answer.status, answer.text()), (200, expected));
    }
    for each in loops {
        let body = each.join().unwrap().json();
        assert_eq!(body["limit"], "cpu_ms", "{body:#}");
    }
}

#[test]
fn a_runner_that_is_killed_costs_its_requests_in_flight_and_no_more() {
    let source = r#"
export default {
  async fetch(request) {
    const path = new URL(request.url).pathname;
    if (path === "/slow") { console.log("slow began"); await scheduler.wait(30_000); }
    return new Response("here");
  },
};"#;
    let (dev, _folder) = Dev::script(source);
    assert_eq!(dev.get("/").text(), "here");
    let address = dev.address;
    for round in 1..=3 {
        let slow: Vec<_> =
            (0..4).map(|_| std::thread::spawn(move || ask(address, "GET", None, "/slow", &[], &[]))).collect();
        eventually("the slow requests begin", || {
            (dev.output().matches("slow began").count() >= 4 * round).then_some(())
        });
        // Load meanwhile.
        let stop = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let answered = Arc::new(AtomicUsize::new(0));
        let load: Vec<_> = (0..8)
            .map(|_| {
                let (stop, failed, answered) = (Arc::clone(&stop), Arc::clone(&failed), Arc::clone(&answered));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let answer = ask(address, "GET", None, "/", &[], &[]);
                        answered.fetch_add(1, Ordering::Relaxed);
                        if answer.status != 200 {
                            failed.lock().unwrap().push(answer);
                        }
                    }
                })
            })
            .collect();
        let runners = children(dev.pid());
        let before: Vec<u64> = runners.iter().map(|pid| ticks(*pid)).collect();
        // The one that works is the one that serves.
        let serving = eventually("there is load", || {
            let worked = runners.iter().zip(&before).map(|(pid, before)| (ticks(*pid) - before, *pid));
            worked.max().filter(|(ticks, _)| *ticks >= 5 && answered.load(Ordering::Relaxed) > 100).map(|(_, pid)| pid)
        });
        let killed = Instant::now();
        assert!(Command::new("kill").args(["-9", &serving.to_string()]).status().unwrap().success());
        let back = eventually("an answer", || (dev.get("/").status == 200).then(|| killed.elapsed()));
        println!("the first answer came {back:?} after the kill");
        assert!(back < Duration::from_secs(2), "{back:?}");
        let seen = answered.load(Ordering::Relaxed);
        eventually("there is load again", || (answered.load(Ordering::Relaxed) > seen + 100).then_some(()));
        stop.store(true, Ordering::Relaxed);
        load.into_iter().for_each(|thread| thread.join().unwrap());
        let failed = failed.lock().unwrap();
        println!("{} of {} requests under load failed", failed.len(), answered.load(Ordering::Relaxed));
        assert!(failed.len() <= 8, "only what was in flight may fail");
        for answer in failed.iter() {
            assert_eq!(answer.status, 503, "{}", answer.text());
        }
        for each in slow {
            let answer = each.join().unwrap();
            assert_eq!(answer.status, 503, "{}", answer.text());
            let body = answer.json();
            assert_eq!(body["error"], "unavailable", "{body:#}");
            assert!(body["message"].as_str().unwrap().contains("the process that ran this worker ended"), "{body:#}");
        }
    }
}

/// The CPU time that a process used, in ticks of the kernel's clock.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

#[test]
fn an_abort_of_the_runner_leaves_the_edge_as_it_was() {
    let (mut dev, _folder) = Dev::script(r#"export default { fetch: () => new Response("here") };"#);
    assert_eq!(dev.get("/").text(), "here");
    for pid in children(dev.pid()) {
        // What V8 does on a fatal error.
        Command::new("kill").args(["-ABRT", &pid.to_string()]).status().unwrap();
    }
    dev.wait_output("runner ended");
    assert_eq!(eventually("an answer", || Some(dev.get("/")).filter(|answer| answer.status == 200)).text(), "here");
    eventually("a spare", || (children(dev.pid()).len() == 2).then_some(()));
}

/// What ICU holds for a worker, V8 does not count; the process is measured.
#[test]
fn memory_that_nobody_counts_ends_its_process_alone() {
    let bomb = r#"
    const kept = [];
    export default {
      fetch(request) {
        if (new URL(request.url).pathname === "/") return new Response("well");
        for (;;) kept.push(new Intl.DateTimeFormat("en", { timeZone: "Europe/Paris", dateStyle: "full" }));
      },
    };"#;
    let folder = Folder::new();
    let bomb = folder.file("bomb.js", bomb);
    let neighbour = folder.file("neighbour.js", r#"export default { fetch: () => new Response("here") };"#);
    let mut dev = Dev::start(&[&bomb, &neighbour], &["--memory-mib", "250", "--no-watch"]);
    assert_eq!(dev.get("/").text(), "well");
    let stop = Arc::new(AtomicBool::new(false));
    let (address, stopped) = (dev.address, Arc::clone(&stop));
    let asking = std::thread::spawn(move || {
        let mut asked = 0;
        while !stopped.load(Ordering::Relaxed) {
            let answer = ask(address, "GET", Some("neighbour"), "/", &[], &[]);
            assert_eq!(answer.text(), "here", "{}", answer.status);
            asked += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        asked
    });
    let answer = dev.get("/bomb");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("held too much memory"), "{}", answer.text());
    let printed = dev.wait_output("the runner is replaced");
    assert_eq!(printed.matches("the runner is replaced").count(), 1, "it was begun once: {printed}");
    assert_eq!(dev.get("/").text(), "well");
    stop.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 0);
}

#[test]
fn an_idle_isolate_makes_room_for_another_and_a_busy_one_does_not() {
    let source = r#"
    let asked = 0;
    export default {
      async fetch(request) {
        asked++;
        const { hostname, pathname } = new URL(request.url);
        if (pathname === "/slow") {
          console.log(`slow at ${hostname}`);
          await new Promise((go) => setTimeout(go, 2000));
        }
        return new Response(String(asked));
      },
    };"#;
    let folder = Folder::new();
    let paths: Vec<_> = ["one", "two", "three"].map(|name| folder.file(&format!("{name}.js"), source)).to_vec();
    let paths: Vec<&std::path::Path> = paths.iter().map(AsRef::as_ref).collect();
    let mut dev = Dev::start(&paths, &["--isolates", "2", "--instances", "1"]);
    // Each of three in turn, with room for two: every answer is the first of a new isolate.
    for _ in 0..2 {
        for name in ["one", "two", "three"] {
            assert_eq!(dev.get_of(name, "/").text(), "1", "{name}");
        }
    }
    let address = dev.address;
    let slow: Vec<_> = ["one", "two"]
        .map(|name| std::thread::spawn(move || ask(address, "GET", Some(name), "/slow", &[], &[])))
        .into_iter()
        .collect();
    for name in ["one", "two"] {
        dev.wait_output(&format!("slow at {name}.localhost"));
    }
    let refused = dev.get_of("three", "/");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("2 isolates run"), "{}", refused.text());
    for answer in slow {
        assert_eq!(answer.join().unwrap().status, 200);
    }
    assert_eq!(dev.get_of("three", "/").status, 200);
}

#[test]
fn a_program_told_to_stop_answers_what_it_accepted() {
    for signal in ["-TERM", "-INT"] {
        let source = r#"
export default {
  async fetch(request, env, ctx) {
    console.log("began");
    ctx.waitUntil(scheduler.wait(1500).then(() => console.log("afterwards")));
    await scheduler.wait(1000);
    return new Response("slowly");
  },
};"#;
        let (mut dev, _folder) = Dev::script(source);
        let address = dev.address;
        let slow: Vec<_> =
            (0..10).map(|_| std::thread::spawn(move || ask(address, "GET", None, "/", &[], &[]))).collect();
        eventually("all began", || (dev.output().matches("began").count() == 10).then_some(()));
        // Connections that are accepted, and requests whose heads are not there yet.
        let mut late: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        for stream in &mut late {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        }
        let status = dev.stop_with(signal);
        assert!(status.success(), "{status}");
        for each in slow {
            assert_eq!(each.join().unwrap().text(), "slowly");
        }
        for mut stream in late {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("slowly"), "{signal}: {text}");
        }
        eventually("what was printed", || (dev.output().matches("afterwards").count() == 15).then_some(()));
    }
}

// === clients ===

#[test]
fn a_client_that_goes_away_is_told_of_to_the_handler() {
    let source = r#"
export default {
  async fetch(request) {
    const path = new URL(request.url).pathname;
    request.signal.addEventListener("abort", () => console.log(`aborted ${path}`));
    if (path === "/before") { console.log("waiting before"); await scheduler.wait(60_000); }
    const stream = new ReadableStream({
      async pull(controller) { await scheduler.wait(5); controller.enqueue(new TextEncoder().encode("piece ")); },
      cancel(reason) { console.log("cancelled the stream"); },
    });
    return new Response(stream);
  },
};"#;
    let (mut dev, _folder) = Dev::script(source);
    let mut stream = TcpStream::connect(dev.address).unwrap();
    stream.write_all(b"GET /before HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    dev.wait_output("waiting before");
    drop(stream);
    dev.wait_output("aborted /before");
    let got = raw(dev.address, b"GET /during HTTP/1.1\r\nhost: localhost\r\n\r\n", |got| {
        got.windows(5).any(|w| w == b"piece")
    });
    assert!(!got.is_empty());
    dev.wait_output("aborted /during");
    dev.wait_output("cancelled the stream");
}

#[test]
fn a_client_that_reads_slowly_costs_a_bounded_amount_of_memory() {
    let source = r#"
const piece = new Uint8Array(256 * 1024).fill(120);
let made = 0;
export default {
  async fetch(request) {
    const path = new URL(request.url).pathname;
    if (path === "/made") return new Response(String(made));
    return new Response(new ReadableStream({ async pull(controller) { await null; made++; controller.enqueue(piece); } }));
  },
};"#;
    let (dev, _folder) = Dev::script(source);
    assert_eq!(dev.get("/made").text(), "0");
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(dev.address).unwrap();
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut buffer = [0; 1000];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        streams.push(stream);
    }
    let held = || children(dev.pid()).iter().map(|pid| resident_kib(*pid)).sum::<u64>() + resident_kib(dev.pid());
    let mut buffer = vec![0; 64 * 1024];
    // One of them reads on meanwhile: many megabytes go by.
    let mut read = 0;
    while read < 20 * 1024 * 1024 {
        read += streams[0].read(&mut buffer).unwrap();
    }
    let before = held();
    while read < 200 * 1024 * 1024 {
        read += streams[0].read(&mut buffer).unwrap();
    }
    let after = held();
    println!("{before} KiB held after 20 MiB, {after} KiB after 200 MiB, {} pieces made", dev.get("/made").text());
    assert!(after < before + 64 * 1024, "{before} KiB, then {after} KiB");
}

// === requests to where they may not go ===

#[test]
fn requests_to_private_addresses_are_refused() {
    let inner = support::world(|_| support::plain("secret"));
    let inner_port = inner.port();
    let outer = support::world(move |_| {
        format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inner_port}/\r\ncontent-length: 0\r\n\r\n")
            .into_bytes()
    });
    let source = r#"
export default {
  async fetch(request) {
    try { return new Response(await (await fetch(new URL(request.url).searchParams.get("to"))).text()); }
    catch (error) { return new Response(`${error.name}: ${error.message} ${error.cause ?? ""}`, { status: 500 }); }
  },
};"#;
    let folder = Folder::new();
    let path = folder.file("worker.js", source);
    let allowed = format!("127.0.0.1:{}", outer.port());
    let dev = Dev::start(&[&path], &["--no-watch", "--allow-net", &allowed]);
    let own = dev.address.port();
    for to in [
        format!("http://127.0.0.1:{inner_port}/"),
        format!("http://localhost:{inner_port}/"),
        format!("http://a.localhost:{inner_port}/"),
        format!("http://127.1:{inner_port}/"),
        format!("http://2130706433:{inner_port}/"),
        format!("http://0x7f.1:{inner_port}/"),
        format!("http://0.0.0.0:{inner_port}/"),
        format!("http://[::1]:{inner_port}/"),
        format!("http://[::ffff:127.0.0.1]:{inner_port}/"),
        format!("http://[::ffff:7f00:1]:{inner_port}/"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://10.0.0.1/".into(),
        "http://192.168.1.1/".into(),
        "http://[fd00::1]/".into(),
        "http://[fe80::1]/".into(),
        format!("http://127.0.0.1:{own}/"),
        // The first hop is allowed, what it leads to is not.
        format!("http://{allowed}/"),
    ] {
        let answer = dev.get(&format!("/?to={to}"));
        let text = answer.text();
        assert_eq!(answer.status, 500, "{to}: {text}");
        assert!(!text.contains("secret"), "{to}");
        assert!(text.contains("is not reachable from a worker"), "{to}: {text}");
    }
}

// === hygiene ===

#[test]
fn code_cannot_be_made_from_strings() {
    let source = r#"
const attempts = {
  eval: () => eval("1 + 1"),
  indirect: () => (0, eval)("1 + 1"),
  Function: () => new Function("return 1")(),
  constructor: () => (() => {}).constructor("return 1")(),
  generator: () => (function* () {}).constructor("yield 1")().next(),
  asynchronous: () => (async () => {}).constructor("return 1")(),
  timeout: () => { setTimeout("globalThis.hacked = 1", 0); },
  interval: () => { clearInterval(setInterval("globalThis.hacked = 1", 0)); },
};
export default {
  async fetch() {
    const outcome = {};
    for (const [name, attempt] of Object.entries(attempts)) {
      try { await attempt(); outcome[name] = "did it"; } catch (error) { outcome[name] = error.name; }
    }
    await scheduler.wait(20);
    outcome.hacked = typeof globalThis.hacked;
    return Response.json(outcome);
  },
};"#;
    let (dev, _folder) = Dev::script(source);
    let outcome = dev.get("/").json();
    for name in ["eval", "indirect", "Function", "constructor", "generator", "asynchronous"] {
        assert_eq!(outcome[name], "EvalError", "{name}: {outcome:#}");
    }
    // A timer of text throws when it fires, or when it is set.
    assert_eq!(outcome["hacked"], "undefined", "{outcome:#}");
}

#[test]
fn there_is_no_shared_memory_to_wait_on_and_no_clock_to_measure_with() {
    let source = r#"
export default {
  async fetch() {
    const outcome = {};
    try {
      const shared = new Int32Array(new SharedArrayBuffer(8));
      outcome.shared = "made";
      Atomics.wait(shared, 0, 0, 10);
      outcome.wait = "waited";
    } catch (error) { outcome.wait = error.name; }
    try { new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true }); outcome.wasm = "made"; } catch (error) { outcome.wasm = error.name; }
    const began = [Date.now(), performance.now(), new Date().getTime()];
    let n = 0;
    for (let i = 0; i < 3e7; i++) n += i;
    outcome.frozen = Date.now() === began[0] && performance.now() === began[1] && new Date().getTime() === began[2];
    await scheduler.wait(30);
    outcome.moved = Date.now() - began[0];
    return Response.json(outcome);
  },
};"#;
    let (dev, _folder) = Dev::script(source);
    let outcome = dev.get("/").json();
    assert_ne!(outcome["wait"], "waited", "{outcome:#}");
    assert_eq!(outcome["frozen"], true, "{outcome:#}");
    assert!(outcome["moved"].as_u64().unwrap() >= 29, "{outcome:#}");
    println!("{outcome:#}");
}

#[test]
fn a_worker_that_tampers_with_the_built_ins_harms_nobody_but_itself() {
    let tampering = [
        "Object.prototype.toJSON = () => 'gotcha'; Array.prototype.toJSON = () => 'gotcha';",
        "Array.prototype[Symbol.iterator] = () => { throw new Error('iterator'); };",
        "Promise.prototype.then = () => { throw new Error('then'); }; Promise.prototype.catch = Promise.prototype.finally = Promise.prototype.then;",
        "Promise.resolve = Promise.all = () => { throw new Error('resolve'); };",
        "String.prototype.split = String.prototype.slice = String.prototype.endsWith = () => { throw new Error('string'); };",
        "Array.prototype.push = Array.prototype.join = Array.prototype.map = () => { throw new Error('array'); };",
        "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('function'); };",
        "Map.prototype.get = Map.prototype.set = Map.prototype.delete = Map.prototype.has = () => { throw new Error('map'); };",
        "Object.getPrototypeOf(new Map().values()).next = () => { throw new Error('next'); };",
        "Object.defineProperty(Object.prototype, 'status', { get() { return 999; }, set() { throw new Error('status'); } });",
        "for (const key of ['get', 'set', 'value', 'writable', 'configurable']) { try { Object.defineProperty(Object.prototype, key, { get() { return undefined; }, configurable: true }); } catch {} }",
        "JSON.stringify = JSON.parse = () => { throw new Error('json'); };",
        "globalThis.Response = globalThis.Request = globalThis.Headers = globalThis.Promise = undefined;",
        "Error.prepareStackTrace = () => { throw new Error('stack'); }; Error.captureStackTrace = undefined; Error.stackTraceLimit = 0;",
        "Uint8Array.prototype.subarray = Uint8Array.prototype.slice = () => { throw new Error('bytes'); };",
        "Error.prototype.toString = () => { for (const a of [1]) throw a; }; Error.prototype.name = Symbol('n');",
        "Object.prototype.then = undefined; Object.prototype.__proto__ === null;",
        "Reflect.apply = Reflect.construct = () => { throw new Error('reflect'); };",
    ];
    let folder = Folder::new();
    let mut paths = Vec::new();
    for (index, tamper) in tampering.iter().enumerate() {
        let source = format!(
            r#"
const R = Response, W = scheduler, wait = W.wait;
{tamper}
let first = true;
export default {{
  async fetch(request) {{
    console.log("a line");
    const path = new URL(request.url).pathname;
    if (path === "/throw") throw new Error("thrown");
    if (path === "/never") return new Promise(() => {{}});
    if (path === "/body") return new R(await request.text());
    return new R("ok");
  }},
}};"#
        )
        .replace("Promise(() => {})", "P(() => {})")
        .replace("const R = Response", "const P = Promise, R = Response");
        paths.push(folder.file(&format!("t{index}.js"), &source));
    }
    paths.push(folder.file("ok.js", r#"export default { fetch: () => new Response("ok") };"#));
    let paths: Vec<&std::path::Path> = paths.iter().map(|path| path.as_path()).collect();
    let dev = Dev::start(&paths, &["--no-watch"]);
    let runners = children(dev.pid());
    let mut wrong = Vec::new();
    for (index, tamper) in tampering.iter().enumerate() {
        let name = format!("t{index}");
        let mut check = |path: &str, method: &str, body: &[u8], status: u16, text: &str| {
            let began = Instant::now();
            let answer = dev.ask(method, Some(&name), path, &[], body);
            if answer.status != status || !answer.text().contains(text) || began.elapsed() > Duration::from_secs(10) {
                wrong.push(format!("{tamper}\n  {path}: {} {}", answer.status, answer.text()));
            }
        };
        // What the language itself does with the worker's own promises and errors is the worker's own doing.
        let (own_promises, own_calls) = (tamper.contains("Promise.prototype"), tamper.contains("Function.prototype"));
        let own_errors = tamper.contains("prepareStackTrace") || tamper.contains("Error.prototype");
        check("/", "GET", b"", 200, "ok");
        if !own_calls {
            check("/body", "POST", b"some text", 200, "some text");
        }
        check("/throw", "GET", b"", 500, if own_errors { "" } else { "thrown" });
        check("/never", "GET", b"", 500, if own_promises { "" } else { "hung" });
        assert_eq!(dev.get_of("ok", "/").text(), "ok");
    }
    assert_eq!(children(dev.pid()), runners);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
