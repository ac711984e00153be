//! Files that a scenario includes: found, read, and put together with it. The one that includes says the last word.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{depth::too_deep, tree::shifted_table};
use crate::{
    error::Problem,
    scenario::{
        keys::{Findings, Value, wrong_type},
        origin::Found,
        read_text,
        source::{SourceFile, Sources},
    },
};

/// Files that include each other in a row.
const MAX_DEPTH: usize = 16;
/// Files of one scenario.
const MAX_FILES: usize = 64;
/// Of all files together.
const MAX_BYTES: usize = 4 << 20;

const MEND: &str =
    "include = \"base.toml\", or a list of files: include = [\"limits.toml\", \"phases.toml\"]";
/// Lists of a scenario: those of an included file come first.
const LISTS: [&str; 4] = ["phase", "guards", "threshold", "trend"];
/// Tables of a scenario whose keys are put together.
const TABLES: [&str; 4] = ["limits", "fleet", "variables", "matrix"];

/// The file of that name and content with all that it includes, and what could not be had.
pub(in crate::scenario) fn load(name: &str, text: String) -> (Sources, Vec<Found>) {
    let mut loader = Loader { sources: Sources::default(), problems: Vec::new(), chain: Vec::new() };
    loader.chain.push((fs::canonicalize(name).ok(), name.to_owned()));
    loader.add(name, text);
    (loader.sources, loader.problems)
}

struct Loader {
    sources: Sources,
    problems: Vec<Found>,
    /// The files that led here: by their true names, and as they are called.
    chain: Vec<(Option<PathBuf>, String)>,
}

impl Loader {
    fn add(&mut self, name: &str, text: String) -> usize {
        let index = self.sources.files.len();
        let names = included(&text);
        let file = SourceFile::new(name, text, self.sources.end());
        let (base, folder) = (file.base, file.folder());
        self.sources.files.push(file);
        for (span, path) in names {
            let place = base + span.start;
            match self.include(&folder, &path) {
                Ok(included) => {
                    self.sources.files[index].included.insert(place, included);
                }
                Err(Problem { message, mend }) => {
                    self.problems.push(Found { span: Some(place..base + span.end), message, mend });
                }
            }
        }
        index
    }

    fn include(&mut self, folder: &Path, path: &str) -> Result<usize, Problem> {
        if path.contains("${") {
            return Err(Problem::new("a variable in the name of a file to include", "write the name itself"));
        }
        let path = folder.join(path);
        let name = path.display().to_string();
        let real = fs::canonicalize(&path).ok();
        if let Some(first) = self.chain.iter().position(|(known, _)| known.is_some() && *known == real) {
            let mut names: Vec<&str> = self.chain[first..].iter().map(|(_, name)| name.as_str()).collect();
            names.push(&name);
            let message = format!("{} includes itself: {}", names[0], names.join(" → "));
            return Err(Problem::new(message, "take one of these out"));
        }
        if self.chain.len() >= MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} files that include each other in a row");
            return Err(Problem::new(message, "put some of them together"));
        }
        if self.sources.files.len() >= MAX_FILES {
            return Err(Problem::new(format!("more than {MAX_FILES} files"), "put some of them together"));
        }
        let text = read_text(&path)?;
        if self.sources.end() + text.len() > MAX_BYTES {
            let message = format!("all files together are larger than {} MiB", MAX_BYTES >> 20);
            return Err(Problem::new(message, "include less"));
        }
        self.chain.push((real, name.clone()));
        let index = self.add(&name, text);
        self.chain.pop();
        Ok(index)
    }
}

/// The files that a text names, and where. What is no such name is told when it is put together.
fn included(text: &str) -> Vec<(Range<usize>, String)> {
    let mut names = Vec::new();
    if !text.contains("include") || too_deep(text).is_some() {
        return names;
    }
    let (document, _) = DeTable::parse_recoverable(text);
    let mut of = |table: &DeTable<'_>| {
        for name in table.get("include").map(named).unwrap_or_default() {
            names.extend(name.get_ref().as_str().map(|path| (name.span(), path.to_owned())));
        }
    };
    of(document.get_ref());
    let phases = document.get_ref().get("phase").and_then(|phases| phases.get_ref().as_array());
    for phase in phases.into_iter().flat_map(|phases| phases.iter()) {
        if let Some(table) = phase.get_ref().as_table() {
            of(table);
        }
    }
    names
}

/// One name, or the items of a list.
fn named<'a, 't>(value: &'a Value<'t>) -> Vec<&'a Value<'t>> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    }
}

/// Puts the files together.
#[derive(Debug)]
pub(super) struct Assembler<'t, 'f> {
    pub(super) sources: &'t Sources,
    pub(super) found: &'f mut Findings,
    /// A file could not be read, or is no TOML: what it would have said is not known.
    pub(super) is_incomplete: bool,
}

impl<'t> Assembler<'t, '_> {
    /// A file and all that it includes.
    pub(super) fn document(&mut self, index: usize) -> Option<DeTable<'t>> {
        let file = &self.sources.files[index];
        if let Some(span) = too_deep(&file.text) {
            let span = file.base + span.start..file.base + span.end;
            self.found.at(span, "a key of very many parts", "a scenario's keys have one part, or two");
            self.is_incomplete = true;
            return None;
        }
        let (document, errors) = DeTable::parse_recoverable(&file.text);
        if !errors.is_empty() {
            for error in &errors {
                let span = error.span().unwrap_or(0..0);
                let span = file.base + span.start..file.base + span.end;
                self.found.at(span, error.message().trim_end(), "mend the TOML syntax (https://toml.io)");
            }
            self.is_incomplete = true;
            return None;
        }
        let mut own = shifted_table(document.into_inner(), file.base);
        let mut under = None;
        if let Some(names) = own.remove("include") {
            self.under(file, &names, &mut under);
        }
        self.phases(file, &mut own, &mut under);
        Some(match under {
            None => own,
            Some(under) => together(under, own),
        })
    }

    /// What each of the files says, put together with what those before it said.
    fn under(&mut self, file: &SourceFile, names: &Value<'t>, under: &mut Option<DeTable<'t>>) {
        for name in named(names) {
            if let Some(document) = self.included(file, name) {
                *under = Some(match under.take() {
                    None => document,
                    Some(under) => together(under, document),
                });
            }
        }
    }

    fn included(&mut self, file: &SourceFile, name: &Value<'t>) -> Option<DeTable<'t>> {
        if name.get_ref().as_str().is_none() {
            let Problem { message, .. } = wrong_type(name.get_ref(), "");
            self.found.at(name.span(), &message, MEND);
        }
        let document = file.included.get(&name.span().start).and_then(|index| self.document(*index));
        self.is_incomplete |= document.is_none();
        document
    }

    /// Phases that are a file's: those of the file stand in their place, and what else it says is put below.
    fn phases(&mut self, file: &SourceFile, own: &mut DeTable<'t>, under: &mut Option<DeTable<'t>>) {
        let Some(phases) = own.get_mut("phase") else { return };
        let span = phases.span();
        let DeValue::Array(items) = phases.get_mut() else { return };
        let includes =
            |item: &Value<'t>| item.get_ref().as_table().is_some_and(|table| table.contains_key("include"));
        if !items.iter().any(includes) {
            return;
        }
        let mut all = DeArray::new();
        for item in std::mem::replace(items, DeArray::new()) {
            if !includes(&item) {
                all.push(item);
                continue;
            }
            let Some(names) = item.get_ref().get("include") else { continue };
            if let Some((key, _)) = item
                .get_ref()
                .as_table()
                .and_then(|table| table.iter().find(|(key, _)| key.get_ref() != "include"))
            {
                let message = format!("a phase that is included has no key '{}' of its own", key.get_ref());
                self.found.at(key.span(), &message, "set it in the file, by a variable if need be");
            }
            for name in named(names) {
                let Some(mut document) = self.included(file, name) else { continue };
                match document.remove("phase").map(Spanned::into_inner) {
                    Some(DeValue::Array(included)) => included.into_iter().for_each(|phase| all.push(phase)),
                    _ => self.found.at(name.span(), "the file has no phase", "include it at the top"),
                }
                *under = Some(match under.take() {
                    None => document,
                    Some(under) => together(under, document),
                });
            }
        }
        own.insert(Spanned::new(span.clone(), "phase".into()), Spanned::new(span, DeValue::Array(all)));
    }
}

/// What both say: lists one after the other, tables key by key; of all else what `over` says.
fn together<'t>(mut under: DeTable<'t>, over: DeTable<'t>) -> DeTable<'t> {
    for (key, value) in over {
        let name = key.get_ref().to_string();
        let span = value.span();
        let value = match (under.remove(name.as_str()).map(Spanned::into_inner), value.into_inner()) {
            (Some(DeValue::Array(mut first)), DeValue::Array(then)) if LISTS.contains(&name.as_str()) => {
                then.into_iter().for_each(|item| first.push(item));
                DeValue::Array(first)
            }
            (Some(DeValue::Table(first)), DeValue::Table(then)) if TABLES.contains(&name.as_str()) => {
                DeValue::Table(keys_together(first, then))
            }
            (_, value) => value,
        };
        under.insert(key, Spanned::new(span, value));
    }
    under
}

/// Of a variable that both name, too, what the second leaves out stays.
fn keys_together<'t>(mut first: DeTable<'t>, then: DeTable<'t>) -> DeTable<'t> {
    for (key, value) in then {
        let span = value.span();
        let value = match (first.remove(&**key.get_ref()).map(Spanned::into_inner), value.into_inner()) {
            (Some(DeValue::Table(mut first)), DeValue::Table(then)) => {
                for (key, value) in then {
                    first.remove(&**key.get_ref());
                    first.insert(key, value);
                }
                DeValue::Table(first)
            }
            (_, value) => value,
        };
        first.insert(key, Spanned::new(span, value));
    }
    first
}
