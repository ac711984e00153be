//! A fleet: the hosts that one command is about.

mod asked;
mod fan_out;
mod gate;
mod glob;
mod inventory;
mod member;
mod outcome;
mod pattern;
mod portion;
mod run;
mod select;
mod source;
mod spec;
mod thresholds;
mod waves;

pub(crate) use self::{
    fan_out::{Answer, each},
    gate::{Gate, Tally},
    member::{Fleet, Member},
    outcome::{Fate, HostOutcome},
    portion::Portion,
    run::{FleetUpdate, FrameWish, News, Order, StartOptions, Updates, run_wave},
    select::Selection,
    source::Source,
    spec::FleetSpec,
    thresholds::{FleetJudged, FleetThreshold},
    waves::{MaxPer, MaxWatts, Wave, WaveOptions, named},
};

/// Far beyond what one sstsctl is for: more is a mistake in a range.
pub(crate) const MAX_HOSTS: u64 = 10_000;
