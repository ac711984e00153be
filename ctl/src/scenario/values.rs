//! Values that several keys of a scenario file take.

use toml::de::DeValue;

use super::keys::{Value, whole, wrong_type};
use crate::{error::Problem, quantity};

pub(super) fn duration(value: &DeValue<'_>) -> Result<u64, Problem> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a duration in quotes, such as \"10s\""))?;
    quantity::duration_ms(text)
}

/// A size in quotes, or bytes.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, Problem> {
    match value {
        DeValue::String(text) => quantity::size_bytes(text),
        DeValue::Integer(_) => whole(value),
        _ => Err(wrong_type(value, "a size in quotes, such as \"512MiB\", or bytes")),
    }
}

/// A list in quotes, or an array of numbers.
pub(super) fn cores(value: &DeValue<'_>) -> Result<Vec<u32>, Problem> {
    let one = |value: &Value<'_>| {
        u32::try_from(whole(value.get_ref())?)
            .map_err(|_| Problem::new("no core has this number", "use less"))
    };
    match value {
        DeValue::String(text) => quantity::cores(text),
        DeValue::Array(list) if !list.is_empty() => list.iter().map(one).collect(),
        _ => Err(wrong_type(value, "a list of cores in quotes, such as \"0-3,8\"")),
    }
}

pub(super) fn one_of<T: Copy>(value: &DeValue<'_>, what: &str, known: &[(&str, T)]) -> Result<T, Problem> {
    let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = value.as_str().ok_or_else(|| wrong_type(value, &format!("one of {names}, in quotes")))?;
    known
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| Problem::new(format!("there is no {what} '{text}'"), format!("use {names}")))
}
