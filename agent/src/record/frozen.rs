//! What came of freezing a window of the flight recorder into a record.

use std::time::Duration;

/// A window that was frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// From its first frame to its last.
    pub span: Duration,
    /// The record had no room for all of it: the oldest was left out.
    pub is_shortened: bool,
}

/// Why none was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFrozen {
    /// Its file could not be made, or it was closed already.
    #[error("no record of this run is being written; the agent's log says why")]
    NoRecord,
    /// There is no room.
    #[error(
        "the run's record has reached record.max_run_bytes; raise it in the agent's configuration for the next run"
    )]
    Full,
    /// Windows that overlap tell nothing new.
    #[error("a window was frozen {ago_s} s ago, and has most of it; ask again 10 s after that one")]
    JustDone {
        /// Whole seconds since.
        ago_s: u64,
    },
    /// The agent has just begun.
    #[error("the flight recorder has nothing yet; ask again in a second")]
    Nothing,
    /// The disk took it not.
    #[error("the run's record can't be written for now: {0}")]
    Unwritable(String),
    /// A bug: it began anew, and the run's record has ended.
    #[error("the recorder broke down; the agent's log says why")]
    Restarted,
}
