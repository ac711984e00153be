//! The command line of `sstsd`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use ssts_agent::config::LogFormat;

/// Loads, watches and guards this host, commanded by sstsctl.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run as a daemon
    #[command(
        after_help = "Examples:\n  sstsd serve\n  sstsd serve --listen unix:/tmp/s.sock --state-dir /tmp/ssts --log-format json\n\n\
        Stops its runs and itself on SIGTERM and SIGINT, halts on SIGUSR1. Keys of the configuration file can also be set by the \
        environment: SSTSD_OBSERVE__RATE_HZ=20."
    )]
    Serve(Serve),
    /// Tell what works on this host and what doesn't, found out by trying, and the mend for each
    #[command(after_help = "Exit status: 0 when the main job can run in full, 1 when it can't.")]
    Check(Check),
    /// End, undo and look at what an sstsd that is gone has left, without starting one
    #[command(
        after_help = "For the service manager, after the service has ended (ExecStopPost=), and for whoever finds a host after a crash. \
        What is not clean keeps the next sstsd from starting runs, until `sstsctl recover`.\n\n\
        Exit status: 0 when the host was seen to be clean, 1 when it was not or sstsd runs."
    )]
    Recover(Common),
    /// The process of one burner; started by the daemon
    #[command(hide = true)]
    Burn {
        /// The daemon's process id
        #[arg(long)]
        daemon: i32,
    },
    /// The process that receives what network burners of other hosts send; started by the daemon
    #[command(hide = true)]
    Sink {
        /// The daemon's process id
        #[arg(long)]
        daemon: i32,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The configuration file; default: /etc/ssts/sstsd.toml where it exists
    #[arg(long, value_name = "FILE", env = "SSTSD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where records are kept; default: /var/lib/ssts for root, else $XDG_STATE_HOME/ssts
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Where to listen, may be given more than once; default: unix:/run/ssts/sstsd.sock for root, else
    /// unix:$XDG_RUNTIME_DIR/ssts/sstsd.sock
    #[arg(long, value_name = "unix:PATH")]
    pub(crate) listen: Vec<String>,
    /// What is logged: a level, or levels by module ("warn,ssts_agent::run=debug")
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// End with the process of this id, which must be the parent
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) die_with_parent: Option<i32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) common: Common,
    /// For people or for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}
