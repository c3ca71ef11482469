//! From places in a bundled module back to the files it was made of.
//!
//! Lines and columns are counted from 1 on both sides, columns in UTF-16 code units, as V8 prints them.

use oxc_sourcemap::Token;

/// A place in an original file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// As the map names it: relative to the root that was bundled.
    pub source: String,
    pub line: u32,
    pub column: u32,
    /// What the original file calls the identifier at this place, where the map says.
    pub name: Option<String>,
}

/// A parsed source map. Parse once where several places are looked up.
#[derive(Debug)]
pub struct SourceMap {
    map: oxc_sourcemap::SourceMap,
    /// By generated line, then column.
    tokens: Vec<Token>,
}

impl SourceMap {
    /// `None` if `json` is no source map of version 3.
    pub fn parse(json: &str) -> Option<Self> {
        oxc_sourcemap::SourceMap::from_json_string(json).ok().map(Self::from_map)
    }

    pub(crate) fn from_map(map: oxc_sourcemap::SourceMap) -> Self {
        let mut tokens: Vec<Token> = map.get_tokens().collect();
        tokens.sort_by_key(|token| (token.get_dst_line(), token.get_dst_col()));
        Self { map, tokens }
    }

    /// Where the code at `line` and `column` of the generated module came from; `None` for code of the bundler's own.
    pub fn original_position(&self, line: u32, column: u32) -> Option<Position> {
        let wanted = (line.checked_sub(1)?, column.checked_sub(1)?);
        let after = self.tokens.partition_point(|token| (token.get_dst_line(), token.get_dst_col()) <= wanted);
        let token = self.tokens.get(after.checked_sub(1)?)?;
        if token.get_dst_line() != wanted.0 {
            return None;
        }
        Some(Position {
            source: self.map.get_source(token.get_source_id()?)?.to_string(),
            line: token.get_src_line() + 1,
            column: token.get_src_col() + 1,
            name: token.get_name_id().and_then(|id| self.map.get_name(id)).map(|name| name.to_string()),
        })
    }
}

/// [`SourceMap::original_position`] for one look-up.
pub fn original_position(map_json: &str, line: u32, column: u32) -> Option<Position> {
    SourceMap::parse(map_json)?.original_position(line, column)
}

/// Rewrites the places in a stack as V8 prints it, `at f (module.js:3:14)` and `at module.js:3:14` with their
/// variants, to where `lookup(module, line, column)` says they came from. What it knows nothing about stays.
pub fn map_stack(stack: &str, mut lookup: impl FnMut(&str, u32, u32) -> Option<Position>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in stack.split('\n') {
        lines.push(map_line(line, &mut lookup).unwrap_or_else(|| line.to_owned()));
    }
    lines.join("\n")
}

fn map_line(line: &str, lookup: &mut impl FnMut(&str, u32, u32) -> Option<Position>) -> Option<String> {
    let frame = line.trim_start().strip_prefix("at ")?;
    let place = match frame.trim_end().strip_suffix(')') {
        Some(open) => open.rsplit_once('(')?.1,
        None => frame.trim_end().trim_start_matches("async "),
    };
    let (rest, column) = place.rsplit_once(':')?;
    let (module, line_number) = rest.rsplit_once(':')?;
    let origin = lookup(module, line_number.parse().ok()?, column.parse().ok()?)?;
    let start = line.rfind(place)?;
    let (before, after) = (line.get(..start)?, line.get(start + place.len()..)?);
    let Position { source, line, column, .. } = origin;
    Some(format!("{before}{source}:{line}:{column}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line 1 column 1 is `a.ts:1:1`, line 1 column 10 is `a.ts:3:5` with the name `f`.
    const MAP: &str =
        r#"{"version":3,"sources":["a.ts"],"sourcesContent":["x"],"names":["f"],"mappings":"AAAA,SAEIA"}"#;

    fn fixed(module: &str, line: u32, column: u32) -> Option<Position> {
        (module == "index.js").then(|| Position {
            source: "src/a.ts".to_owned(),
            line: line + 100,
            column: column + 1,
            name: None,
        })
    }

    #[test]
    fn a_place_belongs_to_the_mapping_at_or_before_it() {
        let map = SourceMap::parse(MAP).unwrap();
        let first = map.original_position(1, 5).unwrap();
        assert_eq!((first.line, first.column, first.name), (1, 1, None));
        let second = map.original_position(1, 40).unwrap();
        assert_eq!((second.line, second.column), (3, 5));
        assert_eq!(second.name.as_deref(), Some("f"));
        assert_eq!(map.original_position(2, 1), None);
        assert_eq!(map.original_position(0, 0), None);
    }

    #[test]
    fn what_is_no_source_map_gives_nothing() {
        assert_eq!(original_position("{", 1, 1), None);
        assert_eq!(original_position("{}", 1, 1), None);
    }

    #[test]
    fn every_form_of_a_stack_line_is_rewritten() {
        let stack = "TypeError: no (index.js:1:1)\n    at f (index.js:1:2)\n    at index.js:3:4\n    \
             at async g (index.js:5:6)\n    at async index.js:7:8\n    at new C.d [as e] (index.js:9:1)";
        let expected = "TypeError: no (index.js:1:1)\n    at f (src/a.ts:101:3)\n    at src/a.ts:103:5\n    \
             at async g (src/a.ts:105:7)\n    at async src/a.ts:107:9\n    at new C.d [as e] (src/a.ts:109:2)";
        assert_eq!(map_stack(stack, fixed), expected);
    }

    #[test]
    fn what_is_unknown_stays() {
        let stack =
            "Error: x\n    at async Promise.all (index 0)\n    at f (<anonymous>)\n    at node:internal:1:2\n    at";
        assert_eq!(map_stack(stack, fixed), stack);
    }
}
