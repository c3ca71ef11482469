//! `cloudflare:sockets`: TCP out of a worker.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

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
