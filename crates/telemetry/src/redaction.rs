//! Requests without their credentials, by the rules of the platform's own tail.

use http::HeaderMap;
use serde_json::{Map, Value};

/// What stands where a credential was.
pub const REDACTED: &str = "REDACTED";

/// A header whose name has one of these in it carries a credential.
const SENSITIVE_PARTS: [&str; 8] = ["auth", "cookie", "jwt", "key", "password", "secret", "session", "token"];
/// What an identity-aware proxy adds: who the user is, and the proof of it.
const SENSITIVE_PREFIX: &str = "cf-access-";

/// The shortest run of hexadecimal digits, separators left out, that is taken for an id, in digits.
const HEX_ID_DIGITS_MIN: usize = 32;
/// The shortest run of base64 that is taken for one, in characters.
const BASE64_ID_CHARS_MIN: usize = 21;
/// How many digits, capitals and small letters a run of base64 must have, each, to be taken for one.
const BASE64_ID_KIND_MIN: usize = 2;

/// Request headers as JSON: names in lower case, the values of one name joined, credentials replaced by [`REDACTED`].
pub fn redacted(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let value = if is_sensitive(name.as_str()) { REDACTED.to_owned() } else { joined(headers, name) };
        shown.insert(name.as_str().to_owned(), Value::String(value));
    }
    shown
}

/// A URL without a user's name and password, whose path and query show no ids that could be keys: runs of 32 and more
/// hexadecimal digits (`+`, `-` and `_` among them do not count), and of 21 and more characters of base64 with at least
/// two digits, two capitals and two small letters.
pub fn redacted_url(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    let mut rest = url;
    if let Some((scheme, after)) = around_credentials(url) {
        shown.push_str(scheme);
        shown.push_str(REDACTED);
        rest = after;
    }
    while !rest.is_empty() {
        let run_bytes = rest.find(|character| !may_be_in_id(character)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(run_bytes);
        shown.push_str(if is_id(run) { REDACTED } else { run });
        let between_bytes = after.find(may_be_in_id).unwrap_or(after.len());
        let (between, next) = after.split_at(between_bytes);
        shown.push_str(between);
        rest = next;
    }
    shown
}

/// What comes before and after the user's name and password in a URL, where it has them.
fn around_credentials(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_at(url.find("://")? + 3);
    let authority = rest.split(['/', '?', '#']).next()?;
    Some((scheme, rest.get(authority.rfind('@')?..)?))
}

fn is_sensitive(name: &str) -> bool {
    name.starts_with(SENSITIVE_PREFIX) || SENSITIVE_PARTS.iter().any(|part| name.contains(part))
}

fn joined(headers: &HeaderMap, name: &http::HeaderName) -> String {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(", ")
}

fn may_be_in_id(character: char) -> bool {
    character.is_ascii_alphanumeric() || is_separator(character)
}

fn is_separator(character: char) -> bool {
    matches!(character, '+' | '-' | '_')
}

fn is_id(run: &str) -> bool {
    let count = |is: fn(&char) -> bool| run.chars().filter(is).count();
    let hex_only = run.chars().all(|character| character.is_ascii_hexdigit() || is_separator(character));
    if hex_only && count(char::is_ascii_hexdigit) >= HEX_ID_DIGITS_MIN {
        return true;
    }
    run.len() >= BASE64_ID_CHARS_MIN
        && [char::is_ascii_digit, char::is_ascii_uppercase, char::is_ascii_lowercase]
            .into_iter()
            .all(|kind| count(kind) >= BASE64_ID_KIND_MIN)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn shown(name: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("value"));
        redacted(&headers).into_iter().next().unwrap().1.as_str().unwrap().to_owned()
    }

    #[test]
    fn credentials_are_not_shown() {
        for name in [
            "authorization",
            "Authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-csrf-token",
            "client-secret",
            "x-jwt",
            "cf-access-client-id",
            "cf-access-client-secret",
            "cf-access-jwt-assertion",
            "cf-access-authenticated-user-email",
            "x-session-id",
            "x-password",
            "x-amz-security-token",
        ] {
            assert_eq!(shown(name), "REDACTED", "{name}");
        }
    }

    #[test]
    fn other_headers_are_shown_as_they_came() {
        for name in ["accept", "user-agent", "cf-connecting-ip", "host", "content-type", "cf-ray", "x-forwarded-for"] {
            assert_eq!(shown(name), "value", "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("text/html"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xff").unwrap());
        let shown = redacted(&headers);
        assert_eq!(shown["accept"], "text/html, */*");
        assert_eq!(shown["x-bytes"], "\u{fffd}");
    }

    #[test]
    fn ids_that_could_be_keys_are_not_shown_in_urls() {
        for (url, expected) in [
            ("https://site.test/", "https://site.test/"),
            ("https://site.test/a?hex=0123456789abcdef0123456789abcdef&b=1", "https://site.test/a?hex=REDACTED&b=1"),
            ("https://site.test/8e6a9a2b-0f0c-4c55-9d3a-1b2c3d4e5f60/x", "https://site.test/REDACTED/x"),
            ("https://site.test/0123456789abcdef0123456789abcde", "https://site.test/0123456789abcdef0123456789abcde"),
            ("https://site.test/?t=AbcdefghijklmnopqrS12", "https://site.test/?t=REDACTED"),
            ("https://site.test/?t=AbcdefghijklmnopqrS1", "https://site.test/?t=AbcdefghijklmnopqrS1"),
            (
                "https://site.test/a-long-path-of-words-without-digits",
                "https://site.test/a-long-path-of-words-without-digits",
            ),
            ("https://name:pass@site.test/a@b", "https://REDACTED@site.test/a@b"),
            ("https://site.test?a=b@c", "https://site.test?a=b@c"),
            ("https://site.test/ä/日本?ß", "https://site.test/ä/日本?ß"),
            ("", ""),
        ] {
            assert_eq!(redacted_url(url), expected);
        }
    }
}
