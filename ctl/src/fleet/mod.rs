//! A fleet: the hosts that one command is about.

mod fan_out;
mod member;
mod odd;
mod outcome;
mod run;
mod view;

pub(crate) use self::{
    fan_out::{Answer, each},
    member::{Fleet, Member},
    odd::{
        Evidence, OddOnes, Question, Ranked, Readings, Settings as OddSettings, odd_csv, odd_document, odd_ones,
        odd_ones_of, odd_section,
    },
    outcome::{Fate, HostOutcome},
    run::{FleetUpdate, FrameWish, News, Order, StartOptions, Updates, run_wave},
};
