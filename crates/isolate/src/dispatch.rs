//! Calls from the host into the runtime's JavaScript.

use deno_core::{JsRuntime, scope, v8};
use selvedge_door::Head;
use selvedge_model::NamedHandlers;
use serde::Deserialize;

/// The functions that `bootstrap.js` leaves for the host.
pub struct Handles {
    prepare: Option<v8::Global<v8::Function>>,
    start: Option<v8::Global<v8::Function>>,
    dispatch: Option<v8::Global<v8::Function>>,
    cancel: Option<v8::Global<v8::Function>>,
    hung: Option<v8::Global<v8::Function>>,
    handlers: Option<v8::Global<v8::Function>>,
}

/// What a worker exports that can answer events.
#[derive(Debug, Default, Deserialize)]
pub struct Exports {
    /// The default export's, or those of the service-worker form.
    pub handlers: Vec<String>,
    pub named_handlers: Vec<NamedHandlers>,
}

/// What an event's body is to JavaScript.
pub enum Body {
    None,
    Whole(Vec<u8>),
    Resource(u32),
    /// A first message, and the resource that further ones come by.
    Session(Vec<u8>, u32),
}

fn text<'s>(scope: &mut v8::PinScope<'s, '_>, bytes: &[u8]) -> v8::Local<'s, v8::Value> {
    match v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal) {
        Some(text) => text.into(),
        None => v8::String::empty(scope).into(),
    }
}

impl Handles {
    /// Takes the handles off the global object, and shuts what tenant code must not find.
    pub fn take(runtime: &mut JsRuntime) -> Self {
        scope!(scope, runtime);
        let context = scope.get_current_context();
        context.set_allow_generation_from_strings(false);
        let global = context.global(scope);
        let get = |name: &str| {
            let holder = v8::String::new(scope, "__selvedge")?;
            let holder = global.get(scope, holder.into())?;
            let holder = v8::Local::<v8::Object>::try_from(holder).ok()?;
            let name = v8::String::new(scope, name)?;
            let function = holder.get(scope, name.into())?;
            let function = v8::Local::<v8::Function>::try_from(function).ok()?;
            Some(v8::Global::new(scope, function))
        };
        let handles = Self {
            prepare: get("prepare"),
            start: get("start"),
            dispatch: get("dispatch"),
            cancel: get("cancel"),
            hung: get("hung"),
            handlers: get("handlers"),
        };
        for name in ["__selvedge", "Deno", "__bootstrap"] {
            if let Some(name) = v8::String::new(scope, name) {
                global.delete(scope, name.into());
            }
        }
        handles
    }

    /// Before tenant code runs: the bindings as JSON, whether the worker is in the service-worker form, and its
    /// compatibility date and flags, a line each. Gives why the worker cannot start, as the JSON of a [`selvedge_model::Failure`].
    pub fn prepare(
        &self,
        runtime: &mut JsRuntime,
        bindings: &str,
        service_worker: bool,
        compatibility: &str,
    ) -> Option<String> {
        scope!(scope, runtime);
        let (function, bindings) = (self.prepare.as_ref()?, v8::String::new(scope, bindings)?);
        let service_worker = v8::Boolean::new(scope, service_worker);
        let compatibility = text(scope, compatibility.as_bytes());
        let failure = call(scope, function, &[bindings.into(), service_worker.into(), compatibility])?;
        failure.is_string().then(|| failure.to_rust_string_lossy(scope))
    }

    /// The worker is loaded: its main module's exports, or none in the service-worker form.
    pub fn start(&self, runtime: &mut JsRuntime, namespace: Option<v8::Global<v8::Object>>) {
        scope!(scope, runtime);
        let Some(function) = &self.start else {
            return;
        };
        let namespace: v8::Local<v8::Value> = match namespace {
            Some(namespace) => v8::Local::new(scope, namespace).into(),
            None => v8::undefined(scope).into(),
        };
        call(scope, function, &[namespace]);
    }

    /// What of the worker can answer events.
    pub fn exports(&self, runtime: &mut JsRuntime) -> Exports {
        scope!(scope, runtime);
        let json = self.handlers.as_ref().and_then(|function| call(scope, function, &[]));
        let json = json.map(|json| json.to_rust_string_lossy(scope)).unwrap_or_default();
        // Nothing is said only where the code was stopped, and then the guard says why.
        serde_json::from_str(&json).unwrap_or_default()
    }

    /// An event arrives. Runs its handler up to the first wait for something from outside.
    pub fn dispatch(&self, runtime: &mut JsRuntime, stream: u32, head: &Head, body: Body) {
        scope!(scope, runtime);
        let Some(function) = &self.dispatch else {
            return;
        };
        let mut rest = &head.0[..];
        let mut field = || {
            let (field, after) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
                None => (rest, &[][..]),
            };
            rest = after;
            field
        };
        let (target, method, url, meta) = (field(), field(), field(), field());
        let rest_of_body = match body {
            Body::Session(_, rid) => v8::Integer::new_from_unsigned(scope, rid).into(),
            _ => v8::undefined(scope).into(),
        };
        let arguments = [
            v8::Integer::new_from_unsigned(scope, stream).into(),
            text(scope, target),
            text(scope, method),
            text(scope, url),
            text(scope, meta),
            text(scope, rest),
            body_value(scope, body),
            rest_of_body,
        ];
        call(scope, function, &arguments);
        scope.perform_microtask_checkpoint();
    }

    /// The client of an event went away; where it is `expired`, what it left to `waitUntil` may take no longer either.
    pub fn cancel(&self, runtime: &mut JsRuntime, stream: u32, expired: bool) {
        scope!(scope, runtime);
        if let Some(function) = &self.cancel {
            let stream = v8::Integer::new_from_unsigned(scope, stream).into();
            let expired = v8::Boolean::new(scope, expired).into();
            call(scope, function, &[stream, expired]);
            scope.perform_microtask_checkpoint();
        }
    }

    /// Nothing is pending, yet events wait.
    pub fn hung(&self, runtime: &mut JsRuntime) {
        scope!(scope, runtime);
        if let Some(function) = &self.hung {
            call(scope, function, &[]);
        }
    }
}

fn body_value<'s>(scope: &mut v8::PinScope<'s, '_>, body: Body) -> v8::Local<'s, v8::Value> {
    match body {
        Body::None => v8::undefined(scope).into(),
        Body::Resource(rid) => v8::Integer::new_from_unsigned(scope, rid).into(),
        Body::Whole(bytes) | Body::Session(bytes, _) => {
            let length = bytes.len();
            let store = v8::ArrayBuffer::new_backing_store_from_vec(bytes).make_shared();
            let buffer = v8::ArrayBuffer::with_backing_store(scope, &store);
            match v8::Uint8Array::new(scope, buffer, 0, length) {
                Some(array) => array.into(),
                None => v8::undefined(scope).into(),
            }
        }
    }
}

/// Calls a function of the runtime. These catch what tenant code throws; what is left is termination, which the guard
/// tells of.
fn call<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    function: &v8::Global<v8::Function>,
    arguments: &[v8::Local<'s, v8::Value>],
) -> Option<v8::Local<'s, v8::Value>> {
    let function = v8::Local::new(scope, function);
    let receiver = v8::undefined(scope).into();
    function.call(scope, receiver, arguments)
}
