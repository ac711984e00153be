//! `[matrix]`: lists of values. A phase that names one stands once for each value; one that names several, once for each
//! combination.

use serde_spanned::Spanned;
use ssts_proto::validate::MAX_PHASES;
use toml::de::{DeArray, DeTable, DeValue};

use super::{
    template::{Part, names, parts, words},
    tree::{each_string, shifted},
    variables::{Variables, is_name, list},
};
use crate::{
    error::Problem,
    scenario::keys::{Findings, Value, shortened},
};

/// Lists of one matrix.
const MAX_AXES: usize = 8;

/// The lists of a scenario, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Matrix<'t> {
    axes: Vec<Axis<'t>>,
}

#[derive(Debug)]
struct Axis<'t> {
    name: String,
    values: Vec<DeValue<'t>>,
}

impl<'t> Matrix<'t> {
    /// Those that the table defines; variables stand for lists, or for single values.
    pub(super) fn take(table: &mut DeTable<'t>, variables: &Variables<'t>, found: &mut Findings) -> Self {
        let mut matrix = Self::default();
        let Some(defined) = table.remove("matrix") else { return matrix };
        let span = defined.span();
        let DeValue::Table(defined) = defined.into_inner() else {
            found.at(
                span,
                "the matrix is no table",
                "write a list for each name: [matrix] with size = [\"4KiB\", \"64KiB\"]",
            );
            return matrix;
        };
        if defined.len() > MAX_AXES {
            found.at(
                span,
                &format!("a matrix of {} lists", defined.len()),
                &format!("use at most {MAX_AXES}"),
            );
            return matrix;
        }
        let mut axes: Vec<_> = defined.into_iter().collect();
        axes.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in axes {
            let name = key.get_ref().to_string();
            if !is_name(&name) {
                let message = format!("'{}' is no name of a list", shortened(&name));
                found.at(
                    key.span(),
                    &message,
                    "use 1 to 64 characters of a-z, 0-9, '_' and '-', a letter first",
                );
            } else if variables.has(&name) {
                let message = format!("'{name}' is the name of a variable, too");
                found.at(key.span(), &message, "give the list, or the variable, another name");
            }
            let value = variables.fill_in(value, &[], found);
            let values = match list(value.get_ref()) {
                Ok(()) => match value.into_inner() {
                    DeValue::Array(items) => items.into_iter().map(Spanned::into_inner).collect(),
                    _ => Vec::new(),
                },
                Err(Problem { message, mend }) => {
                    found.at(value.span(), &message, &mend);
                    Vec::new()
                }
            };
            matrix.axes.push(Axis { name, values });
        }
        matrix
    }

    /// The phases, each once for every value that it names, with all values filled in.
    pub(super) fn expand(
        &self,
        phases: Value<'t>,
        variables: &Variables<'t>,
        found: &mut Findings,
    ) -> Value<'t> {
        let span = phases.span();
        let items = match phases.into_inner() {
            DeValue::Array(items) => items,
            other => return variables.fill_in(Spanned::new(span, other), &[], found),
        };
        let mut all = DeArray::new();
        for phase in items {
            let axes = self.named_by(&phase);
            if axes.is_empty() {
                all.push(variables.fill_in(phase, &[], found));
                continue;
            }
            let count: usize = axes.iter().map(|axis| axis.values.len()).product();
            if count == 0 {
                // A list that is broken was told.
                found.mark_broken("phases");
            }
            if all.len() + count > MAX_PHASES {
                found.mark_broken("phases");
                let message = format!("the matrix makes {count} phases of this one");
                found.at(
                    phase.span(),
                    &message,
                    &format!("a scenario has at most {MAX_PHASES}: shorten its lists"),
                );
                continue;
            }
            for place in 0..count {
                let values = combination(&axes, place);
                let note =
                    values.iter().map(|(name, value)| told(name, value)).collect::<Vec<_>>().join(", ");
                let by = found.origin.copy(shortened(&note));
                let named = renamed(phase.clone(), &values);
                all.push(variables.fill_in(shifted(named, by), &values, found));
            }
        }
        Spanned::new(span, DeValue::Array(all))
    }

    /// What its lists are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().map(|axis| axis.name.as_str())
    }

    fn named_by(&self, value: &Value<'_>) -> Vec<&Axis<'t>> {
        let mut named = vec![false; self.axes.len()];
        if !named.is_empty() {
            each_string(value, &mut |text| {
                for name in names(text) {
                    if let Some(index) = self.axes.iter().position(|axis| axis.name == name) {
                        named[index] = true;
                    }
                }
            });
        }
        self.axes.iter().zip(named).filter(|(_, named)| *named).map(|(axis, _)| axis).collect()
    }
}

/// The values of the `place`-th combination: the last list changes fastest.
fn combination<'a, 't>(axes: &[&'a Axis<'t>], place: usize) -> Vec<(&'a str, &'a DeValue<'t>)> {
    let mut rest = place;
    let mut values: Vec<_> = axes
        .iter()
        .rev()
        .map(|axis| {
            let value = &axis.values[rest % axis.values.len()];
            rest /= axis.values.len();
            (axis.name.as_str(), value)
        })
        .collect();
    values.reverse();
    values
}

fn told(name: &str, value: &DeValue<'_>) -> String {
    format!("{name} is {}", words(value).unwrap_or_default())
}

/// With a name of its own: the values stand where the name has them, else at its end.
fn renamed<'t>(phase: Value<'t>, values: &[(&str, &DeValue<'t>)]) -> Value<'t> {
    let span = phase.span();
    let DeValue::Table(mut table) = phase.into_inner() else {
        return Spanned::new(span, DeValue::Boolean(false));
    };
    if let Some(name) = table.get_mut("name")
        && let DeValue::String(text) = name.get_ref()
    {
        let mut named = String::new();
        for part in parts(text).unwrap_or_default() {
            match part {
                Part::Text(text) => named += &text.replace("${", "$${"),
                Part::Name(name) => match values.iter().find(|(axis, _)| *axis == name) {
                    Some((_, value)) => named += &slug(value),
                    None => named += &format!("${{{name}}}"),
                },
            }
        }
        for (axis, value) in values {
            if !names(text).any(|name| name == *axis) {
                named += &format!("-{}", slug(value));
            }
        }
        *name.get_mut() = DeValue::String(named.into());
    }
    Spanned::new(span, DeValue::Table(table))
}

/// A value as a part of a name.
fn slug(value: &DeValue<'_>) -> String {
    let text = words(value).unwrap_or_default().to_ascii_lowercase();
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    plain.trim_matches('-').to_owned()
}
