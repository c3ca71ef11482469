//! What of a request's headers may be shown: everything but what lets its bearer in somewhere.

use serde_json::{Map, Value};

/// What stands for what is not shown.
const REDACTED: &str = "REDACTED";
/// Headers that carry credentials by their nature.
const CREDENTIALS: [&str; 8] = [
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "cf-access-client-secret",
    "cf-access-jwt-assertion",
    "x-amz-security-token",
    "x-forwarded-authorization",
];
/// Words in a header's name that say the same.
const WORDS: [&str; 6] = ["auth", "key", "secret", "token", "password", "jwt"];
/// Names with such a word that carry nothing secret.
const HARMLESS: [&str; 3] = ["sec-websocket-key", ":authority", "cloudflare-workers-version-key"];

/// Whether a header (its name in lower case) may carry what lets its bearer in somewhere.
pub fn is_credential(name: &str) -> bool {
    !HARMLESS.contains(&name) && (CREDENTIALS.contains(&name) || WORDS.iter().any(|word| name.contains(word)))
}

/// Headers as a tail shows them. Values of one name are joined with commas.
pub fn redacted<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Map<String, Value> {
    let mut shown: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let text = if is_credential(name) { REDACTED.into() } else { String::from_utf8_lossy(value) };
        match shown.get_mut(name) {
            Some(Value::String(before)) => {
                before.push_str(", ");
                before.push_str(&text);
            }
            _ => drop(shown.insert(name.to_owned(), Value::String(text.into_owned()))),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_its_bearer_in_is_not_shown() {
        let headers: [(&str, &[u8]); 6] = [
            ("authorization", b"Bearer abc"),
            ("cookie", b"session=1"),
            ("x-api-key", b"k"),
            ("accept", b"text/html"),
            ("accept", b"*/*"),
            ("sec-websocket-key", b"x"),
        ];
        let shown = redacted(headers);
        assert_eq!(shown["authorization"], REDACTED);
        assert_eq!(shown["cookie"], REDACTED);
        assert_eq!(shown["x-api-key"], REDACTED);
        assert_eq!(shown["accept"], "text/html, */*");
        assert_eq!(shown["sec-websocket-key"], "x");
    }
}
