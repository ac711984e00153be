//! A fleet: the hosts that one command is about.

mod fan_out;
mod gate;
mod member;
mod outcome;
mod portion;
mod run;
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
    spec::FleetSpec,
    thresholds::{FleetJudged, FleetThreshold},
    waves::{MaxPer, MaxWatts, Wave, WaveOptions, named},
};
