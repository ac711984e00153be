//! What a CPU burner becomes on this host.

use ssts_proto::{
    v1::{CpuBurner, CpuIsa, CpuKernel},
    validate::Violations,
};

use super::Offer;
use crate::burn::{
    cpu::{CpuLoad, Isa},
    plan::Load,
    profile::LoadProfile,
};

/// Its cores and what they do; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    cpu: &mut CpuBurner,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let isa = choose_isa(field, cpu.isa(), found)?;
    cpu.cores = offer.choose_cores(field, &cpu.cores, found)?;
    cpu.set_kernel(CpuKernel::Fma);
    cpu.set_isa(isa.into());
    let profile = LoadProfile::from_message(cpu.load.as_ref());
    Some((cpu.cores.clone(), Load::Cpu(CpuLoad { profile, isa })))
}

impl From<Isa> for CpuIsa {
    fn from(isa: Isa) -> Self {
        match isa {
            Isa::Portable => Self::Portable,
            Isa::Avx2 => Self::Avx2,
            Isa::Avx512 => Self::Avx512,
        }
    }
}

/// The instructions that were asked for, or the widest.
pub(super) fn choose_isa(field: &str, asked: CpuIsa, found: &mut Violations) -> Option<Isa> {
    let available = Isa::available();
    let wanted = match asked {
        CpuIsa::Unspecified => return available.last().copied(),
        CpuIsa::Portable => Isa::Portable,
        CpuIsa::Avx2 => Isa::Avx2,
        CpuIsa::Avx512 => Isa::Avx512,
    };
    if available.contains(&wanted) {
        return Some(wanted);
    }
    let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
    found.add(
        format!("{field}.isa"),
        format!("this host has no {}", wanted.name()),
        format!("choose among {}", names.join(", ")),
    );
    None
}
