//! Why a command can't be carried out.

use ssts_proto::v1::{HaltState, Violation};

use super::{state::Illegal, store::StoreError};

/// Why a command can't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It can never be carried out on this host.
    #[error("the scenario is refused: {}", listed(.0))]
    Refused(Vec<Violation>),
    /// As many runs are on as may be.
    #[error(
        "{} of at most {max} runs are on ({}); wait for one, stop one (`sstsctl stop RUN`), or raise policy.max_runs in the \
         agent's configuration", on.len(), on.join(", ")
    )]
    Busy {
        /// Their ids.
        on: Vec<String>,
        /// From the configuration.
        max: usize,
    },
    /// The host is halted.
    #[error("this host is halted by {}: {}; clear it first (`sstsctl halt --clear`)", .0.by, .0.reason)]
    Halted(HaltState),
    /// A run was not seen to be gone.
    #[error("{0}; look at it again (`sstsctl recover`) before anything starts")]
    Unclean(String),
    /// The daemon ends.
    #[error("sstsd is about to end; start the run when it is back")]
    Closed,
    /// The id is taken.
    #[error("a run {0} is known already; choose another id")]
    Known(String),
    /// No such run.
    #[error("no run {0} is known; `sstsctl runs` lists those that are")]
    Unknown(String),
    /// Not in this state.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// A guard keeps it paused.
    #[error("guard {guard} keeps run {run} paused until it is clear; the run goes on by itself then")]
    Held {
        /// The run.
        run: String,
        /// The guard's name.
        guard: String,
    },
    /// A guard would end it as soon as it began.
    #[error("guard {guard} has tripped on this host: {message}; start the run when that is over")]
    Guarded {
        /// The guard's name.
        guard: String,
        /// Why it tripped.
        message: String,
    },
    /// It does not wait to be told when to begin.
    #[error("run {run} is not held for that: {why}")]
    NotHeld {
        /// The run.
        run: String,
        /// What it does instead.
        why: String,
    },
    /// It is over.
    #[error("run {0} is over")]
    Over(String),
    /// Records can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refused.
    #[error("{what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Its reason.
        source: std::io::Error,
    },
}

fn listed(violations: &[Violation]) -> String {
    let each = violations.iter().map(|violation| format!("{}: {}", violation.field, violation.message));
    each.collect::<Vec<_>>().join("; ")
}
