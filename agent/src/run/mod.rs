//! Runs: from a scenario to a verdict.

mod active;
mod admit;
mod child;
mod culprits;
mod ending;
mod engine;
mod found;
mod halt;
mod lease;
mod oom;
mod outcome;
mod result;
pub mod state;
mod store;
mod supervisor;
mod telemetry;
mod undo;

pub use active::ActiveRun;
pub use ending::Ending;
pub use engine::{Describe, Engine, EngineError, Herald};
pub use store::StoreError;
