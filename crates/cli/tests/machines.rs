//! What a machine and its operator do to a running Selvedge: readers of its log that stand still or go, programs that
//! are replaced, folders that are lost, damaged, or brought back from a copy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail where they find what they did not expect"
)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::up::{Up, client, printed};
use support::{Dev, Folder, ask_host, children, eventually};

fn saying(text: &str) -> String {
    format!("export default {{ fetch() {{ return new Response({text:?}); }} }};")
}

/// Copies a file or a folder, as a backup does.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

fn end(child: &Child) {
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_log_that_nobody_reads_holds_no_request_and_no_shutdown() {
    // More lines than a pipe holds.
    const REQUESTS: usize = 1000;
    for is_gone in [true, false] {
        let data = Folder::new();
        let mut child = client(data.path())
            .args(["up", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--log-format", "json", "--data"])
            .arg(data.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let reader = child.stderr.take().filter(|_| !is_gone);
        let addresses: Value = eventually("it listens", || {
            serde_json::from_slice(&std::fs::read(data.path().join("addresses.json")).ok()?).ok()
        });
        let api = addresses["api"].as_str().unwrap().parse().unwrap();
        let token = std::fs::read_to_string(data.path().join("admin.token")).unwrap();
        let authorization = format!("Bearer {}", token.trim());
        let headers = [("authorization", authorization.as_str())];
        for _ in 0..REQUESTS {
            let answer = ask_host(api, "GET", "localhost", "/client/v4/user/tokens/verify", &headers, &[]);
            assert_eq!(answer.status, 200);
        }
        end(&child);
        assert!(child.wait().unwrap().success());
        drop(reader);
    }
}

#[test]
fn a_reader_that_has_enough_of_a_script_or_of_settings_makes_no_error() {
    let folder = Folder::new();
    for arguments in [&["completions", "bash"][..], &["config"]] {
        let mut child =
            client(folder.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
        assert_eq!(printed(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_program_that_was_replaced_starts_its_own_runners() {
    let programs = Folder::new();
    let program = programs.path().join("selvedge");
    // By another process: a file that this one has open for writing cannot be run.
    copy(Path::new(env!("CARGO_BIN_EXE_selvedge")), &program);
    let up = Up::start_program(&program, Folder::new(), &[]);
    up.deploy("hello", &json!({}), &saying("well"));
    assert_eq!(up.get("hello", "/").text(), "well");
    std::fs::remove_file(&program).unwrap();
    // Somebody else's, in its place.
    copy(Path::new("/bin/false"), &program);
    for runner in children(up.pid()) {
        let killed = Command::new("kill").args(["-s", "KILL", &runner.to_string()]).status().unwrap();
        assert!(killed.success());
    }
    let answer = eventually("a runner serves", || Some(up.get("hello", "/")).filter(|answer| answer.status == 200));
    assert_eq!(answer.text(), "well");
    eventually("it is ready", || {
        let ready = ask_host(up.api, "GET", "localhost", "/readyz", &[], &[]);
        (ready.status == 200).then_some(())
    });
    assert!(!up.output().contains("no spare runner"), "{}", up.output());
}

#[test]
fn a_store_that_was_brought_back_is_what_is_served() {
    let mut up = Up::start();
    let (store, kept) = (up.data.path().join("fabric"), up.data.path().join("kept"));
    up.deploy("turns", &json!({}), &saying("first"));
    up.deploy("stays", &json!({}), &saying("here"));
    assert!(up.stop().success());
    copy(&store, &kept);
    up.start_again();
    for round in 0..5 {
        up.deploy("turns", &json!({}), &saying(&format!("later {round}")));
    }
    up.deploy("later", &json!({}), &saying("not in the copy"));
    assert!(up.stop().success());
    std::fs::remove_dir_all(&store).unwrap();
    copy(&kept, &store);
    up.start_again();
    assert_eq!(up.get("turns", "/").text(), "first");
    assert_eq!(up.get("stays", "/").text(), "here");
    assert_eq!(up.get("later", "/").status, 404);
    for round in 0..3 {
        let text = format!("after {round}");
        up.deploy("turns", &json!({}), &saying(&text));
        assert_eq!(up.get("turns", "/").text(), text, "what the API calls live is served");
    }
}

#[test]
fn a_store_that_is_gone_is_not_begun_anew() {
    let mut up = Up::start();
    up.deploy("hello", &json!({}), &saying("well"));
    assert!(up.stop().success());
    std::fs::remove_file(up.data.path().join("fabric/fabric.db")).unwrap();
    for _ in 0..2 {
        let output = client(up.data.path())
            .args(["up", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"])
            .arg(up.data.path())
            .output()
            .unwrap();
        let said = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("fabric.db") && said.contains("--edge-only"), "{said}");
        // Nor without what the control plane made of it.
        let _ = std::fs::remove_dir_all(up.data.path().join("control"));
    }
    let token = std::fs::read_to_string(up.data.path().join("admin.token")).unwrap();
    assert_eq!(token.trim(), up.token);
}

#[test]
fn a_local_copy_that_is_damaged_is_made_anew_and_one_without_a_store_is_named() {
    let mut up = Up::start();
    up.deploy("hello", &json!({}), &saying("well"));
    assert!(up.stop().success());
    let copy = up.data.path().join("edge/edge.db");
    std::fs::write(&copy, "no database ".repeat(1000)).unwrap();
    let output = client(up.data.path())
        .args(["up", "--edge-only", "--http", "127.0.0.1:0", "--data"])
        .arg(up.data.path())
        .output()
        .unwrap();
    assert!(printed(&output).contains(copy.to_str().unwrap()), "{}", printed(&output));
    up.start_again();
    eventually("the worker is served", || (up.get("hello", "/").text() == "well").then_some(()));
}

#[test]
fn who_owns_the_folder_gets_in_without_a_token() {
    let mut up = Up::start();
    assert!(up.stop().success());
    std::fs::remove_file(up.data.path().join("admin.token")).unwrap();
    let data = std::mem::replace(&mut up.data, Folder::new());
    let again = Up::start_in(data, &["--new-admin-token"]);
    assert_ne!(again.token, up.token);
    eventually("it is shown", || again.output().contains(&again.token).then_some(()));
    again.well("GET", "/user/tokens/verify", None);
    // The one before may be somewhere yet: it is for the operator to revoke.
    assert_eq!(again.call_as(&up.token, "GET", "/user/tokens/verify", None).status, 200);
    let audit = again.run_json(again.data.path(), &["audit", "--platform"]).to_string();
    assert_eq!(audit.matches("token.created").count(), 2, "{audit}");
}

#[test]
fn an_edge_has_its_folder_to_itself() {
    let up = Up::start();
    let file = up.data.path().join("addresses.json");
    let before = std::fs::read(&file).unwrap();
    let output = client(up.data.path())
        .args(["up", "--edge-only", "--http", "127.0.0.1:0", "--data"])
        .arg(up.data.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("in use by another edge"), "{}", printed(&output));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_drain_takes_as_long_as_it_may_at_the_api_too() {
    use std::io::{Read, Write};
    let mut up = Up::start_with(&["--drain", "1"]);
    let head = format!(
        "POST /client/v4/accounts/{}/storage/kv/namespaces HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n",
        up.account, up.token
    );
    let mut stream = std::net::TcpStream::connect(up.api).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // Whoever reads the body says so. It never comes.
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 100");
    up.signal("TERM");
    eventually("it has ended", || up.has_ended().then_some(()));
    eventually("it says so", || up.output().contains("unanswered after 1s").then_some(()));
}

#[test]
fn a_second_order_to_stop_ends_it_at_once() {
    let mut up = Up::start_with(&["--drain", "3600"]);
    let script = "export default { async fetch() { await scheduler.wait(3_000_000); return new Response('late'); } };";
    up.deploy("slow", &json!({}), script);
    let address = up.http;
    let asked = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: slow.localhost\r\n\r\n").unwrap();
        // It is cut off.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    eventually("the request is under way", || {
        let metrics = ask_host(up.api, "GET", "localhost", "/metrics", &[], &[]).text();
        let in_flight =
            |line: &str| line.starts_with("selvedge_") && line.contains("in_flight") && line.ends_with(" 1");
        metrics.lines().any(in_flight).then_some(())
    });
    up.signal("HUP");
    eventually("it drains", || up.output().contains("stopping").then_some(()));
    assert!(!up.has_ended());
    up.signal("TERM");
    eventually("it has ended", || up.has_ended().then_some(()));
    asked.join().unwrap();
}

#[test]
fn a_second_order_to_stop_ends_dev_at_once_too() {
    use std::time::{Duration, Instant};
    // Half of what a drain may take.
    const SOON: Duration = Duration::from_secs(15);
    let (mut dev, _folder) = Dev::script(
        "export default { async fetch() {
            console.log('under way');
            await scheduler.wait(3_000_000);
            return new Response('late');
        } };",
    );
    let address = dev.address;
    let asked = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        // It is cut off.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    dev.wait_output("under way");
    let began = Instant::now();
    // The end of a terminal ends nothing by itself.
    dev.signal("-HUP");
    let status = dev.stop_with("-INT");
    assert!(status.success() && began.elapsed() < SOON, "{status} after {:?}", began.elapsed());
    asked.join().unwrap();
}

#[test]
fn settings_that_cannot_be_used_are_wrong_arguments() {
    let folder = Folder::new();
    folder.file("hello.js", &saying("well"));
    for (arguments, said) in [
        (&["up", "--http", "nonsense"][..], "nonsense"),
        (&["up", "--isolates", "2501"][..], "from 1 to 2500"),
        (&["config", "--drain", "many"][..], "--drain: `drain`"),
        (&["dev", "hello.js", "--allow-net", "nonsense:port"][..], "--allow-net"),
        (&["dev", "hello.js", "--isolates", "2501"][..], "from 1 to 2500"),
        (&["dev", "hello.js", "--isolates", "0"][..], "from 1 to 2500"),
    ] {
        let output = client(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", printed(&output));
        assert!(printed(&output).contains(said), "{arguments:?}: {}", printed(&output));
    }
}
