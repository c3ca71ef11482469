//! What handlers can ask of the part of the document that they are given.

use lol_html::html_content::{
    Comment, ContentType, Doctype, DocumentEnd, Element, EndTag, StreamingHandler, StreamingHandlerSink, TextChunk,
};

use crate::fiber::suspend;
use crate::rewriter::{Command, Event, Stopped, handle};

/// A piece of text that a unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The name of a tag or of a document type.
    Name,
    /// Of a comment or a chunk of text.
    Text,
    PublicId,
    SystemId,
    NamespaceUri,
}

/// Where content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Before,
    After,
    Prepend,
    Append,
    Replace,
    Inner,
}

/// One thing asked of a unit.
#[derive(Debug)]
pub enum Ask {
    Get(Field),
    Set(Field, String),
    Attribute(String),
    HasAttribute(String),
    SetAttribute(String, String),
    RemoveAttribute(String),
    /// Names and values in turn.
    Attributes,
    Insert(Place, String, Kind),
    /// Content that is asked for under this number once its turn comes: [`crate::Step::Content`].
    Stream(Place, u32, Kind),
    Remove,
    RemoveAndKeepContent,
    Removed,
    LastInTextNode,
    /// The handler of this number is due at the end tag; it takes the place of one set before.
    OnEndTag(u32),
}

/// [`ContentType`], which says nothing of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Html,
    Text,
}

impl From<Kind> for ContentType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Html => Self::Html,
            Kind::Text => Self::Text,
        }
    }
}

/// What a unit says to an [`Ask`].
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Text(Option<String>),
    Flag(bool),
    List(Vec<String>),
    /// The unit cannot do that, and why.
    Refused(String),
}

impl Answer {
    fn of<E: std::fmt::Display>(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::Refused(error.to_string()),
        }
    }

    fn foreign() -> Self {
        Self::Refused("this part of a document has no such thing".to_owned())
    }
}

/// A part of the document that handlers are given.
pub(crate) trait Unit {
    fn answer(&mut self, ask: Ask) -> Answer;
}

/// Content that arrives piece by piece: the parser waits for each.
struct Streamed {
    id: u32,
    kind: Kind,
}

impl StreamingHandler for Streamed {
    fn write_all(
        self: Box<Self>,
        sink: &mut StreamingHandlerSink<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        loop {
            match suspend(Event::Content(self.id)) {
                Command::Content(Some(text)) => sink.write_str(&text, self.kind.into()),
                Command::Content(None) => return Ok(()),
                _ => return Err(Box::new(Stopped)),
            }
        }
    }
}

/// The asks that all units with mutations have in common.
macro_rules! mutate {
    ($unit:ident, $ask:ident) => {
        match $ask {
            Ask::Insert(Place::Before, text, kind) => $unit.before(&text, kind.into()),
            Ask::Insert(Place::After, text, kind) => $unit.after(&text, kind.into()),
            Ask::Insert(Place::Replace, text, kind) => $unit.replace(&text, kind.into()),
            Ask::Stream(Place::Before, id, kind) => $unit.streaming_before(Box::new(Streamed { id, kind })),
            Ask::Stream(Place::After, id, kind) => $unit.streaming_after(Box::new(Streamed { id, kind })),
            Ask::Stream(Place::Replace, id, kind) => $unit.streaming_replace(Box::new(Streamed { id, kind })),
            Ask::Remove => $unit.remove(),
            Ask::Removed => return Answer::Flag($unit.removed()),
            _ => return Answer::foreign(),
        }
    };
}

impl Unit for Element<'_, '_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Get(Field::Name) => return Answer::Text(Some(self.tag_name())),
            Ask::Get(Field::NamespaceUri) => return Answer::Text(Some(self.namespace_uri().to_owned())),
            Ask::Set(Field::Name, name) => return Answer::of(self.set_tag_name(&name)),
            Ask::Attribute(name) => return Answer::Text(self.get_attribute(&name)),
            Ask::HasAttribute(name) => return Answer::Flag(self.has_attribute(&name)),
            Ask::SetAttribute(name, value) => return Answer::of(self.set_attribute(&name, &value)),
            Ask::RemoveAttribute(name) => self.remove_attribute(&name),
            Ask::Attributes => {
                let pairs = self.attributes().iter().flat_map(|attribute| [attribute.name(), attribute.value()]);
                return Answer::List(pairs.collect());
            }
            Ask::Insert(Place::Prepend, text, kind) => self.prepend(&text, kind.into()),
            Ask::Insert(Place::Append, text, kind) => self.append(&text, kind.into()),
            Ask::Insert(Place::Inner, text, kind) => self.set_inner_content(&text, kind.into()),
            Ask::Stream(Place::Prepend, id, kind) => self.streaming_prepend(Box::new(Streamed { id, kind })),
            Ask::Stream(Place::Append, id, kind) => self.streaming_append(Box::new(Streamed { id, kind })),
            Ask::Stream(Place::Inner, id, kind) => self.streaming_set_inner_content(Box::new(Streamed { id, kind })),
            Ask::RemoveAndKeepContent => self.remove_and_keep_content(),
            Ask::OnEndTag(id) => match self.end_tag_handlers() {
                Some(handlers) => {
                    handlers.clear();
                    handlers.push(Box::new(move |end_tag: &mut EndTag<'_>| handle(id, end_tag)));
                }
                None => return Answer::Refused("No end tag.".to_owned()),
            },
            ask => mutate!(self, ask),
        }
        Answer::Done
    }
}

impl Unit for EndTag<'_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Get(Field::Name) => return Answer::Text(Some(self.name())),
            Ask::Set(Field::Name, name) => self.set_name(name),
            ask => mutate!(self, ask),
        }
        Answer::Done
    }
}

impl Unit for TextChunk<'_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Get(Field::Text) => return Answer::Text(Some(self.as_str().to_owned())),
            Ask::LastInTextNode => return Answer::Flag(self.last_in_text_node()),
            ask => mutate!(self, ask),
        }
        Answer::Done
    }
}

impl Unit for Comment<'_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Get(Field::Text) => return Answer::Text(Some(self.text())),
            Ask::Set(Field::Text, text) => return Answer::of(self.set_text(&text)),
            ask => mutate!(self, ask),
        }
        Answer::Done
    }
}

impl Unit for Doctype<'_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Get(Field::Name) => Answer::Text(self.name()),
            Ask::Get(Field::PublicId) => Answer::Text(self.public_id()),
            Ask::Get(Field::SystemId) => Answer::Text(self.system_id()),
            _ => Answer::foreign(),
        }
    }
}

impl Unit for DocumentEnd<'_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Insert(Place::Append, text, kind) => {
                self.append(&text, kind.into());
                Answer::Done
            }
            _ => Answer::foreign(),
        }
    }
}
