//! Accounts that share a platform: what one of them takes, the others still have their part of.

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

use support::Folder;
use support::up::Up;

/// The account beside the first one, and the name below the domain that its workers have.
const OTHER: &str = "other";

/// Answers `/` at once; holds `/hold` open for as long as the client stays, and as many MiB as its query says.
const WORKER: &str = r#"
const kept = [];
export default {
  fetch(request) {
    const url = new URL(request.url);
    if (url.pathname === "/") return new Response("well");
    const mib = Number(url.search.slice(1) || 0);
    if (mib > 0) kept.push(new Uint8Array(mib << 20).fill(1));
    const text = new TextEncoder();
    return new Response(new ReadableStream({
      async pull(controller) {
        controller.enqueue(text.encode("held;"));
        await new Promise((go) => setTimeout(go, 50));
      },
    }));
  },
};
"#;

/// A platform with two accounts.
struct Shared {
    up: Up,
    other: String,
    folder: Folder,
}

impl Shared {
    fn start(arguments: &[&str]) -> Self {
        let up = Up::start_with(arguments);
        let folder = Folder::new();
        let other = up.run_json(folder.path(), &["account", "create", OTHER])["id"].as_str().unwrap().to_owned();
        folder.file("worker.js", WORKER);
        Self { up, other, folder }
    }

    /// Deploys a worker of the first account.
    fn deploy(&self, name: &str) {
        self.up.run(self.folder.path(), &["deploy", "worker.js", "--name", name]);
    }

    /// Deploys one of the other account.
    fn deploy_other(&self, name: &str) {
        self.up.run(self.folder.path(), &["deploy", "worker.js", "--name", name, "--account", &self.other]);
    }

    fn host_of_other(&self, name: &str) -> String {
        format!("{name}.{OTHER}.localhost:{}", self.up.http.port())
    }

    /// Keeps a worker busy until what this gives is dropped.
    fn hold(&self, host: &str, mib: usize) -> Held {
        let mut stream = TcpStream::connect(self.up.http).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        write!(stream, "GET /hold?{mib} HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
        let mut held = Held { stream, got: Vec::new() };
        // It may be cut off at once, where it takes what others have a part of.
        while !held.has("held;") && held.read() {}
        held
    }
}

/// An answer that does not end.
struct Held {
    stream: TcpStream,
    got: Vec<u8>,
}

impl Held {
    fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.got).contains(text)
    }

    /// Reads on; gives whether there was more.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).unwrap_or(0);
        self.got.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// Waits until the answer is cut off.
    fn until_cut_off(mut self) {
        while self.read() {}
    }
}

#[test]
fn an_account_whose_workers_hold_all_isolates_gives_way_to_one_that_has_none() {
    let shared = Shared::start(&["--isolates", "4"]);
    let names: Vec<String> = (0..5).map(|index| format!("hog-{index}")).collect();
    for name in &names {
        shared.deploy_other(name);
    }
    let mut held: Vec<Held> = names[..4].iter().map(|name| shared.hold(&shared.host_of_other(name), 0)).collect();
    assert!(held.iter().all(|held| held.has("held;")));
    // All are busy: a version is started beside them all the same.
    shared.deploy("ours");
    assert_eq!(shared.up.get("ours", "/").text(), "well");
    // The other account gets no more, though the first one's isolate is idle and ends for it.
    let refused = shared.up.get_host(&shared.host_of_other(&names[4]), "/");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("its part is 2"), "{}", refused.text());
    // Its longest busy one ends for who has none.
    let answer = shared.up.get("ours", "/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "well"), "{}", answer.text());
    held.remove(0).until_cut_off();
    assert!(held.iter_mut().all(|held| held.read()), "more were ended than had to be");
}

#[test]
fn an_account_whose_workers_hold_all_memory_gives_way_and_its_neighbour_notices_nothing() {
    let shared = Shared::start(&["--memory-mib", "500"]);
    let names: Vec<String> = (0..8).map(|index| format!("hog-{index}")).collect();
    for name in &names {
        shared.deploy_other(name);
    }
    shared.deploy("ours");
    let mut ours = shared.hold(&format!("ours.localhost:{}", shared.up.http.port()), 0);
    let held: Vec<Held> = names.iter().map(|name| shared.hold(&shared.host_of_other(name), 100)).collect();
    // One of them at least is cut off before the others: eight hold more than there is.
    let (first, ended) = std::sync::mpsc::channel();
    for held in held {
        let first = first.clone();
        // Who waits for the first takes no other.
        std::thread::spawn(move || {
            held.until_cut_off();
            let _ = first.send(());
        });
    }
    ended.recv_timeout(support::PATIENCE).unwrap();
    assert!(ours.read(), "an answer of an account that holds little was cut off");
    assert_eq!(shared.up.get("ours", "/").text(), "well");
    assert!(!shared.up.output().contains("the runner is replaced"), "{}", shared.up.output());
}
