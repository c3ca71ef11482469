//! `_headers`: headers that rules set on, and remove from, what is served.

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::pattern::{Pattern, Target};
use crate::rule_url::RuleUrl;
use crate::set::Notice;
use crate::{HEADER_RULES_MAX, RULE_LINE_CHARS_MAX};

pub(crate) const FILE_NAME: &str = "_headers";

/// What all the headers that rules set on one answer may take, in bytes: 64 KiB.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// How many headers one rule sets, and how many it removes.
const HEADERS_PER_RULE_MAX: usize = 500;
/// What a header takes besides its name and value, in bytes.
const FRAMING_BYTES: usize = 4;

/// Headers that frame a message or belong to one connection; a rule that set them could corrupt both.
const RESERVED_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-range",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderRules(Vec<HeaderRule>);

#[derive(Clone, Debug)]
struct HeaderRule {
    pattern: Pattern,
    set: Vec<(HeaderName, String)>,
    unset: Vec<HeaderName>,
}

/// A rule whose path was read and whose headers are being read.
struct Draft {
    path: String,
    line: String,
    set: Vec<(HeaderName, String)>,
    unset: Vec<HeaderName>,
}

struct Parser {
    drafts: Vec<Draft>,
    /// Where a path already has a rule; a later rule for it takes the earlier one's place.
    places: HashMap<String, usize>,
    current: Option<Draft>,
    /// After a path that was refused: its headers are passed over in silence.
    skipping: bool,
    notices: Vec<Notice>,
}

// === impl HeaderRules ===

impl HeaderRules {
    pub(crate) fn parse(text: &str) -> (Self, Vec<Notice>) {
        let mut parser = Parser::new();
        for (index, line) in text.lines().enumerate() {
            if !parser.take_line(index + 1, line.trim()) {
                let skipped = text.lines().count() - index;
                parser.notices.push(Notice::of_file(
                    FILE_NAME,
                    format!("Maximum number of rules supported is {HEADER_RULES_MAX}. Skipping remaining {skipped} lines of file."),
                ));
                break;
            }
        }
        parser.finish()
    }

    /// Applies every rule that matches, in order: a rule's removals, then its headers. The first rule to set a header
    /// replaces what was there; the ones after it add to it. A header that there is no room for any more is left out.
    pub(crate) fn apply(&self, target: Target<'_>, headers: &mut HeaderMap) {
        let mut set_by_rules: HashSet<&str> = HashSet::new();
        let mut room = HEADERS_BYTES_MAX;
        for rule in &self.0 {
            let Some(captures) = rule.pattern.captures(target) else { continue };
            let bindings = rule.pattern.bindings(&captures);
            for name in &rule.unset {
                headers.remove(name);
            }
            for (name, template) in &rule.set {
                let framing = name.as_str().len() + FRAMING_BYTES;
                let text = room.checked_sub(framing).and_then(|room| bindings.substitute(template, room));
                let Some(text) = text else { continue };
                let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { continue };
                room -= framing + text.len();
                if set_by_rules.insert(name.as_str()) {
                    headers.insert(name, value);
                } else {
                    headers.append(name, value);
                }
            }
        }
    }
}

// === impl Parser ===

impl Parser {
    fn new() -> Self {
        Self { drafts: Vec::new(), places: HashMap::new(), current: None, skipping: false, notices: Vec::new() }
    }

    /// Returns whether to go on: `false` once there are too many rules.
    fn take_line(&mut self, number: usize, line: &str) -> bool {
        if line.is_empty() || line.starts_with('#') {
            return true;
        }
        if line.chars().count() > RULE_LINE_CHARS_MAX {
            self.notices.push(Notice::of_file(
                FILE_NAME,
                format!("Ignoring line {number} as it exceeds the maximum allowed length of {RULE_LINE_CHARS_MAX}."),
            ));
            return true;
        }
        if is_path(line) {
            if self.drafts.len() >= HEADER_RULES_MAX {
                return false;
            }
            self.close(number);
            self.take_path(number, line);
        } else if !self.skipping {
            let outcome = match line.split_once(':') {
                Some((name, value)) => self.take_header(name, value),
                None => self.take_removal(line),
            };
            if let Err(message) = outcome {
                self.notices.push(Notice::of_line(FILE_NAME, number, line, message));
            }
        }
        true
    }

    fn take_path(&mut self, number: usize, line: &str) {
        let checked = RuleUrl::HeadersPath.normalize(line).and_then(check_splats);
        self.skipping = checked.is_err();
        match checked {
            Ok(path) => {
                self.current = Some(Draft { path, line: line.into(), set: Vec::new(), unset: Vec::new() });
            }
            Err(message) => self.notices.push(Notice::of_line(FILE_NAME, number, line, message)),
        }
    }

    fn take_removal(&mut self, line: &str) -> Result<(), String> {
        let Some(draft) = &mut self.current else {
            return Err("Expected a path beginning with at least one forward-slash".into());
        };
        let name = line.strip_prefix("! ").ok_or("Expected a colon-separated header pair (e.g. name: value)")?;
        if draft.unset.len() >= HEADERS_PER_RULE_MAX {
            return Err(too_many());
        }
        draft.unset.push(header_name(name.trim())?);
        Ok(())
    }

    fn take_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name.contains(' ') {
            return Err("Header name cannot include spaces".into());
        }
        if name.is_empty() {
            return Err("No header name specified".into());
        }
        if value.is_empty() {
            return Err("No header value specified".into());
        }
        let draft = self.current.as_mut().ok_or_else(|| format!("Path should come before header ({name}: {value})"))?;
        let name = header_name(&name)?;
        if HeaderValue::from_bytes(value.as_bytes()).is_err() {
            return Err("Header value cannot include control characters".into());
        }
        let is_full = draft.set.len() >= HEADERS_PER_RULE_MAX;
        match draft.set.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.push_str(", ");
                known.push_str(value);
            }
            None if is_full => return Err(too_many()),
            None => draft.set.push((name, value.into())),
        }
        Ok(())
    }

    /// Ends the rule being read, if there is one.
    fn close(&mut self, number: usize) {
        let Some(draft) = self.current.take() else { return };
        if draft.set.is_empty() && draft.unset.is_empty() {
            let message = "No headers specified".into();
            self.notices.push(Notice::of_line(FILE_NAME, number, &draft.line, message));
            return;
        }
        let place = self.places.get(&draft.path).and_then(|place| self.drafts.get_mut(*place));
        match place {
            Some(earlier) => *earlier = draft,
            None => {
                self.places.insert(draft.path.clone(), self.drafts.len());
                self.drafts.push(draft);
            }
        }
    }

    fn finish(mut self) -> (HeaderRules, Vec<Notice>) {
        self.close(0);
        let mut rules = Vec::with_capacity(self.drafts.len());
        for draft in self.drafts {
            match Pattern::new(&draft.path) {
                Ok(pattern) => rules.push(HeaderRule { pattern, set: draft.set, unset: draft.unset }),
                Err(message) => self.notices.push(Notice::of_line(FILE_NAME, 0, &draft.line, message)),
            }
        }
        (HeaderRules(rules), self.notices)
    }
}

/// A path, or something with a scheme.
fn is_path(line: &str) -> bool {
    let before_scheme = line.split_once("://").map(|(before, _)| before);
    line.starts_with('/')
        || before_scheme.is_some_and(|before| !before.is_empty() && !before.contains(char::is_whitespace))
}

fn check_splats(path: String) -> Result<String, String> {
    let splats = path.matches('*').count();
    if splats > 1 {
        return Err(format!(
            "Only one wildcard is allowed per rule. Use a named placeholder (e.g. :project) instead. Skipping {path}."
        ));
    }
    let names_splat = path.match_indices(":splat").any(|(at, name)| {
        let after = path.get(at + name.len()..).unwrap_or_default();
        !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
    });
    if splats > 0 && names_splat {
        return Err(format!(
            "Cannot combine a wildcard * with a :splat placeholder because wildcards are converted to :splat at runtime. \
             Skipping {path}."
        ));
    }
    Ok(path)
}

fn too_many() -> String {
    format!("Maximum number of headers supported in one rule is {HEADERS_PER_RULE_MAX}")
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = name.parse::<HeaderName>().map_err(|_| format!("{name} is not a header name"))?;
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err(format!("{name} describes the message itself and cannot be set or removed"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules as `path [name: value …] [! name …]`, and the notices as `line: message`.
    fn parse(text: &str) -> (Vec<String>, Vec<String>) {
        let mut parser = Parser::new();
        for (index, line) in text.lines().enumerate() {
            parser.take_line(index + 1, line.trim());
        }
        parser.close(0);
        let rules = parser.drafts.iter().map(|draft| {
            let set = draft.set.iter().map(|(name, value)| format!(" {name}: {value}"));
            let unset = draft.unset.iter().map(|name| format!(" ! {name}"));
            format!("{}{}{}", draft.path, set.collect::<String>(), unset.collect::<String>())
        });
        let notices = parser.notices.iter().map(|notice| match notice.line {
            Some(line) => format!("{line}: {}", notice.message),
            None => notice.message.clone(),
        });
        (rules.collect(), notices.collect())
    }

    #[test]
    fn a_rule_is_a_path_and_its_headers() {
        let (rules, notices) = parse(
            "# comment\n/a\n  X-One: 1\n  x-one: 2\n  Link: <https://a.b/c>; rel=x\n\n/b/*\n  ! Content-Type\n  X-Two: :splat\n",
        );
        assert_eq!(rules, ["/a x-one: 1, 2 link: <https://a.b/c>; rel=x", "/b/* x-two: :splat ! content-type"]);
        assert!(notices.is_empty());
    }

    #[test]
    fn lines_that_make_no_sense_are_named_and_passed_over() {
        let (rules, notices) = parse(
            "c\nAccess-Control-Allow-Origin: *\n/a\n  Name:       Value\n#\n/b\n  I'm invalid!\n  !x-content-type\n  \
             But: I'm okay!\n  ! Content-Type: application/json\n  :\n  test:\n/empty\n/last\n  Content-Length: 5\n  x: y\n",
        );
        assert_eq!(rules, ["/a name: Value", "/b but: I'm okay!", "/last x: y"]);
        assert_eq!(
            notices,
            [
                "1: Expected a path beginning with at least one forward-slash",
                "2: Path should come before header (access-control-allow-origin: *)",
                "7: Expected a colon-separated header pair (e.g. name: value)",
                "8: Expected a colon-separated header pair (e.g. name: value)",
                "10: Header name cannot include spaces",
                "11: No header name specified",
                "12: No header value specified",
                "14: No headers specified",
                "15: content-length describes the message itself and cannot be set or removed",
            ]
        );
    }

    #[test]
    fn a_refused_path_takes_its_headers_with_it() {
        let (rules, notices) = parse(
            "https://*.pages.dev/*\n x: 1\n/blog/*/posts/*\n x: 1\n/blog/*/:splat\n x: 1\nhttp://nah.com/\n x: 1\n\
             https://nah.com:8080\n x: 1\n/blog/:splat\n x: 1\nhttps://*.pages.dev/\n x: 1\n",
        );
        assert_eq!(rules, ["/blog/:splat x: 1", "https://*.pages.dev/ x: 1"]);
        let lines = notices.iter().map(|notice| notice.split_once(':').unwrap().0);
        assert_eq!(lines.collect::<Vec<_>>(), ["1", "3", "5", "7", "9"]);
    }

    #[test]
    fn lines_and_rules_have_limits() {
        let long = format!("/a\n x: 1\n {}: {}\n {}\n", "a".repeat(1001), "b".repeat(1001), "#".repeat(3000));
        let (rules, notices) = parse(&long);
        assert_eq!(rules, ["/a x: 1"]);
        assert_eq!(notices, ["Ignoring line 3 as it exceeds the maximum allowed length of 2000."]);

        let many = (0..150).map(|n| format!("/a/{n}\nx-index: {n}\n")).collect::<String>();
        let (HeaderRules(rules), notices) = HeaderRules::parse(&many);
        assert_eq!(rules.len(), HEADER_RULES_MAX + 1, "the rule being read at the limit is taken");
        let message = "Maximum number of rules supported is 100. Skipping remaining 98 lines of file.";
        assert_eq!(notices.first().unwrap().message, message);
    }

    #[test]
    fn what_rules_set_on_one_answer_has_a_limit() {
        let set = |rules: &str, path: &str| {
            let (rules, notices) = HeaderRules::parse(&format!("/*\n  x-first: 1\n{rules}"));
            let mut headers = HeaderMap::new();
            let url = format!("https://example.com{path}");
            rules.apply(Target { path, url: &url }, &mut headers);
            assert_eq!(headers["x-first"], "1");
            (headers.len(), headers.values().map(HeaderValue::len).sum::<usize>(), notices.len())
        };
        let splats = ":splat".repeat(300);
        let rules: String = (0..100).map(|n| format!("  x-{n}: {splats}\n  y-{n}: :splat\n")).collect();
        let (count, bytes, _) = set(&rules, &format!("/{}", "p".repeat(15_000)));
        assert_eq!(count, 1 + HEADERS_BYTES_MAX / 15_000);
        assert!(bytes < HEADERS_BYTES_MAX, "{bytes}");
        let rules: String = (0..40_000).map(|n| format!("  x{n:x}:1\n")).collect();
        assert_eq!(set(&rules, "/"), (HEADERS_PER_RULE_MAX, HEADERS_PER_RULE_MAX, 40_001 - HEADERS_PER_RULE_MAX));
    }

    #[test]
    fn matching_rules_apply_in_order() {
        let (rules, notices) = HeaderRules::parse(
            "/art/*\n X-Art: art :splat\n Set-Cookie: me\n/art/attack\n Set-Cookie: me too\n/override\n ETag: rogue\n\
             /underride\n ! ETAg\n/art/unset*\n ! Set-Cookie\n Set-Cookie: hijack\n/art/unset/total\n ! Set-Cookie\n\
             https://www.a.b/*\n X-Host: :splat\n",
        );
        assert!(notices.is_empty(), "{notices:?}");
        for (url, expected) in [
            ("https://a.b/art/x/y", "etag: \"1\" set-cookie: me x-art: art x/y"),
            ("https://a.b/art/attack", "etag: \"1\" set-cookie: me set-cookie: me too x-art: art attack"),
            ("https://a.b/override", "etag: rogue"),
            ("https://a.b/underride", ""),
            ("https://a.b/art/unset", "etag: \"1\" set-cookie: hijack x-art: art unset"),
            ("https://a.b/art/unset/total", "etag: \"1\" x-art: art unset/total"),
            ("https://www.a.b/z", "etag: \"1\" x-host: z"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("etag", HeaderValue::from_static("\"1\""));
            let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap());
            rules.apply(Target { path: &path, url }, &mut headers);
            let mut lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            let mut lines = lines.by_ref().collect::<Vec<_>>();
            lines.sort();
            assert_eq!(lines.join(" "), expected, "{url}");
        }
    }
}
