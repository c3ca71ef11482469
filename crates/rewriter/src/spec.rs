//! What is to be rewritten: selectors and numbers of handlers.

use encoding_rs::Encoding;
use lol_html::{AsciiCompatibleEncoding, Selector};

/// Why a rewriter cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("{0}")]
    Selector(String),
    #[error("Unknown character encoding has been provided.")]
    UnknownEncoding,
    #[error("Expected ASCII-compatible encoding.")]
    Encoding,
    #[error("no stack for the HTML parser")]
    Stack(#[source] std::io::Error),
}

/// Handlers of elements that a selector matches, by number.
#[derive(Debug, Clone, Default)]
pub struct ElementHandlers {
    pub selector: String,
    pub element: Option<u32>,
    pub comments: Option<u32>,
    pub text: Option<u32>,
}

/// Handlers of the document as a whole, by number.
#[derive(Debug, Clone, Copy, Default)]
pub struct DocumentHandlers {
    pub doctype: Option<u32>,
    pub comments: Option<u32>,
    pub text: Option<u32>,
    pub end: Option<u32>,
}

/// What is to be rewritten. Handlers of one kind run in the order given.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    pub elements: Vec<ElementHandlers>,
    pub documents: Vec<DocumentHandlers>,
    /// A label of https://encoding.spec.whatwg.org/#names-and-labels; empty is UTF-8.
    pub encoding: String,
}

/// Says what is wrong with a selector, if anything.
///
/// # Errors
///
/// [`SpecError::Selector`].
pub fn check_selector(selector: &str) -> Result<(), SpecError> {
    parse_selector(selector).map(drop)
}

pub(crate) fn parse_selector(selector: &str) -> Result<Selector, SpecError> {
    selector.parse().map_err(|error: lol_html::errors::SelectorError| SpecError::Selector(error.to_string()))
}

pub(crate) fn parse_encoding(label: &str) -> Result<AsciiCompatibleEncoding, SpecError> {
    if label.is_empty() {
        return Ok(AsciiCompatibleEncoding::utf_8());
    }
    let encoding = Encoding::for_label_no_replacement(label.as_bytes()).ok_or(SpecError::UnknownEncoding)?;
    AsciiCompatibleEncoding::new(encoding).ok_or(SpecError::Encoding)
}
