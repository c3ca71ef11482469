//! Dynamic imports whose specifier is computed: `` import(`./lang/${name}.js`) ``.
//!
//! As with esbuild, whose rules these are: where the specifier is a chain of texts and expressions that begins with `./`
//! or `../`, every file that it can mean is bundled, and the import chooses among them when it runs. An expression
//! stands for any text without a slash, and for any path where a slash is before it. Any other is left to the runtime,
//! which has only the modules that were uploaded under their own names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fast_glob::glob_match;
use oxc::allocator::Allocator;
use oxc::ast::ast::{Expression, ImportExpression};
use oxc::ast_visit::{Visit, walk};
use oxc::parser::Parser;
use oxc::span::{GetSpan, SourceType};
use oxc::syntax::operator::BinaryOperator;

use crate::additional;
use crate::diagnostics::Reader;
use crate::error::{BundleError, Diagnostic};
use crate::rules::normalized;

/// How many files one import may choose among.
const FILES_MAX: usize = 2000;

/// How many warnings one file gets.
const WARNINGS_MAX: usize = 10;

/// What the bundler makes modules of, beside what the rules match.
const EXTENSIONS: [&str; 9] = ["tsx", "ts", "jsx", "js", "mts", "mjs", "cts", "cjs", "json"];

/// Comments by which an author says that an import is meant for the runtime.
const IGNORED: [&str; 3] = ["@vite-ignore", "webpackIgnore", "turbopackIgnore"];

/// A file with its computed imports.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) code: &'a str,
    pub(crate) syntax: SourceType,
    /// Whether modules were uploaded under their own names: an import that nothing here answers may mean one.
    pub(crate) finds_modules: bool,
    /// Whether its author can be told what to change.
    pub(crate) own: bool,
}

#[derive(Default)]
pub(crate) struct Expanded {
    /// The file with its computed imports replaced, if it has any that could be. Its lines stay where they are.
    pub(crate) code: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// One part of a computed specifier.
enum Part {
    Text(String),
    Any,
}

/// A computed import, by the offsets of it and of its specifier.
struct Found {
    whole: (usize, usize),
    specifier: (usize, usize),
    parts: Vec<Part>,
    has_options: bool,
}

/// Why a computed import is left to the runtime.
enum Problem {
    /// Nothing shows which files it can mean.
    Unknown,
    /// It is about a module of the runtime.
    Runtime,
    NoFile,
    TooMany,
}

#[derive(Default)]
struct Finder {
    found: Vec<Found>,
}

/// Replaces the computed imports of a file. `fits` says which other files, by path, can be imported.
pub(crate) fn expand(source: &Source<'_>, reader: &Reader, fits: impl Fn(&str) -> bool) -> Expanded {
    let mut expanded = Expanded::default();
    if !may_import(source.code) {
        return expanded;
    }
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source.code, source.syntax).parse();
    let mut finder = Finder::default();
    finder.visit_program(&parsed.program);

    let mut code = String::new();
    let mut functions = String::new();
    let mut end = 0;
    for (index, found) in finder.found.iter().enumerate() {
        let text = |(from, to): (usize, usize)| source.code.get(from..to).unwrap_or_default();
        let before = text((found.whole.0, found.specifier.0));
        if found.has_options || IGNORED.iter().any(|comment| before.contains(comment)) {
            continue;
        }
        let files = match candidates(source.path, &found.parts, &fits) {
            Ok(files) if !files.is_empty() => files,
            other => {
                let problem = other.err().unwrap_or(Problem::NoFile);
                expanded.warn(source, reader, found, &problem);
                continue;
            }
        };
        let name = format!("__selvedge_import_{index}");
        code.push_str(text((end, found.whole.0)));
        // What stood around the specifier may have been lines of their own.
        let lines = |text: &str| "\n".repeat(text.matches('\n').count());
        let after = text((found.specifier.1, found.whole.1));
        let _ = write!(code, "{name}({}{}{})", lines(before), text(found.specifier), lines(after));
        end = found.whole.1;
        functions.push_str(&function(&name, &files, source.finds_modules));
    }
    if end > 0 {
        code.push_str(source.code.get(end..).unwrap_or_default());
        // What it is called by begins with a name, so that no line before it goes on in it; functions may come later.
        code.push_str("\n;");
        code.push_str(&functions);
        expanded.code = Some(code);
    }
    expanded
}

/// Whether a dynamic import is possible at all: most files have none, and need not be parsed for it.
fn may_import(code: &str) -> bool {
    code.match_indices("import").any(|(at, word)| {
        let rest = code.get(at + word.len()..).unwrap_or_default().trim_start();
        ["(", "/*", "//"].iter().any(|start| rest.starts_with(start))
    })
}

/// The specifiers of the files that a computed one can mean.
fn candidates(importer: &Path, parts: &[Part], fits: impl Fn(&str) -> bool) -> Result<Vec<String>, Problem> {
    let Some(Part::Text(first)) = parts.first() else {
        return Err(Problem::Unknown);
    };
    if !(first.starts_with("./") || first.starts_with("../")) {
        let has_scheme = ["node:", "cloudflare:", "workerd:"].iter().any(|scheme| first.starts_with(scheme));
        return Err(if has_scheme { Problem::Runtime } else { Problem::Unknown });
    }
    let (prefix, rest) = first.rsplit_once('/').unwrap_or((first.as_str(), ""));
    let glob = glob(rest, parts.get(1..).unwrap_or_default());
    let Some(folder) = importer.parent().map(|folder| normalized(&folder.join(prefix))) else {
        return Err(Problem::NoFile);
    };
    let files: BTreeMap<String, PathBuf> = match additional::files(&folder) {
        Ok(files) => files,
        Err(BundleError::TooManyFiles { .. }) => return Err(Problem::TooMany),
        Err(_) => return Err(Problem::NoFile),
    };
    let matching = files.into_keys().filter(|name| glob_match(&glob, name) && can_be_imported(name, &fits));
    let specifiers: Vec<String> = matching.map(|name| format!("{prefix}/{name}")).collect();
    if specifiers.len() > FILES_MAX { Err(Problem::TooMany) } else { Ok(specifiers) }
}

fn can_be_imported(name: &str, fits: impl Fn(&str) -> bool) -> bool {
    let is_declaration = [".d.ts", ".d.mts", ".d.cts"].iter().any(|end| name.ends_with(end));
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    fits(name) || (!is_declaration && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)))
}

/// The glob of a specifier from the last slash of its first text on.
fn glob(rest: &str, parts: &[Part]) -> String {
    let mut glob = escaped(rest);
    let mut after_slash = rest.is_empty();
    let mut after_any = false;
    for part in parts {
        match part {
            Part::Text(text) => {
                glob.push_str(&escaped(text));
                (after_slash, after_any) = (text.ends_with('/'), false);
            }
            Part::Any if after_any => {}
            Part::Any => {
                glob.push_str(if after_slash { "**/*" } else { "*" });
                (after_slash, after_any) = (false, true);
            }
        }
    }
    glob
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '!' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// The function that an import becomes a call of, on one line.
fn function(name: &str, files: &[String], finds_modules: bool) -> String {
    // The file may have a `String` of its own.
    let mut text = format!("function {name}(path) {{ switch (`${{path}}`) {{ ");
    for file in files {
        // Names of files are printed as JavaScript has them: Rust's own escapes are others.
        let literal = literal(file);
        let _ = write!(text, "case {literal}: return import({literal}); ");
    }
    if finds_modules {
        text.push_str("default: return import(path); } }\n");
    } else {
        text.push_str("default: return Promise.reject(new Error(\"Module not found in bundle: \" + path)); } }\n");
    }
    text
}

/// `text` as a string of JavaScript.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => literal.extend(['\\', letter]),
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                let _ = write!(literal, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => literal.push(letter),
        }
    }
    literal.push('"');
    literal
}

/// The parts of a specifier, in order.
fn collect(expression: &Expression<'_>, parts: &mut Vec<Part>) {
    match expression.get_inner_expression() {
        Expression::StringLiteral(string) => add_text(string.value.as_str(), parts),
        Expression::TemplateLiteral(template) => {
            for (index, text) in template.quasis.iter().enumerate() {
                add_text(text.value.cooked.as_ref().unwrap_or(&text.value.raw).as_str(), parts);
                if let Some(expression) = template.expressions.get(index) {
                    collect(expression, parts);
                }
            }
        }
        Expression::BinaryExpression(sum) if sum.operator == BinaryOperator::Addition => {
            collect(&sum.left, parts);
            collect(&sum.right, parts);
        }
        _ => parts.push(Part::Any),
    }
}

fn add_text(more: &str, parts: &mut Vec<Part>) {
    match parts.last_mut() {
        _ if more.is_empty() => {}
        Some(Part::Text(text)) => text.push_str(more),
        _ => parts.push(Part::Text(more.to_owned())),
    }
}

// === impl Finder ===

impl<'a> Visit<'a> for Finder {
    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        let is_literal = match &import.source {
            Expression::StringLiteral(_) => true,
            Expression::TemplateLiteral(template) => template.expressions.is_empty(),
            _ => false,
        };
        if is_literal {
            walk::walk_import_expression(self, import);
            return;
        }
        let mut parts = Vec::new();
        collect(&import.source, &mut parts);
        // What is imported within its specifier stays as it is.
        let offsets = |span: oxc::span::Span| (span.start as usize, span.end as usize);
        self.found.push(Found {
            whole: offsets(import.span),
            specifier: offsets(import.source.span()),
            parts,
            has_options: import.options.is_some(),
        });
    }
}

// === impl Expanded ===

impl Expanded {
    /// Says of an import that it is left as it is, where that is likely not what its author means.
    fn warn(&mut self, source: &Source<'_>, reader: &Reader, found: &Found, problem: &Problem) {
        if source.finds_modules || !source.own || self.warnings.len() == WARNINGS_MAX {
            return;
        }
        let message = match problem {
            Problem::Runtime => return,
            Problem::Unknown => "what this imports is known only when it runs, so nothing is bundled for it",
            Problem::NoFile => "no file matches this computed import, so nothing is bundled for it",
            Problem::TooMany => "too many files lie where this computed import looks, so nothing is bundled for it",
        };
        let hint = "begin the specifier with \"./\" and a folder, or set \"find_additional_modules\" with \"rules\" \
                    for the files, which uploads them under their own names";
        let diagnostic = Diagnostic {
            hint: Some(hint.to_owned()),
            ..reader.in_text(message, source.path, source.code, found.whole.0)
        };
        self.warnings.push(diagnostic.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(specifier: &str) -> Vec<Part> {
        let code = format!("import({specifier})");
        let allocator = Allocator::default();
        let parsed = Parser::new(&allocator, &code, SourceType::mjs()).parse();
        let mut finder = Finder::default();
        finder.visit_program(&parsed.program);
        finder.found.pop().map(|found| found.parts).unwrap_or_default()
    }

    fn glob_of(specifier: &str) -> Option<String> {
        let parts = parts(specifier);
        let Some(Part::Text(first)) = parts.first() else {
            return None;
        };
        let (_, rest) = first.rsplit_once('/')?;
        Some(glob(rest, &parts[1..]))
    }

    #[test]
    fn an_expression_after_a_slash_stands_for_a_path_and_else_for_a_part_of_a_name() {
        for (specifier, expected) in [
            ("`./lang/${name}.js`", "**/*.js"),
            ("'./lang/' + name + '.js'", "**/*.js"),
            ("`./lang/page-${name}.js`", "page-*.js"),
            ("`./lang/${a}${b}.js`", "**/*.js"),
            ("`./${area}/x-${name}.js`", "**/*/x-*.js"),
            ("`./a/[${id}].js`", "\\[*\\].js"),
        ] {
            assert_eq!(glob_of(specifier).as_deref(), Some(expected), "{specifier}");
        }
        assert_eq!(glob_of("name"), None);
    }

    #[test]
    fn a_specifier_that_is_one_literal_is_not_computed() {
        assert!(parts("'./a.js'").is_empty());
        assert!(parts("`./a.js`").is_empty());
        assert_eq!(glob_of("'./a' + '.js'").as_deref(), Some("a.js"));
    }

    #[test]
    fn an_import_of_several_lines_leaves_those_below_it_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.js"), "").unwrap();
        let path = folder.path().join("index.js");
        let code = "const m = import (\n  // one of ours\n  `./${name}.js`,\n);\nthrow 1;\n";
        let source = Source { path: &path, code, syntax: SourceType::mjs(), finds_modules: false, own: true };
        let expanded = expand(&source, &Reader::new(folder.path().to_path_buf()), |_| false).code.unwrap();
        assert!(expanded.contains("case \"./a.js\": return import(\"./a.js\");"), "{expanded}");
        assert_eq!(expanded.lines().position(|line| line == "throw 1;"), Some(4), "{expanded}");
    }

    #[test]
    fn names_are_printed_as_javascript() {
        assert_eq!(literal("./a\"b\\\u{2028}ü.js"), "\"./a\\\"b\\\\\\u{2028}ü.js\"");
    }
}
