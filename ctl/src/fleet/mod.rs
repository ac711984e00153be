//! A fleet: the hosts that one command is about.

mod clock;
mod fan_out;
mod member;
mod outcome;
mod run;

pub(crate) use self::{
    fan_out::{Answer, each},
    member::{Fleet, Member},
    outcome::{Fate, HostOutcome},
    run::{
        FleetUpdate, FollowOptions, FrameWish, News, Order, StartOptions, StartSkew, Updates, follow_run,
        run_wave, skew_of_hosts,
    },
};
