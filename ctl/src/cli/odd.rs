//! Arguments of `odd`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::compare::item;
use crate::compare::Item;

pub(super) const EXAMPLES: &str = "\
Puts each figure of a host, and of its cores, memory modules, disks and links, beside those of its peers: same model, same phase,
same burner. With one run of a fleet its hosts are compared; several runs, or results in files, are taken as one fleet. Fewer
than four peers show nothing.

Exit status: 0 none is odd, 2 nothing could be told, 3 some are.

Examples:
  sstsctl odd latest
  sstsctl odd 01a1fe6f-f750-7063-93f9-0fe3c22de573 --change 10
  sstsctl odd latest --format html --to odd.html
  sstsctl --output json odd tag:acceptance > odd.json";

/// Which results, and what counts.
#[derive(Debug, Args)]
pub(crate) struct OddFlags {
    /// The run of a fleet, or several runs, result files or folders of these.
    #[arg(value_name = "RUN", required = true, value_parser = item)]
    pub(crate) runs: Vec<Item>,
    /// Let differences of less be, in percent.
    #[arg(long, value_name = "PCT", default_value = "5", value_parser = percent_of_change)]
    pub(crate) change: f64,
    /// Call odd what is surer than this, in percent.
    #[arg(long, value_name = "PCT", default_value = "95", value_parser = percent_sure)]
    pub(crate) sure: f64,
    /// Show all that are worse than their peers, sure or not.
    #[arg(long)]
    pub(crate) all: bool,
    /// In which form; without it as `--output` says.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<OddFormat>,
    /// Into this file, which is there whole or not at all; without it to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OddFormat {
    /// For people at a terminal.
    Text,
    /// Markdown.
    Md,
    /// As `--output json`.
    Json,
    /// One page for a browser; it needs no network.
    Html,
    /// A line for each value that is worse than its peers', as comma-separated values.
    Csv,
    /// For the files; its font is in it.
    Pdf,
}

fn percent_of_change(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (0.1..=1_000.0).contains(&percent) => Ok(percent),
        _ => Err("use 0.1 to 1000 percent".into()),
    }
}

fn percent_sure(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (50.0..=99.9999).contains(&percent) => Ok(percent),
        _ => Err("use 50 to 99.9999 percent".into()),
    }
}
