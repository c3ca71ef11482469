//! The clock that a worker sees: it stands still while code runs, and moves when an event or an answer arrives, so that
//! code cannot time itself or its neighbours.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use deno_core::{OpState, op2};

/// Milliseconds since the Unix epoch, as last let in from outside.
#[derive(Clone, Default)]
pub struct Clock(Rc<Cell<f64>>);

impl Clock {
    /// Lets the time of the machine in.
    pub fn advance(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Time seen by a worker never goes back, whatever the machine's clock does.
        self.0.set(self.0.get().max(now.as_millis() as f64));
    }

    /// Milliseconds since the Unix epoch, as code sees them.
    pub fn now_ms(&self) -> u64 {
        self.0.get() as u64
    }
}

/// Milliseconds since the Unix epoch when code last began to run.
#[op2(fast)]
pub fn op_frozen_now(state: &mut OpState) -> f64 {
    state.borrow::<Clock>().0.get()
}

/// As deno_web's `op_now` gives a duration: seconds and nanoseconds, 32 bits each.
fn expose(milliseconds: f64, out: &mut [u8]) {
    let seconds = (milliseconds / 1e3).floor();
    let nanoseconds = ((milliseconds - seconds * 1e3) * 1e6) as u32;
    for (place, value) in out.chunks_exact_mut(4).zip([seconds as u32, nanoseconds]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

/// What `performance.now()` tells: as on Workers, the same as `Date.now()`.
#[op2(fast)]
pub fn op_performance_now(state: &mut OpState, #[buffer] out: &mut [u8]) {
    expose(state.borrow::<Clock>().0.get(), out);
}

/// Where `performance.now()` counts from: the Unix epoch.
#[op2(fast)]
pub fn op_performance_origin(_state: &mut OpState, #[buffer] out: &mut [u8]) {
    expose(0.0, out);
}
