//! What a probe counts apart of the tasks of protected units: a histogram for each.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ssts_agent_ebpf::shared::{LATENCY, MOST_WATCHED, Watched};
use ssts_proto::catalogue::Metric;

use super::{
    Target,
    error::ProbeError,
    gains::Gains,
    program::Programs,
    window::{Element, SharedCounts, Window},
};
use crate::{
    host::HostRoots,
    observe::{
        frame::{BucketGain, Frame},
        protected,
        schema::{HistogramColumn, Schema},
    },
};

/// [`Watched`] that the kernel reads at any moment.
#[derive(Debug)]
#[repr(C)]
struct SharedWatched {
    id: AtomicU64,
    level: AtomicU64,
}

const _: () = assert!(size_of::<SharedWatched>() == size_of::<Watched>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedWatched {}

/// The units, and what was counted of them. The programs have a map `WATCHED`, and one of histograms, [`MOST_WATCHED`] a CPU.
#[derive(Debug)]
pub(super) struct ByUnit {
    roots: HostRoots,
    metric: &'static Metric,
    units: Vec<String>,
    /// One a unit.
    watched: Option<Window<SharedWatched>>,
    counts: Option<Window<SharedCounts>>,
    gains: Vec<Gains>,
    columns: Vec<HistogramColumn>,
}

impl ByUnit {
    /// How many elements the map of histograms has.
    pub(super) fn map(name: &'static str, target: &Target) -> (&'static str, u32) {
        (name, if target.watched.is_empty() { 1 } else { target.cpus as u32 * MOST_WATCHED })
    }

    /// What the programs are told.
    pub(super) fn constant(target: &Target) -> (&'static str, u32) {
        ("WATCHED_COUNT", (target.watched.len() as u32).min(MOST_WATCHED))
    }

    /// Reads the histograms of map `counts` as `metric`, by unit.
    pub(super) fn open(
        programs: &Programs,
        target: &Target,
        counts: &str,
        metric: &'static Metric,
    ) -> Result<Self, ProbeError> {
        let units: Vec<_> = target.watched.iter().take(MOST_WATCHED as usize).cloned().collect();
        let each = target.cpus * MOST_WATCHED as usize;
        let any = !units.is_empty();
        let watched = any.then(|| programs.window("WATCHED", MOST_WATCHED as usize)).transpose()?;
        let counts: Option<Window<SharedCounts>> = any.then(|| programs.window(counts, each)).transpose()?;
        let gains = (0..units.len())
            .filter_map(|unit| Some(Gains::since_now(of_unit(counts.as_ref()?, unit))))
            .collect();
        Ok(Self { roots: target.roots.clone(), metric, units, watched, counts, gains, columns: Vec::new() })
    }

    /// Also finds the units anew: one that was started again has another cgroup.
    pub(super) fn describe(&mut self, schema: &mut Schema) {
        let histogram = |unit: &String| schema.histogram(self.metric, &[unit], LATENCY);
        self.columns = self.units.iter().map(histogram).collect();
        let Some(watched) = &self.watched else { return };
        for (unit, watched) in self.units.iter().zip(watched.iter()) {
            let found = protected::find(&self.roots, unit);
            let (id, level) = found.map_or((0, 0), |found| (found.id, found.level));
            // Nobody is taken for another meanwhile.
            if watched.id.load(Relaxed) != id {
                watched.id.store(0, Relaxed);
                watched.level.store(level.into(), Relaxed);
                watched.id.store(id, Relaxed);
            }
        }
    }

    pub(super) fn sample(&mut self, frame: &mut Frame) {
        let Some(counts) = &self.counts else { return };
        for (unit, (gains, column)) in self.gains.iter_mut().zip(&self.columns).enumerate() {
            gains.take(of_unit(counts, unit), |bucket, count| {
                frame.gain(BucketGain { column: *column, bucket, count });
            });
        }
    }
}

/// The histograms of one unit, one a CPU.
fn of_unit(counts: &[SharedCounts], unit: usize) -> impl Iterator<Item = &SharedCounts> + Clone {
    counts.iter().skip(unit).step_by(MOST_WATCHED as usize)
}
