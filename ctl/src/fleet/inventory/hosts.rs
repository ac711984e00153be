//! The keys of an inventory: hosts, groups, defaults, and which labels are failure domains.

use std::{collections::HashMap, ops::Range};

use toml::de::DeValue;

use super::{
    address,
    labels::{self, Labels, Own},
};
use crate::{
    cli::Host,
    error::Problem,
    fleet::{
        Fleet, MAX_HOSTS, Member,
        glob::Glob,
        pattern::{BadPattern, Meant, Pattern, filled},
    },
    scenario::{
        keys::{Findings, Keys, Value, number, string, whole, wrong_type},
        table, tables,
    },
};

/// As docs/security.md has agents listen.
const PORT: u16 = 7443;
/// Of a name, so that it can be a file's, too.
const MAX_NAME_BYTES: usize = 253;
/// Beyond any one machine.
const MAX_WATTS: f64 = 1e6;

/// A host, and where it was written.
struct Listed {
    member: Member,
    name: Range<usize>,
}

/// Everything that an inventory says.
pub(super) fn from_keys(mut keys: Keys<'_, '_>, found: &mut Findings) -> Fleet {
    let defaults = keys
        .value("defaults", "defaults", found)
        .and_then(|value| table("the defaults", "defaults", value, found))
        .map(|keys| defaults(keys, found))
        .unwrap_or_default();
    let domains = keys.value("domains", "domains", found);
    let groups = keys.value("group", "group", found);
    let mut listed = Vec::new();
    let mut count: u64 = 0;
    for keys in tables("a host", "host", "host", &mut keys, found) {
        hosts(keys, &defaults, &mut count, &mut listed, found);
    }
    let has_hosts = keys.value("host", "host", found).is_some();
    keys.finish(found);
    if let Some(groups) = groups {
        self::groups(groups, &mut listed, found);
    }
    for host in &mut listed {
        let member = &mut host.member;
        for (label, value) in &defaults.own.labels.values {
            member.labels.entry(label.clone()).or_insert_with(|| value.text.clone());
        }
        member.watts = member.watts.or(defaults.own.watts);
    }
    distinct(&listed, found);
    if listed.is_empty() && found.problems.is_empty() {
        let message = if has_hosts { "the list of hosts is empty" } else { "an inventory needs hosts" };
        found.at(
            0..0,
            message,
            "add one: [[host]] with name = \"db1\" and address = \"https://db1.example.org:7443\"",
        );
    }
    let members: Vec<_> = listed.into_iter().map(|host| host.member).collect();
    let domains = labels::domains(domains, &members, found);
    Fleet { members, domains }
}

#[derive(Default)]
struct Defaults {
    port: Option<u16>,
    own: Own,
}

fn defaults(mut keys: Keys<'_, '_>, found: &mut Findings) -> Defaults {
    let port = keys.read("port", "port", found, port);
    let own = own(&mut keys, None, found);
    keys.finish(found);
    Defaults { port, own }
}

/// What hosts, groups and defaults have alike.
fn own(keys: &mut Keys<'_, '_>, meant: Option<&Meant>, found: &mut Findings) -> Own {
    let labels = Labels::from_keys(keys, meant, found);
    let watts = keys.read("watts", "watts", found, watts);
    Own { labels, watts }
}

/// One entry: a host, or all that its ranges stand for.
fn hosts(
    mut keys: Keys<'_, '_>,
    defaults: &Defaults,
    count: &mut u64,
    listed: &mut Vec<Listed>,
    found: &mut Findings,
) {
    let name = keys.need("name", "name", found, string, "\"db1\"");
    let span = keys.value("name", "name", found).map(Value::span).unwrap_or_default();
    let own_port = keys.read("port", "port", found, port);
    let groups = keys.read("groups", "groups", found, group_names).unwrap_or_default();
    let where_ = keys.value("address", "address", found);
    let names = name.and_then(|name| pattern(&name, &span, found));
    let names = names.filter(|names| {
        *count = count.saturating_add(names.count());
        let fits = *count <= MAX_HOSTS;
        if !fits {
            let message = format!("with these there are {count} hosts, and {MAX_HOSTS} are the most");
            found.at(span.clone(), &message, "use smaller ranges, or several inventories");
        }
        fits
    });
    let Some(names) = names.map(|names| names.all()) else {
        // What else is wrong with it is told all the same.
        own(&mut keys, Some(&Meant { text: String::new(), numbers: Vec::new() }), found);
        keys.finish(found);
        return;
    };
    if let Some(problem) = names.first().and_then(|first| bad_name(&first.text)) {
        found.at(span.clone(), &problem.message, &problem.mend);
    }
    let port = own_port.or(defaults.port).unwrap_or(PORT);
    let addresses = addresses(where_, &names, port, found);
    let mut shared = keys;
    for (meant, host) in names.iter().zip(addresses) {
        let before = found.problems.len();
        let Own { mut labels, watts } = own(&mut shared, Some(meant), found);
        labels.insert_groups(&groups);
        if let Some(host) = host {
            let labels = labels.texts();
            let member = Member { name: meant.text.clone(), host, labels, watts };
            listed.push(Listed { member, name: span.clone() });
        }
        // Of hundreds that are wrong alike one is enough.
        if found.problems.len() > before {
            break;
        }
    }
    shared.finish(found);
}

/// An address for each; none for what is wrong, which was told.
fn addresses(
    value: Option<&Value<'_>>,
    names: &[Meant],
    port: u16,
    found: &mut Findings,
) -> Vec<Option<Host>> {
    let Some(value) = value else {
        let own = |meant: &Meant| address::read(&meant.text, port).ok();
        return names.iter().map(own).collect();
    };
    let none = || names.iter().map(|_| None).collect();
    let span = value.span();
    let Some(text) = value.get_ref().as_str() else {
        let Problem { message, mend } = wrong_type(value.get_ref(), "an address in quotes");
        found.at(span, &message, &mend);
        return none();
    };
    let Some(pattern) = pattern(text, &span, found) else { return none() };
    let count = names.len() as u64;
    if pattern.has_ranges() && pattern.count() != count {
        let message = format!("{} addresses for {count} hosts", pattern.count());
        found.at(
            span,
            &message,
            "let its ranges have as many numbers as those of the name, or use {name} and {1} instead",
        );
        return none();
    }
    let texts = if pattern.has_ranges() {
        pattern.all().into_iter().map(|meant| meant.text).collect()
    } else {
        vec![text.to_owned(); names.len()]
    };
    let mut all = Vec::new();
    for (text, meant) in texts.iter().zip(names) {
        let host = filled(text, meant).and_then(|text| address::read(&text, port));
        match host {
            Ok(host) => all.push(Some(host)),
            Err(Problem { message, mend }) => {
                found.at(span, &message, &mend);
                return none();
            }
        }
    }
    all
}

/// What groups say of their hosts, who may say otherwise themselves.
fn groups(value: &Value<'_>, listed: &mut [Listed], found: &mut Findings) {
    let DeValue::Table(groups) = value.get_ref() else {
        let Problem { message, mend } = wrong_type(value.get_ref(), "each group as a table: [group.NAME]");
        found.at(value.span(), &message, &mend);
        return;
    };
    // What a host has of its group, and of which.
    let mut given: HashMap<(usize, String), (String, String)> = HashMap::new();
    let mut in_order: Vec<_> = groups.iter().collect();
    in_order.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in in_order {
        let group: &str = key.get_ref();
        if let Err(Problem { message, mend }) = labels::is_group(group) {
            found.at(key.span(), &message, &mend);
            continue;
        }
        let Some(mut keys) = table("a group", "group", value, found) else { continue };
        let span = keys.value("hosts", "hosts", found).map(Value::span);
        let names = keys.read("hosts", "hosts", found, globs);
        let own = own(&mut keys, None, found);
        keys.finish(found);
        let mut is_used = false;
        for (index, host) in listed.iter_mut().enumerate() {
            let member = &mut host.member;
            let is_named = names.as_ref().is_some_and(|names| names.matches(&member.name));
            if !is_named && !member.groups().any(|own| own == group) {
                continue;
            }
            is_used = true;
            if is_named {
                labels::join(&mut member.labels, group);
            }
            for (label, value) in &own.labels.values {
                let key = (index, label.clone());
                match given.get(&key) {
                    Some((other, text)) if *text != value.text => {
                        let message = format!(
                            "{label} of {} is '{}' here, and '{text}' by group '{other}'",
                            member.name, value.text
                        );
                        found.at(
                            value.span.clone(),
                            &message,
                            "say it at the host itself, or in one of the groups",
                        );
                        return;
                    }
                    Some(_) => {}
                    None if member.labels.contains_key(label) => {}
                    None => {
                        member.labels.insert(label.clone(), value.text.clone());
                        given.insert(key, (group.to_owned(), value.text.clone()));
                    }
                }
            }
            member.watts = member.watts.or(own.watts);
        }
        if !is_used {
            let (at, what) = match span {
                Some(span) => (span, "none of the hosts has such a name"),
                None => (key.span(), "no host is in this group"),
            };
            found.at(at, what, "give it hosts = [\"db[1-4]\"], or the hosts groups = [\"NAME\"]");
        }
    }
}

/// No two hosts have one name, or are one agent.
fn distinct(listed: &[Listed], found: &mut Findings) {
    let mut names: HashMap<&str, &Range<usize>> = HashMap::new();
    let mut hosts: HashMap<String, &str> = HashMap::new();
    for Listed { member, name: span } in listed {
        if names.insert(&member.name, span).is_some() {
            let message = format!("there are two hosts of the name '{}'", member.name);
            found.at(span.clone(), &message, "give each a name of its own");
        } else if let Some(other) = hosts.insert(member.host.to_string(), &member.name) {
            let message = format!("{} and {other} are at one address: {}", member.name, member.host);
            let mend = "give each its own, such as https://{name}.example.org:7443, or leave one out";
            found.at(span.clone(), &message, mend);
        }
    }
}

fn pattern(text: &str, span: &Range<usize>, found: &mut Findings) -> Option<Pattern> {
    match Pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(BadPattern { at, problem }) => {
            let at = found.origin.within(span, text, &at);
            found.at(at, &problem.message, &problem.mend);
            None
        }
    }
}

fn bad_name(name: &str) -> Option<Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let mend = "use letters, digits, - _ . and :";
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Some(Problem::new(format!("a name of {} characters", name.len()), "use 1 to 253"));
    }
    let bad = name.chars().find(|c| !fits(*c));
    bad.map(|c| Problem::new(format!("'{}' in a host's name", c.escape_default()), mend))
}

fn port(value: &DeValue<'_>) -> Result<u16, Problem> {
    let port = whole(value)?;
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Problem::new(format!("there is no port {port}"), "use 1 to 65535"))
}

fn watts(value: &DeValue<'_>) -> Result<f64, Problem> {
    let watts = number(value)?;
    let is_sane = watts > 0.0 && watts <= MAX_WATTS;
    is_sane.then_some(watts).ok_or_else(|| {
        Problem::new(format!("no host draws {watts} W"), "say what it draws under full load, such as 350")
    })
}

fn strings(value: &DeValue<'_>, example: &str) -> Result<Vec<String>, Problem> {
    let wrong = |value: &DeValue<'_>| wrong_type(value, &format!("a list of names, such as {example}"));
    let items = value.as_array().ok_or_else(|| wrong(value))?;
    items
        .iter()
        .map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(|| wrong(item.get_ref())))
        .collect()
}

fn group_names(value: &DeValue<'_>) -> Result<Vec<String>, Problem> {
    let names = strings(value, "[\"canary\"]")?;
    names.iter().try_for_each(|name| labels::is_group(name))?;
    Ok(names)
}

fn globs(value: &DeValue<'_>) -> Result<Glob, Problem> {
    Glob::any(&strings(value, "[\"db[1-4]\", \"web*\"]")?)
}
