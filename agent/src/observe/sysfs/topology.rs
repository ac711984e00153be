//! Which core is in which package. Documentation/admin-guide/cputopology.rst of the kernel.

use std::path::PathBuf;

use crate::host::{
    HostRoots,
    listing::{number, numbered},
};

/// A logical CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cpu {
    pub(super) cpu: u32,
    pub(super) folder: PathBuf,
    pub(super) package: Option<u32>,
    pub(super) die: Option<u32>,
    pub(super) core: Option<u32>,
}

/// All of them, by number.
pub(super) fn cpus(roots: &HostRoots) -> Vec<Cpu> {
    numbered(&roots.sys("devices/system/cpu"), "cpu")
        .into_iter()
        .map(|(cpu, folder)| {
            let id = |name| number(&folder.join("topology").join(name));
            Cpu { cpu, package: id("physical_package_id"), die: id("die_id"), core: id("core_id"), folder }
        })
        .collect()
}

/// The first of the CPUs of each package's dies.
pub(super) fn first_of_each_die(cpus: &[Cpu]) -> Vec<&Cpu> {
    let mut found: Vec<&Cpu> = Vec::new();
    for cpu in cpus {
        if found.iter().all(|first| (first.package, first.die) != (cpu.package, cpu.die)) {
            found.push(cpu);
        }
    }
    found
}

/// An id as a label: empty where the kernel does not say.
pub(super) fn label(id: Option<u32>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
