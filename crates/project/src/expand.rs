//! `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+alternative}` in the values of `.env` files, as Node's
//! `dotenv-expand` has them. `\$` is a dollar sign. `.dev.vars` is not expanded.

use std::collections::BTreeMap;

/// Substitutions in one value, and its length after them: far above any real file's, so what exceeds them never ends.
const SUBSTITUTIONS_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The value grew or turned without end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endless;

/// A reference found in a value.
struct Reference<'v> {
    start: usize,
    end: usize,
    expression: &'v str,
}

/// Expands `value` with the variables set before it.
pub(crate) fn expand(value: &str, known: &BTreeMap<String, String>) -> Result<String, Endless> {
    let mut value = value.to_owned();
    for _ in 0..SUBSTITUTIONS_MAX {
        let Some(reference) = find(&value) else {
            return Ok(value.replace("\\$", "$"));
        };
        let with = evaluate(reference.expression, known);
        let before = value.get(..reference.start).unwrap_or_default();
        let after = value.get(reference.end..).unwrap_or_default();
        value = format!("{before}{with}{after}");
        if value.len() > VALUE_BYTES_MAX {
            return Err(Endless);
        }
    }
    Err(Endless)
}

/// The first reference; of nested ones, the innermost, so that its value becomes part of the outer's default.
fn find(value: &str) -> Option<Reference<'_>> {
    value
        .match_indices('$')
        .filter(|(start, _)| !value.get(..*start).is_some_and(|before| before.ends_with('\\')))
        .find_map(|(start, _)| {
            let after = value.get(start + 1..)?;
            let (expression, end) = match after.strip_prefix('{') {
                Some(inner) => {
                    let length = inner.find(['{', '}'])?;
                    let closed = inner.get(length..)?.starts_with('}');
                    let expression = inner.get(..length).filter(|it| closed && !it.is_empty())?;
                    (expression, start + 2 + length + 1)
                }
                None => {
                    let length = name_length(after)?;
                    (after.get(..length)?, start + 1 + length)
                }
            };
            Some(Reference { start, end, expression })
        })
}

fn name_length(text: &str) -> Option<usize> {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    Some(text.find(ends).unwrap_or(text.len()))
}

fn evaluate(expression: &str, known: &BTreeMap<String, String>) -> String {
    let (name, operator, operand) = split_operator(expression);
    let value = known.get(name).map(String::as_str).filter(|value| !value.is_empty());
    match (operator, value) {
        (Operator::Alternative, Some(_)) | (Operator::Default, None) => operand.to_owned(),
        (Operator::Alternative, None) => String::new(),
        (Operator::Default, Some(value)) => value.to_owned(),
    }
}

#[derive(Clone, Copy)]
enum Operator {
    /// `:-`, `-`, or none with an empty default.
    Default,
    /// `:+`, `+`.
    Alternative,
}

fn split_operator(expression: &str) -> (&str, Operator, &str) {
    let Some(at) = expression.find([':', '-', '+']) else {
        return (expression, Operator::Default, "");
    };
    let (name, rest) = expression.split_at_checked(at).unwrap_or((expression, ""));
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
        (Some(operand), _) => (name, Operator::Alternative, operand),
        (None, Some(operand)) => (name, Operator::Default, operand),
        (None, None) => (expression, Operator::Default, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(value: &str) -> Result<String, Endless> {
        let known = [("A", "one"), ("EMPTY", ""), ("RAW", "$RAW"), ("GROWS", "$GROWS$GROWS")];
        let known = known.map(|(key, value)| (key.to_owned(), value.to_owned()));
        expand(value, &known.into())
    }

    #[test]
    fn references_become_the_values_set_before() {
        for (value, result) in [
            ("$A", "one"),
            ("${A}/x", "one/x"),
            ("a$A-b", "aone-b"),
            ("$UNSET.", "."),
            ("${UNSET:-two}", "two"),
            ("${EMPTY-two}", "two"),
            ("${A:-two}", "one"),
            ("${A:+set}", "set"),
            ("${UNSET+set}", ""),
            ("${UNSET:-${A}}", "one"),
            ("\\$A", "$A"),
            ("50$ and $1", "50$ and $1"),
            ("${", "${"),
            ("${}", "${}"),
        ] {
            assert_eq!(expanded(value), Ok(result.to_owned()), "{value}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        assert_eq!(expanded("$RAW"), Err(Endless));
        assert_eq!(expanded("$GROWS"), Err(Endless));
    }
}
