//! The stack that a parser runs on, and the one place from which it is left.

use std::cell::{Cell, RefCell};
use std::ptr::null;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::rewriter::{Command, Event};

/// Address space of a parser's stack: 256 KiB, of which what it touches becomes memory.
const STACK_BYTES: usize = 256 * 1024;
/// Stacks that a thread keeps for its next parsers.
const STACKS_KEPT_MAX: usize = 2;

thread_local! {
    /// The yielder of the fiber that runs on this thread now; null while none does.
    static RUNNING: Cell<*const Yielder<Command, Event>> = const { Cell::new(null()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// A computation on a stack of its own.
pub(crate) struct Fiber {
    coroutine: Option<Coroutine<Command, Event, ()>>,
    yielder: *const Yielder<Command, Event>,
}

impl Fiber {
    /// Prepares `body`; it starts with the first command.
    pub(crate) fn new(body: impl FnOnce(Command) + 'static) -> std::io::Result<Self> {
        let kept = STACKS.with_borrow_mut(Vec::pop);
        let stack = match kept {
            Some(stack) => stack,
            None => DefaultStack::new(STACK_BYTES)?,
        };
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<Command, Event>, command| {
            RUNNING.set(yielder);
            body(command);
        });
        Ok(Self { coroutine: Some(coroutine), yielder: null() })
    }

    /// Runs until the next event; `None` once the computation is over.
    pub(crate) fn resume(&mut self, command: Command) -> Option<Event> {
        let coroutine = self.coroutine.as_mut().filter(|coroutine| !coroutine.done())?;
        let outer = RUNNING.replace(self.yielder);
        let result = coroutine.resume(command);
        self.yielder = RUNNING.replace(outer);
        match result {
            CoroutineResult::Yield(event) => Some(event),
            CoroutineResult::Return(()) => None,
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        let Some(mut coroutine) = self.coroutine.take() else {
            return;
        };
        if coroutine.started() && !coroutine.done() {
            let outer = RUNNING.replace(self.yielder);
            // A refused handler makes the parser return; it has nothing to wait for after that.
            let result = coroutine.resume(Command::Abort);
            RUNNING.set(outer);
            if let CoroutineResult::Yield(_) = result {
                coroutine.force_unwind();
            }
        }
        if !coroutine.started() {
            return;
        }
        let stack = coroutine.into_stack();
        STACKS.with_borrow_mut(|stacks| {
            if stacks.len() < STACKS_KEPT_MAX {
                stacks.push(stack);
            }
        });
    }
}

/// Leaves the running fiber with an event, and comes back with the command that it is resumed with.
///
/// Handlers that `lol_html` keeps must be `'static`, so they cannot borrow the yielder: it is found here.
pub(crate) fn suspend(event: Event) -> Command {
    let yielder = RUNNING.get();
    if yielder.is_null() {
        return Command::Abort;
    }
    // SAFETY: `RUNNING` is set only by the fiber's own body, from a reference that lives as long as the body runs, and
    // by `resume` and `drop` around running that same body; they put the former value back when it stops. So while it
    // is not null, this code runs on the stack of the fiber whose yielder it is, and that stack holds the yielder.
    #[allow(unsafe_code, reason = "the one place, see above")]
    let yielder = unsafe { &*yielder };
    yielder.suspend(event)
}
