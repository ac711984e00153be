//! Trees of TOML values: moved to other places, and with other strings.

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::scenario::keys::Value;

/// The same, `by` places further on.
pub(super) fn shifted(value: Value<'_>, by: usize) -> Value<'_> {
    let span = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| shifted(item, by)).collect::<DeArray<'_>>())
        }
        DeValue::Table(table) => DeValue::Table(shifted_table(table, by)),
        plain => plain,
    };
    Spanned::new(span, value)
}

/// The same, `by` places further on.
pub(super) fn shifted_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let mut moved_table = DeTable::new();
    for (key, value) in table {
        let span = moved(key.span(), by);
        moved_table.insert(Spanned::new(span, key.into_inner()), shifted(value, by));
    }
    moved_table
}

/// The same, all of it at one place.
pub(super) fn at<'t>(value: DeValue<'t>, span: &Range<usize>) -> Value<'t> {
    let value = match value {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| at(item.into_inner(), span)).collect::<DeArray<'_>>())
        }
        plain => plain,
    };
    Spanned::new(span.clone(), value)
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

/// Calls `each` with every string.
pub(super) fn each_string(value: &Value<'_>, each: &mut dyn FnMut(&str)) {
    match value.get_ref() {
        DeValue::String(text) => each(text),
        DeValue::Array(items) => items.iter().for_each(|item| each_string(item, each)),
        DeValue::Table(table) => table.iter().for_each(|(_, value)| each_string(value, each)),
        _ => {}
    }
}

/// What a string becomes; nothing where it stays.
pub(super) type Change<'c, 't> = dyn FnMut(&Range<usize>, &str) -> Option<DeValue<'t>> + 'c;

/// The same with other strings.
pub(super) fn changed<'t>(value: Value<'t>, change: &mut Change<'_, 't>) -> Value<'t> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => change(&span, &text).unwrap_or(DeValue::String(text)),
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| changed(item, change)).collect::<DeArray<'_>>())
        }
        DeValue::Table(table) => {
            DeValue::Table(table.into_iter().map(|(key, value)| (key, changed(value, change))).collect())
        }
        plain => plain,
    };
    Spanned::new(span, value)
}
