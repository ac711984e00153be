//! The scenario file: which keys there are, and what each becomes in the contract. `docs/scenarios.md` describes it for
//! users.

use std::{ops::Range, sync::Arc};

use ssts_proto::{
    v1::{Burner, Limits, Phase, Scenario, Threshold, burner},
    validate::{self, Violations},
};
use toml::de::DeValue;

use super::{
    Plan, cpu, decision, disk, fleet, guard, http,
    keys::{Findings, Keys, Value, boolean, did_you_mean, number, shortened, string, whole, wrong_type},
    memory, network,
    origin::{Finding, Origin},
    recovery,
    resolve::{self, Setting},
    search, show, threshold, trend,
    values::{duration, size},
};
use crate::error::Problem;

/// Problems that are told at once: nobody mends more before the next look.
const MAX_TOLD: usize = 100;

/// Everything that is wrong with the file, with those that it includes, or with the scenario that they hold; the first so many
/// of it, and how much more there is.
pub(super) fn parse(file_name: &str, text: &str, settings: &[Setting]) -> Result<Plan, Vec<Finding>> {
    let (sources, problems) = resolve::load(file_name, text.to_owned());
    let is_there = problems.is_empty();
    let sources = Arc::new(sources);
    let mut found = Findings::new(Origin::of(sources.clone()));
    found.problems = problems;
    let whole = resolve::whole(&sources, settings, &mut found).filter(|_| is_there);
    let Some(table) = whole else { return Err(told(found)) };
    let mut keys = Keys::new("a scenario", "", 0..0, &table);
    keys.know(&resolve::KEYS);
    let (scenario, seed_is_given) = scenario(&mut keys, &mut found);
    let fleet = keys
        .value("fleet", "fleet", &mut found)
        .and_then(|value| self::table("the fleet", "fleet", value, &mut found))
        .map(|keys| fleet::from_keys(keys, &mut found))
        .unwrap_or_default();
    keys.finish(&mut found);

    let mut violations = Violations::default();
    validate::scenario(&scenario, &mut violations);
    for violation in violations.into_vec() {
        found.violation(&violation);
    }
    if !found.problems.is_empty() {
        return Err(told(found));
    }
    let toml = show::written(&table, &found.origin);
    let Findings { origin, against, variables, left_out, .. } = found;
    Ok(Plan { scenario, origin, seed_is_given, against, fleet, toml, variables, left_out })
}

/// In the order of the text, each once.
pub(crate) fn told(found: Findings) -> Vec<Finding> {
    let Findings { origin, problems, .. } = found;
    let problems = origin.sorted(problems);
    let hidden = problems.len().saturating_sub(MAX_TOLD);
    let mut told: Vec<_> = problems.iter().take(MAX_TOLD).map(|found| origin.told(found)).collect();
    if hidden > 0 {
        let message = format!("{hidden} more");
        told.push(Finding { position: None, message, mend: "mend those above first".into() });
    }
    told
}

fn scenario(keys: &mut Keys<'_, '_>, found: &mut Findings) -> (Scenario, bool) {
    let name = keys.need("name", "name", found, string, "\"my-scenario\"").unwrap_or_default();
    let description = keys.read("description", "description", found, string).unwrap_or_default();
    let seed = keys.read("seed", "seed", found, whole);
    let shared_cores = keys.read("shared_cores", "shared_cores", found, boolean).unwrap_or_default();
    let limits = keys
        .value("limits", "limits", found)
        .and_then(|value| table("the limits", "limits", value, found))
        .map(|keys| limits(keys, found));
    let wind_down = keys
        .value("wind_down", "wind_down", found)
        .and_then(|value| table("the wind-down", "wind_down", value, found))
        .map(|keys| decision::wind_down(keys, found));
    let mut thresholds: Vec<Threshold> = Vec::new();
    let of_run = tables("a threshold", "threshold", "thresholds", keys, found);
    for keys in of_run {
        thresholds.push(threshold::from_keys(keys, "", found));
    }
    let phases = tables("a phase", "phase", "phases", keys, found)
        .into_iter()
        .map(|keys| phase(keys, &mut thresholds, found))
        .collect();
    let guards = tables("a guard", "guards", "guards", keys, found)
        .into_iter()
        .map(|keys| guard::from_keys(keys, found))
        .collect();
    let trends = tables("a trend", "trend", "trends", keys, found)
        .into_iter()
        .map(|keys| trend::from_keys(keys, found))
        .collect();
    let (seed, seed_is_given) = (seed.unwrap_or_default(), seed.is_some());
    let scenario = Scenario {
        name,
        description,
        phases,
        limits,
        seed,
        shared_cores,
        guards,
        thresholds,
        trends,
        wind_down,
    };
    (scenario, seed_is_given)
}

fn limits(mut keys: Keys<'_, '_>, found: &mut Findings) -> Limits {
    let limits = Limits {
        max_duration_ms: keys.read("max_duration", "max_duration_ms", found, duration),
        min_available_memory_bytes: keys.read(
            "min_available_memory",
            "min_available_memory_bytes",
            found,
            size,
        ),
        max_temperature_celsius: keys.read("max_temperature", "max_temperature_celsius", found, number),
    };
    keys.finish(found);
    limits
}

/// One phase; its thresholds join those of the scenario.
fn phase(mut keys: Keys<'_, '_>, thresholds: &mut Vec<Threshold>, found: &mut Findings) -> Phase {
    let name = keys.need("name", "name", found, string, "\"warm-up\"").unwrap_or_default();
    let duration_ms = keys.need("duration", "duration_ms", found, duration, "\"10s\"").unwrap_or_default();
    let burners = tables("a burner", "burner", "burners", &mut keys, found)
        .into_iter()
        .map(|keys| Burner { kind: burner(keys, found) })
        .collect();
    for mut keys in tables("a threshold", "threshold", "thresholds", &mut keys, found) {
        keys.rename(format!("thresholds[{}]", thresholds.len()), found);
        thresholds.push(threshold::from_keys(keys, &name, found));
    }
    let baseline = keys.read("baseline", "baseline", found, boolean).unwrap_or_default();
    let ramp_ms = keys.read("ramp", "ramp_ms", found, duration);
    let field = keys.part("require");
    let require = keys
        .value("require", "require", found)
        .and_then(|value| table("a requirement", &field, value, found))
        .map(|keys| decision::require(keys, found));
    let field = keys.part("after");
    let after = keys
        .value("then", "after", found)
        .and_then(|value| table("what is done then", &field, value, found))
        .map(|keys| decision::then(keys, found));
    let field = keys.part("search");
    let search = keys
        .value("search", "search", found)
        .and_then(|value| table("a search", &field, value, found))
        .map(|keys| search::from_keys(keys, &name, found));
    let restart = keys.read("restart", "restart", found, boolean).unwrap_or_default();
    let kills = tables("a kill", "kill", "kills", &mut keys, found)
        .into_iter()
        .map(|keys| recovery::from_keys(keys, found))
        .collect();
    let settles_like = keys.read("settles_like", "settles_like", found, string).unwrap_or_default();
    keys.finish(found);
    Phase {
        name,
        duration_ms,
        burners,
        require,
        after,
        baseline,
        ramp_ms,
        search,
        restart,
        kills,
        settles_like,
    }
}

fn burner(mut keys: Keys<'_, '_>, found: &mut Findings) -> Option<burner::Kind> {
    // The contract has no field of its own for the kind: a burner without one is broken as a whole.
    let kind = keys.need("kind", "kind", found, string, "\"cpu\"");
    let field = keys.part("kind");
    match kind.as_deref() {
        Some("cpu") => {
            keys.set_what("a cpu burner");
            let cpu = cpu::from_keys(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Cpu(cpu))
        }
        Some("memory") => {
            keys.set_what("a memory burner");
            let memory = memory::from_keys(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Memory(memory))
        }
        Some("disk") => {
            keys.set_what("a disk burner");
            let disk = disk::from_keys(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Disk(disk))
        }
        Some("network") => {
            keys.set_what("a network burner");
            let network = network::from_keys(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Network(network))
        }
        Some("http") => {
            keys.set_what("an http burner");
            let http = http::from_keys(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Http(http))
        }
        other => {
            if let Some(other) = other
                && let Some(value) = keys.value("kind", "kind", found)
            {
                let message = format!("there is no burner of kind '{}'", shortened(other));
                let hint = did_you_mean(other, ["cpu", "memory", "disk", "network", "http"]);
                let mend = format!("{hint}use cpu, memory, disk, network or http");
                found.add(&field, value.span(), &message, &mend);
            }
            // The fields of an unknown kind are unknown, too.
            found.mark_broken(field.trim_end_matches(".kind"));
            None
        }
    }
}

/// The keys of a value that must be a table.
pub(crate) fn table<'a, 't>(
    what: &'static str,
    field: &str,
    value: &'a Value<'t>,
    found: &mut Findings,
) -> Option<Keys<'a, 't>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Keys::new(what, field, value.span(), table)),
        other => {
            let wanted = if field.contains('.') { "a table".into() } else { format!("a table: [{field}]") };
            let Problem { message, mend } = wrong_type(other, &wanted);
            found.add(field, value.span(), &message, &mend);
            None
        }
    }
}

/// The keys of each table of an array, as `[[key]]` makes one. A key that is missing is an empty array.
pub(crate) fn tables<'a, 't>(
    what: &'static str,
    key: &'static str,
    name: &str,
    keys: &mut Keys<'a, 't>,
    found: &mut Findings,
) -> Vec<Keys<'a, 't>> {
    let field = keys.part(name);
    let Some(value) = keys.value(key, name, found) else { return Vec::new() };
    let not_tables = |span: Range<usize>, other: &DeValue<'_>, found: &mut Findings| {
        let Problem { message, .. } = wrong_type(other, "");
        found.add(
            &field,
            span,
            &message,
            &format!("write each {key} as a table of its own, under [[…{key}]]"),
        );
    };
    let DeValue::Array(items) = value.get_ref() else {
        not_tables(value.span(), value.get_ref(), found);
        return Vec::new();
    };
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.get_ref() {
            DeValue::Table(table) => {
                let field = format!("{field}[{index}]");
                found.origin.set(field.clone(), super::Place::Span(item.span()));
                all.push(Keys::new(what, &field, item.span(), table));
            }
            other => not_tables(item.span(), other, found),
        }
    }
    all
}

#[cfg(test)]
#[path = "toml_file_tests.rs"]
mod tests;
