//! Values that several keys of a scenario file take.

use toml::de::DeValue;

use super::keys::{Value, did_you_mean, number, shortened, whole, wrong_type};
use crate::{error::Problem, product, quantity};

pub(super) fn duration(value: &DeValue<'_>) -> Result<u64, Problem> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a duration in quotes, such as \"10s\""))?;
    product::duration_ms(text)
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

/// A share in percent: a number, or in quotes with its sign.
pub(super) fn percent(value: &DeValue<'_>) -> Result<f64, Problem> {
    match value.as_str().map(|text| text.trim().trim_end_matches('%').trim_end().parse()) {
        None => number(value),
        Some(Ok(percent)) => Ok(percent),
        Some(Err(_)) => Err(wrong_type(value, "a number of percent, such as 50 or \"50%\"")),
    }
}

/// A share in whole percent.
pub(super) fn whole_percent(value: &DeValue<'_>) -> Result<u32, Problem> {
    if value.as_str().is_none() {
        return Ok(u32::try_from(whole(value)?).unwrap_or(u32::MAX));
    }
    let percent = percent(value)?;
    if percent.fract() == 0.0 && (0.0..=1e6).contains(&percent) {
        return Ok(percent as u32);
    }
    Err(Problem::new(format!("{percent} % is no whole number"), "use a whole number of percent"))
}

pub(super) fn one_of<T: Copy>(value: &DeValue<'_>, what: &str, known: &[(&str, T)]) -> Result<T, Problem> {
    let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = value.as_str().ok_or_else(|| wrong_type(value, &format!("one of {names}, in quotes")))?;
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let hint = did_you_mean(text, known.iter().map(|(name, _)| *name));
        Problem::new(format!("there is no {what} '{}'", shortened(text)), format!("{hint}use {names}"))
    })
}
