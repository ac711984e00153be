//! Flags of every burner that holds a load.

use clap::{Args, ValueEnum};
use ssts_proto::v1::{self, Constant, Profile, profile::Shape};

use super::values::{load, tolerance};

/// What load, and how it is held.
#[derive(Debug, Args)]
pub(crate) struct LoadFlags {
    /// Percent of each core over time; without it all that the cores give.
    ///
    /// 50, a ramp 10..90 over the whole duration, steps:10@5s,50@10s,0 (the last one to the end), sine:10..90/10s,
    /// square:0..100/1s@25% (high for a quarter of each second), sawtooth:0..100/10s, walk:10..90/5/100ms (a random
    /// step of at most 5 points every 100 ms), trace:FILE (a CSV of seconds and percent; trace:FILE@60s begins anew
    /// after 60 s).
    #[arg(long, value_name = "LOAD", value_parser = load, allow_hyphen_values = true)]
    pub(crate) load: Option<Shape>,
    /// What the load is a share of.
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<LoadMode>,
    /// By how many percentage points the mean load of a worker may be off before the run fails. [default: 2]
    #[arg(long, value_name = "POINTS", value_parser = tolerance, allow_hyphen_values = true)]
    pub(crate) tolerance: Option<f64>,
    /// Let all workers begin their periods of 10 ms at the same instant; otherwise they begin them apart.
    #[arg(long)]
    pub(crate) in_step: bool,
}

/// What a load is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadMode {
    /// Of the core, taken by the burner's own workers, whatever else runs there.
    Own,
    /// Of the core, taken by all that runs there: workers fill what others leave.
    Core,
}

impl LoadFlags {
    /// Nothing where no load is asked.
    pub(crate) fn profile(&self) -> Option<Profile> {
        let Self { load, mode, tolerance, in_step } = self;
        if load.is_none() && mode.is_none() && tolerance.is_none() && !in_step {
            return None;
        }
        let full = Shape::Constant(Constant { load_percent: 100.0 });
        let mut profile = Profile {
            shape: Some(load.clone().unwrap_or(full)),
            tolerance_points: *tolerance,
            in_step: *in_step,
            ..Profile::default()
        };
        profile.set_mode(match mode {
            None => v1::LoadMode::Unspecified,
            Some(LoadMode::Own) => v1::LoadMode::Own,
            Some(LoadMode::Core) => v1::LoadMode::Core,
        });
        Some(profile)
    }
}
