//! Connections: resolve, filter, connect; then TLS; all within a bound of time and of number.
//!
//! The filter stands between the resolver's answer and `connect`, on the address itself. There is no second look-up
//! that could answer differently, and no way to a socket around it: HTTP and WebSockets come through here.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection as Connects},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::{
    AllowRule, ConnectError, Refusal, Resolve,
    address::{canonical, forbidden_range},
    permits::{HostPermit, HostPermits},
};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// The head start that an address has before the next is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// Whose request is being sent: a connection that it opens counts among those of that account.
    pub(crate) static ACCOUNT: Option<Arc<str>>;
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

/// TCP to addresses that the filter lets pass.
#[derive(Clone)]
pub(crate) struct FilteredConnector {
    resolver: Arc<dyn Resolve>,
    allow: Arc<[AllowRule]>,
    /// Whether refusals tell of addresses.
    explained: bool,
}

/// TLS over [`FilteredConnector`] where the scheme asks for it, within the bounds.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<FilteredConnector>,
    permits: Arc<HostPermits>,
    timeout: Duration,
}

/// An open connection, which counts among its host's until it is dropped.
pub struct Connection {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    _permit: HostPermit,
}

// === impl FilteredConnector ===

impl FilteredConnector {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, allow: Arc<[AllowRule]>, explained: bool) -> Self {
        Self { resolver, allow, explained }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let (host, port) = host_and_port(&uri)?;
        let addresses = self.resolve(host).await?;
        let passed = self.filter(host, port, &addresses)?;
        let stream = connect_to_any(passed).await.map_err(|source| ConnectError::Tcp {
            host: host.to_owned(),
            port,
            source: Arc::new(source),
        })?;
        // Small writes leave at once; the option is a matter of speed, and a socket that refuses it works as well.
        let _ = stream.set_nodelay(true);
        Ok(TokioIo::new(stream))
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        if is_localhost(host) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        self.resolver
            .resolve(host)
            .await
            .map_err(|source| ConnectError::Resolve { host: host.to_owned(), source: Arc::new(source) })
    }

    /// The addresses that may be connected to; a refusal if there are only others.
    fn filter(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut refusal = None;
        let mut passed = Vec::new();
        for address in addresses.iter().copied().map(canonical) {
            match self.check(host, port, address) {
                Ok(()) => passed.push(SocketAddr::new(address, port)),
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        if passed.is_empty() {
            return Err(
                refusal.map_or_else(|| ConnectError::NoAddress { host: host.to_owned() }, ConnectError::Refused)
            );
        }
        Ok(alternate(passed))
    }

    fn check(&self, host: &str, port: u16, address: IpAddr) -> Result<(), Refusal> {
        match forbidden_range(address) {
            Some(range) if !self.allow.iter().any(|rule| rule.matches(host, address, port)) => {
                Err(Refusal { host: host.to_owned(), port, address, range, explained: self.explained })
            }
            _ => Ok(()),
        }
    }
}

impl Service<Uri> for FilteredConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

// === impl Connector ===

impl Connector {
    pub(crate) fn new(https: HttpsConnector<FilteredConnector>, permits: Arc<HostPermits>, timeout: Duration) -> Self {
        Self { https, permits, timeout }
    }

    async fn connect(mut self, uri: Uri, account: Option<Arc<str>>) -> Result<Connection, ConnectError> {
        let (host, port) = host_and_port(&uri)?;
        let host = host.to_owned();
        let deadline = Instant::now() + self.timeout;

        let permits = Arc::clone(&self.permits);
        let address = format!("{host}:{port}");
        let Ok(Some(permit)) = timeout_at(deadline, permits.acquire(account, &address)).await else {
            return Err(ConnectError::HostBusy { host, allowed: permits.per_account(), waited: self.timeout });
        };
        match timeout_at(deadline, self.https.call(uri)).await {
            Ok(Ok(stream)) => Ok(Connection { stream, _permit: permit }),
            Ok(Err(error)) => Err(match error.downcast::<ConnectError>() {
                Ok(connect) => *connect,
                Err(source) => ConnectError::Tls { host, source: source.into() },
            }),
            Err(_) => Err(ConnectError::Timeout { host, allowed: self.timeout }),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = ConnectError;
    type Future = Connecting<Connection>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    /// For the account that [`ACCOUNT`] names: the client library passes on nothing but the URI.
    fn call(&mut self, uri: Uri) -> Self::Future {
        let account = ACCOUNT.try_with(Option::clone).unwrap_or_default();
        Box::pin(self.clone().connect(uri, account))
    }
}

// === impl Connection ===

impl Connection {
    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            MaybeHttpsStream::Http(tcp) => tcp.inner(),
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
        }
    }

    /// The peer's address.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.tcp().peer_addr().ok()
    }

    /// This end's address.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.tcp().local_addr().ok()
    }

    /// The same connection with TLS from here on.
    pub(crate) async fn secured(self, host: &str, config: Arc<ClientConfig>) -> Result<Self, ConnectError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::Tls {
            host: host.to_owned(),
            source: source.into(),
        };
        let MaybeHttpsStream::Http(tcp) = self.stream else {
            return Err(failed("the connection has TLS already".into()));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.into()))?;
        let tls =
            TlsConnector::from(config).connect(name, TokioIo::new(tcp)).await.map_err(|error| failed(error.into()))?;
        Ok(Self { stream: MaybeHttpsStream::Https(TokioIo::new(tls)), _permit: self._permit })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connects for Connection {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}

fn host_and_port(uri: &Uri) -> Result<(&str, u16), ConnectError> {
    let host = uri.host().ok_or(ConnectError::NoHost)?;
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    Ok((host, uri.port_u16().unwrap_or(default)))
}

/// Names that are this machine without asking anybody (RFC 6761, section 6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.rsplit('.').next().is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

/// The two families in turn, the resolver's first choice first, so that a family without a route costs one head
/// start.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut mixed = Vec::new();
    for address in preferred {
        mixed.push(address);
        mixed.extend(other.next());
    }
    mixed.extend(other);
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

/// The first connection that succeeds; later addresses join while earlier ones hang, and at once when one fails.
async fn connect_to_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = waiting.next();
        let was_last = next.is_none();
        if let Some(address) = next {
            attempts.spawn(TcpStream::connect(address));
        }
        let ended = if was_last {
            attempts.join_next().await
        } else {
            tokio::select! {
                ended = attempts.join_next() => ended,
                () = sleep(HEAD_START) => continue,
            }
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = error,
            Some(Err(error)) => failure = io::Error::other(error),
            None => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_from_the_resolvers_first_choice() {
        assert_eq!(
            alternate(sockets(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"])),
            sockets(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(
            alternate(sockets(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])),
            sockets(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])
        );
    }

    #[tokio::test]
    async fn closed_port_gives_way_to_the_next_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let stream = connect_to_any(vec![closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let error = connect_to_any(vec![closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect_to_any(Vec::new()).await.is_err());
    }

    #[test]
    fn public_address_passes_beside_a_private_one() {
        struct Nowhere;
        impl Resolve for Nowhere {
            fn resolve(&self, _: &str) -> crate::Resolving {
                Box::pin(async { Ok(Vec::new()) })
            }
        }
        let connector = FilteredConnector::new(Arc::new(Nowhere), Arc::from([]), true);
        let addresses = ["10.0.0.1", "1.1.1.1", "::1"].map(|a| a.parse().unwrap());
        assert_eq!(connector.filter("x", 80, &addresses).unwrap(), sockets(&["1.1.1.1:80"]));
        let inwards = ["10.0.0.1", "::1"].map(|a| a.parse().unwrap());
        assert!(matches!(connector.filter("x", 80, &inwards), Err(ConnectError::Refused(Refusal { .. }))));
        assert!(matches!(connector.filter("x", 80, &[]), Err(ConnectError::NoAddress { .. })));
    }

    #[test]
    fn a_tenant_is_not_told_of_addresses_inside() {
        let refusal = |explained| Refusal {
            host: "db.test".into(),
            port: 5432,
            address: "10.1.2.3".parse().unwrap(),
            range: forbidden_range("10.1.2.3".parse().unwrap()).unwrap(),
            explained,
        };
        assert!(refusal(true).to_string().contains("10.1.2.3"));
        let text = refusal(false).to_string();
        assert!(!text.contains("10.") && !text.contains("--allow-net"), "{text}");
    }
}
