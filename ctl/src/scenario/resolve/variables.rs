//! `[variables]`: names for values, which the command line can set.

use std::{collections::BTreeMap, ops::Range};

use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{
    Setting,
    depth::too_deep,
    template::{Part, parts, words},
    tree::{self, at},
};
use crate::{
    error::Problem,
    product,
    scenario::{
        keys::{Findings, Keys, Value, did_you_mean, number, shortened, string, wrong_type},
        values::one_of,
    },
};

/// Variables of one scenario.
const MAX_VARIABLES: usize = 256;
/// Items of a list.
pub(super) const MAX_ITEMS: usize = 1_000;

/// What values a variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Duration,
    Bytes,
    Percent,
    Number,
    Integer,
    Text,
    List,
}

/// As they are written.
const TYPES: [(&str, Type); 7] = [
    ("duration", Type::Duration),
    ("bytes", Type::Bytes),
    ("percent", Type::Percent),
    ("number", Type::Number),
    ("integer", Type::Integer),
    ("text", Type::Text),
    ("list", Type::List),
];

/// A variable as whoever sets it has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// As it is written: `duration`, `number` and so on.
    pub(crate) of: &'static str,
    /// As it is written; none where it has to be set.
    pub(crate) default: Option<String>,
    pub(crate) description: String,
    /// Where it is defined.
    at: usize,
}

/// The variables of a scenario.
#[derive(Debug, Default)]
pub(super) struct Variables<'t> {
    /// One that has no value was told.
    all: BTreeMap<String, Option<Value<'t>>>,
    /// Lists of the matrix, which have a value in phases only.
    lists: Vec<String>,
}

impl<'t> Variables<'t> {
    /// Those that the table defines, with the values that the settings give them.
    pub(super) fn take(table: &mut DeTable<'t>, settings: &'t [Setting], found: &mut Findings) -> Self {
        let mut variables = Self::default();
        let mut types = BTreeMap::new();
        if let Some(defined) = table.remove("variables") {
            let span = defined.span();
            match defined.into_inner() {
                DeValue::Table(defined) if defined.len() > MAX_VARIABLES => {
                    let message = format!("{} variables", defined.len());
                    found.at(span, &message, &format!("use at most {MAX_VARIABLES}"));
                }
                DeValue::Table(defined) => {
                    for (key, value) in defined {
                        variables.define(&key, &value, settings, &mut types, found);
                    }
                }
                other => {
                    let mend = "a table for each: [variables.size] with type = \"bytes\"";
                    let Problem { message, mend } = wrong_type(&other, mend);
                    found.at(span, &message, &mend);
                }
            }
        }
        found.variables.sort_by_key(|variable| variable.at);
        for Setting { name, value } in settings {
            if types.contains_key(name) {
                continue;
            }
            let known: Vec<&str> = types.keys().map(String::as_str).collect();
            let message = format!("--set {name}={value}: there is no variable '{}'", shortened(name));
            found.elsewhere(message, known_names(name, &known));
        }
        variables
    }

    fn define(
        &mut self,
        key: &Spanned<std::borrow::Cow<'t, str>>,
        value: &Value<'t>,
        settings: &'t [Setting],
        types: &mut BTreeMap<String, Option<Type>>,
        found: &mut Findings,
    ) {
        let name = key.get_ref().to_string();
        if !is_name(&name) {
            let message = format!("'{}' is no name of a variable", shortened(&name));
            found.at(key.span(), &message, "use 1 to 64 characters of a-z, 0-9, '_' and '-', a letter first");
        }
        types.insert(name.clone(), None);
        self.all.insert(name.clone(), None);
        let DeValue::Table(table) = value.get_ref() else {
            let mend = format!("a table: [variables.{}] with type = \"bytes\"", shortened(&name));
            let Problem { message, mend } = wrong_type(value.get_ref(), &mend);
            return found.at(value.span(), &message, &mend);
        };
        let field = format!("variables.{name}");
        let mut keys = Keys::new("a variable", &field, value.span(), table);
        let of = |value: &DeValue<'_>| one_of(value, "type", &TYPES);
        let of = keys.need("type", "type", found, of, "\"bytes\"");
        let description = keys.read("description", "description", found, string).unwrap_or_default();
        let default = keys.value("default", "default", found);
        keys.finish(found);
        let Some(of) = of else { return };
        types.insert(name.clone(), Some(of));
        found.variables.push(Variable {
            name: name.clone(),
            of: TYPES.iter().find(|(_, known)| *known == of).map_or("", |(name, _)| name),
            default: default.as_ref().map(|value| written(value.get_ref())),
            description,
            at: key.span().start,
        });
        let set = settings.iter().rev().find(|setting| setting.name == name);
        let default = default.and_then(|value| match typed(of, value.get_ref()) {
            Ok(typed) => Some(kept(typed, value)),
            Err(Problem { message, mend }) => {
                found.last_word(value.span(), &message, &mend);
                None
            }
        });
        let has_default = table.contains_key("default");
        let value = match set {
            Some(Setting { name, value: text }) => match from_flag(of, text) {
                Ok(value) => Some(at(value, &key.span())),
                Err(Problem { message, mend }) => {
                    found.elsewhere(format!("--set {name}={text}: {message}"), mend);
                    None
                }
            },
            None => default,
        };
        if set.is_none() && !has_default {
            let message = format!("the variable '{name}' has no value");
            found.at(key.span(), &message, &format!("give it a default, or set it: --set {name}=VALUE"));
        }
        self.all.insert(name, value);
    }

    /// Takes note of the matrix's lists.
    pub(super) fn beside<'n>(&mut self, lists: impl Iterator<Item = &'n str>) {
        self.lists = lists.map(str::to_owned).collect();
    }

    /// Whether there is one of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// The same with the values of variables where their names stand, and of `axes`.
    pub(super) fn fill_in(
        &self,
        value: Value<'t>,
        axes: &[(&str, &DeValue<'t>)],
        found: &mut Findings,
    ) -> Value<'t> {
        tree::changed(value, &mut |span, text| self.value_of(span, text, axes, found))
    }

    fn value_of(
        &self,
        span: &Range<usize>,
        text: &str,
        axes: &[(&str, &DeValue<'t>)],
        found: &mut Findings,
    ) -> Option<DeValue<'t>> {
        if !text.contains("${") {
            return None;
        }
        let Ok(parts) = parts(text) else {
            let mend = "close it: ${NAME}; for the characters themselves write $${";
            found.last_word(span.clone(), "a name that begins with ${ and does not end", mend);
            return None;
        };
        let mut whole = String::new();
        let mut told = Vec::new();
        for part in &parts {
            let name = match part {
                Part::Text(text) => {
                    whole += text;
                    continue;
                }
                Part::Name(name) => *name,
            };
            let axis = axes.iter().find(|(axis, _)| *axis == name).map(|(_, value)| *value);
            let value = match (axis, self.all.get(name)) {
                (Some(value), _) => value,
                (None, Some(Some(value))) => value.get_ref(),
                (None, Some(None)) => {
                    // Why it has none was told.
                    found.silence(span);
                    return None;
                }
                (None, None) if self.lists.iter().any(|list| list == name) => {
                    let message = format!("the list '{name}' of the matrix has one value in a phase only");
                    let mend = "use a variable, or write it within the phase";
                    found.last_word(span.clone(), &message, mend);
                    return None;
                }
                (None, None) => {
                    let known: Vec<&str> = self
                        .all
                        .keys()
                        .map(String::as_str)
                        .chain(axes.iter().map(|(name, _)| *name))
                        .collect();
                    let message = format!("there is no variable '{}'", shortened(name));
                    found.last_word(span.clone(), &message, &known_names(name, &known));
                    return None;
                }
            };
            if axis.is_none() {
                told.push(format!("{name} is {}", words(value).unwrap_or_else(|| "a list".into())));
            }
            if parts.len() == 1 {
                note(span, &told, found);
                return Some(at(value.clone(), span).into_inner());
            }
            let Some(text) = words(value) else {
                let message = format!("'{name}' is a list, which can't stand within a text");
                found.last_word(span.clone(), &message, "let it stand alone: \"${NAME}\"");
                return None;
            };
            whole += &text;
        }
        note(span, &told, found);
        Some(DeValue::String(whole.into()))
    }
}

fn note(span: &Range<usize>, told: &[String], found: &mut Findings) {
    if !told.is_empty() {
        found.origin.note(span, shortened(&told.join(", ")));
    }
}

fn known_names(name: &str, known: &[&str]) -> String {
    match known {
        [] => "define it: [variables.NAME] with a type and a default".into(),
        known => format!("{}there are {}", did_you_mean(name, known.iter().copied()), known.join(", ")),
    }
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// A default as `--set` would give it.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(|item| words(item.get_ref())).collect();
            items.join(",")
        }
        other => words(other).unwrap_or_default(),
    }
}

/// The value where it was written, each item of a list where that was.
fn kept<'t>(typed: DeValue<'t>, written: &Value<'t>) -> Value<'t> {
    Spanned::new(written.span(), typed)
}

/// The value of a variable of that type.
fn typed<'t>(of: Type, value: &DeValue<'t>) -> Result<DeValue<'t>, Problem> {
    if value.as_str().is_some_and(|text| text.contains("${")) {
        let mend = "write the value itself, and use both variables where they are needed";
        return Err(Problem::new("a variable in the value of a variable", mend));
    }
    let text = |wanted: &str| value.as_str().ok_or_else(|| wrong_type(value, wanted));
    match of {
        Type::Duration => {
            product::duration_ms(text("a duration in quotes, such as \"10s\"")?)?;
        }
        Type::Bytes => {
            crate::scenario::values::size(value)?;
        }
        Type::Percent => return percent(value).map(|percent| DeValue::String(percent.into())),
        Type::Number => {
            let number = number(value)?;
            if !number.is_finite() {
                return Err(Problem::new(format!("{number} is no finite number"), "write one"));
            }
        }
        Type::Integer => match value {
            DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_ok() => {}
            DeValue::Integer(number) => {
                let message = format!("{} is out of range", number.as_str());
                return Err(Problem::new(message, "use a whole number of at most 2^63-1"));
            }
            _ => return Err(wrong_type(value, "a whole number")),
        },
        Type::Text => {
            text("a text in quotes")?;
        }
        Type::List => list(value)?,
    }
    Ok(value.clone())
}

/// In the form that is taken wherever a share is.
fn percent(value: &DeValue<'_>) -> Result<String, Problem> {
    let digits = match value {
        DeValue::String(text) => text.trim().trim_end_matches('%').trim_end().to_owned(),
        DeValue::Integer(_) | DeValue::Float(_) => number(value)?.to_string(),
        _ => return Err(wrong_type(value, "percent: 80, or \"80%\"")),
    };
    match digits.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(format!("{percent}%")),
        _ => Err(Problem::new(format!("'{}' is no percentage", shortened(&digits)), "use 0 to 100 percent")),
    }
}

/// Checks a list: of numbers, texts and the like.
pub(super) fn list(value: &DeValue<'_>) -> Result<(), Problem> {
    let items = value.as_array().ok_or_else(|| wrong_type(value, "a list, such as [\"4KiB\", \"64KiB\"]"))?;
    if items.is_empty() || items.len() > MAX_ITEMS {
        let message = format!("a list of {} items", items.len());
        return Err(Problem::new(message, format!("give it 1 to {MAX_ITEMS}")));
    }
    match items.iter().find(|item| words(item.get_ref()).is_none()) {
        Some(item) => Err(wrong_type(item.get_ref(), "numbers and texts only in a list")),
        None => Ok(()),
    }
}

/// What `--set` gives.
fn from_flag(of: Type, text: &str) -> Result<DeValue<'_>, Problem> {
    let value = match of {
        Type::Duration | Type::Bytes | Type::Percent | Type::Text => DeValue::String(text.into()),
        Type::Number | Type::Integer => match plain(text) {
            Some(number @ (DeValue::Integer(_) | DeValue::Float(_))) => number,
            _ => {
                return Err(Problem::new(
                    format!("'{}' is no number", shortened(text)),
                    "write one, such as 8",
                ));
            }
        },
        Type::List if text.trim_start().starts_with('[') => plain(text).ok_or_else(|| {
            let mend = "separate its items by commas: --set sizes=4KiB,64KiB";
            Problem::new(format!("'{}' is no list", shortened(text)), mend)
        })?,
        Type::List => {
            let items = text.split(',').map(|text| Spanned::new(0..0, item(text.trim())));
            DeValue::Array(items.collect::<DeArray<'_>>())
        }
    };
    typed(of, &value)
}

/// An item of a list, which is a number where it looks like one.
fn item(text: &str) -> DeValue<'_> {
    match plain(text) {
        Some(number @ (DeValue::Integer(_) | DeValue::Float(_))) => number,
        _ => DeValue::String(text.into()),
    }
}

/// A value as TOML has it.
fn plain(text: &str) -> Option<DeValue<'_>> {
    too_deep(text).is_none().then(|| DeValue::parse(text).ok().map(Spanned::into_inner))?
}
