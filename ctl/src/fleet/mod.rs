//! A fleet: the hosts that one command is about.

mod asked;
mod clock;
mod course;
mod fan_out;
mod gate;
mod glob;
mod inventory;
mod member;
mod odd;
mod outcome;
mod pattern;
mod planned;
mod portion;
mod run;
mod select;
mod source;
mod spec;
mod thresholds;
mod view;
mod waves;

pub(crate) use self::{
    course::{Course, Stage, run_in_waves},
    fan_out::{Answer, each},
    gate::{Borne, Gate, Tally},
    inventory::schema as inventory_schema,
    member::{Fleet, Member},
    odd::{
        Evidence, OddOnes, Question, Ranked, Readings, Settings as OddSettings, odd_csv, odd_document,
        odd_ones, odd_ones_of, odd_section,
    },
    outcome::{Fate, HostOutcome, worst},
    planned::{FleetPlan, Taken, would_start},
    portion::Portion,
    run::{
        FleetUpdate, FollowOptions, FrameWish, News, Order, StartOptions, StartSkew, Updates, WaveEnd,
        follow_run, run_wave, skew_of_hosts,
    },
    select::Selection,
    source::Source,
    spec::{FleetSpec, watts_of},
    thresholds::{FleetJudged, FleetThreshold, Subject},
    view::{LiveFleet, live as fleet_live, once as fleet_once},
    waves::{MaxPer, MaxWatts, Wave, WaveOptions, named},
};

/// Far beyond what one sstsctl is for: more is a mistake in a range.
pub(crate) const MAX_HOSTS: u64 = 10_000;
