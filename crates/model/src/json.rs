//! JSON from outside, looked over before anything is made of it: what a client of the API sends, what a worker logs.
//!
//! Two things must not come to serde_json's `Value`, nor to anything that has one in it:
//! - Nesting up to serde_json's own bound of 128 levels. What is kept of it is kept within some levels more, in a record
//!   that could then not be read again; and the control plane reads all of its records when it starts.
//! - Maps whose first name is one that serde_json keeps for itself. With the features that other crates of the program
//!   ask of it, such a map is taken for, say, a text of JSON, which is read at once: on the same stack, and with a bound
//!   of nesting of its own. Some kilobytes of such texts within texts overflow the stack, and that ends the process.

/// How deep JSON from outside may be nested, in levels.
pub const JSON_DEPTH_MAX: usize = 64;

/// What the names begin with that serde_json keeps for itself.
const PRIVATE: &str = "$serde_json::private::";

/// What must not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("at byte {at} it is nested deeper than {JSON_DEPTH_MAX} levels, which nothing here needs")]
    Depth { at: usize },
    #[error("at byte {at} a name begins with `{PRIVATE}`, which none may: choose another")]
    PrivateName { at: usize },
}

/// Looks over what is taken for JSON. Whether it is JSON is for its reader to say.
pub fn check_json(text: &[u8]) -> Result<(), JsonError> {
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(byte) = text.get(at) {
        let mut next = at + 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return Err(JsonError::Depth { at });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                next = string_end(text, at);
                if text.get(at..next).is_some_and(is_private) && is_name(text, next) {
                    return Err(JsonError::PrivateName { at });
                }
            }
            _ => {}
        }
        at = next;
    }
    Ok(())
}

/// Where the string that begins at `start` ends: behind its closing quote, or with the text.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether a string, given with its quotes, begins as serde_json's own names do.
fn is_private(string: &[u8]) -> bool {
    // Any character may be written as an escape.
    (string.starts_with(b"\"$") || string.starts_with(b"\"\\"))
        && serde_json::from_slice::<String>(string).is_ok_and(|name| name.starts_with(PRIVATE))
}

/// Whether the string that ends there is a name of a map.
fn is_name(text: &[u8], end: usize) -> bool {
    text.iter().skip(end).find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(check_json(nested(JSON_DEPTH_MAX).as_bytes()), Ok(()));
        let at = JSON_DEPTH_MAX;
        assert_eq!(check_json(nested(JSON_DEPTH_MAX + 1).as_bytes()), Err(JsonError::Depth { at }));
        let maps = "{\"a\":".repeat(JSON_DEPTH_MAX + 1);
        assert!(matches!(check_json(maps.as_bytes()), Err(JsonError::Depth { .. })));
    }

    #[test]
    fn only_what_is_nested_counts() {
        let wide = format!("[{}[]]", "[[]],".repeat(1_000));
        assert_eq!(check_json(wide.as_bytes()), Ok(()));
        let quoted = format!(r#"["{}\"{}\\",1]"#, "[".repeat(100), "{".repeat(100));
        assert_eq!(check_json(quoted.as_bytes()), Ok(()));
        for cut in [r#"["a"#, r#"["a\"#, "", "]]]", "\"", "\"\\"] {
            assert_eq!(check_json(cut.as_bytes()), Ok(()), "{cut}");
        }
    }

    #[test]
    fn names_of_serde_json_are_refused_however_they_are_written() {
        for text in [
            r#"{"$serde_json::private::RawValue":"[]"}"#,
            r#"{"$serde_json::private::Number":"1"}"#,
            r#"{"\u0024serde_json::private::RawValue" : "[]"}"#,
            r#"{"$serde\u005fjson::private::RawValue":"[]"}"#,
            "[{\"a\":{\"$serde_json::private::RawValue\"\n\t:\"[]\"}}]",
        ] {
            assert!(matches!(check_json(text.as_bytes()), Err(JsonError::PrivateName { .. })), "{text}");
        }
        for text in [
            r#"{"a":"$serde_json::private::RawValue"}"#,
            r#"{"$serde_json":1,"\n":2,"$":3}"#,
            r#"{"x$serde_json::private::RawValue":"[]"}"#,
        ] {
            assert_eq!(check_json(text.as_bytes()), Ok(()), "{text}");
        }
    }
}
