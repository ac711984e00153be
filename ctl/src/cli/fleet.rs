//! What commands take that are about a fleet.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::{duration, label, run_id};
use crate::fleet::{Selection, Source};

pub(super) const COLLECT_EXAMPLES: &str = "\
Runs that are over and that the history has are not fetched again. The run of a host of a fleet is kept as RUN@HOST, since a
run of a fleet has one id on all its hosts: `sstsctl report RUN@HOST`. With --records also the files of telemetry, each as the
agent has it, in DIR/HOST/RUN.rec.

Examples:
  sstsctl --fleet hosts.toml collect
  sstsctl --fleet hosts.toml collect --tag burn-in-november --records ./records
  sstsctl --fleet hosts.toml --select rack=r7 collect 01a1fe6f-f750-7063-93f9-0fe3c22de573";

pub(super) const HEADING: &str = "Fleet";

/// Which hosts a command is about, beside `--host`.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct FleetFlags {
    /// The hosts to command: a file, - for standard input, exec:'CMD ARGS' that prints JSON, or srv:_ssts._tcp.DOMAIN.
    #[arg(long, global = true, value_name = "INVENTORY", value_parser = Source::parse, help_heading = HEADING)]
    pub(crate) fleet: Option<Source>,
    /// Only hosts of this set, such as 'role=db,rack!=r7'; of several sets, those that are in any.
    #[arg(long, global = true, value_name = "SET", value_parser = Selection::parse, help_heading = HEADING)]
    pub(crate) select: Vec<Selection>,
    /// Not these: a host's name, or a set as --select takes it; may be repeated.
    #[arg(long, global = true, value_name = "SET", value_parser = Selection::parse, help_heading = HEADING)]
    pub(crate) exclude: Vec<Selection>,
    /// Only the first so many of them, in the inventory's order.
    // `runs` and `trend` have a flag of this name: it is of the same type there, since clap hands the value on.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = HEADING)]
    pub(crate) limit: Option<u32>,
}

/// How a run starts on several hosts.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartFlags {
    /// What becomes of the others where a host can't be made ready.
    #[arg(long, value_name = "WHAT", default_value = "call-off", help_heading = HEADING)]
    pub(crate) not_ready: NotReady,
    /// How long hosts may take to be ready.
    #[arg(long, value_name = "D", value_parser = duration, default_value = "60s",
          help_heading = HEADING)]
    pub(crate) ready_within: u64,
    /// What becomes of the others where a host is lost during the run.
    #[arg(long, value_name = "WHAT", default_value = "go-on", help_heading = HEADING)]
    pub(crate) on_loss: OnLoss,
    /// The run's id, chosen by whoever calls: no host starts an id twice. Without it one is made.
    #[arg(long, value_name = "ID", value_parser = run_id)]
    pub(crate) run_id: Option<String>,
}

/// Whose a run is that is watched.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct WatchFlags {
    /// Take the run over: renew its leases from now on.
    #[arg(long, requires = "run")]
    pub(crate) adopt: bool,
    /// What becomes of the others where a host is lost, of a run that was taken over.
    #[arg(long, value_name = "WHAT", default_value = "go-on", requires = "adopt", help_heading = HEADING)]
    pub(crate) on_loss: OnLoss,
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

/// Of `collect`.
#[derive(Debug, Args)]
pub(crate) struct CollectFlags {
    /// This run alone.
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub(crate) run: Option<String>,
    /// Also write the files of telemetry, below this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) records: Option<PathBuf>,
    /// Keep what is new in the history with this tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG", value_parser = label)]
    pub(crate) tags: Vec<String>,
}
