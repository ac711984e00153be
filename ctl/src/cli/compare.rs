//! Arguments of `compare` and `trend`.

use std::path::PathBuf;

use clap::Args;

use super::{
    Form, Which,
    values::{baseline_name, label, run_id},
};
use crate::{compare::Item, store::BASELINE};

pub(super) const COMPARE_EXAMPLES: &str = "\
A side is a run (its id, the beginning of it, latest, or baseline:NAME), all runs of the history with a tag (tag:NAME), a file
that `sstsctl --output json` wrote, a folder of such files, or several of them joined by commas. With one run a side its own
windows are compared, from what an agent kept of its telemetry; four runs a side or more show how much runs differ, and one
new run is judged by five or more before. --scenario, --on-host and the like narrow what latest and tag:NAME mean.

Exit status: 0 no regression, 2 nothing could be told, 3 a regression.

Examples:
  sstsctl compare 01a1fe6f-f750-7063-93f9-0fe3c22de573 01a1fe70-0a02-7d41-8d55-0c3a6e6f1b7e
  sstsctl compare tag:nightly latest --scenario quick
  sstsctl compare baseline:golden latest --format html --to compared.html
  sstsctl compare before/ after/ --format junit > compared.xml
  sstsctl compare before/ today.json --metric result. --change 3
  sstsctl --output json compare before/ after/ > compared.json";

pub(super) const TREND_EXAMPLES: &str = "\
METRIC is a name of the catalogue, such as host.temperature, or of a result, such as result.operations_per_s. Over several runs the
changes of level are told, and the runs that are far from all others: the newest of the history, or those that are named. With --within, what one run's windows show is: a rise of
bytes is judged as a leak.

Exit status: 0 no leak or none looked for, 2 there is no such metric, 3 a leak.

Examples:
  sstsctl trend result.operations_per_s --scenario quick --on-host web-3 --since 30d
  sstsctl trend host.temperature tag:nightly --format html --to trend.html
  sstsctl trend result.latency --statistic p99 results/
  sstsctl trend agent.resident --within 01a1fe6f-f750-7063-93f9-0fe3c22de573 --tolerate 64KiB";

/// What runs are compared, and what counts.
#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// Runs, result files or folders of these, joined by commas: how it was.
    #[arg(value_name = "BEFORE", value_parser = side)]
    pub(crate) before: Items,
    /// Runs, result files or folders of these, joined by commas: how it is.
    #[arg(value_name = "AFTER", value_parser = side)]
    pub(crate) after: Items,
    /// Only metrics whose names begin with this, whether a direction is worse or not; may be repeated.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) metric: Vec<String>,
    /// Let changes of less be, in percent. [default: 2 with several runs, 5 with one a side]
    #[arg(long, value_name = "PCT", value_parser = percent_of_change)]
    pub(crate) change: Option<f64>,
    /// How many of the changes that are told may be chance, in percent; 100 less the confidence of the ranges.
    #[arg(long, value_name = "PCT", default_value = "5", value_parser = percent_of_chance)]
    pub(crate) false_alarms: f64,
    /// Show what did not change, and what can't be told, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Start of the pseudo-random sequence of the bootstrap.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// Of which metric, and over what.
#[derive(Debug, Args)]
pub(crate) struct TrendFlags {
    /// The metric.
    #[arg(value_name = "METRIC")]
    pub(crate) metric: String,
    /// Runs, result files or folders of these; without them the latest runs of the history.
    #[arg(value_name = "RUN", value_parser = item)]
    pub(crate) runs: Vec<Item>,
    /// Which statistic of it, such as p99 or max; without it those that runs are compared by.
    #[arg(long, value_name = "NAME")]
    pub(crate) statistic: Option<String>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many of the latest runs at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(3..=500))]
    pub(crate) limit: u32,
    /// Over the windows of this one run.
    #[arg(long, value_name = "RUN", value_parser = reference, conflicts_with = "runs")]
    pub(crate) within: Option<String>,
    /// Of bytes: a rise of so much a minute is no leak. [default: 128KiB]
    #[arg(long, value_name = "BYTES", value_parser = super::values::size, requires = "within")]
    pub(crate) tolerate: Option<u64>,
    /// Start of the pseudo-random sequence of the permutations.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// What stands on one side; a type of its own, because clap takes a bare `Vec` for a repeated argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Items(pub(crate) Vec<Item>);

fn side(text: &str) -> Result<Items, String> {
    text.split(',').map(item).collect::<Result<_, _>>().map(Items)
}

pub(super) fn item(text: &str) -> Result<Item, String> {
    if text.is_empty() {
        return Err("it is empty; name a run, a result file or a folder".into());
    }
    // Nearly any name could be a run's id: what is there as a file is meant as one.
    let path = PathBuf::from(text);
    if path.exists() {
        return Ok(Item::Path(path));
    }
    if let Some(tag) = text.strip_prefix("tag:") {
        return label(tag).map(Item::Tag);
    }
    reference(text)
        .map(Item::Run)
        .map_err(|_| format!("'{text}' is no file or folder, and no run's id; `sstsctl runs` lists the runs"))
}

/// One run: by its id, the beginning of it, `latest`, `baseline:NAME`, or `ID@HOST` of a host of a fleet.
pub(super) fn reference(text: &str) -> Result<String, String> {
    match (text.strip_prefix(BASELINE), text.split_once('@')) {
        (Some(name), _) => baseline_name(name).map(|_| text.to_owned()),
        (None, Some((id, host))) if !host.is_empty() => run_id(id).map(|_| text.to_owned()),
        (None, _) => run_id(text),
    }
}

fn percent_of_change(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (0.0..=1_000.0).contains(&percent) => Ok(percent),
        _ => Err("use 0 to 1000 percent".into()),
    }
}

fn percent_of_chance(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (0.01..=50.0).contains(&percent) => Ok(percent),
        _ => Err("use 0.01 to 50 percent".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_runs_and_paths_joined_by_commas() {
        let id = "01a1fe6f-f750-7063-93f9-0fe3c22de573";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let items = side(&format!("{id},{path}")).unwrap();
        assert_eq!(items.0, [Item::Run(id.into()), Item::Path(folder.path().into())]);
        let items = side("latest,baseline:a.b,tag:rack=7").unwrap();
        let [latest, baseline] = ["latest", "baseline:a.b"].map(|run| Item::Run(run.into()));
        assert_eq!(items.0, [latest, baseline, Item::Tag("rack=7".into())]);
        for (text, told) in [
            ("", "empty"),
            ("a,,b", "empty"),
            ("no/such.json", "no file or folder"),
            ("baseline:", "no file or folder"),
            ("tag:a b", "no name"),
        ] {
            let refusal = side(text).unwrap_err();
            assert!(refusal.contains(told), "{text}: {refusal}");
        }
    }

    #[test]
    fn percentages_have_their_bounds() {
        assert_eq!(percent_of_change("3%"), Ok(3.0));
        assert!(percent_of_change("-1").is_err() && percent_of_change("NaN").is_err());
        assert!(percent_of_chance("0").is_err() && percent_of_chance("60").is_err());
    }
}
