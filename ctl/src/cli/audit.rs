//! `audit`: the log of who commanded an agent.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const EXAMPLES: &str = "\
Reads the files of a host, without its agent: as root, or from a copy. Whoever can write the files can write others: keep the hash
that `audit verify` prints elsewhere, and give it with --head the next time.

Examples:
  sstsctl audit verify
  sstsctl audit verify --dir ./copied
  sstsctl audit export > audit.jsonl";

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Say whether every line is as it was written.
    Verify {
        #[command(flatten)]
        place: AuditPlace,
        /// A hash from an earlier time, which must be that of a line.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
    /// Print every line, the oldest first, a JSON object each.
    Export {
        #[command(flatten)]
        place: AuditPlace,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditPlace {
    /// The folder of the log.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ssts/audit")]
    pub(crate) dir: PathBuf,
}
