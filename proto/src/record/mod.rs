//! The record of a run's telemetry: how [frames are packed](block) and how [items follow each other](log) in a file. Written
//! by agents, read by whoever fetched it; `record.proto` is the documentation of the format.

mod block;
mod log;

pub use block::{BadBlock, BlockBuilder};
pub use log::{MAGIC, Reader, Unreadable, append};
