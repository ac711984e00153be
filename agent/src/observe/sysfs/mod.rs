//! Sources that read `/sys`, and what stands beside it in `/dev`: temperature, frequency, power, and the counters of hardware
//! errors. All of them beside the tick: some files take milliseconds, or there is one for each of a thousand cores.

mod attributes;
mod errors;
mod frequency;
mod msr;
mod numa;
mod nvme;
mod nvme_admin;
mod rapl;
pub mod sensors;
mod throttle;
mod topology;

use std::{io, time::Duration};

use super::{
    aside::{Aside, Pace},
    procfs::Interrupts,
    source::Source,
};
use crate::host::HostRoots;

pub use sensors::Sensors;

/// What is wide, and changes slowly or is read as a sum.
const WIDE: Duration = Duration::from_secs(1);
/// An NVMe drive answers when it has time, and some wake up for it.
const NVME: Duration = Duration::from_secs(10);
/// Cores up to which power and throttling are read at every tick.
const FEW_CORES: usize = 64;

/// All of them. `tick` is the frames' period; temperatures older than `stale_after` are not shown.
///
/// # Errors
/// The kernel's, when it has no thread left.
pub fn sources(roots: &HostRoots, tick: Duration, stale_after: Duration) -> io::Result<Vec<Box<dyn Source>>> {
    let cores = topology::cpus(roots).len();
    let quick = if cores <= FEW_CORES { tick.max(Duration::from_millis(100)) } else { WIDE };
    let power: Vec<Box<dyn Source>> =
        vec![Box::new(throttle::Throttle::new(roots)), Box::new(rapl::Rapl::new(roots))];
    let wide: Vec<Box<dyn Source>> = vec![
        Box::new(errors::errors(roots)),
        Box::new(errors::links(roots)),
        Box::new(frequency::frequencies(roots)),
        Box::new(msr::Clocks::new(roots)),
        Box::new(sensors::cooling(roots)),
        Box::new(numa::nodes(roots)),
        Box::new(Interrupts::new(roots)),
    ];
    let nvme: Vec<Box<dyn Source>> = vec![Box::new(nvme::Nvme::new(roots))];
    Ok(vec![
        Box::new(Sensors::new(roots, tick, stale_after)?),
        Box::new(Aside::start("power", pace(quick), power)?),
        Box::new(Aside::start("wide", pace(WIDE), wide)?),
        Box::new(Aside::start("nvme", pace(NVME), nvme)?),
    ])
}

fn pace(period: Duration) -> Pace {
    Pace { period, stale_after: (period * 3).max(Duration::from_secs(5)), guarded: false }
}
