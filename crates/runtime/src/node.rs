//! The `node:` modules: Deno's scripts, with what they ask of the world taken away or answered in JavaScript.
//!
//! Every op and every class of ops costs memory in every isolate, whether its worker uses `node:` or not. So only those
//! stay that compute something which JavaScript cannot (hashes, ciphers, compression, encodings). What a script would
//! ask of files, processes, sockets or threads is answered by `js/node/ops.js`, which stands in for the ops that are
//! not there: files live in the isolate's own heap, the rest is a clear error. Nothing is evaluated in the snapshot.

use std::borrow::Cow;

use deno_core::Extension;
use deno_resolver::npm::{DenoInNpmPackageChecker, NpmResolver};
use sys_traits::impls::RealSys;

deno_core::extension!(
    selvedge_node,
    // All of them compute on their arguments alone. The asynchronous ones of cryptography are not here: they would run on
    // threads whose CPU time nobody counts; `js/node/limits.js` does their work on the isolate's own thread.
    ops = [
        deno_node::ops::blocklist::op_blocklist_add_address,
        deno_node::ops::blocklist::op_blocklist_add_range,
        deno_node::ops::blocklist::op_blocklist_add_subnet,
        deno_node::ops::blocklist::op_blocklist_check,
        deno_node::ops::blocklist::op_blocklist_new,
        deno_node::ops::buffer::op_is_ascii,
        deno_node::ops::buffer::op_is_utf8,
        deno_node::ops::buffer::op_mark_as_untransferable,
        deno_node::ops::buffer::op_node_buffer_compare,
        deno_node::ops::buffer::op_node_buffer_compare_offset,
        deno_node::ops::buffer::op_node_encoding_slice,
        deno_node::ops::constant::op_node_fs_constants,
        deno_node::ops::assert::op_node_get_first_expression,
        deno_node::ops::util::op_node_get_own_non_index_properties,
        deno_node::ops::idna::op_node_idna_domain_to_ascii,
        deno_node::ops::idna::op_node_idna_domain_to_unicode,
        deno_node::ops::idna::op_node_idna_punycode_decode,
        deno_node::ops::idna::op_node_idna_punycode_encode,
        deno_node::ops::idna::op_node_idna_punycode_to_ascii,
        deno_node::ops::idna::op_node_idna_punycode_to_unicode,
        deno_node::ops::idna::op_node_idna_to_ascii,
        deno_node::ops::util::op_node_parse_env,
        deno_node::ops::util::op_node_view_has_buffer,
        deno_node::ops::blocklist::op_socket_address_get_serialization,
        deno_node::ops::blocklist::op_socket_address_parse,
        deno_node::ops::buffer::op_transcode,
        deno_node::ops::zlib::op_zlib_crc32,
        deno_node::ops::zlib::op_zlib_crc32_string,
        deno_node_crypto::op_node_check_prime_bytes,
        deno_node_crypto::op_node_check_prime,
        deno_node_crypto::op_node_aes_wrap_key,
        deno_node_crypto::op_node_aes_unwrap_key,
        deno_node_crypto::op_node_cipheriv_encrypt,
        deno_node_crypto::op_node_cipheriv_final,
        deno_node_crypto::op_node_cipheriv_set_aad,
        deno_node_crypto::op_node_cipheriv_take,
        deno_node_crypto::op_node_create_cipheriv,
        deno_node_crypto::op_node_create_decipheriv,
        deno_node_crypto::op_node_create_hash,
        deno_node_crypto::op_node_decipheriv_decrypt,
        deno_node_crypto::op_node_decipheriv_final,
        deno_node_crypto::op_node_decipheriv_set_aad,
        deno_node_crypto::op_node_decipheriv_auth_tag,
        deno_node_crypto::op_node_dh_check,
        deno_node_crypto::op_node_dh_compute_secret,
        deno_node_crypto::op_node_diffie_hellman,
        deno_node_crypto::op_node_ecdh_compute_public_key,
        deno_node_crypto::op_node_ecdh_compute_secret,
        deno_node_crypto::op_node_ecdh_encode_pubkey,
        deno_node_crypto::op_node_ecdh_generate_keys,
        deno_node_crypto::op_node_ecdh_validate_private_key,
        deno_node_crypto::op_node_ecdh_validate_public_key,
        deno_node_crypto::op_node_fill_random,
        deno_node_crypto::op_node_gen_prime,
        deno_node_crypto::op_node_get_hash_size,
        deno_node_crypto::op_node_get_hashes,
        deno_node_crypto::op_node_hash_clone,
        deno_node_crypto::op_node_hash_digest_hex,
        deno_node_crypto::op_node_hash_digest,
        deno_node_crypto::op_node_hash_update_str,
        deno_node_crypto::op_node_hash_update,
        deno_node_crypto::op_node_hkdf,
        deno_node_crypto::op_node_pbkdf2,
        deno_node_crypto::op_node_pbkdf2_validate,
        deno_node_crypto::op_node_private_decrypt,
        deno_node_crypto::op_node_private_encrypt,
        deno_node_crypto::op_node_public_decrypt,
        deno_node_crypto::op_node_public_encrypt,
        deno_node_crypto::op_node_validate_oaep_hash,
        deno_node_crypto::op_node_random_int,
        deno_node_crypto::op_node_scrypt_sync,
        deno_node_crypto::op_node_sign,
        deno_node_crypto::op_node_sign_ed25519,
        deno_node_crypto::op_node_sign_ed448,
        deno_node_crypto::op_node_verify,
        deno_node_crypto::op_node_verify_ed25519,
        deno_node_crypto::op_node_verify_ed448,
        deno_node_crypto::op_node_verify_spkac,
        deno_node_crypto::op_node_cert_export_public_key,
        deno_node_crypto::op_node_cert_export_challenge,
        deno_node_crypto::keys::op_node_create_private_key,
        deno_node_crypto::keys::op_node_create_ed_raw,
        deno_node_crypto::keys::op_node_create_rsa_jwk,
        deno_node_crypto::keys::op_node_create_ec_jwk,
        deno_node_crypto::keys::op_node_create_public_key,
        deno_node_crypto::keys::op_node_create_secret_key,
        deno_node_crypto::keys::op_node_derive_public_key_from_private_key,
        deno_node_crypto::keys::op_node_dh_keys_generate_and_export,
        deno_node_crypto::keys::op_node_export_private_key_der,
        deno_node_crypto::keys::op_node_export_private_key_jwk,
        deno_node_crypto::keys::op_node_export_private_key_pem,
        deno_node_crypto::keys::op_node_export_public_key_der,
        deno_node_crypto::keys::op_node_export_public_key_pem,
        deno_node_crypto::keys::op_node_export_public_key_jwk,
        deno_node_crypto::keys::op_node_export_secret_key_b64url,
        deno_node_crypto::keys::op_node_export_secret_key,
        deno_node_crypto::keys::op_node_generate_dh_group_key,
        deno_node_crypto::keys::op_node_generate_dh_key,
        deno_node_crypto::keys::op_node_generate_dsa_key,
        deno_node_crypto::keys::op_node_generate_ec_key,
        deno_node_crypto::keys::op_node_generate_ed25519_key,
        deno_node_crypto::keys::op_node_generate_x448_key,
        deno_node_crypto::keys::op_node_generate_ed448_key,
        deno_node_crypto::keys::op_node_generate_rsa_key,
        deno_node_crypto::keys::op_node_generate_rsa_pss_key,
        deno_node_crypto::keys::op_node_generate_secret_key,
        deno_node_crypto::keys::op_node_generate_x25519_key,
        deno_node_crypto::keys::op_node_get_asymmetric_key_details,
        deno_node_crypto::keys::op_node_get_asymmetric_key_type,
        deno_node_crypto::keys::op_node_get_private_key_from_pair,
        deno_node_crypto::keys::op_node_get_public_key_from_pair,
        deno_node_crypto::keys::op_node_get_symmetric_key_size,
        deno_node_crypto::keys::op_node_key_equals,
        deno_node_crypto::keys::op_node_key_type,
        deno_node_crypto::x509::op_node_x509_parse,
        deno_node_crypto::x509::op_node_x509_ca,
        deno_node_crypto::x509::op_node_x509_check_email,
        deno_node_crypto::x509::op_node_x509_check_host,
        deno_node_crypto::x509::op_node_x509_fingerprint,
        deno_node_crypto::x509::op_node_x509_fingerprint256,
        deno_node_crypto::x509::op_node_x509_fingerprint512,
        deno_node_crypto::x509::op_node_x509_get_issuer,
        deno_node_crypto::x509::op_node_x509_get_subject,
        deno_node_crypto::x509::op_node_x509_get_valid_from,
        deno_node_crypto::x509::op_node_x509_get_valid_to,
        deno_node_crypto::x509::op_node_x509_get_serial_number,
        deno_node_crypto::x509::op_node_x509_key_usage,
        deno_node_crypto::x509::op_node_x509_public_key,
        deno_node_crypto::x509::op_node_x509_to_string,
        deno_node_crypto::x509::op_node_x509_get_raw,
        deno_node_crypto::x509::op_node_x509_get_subject_alt_name,
        deno_node_crypto::x509::op_node_x509_check_ip,
        deno_node_crypto::x509::op_node_x509_check_issued,
        deno_node_crypto::x509::op_node_x509_check_private_key,
        deno_node_crypto::x509::op_node_x509_verify,
        deno_node_crypto::x509::op_node_x509_get_info_access,
        deno_node_crypto::x509::op_node_x509_get_signature_algorithm_name,
        deno_node_crypto::x509::op_node_x509_get_signature_algorithm_oid,
        deno_node_crypto::x509::op_node_x509_to_legacy_object,
    ],
    objects = [
        deno_node::ops::zlib::BrotliDecoder,
        deno_node::ops::zlib::BrotliEncoder,
        deno_node::ops::zlib::Zlib,
        deno_node::ops::zlib::ZstdCompress,
        deno_node::ops::zlib::ZstdDecompress,
        deno_node_crypto::digest::Hasher,
    ],
    lazy_loaded_esm = [
        dir "js/node",
        "node:_http_client" = "http_client.js",
        "node:console" = "console_esm.js",
        "node:module" = "module_esm.js",
        "node:process" = "process_esm.js",
    ],
    lazy_loaded_js = [
        dir "js/node",
        "child_process.js",
        "deno.js",
        "diagnostics_channel.js",
        "dns.js",
        "files.js",
        "fs_ops.js",
        "limits.js",
        "module.js",
        "net.js",
        "net_socket.js",
        "ops.js",
        "os.js",
        "perf_hooks.js",
        "process.js",
        "sqlite.js",
        "stdio.js",
        "stubs.js",
        "telemetry.js",
        "timers.js",
        "tls_socket.js",
        "url.js",
        "util.js",
        "zlib.js",
    ],
    synthetic_esm = [
        "node:child_process" = "ext:selvedge_node/child_process.js",
        "node:diagnostics_channel" = "ext:selvedge_node/diagnostics_channel.js",
        "node:perf_hooks" = "ext:selvedge_node/perf_hooks.js",
        "node:sqlite" = "ext:selvedge_node/sqlite.js",
        "node:url" = "ext:selvedge_node/url.js",
        "node:util" = "ext:selvedge_node/util.js",
        "node:worker_threads" = "ext:deno_node/worker_threads.ts",
        "node:zlib" = "ext:selvedge_node/zlib.js",
    ],
    state = |state| {
        state.resource_table.add(Reserved);
    },
);

/// The resource of the number 0, which Deno's scripts take for none: in Deno it is the standard input.
struct Reserved;

impl deno_core::Resource for Reserved {
    fn name(&self) -> Cow<'_, str> {
        "reserved".into()
    }
}

/// The extensions behind `node:` as the snapshot has them: the first is Deno's, of which only the scripts are used.
pub fn for_snapshot() -> Vec<Extension> {
    let ours = selvedge_node::lazy_init();
    let mut theirs = deno_node::deno_node::lazy_init::<DenoInNpmPackageChecker, NpmResolver<RealSys>, RealSys>();
    theirs.deps = &[];
    theirs.needs_lazy_init = false;
    theirs.op_state_fn = None;
    theirs.ops = Cow::Borrowed(&[]);
    theirs.objects = Cow::Borrowed(&[]);
    theirs.external_references = Cow::Borrowed(&[]);
    theirs.synthetic_esm_modules = Cow::Borrowed(&[]);
    let replaced: Vec<&str> = ours
        .lazy_loaded_esm_files
        .iter()
        .map(|file| file.specifier)
        .chain(ours.synthetic_esm_modules.iter().map(|(module, _)| *module))
        .collect();
    theirs.lazy_loaded_esm_files.to_mut().retain(|file| !replaced.contains(&file.specifier));
    vec![theirs, ours]
}

/// The same as an isolate is given them: without the scripts, which are in the snapshot or in the table of those that
/// it does not hold.
pub fn for_isolate() -> Vec<Extension> {
    vec![Extension { name: "deno_node", ..Default::default() }, selvedge_node::init()]
}

/// Where Deno's `node:` scripts look for what is not theirs, and where they find it here.
const MOVED: &[(&str, &str)] = &[
    ("ext:deno_fs/30_fs.js", "ext:selvedge_node/deno.js"),
    ("ext:deno_io/12_io.js", "ext:selvedge_node/stdio.js"),
    ("ext:deno_net/01_net.js", "ext:selvedge_node/net.js"),
    ("ext:deno_os/30_os.js", "ext:selvedge_node/os.js"),
    ("ext:deno_telemetry/telemetry.ts", "ext:selvedge_node/telemetry.js"),
    ("ext:deno_telemetry/util.ts", "ext:selvedge_node/telemetry.js"),
];

/// What is changed in one of Deno's scripts: (script, what stands there, what is to stand there).
const PATCHES: &[(&str, &str, &str)] = &[
    // Sockets connect by the host door.
    (
        "node:net",
        "const mod = core.loadExtScript(\"ext:deno_node/net.ts\");",
        "const theirs = core.loadExtScript(\"ext:deno_node/net.ts\");\n\
         const ours = core.loadExtScript(\"ext:selvedge_node/net_socket.js\").exports;\n\
         const mod = { ...theirs, ...ours, default: { ...theirs.default, ...ours } };",
    ),
    (
        "node:tls",
        "export const TLSSocket = tlsWrap.TLSSocket;",
        "export const { connect, TLSSocket } = core.loadExtScript(\"ext:selvedge_node/tls_socket.js\");",
    ),
    ("node:tls", "export const connect = tlsWrap.connect;", ""),
    // Deno turns ticks on when it starts a program, after its snapshot; these scripts are never in a snapshot.
    ("ext:deno_node/_next_tick.ts", "return {\n  enableNextTick,", "enableNextTick();\n\nreturn {\n  enableNextTick,"),
];

/// What is added to one of Deno's modules at its end.
///
/// A module that another of Deno's modules imports must stay a module: a synthetic one is evaluated while that other is
/// linked, and deno_core does not bear the modules that its script loads then.
const ADDITIONS: &[(&str, &str)] = &[
    (
        "node:timers",
        "export const { Timeout, active, enroll, unenroll } =\n\
         \x20 core.loadExtScript(\"ext:selvedge_node/timers.js\");\n",
    ),
    (
        "node:fs",
        "export const { F_OK, R_OK, W_OK, X_OK } = mod.constants;\n\
         export const FileReadStream = mod.ReadStream;\n\
         export const FileWriteStream = mod.WriteStream;\n\
         Object.assign(mod, { F_OK, R_OK, W_OK, X_OK, FileReadStream, FileWriteStream });\n",
    ),
    (
        "node:http",
        "export const { CloseEvent, MessageEvent } = globalThis;\n\
         Object.assign(mod, { CloseEvent, MessageEvent });\n",
    ),
];

/// The preamble of each of Deno's `node:` scripts: ops that are not there are stood in for before the script takes its
/// ops apart, and `Deno` is a name for what we give of it.
const SCRIPT_PREAMBLE: &str = "__bootstrap.core.loadExtScript(\"ext:selvedge_node/ops.js\"); \
     const Deno = __bootstrap.core.loadExtScript(\"ext:selvedge_node/deno.js\");";

/// The same for modules, which take their ops from our table instead of by import.
const MODULE_PREAMBLE: &str = "import { core as __core } from \"ext:core/mod.js\"; \
     const __ops = __core.loadExtScript(\"ext:selvedge_node/ops.js\"); \
     const Deno = __core.loadExtScript(\"ext:selvedge_node/deno.js\"); ";

/// Adapts one of Deno's `node:` scripts.
pub fn adapt(specifier: &str, source: String) -> String {
    let mut source = source.replace("__NODE_VERSION__", deno_node::NODE_VERSION);
    let theirs = specifier.starts_with("ext:deno_node/") || specifier.starts_with("node:");
    if !theirs {
        return source;
    }
    for (_, from, to) in PATCHES.iter().filter(|(script, ..)| *script == specifier) {
        source = source.replace(from, to);
    }
    for (from, to) in MOVED {
        source = source.replace(from, to);
    }
    // What is a script, not a module, is one function that is called.
    const OPENING: &str = "\n(function () {";
    if source.contains(OPENING) {
        return source.replacen(OPENING, &format!("{OPENING} {SCRIPT_PREAMBLE}"), 1);
    }
    for (_, addition) in ADDITIONS.iter().filter(|(module, _)| *module == specifier) {
        source.push_str(addition);
    }
    format!("{MODULE_PREAMBLE}{}", ops_by_table(source))
}

/// Turns `import { op_a, op_b } from "ext:core/ops"` into a destructuring of our table of ops.
fn ops_by_table(source: String) -> String {
    const FROM: &str = "} from \"ext:core/ops\";";
    let Some(end) = source.find(FROM) else {
        return source;
    };
    let Some(start) = source.get(..end).and_then(|head| head.rfind("import {")) else {
        return source;
    };
    let (head, rest) = source.split_at(start);
    let (names, tail) = rest.split_at(end - start);
    let names = names.trim_start_matches("import {").replace(" as ", ": ");
    let tail = tail.trim_start_matches(FROM);
    format!("{head}const {{{names}}} = __ops;{tail}")
}
