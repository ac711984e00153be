//! Variables of the environment that stand for keys: `SSTSD_OBSERVE__RATE_HZ` for `rate_hz` of `[observe]`.

use toml::{Table, Value};

use super::{Config, ConfigError};

const PREFIX: &str = "SSTSD_";
/// Read by the command line itself.
const NOT_KEYS: [&str; 1] = ["SSTSD_CONFIG"];
/// Keys that are lists; their variables are divided at commas.
const LISTS: [&str; 9] = [
    "listen",
    "limits__expendable_devices",
    "limits__mountable_devices",
    "limits__guards_off",
    "metrics__listen",
    "policy__paths",
    "policy__hours",
    "tls__listen",
    "tls__allowed_networks",
];

/// The configuration of `table` with the variables over it. Each variable is tried alone, so that the one at fault is named.
pub(super) fn overlay(
    mut table: Table,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let ours = environment.filter(|(name, _)| name.starts_with(PREFIX) && !NOT_KEYS.contains(&name.as_str()));
    for (name, text) in ours {
        let key = name[PREFIX.len()..].to_ascii_lowercase();
        let path: Vec<&str> = key.split("__").collect();
        let fits = |value: &Value| {
            let mut with = table.clone();
            if !set(&mut with, &path, value.clone()) {
                return Err("what stands before its last '__' is no section".to_owned());
            }
            with.try_into::<Config>().map(|_| ()).map_err(|error| error.message().to_owned())
        };
        // As TOML would read it (5, true, "x"), else as the plain text that people write in an environment.
        let as_toml = format!("x = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
        let as_text = if LISTS.contains(&key.as_str()) {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        } else {
            Value::String(text)
        };
        let value = match as_toml.filter(|value| fits(value).is_ok()) {
            Some(value) => value,
            None => match fits(&as_text) {
                Ok(()) => as_text,
                Err(message) => return Err(ConfigError::Environment { name, message }),
            },
        };
        set(&mut table, &path, value);
    }
    table.try_into().map_err(|error: toml::de::Error| ConfigError::Environment {
        name: PREFIX.to_owned() + "*",
        message: error.message().to_owned(),
    })
}

/// Sets a key below its sections; whether those are sections.
fn set(table: &mut Table, path: &[&str], value: Value) -> bool {
    match path {
        [] => false,
        [key] => {
            table.insert((*key).to_owned(), value);
            true
        }
        [section, rest @ ..] => {
            let section = table.entry((*section).to_owned()).or_insert_with(|| Value::Table(Table::new()));
            section.as_table_mut().is_some_and(|section| set(section, rest, value))
        }
    }
}
