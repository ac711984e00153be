//! Runs: from a scenario to a verdict.

mod active;
mod admit;
mod alive;
mod busiest;
mod child;
mod confine;
mod culprits;
mod drilled;
mod ending;
mod engine;
mod failure;
mod found;
mod halt;
mod hardware_errors;
mod kernel_messages;
mod lease;
mod oom;
mod outcome;
mod receipt;
mod recover;
mod remains;
mod result;
pub mod state;
mod store;
mod supervisor;
mod telemetry;
pub mod undo;

pub use active::ActiveRun;
pub use drilled::{DrillNote, Drilled};
pub use ending::Ending;
pub use engine::{Describe, Engine, EngineError, Herald};
pub use halt::HaltWay;
pub use kernel_messages::KernelMessages;
pub use recover::recover_after;
pub use store::StoreError;
