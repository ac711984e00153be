//! Sources that read `/proc`.

mod cgroup_pressure;
mod diskstats;
mod file_nr;
mod interrupts;
mod meminfo;
mod net_dev;
mod pressure;
mod stat;
mod table;
#[cfg(test)]
pub(crate) mod test_tree;

pub use cgroup_pressure::CgroupPressure;
pub use diskstats::Diskstats;
pub use file_nr::FileNr;
pub use interrupts::Interrupts;
pub use meminfo::{Meminfo, Vmstat};
pub use net_dev::NetDev;
pub use pressure::Pressure;
pub(crate) use pressure::{RESOURCES, SHARES, note as note_pressure};
pub use stat::Stat;

use std::path::PathBuf;

use super::source::Source;
use crate::host::HostRoots;

/// All that are read at the tick. `cgroups` are those whose pressure is read beside the run's own.
pub fn sources(roots: &HostRoots, cgroups: &[PathBuf]) -> Vec<Box<dyn Source>> {
    vec![
        Box::new(Stat::new(roots)),
        Box::new(Meminfo::new(roots)),
        Box::new(Vmstat::new(roots)),
        Box::new(Diskstats::new(roots)),
        Box::new(NetDev::new(roots)),
        Box::new(Pressure::new(roots)),
        Box::new(CgroupPressure::new(roots, cgroups)),
        Box::new(FileNr::new(roots)),
    ]
}
