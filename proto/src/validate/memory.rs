//! Bounds of the memory burner.

use std::collections::HashSet;

use super::{Violations, duration, known, profile};
use crate::v1::{
    CpuIsa, MemoryBurner, MemoryLoop, MemoryMethod, MemoryPages, MemoryPattern,
    memory_burner::{Size, Target},
};

/// The least part of a worker: a page.
pub const MIN_SHARE_BYTES: u64 = 4_096;
/// The slowest fill that can be asked for.
pub const MIN_FILL_BYTES_PER_S: u64 = 1 << 20;
/// No machine has more: 57 bits of addresses are the widest that Linux knows.
pub const MAX_SIZE_BYTES: u64 = 1 << 57;

pub(super) fn check(field: &str, memory: &MemoryBurner, found: &mut Violations) {
    let mut seen = HashSet::new();
    for core in memory.cores.iter().filter(|core| !seen.insert(**core)) {
        found.add(format!("{field}.cores"), format!("core {core} is named twice"), "name each core once");
    }
    if memory.method() != MemoryMethod::Occupy {
        size(field, memory, found);
    }
    used(field, memory, found);
    known::<MemoryMethod>(&format!("{field}.method"), memory.method, found);
    known::<MemoryPages>(&format!("{field}.pages"), memory.pages, found);
    known::<CpuIsa>(&format!("{field}.isa"), memory.isa, found);
    if let Some(load) = &memory.load {
        profile::check(&format!("{field}.load"), load, found);
    }
    if let Some(rate) = memory.fill_bytes_per_s.filter(|rate| *rate < MIN_FILL_BYTES_PER_S) {
        found.add(
            format!("{field}.fill_bytes_per_s"),
            format!("a rate of {rate} bytes a second"),
            format!("use at least {MIN_FILL_BYTES_PER_S}, or leave it out"),
        );
    }
    for (index, number) in memory.loops.iter().enumerate() {
        chosen::<MemoryLoop>(&format!("{field}.loops[{index}]"), *number, found);
    }
    for (index, number) in memory.patterns.iter().enumerate() {
        chosen::<MemoryPattern>(&format!("{field}.patterns[{index}]"), *number, found);
    }
    if let Some(delay_ms) = memory.delay_ms {
        duration(&format!("{field}.delay_ms"), delay_ms, found);
    }
    target(field, memory, found);
    of_one_method(field, memory, found);
}

fn size(field: &str, memory: &MemoryBurner, found: &mut Violations) {
    match memory.size {
        None => found.add(
            format!("{field}.size_bytes"),
            "no size is given",
            "give bytes, or a percentage of what is available",
        ),
        Some(Size::SizePercent(percent)) if !(percent > 0.0 && percent <= 100.0) => found.add(
            format!("{field}.size_percent"),
            format!("a size of {percent} % of what is available"),
            "use more than 0 and at most 100 %",
        ),
        Some(Size::SizeBytes(bytes)) if !(MIN_SHARE_BYTES..=MAX_SIZE_BYTES).contains(&bytes) => found.add(
            format!("{field}.size_bytes"),
            format!("a size of {bytes} bytes"),
            format!("use {MIN_SHARE_BYTES} to {MAX_SIZE_BYTES} bytes"),
        ),
        Some(_) => {}
    }
}

/// The share that `occupy` brings about.
fn used(field: &str, memory: &MemoryBurner, found: &mut Violations) {
    match &memory.used {
        Some(used) => profile::check_shape(&format!("{field}.used"), used, found),
        None if memory.method() == MemoryMethod::Occupy => found.add(
            format!("{field}.used"),
            "memory to be occupied, and no share of it",
            "give the percentage of the host's memory that is to be used",
        ),
        None => {}
    }
}

/// A number of an enum whose first value is none.
fn chosen<E: TryFrom<i32>>(field: &str, number: i32, found: &mut Violations) {
    if number == 0 {
        found.add(field, "none is named", "name one, or leave the whole list out");
    } else {
        known::<E>(field, number, found);
    }
}

fn target(field: &str, memory: &MemoryBurner, found: &mut Violations) {
    match memory.target {
        Some(Target::StalledPercent(percent)) if !(percent > 0.0 && percent <= 100.0) => found.add(
            format!("{field}.stalled_percent"),
            format!("tasks that wait for memory {percent} % of the time"),
            "use more than 0 and at most 100 %",
        ),
        Some(Target::ReclaimedBytesPerS(bytes)) if bytes < 4_096 => found.add(
            format!("{field}.reclaimed_bytes_per_s"),
            format!("{bytes} bytes a second"),
            "use at least 4096: the kernel reclaims whole pages",
        ),
        None if memory.method() == MemoryMethod::Pressure => found.add(
            format!("{field}.stalled_percent"),
            "pressure without a target",
            "give the share of time that tasks should wait for memory, or bytes a second that should be reclaimed",
        ),
        Some(_) | None => {}
    }
}

/// Settings that the chosen method knows nothing of.
fn of_one_method(field: &str, memory: &MemoryBurner, found: &mut Violations) {
    use MemoryMethod::{Fault, Fill, Latency, Occupy, Pressure, Read, Stream, Unspecified, Verify, Write};
    const SIZED: [MemoryMethod; 8] = [Fill, Stream, Read, Write, Latency, Verify, Fault, Pressure];
    let method = memory.method();
    let mut only = |name: &str, is_set: bool, methods: &[MemoryMethod]| {
        if is_set && !methods.contains(&method) {
            let names: Vec<_> = methods.iter().map(|method| name_of(*method)).collect();
            found.add(
                format!("{field}.{name}"),
                format!("the method {} does not have this setting", name_of(method)),
                format!("leave it out, or choose the method {}", names.join(" or ")),
            );
        }
    };
    if method != Unspecified {
        only("size_bytes", memory.size.is_some(), &SIZED);
    }
    only("used", memory.used.is_some(), &[Occupy]);
    only("load", memory.load.is_some(), &[Stream, Read, Write, Latency, Verify]);
    only("loops", !memory.loops.is_empty(), &[Stream]);
    only("patterns", !memory.patterns.is_empty(), &[Verify]);
    only("delay_ms", memory.delay_ms.is_some(), &[Verify]);
    only("inject_error_worker", memory.inject_error_worker.is_some(), &[Verify]);
    let is_stalled = matches!(memory.target, Some(Target::StalledPercent(_)));
    only("stalled_percent", is_stalled, &[Pressure]);
    only("reclaimed_bytes_per_s", memory.target.is_some() && !is_stalled, &[Pressure]);
}

/// As users write it.
fn name_of(method: MemoryMethod) -> String {
    let name = method.as_str_name().trim_start_matches("MEMORY_METHOD_").to_lowercase();
    if method == MemoryMethod::Unspecified { "fill".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Constant, Profile, profile::Shape};

    fn fields(memory: &MemoryBurner) -> Vec<String> {
        let mut found = Violations::default();
        check("m", memory, &mut found);
        found.into_vec().into_iter().map(|violation| violation.field).collect()
    }

    fn good() -> MemoryBurner {
        MemoryBurner { size: Some(Size::SizeBytes(1 << 20)), ..MemoryBurner::default() }
    }

    #[test]
    fn a_size_is_all_it_needs() {
        assert!(fields(&good()).is_empty());
        assert!(fields(&MemoryBurner { size: Some(Size::SizePercent(100.0)), ..good() }).is_empty());
        assert_eq!(fields(&MemoryBurner::default()), ["m.size_bytes"]);
    }

    #[test]
    fn each_bad_setting_is_found() {
        type Spoil = fn(&mut MemoryBurner);
        let cases: [(&str, Spoil); 18] = [
            ("cores", |m| m.cores = vec![1, 1]),
            ("size_bytes", |m| m.size = Some(Size::SizeBytes(0))),
            ("size_bytes", |m| m.size = Some(Size::SizeBytes(u64::MAX))),
            ("size_percent", |m| m.size = Some(Size::SizePercent(0.0))),
            ("size_percent", |m| m.size = Some(Size::SizePercent(100.1))),
            ("size_percent", |m| m.size = Some(Size::SizePercent(f64::NAN))),
            ("method", |m| m.method = 99),
            ("pages", |m| m.pages = 99),
            ("isa", |m| m.isa = 99),
            ("fill_bytes_per_s", |m| m.fill_bytes_per_s = Some(0)),
            ("loops[0]", |m| (m.method, m.loops) = (MemoryMethod::Stream.into(), vec![0])),
            ("patterns[1]", |m| (m.method, m.patterns) = (MemoryMethod::Verify.into(), vec![1, 77])),
            ("delay_ms", |m| (m.method, m.delay_ms) = (MemoryMethod::Verify.into(), Some(0))),
            ("stalled_percent", |m| m.method = MemoryMethod::Pressure.into()),
            ("used", |m| (m.method, m.size) = (MemoryMethod::Occupy.into(), None)),
            ("used.tolerance_points", |m| {
                let shape = Some(Shape::Constant(Constant { load_percent: 50.0 }));
                let used = Profile { shape, tolerance_points: Some(5.0), ..Profile::default() };
                (m.method, m.size, m.used) = (MemoryMethod::Occupy.into(), None, Some(used));
            }),
            ("stalled_percent", |m| {
                (m.method, m.target) = (MemoryMethod::Pressure.into(), Some(Target::StalledPercent(0.0)));
            }),
            ("reclaimed_bytes_per_s", |m| {
                (m.method, m.target) = (MemoryMethod::Pressure.into(), Some(Target::ReclaimedBytesPerS(1)));
            }),
        ];
        for (field, spoil) in cases {
            let mut memory = good();
            spoil(&mut memory);
            assert_eq!(fields(&memory), [format!("m.{field}")]);
        }
    }

    #[test]
    fn settings_of_another_method_are_refused() {
        type Spoil = fn(&mut MemoryBurner);
        let cases: [(&str, Spoil); 8] = [
            ("used", |m| m.used = Some(Profile::default())),
            ("size_bytes", |m| m.method = MemoryMethod::Occupy.into()),
            ("load", |m| m.load = Some(Profile::default())),
            ("loops", |m| m.loops = vec![1]),
            ("patterns", |m| m.patterns = vec![1]),
            ("delay_ms", |m| m.delay_ms = Some(5)),
            ("inject_error_worker", |m| m.inject_error_worker = Some(0)),
            ("stalled_percent", |m| m.target = Some(Target::StalledPercent(5.0))),
        ];
        for (field, spoil) in cases {
            let mut memory = good();
            spoil(&mut memory);
            assert!(fields(&memory).contains(&format!("m.{field}")), "{field}");
        }
    }
}
