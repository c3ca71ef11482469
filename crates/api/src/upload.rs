//! Uploads of scripts: from a multipart body to what the control plane decides on.

use axum::body::Body;
use http::{HeaderMap, StatusCode};
use selvedge_control::{
    BindingInput, ControlError, METADATA_BYTES_MAX, Metadata, PARTS_MAX, SCRIPT_BYTES_MAX, SOURCE_MAP_BYTES_MAX,
    Upload, UploadPart,
};
use selvedge_model::{BindingKind, BindingRecord, ModuleKind};
use serde_json::Value;

use crate::error::{ApiError, code};
use crate::extract::json;
use crate::multipart::{Limits, Multipart, MultipartError, Part, shown};

/// What the boundaries and heads of an upload may take, in bytes: 1 MiB.
const FRAMING_BYTES_MAX: u64 = 1024 * 1024;

/// How large an upload may be.
pub const LIMITS: Limits = Limits {
    whole_bytes_max: SCRIPT_BYTES_MAX + SOURCE_MAP_BYTES_MAX + METADATA_BYTES_MAX as u64 + FRAMING_BYTES_MAX,
    part_bytes_max: SCRIPT_BYTES_MAX,
    special: Some((METADATA, METADATA_BYTES_MAX as u64)),
    parts_max: PARTS_MAX + 1,
};

const METADATA: &str = "metadata";

/// Reads the upload of a request.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Upload, ApiError> {
    let multipart = Multipart::of_request(headers, body, LIMITS)?;
    assemble(parts(multipart).await?)
}

async fn parts(mut multipart: Multipart) -> Result<Vec<Part>, MultipartError> {
    let mut parts = Vec::new();
    while let Some(part) = multipart.next().await? {
        parts.push(part);
    }
    Ok(parts)
}

/// Puts an upload together.
pub fn assemble(parts: Vec<Part>) -> Result<Upload, ApiError> {
    let mut metadata = None;
    let mut modules = Vec::new();
    for part in parts {
        if part.name != METADATA {
            modules.push(part);
        } else if metadata.replace(part.body).is_some() {
            return Err(refused("the upload has two parts named `metadata`"));
        }
    }
    let metadata = metadata.ok_or_else(|| {
        refused("the upload has no part named `metadata`: the JSON with main_module, bindings, compatibility_date, …")
    })?;
    let mut metadata = parse_metadata(&metadata)?;
    // Of a part whose file has another name than the part, the file's is the module's, as tools other than wrangler
    // expect; the metadata may name it either way.
    // What a binding names is the part.
    let bound: Vec<String> = metadata.bindings.iter().filter_map(part_of).map(str::to_owned).collect();
    let module_name = |part: &Part| match &part.file_name {
        Some(file_name) if !bound.contains(&part.name) => file_name.clone(),
        _ => part.name.clone(),
    };
    for named in [&mut metadata.main_module, &mut metadata.body_part].into_iter().flatten() {
        if !modules.iter().any(|part| module_name(part) == *named)
            && let Some(part) = modules.iter().find(|part| part.name == *named)
        {
            *named = module_name(part);
        }
    }
    let parts: Vec<UploadPart> = modules
        .into_iter()
        .map(|part| UploadPart { name: module_name(&part), content_type: part.content_type, body: part.body })
        .collect();
    check_main(&metadata, &parts)?;
    let upload = Upload::assemble(metadata, parts)?;
    check_text(&upload)?;
    Ok(upload)
}

/// The part of the upload that a binding is of.
fn part_of(binding: &BindingInput) -> Option<&str> {
    let BindingInput::Given(record) = binding else {
        return None;
    };
    match &record.kind {
        BindingKind::WasmModule { part } | BindingKind::TextBlob { part } | BindingKind::DataBlob { part } => {
            Some(part)
        }
        _ => None,
    }
}

/// Reads the text of the `metadata` part.
pub fn parse_metadata(text: &[u8]) -> Result<Metadata, ApiError> {
    let metadata: Metadata = json(text, "metadata").map_err(|error| ApiError { code: code::BAD_UPLOAD, ..error })?;
    check_bindings(&metadata.bindings)?;
    check_streaming(metadata.extra.get("streaming_tail_consumers"))?;
    Ok(metadata)
}

/// Refuses workers that are to be told of events while they happen: they would be told nothing.
pub fn check_streaming(consumers: Option<&Value>) -> Result<(), ApiError> {
    match consumers {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(none)) if none.is_empty() => Ok(()),
        Some(_) => Err(ControlError::NotAvailable { what: "`streaming_tail_consumers`".into() }.into()),
    }
}

/// Refuses bindings of a type that is known here whose members are not those of the type: as bindings of any other type,
/// they would be kept, and be of no use. Keys are refused, too: nothing seals them. And types that are none: what was meant
/// for a secret, under a type with a slip in it, would be kept and shown in the clear.
pub fn check_bindings(bindings: &[BindingInput]) -> Result<(), ApiError> {
    for (at, binding) in bindings.iter().enumerate() {
        let BindingInput::Given(BindingRecord { name, kind: BindingKind::Other { kind, .. } }) = binding else {
            continue;
        };
        let name = shown(name);
        if kind == SECRET_KEY {
            return Err(ControlError::NotAvailable { what: format!("a binding of type {kind} (\"{name}\")") }.into());
        }
        if let Some(members) = members_of(kind) {
            return Err(refused(format!("`bindings[{at}]`: the binding \"{name}\" of type {kind} needs {members}")));
        }
        if !KEPT.contains(&kind.as_str()) {
            let (kind, typed) = (shown(kind), TYPED.iter().chain(&KEPT).copied().collect::<Vec<_>>().join(", "));
            return Err(refused(format!(
                "`bindings[{at}]`: the binding \"{name}\" is of type \"{kind}\", which is none; there are {typed}"
            )));
        }
    }
    Ok(())
}

/// The types of bindings that are read here.
const TYPED: [&str; 11] = [
    "assets",
    "data_blob",
    "inherit",
    "json",
    "plain_text",
    "ratelimit",
    "secret_text",
    "service",
    "text_blob",
    "version_metadata",
    "wasm_module",
];

/// The types of bindings that are kept as they are, as the platform's clients send them.
const KEPT: [&str; 31] = [
    "agent_memory",
    "ai",
    "ai_search",
    "ai_search_namespace",
    "analytics",
    "analytics_engine",
    "artifacts",
    "browser",
    "d1",
    "dispatch_namespace",
    "durable_object_namespace",
    "flagship",
    "hyperdrive",
    "images",
    "k2",
    "kv_namespace",
    "logfwdr",
    "media",
    "mtls_certificate",
    "pipelines",
    "queue",
    "r2_bucket",
    "secrets_store_secret",
    "send_email",
    "stream",
    "unsafe_hello_world",
    "vectorize",
    "vpc_network",
    "vpc_service",
    "worker_loader",
    "workflow",
];

/// The type of bindings that hold a key.
const SECRET_KEY: &str = "secret_key";

/// What a binding of a type that is known here must have.
fn members_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "plain_text" => "`text`, a string",
        "json" => "`json`, any value",
        "service" => "`service`, the name of a Worker; `entrypoint` is a string",
        "ratelimit" => "`namespace_id`, a string, and `simple`, an object with `limit` and `period` in whole numbers",
        "wasm_module" | "text_blob" | "data_blob" => "`part`, the name of a part of the upload",
        _ => return None,
    })
}

/// The script must be among the parts, unless there is none but assets.
fn check_main(metadata: &Metadata, parts: &[UploadPart]) -> Result<(), ApiError> {
    let (key, main) = match (&metadata.main_module, &metadata.body_part) {
        (Some(_), Some(_)) => {
            return Err(refused("metadata has both `main_module` and `body_part`: a worker has one or the other"));
        }
        (Some(main), None) => ("main_module", main),
        (None, Some(main)) => ("body_part", main),
        (None, None) if parts.is_empty() && (metadata.assets.is_some() || metadata.keep_assets) => return Ok(()),
        (None, None) => {
            return Err(refused(
                "metadata has neither `main_module` (the name of the part that is the first module) nor `body_part` (of \
                 the script, in the service-worker form)",
            ));
        }
    };
    if parts.iter().any(|part| part.name == *main) {
        return Ok(());
    }
    let names: Vec<String> = parts.iter().take(10).map(|part| format!("\"{}\"", shown(&part.name))).collect();
    let have = if names.is_empty() { "has no parts but metadata".into() } else { format!("has {}", names.join(", ")) };
    Err(refused(format!("metadata's `{key}` names the part \"{}\", but the upload {have}", shown(main))))
}

/// Code and text are UTF-8.
fn check_text(upload: &Upload) -> Result<(), ApiError> {
    for module in &upload.modules {
        let text = match module.kind {
            ModuleKind::EsModule | ModuleKind::Script | ModuleKind::CommonJs | ModuleKind::Json | ModuleKind::Text => {
                std::str::from_utf8(&module.body)
            }
            ModuleKind::Data | ModuleKind::Wasm => continue,
        };
        if let Err(error) = text {
            let at = error.valid_up_to();
            return Err(refused(format!(
                "the module \"{}\" is not UTF-8: byte {at} is not part of any character; upload bytes as \
                 application/octet-stream",
                shown(&module.name)
            )));
        }
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, code::BAD_UPLOAD, message)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn part(name: &str, content_type: Option<&str>, body: &'static [u8]) -> Part {
        let content_type = content_type.map(str::to_owned);
        Part {
            name: name.into(),
            file_name: content_type.as_ref().map(|_| name.into()),
            content_type,
            body: Bytes::from_static(body),
        }
    }

    fn module(name: &str) -> Part {
        part(name, Some("application/javascript+module"), b"export default {}")
    }

    #[test]
    fn an_upload_of_wranglers_is_understood() {
        let parts = vec![
            part("metadata", None, br#"{"main_module":"index.js","bindings":[{"name":"A","type":"plain_text","text":"1"}],"placement":{"mode":"smart"}}"#),
            module("index.js"),
            part("./0123-add.wasm", Some("application/wasm"), b"\0asm"),
            part("index.js.map", Some("application/source-map"), b"{}"),
        ];
        let upload = assemble(parts).unwrap();
        assert_eq!(upload.modules.len(), 2);
        assert_eq!(upload.source_maps[0].module, "index.js");
        assert!(upload.metadata.extra.contains_key("placement"));
    }

    #[test]
    fn a_part_may_be_named_otherwise_than_its_file() {
        let script = Part { name: "script".into(), ..module("worker.mjs") };
        for main in ["script", "worker.mjs"] {
            let metadata = format!(r#"{{"main_module":"{main}"}}"#);
            let metadata = Part { body: metadata.into(), ..part("metadata", None, b"") };
            let upload = assemble(vec![metadata, script.clone()]).unwrap();
            assert_eq!(upload.metadata.main_module.as_deref(), Some("worker.mjs"));
            assert_eq!(upload.modules[0].name, "worker.mjs");
        }
    }

    #[test]
    fn what_is_wrong_with_an_upload_is_said() {
        let metadata = |text: &'static str| part("metadata", None, text.as_bytes());
        let main = r#"{"main_module":"index.js"}"#;
        for (parts, said) in [
            (vec![module("index.js")], "no part named `metadata`"),
            (vec![metadata(main), metadata(main), module("index.js")], "two parts named `metadata`"),
            (vec![metadata("{}"), module("index.js")], "neither `main_module`"),
            (vec![metadata(main), module("other.js")], "names the part \"index.js\", but the upload has \"other.js\""),
            (vec![metadata(main)], "no parts but metadata"),
            (vec![metadata(main), module("index.js"), module("index.js")], "two parts"),
            (vec![metadata(main), module("index.js"), module("../x.js")], ".."),
            (vec![metadata(main), module("index.js"), module("/etc/passwd")], "begin with /"),
            (vec![metadata(main), module("index.js"), module("a\\b.js")], "backslash"),
            (vec![metadata(main), module("index.js"), module("a\0b.js")], "control characters"),
            (vec![metadata(main), part("index.js", Some("image/png"), b"")], "content type"),
            (vec![metadata(main), part("index.js", Some("application/javascript+module"), b"\xff")], "UTF-8"),
            (vec![metadata("[]"), module("index.js")], "metadata"),
            (
                vec![metadata(r#"{"main_module":"index.js","compatibility_flags":"x"}"#), module("index.js")],
                "`compatibility_flags`",
            ),
            (
                vec![metadata(r#"{"main_module":"index.js","bindings":[{"name":"A"}]}"#), module("index.js")],
                "`bindings[0]`",
            ),
            (
                vec![
                    metadata(
                        r#"{"main_module":"index.js","bindings":[{"name":"K","type":"secret_key","key_base64":"AA"}]}"#,
                    ),
                    module("index.js"),
                ],
                "type secret_key (\"K\") is not available yet",
            ),
            (
                vec![
                    metadata(
                        r#"{"main_module":"index.js","bindings":[{"name":"K","type":"Secret_text","text":"hush"}]}"#,
                    ),
                    module("index.js"),
                ],
                "is of type \"Secret_text\", which is none; there are assets, data_blob, inherit, json, plain_text",
            ),
            (vec![metadata(r#"{"main_module":1e999}"#), module("index.js")], "main_module"),
        ] {
            let error = assemble(parts).unwrap_err();
            assert!(error.message.contains(said), "{said}: {}", error.message);
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
        }
    }
}
