//! The keys of inventories as types, for the JSON Schema that editors check files by. None is ever made: files are read key by
//! key, with everything that is wrong told at its place. A test holds the two to each other.
#![expect(dead_code, reason = "types that are there for their schema alone")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};

use crate::scenario::without_null;

/// An inventory of SSTS: the hosts of a fleet.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Inventory of SSTS")]
struct InventoryFile {
    /// Labels that are failure domains: hosts with one value may fail together. Of rack, power and service those that hosts have,
    /// unless it is said.
    domains: Option<Vec<String>>,
    /// For hosts that don't say it themselves, nor by a group.
    defaults: Option<Defaults>,
    /// The hosts.
    host: Vec<HostEntry>,
    /// What hosts have in common.
    group: Option<BTreeMap<String, Group>>,
}

/// For hosts that don't say it themselves.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Defaults {
    /// Of addresses without one; 7443 unless it is said.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    rack: Option<Label>,
    power: Option<Label>,
    service: Option<Label>,
    labels: Option<BTreeMap<String, Label>>,
    /// What a host draws under full load.
    watts: Option<f64>,
}

/// A host, or all that the ranges of its name stand for.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HostEntry {
    /// Such as db1, node[001-128] or r[1-4]n[1,3,5-7].
    name: String,
    /// https://HOST:PORT, HOST, or unix:PATH; with {name} and {1}, {2} … for what the ranges stand at. The name unless it is said.
    address: Option<String>,
    /// Where the address has none.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// Hosts of one rack may fail together.
    rack: Option<Label>,
    /// Hosts on one supply.
    power: Option<Label>,
    /// Hosts that serve one purpose.
    service: Option<Label>,
    /// Any others.
    labels: Option<BTreeMap<String, Label>>,
    /// Groups that it is in.
    groups: Option<Vec<String>>,
    /// What it draws under full load.
    watts: Option<f64>,
}

/// What hosts have in common that don't say otherwise themselves.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Group {
    /// Names of hosts, with ranges, * and ?; beside those that name the group.
    hosts: Option<Vec<String>>,
    rack: Option<Label>,
    power: Option<Label>,
    service: Option<Label>,
    labels: Option<BTreeMap<String, Label>>,
    watts: Option<f64>,
}

/// A label's value.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Label {
    Text(String),
    Number(i64),
    YesOrNo(bool),
}

/// The JSON Schema of inventories, as text.
pub(crate) fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<InventoryFile>();
    let mut schema = schema.to_value();
    without_null(&mut schema);
    // A schema that was just generated is plain data: there is nothing in it that could not be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    const WHOLE: &str = "domains = ['rack', 'row']\n[defaults]\nport = 7000\nrack = 'x'\nlabels = { row = 1 }\nwatts = 3\n\
        [[host]]\nname = 'a[1-2]'\naddress = '{name}.example.org'\nport = 7\nrack = 'r'\npower = 'p'\nservice = 's'\n\
        labels = { ssd = true, role = 'db' }\ngroups = ['g']\nwatts = 2.5\n\
        [group.g]\nhosts = ['a*']\nrack = 'r'\npower = 'p'\nservice = 's'\nlabels = { x = 'y' }\nwatts = 7\n";

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/inventory.schema.json");
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&path, schema()).unwrap();
        }
        let committed = fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            committed,
            schema(),
            "run the tests with UPDATE_SCHEMA=1 and commit docs/inventory.schema.json"
        );
    }

    #[test]
    fn reader_and_schema_take_the_same_keys() {
        let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let value: serde_json::Value = toml::from_str(WHOLE).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        super::super::text::parse("whole.toml", WHOLE.to_owned())
            .unwrap_or_else(|failure| panic!("{failure}"));
        // Each key that is spelt otherwise is known to neither.
        for key in ["domains", "port", "labels", "address", "groups", "hosts", "service", "watts"] {
            let other = WHOLE.replacen(&format!("{key} ="), &format!("{key}x ="), 1);
            let value: serde_json::Value = toml::from_str(&other).unwrap();
            assert!(!validator.is_valid(&value), "{other}");
            assert!(super::super::text::parse("x.toml", other.clone()).is_err(), "{other}");
        }
    }
}
