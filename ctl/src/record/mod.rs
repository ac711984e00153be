//! What an agent kept of a run's telemetry: [fetched](fetch), and [written down](csv) for other programs.

mod csv;
mod fetch;

pub(crate) use self::{
    csv::CsvWriter,
    fetch::{Source, fetch},
};
