//! `sstsctl`: commands hosts that run `sstsd`.

mod cli;
mod connect;
mod error;
mod json;
mod local;
mod output;
mod quantity;
mod report;
mod scenario;
mod status;
mod telemetry;
mod text;

fn main() {}
