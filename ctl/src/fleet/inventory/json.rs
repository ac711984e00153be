//! JSON as TOML's values, each with its place, so that one reader does for both.

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{ObjectPropName, Value as Json},
    common::Ranged as _,
    parse_to_ast,
};
use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::scenario::keys::{Findings, Value};

/// The object that a text is. Nothing where it is none; what is wrong was told.
pub(super) fn table<'t>(text: &'t str, found: &mut Findings) -> Option<DeTable<'t>> {
    // The parser with places is lax: what is no JSON is found by the strict one, which also bounds how deep it nests.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let at = place(text, error.line(), error.column());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        found.at(at..at + 1, message, "mend the JSON syntax");
        return None;
    }
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    let value = match parsed {
        Ok(parsed) => parsed.value,
        Err(error) => {
            found.at(0..1, &error.to_string(), "mend the JSON syntax");
            return None;
        }
    };
    match value {
        Some(Json::Object(object)) => {
            let before = found.problems.len();
            let table = object_table(object, found);
            (found.problems.len() == before).then_some(table)
        }
        _ => {
            found.at(0..1, "this is no object", "write it as { \"host\": [ … ] }");
            None
        }
    }
}

fn object_table<'t>(object: jsonc_parser::ast::Object<'t>, found: &mut Findings) -> DeTable<'t> {
    let mut table = DeTable::new();
    for property in object.properties {
        let (span, key) = match property.name {
            ObjectPropName::String(name) => (name.range.start..name.range.end, name.value),
            ObjectPropName::Word(name) => (name.range.start..name.range.end, name.value.into()),
        };
        if table.contains_key(key.as_ref()) {
            found.at(span, &format!("the key '{key}' stands here twice"), "leave one of them out");
            continue;
        }
        if let Some(value) = value(property.value, found) {
            table.insert(Spanned::new(span, key), value);
        }
    }
    table
}

fn value<'t>(json: Json<'t>, found: &mut Findings) -> Option<Value<'t>> {
    let range = json.range();
    let span = range.start..range.end;
    let value = match json {
        Json::StringLit(text) => DeValue::String(text.value),
        Json::BooleanLit(value) => DeValue::Boolean(value.value),
        Json::NumberLit(number) => match DeValue::parse(number.value) {
            Ok(number) => number.into_inner(),
            Err(error) => {
                found.at(span, error.message(), "use a plain number");
                return None;
            }
        },
        Json::Object(object) => DeValue::Table(object_table(object, found)),
        Json::Array(array) => {
            let mut items = DeArray::new();
            for item in array.elements {
                if let Some(item) = value(item, found) {
                    items.push(item);
                }
            }
            DeValue::Array(items)
        }
        Json::NullKeyword(_) => {
            found.at(span, "null stands here", "leave the key out");
            return None;
        }
    };
    Some(Spanned::new(span, value))
}

/// A line and a column, both from 1, in bytes of the text.
fn place(text: &str, line: usize, column: usize) -> usize {
    let begin = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    (begin + column.saturating_sub(1)).min(text.len())
}
