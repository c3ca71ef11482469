//! What stands where in a document whose shape is the platform's and may grow.

use serde_json::Value;

static NOTHING: Value = Value::Null;

/// What stands at a pointer such as `/action/type`; null where nothing does.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&NOTHING)
}

/// The text at a pointer; empty where there is none.
pub fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// What the array at a pointer holds; nothing where there is none.
pub fn each_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A value in words: a text as it is, what is not there as nothing.
pub fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_is_nothing() {
        let value = json!({ "a": { "b": "c", "n": 1, "list": [2] } });
        assert_eq!(text_at(&value, "/a/b"), "c");
        assert_eq!(text_at(&value, "/a/n"), "");
        assert_eq!(text_at(&value, "/x/y"), "");
        assert_eq!(each_at(&value, "/a/list"), [json!(2)]);
        assert!(each_at(&value, "/a/b").is_empty() && each_at(&json!(null), "/a").is_empty());
        assert_eq!([words(at(&value, "/a/n")), words(at(&value, "/x"))], ["1", ""]);
    }
}
