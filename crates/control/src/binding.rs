//! The bindings of an upload, before they are resolved.

use selvedge_model::{BindingKind, BindingRecord, VersionId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::secret::Secret;

/// A binding as an upload gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum BindingInput {
    /// `secret_text`, in the clear.
    Secret { name: String, text: Secret },
    /// Taken over from a former version: the latest, if none is named.
    Inherit { name: String, old_name: Option<String>, version: Option<VersionId> },
    /// Only name and type were given: what the latest version has of that name and type.
    Named { name: String, kind: String },
    /// All else, which is kept as it is.
    Given(BindingRecord),
}

impl BindingInput {
    pub fn name(&self) -> &str {
        match self {
            Self::Secret { name, .. } | Self::Inherit { name, .. } | Self::Named { name, .. } => name,
            Self::Given(record) => &record.name,
        }
    }
}

impl<'de> Deserialize<'de> for BindingInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Value::Object(mut fields) = Value::deserialize(deserializer)? else {
            return Err(D::Error::custom("a binding is an object with name and type"));
        };
        let text = |fields: &serde_json::Map<String, Value>, key: &str| {
            fields.get(key).and_then(Value::as_str).map(str::to_owned)
        };
        let Some(name) = text(&fields, "name") else {
            return Err(D::Error::custom("a binding has no name"));
        };
        let Some(kind) = text(&fields, "type") else {
            return Err(D::Error::custom(format_args!("the binding {name} has no type")));
        };
        match kind.as_str() {
            "inherit" => {
                let old_name = text(&fields, "old_name");
                let version = match text(&fields, "version_id") {
                    Some(latest) if latest == "latest" => None,
                    Some(version) => Some(version.parse().map_err(D::Error::custom)?),
                    None => None,
                };
                Ok(Self::Inherit { name, old_name, version })
            }
            "secret_text" => match fields.remove("text") {
                Some(Value::String(text)) => Ok(Self::Secret { name, text: Secret::new(text) }),
                // What stands in its place is not shown: it may be the secret in a wrong shape.
                Some(_) => Err(D::Error::custom(format_args!("the text of the secret {name} is not a string"))),
                None => Ok(Self::Named { name, kind }),
            },
            _ if fields.len() == 2 && needs_more(&kind) => Ok(Self::Named { name, kind }),
            _ => serde_json::from_value::<BindingRecord>(Value::Object(fields))
                .map(Self::Given)
                .map_err(|error| D::Error::custom(format_args!("the binding {name} ({kind}): {error}"))),
        }
    }
}

/// Whether a binding of that type says nothing by its name alone.
fn needs_more(kind: &str) -> bool {
    !matches!(
        kind,
        "assets"
            | "version_metadata"
            | "ai"
            | "analytics"
            | "browser"
            | "images"
            | "send_email"
            | "worker_loader"
            | "stream"
            | "media"
    )
}

/// Reads the bindings of an upload, which says all that a version is made of: there, more need not be said of a binding of
/// some types of which more can be. In a patch, clients name those that are to stay as they are.
pub(crate) fn uploaded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BindingInput>, D::Error> {
    let whole = |input: BindingInput| match input {
        BindingInput::Named { name, kind } if matches!(kind.as_str(), "analytics_engine" | "unsafe_hello_world") => {
            BindingInput::Given(BindingRecord { name, kind: BindingKind::Other { kind, fields: Map::new() } })
        }
        other => other,
    };
    Ok(Vec::<BindingInput>::deserialize(deserializer)?.into_iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As wrangler sends those of which the configuration says no more than a name.
    fn named(kind: &str) -> Value {
        json!({ "name": "B", "type": kind })
    }

    #[test]
    fn a_binding_that_says_all_by_its_type_is_not_taken_over_from_the_latest_version() {
        let patched = |kind: &str| serde_json::from_value::<BindingInput>(named(kind)).unwrap();
        let uploaded = |kind: &str| uploaded(json!([named(kind)])).unwrap().remove(0);
        for kind in ["ai", "analytics", "browser", "send_email", "worker_loader"] {
            assert!(matches!(patched(kind), BindingInput::Given(_)), "{kind}");
            assert_eq!(uploaded(kind), patched(kind));
        }
        for kind in ["analytics_engine", "unsafe_hello_world"] {
            assert!(matches!(patched(kind), BindingInput::Named { .. }), "{kind}");
            let BindingInput::Given(record) = uploaded(kind) else { panic!("{kind}") };
            assert_eq!(serde_json::to_value(&record).unwrap(), named(kind));
        }
        for kind in ["d1", "k2", "kv_namespace", "secret_text"] {
            assert!(matches!(uploaded(kind), BindingInput::Named { .. }), "{kind}");
        }
    }
}
