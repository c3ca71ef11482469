//! Requests without their credentials, by the rules of the platform's own tails.
//! <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/#tailrequest>

use std::ops::RangeInclusive;

use http::HeaderMap;
use serde_json::{Map, Value};

/// What stands where a credential was.
pub const REDACTED: &str = "REDACTED";

/// A header whose name has one of these in it carries a credential. The platform's own rules are `cookie` and `set-cookie`
/// as they are, and `auth`, `jwt`, `key`, `secret` and `token`: what is hidden too much does less harm.
const SENSITIVE_PARTS: [&str; 8] = ["auth", "cookie", "jwt", "key", "password", "secret", "session", "token"];
/// What an identity-aware proxy adds: who the user is, and the proof of it.
const SENSITIVE_PREFIX: &str = "cf-access-";

/// The shortest run of hexadecimal digits, separators left out, that is taken for an id, in digits.
const HEX_ID_DIGITS_MIN: usize = 32;
/// The shortest run of base64 that is taken for one, in characters.
const BASE64_ID_CHARS_MIN: usize = 21;
/// How many digits, capitals and small letters a run of base64 must have, each, to be taken for one.
const BASE64_ID_KIND_MIN: usize = 2;
/// How many digits the number of a payment card has.
const CARD_DIGITS: RangeInclusive<usize> = 13..=19;

/// Request headers as JSON: names in lower case, the values of one name joined, credentials replaced by [`REDACTED`].
pub fn redacted(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let value = if is_sensitive(name.as_str()) { REDACTED.to_owned() } else { joined(headers, name) };
        shown.insert(name.as_str().to_owned(), Value::String(value));
    }
    shown
}

/// The headers that [`redacted`] does not show, as they came. Not for tails, nor for anything that is logged.
pub fn hidden(headers: &HeaderMap) -> Map<String, Value> {
    let sensitive = headers.keys().filter(|name| is_sensitive(name.as_str()));
    sensitive.map(|name| (name.as_str().to_owned(), Value::String(joined(headers, name)))).collect()
}

/// A URL without a user's name and password, whose path and query show nothing that could be a key: runs of 32 and more
/// hexadecimal digits, and of 21 and more characters of base64 with at least two digits, two capitals and two small
/// letters; nor the number of a payment card. `+`, `-` and `_` may stand anywhere among digits.
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
    if is_card_number(run) {
        return true;
    }
    run.len() >= BASE64_ID_CHARS_MIN
        && [char::is_ascii_digit, char::is_ascii_uppercase, char::is_ascii_lowercase]
            .into_iter()
            .all(|kind| count(kind) >= BASE64_ID_KIND_MIN)
}

/// Whether the digits of a run have the checksum that a card's number has: Luhn's.
fn is_card_number(run: &str) -> bool {
    let mut digits = 0_usize;
    let mut sum = 0_u32;
    for character in run.chars().rev().filter(|character| !is_separator(*character)) {
        let Some(digit) = character.to_digit(10) else { return false };
        sum += match digit {
            digit if digits.is_multiple_of(2) => digit,
            digit if digit > 4 => digit * 2 - 9,
            digit => digit * 2,
        };
        digits += 1;
    }
    CARD_DIGITS.contains(&digits) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

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
        for name in ["accept", "user-agent", "cf-connecting-ip", "host", "cf-ray", "x-forwarded-for"] {
            assert_eq!(shown(name), "value", "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("text/html"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xff").unwrap());
        let shown = redacted(&headers);
        assert_eq!(shown["accept"], "text/html, */*");
        assert_eq!(shown["x-bytes"], "\u{fffd}");
        assert!(hidden(&headers).is_empty());
    }

    #[test]
    fn what_is_hidden_is_what_is_not_shown() {
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("text/html"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        assert_eq!(Value::Object(redacted(&headers)), json!({ "accept": "text/html", "cookie": "REDACTED" }));
        assert_eq!(Value::Object(hidden(&headers)), json!({ "cookie": "a=1, b=2" }));
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
            (
                "https://site.test/0123456789abcdef0123456789abcdefg",
                "https://site.test/0123456789abcdef0123456789abcdefg",
            ),
            ("https://site.test/012345678901234567azZ/x", "https://site.test/012345678901234567azZ/x"),
            ("https://site.test/IThinkIShallNeverSee0/x", "https://site.test/IThinkIShallNeverSee0/x"),
            ("https://site.test/pay?number=4111-1111-1111-1111", "https://site.test/pay?number=REDACTED"),
            ("https://site.test/pay?number=4222222222222&b=1", "https://site.test/pay?number=REDACTED&b=1"),
            ("https://site.test/pay?number=4000000000000000006", "https://site.test/pay?number=REDACTED"),
            ("https://site.test/pay?number=4111111111111112", "https://site.test/pay?number=4111111111111112"),
            (
                "https://site.test/?a=79927398713&b=40000000000000000002",
                "https://site.test/?a=79927398713&b=40000000000000000002",
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
