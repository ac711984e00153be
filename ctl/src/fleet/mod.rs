//! A fleet: the hosts that one command is about.

mod fan_out;
mod member;

pub(crate) use self::{
    fan_out::{Answer, each},
    member::{Fleet, Member},
};
