//! One version of a worker as it travels to a runner: a JSON head, then the bytes that it describes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{Failure, Limits};

/// How a module is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleKind {
    /// An ECMAScript module.
    EsModule,
    /// A classic script (the service-worker form).
    Script,
    /// A CommonJS module.
    CommonJs,
    /// Its default export is the parsed JSON.
    Json,
    /// Its default export is a string.
    Text,
    /// Its default export is an ArrayBuffer.
    Data,
    /// Its default export is a WebAssembly.Module.
    Wasm,
}

/// How the worker says what it handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `export default …`
    Modules,
    /// `addEventListener("fetch", …)`
    ServiceWorker,
}

/// One capability in `env`. `kind` and the further members are what the runtime's `env.js` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    pub name: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

impl Binding {
    /// A binding of a kind, with nothing else said.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), text: None, json: None, id: None, tag: None, timestamp: None }
    }
}

/// One module with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub kind: ModuleKind,
    pub body: Bytes,
    /// V8's code cache, where an earlier start made one.
    pub code_cache: Option<Bytes>,
}

/// What a version says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub worker: String,
    pub version: String,
    pub format: Format,
    /// The name of the module that is evaluated first.
    pub main: String,
    pub compatibility_date: String,
    #[serde(default)]
    pub compatibility_flags: Vec<String>,
    #[serde(default)]
    pub bindings: Vec<Binding>,
    pub limits: Limits,
}

/// A version: what it says of itself, and its modules.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub manifest: Manifest,
    pub modules: Vec<Module>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    manifest: Manifest,
    modules: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    kind: ModuleKind,
    bytes: usize,
    cache_bytes: Option<usize>,
}

/// The bytes are not a version.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the head is not the JSON of a manifest")]
    Head(#[source] serde_json::Error),
    #[error("fewer bytes than the head describes")]
    Short,
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, LoadError> {
    if bytes.len() < length {
        return Err(LoadError::Short);
    }
    Ok(bytes.split_to(length))
}

fn take_head(bytes: &mut Bytes) -> Result<Bytes, LoadError> {
    if bytes.len() < 4 {
        return Err(LoadError::Short);
    }
    let length = bytes.get_u32_le() as usize;
    take(bytes, length)
}

impl Version {
    /// The bytes of a load frame.
    pub fn encode(&self) -> Result<Bytes, LoadError> {
        let head = Head {
            manifest: self.manifest.clone(),
            modules: self
                .modules
                .iter()
                .map(|module| Part {
                    name: module.name.clone(),
                    kind: module.kind,
                    bytes: module.body.len(),
                    cache_bytes: module.code_cache.as_ref().map(Bytes::len),
                })
                .collect(),
        };
        let head = serde_json::to_vec(&head).map_err(LoadError::Head)?;
        let mut out = BytesMut::new();
        out.put_u32_le(head.len() as u32);
        out.put_slice(&head);
        for module in &self.modules {
            out.put_slice(&module.body);
            if let Some(cache) = &module.code_cache {
                out.put_slice(cache);
            }
        }
        Ok(out.freeze())
    }

    /// Reads the bytes of a load frame.
    pub fn decode(mut bytes: Bytes) -> Result<Self, LoadError> {
        let head = take_head(&mut bytes)?;
        let head: Head = serde_json::from_slice(&head).map_err(LoadError::Head)?;
        let mut modules = Vec::with_capacity(head.modules.len());
        for part in head.modules {
            let body = take(&mut bytes, part.bytes)?;
            let code_cache = part.cache_bytes.map(|length| take(&mut bytes, length)).transpose()?;
            modules.push(Module { name: part.name, kind: part.kind, body, code_cache });
        }
        Ok(Self { manifest: head.manifest, modules })
    }
}

/// What a runner says once it tried to start a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    pub loaded: Result<Loaded, Failure>,
    /// V8's code caches, by module name.
    pub code_caches: Vec<(String, Bytes)>,
}

/// A version runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// What the default export answers to, or what the service-worker form listens to: kinds of event, and methods of RPC.
    pub handlers: Vec<String>,
    /// What the other exports answer to.
    #[serde(default)]
    pub named_handlers: Vec<NamedHandlers>,
    /// CPU time of the start, in microseconds.
    pub startup_us: u64,
}

/// What an export of a worker answers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedHandlers {
    pub name: String,
    /// Kinds of event and methods of RPC; `class` for Durable Objects and Workflows.
    pub handlers: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ReadyHead {
    loaded: Result<Loaded, Failure>,
    code_caches: Vec<(String, usize)>,
}

impl Ready {
    /// The bytes of a ready frame.
    pub fn encode(&self) -> Result<Bytes, LoadError> {
        let head = ReadyHead {
            loaded: self.loaded.clone(),
            code_caches: self.code_caches.iter().map(|(name, cache)| (name.clone(), cache.len())).collect(),
        };
        let head = serde_json::to_vec(&head).map_err(LoadError::Head)?;
        let mut out = BytesMut::new();
        out.put_u32_le(head.len() as u32);
        out.put_slice(&head);
        for (_, cache) in &self.code_caches {
            out.put_slice(cache);
        }
        Ok(out.freeze())
    }

    /// Reads the bytes of a ready frame.
    pub fn decode(mut bytes: Bytes) -> Result<Self, LoadError> {
        let head = take_head(&mut bytes)?;
        let head: ReadyHead = serde_json::from_slice(&head).map_err(LoadError::Head)?;
        let mut code_caches = Vec::with_capacity(head.code_caches.len());
        for (name, length) in head.code_caches {
            code_caches.push((name, take(&mut bytes, length)?));
        }
        Ok(Self { loaded: head.loaded, code_caches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version {
            manifest: Manifest {
                worker: "hello".into(),
                version: "v1".into(),
                format: Format::Modules,
                main: "index.js".into(),
                compatibility_date: "2026-11-01".into(),
                compatibility_flags: vec![],
                bindings: vec![Binding::new("A", "text")],
                limits: Limits::default(),
            },
            modules: vec![
                Module {
                    name: "index.js".into(),
                    kind: ModuleKind::EsModule,
                    body: Bytes::from_static(b"export default {}"),
                    code_cache: Some(Bytes::from_static(b"cache")),
                },
                Module {
                    name: "a.txt".into(),
                    kind: ModuleKind::Text,
                    body: Bytes::from_static(b"text"),
                    code_cache: None,
                },
            ],
        }
    }

    #[test]
    fn a_version_reads_back_as_it_was_written() {
        let version = version();
        assert_eq!(Version::decode(version.encode().unwrap()).unwrap(), version);
    }

    #[test]
    fn a_version_cut_anywhere_is_refused() {
        let whole = version().encode().unwrap();
        for length in 0..whole.len() {
            assert!(Version::decode(whole.slice(..length)).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_ready_reads_back_as_it_was_written() {
        let ready = Ready {
            loaded: Ok(Loaded {
                handlers: vec!["fetch".into()],
                named_handlers: vec![NamedHandlers { name: "Counter".into(), handlers: vec!["class".into()] }],
                startup_us: 5,
            }),
            code_caches: vec![("index.js".into(), Bytes::from_static(b"xyz"))],
        };
        assert_eq!(Ready::decode(ready.encode().unwrap()).unwrap(), ready);
    }
}
