//! The schema against what is read: the same keys, the same words, and the same files are good.

use std::{collections::BTreeSet, env, fs, path::Path};

use serde_json::Value;

use super::schema;
use crate::scenario::{
    BUILT_IN, Finding, documented_tests,
    malformed_tests::{CASES, SEEDS},
    toml_file::parse,
};

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&schema()).unwrap()).unwrap()
}

/// What a TOML parser makes of a file, as JSON; nothing where it is no TOML.
fn as_json(toml: &str) -> Option<Value> {
    let table: toml::Table = toml.parse().ok()?;
    serde_json::to_value(table).ok()
}

fn complaints(validator: &jsonschema::Validator, toml: &str) -> Vec<String> {
    let json = as_json(toml).unwrap_or_else(|| panic!("no TOML:\n{toml}"));
    validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario.schema.json");
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, schema()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap_or_default(),
        schema(),
        "run the tests with UPDATE_SCHEMA=1 and commit docs/scenario.schema.json"
    );
}

#[test]
fn what_is_a_scenario_keeps_the_schema() {
    let validator = validator();
    let documented = documented_tests::examples();
    let examples = documented.iter().map(|(name, text)| (name.as_str(), documented_tests::completed(text)));
    let built_in = BUILT_IN.iter().map(|built_in| (built_in.name, built_in.toml.to_owned()));
    let seeds = SEEDS.iter().map(|text| ("a seed", (*text).to_owned()));
    let mut count = 0;
    for (name, text) in examples.chain(built_in).chain(seeds) {
        let complaints = complaints(&validator, &text);
        assert!(complaints.is_empty(), "{name}: {complaints:#?}\n{text}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}

/// Unknown and missing keys, values of another kind and unknown words are for a schema to know.
#[test]
fn what_a_schema_can_know_to_be_wrong_breaks_it() {
    let validator = validator();
    let (mut known, mut missed) = (0, Vec::new());
    for (before, lines, _, _) in CASES {
        let text = format!("{before}{lines}\n");
        let Some(json) = as_json(&text) else { continue };
        let found = parse("s.toml", &text, &[]).expect_err("it is malformed");
        let is_known = |finding: &Finding| {
            let message = finding.message.as_str();
            // Words that a text has within are not told apart from others.
            let within = ["load", "status", "statistic", "phase '"];
            let is_within = within.iter().any(|part| message.contains(part));
            !is_within
                && (message.contains("has no key")
                    || message.contains("needs the key")
                    || message.contains("stands here")
                    || message.starts_with("there is no ") && !message.contains("metric"))
        };
        // Of a file that is not found, or of variables, a schema knows nothing.
        let is_apart = lines.contains("${") || lines.contains("[matrix]");
        if is_apart || !found.iter().any(is_known) {
            continue;
        }
        known += 1;
        if validator.is_valid(&json) {
            missed.push(format!("{text}\n{found:#?}"));
        }
    }
    assert!(known >= 50, "{known}");
    assert!(missed.is_empty(), "{} of {known}: {}", missed.len(), missed.join("\n"));
}

const TOP: &str = "name = 'x'\n";
const PHASE: &str = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n";

/// The keys that are known where one stands that is not.
fn known_keys(text: &str) -> BTreeSet<String> {
    let found = parse("s.toml", text, &[]).expect_err("it has an unknown key");
    let told = found.iter().find(|finding| finding.message.contains("has no key 'zzzzzzzz'"));
    let told = told.unwrap_or_else(|| panic!("{text}: {found:#?}"));
    let (_, keys) = told.mend.rsplit_once("use ").expect("it tells the known ones");
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_no_others() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let burner = |kind: &str| format!("{PHASE}[[phase.burner]]\nkind = '{kind}'\nzzzzzzzz = 1\n");
    for (definition, text) in [
        ("", format!("{TOP}zzzzzzzz = 1\n")),
        ("Limits", format!("{PHASE}[limits]\nzzzzzzzz = 1\n")),
        ("WindDown", format!("{PHASE}[wind_down]\nzzzzzzzz = 1\n")),
        ("Fleet", format!("{PHASE}[fleet]\nzzzzzzzz = 1\n")),
        ("FleetThreshold", format!("{PHASE}[[fleet.threshold]]\nzzzzzzzz = 1\n")),
        ("Guard", format!("{PHASE}[[guards]]\nzzzzzzzz = 1\n")),
        ("Threshold", format!("{PHASE}[[threshold]]\nzzzzzzzz = 1\n")),
        ("Threshold", format!("{PHASE}[[phase.threshold]]\nzzzzzzzz = 1\n")),
        ("Variable", format!("{PHASE}[variables.a]\nzzzzzzzz = 1\n")),
        ("Phase", format!("{PHASE}zzzzzzzz = 1\n")),
        ("Require", format!("{PHASE}[phase.require]\nzzzzzzzz = 1\n")),
        ("Room", format!("{PHASE}[phase.require]\ndisk = {{ zzzzzzzz = 1 }}\n")),
        ("Labelled", format!("{PHASE}[phase.require]\nthat = {{ zzzzzzzz = 1 }}\n")),
        ("Then", format!("{PHASE}[phase.then]\nzzzzzzzz = 1\n")),
        ("Trend", format!("{PHASE}[[trend]]\nzzzzzzzz = 1\n")),
        ("Search", format!("{PHASE}[phase.search]\nzzzzzzzz = 1\n")),
        ("Kill", format!("{PHASE}[[phase.kill]]\nzzzzzzzz = 1\n")),
        ("Ramp", format!("{PHASE}[[phase.burner]]\nkind = 'cpu'\nload = {{ zzzzzzzz = 1 }}\n")),
        ("Cpu", burner("cpu")),
        ("Memory", burner("memory")),
        ("Disk", burner("disk")),
        ("Network", burner("network")),
        ("Http", burner("http")),
    ] {
        let of = if definition.is_empty() { &schema } else { &schema["definitions"][definition] };
        let properties = of["properties"].as_object().unwrap_or_else(|| panic!("{definition}: {schema:#}"));
        // Whether a burner stands is settled before it is read.
        let in_schema: BTreeSet<String> = properties.keys().filter(|key| *key != "when").cloned().collect();
        assert_eq!(in_schema, known_keys(&text), "{definition}: the schema, and what is read");
    }
}

#[test]
fn the_schema_has_the_words_that_are_read_and_no_others() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let burner = |kind: &str, key: &str| {
        format!("{PHASE}[[phase.burner]]\nkind = '{kind}'\nsize = '1MiB'\n{key} = 'zzzzzzzz'\n")
    };
    let list = |key: &str| {
        format!(
            "{PHASE}[[phase.burner]]\nkind = 'memory'\nsize = '1MiB'\nmethod = 'verify'\n{key} = ['zzzzzzzz']\n"
        )
    };
    let guard = |key: &str| {
        format!("{PHASE}[[guards]]\nname = 'g'\nmetric = 'host.temperature'\nabove = 1\n{key} = 'zzzzzzzz'\n")
    };
    for (definition, text) in [
        ("Kernel", burner("cpu", "kernel")),
        ("Isa", burner("cpu", "isa")),
        ("Precision", burner("cpu", "precision")),
        ("Level", burner("cpu", "level")),
        ("Mode", burner("cpu", "mode")),
        ("Method", burner("memory", "method")),
        ("Pages", burner("memory", "pages")),
        ("Loop", list("loops")),
        ("Pattern", list("patterns")),
        ("Access", burner("disk", "rw")),
        ("Engine", burner("disk", "engine")),
        ("Protocol", burner("network", "protocol")),
        ("HttpMethod", burner("http", "method")),
        ("HttpProtocol", burner("http", "protocol")),
        ("Aggregate", guard("aggregate")),
        ("Missing", guard("missing")),
        ("Reaction", guard("reaction")),
        ("LastStep", guard("then")),
        ("Sensors", format!("{PHASE}[phase.require]\nsensors = 'zzzzzzzz'\n")),
        ("Otherwise", format!("{PHASE}[phase.require]\notherwise = 'zzzzzzzz'\n")),
        ("AfterFailure", format!("{PHASE}[phase.then]\non_fail = 'zzzzzzzz'\n")),
        ("Signal", format!("{PHASE}restart = true\n[[phase.kill]]\nat = '0.1s'\nsignal = 'zzzzzzzz'\n")),
        ("TrendKind", format!("{PHASE}[[trend]]\nmetric = 'agent.resident'\nkind = 'zzzzzzzz'\n")),
        ("AtLast", format!("{PHASE}[phase.then]\notherwise = 'zzzzzzzz'\n")),
        ("VariableType", format!("{PHASE}[variables.a]\ntype = 'zzzzzzzz'\n")),
    ] {
        let of = &schema["definitions"][definition];
        let words = of["anyOf"][0]["enum"].as_array().or(of["enum"].as_array());
        let in_schema: BTreeSet<String> = words
            .unwrap_or_else(|| panic!("{definition}: {of:#}"))
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        let found = parse("s.toml", &text, &[]).expect_err("it has an unknown word");
        let told = found.iter().find(|finding| finding.message.contains("'zzzzzzzz'"));
        let told = told.unwrap_or_else(|| panic!("{text}: {found:#?}"));
        let (_, read) = told.mend.rsplit_once("use ").expect("it tells the known ones");
        let read: BTreeSet<String> = read.split(", ").map(str::to_owned).collect();
        assert_eq!(in_schema, read, "{definition}: the schema, and what is read");
    }
}
