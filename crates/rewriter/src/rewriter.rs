//! The parser as its caller drives it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use lol_html::{
    DocumentContentHandlers, ElementContentHandlers, HandlerResult, HtmlRewriter, MemorySettings, Selector, Settings,
};

use crate::fiber::{Fiber, suspend};
use crate::spec::{self, DocumentHandlers, ElementHandlers, Spec, SpecError};
use crate::unit::{Answer, Ask, Unit};

/// What one parser may hold of a document, its output aside: 3 MiB.
pub const MEMORY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The buffer for what lies across two chunks, to begin with.
const PARSING_BUFFER_BYTES: usize = 1024;

/// What the parser is told.
pub(crate) enum Command {
    Write(Vec<u8>),
    End,
    Proceed,
    Ask(Ask),
    /// A piece of streamed content, or that there is no more.
    Content(Option<String>),
    Abort,
}

/// What the parser says.
pub(crate) enum Event {
    Idle,
    Handler(u32),
    Content(u32),
    Answer(Answer),
    Failed(String),
}

/// What the parser waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// More of the document, or its end.
    Idle,
    /// The handler of this number is due: [`Rewriter::ask`] until it is done, then [`Rewriter::proceed`].
    Handler(u32),
    /// A piece of the streamed content of this number: [`Rewriter::content`].
    Content(u32),
    /// Nothing: the document is over.
    Done,
    /// Nothing: it cannot go on, and why.
    Failed(String),
}

/// A handler, or whoever dropped the rewriter, stopped it.
#[derive(Debug, thiserror::Error)]
#[error("the rewriting was stopped")]
pub(crate) struct Stopped;

/// Rewrites one document.
pub struct Rewriter {
    fiber: Fiber,
    output: Rc<RefCell<Vec<u8>>>,
    over: bool,
}

impl Rewriter {
    /// A rewriter that has seen nothing of its document yet.
    ///
    /// # Errors
    ///
    /// What is wrong with a selector or the encoding; or there is no memory for a stack.
    pub fn new(spec: &Spec) -> Result<Self, SpecError> {
        let encoding = spec::parse_encoding(&spec.encoding)?;
        let mut settings = Settings::new().with_encoding(encoding).with_strict(true).with_memory_settings(
            MemorySettings::new()
                .with_preallocated_parsing_buffer_size(PARSING_BUFFER_BYTES)
                .with_max_allowed_memory_usage(MEMORY_BYTES_MAX),
        );
        for handlers in &spec.elements {
            settings = settings.append_element_content_handler(element_handlers(handlers)?);
        }
        for handlers in &spec.documents {
            settings = settings.append_document_content_handler(document_handlers(handlers));
        }
        let output = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&output);
        let fiber = Fiber::new(move |command| run(settings, &sink, command)).map_err(SpecError::Stack)?;
        Ok(Self { fiber, output, over: false })
    }

    /// Goes on with a piece of the document.
    pub fn write(&mut self, chunk: Vec<u8>) -> Step {
        self.step(Command::Write(chunk))
    }

    /// The document is over.
    pub fn end(&mut self) -> Step {
        self.step(Command::End)
    }

    /// The handler is done.
    pub fn proceed(&mut self) -> Step {
        self.step(Command::Proceed)
    }

    /// The next piece of the streamed content that was asked for; `None` is its end.
    pub fn content(&mut self, text: Option<String>) -> Step {
        self.step(Command::Content(text))
    }

    /// Asks something of what the handler that is due was given.
    pub fn ask(&mut self, ask: Ask) -> Answer {
        match self.fiber.resume(Command::Ask(ask)) {
            Some(Event::Answer(answer)) => answer,
            _ => {
                self.over = true;
                Answer::Refused("there is no handler due".to_owned())
            }
        }
    }

    /// What was rewritten since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.output.borrow_mut())
    }

    fn step(&mut self, command: Command) -> Step {
        if self.over {
            return Step::Failed("the rewriting is over".to_owned());
        }
        let step = match self.fiber.resume(command) {
            Some(Event::Idle) => Step::Idle,
            Some(Event::Handler(id)) => Step::Handler(id),
            Some(Event::Content(id)) => Step::Content(id),
            Some(Event::Failed(reason)) => Step::Failed(reason),
            Some(Event::Answer(_)) => Step::Failed("an answer that nobody asked for".to_owned()),
            None => Step::Done,
        };
        self.over = matches!(step, Step::Done | Step::Failed(_));
        step
    }
}

// === on the parser's stack ===

fn run(settings: Settings<'static, 'static>, sink: &RefCell<Vec<u8>>, first: Command) {
    let mut rewriter = HtmlRewriter::new(settings, |chunk: &[u8]| sink.borrow_mut().extend_from_slice(chunk));
    let mut command = first;
    loop {
        let result = match command {
            Command::Write(chunk) => rewriter.write(&chunk),
            Command::End => {
                if let Err(error) = rewriter.end() {
                    suspend(Event::Failed(error.to_string()));
                }
                return;
            }
            _ => return,
        };
        command = match result {
            Ok(()) => suspend(Event::Idle),
            Err(error) => {
                suspend(Event::Failed(error.to_string()));
                return;
            }
        };
    }
}

/// Lets the caller run the handler of this number on a unit.
pub(crate) fn handle(id: u32, unit: &mut impl Unit) -> HandlerResult {
    let mut command = suspend(Event::Handler(id));
    loop {
        match command {
            Command::Proceed => return Ok(()),
            Command::Ask(ask) => command = suspend(Event::Answer(unit.answer(ask))),
            _ => return Err(Box::new(Stopped)),
        }
    }
}

fn element_handlers(
    handlers: &ElementHandlers,
) -> Result<(Cow<'static, Selector>, ElementContentHandlers<'static>), SpecError> {
    let selector = spec::parse_selector(&handlers.selector)?;
    let mut content = ElementContentHandlers::default();
    if let Some(id) = handlers.element {
        content = content.element(move |unit: &mut lol_html::html_content::Element<'_, '_>| handle(id, unit));
    }
    if let Some(id) = handlers.comments {
        content = content.comments(move |unit: &mut lol_html::html_content::Comment<'_>| handle(id, unit));
    }
    if let Some(id) = handlers.text {
        content = content.text(move |unit: &mut lol_html::html_content::TextChunk<'_>| handle(id, unit));
    }
    Ok((Cow::Owned(selector), content))
}

fn document_handlers(handlers: &DocumentHandlers) -> DocumentContentHandlers<'static> {
    let mut content = DocumentContentHandlers::default();
    if let Some(id) = handlers.doctype {
        content = content.doctype(move |unit: &mut lol_html::html_content::Doctype<'_>| handle(id, unit));
    }
    if let Some(id) = handlers.comments {
        content = content.comments(move |unit: &mut lol_html::html_content::Comment<'_>| handle(id, unit));
    }
    if let Some(id) = handlers.text {
        content = content.text(move |unit: &mut lol_html::html_content::TextChunk<'_>| handle(id, unit));
    }
    if let Some(id) = handlers.end {
        content = content.end(move |unit: &mut lol_html::html_content::DocumentEnd<'_>| handle(id, unit));
    }
    content
}
