//! Sets of hosts, by their names and labels: `role=db,rack!=r7`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fleet, Member, glob::Glob, member::GROUP};
use crate::{
    cli::FleetFlags,
    error::{Failure, Problem},
    scenario::keys::did_you_mean,
};

/// Every host has these, beside its labels.
const NAME: &str = "name";
const ADDRESS: &str = "address";
/// Values of a label that a message shows.
const MOST_SHOWN: usize = 6;

/// What hosts of a set have in common: every term holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// As it was written.
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// A label that is there, whatever its value; or a name, where no host has such a label.
    Word { word: String, name: Glob, is_negated: bool },
    /// A label with one of these values. Negated, it holds where the label is absent, too.
    Value { label: String, values: Glob, is_negated: bool },
}

impl Selection {
    /// As the command line has it.
    ///
    /// # Errors
    /// It is none; with the mend.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let terms = split(text)?.into_iter().map(term).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { text: text.to_owned(), terms })
    }

    fn holds(&self, member: &Member, labels: &BTreeSet<&str>) -> bool {
        self.terms.iter().all(|term| term.holds(member, labels))
    }

    /// Labels that no host has, and names: most likely they were meant otherwise.
    fn unknown(&self, fleet: &Fleet, labels: &BTreeSet<&str>) -> Option<Problem> {
        let known = || labels.iter().copied().chain([NAME, ADDRESS]);
        self.terms.iter().find_map(|term| match term {
            Term::Value { label, .. } if !known().any(|known| known == label) => {
                let hint = did_you_mean(label, known());
                Some(Problem::new(
                    format!("no host has the label '{label}'"),
                    format!("{hint}{}", fleet.told()),
                ))
            }
            Term::Word { word, name, is_negated: false }
                if !labels.contains(word.as_str())
                    && !fleet.members.iter().any(|member| name.matches(&member.name)) =>
            {
                let names = fleet.members.iter().map(|member| member.name.as_str());
                let hint = did_you_mean(word, labels.iter().copied().chain(names));
                Some(Problem::new(
                    format!("no host is called '{word}', and none has such a label"),
                    format!("{hint}{}", fleet.told()),
                ))
            }
            _ => None,
        })
    }
}

impl Term {
    fn holds(&self, member: &Member, labels: &BTreeSet<&str>) -> bool {
        match self {
            Self::Word { word, name, is_negated } => {
                let is_there = if labels.contains(word.as_str()) {
                    member.labels.contains_key(word)
                } else {
                    name.matches(&member.name)
                };
                is_there != *is_negated
            }
            Self::Value { label, values, is_negated } => {
                let is_one = match label.as_str() {
                    NAME => values.matches(&member.name),
                    ADDRESS => values.matches(&member.host.to_string()),
                    // A host may be in several.
                    GROUP => member.groups().any(|group| values.matches(group)),
                    label => member.labels.get(label).is_some_and(|value| values.matches(value)),
                };
                is_one != *is_negated
            }
        }
    }
}

impl Fleet {
    /// The hosts that the flags leave.
    ///
    /// # Errors
    /// There are none, or a flag is about a label or a name that no host has.
    pub(crate) fn narrowed(self, flags: &FleetFlags) -> Result<Self, Failure> {
        let labels: BTreeSet<&str> =
            self.members.iter().flat_map(|member| member.labels.keys().map(String::as_str)).collect();
        for (flag, selections) in [("--select", &flags.select), ("--exclude", &flags.exclude)] {
            for selection in selections {
                if let Some(Problem { message, mend }) = selection.unknown(&self, &labels) {
                    return Err(Failure::usage(format!("{flag} '{}': {message}", selection.text), mend));
                }
            }
        }
        let any = |selections: &[Selection], member: &Member| {
            selections.iter().any(|selection| selection.holds(member, &labels))
        };
        let is_meant = |member: &&Member| {
            (flags.select.is_empty() || any(&flags.select, member)) && !any(&flags.exclude, member)
        };
        let limit = flags.limit.map_or(usize::MAX, |limit| limit as usize);
        let members: Vec<_> = self.members.iter().filter(is_meant).take(limit).cloned().collect();
        if members.is_empty() {
            let message = format!("none of the {} hosts is selected", self.members.len());
            return Err(Failure::usage(message, self.told()));
        }
        Ok(Self { members, domains: self.domains })
    }

    /// What can be selected by, in a line.
    fn told(&self) -> String {
        let mut labels: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for member in &self.members {
            let own = member.labels.iter().filter(|(label, _)| *label != GROUP);
            let own = own.map(|(label, value)| (label.as_str(), value.as_str()));
            for (label, value) in own.chain(member.groups().map(|group| (GROUP, group))) {
                *labels.entry(label).or_default().entry(value).or_default() += 1;
            }
        }
        let label = |(label, values): (&str, BTreeMap<&str, usize>)| {
            let shown: Vec<_> = values.iter().take(MOST_SHOWN).map(|(value, _)| *value).collect();
            let more = if values.len() > MOST_SHOWN { ", …" } else { "" };
            format!("{label}={}{more}", shown.join("|"))
        };
        let mut told: Vec<_> = labels.into_iter().map(label).collect();
        let names: Vec<_> = self.members.iter().map(|member| member.name.as_str()).collect();
        told.push(match &names[..] {
            [first, .., last] if names.len() > MOST_SHOWN => format!("name={first}|…|{last}"),
            names => format!("name={}", names.join("|")),
        });
        format!("hosts have {}", told.join("; "))
    }
}

/// The terms between commas, but for those in brackets.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut terms, mut depth, mut begin) = (Vec::new(), 0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => {
                depth =
                    depth.checked_sub(1).ok_or("a bracket that was not opened, as in role in (db, web)")?;
            }
            ',' if depth == 0 => {
                terms.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a bracket that is not closed, as in role in (db, web)".into());
    }
    terms.push(&text[begin..]);
    Ok(terms)
}

fn term(text: &str) -> Result<Term, String> {
    const MEND: &str =
        "write role=db, role!=db, role in (db, web), role notin (db, web), role, !role, or a name";
    let text = text.trim();
    let globs =
        |values: &[&str]| Glob::any(values).map_err(|Problem { message, mend }| format!("{message}; {mend}"));
    let label = |text: &str| {
        let text = text.trim();
        let is_label =
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "()[]!=*?".contains(c));
        is_label.then(|| text.to_owned()).ok_or_else(|| format!("'{text}' is no label; {MEND}"))
    };
    if let Some((left, right)) = text.split_once('=') {
        let (left, is_negated) = left.strip_suffix('!').map_or((left, false), |left| (left, true));
        let right = right.strip_prefix('=').unwrap_or(right).trim();
        if right.is_empty() {
            return Err(format!("no value follows '{text}'; {MEND}"));
        }
        return Ok(Term::Value { label: label(left)?, values: globs(&[right])?, is_negated });
    }
    if let Some(list) = text.strip_suffix(')') {
        let (left, values) = list.split_once('(').ok_or_else(|| format!("'{text}' is no set; {MEND}"))?;
        let (key, word) = left
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(|| format!("'{text}' is no set; {MEND}"))?;
        let is_negated = match word {
            "in" => false,
            "notin" => true,
            other => return Err(format!("'{other}' stands where 'in' or 'notin' is meant; {MEND}")),
        };
        let values: Vec<_> = split(values)?.into_iter().map(str::trim).collect();
        if values.iter().any(|value| value.is_empty()) {
            return Err(format!("a value is missing in '{text}'; {MEND}"));
        }
        return Ok(Term::Value { label: label(key)?, values: globs(&values)?, is_negated });
    }
    let (word, is_negated) = text.strip_prefix('!').map_or((text, false), |word| (word.trim(), true));
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "()!".contains(c)) {
        return Err(format!("'{text}' is no set; {MEND}"));
    }
    Ok(Term::Word { word: word.to_owned(), name: globs(&[word])?, is_negated })
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
