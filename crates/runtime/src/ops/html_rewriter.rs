//! `HTMLRewriter`: the parser is driven from JavaScript, which runs the handlers between two steps of it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use deno_core::{OpState, Resource, ResourceId, op2};
use deno_error::JsErrorBox;
use selvedge_rewriter::{
    Answer, Ask, DocumentHandlers, ElementHandlers, Field, Kind, Place, Rewriter, Spec, SpecError, Step, check_selector,
};
use serde::Deserialize;

/// What a step says to JavaScript: these, or `HANDLER` and above for the handler of number `code - HANDLER`.
const IDLE: u32 = 0;
const DONE: u32 = 1;
const FAILED: u32 = 2;
const HANDLER: u32 = 3;

struct RewriterResource {
    rewriter: RefCell<Rewriter>,
    /// Why it failed.
    reason: RefCell<String>,
}

impl Resource for RewriterResource {
    fn name(&self) -> Cow<'_, str> {
        "htmlRewriter".into()
    }
}

/// Handlers of one `on()` or `onDocument()`, by number.
#[derive(Deserialize)]
pub struct JsHandlers {
    /// Absent for the document as a whole.
    selector: Option<String>,
    element: Option<u32>,
    comments: Option<u32>,
    text: Option<u32>,
    doctype: Option<u32>,
    end: Option<u32>,
}

fn parser_error(reason: impl std::fmt::Display) -> JsErrorBox {
    JsErrorBox::type_error(format!("Parser error: {reason}"))
}

fn spec_error(error: SpecError) -> JsErrorBox {
    parser_error(error)
}

fn get(state: &OpState, rid: ResourceId) -> Result<Rc<RewriterResource>, JsErrorBox> {
    state.resource_table.get(rid).map_err(JsErrorBox::from_err)
}

fn step(resource: &RewriterResource, step: Step) -> u32 {
    match step {
        Step::Idle => IDLE,
        Step::Done => DONE,
        Step::Failed(reason) => {
            *resource.reason.borrow_mut() = reason;
            FAILED
        }
        Step::Handler(id) | Step::Content(id) => HANDLER + id,
    }
}

fn ask(state: &OpState, rid: ResourceId, ask: Ask) -> Result<Answer, JsErrorBox> {
    match get(state, rid)?.rewriter.borrow_mut().ask(ask) {
        Answer::Refused(reason) => Err(parser_error(reason)),
        answer => Ok(answer),
    }
}

/// Says what is wrong with a selector.
#[op2(fast)]
pub fn op_rewriter_check(#[string] selector: &str) -> Result<(), JsErrorBox> {
    check_selector(selector).map_err(spec_error)
}

/// A rewriter for one document.
#[op2]
#[smi]
pub fn op_rewriter_new(
    state: &mut OpState,
    #[serde] handlers: Vec<JsHandlers>,
    #[string] encoding: String,
) -> Result<ResourceId, JsErrorBox> {
    let mut spec = Spec { encoding, ..Spec::default() };
    for JsHandlers { selector, element, comments, text, doctype, end } in handlers {
        match selector {
            Some(selector) => spec.elements.push(ElementHandlers { selector, element, comments, text }),
            None => spec.documents.push(DocumentHandlers { doctype, comments, text, end }),
        }
    }
    let rewriter = Rewriter::new(&spec).map_err(spec_error)?;
    Ok(state.resource_table.add(RewriterResource { rewriter: RefCell::new(rewriter), reason: RefCell::default() }))
}

/// Goes on with a piece of the document.
#[op2(fast)]
pub fn op_rewriter_write(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[buffer] chunk: &[u8],
) -> Result<u32, JsErrorBox> {
    let resource = get(state, rid)?;
    let next = resource.rewriter.borrow_mut().write(chunk.to_vec());
    Ok(step(&resource, next))
}

/// Goes on with a piece of the document that is text.
#[op2(fast)]
pub fn op_rewriter_write_text(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[string] chunk: String,
) -> Result<u32, JsErrorBox> {
    let resource = get(state, rid)?;
    let next = resource.rewriter.borrow_mut().write(chunk.into_bytes());
    Ok(step(&resource, next))
}

/// The document is over.
#[op2(fast)]
pub fn op_rewriter_end(state: &mut OpState, #[smi] rid: ResourceId) -> Result<u32, JsErrorBox> {
    let resource = get(state, rid)?;
    let next = resource.rewriter.borrow_mut().end();
    Ok(step(&resource, next))
}

/// The handler is done.
#[op2(fast)]
pub fn op_rewriter_proceed(state: &mut OpState, #[smi] rid: ResourceId) -> Result<u32, JsErrorBox> {
    let resource = get(state, rid)?;
    let next = resource.rewriter.borrow_mut().proceed();
    Ok(step(&resource, next))
}

/// The next piece of streamed content, or (`more` is false) that there is none.
#[op2(fast)]
pub fn op_rewriter_content(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[string] text: String,
    more: bool,
) -> Result<u32, JsErrorBox> {
    let resource = get(state, rid)?;
    let next = resource.rewriter.borrow_mut().content(more.then_some(text));
    Ok(step(&resource, next))
}

/// Why the rewriter failed.
#[op2]
#[string]
pub fn op_rewriter_reason(state: &mut OpState, #[smi] rid: ResourceId) -> Result<String, JsErrorBox> {
    Ok(format!("Parser error: {}", get(state, rid)?.reason.borrow()))
}

/// What was rewritten since the last call.
#[op2]
#[buffer]
pub fn op_rewriter_output(state: &mut OpState, #[smi] rid: ResourceId) -> Result<Vec<u8>, JsErrorBox> {
    Ok(get(state, rid)?.rewriter.borrow_mut().take_output())
}

// === what handlers ask ===

fn field(code: u8) -> Field {
    match code {
        0 => Field::Name,
        1 => Field::Text,
        2 => Field::PublicId,
        3 => Field::SystemId,
        _ => Field::NamespaceUri,
    }
}

fn place(code: u8) -> Place {
    match code {
        0 => Place::Before,
        1 => Place::After,
        2 => Place::Prepend,
        3 => Place::Append,
        4 => Place::Replace,
        _ => Place::Inner,
    }
}

fn kind(html: bool) -> Kind {
    if html { Kind::Html } else { Kind::Text }
}

fn text_of(answer: Answer) -> Option<String> {
    match answer {
        Answer::Text(text) => text,
        _ => None,
    }
}

#[op2]
#[string]
pub fn op_rewriter_get(state: &mut OpState, #[smi] rid: ResourceId, what: u8) -> Result<Option<String>, JsErrorBox> {
    ask(state, rid, Ask::Get(field(what))).map(text_of)
}

#[op2(fast)]
pub fn op_rewriter_set(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    what: u8,
    #[string] text: String,
) -> Result<(), JsErrorBox> {
    ask(state, rid, Ask::Set(field(what), text)).map(drop)
}

#[op2]
#[string]
pub fn op_rewriter_attribute(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[string] name: String,
) -> Result<Option<String>, JsErrorBox> {
    ask(state, rid, Ask::Attribute(name)).map(text_of)
}

#[op2(fast)]
pub fn op_rewriter_has_attribute(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[string] name: String,
) -> Result<bool, JsErrorBox> {
    Ok(ask(state, rid, Ask::HasAttribute(name))? == Answer::Flag(true))
}

#[op2(fast)]
pub fn op_rewriter_set_attribute(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[string] name: String,
    #[string] value: String,
) -> Result<(), JsErrorBox> {
    ask(state, rid, Ask::SetAttribute(name, value)).map(drop)
}

#[op2(fast)]
pub fn op_rewriter_remove_attribute(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    #[string] name: String,
) -> Result<(), JsErrorBox> {
    ask(state, rid, Ask::RemoveAttribute(name)).map(drop)
}

/// Names and values in turn.
#[op2]
#[serde]
pub fn op_rewriter_attributes(state: &mut OpState, #[smi] rid: ResourceId) -> Result<Vec<String>, JsErrorBox> {
    match ask(state, rid, Ask::Attributes)? {
        Answer::List(list) => Ok(list),
        _ => Ok(Vec::new()),
    }
}

#[op2(fast)]
pub fn op_rewriter_insert(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    at: u8,
    #[string] text: String,
    html: bool,
) -> Result<(), JsErrorBox> {
    ask(state, rid, Ask::Insert(place(at), text, kind(html))).map(drop)
}

#[op2(fast)]
pub fn op_rewriter_stream(
    state: &mut OpState,
    #[smi] rid: ResourceId,
    at: u8,
    id: u32,
    html: bool,
) -> Result<(), JsErrorBox> {
    ask(state, rid, Ask::Stream(place(at), id, kind(html))).map(drop)
}

#[op2(fast)]
pub fn op_rewriter_remove(state: &mut OpState, #[smi] rid: ResourceId, keep_content: bool) -> Result<(), JsErrorBox> {
    ask(state, rid, if keep_content { Ask::RemoveAndKeepContent } else { Ask::Remove }).map(drop)
}

#[op2(fast)]
pub fn op_rewriter_removed(state: &mut OpState, #[smi] rid: ResourceId) -> Result<bool, JsErrorBox> {
    Ok(ask(state, rid, Ask::Removed)? == Answer::Flag(true))
}

#[op2(fast)]
pub fn op_rewriter_last_in_text_node(state: &mut OpState, #[smi] rid: ResourceId) -> Result<bool, JsErrorBox> {
    Ok(ask(state, rid, Ask::LastInTextNode)? == Answer::Flag(true))
}

#[op2(fast)]
pub fn op_rewriter_on_end_tag(state: &mut OpState, #[smi] rid: ResourceId, id: u32) -> Result<(), JsErrorBox> {
    ask(state, rid, Ask::OnEndTag(id)).map(drop)
}
