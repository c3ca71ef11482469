//! Modules that are not code: their bytes, until they are imported.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use deno_core::{OpState, ToJsBuffer, op2};
use deno_error::JsErrorBox;

/// The bytes of a version's modules that are not code, by specifier, with their kinds.
#[derive(Clone, Default)]
pub struct ModuleBytes(Rc<RefCell<HashMap<String, (&'static str, Bytes)>>>);

impl ModuleBytes {
    /// Keeps a module's bytes.
    pub fn insert(&self, specifier: String, kind: &'static str, bytes: Bytes) {
        self.0.borrow_mut().insert(specifier, (kind, bytes));
    }

    fn get(&self, specifier: &str) -> Result<(&'static str, Bytes), JsErrorBox> {
        self.0
            .borrow()
            .get(specifier)
            .cloned()
            .ok_or_else(|| JsErrorBox::type_error(format!("No such module \"{specifier}\".")))
    }
}

/// The kind of a module: `text`, `data`, `json`, `wasm` or `commonjs`.
#[op2]
#[string]
pub fn op_module_kind(state: &mut OpState, #[string] specifier: &str) -> Result<String, JsErrorBox> {
    Ok(state.borrow::<ModuleBytes>().get(specifier)?.0.to_owned())
}

/// A module as text.
#[op2]
#[string]
pub fn op_module_text(state: &mut OpState, #[string] specifier: &str) -> Result<String, JsErrorBox> {
    let (_, bytes) = state.borrow::<ModuleBytes>().get(specifier)?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| JsErrorBox::type_error(format!("module \"{specifier}\" is not UTF-8 text")))
}

/// A module as bytes.
#[op2]
#[serde]
pub fn op_module_bytes(state: &mut OpState, #[string] specifier: &str) -> Result<ToJsBuffer, JsErrorBox> {
    let (_, bytes) = state.borrow::<ModuleBytes>().get(specifier)?;
    Ok(bytes.to_vec().into())
}
