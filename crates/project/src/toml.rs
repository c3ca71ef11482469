//! TOML to the tree.

use toml::de::{DeTable, DeValue};

use crate::{
    error::ProjectError,
    file::SourceFile,
    tree::{Entry, Node, Value},
};

pub(crate) fn parse(file: &SourceFile) -> Result<Node, ProjectError> {
    let table = DeTable::parse(file.text()).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        syntax(file, offset, error.message().to_owned())
    })?;
    Ok(Node { at: 0, value: Value::Object(entries(file, table.get_ref())?) })
}

fn entries(file: &SourceFile, table: &DeTable<'_>) -> Result<Vec<Entry>, ProjectError> {
    table
        .iter()
        .map(|(key, value)| {
            Ok(Entry {
                key: key.get_ref().clone().into_owned(),
                key_at: key.span().start,
                node: convert(file, value.span().start, value.get_ref())?,
            })
        })
        .collect()
}

fn convert(file: &SourceFile, at: usize, value: &DeValue<'_>) -> Result<Node, ProjectError> {
    let value = match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(|number| Value::Number(number.into()))
            .map_err(|_| syntax(file, at, format!("{integer} does not fit in 64 bits")))?,
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok();
            number
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number)
                .ok_or_else(|| syntax(file, at, format!("{float} is not a finite number")))?
        }
        DeValue::Array(items) => Value::Array(
            items.iter().map(|item| convert(file, item.span().start, item.get_ref())).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => Value::Object(entries(file, table)?),
    };
    Ok(Node { at, value })
}

fn syntax(file: &SourceFile, offset: usize, message: String) -> ProjectError {
    ProjectError::Syntax { at: file.locate(offset), message }
}
