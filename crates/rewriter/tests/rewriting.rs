//! The parser, driven as the runtime drives it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use selvedge_rewriter::{Answer, Ask, DocumentHandlers, ElementHandlers, Field, Kind, Place, Rewriter, Spec, Step};

fn on(selector: &str, element: u32) -> ElementHandlers {
    ElementHandlers { selector: selector.into(), element: Some(element), ..Default::default() }
}

/// Rewrites `chunks`; `handler` answers each step that waits for one.
fn rewrite(
    spec: &Spec,
    chunks: &[&str],
    mut handler: impl FnMut(&mut Rewriter, Step) -> Step,
) -> Result<String, String> {
    let mut rewriter = Rewriter::new(spec).unwrap();
    let mut output = Vec::new();
    let mut chunks = chunks.iter();
    let mut step = Step::Idle;
    loop {
        step = match step {
            Step::Idle => match chunks.next() {
                Some(chunk) => rewriter.write(chunk.as_bytes().to_vec()),
                None => rewriter.end(),
            },
            Step::Done => {
                output.extend(rewriter.take_output());
                return Ok(String::from_utf8(output).unwrap());
            }
            Step::Failed(reason) => return Err(reason),
            step => handler(&mut rewriter, step),
        };
        output.extend(rewriter.take_output());
    }
}

#[test]
fn handlers_see_and_change_their_elements() {
    let spec = Spec { elements: vec![on("a[href]", 1)], ..Default::default() };
    let html = rewrite(&spec, &["<p><a hr", "ef=x>t</", "a></p>"], |rewriter, step| {
        assert_eq!(step, Step::Handler(1));
        assert_eq!(rewriter.ask(Ask::Attribute("href".into())), Answer::Text(Some("x".into())));
        assert_eq!(rewriter.ask(Ask::SetAttribute("href".into(), "y".into())), Answer::Done);
        assert_eq!(rewriter.ask(Ask::Insert(Place::Append, "<&".into(), Kind::Text)), Answer::Done);
        assert!(matches!(rewriter.ask(Ask::SetAttribute("a b".into(), String::new())), Answer::Refused(_)));
        rewriter.proceed()
    });
    assert_eq!(html.unwrap(), "<p><a href=\"y\">t&lt;&amp;</a></p>");
}

#[test]
fn two_rewriters_take_turns() {
    let spec = Spec { elements: vec![on("b", 7)], ..Default::default() };
    let (mut first, mut second) = (Rewriter::new(&spec).unwrap(), Rewriter::new(&spec).unwrap());
    assert_eq!(first.write(b"<b>1</b>".to_vec()), Step::Handler(7));
    assert_eq!(first.ask(Ask::OnEndTag(8)), Answer::Done);
    assert_eq!(second.write(b"<b>2</b>".to_vec()), Step::Handler(7));
    assert_eq!(second.ask(Ask::OnEndTag(9)), Answer::Done);
    assert_eq!(first.proceed(), Step::Handler(8));
    assert_eq!(second.proceed(), Step::Handler(9));
    assert_eq!(first.ask(Ask::Insert(Place::Before, "+".into(), Kind::Text)), Answer::Done);
    assert_eq!(second.ask(Ask::Insert(Place::Before, "-".into(), Kind::Text)), Answer::Done);
    assert_eq!(second.proceed(), Step::Idle);
    assert_eq!(first.proceed(), Step::Idle);
    assert_eq!((first.end(), second.end()), (Step::Done, Step::Done));
    assert_eq!((first.take_output(), second.take_output()), (b"<b>1+</b>".to_vec(), b"<b>2-</b>".to_vec()));
}

#[test]
fn streamed_content_is_asked_for_when_its_turn_comes() {
    let spec = Spec { elements: vec![on("b", 1)], ..Default::default() };
    let mut pieces = vec![None, Some("two".to_owned()), Some("<one>".to_owned())];
    let html = rewrite(&spec, &["<b>x</b>"], |rewriter, step| match step {
        Step::Handler(1) => {
            assert_eq!(rewriter.ask(Ask::Stream(Place::Append, 5, Kind::Html)), Answer::Done);
            rewriter.proceed()
        }
        Step::Content(5) => rewriter.content(pieces.pop().unwrap()),
        step => panic!("{step:?}"),
    });
    assert_eq!(html.unwrap(), "<b>x<one>two</b>");
}

#[test]
fn a_rewriter_may_be_dropped_anywhere() {
    let spec = Spec {
        elements: vec![on("b", 1)],
        documents: vec![DocumentHandlers { end: Some(2), ..Default::default() }],
        ..Default::default()
    };
    for stop in 0..4 {
        let mut rewriter = Rewriter::new(&spec).unwrap();
        if stop > 0 {
            assert_eq!(rewriter.write(b"<b>x</b>".to_vec()), Step::Handler(1));
        }
        if stop > 1 {
            assert_eq!(rewriter.proceed(), Step::Idle);
        }
        if stop > 2 {
            assert_eq!(rewriter.end(), Step::Handler(2));
        }
    }
}

#[test]
fn a_document_cannot_hold_more_memory_than_allowed() {
    let spec = Spec { elements: vec![on("b", 1)], ..Default::default() };
    let chunk = format!("<b {}", "a".repeat(1 << 20));
    let chunks: Vec<&str> = (0..5).map(|index| if index == 0 { chunk.as_str() } else { &chunk[3..] }).collect();
    let reason = rewrite(&spec, &chunks, |rewriter, _| rewriter.proceed()).unwrap_err();
    assert_eq!(reason, "The memory limit has been exceeded.");
}

#[test]
fn wrong_asks_are_refused_and_late_ones_too() {
    let spec = Spec {
        documents: vec![DocumentHandlers { doctype: Some(1), ..Default::default() }],
        encoding: "latin1".into(),
        ..Default::default()
    };
    let mut rewriter = Rewriter::new(&spec).unwrap();
    assert_eq!(rewriter.write(b"<!doctype html>".to_vec()), Step::Handler(1));
    assert_eq!(rewriter.ask(Ask::Get(Field::Name)), Answer::Text(Some("html".into())));
    assert!(matches!(rewriter.ask(Ask::Remove), Answer::Refused(_)));
    assert_eq!(rewriter.proceed(), Step::Idle);
    assert!(matches!(rewriter.ask(Ask::Get(Field::Name)), Answer::Refused(_)));
    assert!(matches!(rewriter.end(), Step::Failed(_)));
    assert!(Rewriter::new(&Spec { encoding: "utf-16le".into(), ..Default::default() }).is_err());
    assert!(Rewriter::new(&Spec { elements: vec![on("a[", 1)], ..Default::default() }).is_err());
}
