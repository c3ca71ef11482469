//! `_redirects`: paths that lead elsewhere, or (status 200) to another asset.

use std::collections::{HashMap, HashSet};

use http::StatusCode;

use crate::config::HtmlHandling;
use crate::path::collapse_slashes;
use crate::pattern::{Pattern, Target, is_dynamic};
use crate::rule_url::{RuleUrl, has_host};
use crate::set::Notice;
use crate::{DYNAMIC_REDIRECTS_MAX, RULE_LINE_CHARS_MAX, STATIC_REDIRECTS_MAX};

pub(crate) const FILE_NAME: &str = "_redirects";
/// The longest destination, in bytes: 64 KiB.
const TO_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, Default)]
pub(crate) struct RedirectRules {
    by_path: HashMap<String, Redirect>,
    patterns: Vec<(Pattern, Redirect)>,
}

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// `200 OK` means: serve what is there under this path. `404 Not Found`, which no rule has: nothing is there, because
    /// its name would be too long.
    pub(crate) status: StatusCode,
    /// A path or an `https` URL.
    pub(crate) to: String,
}

struct Rule {
    from: String,
    redirect: Redirect,
}

struct Parser {
    html_handling: HtmlHandling,
    rules: RedirectRules,
    seen: HashSet<String>,
    static_count: usize,
    dynamic_count: usize,
    notices: Vec<Notice>,
}

// === impl RedirectRules ===

impl RedirectRules {
    pub(crate) fn parse(text: &str, html_handling: HtmlHandling) -> (Self, Vec<Notice>) {
        let mut parser = Parser {
            html_handling,
            rules: Self::default(),
            seen: HashSet::new(),
            static_count: 0,
            dynamic_count: 0,
            notices: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            if !parser.take_line(index + 1, line.trim()) {
                let skipped = text.lines().count() - index;
                parser.notices.push(Notice::of_file(
                    FILE_NAME,
                    format!(
                        "Maximum number of dynamic rules supported is {DYNAMIC_REDIRECTS_MAX}. \
                         Skipping remaining {skipped} lines of file."
                    ),
                ));
                break;
            }
        }
        (parser.rules, parser.notices)
    }

    /// The first rule for a path, with its placeholders filled in. Rules before the first dynamic one are looked up,
    /// the rest are tried in order.
    pub(crate) fn find(&self, target: Target<'_>) -> Option<Redirect> {
        if let Some(redirect) = self.by_path.get(target.path) {
            return Some(redirect.clone());
        }
        self.patterns.iter().find_map(|(pattern, redirect)| {
            let captures = pattern.captures(target)?;
            let Some(to) = pattern.bindings(&captures).substitute(&redirect.to, TO_BYTES_MAX) else {
                return Some(Redirect { status: StatusCode::NOT_FOUND, to: String::new() });
            };
            // `/:splat` with a splat that starts with a slash must not become another site.
            let to = if has_scheme(&redirect.to) { to } else { collapse_slashes(&to) };
            Some(Redirect { status: redirect.status, to })
        })
    }
}

// === impl Parser ===

impl Parser {
    /// Returns whether to go on: `false` once there are too many dynamic rules.
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
        let (from, to, status) = match split_tokens(line) {
            Ok(tokens) => tokens,
            Err(message) => return self.refuse(number, line, message),
        };
        let from = match RuleUrl::RedirectFrom.normalize(from) {
            Ok(from) => from,
            Err(message) => return self.refuse(number, line, message),
        };
        let is_static = self.dynamic_count == 0 && !is_dynamic(&from);
        if is_static {
            self.static_count += 1;
            if self.static_count > STATIC_REDIRECTS_MAX {
                let message =
                    format!("Maximum number of static rules supported is {STATIC_REDIRECTS_MAX}. Skipping line.");
                return self.refuse(number, line, message);
            }
        } else {
            self.dynamic_count += 1;
            if self.dynamic_count > DYNAMIC_REDIRECTS_MAX {
                return false;
            }
        }
        match self.check(from, to, status) {
            Ok(rule) => self.keep(number, line, rule, is_static),
            Err(message) => self.refuse(number, line, message),
        }
    }

    fn check(&mut self, from: String, to: &str, status: &str) -> Result<Rule, String> {
        let to = RuleUrl::RedirectTo.normalize(to)?;
        let status = parse_status(status)?;
        if !has_host(&to) && self.loops(&from, &to) {
            return Err(
                "Infinite loop detected in this rule and has been ignored. This will cause a redirect to strip \
                 `.html` or `/index` and end up triggering this rule again. Please fix or remove this rule to silence \
                 this warning."
                    .into(),
            );
        }
        if !self.seen.insert(from.clone()) {
            return Err(format!("Ignoring duplicate rule for path {from}."));
        }
        if status == StatusCode::OK && has_host(&to) {
            return Err(format!("Proxy (200) redirects can only point to relative paths. Got {to}"));
        }
        Ok(Rule { from, redirect: Redirect { status, to } })
    }

    /// Whether HTML handling would lead from `to` back to `from`.
    fn loops(&self, from: &str, to: &str) -> bool {
        let to_index = to.ends_with("/index") || to.ends_with("/index.html");
        let handles_html = self.html_handling != HtmlHandling::None;
        to_index && (from.ends_with("/*") || (from.ends_with('/') && handles_html))
    }

    fn keep(&mut self, number: usize, line: &str, rule: Rule, is_static: bool) -> bool {
        if is_static {
            self.rules.by_path.insert(rule.from, rule.redirect);
            return true;
        }
        match Pattern::new(&rule.from) {
            Ok(pattern) => {
                self.rules.patterns.push((pattern, rule.redirect));
                true
            }
            Err(message) => self.refuse(number, line, message),
        }
    }

    fn refuse(&mut self, number: usize, line: &str, message: String) -> bool {
        self.notices.push(Notice::of_line(FILE_NAME, number, line, message));
        true
    }
}

/// `from to [status]`; a `#` after white space begins a comment, any other is part of a URL.
fn split_tokens(line: &str) -> Result<(&str, &str, &str), String> {
    let tokens = line
        .split_whitespace()
        .enumerate()
        .take_while(|(index, token)| *index == 0 || !token.starts_with('#'))
        .map(|(_, token)| token)
        .collect::<Vec<_>>();
    match tokens.as_slice() {
        [from, to] => Ok((from, to, "302")),
        [from, to, status] => Ok((from, to, status)),
        other => Err(format!("Expected exactly 2 or 3 whitespace-separated tokens. Got {}.", other.len())),
    }
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    match text {
        "200" | "301" | "302" | "303" | "307" | "308" => text.parse().map_err(|_| text.to_owned()),
        _ => Err(format!("Valid status codes are 200, 301, 302 (default), 303, 307, or 308. Got {text}.")),
    }
}

fn has_scheme(url: &str) -> bool {
    url.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (RedirectRules, Vec<String>) {
        parse_with(text, HtmlHandling::default())
    }

    fn parse_with(text: &str, html_handling: HtmlHandling) -> (RedirectRules, Vec<String>) {
        let (rules, notices) = RedirectRules::parse(text, html_handling);
        let notices = notices.into_iter().map(|notice| match notice.line {
            Some(line) => format!("{line}: {}", notice.message),
            None => notice.message,
        });
        (rules, notices.collect())
    }

    fn find(rules: &RedirectRules, path: &str) -> Option<(u16, String)> {
        let url = format!("https://example.com{path}");
        let redirect = rules.find(Target { path, url: &url })?;
        Some((redirect.status.as_u16(), redirect.to))
    }

    #[test]
    fn rules_are_read_with_comments_and_defaults() {
        let (rules, notices) = parse(
            "# comment\n/a /b 301\n  /c   /d#frag   # why\n/e /f?q=1 200\n/g https://x.y:1234/z 308 #\n/p* /q:splat 307\n/r/:x /:x 303\n",
        );
        assert!(notices.is_empty(), "{notices:?}");
        for (path, expected) in [
            ("/a", Some((301, "/b"))),
            ("/c", Some((302, "/d#frag"))),
            ("/e", Some((200, "/f?q=1"))),
            ("/g", Some((308, "https://x.y:1234/z"))),
            ("/p/1/2", Some((307, "/q/1/2"))),
            ("/r/s", Some((303, "/s"))),
            ("/a/", None),
        ] {
            let expected = expected.map(|(status, to)| (status, to.to_owned()));
            assert_eq!(find(&rules, path), expected, "{path}");
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_named() {
        let looping = "Infinite loop detected";
        for (line, message) in [
            ("/c", "Expected exactly 2 or 3 whitespace-separated tokens. Got 1."),
            ("/d /e 302 !important", "Expected exactly 2 or 3 whitespace-separated tokens. Got 4."),
            ("/c /d 418", "Valid status codes are 200, 301, 302 (default), 303, 307, or 308. Got 418."),
            (
                "https://yeah.com https://nah.com",
                "Only relative URLs are allowed. Skipping absolute URL https://yeah.com.",
            ),
            (
                "/a https://example.com/b 200",
                "Proxy (200) redirects can only point to relative paths. Got https://example.com/b",
            ),
            ("/* /index.html 200", looping),
            ("/* /index 200", looping),
            ("/ /index.html", looping),
            ("/x/:a/:a /y", "Cannot compile"),
        ] {
            let (_, notices) = parse(line);
            let notice = notices.first().map(String::as_str).unwrap_or_default();
            assert!(notice.starts_with(&format!("1: {message}")), "{line}: {notice}");
        }
    }

    #[test]
    fn the_root_may_lead_to_index_without_html_handling_and_wildcards_may_not() {
        let (rules, notices) = parse_with("/* /index.html 200\n/ /index.html\n", HtmlHandling::None);
        assert_eq!(notices.len(), 1);
        assert_eq!(find(&rules, "/"), Some((302, "/index.html".into())));
        let (_, notices) = parse("/foo https://bar.com/index.html\n/* /foo 200\n");
        assert!(notices.is_empty());
    }

    #[test]
    fn the_first_rule_for_a_path_counts() {
        let (rules, notices) = parse("/a /b\n/a /c\n/s/* /1/:splat\n/s/foo /2\n/t/x/* /3\n/t/* /4\n");
        assert_eq!(notices, ["2: Ignoring duplicate rule for path /a."]);
        for (path, to) in [("/a", "/b"), ("/s/foo", "/1/foo"), ("/t/x/y", "/3"), ("/t/y", "/4")] {
            assert_eq!(find(&rules, path), Some((302, to.into())), "{path}");
        }
    }

    #[test]
    fn rules_have_limits() {
        let statics = (0..STATIC_REDIRECTS_MAX + 50).map(|n| format!("/a/{n} /b/{n}\n")).collect::<String>();
        let dynamics = (0..DYNAMIC_REDIRECTS_MAX + 50).map(|n| format!("/a/{n}/* /b/{n}/:splat\n")).collect::<String>();
        let (rules, notices) = parse(&format!("{statics}{dynamics}# end\n"));
        assert_eq!((rules.by_path.len(), rules.patterns.len()), (STATIC_REDIRECTS_MAX, DYNAMIC_REDIRECTS_MAX));
        assert_eq!(notices.len(), 51);
        let last = "Maximum number of dynamic rules supported is 100. Skipping remaining 51 lines of file.";
        assert_eq!(notices.last().unwrap(), last);
        let (_, notices) = parse(&format!("/{} /b\n", "a".repeat(RULE_LINE_CHARS_MAX)));
        assert_eq!(notices, ["Ignoring line 1 as it exceeds the maximum allowed length of 2000."]);
    }

    #[test]
    fn a_splat_cannot_lead_to_another_site() {
        let (rules, _) = parse("/foo/* /:splat\n/ext/* https://x.y//:splat\n");
        assert_eq!(find(&rules, "/foo//google.com"), Some((302, "/google.com".into())));
        assert_eq!(find(&rules, "/ext//a"), Some((302, "https://x.y//a".into())));
    }

    #[test]
    fn what_would_be_too_long_a_destination_is_none() {
        let (rules, _) = parse(&format!("/a/* /b/{} 302\n/* /c 302\n", ":splat".repeat(300)));
        assert_eq!(find(&rules, "/a/1"), Some((302, format!("/b/{}", "1".repeat(300)))));
        assert_eq!(find(&rules, &format!("/a/{}", "1".repeat(1_000))), Some((404, String::new())));
    }
}
