//! Deploys under load and under fire: no request fails or sees two versions at once, and nothing that was acknowledged
//! is lost.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::up::Up;
use support::{PATIENCE, ask_host, eventually};

const BOUNDARY: &str = "----a-boundary-of-this-test";

/// Deploys in a row.
const DEPLOYS: u64 = 200;
/// Clients that ask without a pause.
const CLIENTS: usize = 2;

/// Answers with the number in its code, the number in its asset and the tag of its version.
fn source(number: u64) -> String {
    format!(
        "import {{ number }} from './number.js';
         export default {{ async fetch(request, env) {{
            const asset = await env.ASSETS.fetch('http://assets/number.txt');
            return new Response(`{number} ${{number}} ${{(await asset.text()).trim()}} ${{env.VERSION.tag}}`);
         }} }};"
    )
}

fn part(head: &str, body: &str) -> String {
    format!("--{BOUNDARY}\r\n{head}\r\n\r\n{body}\r\n")
}

/// What the API said, or why there was no answer.
fn post(up: &Up, bearer: &str, path: &str, kind: &str, body: &str) -> Result<Value, String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
    let url = format!("{}/accounts/{}/workers{path}", up.api_base(), up.account);
    let mut response = agent
        .post(&url)
        .header("authorization", format!("Bearer {bearer}"))
        .header("content-type", kind)
        .send(body)
        .map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    // An answer that is not a success is a fault, whatever else happens.
    assert_eq!(answer["success"], true, "{path}: {text}");
    Ok(answer["result"].clone())
}

fn post_json(up: &Up, path: &str, body: &Value) -> Result<Value, String> {
    post(up, &up.token, path, "application/json", &body.to_string())
}

fn post_parts(up: &Up, bearer: &str, path: &str, body: &str) -> Result<Value, String> {
    post(up, bearer, path, &format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// Uploads the version `number`, assets first, as wrangler does; gives its id.
fn upload(up: &Up, worker: &str, number: u64) -> Result<String, String> {
    let content = BASE64_STANDARD.encode(format!("{number}\n"));
    let hash = blake3::hash(format!("{content}txt").as_bytes()).to_hex()[..32].to_owned();
    let size = number.to_string().len() + 1;
    let manifest = json!({ "manifest": { "/number.txt": { "hash": hash, "size": size } } });
    let session = post_json(up, &format!("/scripts/{worker}/assets-upload-session"), &manifest)?;
    let mut jwt = session["jwt"].as_str().unwrap().to_owned();
    if !session["buckets"].as_array().unwrap().is_empty() {
        let head =
            format!("content-disposition: form-data; name=\"{hash}\"; filename=\"{hash}\"\r\ncontent-type: text/plain");
        let body = format!("{}--{BOUNDARY}--\r\n", part(&head, &content));
        let uploaded = post_parts(up, &jwt, "/assets/upload?base64=true", &body)?;
        uploaded["jwt"].as_str().unwrap().clone_into(&mut jwt);
    }
    let metadata = json!({
        "main_module": "index.js",
        "compatibility_date": support::wrangler::COMPATIBILITY_DATE,
        "bindings": [{ "name": "ASSETS", "type": "assets" }, { "name": "VERSION", "type": "version_metadata" }],
        "annotations": { "workers/tag": number.to_string() },
        "assets": { "jwt": jwt, "config": { "run_worker_first": ["/mixed"] } },
    });
    let module = |name: &str| {
        format!(
            "content-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\ncontent-type: application/javascript+module"
        )
    };
    let body = [
        part("content-disposition: form-data; name=\"metadata\"", &metadata.to_string()),
        part(&module("index.js"), &source(number)),
        part(&module("number.js"), &format!("export const number = {number};")),
        format!("--{BOUNDARY}--\r\n"),
    ]
    .concat();
    let version = post_parts(up, &up.token, &format!("/scripts/{worker}/versions"), &body)?;
    Ok(version["id"].as_str().unwrap().to_owned())
}

/// Uploads the version `number`, and gives it all requests; gives its id.
fn deploy(up: &Up, worker: &str, number: u64) -> Result<String, String> {
    let version = upload(up, worker, number)?;
    let body = json!({ "strategy": "percentage", "versions": [{ "version_id": version, "percentage": 100 }] });
    post_json(up, &format!("/scripts/{worker}/deployments"), &body)?;
    Ok(version)
}

/// A worker to deploy versions of.
fn first(up: &Up, worker: &str) {
    up.deploy(worker, &json!({}), "export default { fetch: () => new Response('0 0 0 0') }");
    let shown = format!("{worker}.localhost:{}", up.http.port());
    eventually("the first version answers", || {
        (ask_host(up.http, "GET", &shown, "/mixed", &[], &[]).status == 200).then_some(())
    });
}

/// Asks for `path` again and again over one connection, until told to stop; `seen` is given every answer.
fn hammer(address: SocketAddr, host: &str, path: &str, stop: &AtomicBool, mut seen: impl FnMut(u16, &str)) {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    stream.get_ref().set_nodelay(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the connection was closed");
            let text = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().unwrap().parse().unwrap();
            } else if let Some(rest) = text.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if text.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        seen(status, &String::from_utf8(body).unwrap());
    }
}

#[test]
fn no_request_of_two_hundred_deploys_fails_or_sees_two_versions() {
    let up = Up::start();
    first(&up, "busy");
    let host = format!("busy.localhost:{}", up.http.port());
    let stop = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    // When each number was first seen.
    let live = Mutex::new(BTreeMap::<u64, Instant>::new());
    let look = |status: u16, text: &str| {
        assert_eq!(status, 200, "{text}");
        let numbers: Vec<u64> = text.split(' ').map(|word| word.parse().expect(text)).collect();
        assert!(numbers.len() == 4 && numbers.iter().all(|number| *number == numbers[0]), "versions mixed: {text}");
        live.lock().unwrap().entry(numbers[0]).or_insert_with(Instant::now);
        asked.fetch_add(1, Ordering::Relaxed);
    };
    let mut delays = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| hammer(up.http, &host, "/mixed", &stop, look))).collect();
        let delays: Vec<Duration> = (1..=DEPLOYS)
            .map_while(|number| {
                deploy(&up, "busy", number).unwrap();
                let acknowledged = Instant::now();
                let first_seen = loop {
                    if let Some(seen) = live.lock().unwrap().get(&number) {
                        break Some(*seen);
                    }
                    if clients.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                        break None;
                    }
                    assert!(acknowledged.elapsed() < PATIENCE, "version {number} was never seen:\n{}", up.output());
                    std::thread::park_timeout(Duration::from_micros(200));
                };
                first_seen.map(|seen| seen.saturating_duration_since(acknowledged))
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client saw what it must not");
        }
        delays
    });
    assert_eq!(delays.len() as u64, DEPLOYS);
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!(
        "{} answers during {DEPLOYS} deploys; deploy to live: median {:?}, 90 % {:?}, 99 % {:?}, longest {:?}",
        asked.load(Ordering::Relaxed),
        at(50),
        at(90),
        at(99),
        at(100)
    );
}

/// Deploys one number after the other, until the platform no longer answers.
fn deploy_until_the_end(up: &Up, worker: &str, from: u64, acknowledged: &Mutex<Vec<(u64, String)>>) {
    for number in from.. {
        match deploy(up, worker, number) {
            Ok(version) => acknowledged.lock().unwrap().push((number, version)),
            Err(_) => return,
        }
    }
}

#[test]
fn whatever_was_acknowledged_before_a_crash_is_there_after_it() {
    let mut up = Up::start();
    let workers = ["left", "right"];
    for worker in workers {
        first(&up, worker);
    }
    let acknowledged = workers.map(|_| Mutex::new(Vec::new()));
    for round in 1..=4_u64 {
        let target = acknowledged.each_ref().map(|list| list.lock().unwrap().len() + usize::try_from(round).unwrap());
        let pid = up.pid().to_string();
        std::thread::scope(|scope| {
            for (worker, list) in workers.iter().zip(&acknowledged) {
                let up = &up;
                scope.spawn(move || deploy_until_the_end(up, worker, round * 1_000, list));
            }
            let began = Instant::now();
            while acknowledged.iter().zip(target).any(|(list, target)| list.lock().unwrap().len() < target) {
                if began.elapsed() > PATIENCE {
                    break;
                }
                std::thread::park_timeout(Duration::from_micros(200));
            }
            // In the middle of both clients' next deploys.
            assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        });
        up.crash_and_restart();
        for (worker, list) in workers.iter().zip(&acknowledged) {
            let list = list.lock().unwrap();
            let (number, version) = list.last().expect("something was acknowledged");
            let versions = up.well("GET", &format!("{}/versions?deployable=true", up.script_path(worker)), None);
            let there = |id: &str| versions["items"].as_array().unwrap().iter().any(|item| item["id"] == *id);
            for (number, version) in list.iter() {
                assert!(there(version), "version {number} of {worker} is lost in round {round}: {versions}");
            }
            let deployments = up.well("GET", &format!("{}/deployments", up.script_path(worker)), None);
            let deployments = deployments["deployments"].as_array().unwrap().clone();
            let deployed = |id: &str| deployments.iter().any(|one| one["versions"][0]["version_id"] == *id);
            assert!(deployed(version), "the deployment of {number} of {worker} is lost: {deployments:?}");
            // It serves the last that was acknowledged, or the one that was under way.
            let host = format!("{worker}.localhost:{}", up.http.port());
            let text = eventually("the worker answers after the crash", || {
                let answer = ask_host(up.http, "GET", &host, "/mixed", &[], &[]);
                (answer.status == 200).then(|| answer.text())
            });
            let numbers: Vec<u64> = text.split(' ').map(|word| word.parse().unwrap()).collect();
            assert!(numbers.iter().all(|one| *one == numbers[0]), "{text}");
            assert!(numbers[0] == *number || numbers[0] == number + 1, "{worker} serves {text}, not {number}");
        }
    }
    let count = acknowledged.iter().map(|list| list.lock().unwrap().len()).sum::<usize>();
    println!("{count} deploys acknowledged around 4 crashes, none lost");
}

/// An upload that ends in the middle leaves nothing behind, also where the program ends with it.
#[test]
fn half_an_upload_is_no_version() {
    let mut up = Up::start();
    first(&up, "half");
    let before = up.well("GET", &format!("{}/versions?deployable=true", up.script_path("half")), None);
    let body = format!(
        "{}{}",
        part("content-disposition: form-data; name=\"metadata\"", r#"{"main_module":"index.js"}"#),
        "--------a-boundary"
    );
    let head = format!(
        "POST /client/v4{}/versions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: 1000000\r\n\r\n",
        up.script_path("half"),
        up.api,
        up.token
    );
    let open: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(up.api).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            stream
        })
        .collect();
    up.well("GET", "/user/tokens/verify", None);
    up.crash_and_restart();
    drop(open);
    let after = up.well("GET", &format!("{}/versions?deployable=true", up.script_path("half")), None);
    assert_eq!(before, after);
    deploy(&up, "half", 7).unwrap();
    let host = format!("half.localhost:{}", up.http.port());
    eventually("the worker answers", || {
        (ask_host(up.http, "GET", &host, "/mixed", &[], &[]).text() == "7 7 7 7").then_some(())
    });
}
