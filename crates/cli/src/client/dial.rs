//! The connection that a stream of events comes by: straight, or through the proxy that the API's calls go through.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tungstenite::http::Uri;
use ureq::{Proxy, ProxyProtocol};
use url::Url;

use super::api::{CONNECT_TIME_MAX, is_here};
use super::error::ClientError;

/// The head of a proxy's answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Connects to the host of a WebSocket.
pub fn dial(uri: &Uri) -> Result<TcpStream, ClientError> {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let host = uri.host().unwrap_or_default();
    let Some(proxy) = proxy_to(uri) else {
        return connect(host, port).map_err(|error| ClientError::Tail(Box::new(error.into())));
    };
    let target = format!("{host}:{port}");
    through(&proxy, &target).map_err(|source| {
        let proxy = format!("{}:{}", proxy.host(), proxy.port());
        ClientError::Proxy { proxy, target, source }
    })
}

/// The proxy that the environment names for a host, if it is not on this machine.
fn proxy_to(uri: &Uri) -> Option<Proxy> {
    if uri.to_string().parse::<Url>().is_ok_and(|url| is_here(&url)) {
        return None;
    }
    let proxy = Proxy::try_from_env().filter(|proxy| !proxy.is_no_proxy(uri))?;
    // As with calls, one of another protocol has no effect.
    matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https).then_some(proxy)
}

/// Connects to a host; one that is an IPv6 address is in brackets.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut failed = io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Connects to `HOST:PORT` by a tunnel that a proxy makes (RFC 9110, 9.3.6).
fn through(proxy: &Proxy, target: &str) -> io::Result<TcpStream> {
    if proxy.protocol() == ProxyProtocol::Https {
        return Err(io::Error::other("it is spoken to by TLS, which a tail cannot: name one that begins with http://"));
    }
    let mut stream = connect(proxy.host(), proxy.port())?;
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(user) = proxy.username() {
        let credentials = STANDARD.encode(format!("{user}:{}", proxy.password().unwrap_or_default()));
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    stream.set_write_timeout(Some(CONNECT_TIME_MAX))?;
    stream.write_all(request.as_bytes())?;
    match status(&head(&mut stream)?) {
        Some(200..=299) => Ok(stream),
        Some(status) => Err(io::Error::other(format!("it answered CONNECT with the status {status}"))),
        None => Err(io::Error::other("it does not answer as an HTTP proxy does")),
    }
}

/// The head of an answer, and not a byte of what follows.
fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let began = Instant::now();
    let mut head: Vec<u8> = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(io::Error::other(format!("the head of its answer is over {HEAD_BYTES_MAX} bytes")));
        }
        let left = CONNECT_TIME_MAX.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        stream.read_exact(&mut byte).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            ErrorKind::UnexpectedEof => io::Error::other("it ended the connection before its answer"),
            _ => error,
        })?;
        head.extend_from_slice(&byte);
    }
    Ok(head)
}

/// The status in the head of an answer by HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(head);
    let (_, rest) = text.strip_prefix("HTTP/1.")?.split_once(' ')?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// A proxy that answers once; gives what it was asked at its end.
    fn proxy(answer: &'static [u8]) -> (Proxy, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://me:word@{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let asked = head(&mut stream).unwrap();
            // Who has read enough may be gone.
            let _ = stream.write_all(answer);
            String::from_utf8(asked).unwrap()
        });
        (Proxy::new(&url).unwrap(), asked)
    }

    #[test]
    fn what_follows_a_proxys_answer_is_left_to_the_websocket() {
        let (proxy, asked) = proxy(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nfirst bytes");
        let mut stream = through(&proxy, "platform.test:443").unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "first bytes");
        let expected = "CONNECT platform.test:443 HTTP/1.1\r\nHost: platform.test:443\r\n\
                        Proxy-Authorization: Basic bWU6d29yZA==\r\n\r\n";
        assert_eq!(asked.join().unwrap(), expected);
    }

    #[test]
    fn a_proxy_that_does_not_lead_on_is_told_of() {
        const ENDLESS: &[u8] = &[b'a'; 2 * HEAD_BYTES_MAX];
        for (answer, said) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "status 407"),
            (b"HTTP/1.1 \xff\xff\r\n\r\n", "does not answer as an HTTP proxy"),
            (b"220 mail\r\n\r\n", "does not answer as an HTTP proxy"),
            (b"HTTP/1.1 200 OK\r\n", "before its answer"),
            (b"", "before its answer"),
            (ENDLESS, "over 16384 bytes"),
        ] {
            let (proxy, asked) = proxy(answer);
            let error = through(&proxy, "platform.test:443").unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
            asked.join().unwrap();
        }
        let error = through(&Proxy::new("https://127.0.0.1:9").unwrap(), "platform.test:443").unwrap_err().to_string();
        assert!(error.contains("begins with http://"), "{error}");
    }

    #[test]
    fn no_proxy_leads_to_this_machine() {
        for uri in ["ws://127.0.0.1:8788/tails/a", "ws://localhost/", "wss://[::1]:1/"] {
            assert!(proxy_to(&uri.parse().unwrap()).is_none(), "{uri}");
        }
    }
}
