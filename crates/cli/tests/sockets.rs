//! `cloudflare:sockets`: TCP out of a worker.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};
use support::{Dev, Folder};

const WORKER: &str = r#"
import { connect } from "cloudflare:sockets";
export default {
  async fetch(request) {
    const port = new URL(request.url).searchParams.get("port");
    const socket = connect(`127.0.0.1:${port}`);
    try {
      const { remoteAddress } = await socket.opened;
      const writer = socket.writable.getWriter();
      await writer.write(new TextEncoder().encode("hello"));
      const reader = socket.readable.getReader();
      const { value } = await reader.read();
      await socket.close();
      return Response.json([remoteAddress, new TextDecoder().decode(value), socket.secureTransport, socket.upgraded]);
    } catch (error) {
      return Response.json(String(error), { status: 500 });
    }
  },
};
"#;

#[test]
fn bytes_go_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        bytes.reverse();
        stream.write_all(&bytes).unwrap();
        let _ = stream.read(&mut bytes);
    });
    let folder = Folder::new();
    let path = folder.file("worker.js", WORKER);
    let dev = Dev::start(&[&path], &["--allow-net", &format!("127.0.0.1:{port}")]);
    let got = dev.get(&format!("/?port={port}")).json();
    assert_eq!(got, serde_json::json!([format!("127.0.0.1:{port}"), "olleh", "off", false]));
}

#[test]
fn private_addresses_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (dev, _folder) = Dev::script(WORKER);
    let answer = dev.get(&format!("/?port={port}"));
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("127.0.0.1"), "{}", answer.text());
}

const SECURED: &str = r#"
import { connect } from "cloudflare:sockets";
async function say(socket, text) {
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode(text));
  writer.releaseLock();
  const reader = socket.readable.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return new TextDecoder().decode(value);
}
export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    const secureTransport = searchParams.get("secure");
    let socket = connect(`127.0.0.1:${searchParams.get("port")}`, { secureTransport });
    const said = [];
    try {
      if (secureTransport === "starttls") {
        said.push(await say(socket, "begin"));
        const plain = socket;
        socket = socket.startTls();
        await plain.closed;
      }
      said.push(await say(socket, "hello"), socket.secureTransport, socket.upgraded);
      await socket.close();
      return Response.json(said);
    } catch (error) {
      return Response.json(String(error), { status: 500 });
    }
  },
};
"#;

/// A server that answers what it is told backwards: once in the clear, if `plain_first`, and once over TLS. Gives its
/// port and its certificate.
fn secured(plain_first: bool) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        if plain_first {
            answer_backwards(&mut stream);
        }
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream: StreamOwned<ServerConnection, TcpStream> = StreamOwned::new(connection, stream);
        answer_backwards(&mut stream);
        // Until the worker closes.
        let _ = stream.read(&mut [0]);
    });
    (port, made.cert.pem())
}

fn answer_backwards(stream: &mut (impl Read + Write)) {
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    bytes.reverse();
    stream.write_all(&bytes).unwrap();
    stream.flush().unwrap();
}

#[test]
fn a_connection_is_secured_from_the_start_or_later() {
    for (secure, expected) in [
        ("on", serde_json::json!(["olleh", "on", false])),
        ("starttls", serde_json::json!(["nigeb", "olleh", "on", true])),
    ] {
        let (port, certificate) = secured(secure == "starttls");
        let folder = Folder::new();
        let path = folder.file("worker.js", SECURED);
        let roots = folder.file("roots.pem", &certificate);
        let allow = ["--allow-net", &format!("127.0.0.1:{port}")];
        let dev = Dev::start_in(&[&path], &allow, &[("NODE_EXTRA_CA_CERTS", &roots)]);
        assert_eq!(dev.get(&format!("/?secure={secure}&port={port}")).json(), expected, "{secure}");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (port, _) = secured(false);
    let folder = Folder::new();
    let path = folder.file("worker.js", SECURED);
    let dev = Dev::start(&[&path], &["--allow-net", &format!("127.0.0.1:{port}")]);
    let answer = dev.get(&format!("/?secure=on&port={port}"));
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().to_lowercase().contains("certificate"), "{}", answer.text());
}

const NODE: &str = r#"
import net, { Socket } from "node:net";
import tls from "node:tls";
import { once } from "node:events";

async function backwards(socket, text) {
  socket.write(text);
  const [data] = await once(socket, "data");
  return data.toString();
}

const scenes = {
  async net(port) {
    const seen = [];
    const socket = net.connect(port, "127.0.0.1", () => seen.push("connected"));
    for (const event of ["connect", "ready", "end", "close"]) socket.on(event, (value) => seen.push(value === undefined ? event : `${event} ${value}`));
    socket.setNoDelay(true).setKeepAlive(true);
    const before = [socket.connecting, socket.pending, socket.readyState];
    // Written before there is a connection.
    const said = await backwards(socket, "hello");
    socket.end();
    await once(socket, "close");
    return { before, said, seen, bytes: [socket.bytesRead, socket.bytesWritten], peer: [socket.remoteAddress, socket.remotePort === port, socket.remoteFamily], is: socket instanceof Socket };
  },
  async refused(port) {
    const socket = new net.Socket().connect({ port, host: "127.0.0.1" });
    const closed = new Promise((done) => socket.once("close", done));
    const [error] = await once(socket, "error");
    const hadError = await closed;
    return [error.code, error.syscall, error.port === port, hadError];
  },
  async timeout(port) {
    const socket = net.createConnection({ port, host: "127.0.0.1", timeout: 50 });
    await once(socket, "timeout");
    socket.destroy();
    return socket.destroyed;
  },
  async tls(port) {
    const socket = tls.connect({ port, host: "127.0.0.1" });
    await once(socket, "secureConnect");
    const said = await backwards(socket, "hello");
    socket.destroy();
    return [said, socket.encrypted, socket.authorized];
  },
  async starttls(port) {
    const plain = net.connect({ port, host: "127.0.0.1" });
    const first = await backwards(plain, "begin");
    const socket = tls.connect({ socket: plain, servername: "127.0.0.1" });
    const second = await backwards(socket, "hello");
    socket.destroy();
    return [first, second, socket.authorized];
  },
  async unsafe(port) {
    try {
      tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    } catch (error) {
      return [error.code, error.message];
    }
  },
  same() {
    const of = (name) => process.getBuiltinModule(name);
    return [of("net").Socket === net.Socket, of("tls").TLSSocket === tls.TLSSocket, new tls.TLSSocket() instanceof net.Socket, net.isIP("::1")];
  },
};

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    return Response.json(await scenes[pathname.slice(1)](Number(searchParams.get("port"))));
  },
};
"#;

fn node(port: u16, roots: &str) -> (Dev, Folder) {
    let folder = Folder::new();
    let path = folder.file("worker.js", NODE);
    let roots = folder.file("roots.pem", roots);
    let allow = ["--allow-net", &format!("127.0.0.1:{port}")];
    (Dev::start_in(&[&path], &allow, &[("NODE_EXTRA_CA_CERTS", &roots)]), folder)
}

#[test]
fn sockets_of_node_connect_by_the_host_door() {
    let (_, roots) = secured(false);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 5];
                // One that says nothing is left alone, until the worker ends its side.
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    bytes[..count].reverse();
                    stream.write_all(&bytes[..count]).unwrap();
                }
            });
        }
    });
    let (dev, _folder) = node(port, &roots);
    assert_eq!(
        dev.get(&format!("/net?port={port}")).json(),
        serde_json::json!({
            "before": [true, true, "opening"],
            "said": "olleh",
            "seen": ["connected", "connect", "ready", "end", "close false"],
            "bytes": [5, 5],
            "peer": ["127.0.0.1", true, "IPv4"],
            "is": true,
        })
    );
    assert_eq!(dev.get(&format!("/timeout?port={port}")).json(), serde_json::json!(true));
    assert_eq!(
        dev.get(&format!("/unsafe?port={port}")).json(),
        serde_json::json!([
            "ERR_METHOD_NOT_IMPLEMENTED",
            "tls.connect() with rejectUnauthorized: false is not available in a worker"
        ])
    );
    assert_eq!(dev.get("/same").json(), serde_json::json!([true, true, true, 6]));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (dev, _folder) = node(closed, &roots);
    assert_eq!(
        dev.get(&format!("/refused?port={closed}")).json(),
        serde_json::json!(["ECONNREFUSED", "connect", true, true])
    );
}

#[test]
fn sockets_of_node_are_secured_from_the_start_or_later() {
    for (scene, expected) in
        [("tls", serde_json::json!(["olleh", true, true])), ("starttls", serde_json::json!(["nigeb", "olleh", true]))]
    {
        let (port, certificate) = secured(scene == "starttls");
        let (dev, _folder) = node(port, &certificate);
        assert_eq!(dev.get(&format!("/{scene}?port={port}")).json(), expected, "{scene}");
    }
}
