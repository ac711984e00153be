//! A fleet: the hosts that one command is about.

mod asked;
mod clock;
mod fan_out;
mod glob;
mod inventory;
mod member;
mod outcome;
mod pattern;
mod run;
mod select;
mod source;

pub(crate) use self::{
    fan_out::{Answer, each},
    inventory::schema as inventory_schema,
    member::{Fleet, Member},
    outcome::{Fate, HostOutcome, worst},
    run::{
        FleetUpdate, FollowOptions, News, Order, StartOptions, StartSkew, Updates, follow_run,
        run_wave, skew_of_hosts,
    },
    select::Selection,
    source::Source,
};

/// Far beyond what one sstsctl is for: more is a mistake in a range.
pub(crate) const MAX_HOSTS: u64 = 10_000;
