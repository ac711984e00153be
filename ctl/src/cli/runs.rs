//! `runs`: the history.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::values::{baseline_name, duration, label, past, size};
use crate::store::RunFilter;

pub(super) const EXAMPLES: &str = "\
Every run that `run`, `burn`, `watch` or `report` saw the end of is kept, in $XDG_DATA_HOME/ssts/history.db or where --store
says. Runs of the agent that were not kept, such as one that still goes on, are listed, too, if an agent listens.
RUN is a run's id, the beginning of it, a baseline's name, or latest.

Examples:
  sstsctl runs --since 7d --scenario burn-in --verdict fail
  sstsctl runs --tag rack=7 --output json
  sstsctl runs show latest
  sstsctl runs tag latest after-bios-update
  sstsctl runs baseline latest golden
  sstsctl runs rm --older-than 90d --scenario quick --yes
  sstsctl runs prune --keep-for 365d --keep-size 2GiB --save
  sstsctl runs export --since 30d november.ssts
  sstsctl runs import november.ssts";

/// Of `runs`.
#[derive(Debug, Args)]
pub(crate) struct Runs {
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many at most, the newest.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
    /// Only those that the agent remembers, whether they were kept or not.
    #[arg(long, conflicts_with = "tags")]
    pub(crate) agent: bool,
}

/// Which runs are meant: those that fit all of it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Which {
    /// Started since: 7d ago, 2026-01-31, or 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = past)]
    since: Option<i64>,
    /// Started before.
    #[arg(long, value_name = "TIME", value_parser = past)]
    until: Option<i64>,
    /// Of this scenario.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// On this host, by its name.
    #[arg(long, value_name = "HOST")]
    on_host: Option<String>,
    /// With this verdict; may be repeated.
    #[arg(long, value_name = "VERDICT", value_parser = PossibleValuesParser::new(["pass", "fail", "aborted", "error"]))]
    verdict: Vec<String>,
    /// With this tag; repeated, with all of them.
    #[arg(long = "tag", value_name = "TAG", value_parser = label)]
    tags: Vec<String>,
}

impl Which {
    /// As the store has it.
    pub(crate) fn filter(&self) -> RunFilter {
        RunFilter {
            since_ns: self.since,
            until_ns: self.until,
            scenario: self.scenario.clone(),
            host: self.on_host.clone(),
            verdicts: self.verdict.clone(),
            tags: self.tags.clone(),
            ..RunFilter::default()
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Show what is kept of a run.
    Show {
        /// The run.
        #[arg(value_name = "RUN")]
        run: String,
    },
    /// Put tags to a run, or take them off.
    Tag {
        /// The run.
        #[arg(value_name = "RUN")]
        run: String,
        /// Such as nightly, or rack=7.
        #[arg(value_name = "TAG", required = true, value_parser = label)]
        tags: Vec<String>,
        /// Take them off instead.
        #[arg(long)]
        remove: bool,
    },
    /// Name a run that others are measured by; without arguments, list those names.
    Baseline {
        /// The run.
        #[arg(value_name = "RUN", requires = "name", conflicts_with = "remove")]
        run: Option<String>,
        /// A name; a run that has it has it no more.
        #[arg(value_name = "NAME", value_parser = baseline_name)]
        name: Option<String>,
        /// Forget this name; the run stays.
        #[arg(long, value_name = "NAME")]
        remove: Option<String>,
    },
    /// Remove runs from the history.
    Rm {
        /// The runs; without them, all that fit the options.
        #[arg(value_name = "RUN", conflicts_with_all = ["since", "until", "scenario", "on_host", "verdict", "tags", "older_than"])]
        runs: Vec<String>,
        /// Started longer ago than this.
        #[arg(long, value_name = "D", value_parser = past_duration, conflicts_with = "until")]
        older_than: Option<i64>,
        #[command(flatten)]
        which: Which,
        /// Don't ask.
        #[arg(short, long)]
        yes: bool,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove runs that are too old or take too much room, the oldest first; baselines stay.
    Prune {
        /// Remove what started longer ago; none: keep for ever.
        #[arg(long, value_name = "D", value_parser = bounded_duration)]
        keep_for: Option<Bound<Duration>>,
        /// Remove the oldest until the others take no more; none: without a bound.
        #[arg(long, value_name = "BYTES", value_parser = bounded_size)]
        keep_size: Option<Bound<u64>>,
        /// Keep these bounds in the store: they hold from now on, each time that a run is kept.
        #[arg(long)]
        save: bool,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write runs into a file, for another store or for the archive.
    Export {
        /// The file; - is standard output.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Take the runs of such a file into the store; those that it has are left as they are.
    Import {
        /// The file; - is standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// A bound, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound<T>(pub(crate) Option<T>);

fn bounded_duration(text: &str) -> Result<Bound<Duration>, String> {
    match text {
        "none" => Ok(Bound(None)),
        _ => duration(text).map(|ms| Bound(Some(Duration::from_millis(ms)))),
    }
}

fn bounded_size(text: &str) -> Result<Bound<u64>, String> {
    match text {
        "none" => Ok(Bound(None)),
        _ => size(text).map(|bytes| Bound(Some(bytes))),
    }
}

/// An age, as the instant that it reaches back to.
fn past_duration(text: &str) -> Result<i64, String> {
    duration(text)?;
    past(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn refusal(line: &str) -> String {
        let error = Cli::try_parse_from(line.split_whitespace()).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        error.to_string()
    }

    #[test]
    fn bad_filters_and_bounds_are_refused_with_the_mend() {
        for (line, told) in [
            ("sstsctl runs --since yesterday", "such as 7d"),
            ("sstsctl runs --verdict fine", "aborted"),
            ("sstsctl runs --limit 0", "1..=1000000"),
            ("sstsctl runs tag latest", "TAG"),
            ("sstsctl runs tag latest a,b", "can't be in it"),
            ("sstsctl runs baseline latest", "NAME"),
            ("sstsctl runs baseline latest latest", "means a run already"),
            ("sstsctl runs rm latest --older-than 7d", "cannot be used with"),
            ("sstsctl runs rm --older-than 2026-01-01", "ms, s, m, h or d"),
            ("sstsctl runs prune --keep-size much", "MiB"),
            ("sstsctl runs --tag a --agent", "cannot be used with"),
            ("sstsctl --store mysql://x runs", "no scheme 'mysql'"),
            ("sstsctl run quick --detach --tag a", "cannot be used with"),
        ] {
            let text = refusal(line);
            assert!(text.contains(told), "{line}: {text}");
        }
    }
}
