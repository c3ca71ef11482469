//! What is inside an isolate: the web platform as Deno's crates give it, the Workers APIs (ours, in `js/`), and the ops
//! behind both.
//!
//! Nothing here runs an isolate. [`extensions`] lists what the snapshot is made of and what an isolate started from it
//! must be given again, in the same order; [`DoorState`] is what an isolate's ops act on.
//!
//! What may not be done: an op that reaches the network, a file or a process. All ways out are streams of the host
//! door (`ops::door`); the extensions' own ops for such things are left out in [`extensions`].

mod node;
mod ops;
mod sources;

use std::borrow::Cow;

use deno_core::Extension;

pub use ops::blob::Meter;
pub use ops::clock::Clock;
pub use ops::door::{DoorState, InboundResource};
pub use ops::modules::ModuleBytes;
pub use sources::{LazyFile, LazyKind, lazy_files, transpile};

deno_core::extension!(
    selvedge,
    deps = [deno_webidl, deno_web, deno_fetch],
    ops = [
        ops::clock::op_frozen_now,
        ops::digest::op_digest,
        ops::digest::op_digest_finish,
        ops::digest::op_digest_new,
        ops::digest::op_digest_update,
        ops::digest::op_timing_safe_equal,
        ops::door::op_event_done,
        ops::door::op_event_fail,
        ops::door::op_event_renew,
        ops::door::op_log,
        ops::door::op_respond_bytes,
        ops::door::op_respond_start,
        ops::door::op_respond_text,
        ops::door::op_stream_finish,
        ops::door::op_stream_pipe,
        ops::door::op_stream_reset,
        ops::door::op_stream_try_write,
        ops::door::op_stream_writable,
        ops::door::op_door_open,
        ops::door::op_door_reply,
        ops::door::op_message_send,
        ops::door::op_message_close,
        ops::door::op_message_next,
        ops::html_rewriter::op_rewriter_attribute,
        ops::html_rewriter::op_rewriter_attributes,
        ops::html_rewriter::op_rewriter_check,
        ops::html_rewriter::op_rewriter_content,
        ops::html_rewriter::op_rewriter_end,
        ops::html_rewriter::op_rewriter_get,
        ops::html_rewriter::op_rewriter_has_attribute,
        ops::html_rewriter::op_rewriter_insert,
        ops::html_rewriter::op_rewriter_last_in_text_node,
        ops::html_rewriter::op_rewriter_new,
        ops::html_rewriter::op_rewriter_on_end_tag,
        ops::html_rewriter::op_rewriter_output,
        ops::html_rewriter::op_rewriter_proceed,
        ops::html_rewriter::op_rewriter_reason,
        ops::html_rewriter::op_rewriter_remove,
        ops::html_rewriter::op_rewriter_remove_attribute,
        ops::html_rewriter::op_rewriter_removed,
        ops::html_rewriter::op_rewriter_set,
        ops::html_rewriter::op_rewriter_set_attribute,
        ops::html_rewriter::op_rewriter_stream,
        ops::html_rewriter::op_rewriter_write,
        ops::html_rewriter::op_rewriter_write_text,
        ops::modules::op_module_bytes,
        ops::modules::op_module_kind,
        ops::modules::op_module_text,
        ops::session::op_session_next,
        ops::session::op_session_send,
        ops::session::op_stream_word,
    ],
    esm_entry_point = "ext:selvedge/bootstrap.js",
    esm = [dir "js", "bootstrap.js"],
    lazy_loaded_esm = [
        dir "js",
        "node:cloudflare/email" = "cloudflare_email.js",
        "node:cloudflare/sockets" = "cloudflare_sockets.js",
        "node:cloudflare/workers" = "cloudflare_workers.js",
        "node:cloudflare/workflows" = "cloudflare_workflows.js",
        "module_bytes.js",
    ],
    lazy_loaded_js = [
        dir "js",
        "cache.js",
        "clock.js",
        "compatibility.js",
        "console.js",
        "crypto.js",
        "data_url.js",
        "door.js",
        "encoding.js",
        "env.js",
        "errors.js",
        "events.js",
        "eventsource.js",
        "exports.js",
        "form_data.js",
        "globals.js",
        "html_rewriter.js",
        "http.js",
        "performance.js",
        "rate_limit.js",
        "rpc.js",
        "rpc_session.js",
        "rpc_stub.js",
        "rpc_value.js",
        "service.js",
        "sockets.js",
        "streams.js",
        "tracing.js",
        "triggers.js",
        "unavailable.js",
        "websocket.js",
        "workers.js",
    ],
    middleware = ops::stand_in,
);

/// The extensions of every isolate, in the order that the snapshot fixes.
///
/// `for_snapshot` says whether their JavaScript is wanted too.
pub fn extensions(for_snapshot: bool) -> Vec<Extension> {
    let mut extensions = if for_snapshot { with_sources() } else { with_state() };
    for extension in &mut extensions {
        if for_snapshot {
            sources::replace(extension);
        } else {
            // They are in the snapshot, or in the table of what it does not hold.
            extension.lazy_loaded_js_files = Cow::Borrowed(&[]);
            extension.lazy_loaded_esm_files = Cow::Borrowed(&[]);
        }
        // Borrowed tables of ops are shared by all isolates; an owned one would be a copy in each.
        if ops::are_withheld(extension.name) {
            extension.ops = Cow::Borrowed(&[]);
        }
    }
    extensions
}

fn with_sources() -> Vec<Extension> {
    let mut extensions = vec![
        deno_webidl::deno_webidl::lazy_init(),
        deno_web::deno_web::lazy_init(),
        deno_fetch::deno_fetch::lazy_init(),
        deno_crypto::deno_crypto::lazy_init(),
        selvedge::lazy_init(),
    ];
    extensions.extend(node::for_snapshot());
    extensions
}

fn with_state() -> Vec<Extension> {
    let mut extensions = vec![
        deno_webidl::deno_webidl::init(),
        deno_web::deno_web::init(
            deno_web::BlobStore::default_arc(),
            None,
            false,
            deno_web::InMemoryBroadcastChannel::default(),
        ),
        deno_fetch::deno_fetch::init(deno_fetch::Options::default()),
        deno_crypto::deno_crypto::init(None),
        selvedge::init(),
    ];
    extensions.extend(node::for_isolate());
    extensions
}
