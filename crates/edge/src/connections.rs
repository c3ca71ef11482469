//! TCP connections to the world.
//!
//! What the worker writes goes to the peer as it comes, and the other way. A word among the worker's bytes
//! (`starttls HOST`) secures the connection from there on.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use selvedge_door::{Chunk, Inbound, Outbound, Reset, ResetCode};
use selvedge_outbound::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::admit;
use crate::host::{Ask, outbound_error};

/// How much one read from a peer asks for: 16 KiB.
const READ_BYTES: usize = 16 * 1024;

type Socket = TokioIo<Connection>;

/// Why bytes stopped going to the peer.
enum Stopped {
    /// The worker has no more, or the peer takes no more.
    Over,
    /// The connection is to be secured, for this name.
    Secure(String),
}

/// Opens a connection to the host and port that stand in the place of a URL.
pub async fn connect(ask: &Ask, mut inbound: Inbound) {
    let authority = ask.head.text(2);
    let Some((host, port)) = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)))
    else {
        return ask.fail("Specified address could not be parsed.");
    };
    let Some(permit) = admit::connection(&ask.instance, ask.meta.event).await else {
        return ask.fail("the worker ended");
    };
    let connection = match ask.world().connect(host, port, ask.meta.secure).await {
        Ok(connection) => connection,
        Err(error) => return ask.fail(&outbound_error(&error)),
    };
    let meta = serde_json::json!({
        "remote": connection.remote_address().map(|address| address.to_string()),
        "local": connection.local_address().map(|address| address.to_string()),
    });
    let Some(mut outbound) = ask.start(StatusCode::OK, &meta.to_string(), &HeaderMap::new()) else {
        return;
    };
    let mut socket = TokioIo::new(connection);
    while let Some(host) = exchange(&mut socket, &mut inbound, &mut outbound).await {
        match ask.edge.outbound().secure(socket.into_inner(), &host).await {
            Ok(connection) => socket = TokioIo::new(connection),
            Err(error) => {
                drop(permit);
                return outbound.fail(&Reset::new(ResetCode::Failed, outbound_error(&error)));
            }
        }
    }
    drop(permit);
    outbound.finish();
}

/// Carries bytes both ways until both ends are through, or the worker wants the connection secured: then gives the name.
async fn exchange(socket: &mut Socket, inbound: &mut Inbound, outbound: &mut Outbound) -> Option<String> {
    let (reader, writer) = tokio::io::split(socket);
    let mut from_peer = std::pin::pin!(from_peer(reader, outbound));
    let to_peer = to_peer(writer, inbound);
    tokio::select! {
        stopped = to_peer => match stopped {
            Stopped::Secure(host) => return Some(host),
            Stopped::Over => {}
        },
        // The peer is through; a worker that wants to write on has nobody to write to.
        () = &mut from_peer => return None,
    }
    from_peer.await;
    None
}

async fn to_peer(mut writer: WriteHalf<&mut Socket>, inbound: &mut Inbound) -> Stopped {
    while let Some(Ok(chunk)) = inbound.chunk().await {
        match chunk {
            Chunk::Data(data) => {
                if writer.write_all(&data).await.is_err() || writer.flush().await.is_err() {
                    return Stopped::Over;
                }
            }
            Chunk::Message { text: true, data } => {
                if let Some(host) = data.strip_prefix(b"starttls ") {
                    return Stopped::Secure(String::from_utf8_lossy(host).into_owned());
                }
            }
            Chunk::Message { .. } | Chunk::Close { .. } => {}
        }
    }
    // A peer that is gone needs no end.
    let _ = writer.shutdown().await;
    Stopped::Over
}

async fn from_peer(mut reader: ReadHalf<&mut Socket>, outbound: &mut Outbound) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let data: Bytes = buffer.split().freeze();
                if outbound.send(Chunk::Data(data)).await.is_err() {
                    return;
                }
            }
        }
    }
}
