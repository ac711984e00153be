//! Bounds of the CPU burner.

use std::collections::HashSet;

use super::{Violations, known, profile};
use crate::v1::{CpuBurner, CpuIsa, CpuKernel, CpuPrecision, MemoryLevel};

/// Percent of the steps of `power` that move a line of memory, when unset: the floating-point pipes hardly notice.
pub const DEFAULT_MEMORY_PERCENT: u32 = 10;

/// Workers of one burner at most: far more than anybody's scheduler wants to juggle, and a bound on what one message can ask.
pub const MAX_CPU_WORKERS: u32 = 1_024;

pub(super) fn check(field: &str, cpu: &CpuBurner, found: &mut Violations) {
    let mut seen = HashSet::new();
    for core in &cpu.cores {
        if !seen.insert(core) {
            found.add(format!("{field}.cores"), format!("core {core} is named twice"), "name each core once");
        }
    }
    if let Some(workers) = cpu.workers.filter(|workers| !(1..=MAX_CPU_WORKERS).contains(workers)) {
        found.add(
            format!("{field}.workers"),
            format!("{workers} workers"),
            format!("use 1 to {MAX_CPU_WORKERS}, or leave it out for one on each core"),
        );
    }
    if let Some(load) = &cpu.load {
        profile::check(&format!("{field}.load"), load, found);
    }
    known::<CpuKernel>(&format!("{field}.kernel"), cpu.kernel, found);
    known::<CpuIsa>(&format!("{field}.isa"), cpu.isa, found);
    known::<CpuPrecision>(&format!("{field}.precision"), cpu.precision, found);
    known::<MemoryLevel>(&format!("{field}.level"), cpu.level, found);
    settings_of_kernel(field, cpu, found);
}

/// A setting that the kernel does not have was meant for another one.
fn settings_of_kernel(field: &str, cpu: &CpuBurner, found: &mut Violations) {
    use CpuKernel::{Auto, Cache, Fma, Matrix, Mixed, Power, SqrtDiv, Unspecified};

    let kernel = cpu.kernel();
    let mut refuse = |name: &str, asked: bool, kernels: &[CpuKernel], of: &str| {
        if asked && !kernels.contains(&kernel) {
            found.add(
                format!("{field}.{name}"),
                "the kernel that is asked for has no such setting",
                format!("leave it out, or use it with {of}"),
            );
        }
    };
    let precision = cpu.precision() != CpuPrecision::Unspecified;
    let of = "fma, power, sqrt-div, matrix, mixed or auto";
    refuse("precision", precision, &[Fma, Power, SqrtDiv, Matrix, Mixed, Auto, Unspecified], of);
    let of = "power, mixed or auto";
    refuse("memory_percent", cpu.memory_percent.is_some(), &[Power, Mixed, Auto, Unspecified], of);
    let level = cpu.level() != MemoryLevel::Unspecified;
    refuse("level", level, &[Cache, Mixed], "cache or mixed");
    if let Some(percent) = cpu.memory_percent.filter(|percent| *percent > 100) {
        found.add(format!("{field}.memory_percent"), format!("{percent} %"), "use 0 to 100");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_and_too_many_are_refused() {
        for (workers, refused) in
            [(None, false), (Some(0), true), (Some(1), false), (Some(1_024), false), (Some(1_025), true)]
        {
            let mut found = Violations::default();
            check("cpu", &CpuBurner { workers, ..CpuBurner::default() }, &mut found);
            assert_eq!(!found.is_empty(), refused, "{workers:?}");
        }
    }

    #[test]
    fn settings_of_other_kernels_are_refused() {
        let refused = |cpu: CpuBurner| {
            let mut found = Violations::default();
            check("cpu", &cpu, &mut found);
            found.into_vec().into_iter().map(|violation| violation.field).collect::<Vec<_>>()
        };
        let of = |kernel: CpuKernel| CpuBurner { kernel: kernel.into(), ..CpuBurner::default() };
        let single = CpuPrecision::Single.into();
        assert_eq!(refused(CpuBurner { precision: single, ..of(CpuKernel::Integer) }), ["cpu.precision"]);
        assert!(refused(CpuBurner { precision: single, ..of(CpuKernel::Matrix) }).is_empty());
        let percent = Some(5);
        assert_eq!(
            refused(CpuBurner { memory_percent: percent, ..of(CpuKernel::Fma) }),
            ["cpu.memory_percent"]
        );
        let percent = Some(101);
        assert_eq!(
            refused(CpuBurner { memory_percent: percent, ..of(CpuKernel::Auto) }),
            ["cpu.memory_percent"]
        );
        let level = MemoryLevel::L1.into();
        assert_eq!(refused(CpuBurner { level, ..of(CpuKernel::Power) }), ["cpu.level"]);
        assert!(refused(CpuBurner { level, ..of(CpuKernel::Cache) }).is_empty());
        assert_eq!(refused(CpuBurner { precision: 9, ..CpuBurner::default() }), ["cpu.precision"]);
    }
}
