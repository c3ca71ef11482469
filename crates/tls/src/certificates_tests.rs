use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConnection, SignatureScheme};
use tempfile::TempDir;
use tokio::time::{Duration, timeout};

use super::*;
use crate::pair::PairBytes;
use crate::self_signed::tests::{ended_files, files, provider};

/// Believes every certificate, and so sees which it was.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn client(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Shakes hands, and gives both ends.
fn shake(server: Arc<ServerConfig>, client: Arc<ClientConfig>, name: &str) -> (ClientConnection, ServerConnection) {
    let mut client = ClientConnection::new(client, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client, server)
}

/// The certificate that a client gets that asks for `name`.
fn served(certificates: &Arc<Certificates>, name: &str) -> CertificateDer<'static> {
    let (client, _) = shake(certificates.tcp_config().unwrap(), client(&[&TLS13]), name);
    client.peer_certificates().unwrap()[0].clone()
}

fn der(chain: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()
}

/// Writes a pair into a folder, and gives its certificate.
fn write(folder: &Path, stem: &str, names: &[&str]) -> CertificateDer<'static> {
    write_files(folder, stem, &files(names))
}

fn write_files(folder: &Path, stem: &str, (chain, key): &(String, String)) -> CertificateDer<'static> {
    std::fs::write(folder.join(format!("{stem}.pem")), chain).unwrap();
    std::fs::write(folder.join(format!("{stem}.key")), key).unwrap();
    der(chain)
}

/// Serves a pair as one that was ordered for `name`, and gives its certificate.
fn order(certificates: &Certificates, name: &str, (chain, key): (String, String)) -> CertificateDer<'static> {
    let first = der(&chain);
    let pair = Pair { chain: "chain".into(), key: "key".into() };
    let bytes = PairBytes { chain: chain.into(), key: key.into() };
    certificates.install(name, pair.check(&bytes, &provider()).unwrap());
    first
}

fn load(folder: &TempDir) -> Arc<Certificates> {
    Certificates::load(vec![Source::Path(folder.path().to_owned())], &["localhost".into()]).unwrap()
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "a", &["first.test"]);
    let wildcard = write(folder.path(), "b", &["*.site.test"]);
    let exact = write(folder.path(), "c", &["app.site.test"]);
    let certificates = load(&folder);
    assert_eq!(served(&certificates, "first.test"), first);
    assert_eq!(served(&certificates, "other.site.test"), wildcard);
    assert_eq!(served(&certificates, "APP.site.test"), exact);
    // Nobody has these: the first serves.
    assert_eq!(served(&certificates, "a.b.site.test"), first);
    assert_eq!(served(&certificates, "127.0.0.1"), first);
    assert!(certificates.covers("APP.site.test."));
    assert!(!certificates.covers("127.0.0.1"));
}

#[test]
fn what_has_ended_gives_way_to_what_is_valid() {
    const NAME: &str = "app.site.test";
    let folder = tempfile::tempdir().unwrap();
    let other = write(folder.path(), "a", &["other.test"]);
    let certificates = load(&folder);
    assert_eq!(served(&certificates, NAME), other);
    // One that ended is better than one of another name, but it covers nothing.
    let ended = order(&certificates, NAME, ended_files(&[NAME]));
    assert_eq!(served(&certificates, NAME), ended);
    assert!(!certificates.covers(NAME) && !certificates.files_cover(NAME));
    let wildcard = write(folder.path(), "b", &["*.site.test"]);
    certificates.reload();
    assert_eq!(served(&certificates, NAME), wildcard);
    assert!(certificates.covers(NAME) && certificates.files_cover(NAME));
    let ordered = order(&certificates, NAME, files(&[NAME]));
    assert_eq!(served(&certificates, NAME), ordered);
    // A file for exactly this name comes first, while it is valid.
    let exact = write(folder.path(), "c", &[NAME]);
    certificates.reload();
    assert_eq!(served(&certificates, NAME), exact);
    write_files(folder.path(), "c", &ended_files(&[NAME]));
    certificates.reload();
    assert_eq!(served(&certificates, NAME), ordered);
    // The wildcard's file does not vouch for the name any more either.
    write_files(folder.path(), "b", &ended_files(&["*.site.test"]));
    certificates.reload();
    assert!(certificates.covers(NAME) && !certificates.files_cover(NAME));
}

#[test]
fn without_files_a_self_signed_certificate_serves() {
    let certificates = Certificates::load(Vec::new(), &["localhost".into(), "*.localhost".into()]).unwrap();
    let one = served(&certificates, "app.localhost");
    assert_eq!(served(&certificates, "other.test"), one);
    assert!(!certificates.covers("app.localhost"));
}

#[test]
fn both_versions_of_tls_are_spoken_and_sessions_are_resumed() {
    let certificates = Certificates::load(Vec::new(), &["localhost".into()]).unwrap();
    let server = certificates.tcp_config().unwrap();
    for version in [&TLS12, &TLS13] {
        let client = client(&[version]);
        let (_, first) = shake(Arc::clone(&server), Arc::clone(&client), "localhost");
        assert_eq!(first.alpn_protocol(), Some(b"h2".as_slice()));
        assert_eq!(first.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let (_, second) = shake(Arc::clone(&server), client, "localhost");
        assert_eq!(second.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "{version:?}");
    }
}

#[test]
fn a_new_pair_serves_the_next_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "a", &["site.test"]);
    let certificates = load(&folder);
    assert_eq!(served(&certificates, "site.test"), old);
    let new = write(folder.path(), "a", &["site.test"]);
    certificates.reload();
    assert_eq!(served(&certificates, "site.test"), new);
    assert_ne!(old, new);
}

#[test]
fn a_half_written_or_mismatched_pair_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "a", &["site.test"]);
    let certificates = load(&folder);
    let (chain, key) = files(&["site.test"]);
    // The chain is new, the key is not.
    std::fs::write(folder.path().join("a.pem"), &chain).unwrap();
    certificates.reload();
    assert_eq!(served(&certificates, "site.test"), old);
    // The key is written in part.
    std::fs::write(folder.path().join("a.key"), &key[..key.len() / 2]).unwrap();
    certificates.reload();
    assert_eq!(served(&certificates, "site.test"), old);
    // One of them is away while it is replaced.
    std::fs::remove_file(folder.path().join("a.key")).unwrap();
    certificates.reload();
    assert_eq!(served(&certificates, "site.test"), old);
    std::fs::write(folder.path().join("a.key"), &key).unwrap();
    certificates.reload();
    assert_eq!(served(&certificates, "site.test"), der(&chain));
}

#[test]
fn a_pair_that_is_taken_away_serves_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "a", &["first.test"]);
    write(folder.path(), "b", &["second.test"]);
    let certificates = load(&folder);
    std::fs::remove_file(folder.path().join("b.pem")).unwrap();
    std::fs::remove_file(folder.path().join("b.key")).unwrap();
    certificates.reload();
    assert!(!certificates.covers("second.test"));
    assert_eq!(served(&certificates, "second.test"), first);
}

#[test]
fn a_folder_that_cannot_be_read_keeps_no_other_from_serving() {
    let folder = tempfile::tempdir().unwrap();
    let lost = folder.path().join("lost+found");
    std::fs::create_dir(&lost).unwrap();
    // The administrator of a machine, as whom tests may run, reads it all the same.
    std::fs::set_permissions(&lost, std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = Certificates::load(vec![Source::Path(folder.path().to_owned())], &["localhost".into()]).unwrap_err();
    assert!(error.to_string().contains("holds no certificate"), "{error}");
    let old = write(folder.path(), "a", &["site.test"]);
    let certificates = load(&folder);
    assert_eq!(served(&certificates, "site.test"), old);
    let new = write(folder.path(), "a", &["site.test"]);
    certificates.reload();
    assert_eq!(served(&certificates, "site.test"), new);
    // So that it goes with the test.
    std::fs::set_permissions(&lost, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_cannot_be_served_at_the_start_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = ["localhost".to_owned()];
    let missing = Source::Pair(Pair { chain: path("no.pem"), key: path("no.key") });
    let error = Certificates::load(vec![missing], &names).unwrap_err();
    assert!(error.to_string().contains("no.pem cannot be read"), "{error}");
    let error = Certificates::load(vec![Source::Path(folder.path().to_owned())], &names).unwrap_err();
    assert!(error.to_string().contains("holds no certificate"), "{error}");
    write(folder.path(), "a", &["a.test"]);
    write(folder.path(), "b", &["b.test"]);
    let mixed = Source::Pair(Pair { chain: path("a.pem"), key: path("b.key") });
    let error = Certificates::load(vec![mixed], &names).unwrap_err();
    assert!(error.to_string().contains("not usable with the certificate"), "{error}");
    // One bad pair of a folder does not keep the others from serving.
    std::fs::write(path("c.key"), "").unwrap();
    assert!(load(&folder).covers("a.test"));
}

#[test]
fn one_file_may_hold_both_halves() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = files(&["site.test"]);
    let path = folder.path().join("both.pem");
    std::fs::write(&path, format!("{key}{chain}")).unwrap();
    let certificates = Certificates::load(vec![Source::Path(path)], &["localhost".into()]).unwrap();
    assert_eq!(served(&certificates, "site.test"), der(&chain));
}

#[test]
fn http3_has_the_suite_that_every_client_has_and_no_early_data() {
    let certificates = Certificates::load(Vec::new(), &["localhost".into()]).unwrap();
    let config = certificates.quic_config().unwrap();
    assert_eq!(config.crypto_provider().cipher_suites.len(), 1);
    assert_eq!(config.max_early_data_size, 0);
    assert_eq!(config.alpn_protocols, [b"h3".to_vec()]);
}

/// Waits until `name` is covered, or is not.
async fn until(certificates: &Arc<Certificates>, what: impl Fn(&Arc<Certificates>) -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let seen = async {
        while !what(certificates) {
            look.tick().await;
        }
    };
    timeout(Duration::from_secs(20), seen).await.expect("the change was seen");
}

#[tokio::test]
async fn files_are_seen_as_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "a", &["site.test"]);
    let certificates = load(&folder);
    let _watch = certificates.watch();
    assert_eq!(served(&certificates, "site.test"), old);
    // Replaced by renaming, as careful tools do.
    let (chain, key) = files(&["site.test"]);
    for (name, text) in [("a.pem", &chain), ("a.key", &key)] {
        let new = folder.path().join(format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.path().join(name)).unwrap();
    }
    until(&certificates, |certificates| served(certificates, "site.test") == der(&chain)).await;
    // In a folder that was not there before.
    let live = folder.path().join("live");
    std::fs::create_dir(&live).unwrap();
    until(&certificates, |certificates| certificates.folders().contains(&live)).await;
    let (chain, key) = files(&["later.test"]);
    std::fs::write(live.join("fullchain.pem"), chain).unwrap();
    std::fs::write(live.join("privkey.pem"), key).unwrap();
    until(&certificates, |certificates| certificates.covers("later.test")).await;
}
