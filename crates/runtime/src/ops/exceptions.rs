//! Exceptions that nothing caught.

use std::rc::Rc;

use deno_core::error::JsError;
use deno_core::{JsRuntime, op2, v8};

use super::clock::Clock;
use super::door::DoorState;

/// Logs an exception that no handler of the worker wanted. Unlike deno_core's op, it leaves the isolate running.
#[op2(fast, reentrant)]
pub fn op_exception_uncaught<'s>(scope: &mut v8::PinScope<'s, '_>, exception: v8::Local<'s, v8::Value>, promise: bool) {
    let stream = event_of(scope);
    let error = JsError::from_v8_exception(scope, exception);
    let stack = error.stack.clone().unwrap_or_else(|| error.exception_message.clone());
    let state = JsRuntime::op_state_from(scope);
    let state = state.borrow();
    let Some(door) = state.try_borrow::<Rc<DoorState>>() else {
        return;
    };
    let text = if promise { format!("Uncaught (in promise) {stack}") } else { format!("Uncaught {stack}") };
    let record = serde_json::json!({
        "level": "error",
        "timestamp": state.borrow::<Clock>().now_ms(),
        "message": [text],
        "during": "uncaught",
        "exception": {
            "name": error.name.as_deref().unwrap_or("Error"),
            "message": error.message.as_ref().unwrap_or(&error.exception_message),
            "stack": stack,
        },
    });
    door.log(stream, &record.to_string());
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
