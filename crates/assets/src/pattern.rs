//! The patterns of `_headers`, `_redirects` and `run_worker_first`.
//!
//! Matching is linear in the length of the path, whatever the pattern.

use regex::{Captures, Regex};

use crate::rule_url::split_https;

/// What `*` is called in a replacement.
const SPLAT: &str = "splat";

// URL paths and hosts are ASCII by the time a pattern sees them, so the classes are too; they keep compiled patterns small.
const ANYTHING: &str = "[ -~]*";
const PATH_SEGMENT: &str = "[!-.0-~]+";
const HOST_LABEL: &str = r"[!-\-0-~]+";

/// A pattern with splats and placeholders, over a path or an `https` URL.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Whether it names a host, and so is matched against `https://host/path`.
    has_host: bool,
}

/// What a match stood for, for [`Bindings::substitute`].
#[derive(Debug)]
pub(crate) struct Bindings<'a> {
    /// Longest name first, so that `:ab` is not taken for `:a` and a `b`.
    pairs: Vec<(&'a str, &'a str)>,
}

/// A glob: `*` is anything, every other character itself.
#[derive(Clone, Debug)]
pub(crate) struct Glob(Regex);

// === impl Pattern ===

impl Pattern {
    /// Compiles a normalized rule URL. The error says what is wrong with it: repeated names, above all.
    pub(crate) fn new(rule: &str) -> Result<Self, String> {
        let host_end = split_https(rule).map_or(0, |(host, _)| "https://".len() + host.len());
        let mut regex = String::from("^");
        let mut rest = rule;
        while let Some(character) = rest.chars().next() {
            let in_host = rule.len() - rest.len() < host_end;
            // The colon of `https://` has a slash behind it, so it never looks like a placeholder.
            let taken = if character == '*' {
                regex.push_str(&format!("(?<{SPLAT}>{ANYTHING})"));
                1
            } else if let Some(name) = placeholder(rest) {
                let class = if in_host { HOST_LABEL } else { PATH_SEGMENT };
                regex.push_str(&format!("(?<{name}>{class})"));
                1 + name.len()
            } else {
                let literal = rest.get(..character.len_utf8()).unwrap_or_default();
                regex.push_str(&regex::escape(literal));
                literal.len()
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        regex.push('$');
        let regex = Regex::new(&regex)
            .map_err(|_| format!("Cannot compile {rule}: a name is used twice, or it is too long."))?;
        Ok(Self { regex, has_host: host_end > 0 })
    }

    pub(crate) fn captures<'t>(&self, target: Target<'t>) -> Option<Captures<'t>> {
        let text = if self.has_host { target.url } else { target.path };
        self.regex.captures(text)
    }

    /// The names this pattern bound, for substitution.
    pub(crate) fn bindings<'a>(&'a self, captures: &'a Captures<'_>) -> Bindings<'a> {
        let named = self.regex.capture_names().flatten();
        let mut pairs =
            named.filter_map(|name| captures.name(name).map(|value| (name, value.as_str()))).collect::<Vec<_>>();
        pairs.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Bindings { pairs }
    }
}

/// What a pattern is matched against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a str,
    /// `https://host/path` whatever the request's scheme, so that a rule cannot be escaped by using another.
    pub(crate) url: &'a str,
}

/// The name of the placeholder that `text` starts with: a colon, a letter, then letters, digits and underscores.
fn placeholder(text: &str) -> Option<&str> {
    let text = text.strip_prefix(':')?;
    if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let end = text.find(|character: char| !is_word(character)).unwrap_or(text.len());
    text.get(..end)
}

/// Whether `text` has a splat or a placeholder.
pub(crate) fn is_dynamic(text: &str) -> bool {
    text.contains('*') || text.char_indices().any(|(at, _)| text.get(at..).and_then(placeholder).is_some())
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

// === impl Bindings ===

impl Bindings<'_> {
    /// `template` with every bound `:name` replaced. Replaced text is not read again. None if it comes to more than
    /// `bytes_max`: what a request's path has once, a template may have a hundred times.
    pub(crate) fn substitute(&self, template: &str, bytes_max: usize) -> Option<String> {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(colon) = rest.find(':') {
            let (before, from_colon) = rest.split_at(colon);
            text.push_str(before);
            let after = from_colon.get(1..).unwrap_or_default();
            let bound = self.pairs.iter().find(|(name, _)| after.starts_with(name));
            match bound {
                Some((name, value)) => {
                    text.push_str(value);
                    rest = after.get(name.len()..).unwrap_or_default();
                }
                None => {
                    text.push(':');
                    rest = after;
                }
            }
            if text.len() > bytes_max {
                return None;
            }
        }
        text.push_str(rest);
        (text.len() <= bytes_max).then_some(text)
    }
}

// === impl Glob ===

impl Glob {
    pub(crate) fn new(glob: &str) -> Result<Self, regex::Error> {
        let literals = glob.split('*').map(regex::escape).collect::<Vec<_>>();
        Regex::new(&format!("^{}$", literals.join(ANYTHING))).map(Self)
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The template with what the rule bound, or `None` if it does not match `https://host/path`.
    fn apply(rule: &str, template: &str, url: &str) -> Option<String> {
        let path = format!("/{}", split_https(url).unwrap().1);
        let pattern = Pattern::new(rule).unwrap();
        let captures = pattern.captures(Target { path: &path, url })?;
        pattern.bindings(&captures).substitute(template, 100)
    }

    #[test]
    fn splats_and_placeholders_bind_what_they_cover() {
        for (rule, template, url, expected) in [
            ("/foo/test/*", "1/:splat", "https://a.b/foo/test/yes", Some("1/yes")),
            ("/foo/*", "2/:splat", "https://a.b/foo/test/yes", Some("2/test/yes")),
            ("/foo/*", "2/:splat", "https://a.b/foo/", Some("2/")),
            ("/foo/*", "2/:splat", "https://a.b/foo", None),
            ("/blog/:code/:name", "3/:name/:code", "https://a.b/blog/123/tricycle", Some("3/tricycle/123")),
            ("/blog/:code", "", "https://a.b/blog/123/tricycle", None),
            ("/blog/:code", "", "https://a.b/blog/", None),
            ("/partial*", "/new:splat", "https://a.b/partialfoo/bar", Some("/newfoo/bar")),
            ("/partial:name", "/new:name", "https://a.b/partialfoo", Some("/newfoo")),
            ("/a/*/b/:x", ":x-:splat", "https://a.b/a/1/2/b/3", Some("3-1/2")),
            ("https://:sub.pages.:tld/*", "5/:sub/:tld/:splat", "https://my.pages.dev/magic", Some("5/my/dev/magic")),
            ("https://:sub.pages.:tld/*", "", "https://next.my.pages.dev/magic", None),
            ("https://*.pages.dev/x", ":splat", "https://next.my.pages.dev/x", Some("next.my")),
            ("https://custom.domain/test", "", "https://other.domain/test", None),
            ("//fake.host/path", "", "https://a.b//fake.host/path", Some("")),
            ("/$~.%20/!+-/[bo|%7Bo%7D]...()", "y", "https://a.b/$~.%20/!+-/[bo|%7Bo%7D]...()", Some("y")),
            ("/a.c", "", "https://a.b/abc", None),
        ] {
            assert_eq!(apply(rule, template, url).as_deref(), expected, "{rule} {url}");
        }
    }

    #[test]
    fn replaced_text_is_not_read_again_and_longer_names_win() {
        assert_eq!(
            apply("/:a/:ab", ":a|:ab|:abc|:b|::a|:", "https://h.h/:ab/2").as_deref(),
            Some(":ab|2|2c|:b|::ab|:")
        );
    }

    #[test]
    fn what_is_substituted_is_bounded() {
        for (template, splat, is_some) in [
            (":splat", "x".repeat(100), true),
            (":splat", "x".repeat(101), false),
            (":splat:splat", "x".repeat(50), true),
            (":splat:splat:", "x".repeat(50), false),
            (":splat and more", "x".repeat(95), false),
        ] {
            let url = format!("https://a.b/{splat}");
            assert_eq!(apply("/*", template, &url).is_some(), is_some, "{template} {}", splat.len());
        }
    }

    #[test]
    fn names_used_twice_are_an_error() {
        assert!(Pattern::new("/*/x/*").is_err());
        assert!(Pattern::new("/:a/:a").is_err());
        assert!(Pattern::new("/*/:splat").is_err());
    }

    #[test]
    fn the_longest_rule_compiles() {
        let names = (0..330).map(|n| format!("/:a{n}")).collect::<String>();
        assert!((1800..2000).contains(&names.len()));
        assert!(Pattern::new(&names).is_ok());
    }

    #[test]
    fn dynamic_means_a_splat_or_a_placeholder() {
        for (text, expected) in
            [("/a*", true), ("/:a", true), ("/x:y", true), ("/:", false), ("/:1", false), ("/a", false)]
        {
            assert_eq!(is_dynamic(text), expected, "{text}");
        }
    }

    #[test]
    fn a_glob_takes_everything_but_stars_literally() {
        for (glob, path, expected) in [
            ("/", "/", true),
            ("/", "/foo", false),
            ("/foo", "/foo/", false),
            ("/foo", "/baz/foo", false),
            ("/:placeholder", "/foo", false),
            ("/:placeholder", "/:placeholder", true),
            ("/foo*", "/foo", true),
            ("/foo*", "/foo/bar", true),
            ("/foo*", "/foobar", true),
            ("/*.html", "/foo/bar.html", true),
            ("/*.html", "/foo", false),
            ("/login/*", "/foo/login/foo", false),
            ("/*", "/", true),
        ] {
            assert_eq!(Glob::new(glob).unwrap().matches(path), expected, "{glob} {path}");
        }
    }
}
