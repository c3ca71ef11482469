//! A machine that serves names: it answers an ACME server's questions by HTTP and TLS, and echoes what TLS clients say.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use selvedge_tls::{Acme, Certificates, Challenges, Handshake, Handshakes, Hello};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

pub struct Site {
    port: u16,
    tasks: JoinSet<()>,
}

impl Site {
    pub async fn start(http_port: u16, tls_port: u16, certificates: Arc<Certificates>, acme: Arc<Acme>) -> Self {
        let mut tasks = JoinSet::new();
        let challenges = Arc::clone(acme.challenges());
        let http = TcpListener::bind(("127.0.0.1", http_port)).await.unwrap();
        tasks.spawn(async move {
            while let Ok((stream, _)) = http.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&challenges)));
            }
        });
        let handshakes = Handshakes::new(&certificates, Some(acme)).unwrap();
        let tls = TcpListener::bind(("127.0.0.1", tls_port)).await.unwrap();
        let port = tls.local_addr().unwrap().port();
        tasks.spawn(async move {
            while let Ok((stream, _)) = tls.accept().await {
                let handshakes = handshakes.clone();
                tokio::spawn(async move {
                    // A client that does not like the certificate hangs up.
                    let _ = echo(stream, handshakes).await;
                });
            }
        });
        Self { port, tasks }
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// Connects as a client that trusts `roots` only.
    pub fn connect(&self, name: &str, roots: &Arc<RootCertStore>) -> impl Future<Output = io::Result<Client>> + use<> {
        let (port, name, roots) = (self.port, name.to_owned(), Arc::clone(roots));
        async move {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let name = ServerName::try_from(name).unwrap();
            Ok(Client(BufReader::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)))
        }
    }

    /// The certificate that such a client gets.
    pub fn certificate(
        &self,
        name: &str,
        roots: &Arc<RootCertStore>,
    ) -> impl Future<Output = io::Result<CertificateDer<'static>>> + use<> {
        let client = self.connect(name, roots);
        async move { Ok(client.await?.certificate()) }
    }
}

/// A client's connection.
pub struct Client(BufReader<TlsStream<TcpStream>>);

impl Client {
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.get_ref().get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    pub async fn echo(&mut self, text: &str) -> String {
        self.0.get_mut().write_all(format!("{text}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }
}

async fn answer(stream: TcpStream, challenges: Arc<Challenges>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default();
    let answer = match challenges.answer(path) {
        Some(body) => format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        None => "HTTP/1.0 404 Not Found\r\n\r\n".to_owned(),
    };
    stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
}

async fn echo(stream: TcpStream, handshakes: Handshakes) -> io::Result<()> {
    let begun = LazyConfigAcceptor::new(Default::default(), stream).await?;
    let hello = Hello::of(&begun.client_hello());
    let mut stream = match handshakes.answer(&hello).await {
        Some(Handshake::Serve(config)) => begun.into_stream(config).await?,
        Some(Handshake::Proof(config)) => {
            return begun.into_stream(config).await?.shutdown().await;
        }
        None => return Ok(()),
    };
    let mut bytes = [0; 1024];
    loop {
        let length = stream.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..length]).await?;
        stream.flush().await?;
    }
}
