//! A fleet: the hosts that one command is about.

mod fan_out;
mod member;
mod outcome;
mod run;

pub(crate) use self::{
    fan_out::{Answer, each},
    member::{Fleet, Member},
    outcome::{Fate, HostOutcome},
    run::{FleetUpdate, FrameWish, News, Order, StartOptions, Updates, run_wave},
};
