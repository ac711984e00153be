//! What an agent kept of a run's telemetry: [fetched](fetch), [gone through](replay), and [written down](csv) for
//! other programs.

mod csv;
mod fetch;
mod replay;

pub(crate) use self::{
    csv::{CsvWriter, Frames},
    fetch::{Source, fetch},
    replay::{Replay, Seen},
};
