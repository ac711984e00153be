//! The text of an inventory: TOML, or JSON with the same keys.

use std::sync::Arc;

use toml::de::DeTable;

use super::{hosts, json};
use crate::{
    error::Failure,
    fleet::Fleet,
    scenario::{
        failure,
        keys::{Findings, Keys},
        origin::Origin,
        source::{SourceFile, Sources},
        told, too_deep,
    },
};

/// Whatever a text lists that came from `name`.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub(super) fn parse(name: &str, text: String) -> Result<Fleet, Failure> {
    // The places of what is found are those of the text as it was before.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let sources = Arc::new(Sources { files: vec![SourceFile::new(name, text, 0)] });
    let text = sources.files[0].text.as_str();
    let mut found = Findings::new(Origin::of(sources.clone()));
    let table = if text.trim_start().starts_with('{') {
        json::table(text, &mut found)
    } else {
        toml_table(text, &mut found)
    };
    let Some(table) = table else { return Err(failure(told(found))) };
    let keys = Keys::new("an inventory", "", 0..0, &table);
    let fleet = hosts::from_keys(keys, &mut found);
    if found.problems.is_empty() { Ok(fleet) } else { Err(failure(told(found))) }
}

fn toml_table<'t>(text: &'t str, found: &mut Findings) -> Option<DeTable<'t>> {
    if let Some(span) = too_deep(text) {
        found.at(span, "a key of very many parts", "an inventory's keys have up to three parts");
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let mend = "mend the TOML syntax (https://toml.io)";
        found.at(error.span().unwrap_or(0..0), error.message().trim_end(), mend);
    }
    errors.is_empty().then(|| document.into_inner())
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
