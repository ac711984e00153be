//! What becomes of frames beside being watched: the [flight recorder](flight) keeps the latest ones in memory, whatever runs,
//! and a run's go to a durable [file](file) under the state folder. One thread does both; the tick never waits for it, nor it
//! for readers.

mod file;
mod flight;
mod frozen;
mod of_run;
mod recorder;
mod shelf;
mod thinner;

use std::time::Duration;

pub use flight::Flight;
pub use frozen::{Frozen, NotFrozen};
pub use recorder::{RecordSettings, Recorder, Recording};
pub use shelf::{RecordSource, Shelf};

/// How far back the flight recorder reaches at most.
pub const FLIGHT: Duration = Duration::from_secs(600);
