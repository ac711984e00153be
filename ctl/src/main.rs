//! `sstsctl`: commands hosts that run `sstsd`.

mod cli;
mod connect;
mod error;
mod local;
mod output;
mod quantity;
mod scenario;
mod telemetry;
mod text;

fn main() {}
