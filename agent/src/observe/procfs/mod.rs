//! Sources that read `/proc`.

mod diskstats;
mod meminfo;
mod net_dev;
mod pressure;
mod stat;
mod table;
#[cfg(test)]
pub(crate) mod test_tree;

pub use diskstats::Diskstats;
pub use meminfo::{Meminfo, Vmstat};
pub use net_dev::NetDev;
pub use pressure::Pressure;
pub use stat::Stat;

use super::source::Source;
use crate::host::HostRoots;

/// All of them.
pub fn sources(roots: &HostRoots) -> Vec<Box<dyn Source>> {
    vec![
        Box::new(Stat::new(roots)),
        Box::new(Meminfo::new(roots)),
        Box::new(Vmstat::new(roots)),
        Box::new(Diskstats::new(roots)),
        Box::new(NetDev::new(roots)),
        Box::new(Pressure::new(roots)),
    ]
}
