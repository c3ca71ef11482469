//! What caches that have many clients may do with an answer, and how the cookie of one client stays out of them.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};

/// Keeps a client's cookie out of caches that have other clients too (RFC 9111, section 5.2.2.7). One that does not know this
/// form of the word keeps nothing of the answer.
const COOKIE_IS_PRIVATE: HeaderValue = HeaderValue::from_static("private=\"set-cookie\"");

/// What an answer says of caches that have many clients (RFC 9111, section 3).
#[derive(Debug, PartialEq, Eq)]
enum Sharing {
    /// They may give it to others for a while.
    Fresh,
    /// They may keep it, and ask before they give it to others. An answer that says nothing is one of these.
    Checked,
    /// They may not keep it.
    Never,
}

/// Gives a client its cookie, unless that would spoil an answer that caches may give to others.
pub fn give(headers: &mut HeaderMap, cookie: HeaderValue) {
    let sharing = Sharing::of(headers);
    if sharing == Sharing::Fresh {
        return;
    }
    headers.append(header::SET_COOKIE, cookie);
    if sharing == Sharing::Checked {
        headers.append(header::CACHE_CONTROL, COOKIE_IS_PRIVATE);
    }
}

// === impl Sharing ===

impl Sharing {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let directives: Vec<String> =
            values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase()).collect();
        let has = |name: &str| directives.iter().any(|directive| directive == name);
        if has("private") || has("no-store") {
            return Self::Never;
        }
        let lasts = |name: &str| {
            let mut named = directives.iter().filter_map(|directive| directive.split_once('='));
            let (_, seconds) = named.find(|(directive, _)| *directive == name)?;
            Some(seconds.trim_matches('"').bytes().any(|digit| digit != b'0'))
        };
        // A date that is none is over (section 5.3).
        let is_ahead = |date: &HeaderValue| {
            let date = date.to_str().ok().and_then(|date| httpdate::parse_http_date(date).ok());
            date.is_some_and(|date| date > SystemTime::now())
        };
        // The first that is there counts alone (section 4.2.1).
        let is_fresh = lasts("s-maxage")
            .or_else(|| lasts("max-age"))
            .or_else(|| headers.get(header::EXPIRES).map(is_ahead))
            .unwrap_or_else(|| has("public"));
        if is_fresh && !has("no-cache") { Self::Fresh } else { Self::Checked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What caches that have many clients may do with an answer that says so; each line is a header.
    fn sharing(lines: &[&str]) -> Sharing {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        Sharing::of(&headers)
    }

    #[test]
    fn what_caches_may_do_with_an_answer_is_read_from_it() {
        for (line, expected) in [
            ("content-type: text/html", Sharing::Checked),
            ("cache-control: max-age=600", Sharing::Fresh),
            ("cache-control: Public, Max-Age=600", Sharing::Fresh),
            ("cache-control: max-age=\"600\"", Sharing::Fresh),
            ("cache-control: public", Sharing::Fresh),
            ("cache-control: s-maxage=60, max-age=0", Sharing::Fresh),
            ("cache-control: s-maxage=0, max-age=600", Sharing::Checked),
            // As files have it.
            ("cache-control: public, max-age=0, must-revalidate", Sharing::Checked),
            ("cache-control: public, no-cache", Sharing::Checked),
            ("cache-control: max-age=600, private", Sharing::Never),
            ("cache-control: s-maxage=60, no-store", Sharing::Never),
            ("expires: Fri, 31 Dec 9999 23:59:59 GMT", Sharing::Fresh),
            ("expires: Thu, 01 Jan 1970 00:00:00 GMT", Sharing::Checked),
            ("expires: 0", Sharing::Checked),
        ] {
            assert_eq!(sharing(&[line]), expected, "{line}");
        }
        let later = "expires: Fri, 31 Dec 9999 23:59:59 GMT";
        assert_eq!(sharing(&[later, "cache-control: max-age=0"]), Sharing::Checked);
        assert_eq!(sharing(&["cache-control: max-age=60", "cache-control: private"]), Sharing::Never);
    }

    #[test]
    fn a_cookie_is_in_no_answer_that_caches_may_give_to_others() {
        for (said, given) in [
            (None, Some(&["private=\"set-cookie\""][..])),
            (Some("public, max-age=0"), Some(&["public, max-age=0", "private=\"set-cookie\""][..])),
            (Some("no-store"), Some(&["no-store"][..])),
            (Some("max-age=600"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(header::CACHE_CONTROL, said.parse().unwrap());
            }
            give(&mut headers, HeaderValue::from_static("key=1"));
            assert_eq!(headers.contains_key(header::SET_COOKIE), given.is_some(), "{said:?}");
            let now: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().collect();
            assert_eq!(now, given.map_or_else(|| said.into_iter().collect(), <[_]>::to_vec), "{said:?}");
        }
    }
}
