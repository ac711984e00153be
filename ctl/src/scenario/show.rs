//! A whole scenario as TOML: what was included, set and repeated stands in it, so that it says the same by itself.

use std::{fmt::Write as _, path};

use toml::de::{DeTable, DeValue};

use super::{keys::Value, origin::Origin, resolve::escaped};

/// Keys that are written as tables of their own.
const TABLES: [&str; 6] = ["limits", "wind_down", "fleet", "require", "then", "search"];
/// Keys that are written as a table for each item.
const LISTS: [&str; 6] = ["guards", "threshold", "trend", "phase", "burner", "kill"];

/// The text of a scenario that was made whole.
pub(super) fn written(scenario: &DeTable<'_>, origin: &Origin) -> String {
    let mut writer = Writer { text: String::new(), origin };
    writer.table("", scenario);
    writer.text
}

struct Writer<'o> {
    text: String,
    origin: &'o Origin,
}

impl Writer<'_> {
    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in &entries {
            if !is_apart(key.get_ref(), value) {
                let value = self.value(Some(key.get_ref()), value);
                let _written = writeln!(self.text, "{} = {value}", bare(key.get_ref()));
            }
        }
        // What stands alone first: a key after a table would be that table's.
        entries.sort_by_key(|(key, _)| LISTS.iter().position(|list| list == key.get_ref()));
        for (key, value) in entries {
            let path =
                if path.is_empty() { bare(key.get_ref()) } else { format!("{path}.{}", bare(key.get_ref())) };
            match value.get_ref() {
                DeValue::Table(table) if is_apart(key.get_ref(), value) => {
                    let _written = writeln!(self.text, "\n[{path}]");
                    self.table(&path, table);
                }
                DeValue::Array(items) if is_apart(key.get_ref(), value) => {
                    for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                        let _written = writeln!(self.text, "\n[[{path}]]");
                        self.table(&path, table);
                    }
                }
                _ => {}
            }
        }
    }

    fn value(&self, key: Option<&str>, value: &Value<'_>) -> String {
        match value.get_ref() {
            DeValue::String(text) => string(&escaped(&self.anchored(key, value, text))),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.value(None, item)).collect();
                format!("[{}]", items.join(", "))
            }
            DeValue::Table(table) => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                let entry = |(key, value): &(&serde_spanned::Spanned<_>, &Value<'_>)| {
                    let key: &std::borrow::Cow<'_, str> = key.get_ref();
                    format!("{} = {}", bare(key), self.value(Some(key), value))
                };
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }

    /// The path of a trace begins where its file is, and the text may be saved elsewhere.
    fn anchored(&self, key: Option<&str>, value: &Value<'_>, text: &str) -> String {
        let trace = text.trim_start().strip_prefix("trace:").filter(|_| key == Some("load"));
        let Some(name) = trace else { return text.to_owned() };
        let whole = path::absolute(self.origin.folder(&value.span()).join(name.trim()));
        whole.map_or_else(|_| text.to_owned(), |whole| format!("trace:{}", whole.display()))
    }
}

/// Whether it is written as a table of its own, or as several.
fn is_apart(key: &str, value: &Value<'_>) -> bool {
    match value.get_ref() {
        DeValue::Table(_) => TABLES.contains(&key),
        DeValue::Array(items) => {
            LISTS.contains(&key) && !items.is_empty() && items.iter().all(|item| item.get_ref().is_table())
        }
        _ => false,
    }
}

fn bare(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { key.to_owned() } else { string(key) }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
