//! Limits with a reaction. A guard sees frames and says where it stands, and what a run is to do about it; it knows nothing of
//! runs and burners.
//!
//! [`GuardSpec`] is what is asked for, [`GuardSet`] looks at frames, [`Reaction`] is what one guard does to one run.

mod check;
mod level;
mod look;
mod past;
mod plausible;
mod quantiles;
mod reaction;
mod set;
pub mod shipped;
mod spec;

use std::time::Duration;

use ssts_proto::v1;

pub use self::{
    check::check,
    reaction::{FULL_PPM, Order, Reaction},
    set::{GuardBoard, GuardSet, Owned, Standing, Watching},
    spec::GuardSpec,
};

/// The limits of one run, after the daemon's own were laid over those that were asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The whole run.
    pub max_duration: Duration,
    /// Of MemAvailable.
    pub min_available_memory_bytes: u64,
    /// Of the hottest sensor.
    pub max_temperature_celsius: f64,
    /// How long a reading may be missing.
    pub stale_after: Duration,
}

impl From<&Bounds> for v1::Limits {
    fn from(bounds: &Bounds) -> Self {
        Self {
            max_duration_ms: Some(u64::try_from(bounds.max_duration.as_millis()).unwrap_or(u64::MAX)),
            min_available_memory_bytes: Some(bounds.min_available_memory_bytes),
            max_temperature_celsius: Some(bounds.max_temperature_celsius),
        }
    }
}
