//! The `node:` modules, asked through the real program. `workers/node.js` holds the questions, a path each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use support::{Dev, Folder};

const QUESTIONS: &str = include_str!("workers/node.js");

fn start(arguments: &[&str]) -> (Dev, Folder) {
    let folder = Folder::new();
    folder.file("src/worker.js", QUESTIONS);
    folder.file(
        "wrangler.json",
        r#"{"name": "node", "main": "src/worker.js", "compatibility_date": "2026-01-01",
            "compatibility_flags": ["nodejs_compat"], "vars": {"GREETING": "hello"}}"#,
    );
    let dev = Dev::start(&[folder.path()], arguments);
    (dev, folder)
}

fn answers(path: &str) -> Value {
    let (dev, _folder) = start(&[]);
    let answer = dev.get(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn cryptography_gives_the_known_answers() {
    let got = answers("/crypto");
    assert_eq!(got["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(got["md5"], "kAFQmDzST7DWlj99KOF/cg==");
    assert_eq!(got["hmac"], "369e2959eb49450338b212748f77d8ded74847bb");
    assert_eq!(got["pbkdf2"], "0c60c80f961f0e71f3a9b524af6012062fe037a6");
    assert_eq!(got["pbkdf2Later"], got["pbkdf2"]);
    // RFC 7914, section 12.
    assert_eq!(got["scrypt"], "77d6576238657b20");
    assert_eq!(got["scryptLater"], got["scrypt"]);
    for name in ["opened", "gcm"] {
        assert_eq!(got[name], "secret", "{name}");
    }
    for name in ["verified", "ed", "equal"] {
        assert_eq!(got[name], true, "{name}");
    }
    assert_eq!(got["forged"], false);
    assert_eq!(got["random"], 16);
    assert_eq!(got["uuid"], 36);
}

#[test]
fn one_call_of_cryptography_is_bounded() {
    let got = answers("/crypto");
    assert_eq!(got["tooMany"], "ERR_OUT_OF_RANGE");
    assert_eq!(got["tooMuch"], "ERR_OUT_OF_RANGE");
}

#[test]
fn streams_flow_and_meet_the_webs() {
    assert_eq!(answers("/streams"), json!({ "shouted": "AB", "collected": [2, 4, 6], "web": "web" }));
}

#[test]
fn zlib_packs_and_unpacks() {
    let got = answers("/zlib");
    for name in ["gzip", "deflate", "raw", "brotli", "later", "brotliLater", "streamed", "constant"] {
        assert_eq!(got[name], true, "{name}");
    }
    assert_eq!(got["crc32"], 907_060_870);
    assert_eq!(got["broken"], "Z_DATA_ERROR");
}

#[test]
fn the_small_modules_answer_as_node_does() {
    let got = answers("/util");
    assert_eq!(got["inspect"], "{ a: 1, b: [ 1, { c: [Map] } ] }");
    assert_eq!(got["format"], "x is 42 {\"y\":1}");
    assert_eq!(got["promisified"], 2);
    assert_eq!(got["types"], json!([true, true, false]));
    assert_eq!(got["deep"], true);
    assert_eq!(got["older"], json!([true, true]));
    assert_eq!(got["once"], json!([7]));
    assert_eq!(got["assertion"], "ERR_ASSERTION");
    assert_eq!(got["deepAssertion"], "nothing thrown");
    assert_eq!(got["path"], json!(["/b", ".gz", "../c"]));
    assert_eq!(got["url"], "/p");
    assert_eq!(got["fileUrl"], "/tmp/x");
    assert_eq!(got["query"], json!({ "a": ["1", "3"], "b": "2" }));
    assert_eq!(got["decoder"], "\u{20ac}");
    assert_eq!(got["base64url"], "YT9iPg");
    assert_eq!(got["sameBuffer"], true);
    assert_eq!(got["samePerformance"], true);
    assert_eq!(got["eol"], "\n");
}

#[test]
fn ticks_promises_and_immediates_all_run() {
    let got = answers("/timers");
    assert_eq!(got["order"], json!(["immediate", "promise", "tick"]));
    assert_eq!(got["slept"], "slept");
}

#[test]
fn async_local_storage_and_the_event_live_together() {
    let (mut dev, _folder) = start(&[]);
    let answer = dev.get("/context");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let got = answer.json();
    assert_eq!(got["nested"], json!([2, 1]));
    assert_eq!(got["outside"], Value::Null);
    assert_eq!(got["ticked"], "ticked");
    assert_eq!(got["bound"], "bound");
    assert_eq!(got["seen"], json!(["published"]));
    dev.wait_output("logged inside run");
    dev.wait_output("written inside run");
}

#[test]
fn files_live_in_memory_and_end_at_their_bounds() {
    let got = answers("/files");
    assert_eq!(got["text"], "one two");
    assert_eq!(got["real"], "/tmp/a.txt");
    assert_eq!(got["listing"], json!(["a.txt", "copy.txt", "deep", "deeper", "fd", "link", "streamed"]));
    assert_eq!(got["types"], json!([["bundle", true], ["dev", true], ["tmp", true]]));
    assert_eq!(got["later"], json!([1, 2, 3]));
    assert_eq!(got["part"], "3456");
    assert_eq!(got["streamed"], "streamed");
    assert_eq!(got["size"], 7);
    assert_eq!(got["exists"], json!([true, false]));
    assert_eq!(got["missing"], "ENOENT");
    assert_eq!(got["message"], json!(["ENOENT", -2, "open", "/etc/passwd"]));
    assert_eq!(got["readOnly"], "EROFS");
    assert_eq!(got["notEmpty"], "ENOTEMPTY");
    assert_eq!(got["full"], "ENOSPC");
    assert_eq!(got["callback"], "ENOENT");
    assert_eq!(got["after"], json!([]));
}

#[test]
fn process_tells_of_the_worker_and_of_no_machine() {
    let got = answers("/process");
    assert_eq!(got["same"], true);
    assert_eq!(got["env"], json!(["hello", null]));
    assert_eq!(got["changed"], "5");
    assert_eq!(got["cwd"], "/");
    assert_eq!(got["platform"], "linux");
    assert_eq!(got["version"], true);
    assert_eq!(got["exit"], "ERR_PROCESS_EXIT");
    assert_eq!(got["kill"], "ERR_METHOD_NOT_IMPLEMENTED");
    assert_eq!(got["emitter"], "emitted");
    assert_eq!(got["isEmitter"], true);
    assert_eq!(got["global"], true);
    assert_eq!(got["bigint"], "bigint");
}

#[test]
fn what_a_worker_cannot_do_is_a_clear_error() {
    let got = answers("/refused");
    for name in ["exec", "listen", "http"] {
        assert_eq!(got[name], "ERR_METHOD_NOT_IMPLEMENTED", "{name}: {got}");
    }
    assert_eq!(got["required"], "/");
    assert_eq!(got["bare"], true);
    assert_eq!(got["unknown"], "MODULE_NOT_FOUND");
    assert_eq!(got["builtin"], json!([true, true, false]));
}

#[test]
fn the_clock_of_the_web_may_be_used_before_nodes() {
    let (dev, _folder) = Dev::script(
        "const began = performance.now();
         export default { async fetch() {
             const { performance: hooked } = await import('node:perf_hooks');
             const { METHODS } = await import('node:http');
             return new Response(String(hooked === performance && began >= 0 && METHODS.includes('GET')));
         } };",
    );
    assert_eq!(dev.get("/").text(), "true");
}

/// A server that answers `/echo` with what it was asked, and `/length` with how long the body was.
fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: std::net::TcpStream) {
    let mut received = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer) else { return };
        received.extend_from_slice(&buffer[..count]);
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        let body = &received[end + 4..];
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let whole = match length {
            Some(length) => body.len() >= length,
            None => !head.contains("chunked") || body.ends_with(b"0\r\n\r\n"),
        };
        if !whole {
            continue;
        }
        let (method, path) = head.split_once(' ').unwrap();
        let path = path.split(' ').next().unwrap();
        let text = if head.contains("chunked") { unchunked(body) } else { body.to_vec() };
        let answer = if path == "/length" {
            text.len().to_string()
        } else {
            json!({ "method": method, "path": path, "asked": head.contains("x-asked: yes"),
                "body": String::from_utf8_lossy(&text) })
            .to_string()
        };
        let _ = write!(
            stream,
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        received.clear();
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    whole
}

#[test]
fn http_requests_leave_by_fetch() {
    let port = echo_server();
    let (dev, _folder) = start(&["--allow-net", &format!("127.0.0.1:{port}")]);
    let answer = dev.get(&format!("/http?target=http://127.0.0.1:{port}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let got = answer.json();
    assert_eq!(got["get"]["status"], 201);
    assert_eq!(got["get"]["type"], "application/json");
    assert_eq!(got["get"]["body"], json!({ "method": "get", "path": "/echo?x=1", "asked": true, "body": "" }));
    assert_eq!(got["post"]["method"], "post");
    assert_eq!(got["post"]["body"], "first second");
    assert_eq!(got["long"], "1000000");
}

#[test]
fn bare_names_of_builtins_mean_them() {
    let folder = Folder::new();
    let path = folder.file(
        "bare.js",
        "import { join } from 'path';\nexport default { fetch: () => new Response(join('/a', 'b')) };",
    );
    let dev = Dev::start(&[Path::new(&path)], &[]);
    assert_eq!(dev.get("/").text(), "/a/b");
}

/// Each module is the first that its isolate loads: what one of them needs must not depend on another having come first.
#[test]
fn every_module_can_be_the_first_to_load() {
    const MODULES: &[&str] = &[
        "_http_agent",
        "_http_client",
        "_http_common",
        "_http_incoming",
        "_http_outgoing",
        "_http_server",
        "_stream_duplex",
        "_stream_passthrough",
        "_stream_readable",
        "_stream_transform",
        "_stream_writable",
        "_tls_common",
        "_tls_wrap",
        "assert",
        "assert/strict",
        "async_hooks",
        "buffer",
        "child_process",
        "cluster",
        "console",
        "constants",
        "crypto",
        "dgram",
        "diagnostics_channel",
        "dns",
        "dns/promises",
        "domain",
        "events",
        "fs",
        "fs/promises",
        "http",
        "http2",
        "https",
        "inspector",
        "inspector/promises",
        "module",
        "net",
        "os",
        "path",
        "path/posix",
        "path/win32",
        "perf_hooks",
        "process",
        "punycode",
        "querystring",
        "readline",
        "readline/promises",
        "repl",
        "sqlite",
        "stream",
        "stream/consumers",
        "stream/promises",
        "stream/web",
        "string_decoder",
        "sys",
        "test",
        "timers",
        "timers/promises",
        "tls",
        "trace_events",
        "tty",
        "url",
        "util",
        "util/types",
        "v8",
        "vm",
        "wasi",
        "worker_threads",
        "zlib",
    ];
    let folder = Folder::new();
    let paths: Vec<_> = MODULES
        .iter()
        .enumerate()
        .map(|(index, module)| {
            let source = format!(
                "export default {{ async fetch() {{
                    const names = Object.keys(await import(\"node:{module}\"));
                    return new Response(String(names.length > 0));
                }} }};"
            );
            folder.file(&format!("m{index}.js"), &source)
        })
        .collect();
    let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
    let dev = Dev::start(&paths, &[]);
    for (index, module) in MODULES.iter().enumerate() {
        assert_eq!(dev.get_of(&format!("m{index}"), "/").text(), "true", "node:{module}");
    }
}
