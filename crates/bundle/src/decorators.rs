//! Decorators that the compiler left in its output.
//!
//! TypeScript's own (`experimentalDecorators`) are compiled away. Those of the language's next edition are not, and
//! V8 does not know them: without this check such a worker would fail when it is loaded, with V8's bare
//! "Invalid or unexpected token".

use oxc::allocator::Allocator;
use oxc::ast::ast::Decorator;
use oxc::ast_visit::Visit;
use oxc::parser::Parser;
use oxc::span::SourceType;
use rolldown_common::OutputChunk;

use crate::source_map::{Position, SourceMap};

/// How many to report of one build.
const REPORTED_MAX: usize = 10;

/// Where the worker's files have decorators that would reach V8.
pub(crate) fn find(chunk: &OutputChunk) -> Vec<Position> {
    // The printer begins a line with each; only code that looks like it is parsed again.
    let suspect = chunk.code.lines().any(|line| line.trim_start().starts_with('@'));
    let (true, Some(map)) = (suspect, &chunk.map) else {
        return Vec::new();
    };
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &chunk.code, SourceType::mjs()).parse();
    let mut found = Found(Vec::new());
    found.visit_program(&parsed.program);

    let map = SourceMap::from_map(map.clone());
    let places = found.0.into_iter().filter_map(|offset| {
        let before = chunk.code.get(..offset)?;
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(start..)?.encode_utf16().count() + 1;
        let name = map.original_position(u32::try_from(line).ok()?, u32::try_from(column).ok()?)?;
        Some(Position { column: name.column.saturating_sub(1).max(1), ..name })
    });
    places.take(REPORTED_MAX).collect()
}

struct Found(Vec<usize>);

impl<'a> Visit<'a> for Found {
    fn visit_decorator(&mut self, decorator: &Decorator<'a>) {
        // Past the `@`: source maps have the place of the name.
        self.0.push(decorator.span.start as usize + 1);
    }
}
