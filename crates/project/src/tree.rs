//! The one tree that JSON, JSONC and TOML become: values with the byte offset they start at.

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    /// A TOML date, time or both, as written. JSON has none.
    Date(String),
    Array(Vec<Node>),
    /// In the order of the file; keys are distinct.
    Object(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: usize,
    pub(crate) node: Node,
}

/// Characters of a string shown in a message; the rest is cut.
const SHOWN_CHARS_MAX: usize = 60;

// === impl Node ===

impl Node {
    /// What was found, for a message: `the number 5`, `a list`.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => format!("the number {value}"),
            Value::String(value) => format!("the string {}", quote(value)),
            Value::Date(value) => format!("the TOML date {value} (quotes make it a string)"),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        }
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self.value, Value::Array(_))
    }

    /// The value as JSON, or the node of the TOML date in it, which JSON cannot hold.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value, &Node> {
        Ok(match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => serde_json::Value::Number(value.clone()),
            Value::String(value) => value.as_str().into(),
            Value::Date(_) => return Err(self),
            Value::Array(items) => items.iter().map(Node::to_json).collect::<Result<Vec<_>, _>>()?.into(),
            Value::Object(entries) => entries
                .iter()
                .map(|entry| Ok((entry.key.clone(), entry.node.to_json()?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()?
                .into(),
        })
    }
}

fn quote(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return format!("{text:?}");
    }
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{:?}", shown + "…")
}
