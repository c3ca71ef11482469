//! HTML rewriting whose handlers may take their time.
//!
//! `lol_html` calls its handlers and wants them to be finished when they return. The handlers of a worker are
//! JavaScript: they run on another stack, and one of them may wait for a `fetch` before the document goes on. So the
//! parser runs on a stack of its own, as a coroutine: where a handler is due it is suspended, [`Rewriter`] says which
//! one ([`Step::Handler`]), and everything the handler wants of its element is asked of the suspended parser
//! ([`Rewriter::ask`]) until [`Rewriter::proceed`] lets the document go on. A switch costs nanoseconds, so handlers that
//! do not wait take the same way.
//!
//! Guarantees:
//! - no caller's code runs on the parser's stack;
//! - what the parser holds beside its output is bounded by [`MEMORY_BYTES_MAX`];
//! - a rewriter that failed, or was dropped half-way, leaves nothing behind.

mod fiber;
mod rewriter;
mod spec;
mod unit;

pub use rewriter::{MEMORY_BYTES_MAX, Rewriter, Step};
pub use spec::{DocumentHandlers, ElementHandlers, Spec, SpecError, check_selector};
pub use unit::{Answer, Ask, Field, Kind, Place};
