//! Reads the keys of a TOML table one by one, remembers where each value was, and collects everything that is wrong
//! instead of giving up at the first.

use std::{collections::HashSet, ops::Range};

use serde_spanned::Spanned;
use ssts_proto::{nearest::distance, v1::Violation};
use toml::de::{DeTable, DeValue};

use super::{
    against::Against,
    origin::{Found, Origin, Place},
    resolve::Variable,
};
use crate::error::Problem;

/// A value and its place in the file.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// Characters of a message.
const MOST_SAID: usize = 600;
/// Unknown names for which a known one is looked for: nobody mends more at once.
const MOST_HINTS: usize = 500;

/// Collects places and problems while tables are read.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) origin: Origin,
    pub(crate) problems: Vec<Found>,
    /// Thresholds that a baseline gives their bounds.
    pub(crate) against: Vec<Against>,
    /// Fields of the contract that a problem was found with, so that no second one is reported for what stands in.
    broken: HashSet<String>,
    /// Where values begin that could not be had, and were told.
    silent: HashSet<usize>,
    /// Variables that the scenario defines, in the order of the file.
    pub(crate) variables: Vec<Variable>,
    /// Burners that are left out, and why.
    pub(crate) left_out: Vec<String>,
}

impl Findings {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            problems: Vec::new(),
            against: Vec::new(),
            broken: HashSet::new(),
            silent: HashSet::new(),
            variables: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Notes a problem with a field.
    pub(crate) fn add(&mut self, field: &str, span: Range<usize>, message: &str, mend: &str) {
        self.broken.insert(field.to_owned());
        self.at(span, message, mend);
    }

    /// Notes a problem with what is no field of the contract.
    pub(crate) fn at(&mut self, span: Range<usize>, message: &str, mend: &str) {
        if !self.silent.contains(&span.start) {
            let (message, mend) = (bounded(message), mend.to_owned());
            self.problems.push(Found { span: Some(span), message, mend });
        }
    }

    /// Notes a problem with the command line.
    pub(crate) fn elsewhere(&mut self, message: String, mend: String) {
        self.problems.push(Found { span: None, message, mend });
    }

    /// Notes a problem with a value that nothing more is to be said of.
    pub(crate) fn last_word(&mut self, span: Range<usize>, message: &str, mend: &str) {
        self.at(span.clone(), message, mend);
        self.silence(&span);
    }

    /// The same, told at a part of the value.
    pub(crate) fn last_word_at(
        &mut self,
        value: &Range<usize>,
        part: Range<usize>,
        message: &str,
        mend: &str,
    ) {
        if !self.silent.contains(&value.start) {
            self.at(part, message, mend);
            self.silence(value);
        }
    }

    /// Keeps problems with a value from being reported: its cause was.
    pub(crate) fn silence(&mut self, span: &Range<usize>) {
        self.silent.insert(span.start);
    }

    /// Notes a bound that is broken, unless more was told of the field already.
    pub(crate) fn violation(&mut self, violation: &Violation) {
        if !self.is_broken(&violation.field) {
            let found = self.origin.found(violation);
            if found.span.as_ref().is_none_or(|span| !self.silent.contains(&span.start)) {
                self.problems.push(found);
            }
        }
    }

    /// Keeps further problems with a field from being reported: its cause was.
    pub(crate) fn mark_broken(&mut self, field: &str) {
        self.broken.insert(field.to_owned());
    }

    /// Whether a problem was found with the field, or with what it is a part of.
    pub(crate) fn is_broken(&self, field: &str) -> bool {
        let mut field = field;
        loop {
            if self.broken.contains(field) {
                return true;
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = &field[..end],
                None => return false,
            }
        }
    }

    /// `did you mean 'load'? `, or nothing.
    pub(crate) fn hint<'n>(&self, name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
        if self.problems.len() > MOST_HINTS {
            return String::new();
        }
        did_you_mean(name, known)
    }
}

/// `did you mean 'load'? `, or nothing where no known name is near.
pub(crate) fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let near = known.into_iter().map(|known| (distance(known, name), known)).min();
    // Two letters changed places are two changes: of a short name that must be near enough.
    let near = near.filter(|(distance, known)| {
        let length = known.chars().count().max(name.chars().count());
        *distance <= 2.max(length / 3) && *distance < length
    });
    near.map_or_else(String::new, |(_, near)| format!("did you mean '{near}'? "))
}

/// A table whose keys are being read.
#[derive(Debug)]
pub(crate) struct Keys<'a, 't> {
    /// What it is, for messages, such as `a cpu burner`.
    what: &'static str,
    /// Its field in the contract; empty for the whole scenario.
    field: String,
    span: Range<usize>,
    table: &'a DeTable<'t>,
    read: Vec<&'static str>,
}

impl<'a, 't> Keys<'a, 't> {
    pub(crate) fn new(what: &'static str, field: &str, span: Range<usize>, table: &'a DeTable<'t>) -> Self {
        Self { what, field: field.to_owned(), span, table, read: Vec::new() }
    }

    pub(crate) fn set_what(&mut self, what: &'static str) {
        self.what = what;
    }

    /// Keys that are read elsewhere.
    pub(crate) fn know(&mut self, keys: &[&'static str]) {
        self.read.extend(keys);
    }

    /// Gives it another name in the contract.
    pub(crate) fn rename(&mut self, field: String, found: &mut Findings) {
        found.origin.set(field.clone(), Place::Span(self.span.clone()));
        self.field = field;
    }

    /// Its name in the contract.
    pub(crate) fn field(&self) -> String {
        self.field.clone()
    }

    /// The name in the contract of a part of this table.
    pub(crate) fn part(&self, name: &str) -> String {
        if self.field.is_empty() { name.to_owned() } else { format!("{}.{name}", self.field) }
    }

    /// The value of `key`, which the contract calls `name`.
    pub(crate) fn value(
        &mut self,
        key: &'static str,
        name: &str,
        found: &mut Findings,
    ) -> Option<&'a Value<'t>> {
        if !self.read.contains(&key) {
            self.read.push(key);
        }
        let value = self.table.get(key)?;
        found.origin.set(self.part(name), Place::Span(value.span()));
        Some(value)
    }

    /// The value of `key` as `read` takes it. What `read` refuses is noted.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        name: &str,
        found: &mut Findings,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = self.value(key, name, found)?;
        match read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(Problem { message, mend }) => {
                found.add(&self.part(name), value.span(), &message, &mend);
                None
            }
        }
    }

    /// Like [`Self::read`], of a key that must be there.
    pub(crate) fn need<T>(
        &mut self,
        key: &'static str,
        name: &str,
        found: &mut Findings,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Problem>,
        example: &str,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.read.push(key);
            let message = format!("{} needs the key '{key}'", self.what);
            found.add(
                &self.part(name),
                self.span.clone(),
                &message,
                &format!("add one, such as {key} = {example}"),
            );
            return None;
        }
        self.read(key, name, found, read)
    }

    /// Notes every key that was not read.
    pub(crate) fn finish(self, found: &mut Findings) {
        let mut unknown: Vec<_> =
            self.table.keys().filter(|key| !self.read.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let name = key.get_ref();
            let hint = found.hint(name, self.read.iter().copied());
            let message = format!("{} has no key '{}'", self.what, shortened(name));
            let mend = format!("{hint}use {}", self.read.join(", "));
            found.at(key.span(), &message, &mend);
        }
    }
}

/// A message of bearable length: it may quote a value that has none.
fn bounded(message: &str) -> String {
    match message.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// As much of a text as a message shows.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A string.
pub(crate) fn string(value: &DeValue<'_>) -> Result<String, Problem> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(value, "a string in quotes"))
}

/// A whole number of 0 or more.
pub(crate) fn whole(value: &DeValue<'_>) -> Result<u64, Problem> {
    let number = value.as_integer().ok_or_else(|| wrong_type(value, "a whole number"))?;
    u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| {
        Problem::new(format!("{} is out of range", number.as_str()), "use a whole number of 0 or more")
    })
}

/// A number, whole or not.
pub(crate) fn number(value: &DeValue<'_>) -> Result<f64, Problem> {
    let parsed = match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|number| number as f64)
        }
        _ => None,
    };
    parsed.ok_or_else(|| wrong_type(value, "a number"))
}

/// `true` or `false`.
pub(crate) fn boolean(value: &DeValue<'_>) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false"))
}

pub(crate) fn wrong_type(value: &DeValue<'_>, wanted: &str) -> Problem {
    Problem::new(format!("{} stands here", described(value)), format!("write {wanted}"))
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string '{}'", shortened(text)),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(value) => format!("the boolean {value}"),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_what_is_broken_is_broken() {
        let mut found = Findings::new(Origin::of_file("x", "y"));
        found.add("phases[1]", 0..1, "bad", "");
        assert!(found.is_broken("phases[1].name"));
        assert!(found.is_broken("phases[1]"));
        assert!(!found.is_broken("phases[10].name"));
    }
}
