//! The flags that name several hosts at once.

use clap::Args;

use crate::fleet::{Selection, Source};

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
