//! Starts Pebble, and the DNS server that comes with it: every name is at 127.0.0.1.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const START_MAX: Duration = Duration::from_secs(20);

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running Pebble.
pub struct Pebble {
    folder: TempDir,
    ports: Ports,
    /// Vouches for Pebble's own sockets.
    pub root: CertificateDer<'static>,
    /// Where it asks by HTTP.
    pub http_port: u16,
    /// Where it asks by TLS.
    pub tls_port: u16,
    server: Option<Process>,
    _names: Process,
}

struct Ports {
    acme: u16,
    management: u16,
    names: u16,
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn spawn(command: &mut Command) -> Process {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Process(child.unwrap_or_else(|error| panic!("{command:?} (Debian's package `pebble`): {error}")))
}

async fn wait_for(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(began.elapsed() < START_MAX, "nothing listens at port {port}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Pebble {
    /// Starts one whose certificates are valid for `validity`.
    pub async fn start(validity: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = own_certificate(&folder);
        let ports = Ports { acme: free_port().await, management: free_port().await, names: free_port().await };
        let (http_port, tls_port) = (free_port().await, free_port().await);
        let validity = validity.unwrap_or(Duration::from_secs(90 * 24 * 60 * 60)).as_secs();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", ports.acme),
            "managementListenAddress": format!("127.0.0.1:{}", ports.management),
            "certificate": folder.path().join("own.pem"),
            "privateKey": folder.path().join("own.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity,
        }});
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let management = free_port().await;
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-defaultIPv6", "", "-defaultIPv4", "127.0.0.1", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        names.args(["-dns01", &format!("127.0.0.1:{}", ports.names)]);
        names.args(["-management", &format!("127.0.0.1:{management}")]);
        let names = spawn(&mut names);
        wait_for(management).await;
        let mut pebble = Self { folder, ports, root, http_port, tls_port, server: None, _names: names };
        pebble.restart().await;
        pebble
    }

    /// Starts it anew: it remembers nothing.
    pub async fn restart(&mut self) {
        self.stop();
        let mut server = Command::new("pebble");
        server.env("PEBBLE_VA_NOSLEEP", "1");
        server.arg("-config").arg(self.folder.path().join("config.json"));
        server.args(["-dnsserver", &format!("127.0.0.1:{}", self.ports.names)]);
        self.server = Some(spawn(&mut server));
        wait_for(self.ports.acme).await;
        wait_for(self.ports.management).await;
    }

    pub fn stop(&mut self) {
        self.server = None;
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.ports.acme)
    }

    /// What vouches for Pebble's own sockets, as PEM.
    pub fn root_pem(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("root.pem")).unwrap()
    }

    /// The root that vouches for the certificates that it issues.
    pub async fn issuing_root(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.issuing_root_pem().await.as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }

    /// The same as PEM.
    pub async fn issuing_root_pem(&self) -> String {
        let mut own = RootCertStore::empty();
        own.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(own)
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", self.ports.management)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.write_all(b"GET /roots/0 HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// The certificate of Pebble's own sockets; gives the root that vouches for it.
fn own_certificate(folder: &TempDir) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &root).unwrap();
    std::fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
    std::fs::write(folder.path().join("own.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("own.key"), key.serialize_pem()).unwrap();
    root.der().clone()
}
