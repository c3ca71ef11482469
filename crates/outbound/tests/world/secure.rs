//! TLS and HTTP/2.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use selvedge_outbound::{Config, ConnectError, Outbound, OutboundError, RequestBody};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Script, config, fetch, get, post, text};

/// Answers each request with its version and body, over TLS for `secure.test`.
async fn start(protocols: &[&[u8]]) -> (u16, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["secure.test".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(tls));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(echo))
                    .await
                    .ok()
            });
        }
    });
    (port, certificate)
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    let host = request
        .uri()
        .host()
        .map(str::to_owned)
        .or_else(|| Some(request.headers().get("host")?.to_str().ok()?.to_owned()))
        .unwrap_or_default();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{version} {} {}", host.split(':').next().unwrap(), body.len());
    Ok(Response::new(Full::from(text)))
}

fn trusting(roots: Vec<CertificateDer<'static>>) -> Outbound {
    let config = Config { roots_extra: roots, ..config(&["127.0.0.1"]) };
    let names: &[(&str, &[&[&str]])] = &[("secure.test", &[&["127.0.0.1"]]), ("other.test", &[&["127.0.0.1"]])];
    Outbound::with_resolver(config, Script::new(names)).unwrap()
}

#[tokio::test]
async fn protocol_is_negotiated() {
    for (protocols, version, name) in [
        (&[b"h2".as_slice(), b"http/1.1".as_slice()][..], Version::HTTP_2, "HTTP/2.0"),
        (&[b"http/1.1".as_slice()][..], Version::HTTP_11, "HTTP/1.1"),
        (&[][..], Version::HTTP_11, "HTTP/1.1"),
    ] {
        let (port, root) = start(protocols).await;
        let outbound = trusting(vec![root]);
        let url = format!("https://secure.test:{port}/");
        let response = fetch(&outbound, get(&url)).await.unwrap();
        assert_eq!(response.version, version);
        assert_eq!(text(response).await, format!("{name} secure.test 0"));
        let body = RequestBody::full(vec![b'x'; 1 << 20]);
        let response = fetch(&outbound, post(&url, body)).await.unwrap();
        assert_eq!(text(response).await, format!("{name} secure.test 1048576"));
    }
}

#[tokio::test]
async fn host_header_cannot_contradict_the_name_over_http2() {
    let (port, root) = start(&[b"h2"]).await;
    let request = Request::get(format!("https://secure.test:{port}/"))
        .header("host", "other.test")
        .body(RequestBody::empty())
        .unwrap();
    let response = fetch(&trusting(vec![root]), request).await.unwrap();
    assert_eq!(text(response).await, "HTTP/2.0 secure.test 0");
}

#[tokio::test]
async fn untrusted_and_misnamed_certificates_are_refused() {
    let (port, root) = start(&[]).await;
    for (outbound, name) in [(trusting(Vec::new()), "secure.test"), (trusting(vec![root]), "other.test")] {
        let url = format!("https://{name}:{port}/");
        let error = fetch(&outbound, get(&url)).await.unwrap_err();
        assert!(matches!(error, OutboundError::Connect(ConnectError::Tls { .. })), "{error:?}");
    }
}
