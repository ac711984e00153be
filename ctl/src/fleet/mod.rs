//! A fleet: the hosts that one command is about.

mod asked;
mod fan_out;
<<<<<<< HEAD
mod gate;
mod member;
mod outcome;
mod portion;
mod run;
mod spec;
mod thresholds;
mod waves;
=======
mod glob;
mod inventory;
mod member;
mod pattern;
mod select;
mod source;
>>>>>>> fleet-f1

pub(crate) use self::{
    fan_out::{Answer, each},
    gate::{Gate, Tally},
    member::{Fleet, Member},
<<<<<<< HEAD
    outcome::{Fate, HostOutcome},
    portion::Portion,
    run::{FleetUpdate, FrameWish, News, Order, StartOptions, Updates, run_wave},
    spec::FleetSpec,
    thresholds::{FleetJudged, FleetThreshold},
    waves::{MaxPer, MaxWatts, Wave, WaveOptions, named},
=======
    select::Selection,
    source::Source,
>>>>>>> fleet-f1
};

/// Far beyond what one sstsctl is for: more is a mistake in a range.
pub(crate) const MAX_HOSTS: u64 = 10_000;
