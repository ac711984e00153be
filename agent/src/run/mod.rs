//! Runs: from a scenario to a verdict.

mod active;
mod admit;
mod busiest;
mod child;
mod culprits;
mod drilled;
mod ending;
mod engine;
mod error;
mod found;
mod guarded;
mod guarding;
mod halt;
mod hardware_errors;
mod kernel_messages;
mod lease;
mod life;
mod on;
mod oom;
mod outcome;
mod result;
pub mod state;
mod store;
mod supervisor;
mod telemetry;
mod undo;

pub use active::ActiveRun;
pub use drilled::{DrillNote, Drilled};
pub use ending::Ending;
pub use engine::{AGENT_STOPPED, Describe, Engine, Herald};
pub use error::EngineError;
pub use kernel_messages::KernelMessages;
pub use store::StoreError;
