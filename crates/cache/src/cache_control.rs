//! The response's `Cache-Control`, read leniently.

use http::{HeaderMap, HeaderName, header};

/// Longest lifetime a directive can ask for, in seconds (RFC 9111 §1.2.2).
const DELTA_SECONDS_MAX: u64 = 1 << 31;

/// How much of a response a directive such as `private` covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    #[default]
    Absent,
    /// `private="Set-Cookie"`: these headers only.
    Headers(Vec<HeaderName>),
    Whole,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheControl {
    pub(crate) no_store: bool,
    pub(crate) no_cache: Scope,
    pub(crate) private: Scope,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) s_maxage_s: Option<u64>,
}

// === impl CacheControl ===

impl CacheControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            let Ok(text) = value.to_str() else { continue };
            for directive in split_unquoted(text) {
                control.apply(directive);
            }
        }
        control
    }

    fn apply(&mut self, directive: &str) {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name, Some(unquote(argument))),
            None => (directive, None),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache.widen(argument),
            "private" => self.private.widen(argument),
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "max-age" => set_once(&mut self.max_age_s, argument),
            "s-maxage" => set_once(&mut self.s_maxage_s, argument),
            _ => {}
        }
    }
}

// === impl Scope ===

impl Scope {
    fn widen(&mut self, argument: Option<&str>) {
        let Some(argument) = argument else {
            *self = Self::Whole;
            return;
        };
        // A field name that cannot be one names nothing.
        let mut names = argument.split(',').filter_map(|name| name.trim().parse().ok()).collect::<Vec<HeaderName>>();
        match self {
            Self::Whole => {}
            Self::Absent => *self = Self::Headers(names),
            Self::Headers(known) => known.append(&mut names),
        }
    }
}

/// The first of repeated directives counts; a value that is no number means no lifetime at all (RFC 9111 §4.2.1).
fn set_once(slot: &mut Option<u64>, argument: Option<&str>) {
    if slot.is_none() {
        let digits = argument.unwrap_or_default();
        *slot = Some(if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            0
        } else {
            digits.parse().map_or(DELTA_SECONDS_MAX, |seconds: u64| seconds.min(DELTA_SECONDS_MAX))
        });
    }
}

/// Splits at commas outside quoted strings; `;` is tolerated as a separator because it is seen in the wild.
fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        !quoted && (character == ',' || character == ';')
    })
    .map(str::trim)
    .filter(|directive| !directive.is_empty())
}

fn unquote(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CacheControl {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, text.parse().unwrap());
        CacheControl::of(&headers)
    }

    #[test]
    fn names_are_case_insensitive_and_spaces_do_not_matter() {
        let control = parse(" Public ,MAX-AGE = 60,  s-MaxAge=\"30\", Must-Revalidate, x-other=1 ");
        assert!(control.public && control.must_revalidate);
        assert_eq!((control.max_age_s, control.s_maxage_s), (Some(60), Some(30)));
    }

    #[test]
    fn lifetimes_that_make_no_sense_are_zero_and_huge_ones_are_capped() {
        for (text, seconds) in [
            ("max-age=-1", 0),
            ("max-age=abc", 0),
            ("max-age", 0),
            ("max-age=1.5", 0),
            ("max-age=5, max-age=500", 5),
            ("max-age=99999999999999999999999", DELTA_SECONDS_MAX),
        ] {
            assert_eq!(parse(text).max_age_s, Some(seconds), "{text}");
        }
    }

    #[test]
    fn an_argument_narrows_private_to_headers() {
        let set_cookie = Scope::Headers(vec![header::SET_COOKIE]);
        assert_eq!(parse("private=Set-Cookie").private, set_cookie);
        assert_eq!(parse("private=set-cookie; max-age=3").private, set_cookie);
        assert_eq!(parse("private=\"Set-Cookie\", max-age=9").max_age_s, Some(9));
        assert_eq!(
            parse("private=\"set-cookie, x-user\", max-age=9"),
            CacheControl {
                private: Scope::Headers(vec![header::SET_COOKIE, HeaderName::from_static("x-user")]),
                max_age_s: Some(9),
                ..CacheControl::default()
            }
        );
        assert_eq!(parse("private=x, private").private, Scope::Whole);
    }
}
