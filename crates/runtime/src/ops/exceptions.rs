//! Exceptions that nothing caught.

use std::rc::Rc;

use deno_core::error::JsError;
use deno_core::{JsRuntime, op2, v8};

use super::door::DoorState;

/// Logs an exception that no handler of the worker wanted. Unlike deno_core's op, it leaves the isolate running.
#[op2(fast, reentrant)]
pub fn op_exception_uncaught<'s>(scope: &mut v8::PinScope<'s, '_>, exception: v8::Local<'s, v8::Value>, promise: bool) {
    let stream = event_of(scope);
    let error = JsError::from_v8_exception(scope, exception);
    let text = error.stack.clone().unwrap_or_else(|| error.exception_message.clone());
    let text = if promise { format!("Uncaught (in promise) {text}") } else { format!("Uncaught {text}") };
    let record = serde_json::json!({ "level": "error", "message": [text], "during": "uncaught" }).to_string();
    let state = JsRuntime::op_state_from(scope);
    let door = state.borrow().try_borrow::<Rc<DoorState>>().map(Rc::clone);
    if let Some(door) = door {
        door.log(stream, &record);
    }
}

/// The stream of the event whose code is running: the async context is its `Invocation`.
fn event_of(scope: &mut v8::PinScope<'_, '_>) -> u32 {
    let context = scope.get_continuation_preserved_embedder_data();
    let Ok(context) = v8::Local::<v8::Object>::try_from(context) else {
        return 0;
    };
    let stream = v8::String::new(scope, "stream").and_then(|name| context.get(scope, name.into()));
    stream.and_then(|stream| stream.uint32_value(scope)).unwrap_or_default()
}
