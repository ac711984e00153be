//! The scenario file: which keys there are, and what each becomes in the contract. `docs/scenarios.md` describes it for
//! users.

use std::ops::Range;

use ssts_proto::{
    v1::{
        Burner, Constant, CpuBurner, CpuIsa, CpuKernel, DiskAccess, DiskBurner, Limits, Phase, Profile, Ramp,
        Scenario, burner, profile,
    },
    validate::{self, Violations},
};
use toml::de::{DeTable, DeValue};

use super::{
    Plan,
    keys::{Findings, Keys, Value, number, string, whole, wrong_type},
    origin::Origin,
};
use crate::{error::Problem, quantity};

/// Everything that is wrong with the file, or the scenario it holds.
pub(super) fn parse(file_name: &str, text: &str) -> Result<Plan, Vec<Problem>> {
    let origin = Origin::of_file(file_name, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mend = "mend the TOML syntax (https://toml.io)";
        let problem = |error: &toml::de::Error| {
            origin.problem_at(error.span().unwrap_or(0..0), error.message().trim_end(), mend)
        };
        return Err(errors.iter().map(problem).collect());
    }
    let mut found = Findings::new(origin);
    let mut keys =
        Keys::new("a scenario", "", document.span().start..document.span().start, document.get_ref());
    let (scenario, seed_is_given) = scenario(&mut keys, &mut found);
    keys.finish(&mut found);

    let mut violations = Violations::default();
    validate::scenario(&scenario, &mut violations);
    for violation in violations.into_vec() {
        if !found.is_broken(&violation.field) {
            let problem = found.origin.problem(&violation);
            found.problems.push(problem);
        }
    }
    let Findings { origin, problems, .. } = found;
    if problems.is_empty() { Ok(Plan { scenario, origin, seed_is_given }) } else { Err(problems) }
}

fn scenario(keys: &mut Keys<'_, '_>, found: &mut Findings) -> (Scenario, bool) {
    let name = keys.need("name", "name", found, string, "\"my-scenario\"").unwrap_or_default();
    let description = keys.read("description", "description", found, string).unwrap_or_default();
    let seed = keys.read("seed", "seed", found, whole);
    let limits = keys
        .value("limits", "limits", found)
        .and_then(|value| table("the limits", "limits", value, found))
        .map(|keys| limits(keys, found));
    let phases = tables("a phase", "phase", "phases", keys, found)
        .into_iter()
        .map(|keys| phase(keys, found))
        .collect();
    (Scenario { name, description, phases, limits, seed: seed.unwrap_or_default() }, seed.is_some())
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

fn phase(mut keys: Keys<'_, '_>, found: &mut Findings) -> Phase {
    let name = keys.need("name", "name", found, string, "\"warm-up\"").unwrap_or_default();
    let duration_ms = keys.need("duration", "duration_ms", found, duration, "\"10s\"").unwrap_or_default();
    let burners = tables("a burner", "burner", "burners", &mut keys, found)
        .into_iter()
        .map(|keys| Burner { kind: burner(keys, found) })
        .collect();
    keys.finish(found);
    Phase { name, duration_ms, burners }
}

fn burner(mut keys: Keys<'_, '_>, found: &mut Findings) -> Option<burner::Kind> {
    // The contract has no field of its own for the kind: a burner without one is broken as a whole.
    let kind = keys.need("kind", "kind", found, string, "\"cpu\"");
    let field = keys.part("kind");
    match kind.as_deref() {
        Some("cpu") => {
            keys.set_what("a cpu burner");
            let cpu = cpu_burner(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Cpu(cpu))
        }
        Some("disk") => {
            keys.set_what("a disk burner");
            let disk = disk_burner(&mut keys, found);
            keys.finish(found);
            Some(burner::Kind::Disk(disk))
        }
        other => {
            if let Some(other) = other
                && let Some(value) = keys.value("kind", "kind", found)
            {
                let message = format!("there is no burner of kind '{other}'");
                found.add(&field, value.span(), &message, "use cpu or disk");
            }
            // The fields of an unknown kind are unknown, too.
            found.mark_broken(field.trim_end_matches(".kind"));
            None
        }
    }
}

fn cpu_burner(keys: &mut Keys<'_, '_>, found: &mut Findings) -> CpuBurner {
    CpuBurner {
        cores: keys.read("cores", "cores", found, cores).unwrap_or_default(),
        load: keys
            .value("load", "load", found)
            .and_then(|value| load(&keys.part("load"), value, found))
            .map(|shape| Profile { shape: Some(shape) }),
        kernel: keys.read("kernel", "kernel", found, kernel).map_or(0, i32::from),
        isa: keys.read("isa", "isa", found, isa).map_or(0, i32::from),
    }
}

fn disk_burner(keys: &mut Keys<'_, '_>, found: &mut Findings) -> DiskBurner {
    DiskBurner {
        path: keys.need("path", "path", found, string, "\"/var/tmp\"").unwrap_or_default(),
        size_bytes: keys.need("size", "size_bytes", found, size, "\"1GiB\"").unwrap_or_default(),
        access: keys.read("rw", "access", found, access).unwrap_or(DiskAccess::Randread).into(),
        block_bytes: keys.read("block", "block_bytes", found, |value| {
            u32::try_from(size(value)?).map_err(|_| Problem::new("a block this large", "use at most 16MiB"))
        }),
        depth: keys.read("depth", "depth", found, |value| {
            u32::try_from(whole(value)?).map_err(|_| Problem::new("a depth this large", "use 1 to 1024"))
        }),
        rate_per_s: keys.read("rate", "rate_per_s", found, whole),
    }
}

/// A number of percent, or `{ from = 10, to = 90 }`.
fn load(field: &str, value: &Value<'_>, found: &mut Findings) -> Option<profile::Shape> {
    if let DeValue::Table(ramp) = value.get_ref() {
        let mut keys = Keys::new("a ramp", &format!("{field}.ramp"), value.span(), ramp);
        let from = keys.need("from", "from_percent", found, number, "10");
        let to = keys.need("to", "to_percent", found, number, "90");
        keys.finish(found);
        // A bound that is missing was noted; the other one is still checked.
        let (from_percent, to_percent) = (from.unwrap_or_default(), to.unwrap_or_default());
        return Some(profile::Shape::Ramp(Ramp { from_percent, to_percent }));
    }
    match number(value.get_ref()) {
        Ok(load_percent) => Some(profile::Shape::Constant(Constant { load_percent })),
        Err(Problem { message, .. }) => {
            found.add(
                field,
                value.span(),
                &message,
                "write 1 to 100 (percent), or a ramp { from = 10, to = 90 }",
            );
            None
        }
    }
}

fn duration(value: &DeValue<'_>) -> Result<u64, Problem> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a duration in quotes, such as \"10s\""))?;
    quantity::duration_ms(text)
}

/// A size in quotes, or bytes.
fn size(value: &DeValue<'_>) -> Result<u64, Problem> {
    match value {
        DeValue::String(text) => quantity::size_bytes(text),
        DeValue::Integer(_) => whole(value),
        _ => Err(wrong_type(value, "a size in quotes, such as \"512MiB\", or bytes")),
    }
}

/// A list in quotes, or an array of numbers.
fn cores(value: &DeValue<'_>) -> Result<Vec<u32>, Problem> {
    let one = |value: &Value<'_>| {
        u32::try_from(whole(value.get_ref())?)
            .map_err(|_| Problem::new("no core has this number", "use less"))
    };
    match value {
        DeValue::String(text) => quantity::cores(text),
        DeValue::Array(list) if !list.is_empty() => list.iter().map(one).collect(),
        _ => Err(wrong_type(value, "a list of cores in quotes, such as \"0-3,8\"")),
    }
}

fn kernel(value: &DeValue<'_>) -> Result<CpuKernel, Problem> {
    one_of(value, "kernel", &[("auto", CpuKernel::Unspecified), ("fma", CpuKernel::Fma)])
}

fn isa(value: &DeValue<'_>) -> Result<CpuIsa, Problem> {
    let known = [
        ("auto", CpuIsa::Unspecified),
        ("portable", CpuIsa::Portable),
        ("avx2", CpuIsa::Avx2),
        ("avx512", CpuIsa::Avx512),
    ];
    one_of(value, "instruction set", &known)
}

fn access(value: &DeValue<'_>) -> Result<DiskAccess, Problem> {
    let known = [
        ("read", DiskAccess::Read),
        ("write", DiskAccess::Write),
        ("randread", DiskAccess::Randread),
        ("randwrite", DiskAccess::Randwrite),
    ];
    one_of(value, "access", &known)
}

fn one_of<T: Copy>(value: &DeValue<'_>, what: &str, known: &[(&str, T)]) -> Result<T, Problem> {
    let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = value.as_str().ok_or_else(|| wrong_type(value, &format!("one of {names}, in quotes")))?;
    known
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| Problem::new(format!("there is no {what} '{text}'"), format!("use {names}")))
}

/// The keys of a value that must be a table.
fn table<'a, 't>(
    what: &'static str,
    field: &str,
    value: &'a Value<'t>,
    found: &mut Findings,
) -> Option<Keys<'a, 't>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Keys::new(what, field, value.span(), table)),
        other => {
            let Problem { message, mend } = wrong_type(other, &format!("a table: [{field}]"));
            found.add(field, value.span(), &message, &mend);
            None
        }
    }
}

/// The keys of each table of an array, as `[[key]]` makes one. A key that is missing is an empty array.
fn tables<'a, 't>(
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
