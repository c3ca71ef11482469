//! Between the path of a URL and the name of a file.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The file name a URL path means: each segment decoded (or kept, if it is not encoded UTF-8), repeated slashes made one,
/// those that decoding brought forth included.
pub(crate) fn decode(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            push_collapsing(&mut decoded, "/");
        }
        match decode_component(segment) {
            Some(text) => push_collapsing(&mut decoded, &text),
            None => decoded.push_str(segment),
        }
    }
    decoded
}

/// The one URL path a file name is served at.
pub(crate) fn encode(name: &str) -> String {
    let segments = name.split('/').map(|segment| utf8_percent_encode(segment, COMPONENT).to_string());
    segments.collect::<Vec<_>>().join("/")
}

/// `text` with repeated slashes made one.
pub(crate) fn collapse_slashes(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    push_collapsing(&mut collapsed, text);
    collapsed
}

fn push_collapsing(target: &mut String, text: &str) {
    for character in text.chars() {
        if character != '/' || !target.ends_with('/') {
            target.push(character);
        }
    }
}

/// `decodeURIComponent`: `None` for an escape that is cut short and for bytes that are not UTF-8.
fn decode_component(segment: &str) -> Option<String> {
    let mut escapes = segment.split('%');
    escapes.next();
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let well_formed = escapes.all(|rest| {
        let bytes = rest.as_bytes();
        is_hex(bytes.first()) && is_hex(bytes.get(1))
    });
    if !well_formed {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_gives_the_name_a_path_means() {
        for (path, name) in [
            ("/a/b", "/a/b"),
            ("/%5Bboop%5D", "/[boop]"),
            ("/b%C3%B2op", "/bòop"),
            ("/%255B", "/%5B"),
            ("/%A0/%41", "/%A0/A"),
            ("/100%/%4", "/100%/%4"),
            ("//a///b/", "/a/b/"),
            ("/%2f%2Fevil.com%2f", "/evil.com/"),
            ("/a%2F/b", "/a/b"),
            ("/%00", "/\0"),
        ] {
            assert_eq!(decode(path), name, "{path}");
        }
    }

    #[test]
    fn encoding_is_encode_uri_component_by_segment() {
        for (name, path) in [
            ("/a-b_c.d!e~f*g'h(i)/", "/a-b_c.d!e~f*g'h(i)/"),
            ("/[b ò?#%&=+$,;:@]", "/%5Bb%20%C3%B2%3F%23%25%26%3D%2B%24%2C%3B%3A%40%5D"),
            ("/\\evil.com", "/%5Cevil.com"),
        ] {
            assert_eq!(encode(name), path);
            assert_eq!(decode(path), name);
        }
    }
}
