//! What commands take that are about a fleet.

use clap::{Args, ValueEnum};

use super::values::{duration, run_id};

/// How a run starts on several hosts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "On a fleet")]
pub(crate) struct StartFlags {
    /// What becomes of the others where a host can't be made ready.
    #[arg(long, value_name = "WHAT", default_value = "call-off")]
    pub(crate) not_ready: NotReady,
    /// How long hosts may take to be ready.
    #[arg(long, value_name = "D", value_parser = duration, default_value = "60s")]
    pub(crate) ready_within: u64,
    /// What becomes of the others where a host is lost during the run.
    #[arg(long, value_name = "WHAT", default_value = "go-on")]
    pub(crate) on_loss: OnLoss,
    /// The run's id, chosen by whoever calls: no host starts an id twice. Without it one is made.
    #[arg(long, value_name = "ID", value_parser = run_id)]
    pub(crate) run_id: Option<String>,
}

/// Where a host can't be made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum NotReady {
    /// It is left out, by name; the others start.
    LeaveOut,
    /// None starts, and all that were ready are released.
    #[default]
    CallOff,
}

/// Where a host is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnLoss {
    /// The others go on.
    #[default]
    GoOn,
    /// The others are stopped.
    Stop,
}

impl Default for StartFlags {
    fn default() -> Self {
        Self {
            not_ready: NotReady::default(),
            ready_within: 60_000,
            on_loss: OnLoss::default(),
            run_id: None,
        }
    }
}
