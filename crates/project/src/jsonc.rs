//! JSON with comments and trailing commas to the tree. Nothing laxer than that is taken: wrangler would refuse it.

use std::{collections::HashMap, str::FromStr};

use jsonc_parser::{CollectOptions, ParseOptions, ast, common::Ranged};

use crate::{
    error::ProjectError,
    file::SourceFile,
    tree::{Entry, Node, Value},
};

const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_extended_string_escapes: false,
    allow_non_finite_numbers: false,
};

pub(crate) fn parse(file: &SourceFile) -> Result<Node, ProjectError> {
    let parsed = jsonc_parser::parse_to_ast(file.text(), &CollectOptions::default(), &OPTIONS)
        .map_err(|error| syntax(file, error.range().start, error.kind().to_string()))?;
    match parsed.value {
        Some(value) => convert(file, value),
        None => Err(syntax(file, 0, "the file is empty".to_owned())),
    }
}

fn convert(file: &SourceFile, value: ast::Value<'_>) -> Result<Node, ProjectError> {
    let at = value.start();
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::StringLit(literal) => Value::String(literal.value.into_owned()),
        ast::Value::NumberLit(literal) => serde_json::Number::from_str(literal.value)
            .map(Value::Number)
            .map_err(|_| syntax(file, at, format!("{} is not a JSON number", literal.value)))?,
        ast::Value::Array(array) => {
            Value::Array(array.elements.into_iter().map(|element| convert(file, element)).collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => Value::Object(entries(file, object)?),
    };
    Ok(Node { at, value })
}

fn entries(file: &SourceFile, object: ast::Object<'_>) -> Result<Vec<Entry>, ProjectError> {
    let mut entries = Vec::with_capacity(object.properties.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for property in object.properties {
        let key_at = property.name.start();
        let key = property.name.into_string();
        if let Some(first) = seen.insert(key.clone(), key_at) {
            let line = file.locate(first).line;
            let message = format!("duplicate key {key:?}, first on line {line}");
            return Err(syntax(file, key_at, message));
        }
        let node = convert(file, property.value)?;
        entries.push(Entry { key, key_at, node });
    }
    Ok(entries)
}

fn syntax(file: &SourceFile, offset: usize, message: String) -> ProjectError {
    ProjectError::Syntax { at: file.locate(offset), message }
}
