//! Bounds of the CPU burner.

use std::collections::HashSet;

use super::{Violations, known, profile};
use crate::v1::{CpuBurner, CpuIsa, CpuKernel};

pub(super) fn check(field: &str, cpu: &CpuBurner, found: &mut Violations) {
    let mut seen = HashSet::new();
    for core in &cpu.cores {
        if !seen.insert(core) {
            found.add(format!("{field}.cores"), format!("core {core} is named twice"), "name each core once");
        }
    }
    if let Some(load) = &cpu.load {
        profile::check(&format!("{field}.load"), load, found);
    }
    known::<CpuKernel>(&format!("{field}.kernel"), cpu.kernel, found);
    known::<CpuIsa>(&format!("{field}.isa"), cpu.isa, found);
}
