//! The source maps of a version: read when a place is first asked for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use selvedge_bundle::SourceMap;
use selvedge_edge::SourceMapper;
use selvedge_model::Place;

/// The largest source map that is read, in bytes: 32 MiB. Places in a larger one stay as V8 names them.
const SOURCE_MAP_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Where a source map is.
enum Text {
    Here(String),
    File(PathBuf),
}

struct Map {
    text: Text,
    parsed: OnceLock<Option<SourceMap>>,
}

/// The source maps of a version, by module.
#[derive(Default)]
pub struct SourceMaps {
    maps: HashMap<String, Map>,
}

impl Map {
    fn parsed(&self) -> Option<&SourceMap> {
        let parse = || match &self.text {
            Text::Here(text) => SourceMap::parse(text),
            Text::File(file) => {
                let small = std::fs::metadata(file).is_ok_and(|metadata| metadata.len() <= SOURCE_MAP_BYTES_MAX);
                let text = small.then(|| std::fs::read_to_string(file).ok())??;
                // A tenant's file: a parser that it brings to its end must not take the edge along.
                std::panic::catch_unwind(|| SourceMap::parse(&text)).ok()?
            }
        };
        self.parsed.get_or_init(parse).as_ref()
    }
}

impl SourceMaps {
    /// Adds the map of a module, as text.
    pub fn add_text(&mut self, module: &str, text: String) {
        self.maps.insert(module.to_owned(), Map { text: Text::Here(text), parsed: OnceLock::new() });
    }

    /// Adds the map of a module, as a file.
    pub fn add_file(&mut self, module: &str, file: PathBuf) {
        self.maps.insert(module.to_owned(), Map { text: Text::File(file), parsed: OnceLock::new() });
    }

    fn map_of(&self, file: &str) -> Option<&SourceMap> {
        self.maps.get(file.strip_prefix("file:///").unwrap_or(file))?.parsed()
    }
}

impl SourceMapper for SourceMaps {
    fn stack(&self, stack: &str) -> String {
        let mapped =
            selvedge_bundle::map_stack(stack, |file, line, column| self.map_of(file)?.original_position(line, column));
        // Frames of the runtime's own scripts tell the author nothing.
        let lines: Vec<&str> =
            mapped.lines().filter(|line| !line.contains("(ext:") && !line.contains("at ext:")).collect();
        lines.join("\n")
    }

    fn place(&self, place: Place) -> Place {
        let original = self.map_of(&place.file).and_then(|map| map.original_position(place.line, place.column));
        match original {
            Some(original) => Place {
                file: original.source,
                line: original.line,
                column: original.column,
                function: place.function.or(original.name),
            },
            None => place,
        }
    }
}
