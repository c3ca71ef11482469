//! Certificates ordered from Pebble, the test server of those who run Let's Encrypt: it asks for its proofs over real
//! sockets, as the public ones do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use selvedge_tls::{Acme, AcmeConfig, AcmeTiming, Certificates, Challenge};
use tempfile::TempDir;

use support::pebble::Pebble;
use support::site::Site;

const PATIENCE: Duration = Duration::from_secs(30);

fn timing() -> AcmeTiming {
    AcmeTiming {
        look_interval: Duration::from_millis(100),
        handshake_wait_max: PATIENCE,
        retry_first: Duration::from_millis(100),
        retry_max: Duration::from_secs(1),
        ..AcmeTiming::default()
    }
}

fn acme(pebble: &Pebble, folder: &TempDir, challenges: &[Challenge], certificates: &Arc<Certificates>) -> Arc<Acme> {
    let config = AcmeConfig {
        directory: pebble.directory(),
        contacts: vec!["mailto:ops@site.test".into()],
        roots: vec![pebble.root.clone()],
        folder: folder.path().to_owned(),
        challenges: challenges.to_vec(),
        timing: timing(),
    };
    Acme::start(config, Arc::clone(certificates), |name| name.ends_with(".site.test")).unwrap()
}

/// A machine that answers on the ports where `pebble` looks, and its certificates.
async fn site(pebble: &Pebble, folder: &TempDir, challenges: &[Challenge]) -> Site {
    let certificates = Certificates::load(Vec::new(), &["localhost".into()]).unwrap();
    let acme = acme(pebble, folder, challenges, &certificates);
    Site::start(pebble.http_port, pebble.tls_port, certificates, acme).await
}

#[tokio::test]
async fn a_name_that_a_worker_has_is_ordered_by_its_first_client_and_kept() {
    let mut pebble = Pebble::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let site = site(&pebble, &folder, &[Challenge::Http01]).await;
    let roots = pebble.issuing_root().await;
    // Sixteen clients at once: one order.
    let clients = (0..16).map(|_| site.certificate("app.site.test", &roots));
    let mut seen = Vec::new();
    for client in clients.map(|client| tokio::spawn(client)).collect::<Vec<_>>() {
        seen.push(client.await.unwrap().expect("a certificate that the issuing root vouches for"));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    // Nobody gave this name to a worker.
    let began = Instant::now();
    assert!(site.certificate("stranger.test", &roots).await.is_err());
    assert!(began.elapsed() < PATIENCE / 2, "a name that is not allowed waits for nothing");
    site.stop().await;
    pebble.stop();
    // The next start needs no server.
    let site = self::site(&pebble, &folder, &[Challenge::Http01]).await;
    let kept = site.certificate("app.site.test", &roots).await.unwrap();
    assert_eq!(kept, seen[0]);
}

#[tokio::test]
async fn a_proof_by_handshake_does_where_port_80_is_closed() {
    let pebble = Pebble::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::load(Vec::new(), &["localhost".into()]).unwrap();
    let acme = acme(&pebble, &folder, &[Challenge::Http01, Challenge::TlsAlpn01], &certificates);
    // Nothing listens where the server asks by HTTP: the first order fails, the next proves by a handshake.
    let site = Site::start(0, pebble.tls_port, certificates, acme).await;
    let roots = pebble.issuing_root().await;
    let began = Instant::now();
    let tries = AtomicU16::new(0);
    while site.certificate("app.site.test", &roots).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "no certificate in {PATIENCE:?}");
        tries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(tries.load(Ordering::Relaxed) > 0, "the first order cannot have been proved");
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_connections_and_open_ones_go_on() {
    // Renewed after four seconds.
    let pebble = Pebble::start(Some(Duration::from_secs(6))).await;
    let folder = tempfile::tempdir().unwrap();
    let site = site(&pebble, &folder, &[Challenge::Http01]).await;
    let roots = pebble.issuing_root().await;
    let mut open = site.connect("app.site.test", &roots).await.unwrap();
    let first = open.certificate();
    assert_eq!(open.echo("before").await, "before");
    let began = Instant::now();
    loop {
        let now = site.certificate("app.site.test", &roots).await.unwrap();
        if now != first {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no renewal in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(open.echo("after").await, "after");
    assert_eq!(open.certificate(), first);
}

#[tokio::test]
async fn an_account_that_the_server_lost_is_made_anew() {
    let mut pebble = Pebble::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let site = site(&pebble, &folder, &[Challenge::Http01]).await;
    let roots = pebble.issuing_root().await;
    site.certificate("one.site.test", &roots).await.unwrap();
    // It remembers nothing of before.
    pebble.restart().await;
    let roots = pebble.issuing_root().await;
    let began = Instant::now();
    while site.certificate("two.site.test", &roots).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "no certificate in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
