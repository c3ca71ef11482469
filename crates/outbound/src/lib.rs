//! Requests to the world.
//!
//! Every `fetch` and every WebSocket that a worker opens leaves from here, in the edge process. The crate guarantees:
//!
//! - **No private address is reached.** The filter looks at the very address that is connected to, after resolution,
//!   for every connection: a literal in any spelling, a name that resolves inwards, a name that changes its answer,
//!   a redirect. [`AllowRule`]s open single destinations, for development.
//! - **Every wait and every buffer has a bound**: [`Config`] and the constants beside it.
//! - **What a worker writes cannot change the framing** of a request: `Content-Length`, `Transfer-Encoding`, `Host`
//!   and the hop-by-hop headers are this crate's alone.
//! - **Redirects follow the fetch standard**, and each hop is admitted by the caller before it leaves.
//!
//! Hosts that the caller serves itself do not go by the network, where it says so ([`Inside`]).
//!
//! Proxy variables of the environment are ignored: the edge's own environment is no tenant's business. How many
//! connections one worker may hold is the caller's to count, since only the caller knows the worker.

#![forbid(unsafe_code)]

mod address;
mod allow;
mod body;
mod config;
mod connect;
mod decode;
mod error;
mod headers;
mod hop;
mod inside;
mod outbound;
mod permits;
mod resolve;
mod tls;
mod websocket;

pub use self::{
    address::{Range, forbidden_range},
    allow::{AllowRule, AllowRuleError},
    body::{BoxError, RequestBody, RequestBodyError},
    config::{
        CONNECT_TIMEOUT_DEFAULT, CONNECTIONS_PER_ACCOUNT_HOST_MAX_DEFAULT, CONNECTIONS_PER_HOST_MAX_DEFAULT, Config,
        POOL_IDLE_TIMEOUT_DEFAULT, RESPONSE_HEADERS_BYTES_MAX_DEFAULT, RESPONSE_HEADERS_TIMEOUT_DEFAULT,
        WEBSOCKET_MESSAGE_BYTES_CEILING, WEBSOCKET_MESSAGE_BYTES_MAX_DEFAULT,
    },
    connect::Connection,
    decode::{ResponseBody, ResponseBodyError},
    error::{ConnectError, Denied, OutboundError, Refusal},
    hop::{REDIRECTS_MAX, RedirectMode},
    inside::{Answering, Inside, InsideBody, TransferError},
    outbound::{Admit, FetchOptions, Outbound, OutboundResponse},
    resolve::{Resolve, Resolving, SystemResolver},
    tls::certificates,
    websocket::{WebSocket, WebSocketDial},
};
pub use rustls::pki_types::CertificateDer;
pub use tokio_tungstenite::tungstenite;
