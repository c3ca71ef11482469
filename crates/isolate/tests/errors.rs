//! What ops raise arrives as what the web platform says it is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Edge, script};

/// The classes that the crates behind the isolate's ops give their errors, beside those that `deno_core` registers itself:
/// what `#[class("...")]` and `JsErrorBox::new("...", ...)` name in `deno_core`, `deno_web`, `deno_fetch`, `deno_crypto` and
/// `deno_node_crypto`, and what `deno_error` calls the system's errors.
const CLASSES: &[&str] = &[
    "AddrInUse",
    "AddrNotAvailable",
    "AlreadyExists",
    "BrokenPipe",
    "Busy",
    "ConnectionAborted",
    "ConnectionRefused",
    "ConnectionReset",
    "DOMExceptionDataError",
    "DOMExceptionIndexSizeError",
    "DOMExceptionInvalidAccessError",
    "DOMExceptionInvalidCharacterError",
    "DOMExceptionInvalidStateError",
    "DOMExceptionNotSupportedError",
    "DOMExceptionOperationError",
    "DOMExceptionQuotaExceededError",
    "DOMExceptionSyntaxError",
    "DOMExceptionTypeMismatchError",
    "ERR_CRYPTO_ECDH_INVALID_PUBLIC_KEY",
    "ERR_OUT_OF_RANGE",
    "FilesystemLoop",
    "InvalidData",
    "IsADirectory",
    "NetworkUnreachable",
    "NotADirectory",
    "NotConnected",
    "NotFound",
    "NotSupported",
    "PermissionDenied",
    "TimedOut",
    "UnexpectedEof",
    "WouldBlock",
    "WriteZero",
];

#[test]
fn every_class_that_ops_raise_is_registered() {
    let registered = include_str!("../../runtime/js/errors.js");
    let system = include_str!("../../runtime/js/node/deno.js");
    for class in CLASSES {
        let name = class.strip_prefix("DOMException").unwrap_or(class);
        let listed = registered.contains(&format!("\"{name}\",")) || registered.contains(&format!("\n  {name}: "));
        assert!(listed, "{class} is not registered");
        if !class.starts_with("DOMException") && !class.starts_with("ERR_") {
            assert!(system.contains(&format!("  {name}: errorClass(")), "{class} has no class");
        }
    }
}

/// What an expression throws, or rejects with: `[is a DOMException, name, code]`.
fn thrown(expression: &str) -> Value {
    Edge::start(&script(&format!(
        "export default {{ async fetch() {{
            try {{ {expression}; }} catch (error) {{
                return Response.json([error instanceof DOMException, error?.name, error?.code, typeof error?.stack]);
            }}
            return Response.json('nothing');
        }} }};"
    )))
    .fetch()
    .json()
}

#[test]
fn errors_of_ops_are_dom_exceptions() {
    let key =
        "const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt', 'decrypt'])";
    let decrypt = format!(
        "{key}; await crypto.subtle.decrypt({{ name: 'AES-GCM', iv: new Uint8Array(12) }}, key, new Uint8Array(32))"
    );
    for (expression, name, code) in [
        ("atob('@')", "InvalidCharacterError", 5),
        ("btoa('\\u2713')", "InvalidCharacterError", 5),
        ("crypto.getRandomValues(new Uint8Array(65537))", "QuotaExceededError", 22),
        ("crypto.getRandomValues(new Float32Array(1))", "TypeMismatchError", 17),
        (
            "await crypto.subtle.importKey('pkcs8', new Uint8Array(8), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])",
            "DataError",
            0,
        ),
        (decrypt.as_str(), "OperationError", 0),
    ] {
        assert_eq!(thrown(expression), json!([true, name, code, "string"]), "{expression}");
    }
}
