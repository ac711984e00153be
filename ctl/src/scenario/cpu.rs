//! The CPU burner as users write it.

use ssts_proto::v1::{CpuBurner, CpuIsa, CpuKernel, burner};
use toml::de::DeValue;

use super::{
    Plan,
    flags::single,
    keys::{Findings, Keys},
    load::profile,
    values::{cores, one_of},
};
use crate::{cli::BurnCpu, error::Problem};

/// `burn cpu`.
pub(crate) fn burn_cpu(flags: &BurnCpu) -> Plan {
    let cpu = CpuBurner {
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        load: flags.load.profile(),
        kernel: CpuKernel::from(flags.kernel).into(),
        isa: CpuIsa::from(flags.isa).into(),
    };
    let places = [("cores", "--cores"), ("load", "--load"), ("kernel", "--kernel"), ("isa", "--isa")];
    single("burn-cpu", flags.duration, burner::Kind::Cpu(cpu), &places)
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> CpuBurner {
    CpuBurner {
        cores: keys.read("cores", "cores", found, cores).unwrap_or_default(),
        load: profile(keys, found),
        kernel: keys.read("kernel", "kernel", found, kernel).map_or(0, i32::from),
        isa: keys.read("isa", "isa", found, isa).map_or(0, i32::from),
    }
}

fn kernel(value: &DeValue<'_>) -> Result<CpuKernel, Problem> {
    one_of(value, "kernel", &[("auto", CpuKernel::Unspecified), ("fma", CpuKernel::Fma)])
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
