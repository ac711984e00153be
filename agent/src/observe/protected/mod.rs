//! Units that the host works for: how they fare while burners burn. By their cgroup at the tick; by asking them, aside from it.

mod answer;
mod asked;
mod cgroup;
mod find;

use std::{io, time::Duration};

pub use find::{Found, find};

use self::{asked::Asked, cgroup::ProtectedCgroup};
use super::{
    aside::{Aside, Pace},
    source::Source,
};
use crate::{config::ProtectConfig, host::HostRoots};

/// An answer is shown for so many periods, beside the time that it may take.
const PERIODS_SHOWN: u32 = 3;

/// The sources of the metrics that begin with `protected.`, those of the run queue aside: the scheduler probe has them.
///
/// # Errors
/// The kernel's, when it has no thread left.
pub fn sources(roots: &HostRoots, protect: &[ProtectConfig]) -> io::Result<Vec<Box<dyn Source>>> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for one in protect {
        sources.push(Box::new(ProtectedCgroup::new(roots, &one.unit)));
        for asked in Asked::all(one) {
            let pace = Pace { period: one.every, stale_after: shown_for(one), guarded: false };
            sources.push(Box::new(Aside::start(&asked.name(), pace, vec![Box::new(asked)])?));
        }
    }
    Ok(sources)
}

fn shown_for(one: &ProtectConfig) -> Duration {
    one.every * PERIODS_SHOWN + one.timeout
}
