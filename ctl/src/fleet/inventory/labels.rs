//! Labels of hosts: those that the user makes up, the failure domains, and the groups.

use std::{collections::BTreeMap, ops::Range};

use toml::de::DeValue;

use crate::{
    error::Problem,
    fleet::{
        Member,
        member::GROUP,
        pattern::{Meant, filled},
    },
    scenario::keys::{Findings, Keys, Value, did_you_mean, wrong_type},
};

/// Failure domains that have keys of their own.
const DOMAINS: [&str; 3] = ["rack", "power", "service"];
/// They are no labels: every host has them anyway.
const RESERVED: [&str; 3] = ["name", "address", GROUP];
const MAX_LABEL_BYTES: usize = 63;
const MAX_VALUE_BYTES: usize = 253;

/// What a host, a group, or the defaults say.
#[derive(Default)]
pub(super) struct Own {
    pub(super) labels: Labels,
    pub(super) watts: Option<f64>,
}

/// Labels, and where each value was written.
#[derive(Default)]
pub(super) struct Labels {
    pub(super) values: BTreeMap<String, Text>,
}

/// A label's value.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Labels {
    /// Of the keys of a host, with the placeholders of its name; else as they are.
    pub(super) fn from_keys(keys: &mut Keys<'_, '_>, meant: Option<&Meant>, found: &mut Findings) -> Self {
        let mut labels = Self::default();
        for domain in DOMAINS {
            if let Some(value) = keys.value(domain, domain, found) {
                labels.read(domain, value, meant, found);
            }
        }
        let Some(value) = keys.value("labels", "labels", found) else { return labels };
        let DeValue::Table(table) = value.get_ref() else {
            let Problem { message, mend } = wrong_type(value.get_ref(), "labels as { role = \"db\" }");
            found.at(value.span(), &message, &mend);
            return labels;
        };
        for (key, value) in table {
            let label = key.get_ref().as_ref();
            if let Some(Problem { message, mend }) = bad_label(label) {
                found.at(key.span(), &message, &mend);
            } else if labels.values.contains_key(label) {
                let message = format!("'{label}' is said twice of this host");
                found.at(key.span(), &message, "leave one of them out");
            } else {
                labels.read(label, value, meant, found);
            }
        }
        labels
    }

    fn read(&mut self, label: &str, value: &Value<'_>, meant: Option<&Meant>, found: &mut Findings) {
        let text = text(value.get_ref()).and_then(|text| match meant {
            Some(meant) if !meant.text.is_empty() => filled(&text, meant),
            _ => Ok(text),
        });
        match text.and_then(fit) {
            Ok(text) => {
                self.values.insert(label.to_owned(), Text { text, span: value.span() });
            }
            Err(Problem { message, mend }) => found.at(value.span(), &message, &mend),
        }
    }

    /// The groups that the host itself names.
    pub(super) fn insert_groups(&mut self, groups: &[String]) {
        if !groups.is_empty() {
            let mut names = groups.to_vec();
            names.sort_unstable();
            names.dedup();
            self.values.insert(GROUP.to_owned(), Text { text: names.join(","), span: 0..0 });
        }
    }

    pub(super) fn texts(self) -> BTreeMap<String, String> {
        self.values.into_iter().map(|(label, value)| (label, value.text)).collect()
    }
}

/// Puts a host into a group.
pub(super) fn join(labels: &mut BTreeMap<String, String>, group: &str) {
    let groups = labels.entry(GROUP.to_owned()).or_default();
    let mut names: Vec<&str> = groups.split(',').filter(|name| !name.is_empty()).collect();
    if !names.contains(&group) {
        names.push(group);
        names.sort_unstable();
        *groups = names.join(",");
    }
}

/// The labels that are failure domains: those that the inventory names, or the usual ones as far as a host has them.
pub(super) fn domains(value: Option<&Value<'_>>, members: &[Member], found: &mut Findings) -> Vec<String> {
    let has = |label: &str| members.iter().any(|member| member.labels.contains_key(label));
    let Some(value) = value else {
        return DOMAINS.into_iter().filter(|domain| has(domain)).map(str::to_owned).collect();
    };
    let items = value.get_ref().as_array();
    let wrong = |value: &DeValue<'_>| wrong_type(value, "a list of labels, such as [\"rack\", \"power\"]");
    let Some(items) = items else {
        let Problem { message, mend } = wrong(value.get_ref());
        found.at(value.span(), &message, &mend);
        return Vec::new();
    };
    let mut domains = Vec::new();
    for item in items {
        match item.get_ref().as_str() {
            None => {
                let Problem { message, mend } = wrong(item.get_ref());
                found.at(item.span(), &message, &mend);
            }
            Some(label) if !has(label) => {
                let known = members.iter().flat_map(|member| member.labels.keys().map(String::as_str));
                let hint = did_you_mean(label, known);
                let message = format!("no host has the label '{label}'");
                found.at(item.span(), &message, &format!("{hint}give hosts one, or leave it out"));
            }
            Some(label) => domains.push(label.to_owned()),
        }
    }
    domains
}

/// Whether a group may be called so.
pub(super) fn is_group(name: &str) -> Result<(), Problem> {
    match bad_label(name) {
        Some(problem) => Err(Problem::new(problem.message.replace("label", "group"), problem.mend)),
        None => Ok(()),
    }
}

fn bad_label(label: &str) -> Option<Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if RESERVED.contains(&label) {
        let mend = "choose another label; groups are said with groups = [\"db\"]";
        return Some(Problem::new(format!("every host has '{label}' anyway: it is no label"), mend));
    }
    if label.is_empty() || label.len() > MAX_LABEL_BYTES || !label.chars().all(fits) {
        let message = format!("'{}' is no name of a label", label.escape_default());
        return Some(Problem::new(message, "use 1 to 63 letters, digits, - _ . and /"));
    }
    None
}

fn fit(text: String) -> Result<String, Problem> {
    let mend = "use 1 to 253 characters";
    if text.is_empty() || text.len() > MAX_VALUE_BYTES {
        return Err(Problem::new(format!("a value of {} characters", text.len()), mend));
    }
    if text.contains(char::is_control) {
        return Err(Problem::new("a control character in a value", "leave it out"));
    }
    Ok(text)
}

fn text(value: &DeValue<'_>) -> Result<String, Problem> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        other => Err(wrong_type(other, "a value in quotes, such as \"db\"")),
    }
}
