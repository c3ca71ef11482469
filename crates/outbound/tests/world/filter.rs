//! Nothing private is reached, however it is spelled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::HeaderMap;
use selvedge_outbound::{ConnectError, OutboundError};

use crate::support::{Script, Server, admit_all, fetch, get, ok, outbound, redirect, resolving, text};

#[tokio::test]
async fn every_spelling_of_a_private_address_is_refused() {
    let outbound = outbound(&[]);
    for url in [
        "http://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "https://127.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://0X7F.0X0.0X0.0X1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.000.000.001/",
        "http://127.0.0.1./",
        "http://0/",
        "http://0.0.0.0/",
        "http://127.255.255.254/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:7f00:0001]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:7f00:1::]/",
        "http://10.0.0.1/",
        "http://0xa000001/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://3232235521/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[fd00:ec2::254]/",
        "http://168.63.129.16/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[ff02::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://198.18.0.1/",
        "http://192.0.2.1/",
        "http://240.0.0.1/",
    ] {
        let error = fetch(&outbound, get(url)).await.unwrap_err();
        assert!(error.refusal().is_some(), "{url}: {error}");
    }
}

#[tokio::test]
async fn name_that_resolves_inwards_is_refused_before_a_connection() {
    let server = Server::always(ok("secret")).await;
    let port = server.address.port();
    let script = Script::new(&[
        ("loopback.test", &[&["127.0.0.1"]]),
        ("mapped.test", &[&["::ffff:127.0.0.1"]]),
        ("both.test", &[&["::1", "127.0.0.1", "10.0.0.1"]]),
    ]);
    let outbound = resolving(&[], script);
    for name in ["loopback.test", "mapped.test", "both.test"] {
        let error = fetch(&outbound, get(&format!("http://{name}:{port}/"))).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().host, name);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn localhost_of_this_machine_is_refused() {
    let server = Server::always(ok("secret")).await;
    let port = server.address.port();
    for host in ["localhost", "LocalHost", "localhost.", "api.localhost"] {
        let error = fetch(&outbound(&[]), get(&format!("http://{host}:{port}/"))).await.unwrap_err();
        assert!(error.refusal().is_some(), "{host}: {error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn name_that_changes_its_answer_is_refused_when_it_does() {
    let server = Server::always("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfirst").await;
    let port = server.address.port();
    // The first answer stands for a public address: a rule lets it pass. No rule does so for the second.
    let script = Script::new(&[("rebind.test", &[&["127.0.0.1"], &["127.0.0.2"]])]);
    let outbound = resolving(&["127.0.0.1"], Arc::clone(&script));
    let url = format!("http://rebind.test:{port}/");

    let response = fetch(&outbound, get(&url)).await.unwrap();
    assert_eq!(text(response).await, "first");
    assert_eq!(script.asked.load(Ordering::SeqCst), 1, "one look-up, one connection");

    let error = fetch(&outbound, get(&url)).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().address.to_string(), "127.0.0.2");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn redirect_inwards_is_refused() {
    let inner = Server::always(ok("secret")).await;
    let port = inner.address.port();
    for location in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("//inner.test:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
    ] {
        let outer = Server::always(redirect(302, &location)).await;
        let script = Script::new(&[("inner.test", &[&["127.0.0.1"]])]);
        let outbound = resolving(&[&outer.address.to_string()], script);
        let hops = AtomicUsize::new(0);
        let admit = |_: &http::Uri| {
            hops.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let error = outbound.fetch(get(&outer.url("/")), Default::default(), &admit).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().port, port, "{location}");
        assert_eq!(hops.load(Ordering::SeqCst), 2);
    }
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn allowed_destination_is_reached_and_its_neighbour_is_not() {
    let server = Server::always(ok("hello")).await;
    let neighbour = Server::always(ok("secret")).await;
    let outbound = outbound(&[&format!("localhost:{}", server.address.port())]);

    let url = format!("http://localhost:{}/", server.address.port());
    assert_eq!(text(fetch(&outbound, get(&url)).await.unwrap()).await, "hello");

    // The rule is for the name, not for the address behind it.
    for url in [server.url("/"), neighbour.url("/")] {
        assert!(fetch(&outbound, get(&url)).await.unwrap_err().refusal().is_some());
    }
    assert_eq!(neighbour.connections(), 0);
}

#[tokio::test]
async fn refusal_says_what_why_and_how_to_allow_it() {
    let script = Script::new(&[("db.test", &[&["10.0.0.9"]])]);
    let error = fetch(&resolving(&[], script), get("http://db.test:5432/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "db.test:5432 is not reachable from a worker: it is at 10.0.0.9, and 10.0.0.0/8 is private; to allow it in \
         development: --allow-net db.test:5432"
    );
    let error = fetch(&outbound(&[]), get("http://[::1]/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "[::1]:80 is not reachable from a worker: ::1/128 is loopback; to allow it in development: --allow-net \
         [::1]:80"
    );
}

#[tokio::test]
async fn websocket_inwards_is_refused() {
    let server = Server::always(ok("secret")).await;
    let url = format!("ws://{}/", server.address).parse().unwrap();
    let error = outbound(&[]).dial_websocket(&url, HeaderMap::new(), &[], &admit_all).await.unwrap_err();
    assert!(error.refusal().is_some(), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn unknown_name_and_other_schemes_are_told_apart() {
    let outbound = resolving(&[], Script::new(&[]));
    let error = fetch(&outbound, get("http://nowhere.test/")).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect(ConnectError::Resolve { .. })));
    for url in ["ftp://example.com/", "file:///etc/passwd", "ws://example.com/"] {
        let request = http::Request::get(url).body(Default::default());
        let Ok(request) = request else { continue };
        let error = fetch(&outbound, request).await.unwrap_err();
        assert!(matches!(error, OutboundError::Scheme { .. }), "{url}: {error}");
    }
}
