//! The CPU burner as users write it.

use ssts_proto::v1::{CpuBurner, CpuIsa, CpuKernel, CpuPrecision, MemoryLevel, burner};
use toml::de::DeValue;

use super::{
    Plan,
    flags::single,
    keys::{Findings, Keys, string, whole},
    load::profile,
    values::{cores, one_of, whole_percent},
};
use crate::{cli::BurnCpu, error::Problem, quantity};

/// `burn cpu`.
pub(crate) fn burn_cpu(flags: &BurnCpu) -> Plan {
    let cpu = CpuBurner {
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        load: flags.load.profile(),
        kernel: CpuKernel::from(flags.kernel).into(),
        isa: CpuIsa::from(flags.isa).into(),
        precision: flags.precision.map_or(0, |precision| CpuPrecision::from(precision).into()),
        memory_percent: flags.memory_share,
        level: flags.level.map_or(0, |level| MemoryLevel::from(level).into()),
        inject_error: flags.inject_error,
        workers: flags.workers,
    };
    let places = [
        ("cores", "--cores"),
        ("workers", "--workers"),
        ("load", "--load"),
        ("kernel", "--kernel"),
        ("isa", "--isa"),
        ("precision", "--precision"),
        ("memory_percent", "--memory-share"),
        ("level", "--level"),
        ("inject_error", "--inject-error"),
    ];
    single("burn-cpu", flags.duration, burner::Kind::Cpu(cpu), &places)
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> CpuBurner {
    CpuBurner {
        cores: keys.read("cores", "cores", found, cores).unwrap_or_default(),
        load: profile(keys, found),
        kernel: keys.read("kernel", "kernel", found, kernel).map_or(0, i32::from),
        isa: keys.read("isa", "isa", found, isa).map_or(0, i32::from),
        precision: keys.read("precision", "precision", found, precision).map_or(0, i32::from),
        memory_percent: keys.read("memory_share", "memory_percent", found, whole_percent),
        level: keys.read("level", "level", found, level).map_or(0, i32::from),
        inject_error: keys
            .read("inject_error", "inject_error", found, |value| quantity::injected_error(&string(value)?)),
        workers: keys.read("workers", "workers", found, |value| {
            u32::try_from(whole(value)?).map_err(|_| Problem::new("workers this many", "use 1 to 1024"))
        }),
    }
}

fn kernel(value: &DeValue<'_>) -> Result<CpuKernel, Problem> {
    let known = [
        ("auto", CpuKernel::Auto),
        ("fma", CpuKernel::Fma),
        ("power", CpuKernel::Power),
        ("integer", CpuKernel::Integer),
        ("branch", CpuKernel::Branch),
        ("sqrt-div", CpuKernel::SqrtDiv),
        ("crypto", CpuKernel::Crypto),
        ("matrix", CpuKernel::Matrix),
        ("cache", CpuKernel::Cache),
        ("context-switch", CpuKernel::ContextSwitch),
        ("mixed", CpuKernel::Mixed),
    ];
    one_of(value, "kernel", &known)
}

fn precision(value: &DeValue<'_>) -> Result<CpuPrecision, Problem> {
    one_of(value, "precision", &[("double", CpuPrecision::Double), ("single", CpuPrecision::Single)])
}

fn level(value: &DeValue<'_>) -> Result<MemoryLevel, Problem> {
    let known = [
        ("l1", MemoryLevel::L1),
        ("l2", MemoryLevel::L2),
        ("l3", MemoryLevel::L3),
        ("dram", MemoryLevel::Dram),
    ];
    one_of(value, "level", &known)
}

pub(super) fn isa(value: &DeValue<'_>) -> Result<CpuIsa, Problem> {
    let known = [
        ("auto", CpuIsa::Unspecified),
        ("portable", CpuIsa::Portable),
        ("avx2", CpuIsa::Avx2),
        ("avx512", CpuIsa::Avx512),
    ];
    one_of(value, "instruction set", &known)
}
