//! What requests to the API say besides their bodies: queries (the first byte says which: `A` is the first of
//! `selvedge_api::fuzzing`'s list), names, tokens, content types.

#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_api::fuzzing::{Parameters, read_query, read_text};
use selvedge_control::PAGE_MAX;
use selvedge_control::fuzzing::{assets_claims, assets_token};

/// The longest refusal, in bytes, of a query of so many.
const REFUSAL_BYTES_MAX: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else {
        return;
    };
    read_text(text);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match read_query(usize::from(kind.wrapping_sub(b'A')), text) {
        Ok(Parameters::Page(page)) => {
            assert!((1..=PAGE_MAX).contains(&page.limit) && i64::try_from(page.offset).is_ok(), "{page:?}");
        }
        Ok(Parameters::Audit(query)) => {
            assert!((1..=PAGE_MAX).contains(&query.limit), "{query:?}");
            assert!(query.before.is_none_or(|before| i64::try_from(before).is_ok()), "{query:?}");
        }
        Ok(Parameters::Other) => {}
        Err(refusal) => {
            assert!((400..500).contains(&refusal.status), "{refusal:?}");
            assert!((1..=REFUSAL_BYTES_MAX + text.len()).contains(&refusal.message.len()), "{refusal:?}");
        }
    }
    check_token(*kind, text);
});

/// A token of an upload says what was signed, and nothing once a byte of it is another.
fn check_token(at: u8, text: &str) {
    assert_eq!(assets_claims(text), None, "a token that nobody signed");
    let exp = text.len() as u64;
    let token = assets_token(text, exp).expect("a text can be signed");
    assert_eq!(assets_claims(&token), Some((text.to_owned(), exp)));
    let at = usize::from(at) * token.len() / 256;
    let another = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    let mut forged = token;
    forged.replace_range(at..=at, another);
    assert_eq!(assets_claims(&forged), None, "{forged}");
}
