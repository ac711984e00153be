//! How often a planted change is found, and how often one is seen where there is none: on noise that was measured.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::{Judgement, Key, Settings, Side, SideRun, judge};
use crate::stats::{mean, measured::recorded};

/// Of each run, s.
const RUN_S: usize = 180;
const RUNS: usize = 10;
const REGRESSION: f64 = 0.05;
const SETTINGS: Settings = Settings { alpha: 0.05, material: None, seed: 1 };

/// What was recorded, as what, and what a regression multiplies it by.
const METRICS: [(&str, &str, &str, &str, f64); 3] = [
    ("operations_per_s", "result.operations_per_s", "mean", "1/s", 1.0 - REGRESSION),
    ("runqueue_p50_ns", "runqueue.latency", "p50", "ns", 1.0 + REGRESSION),
    ("block_p50_ns", "block.latency", "p50", "ns", 1.0 + REGRESSION),
];

fn key(metric: &str, statistic: &str, unit: &str) -> Key {
    Key {
        metric: metric.into(),
        labels: BTreeMap::new().into(),
        statistic: statistic.into(),
        unit: unit.into(),
    }
}

/// Ten runs, each three minutes of the recording somewhere; those of `worse` are made worse.
fn side(rng: &mut Rng, name: &str, worse: Option<&str>) -> Side {
    let columns = METRICS.map(|(column, ..)| recorded(column));
    let run = |index: usize| {
        let begin = rng.usize(..columns[0].len() - RUN_S);
        let figures =
            METRICS.iter().zip(&columns).map(|((column, metric, statistic, unit, factor), values)| {
                let factor = if worse == Some(*column) { *factor } else { 1.0 };
                (key(metric, statistic, unit), mean(&values[begin..begin + RUN_S]).unwrap() * factor)
            });
        SideRun { id: format!("{name}{index}"), figures: figures.collect(), ..SideRun::default() }
    };
    Side { name: name.into(), runs: (0..RUNS).map(run).collect() }
}

/// In how many of so many comparisons the metric, or any, was called worse.
fn called_worse(comparisons: u64, worse: Option<&str>) -> usize {
    let metric = METRICS.iter().find(|(column, ..)| worse == Some(*column)).map(|(_, metric, ..)| *metric);
    (0..comparisons)
        .filter(|seed| {
            let mut rng = Rng::with_seed(*seed);
            let (before, after) = (side(&mut rng, "a", None), side(&mut rng, "b", worse));
            let all = judge(&before, &after, SETTINGS, |_| true);
            all.changes.iter().any(|change| {
                change.judgement == Judgement::Worse
                    && metric.is_none_or(|metric| *change.key.metric == *metric)
            })
        })
        .count()
}

#[test]
fn a_planted_regression_of_5_percent_is_found_in_19_of_20_comparisons() {
    let found = called_worse(20, Some("operations_per_s"));
    assert!(found >= 19, "{found} of 20");
}

#[test]
fn where_nothing_is_planted_one_of_20_comparisons_raises_an_alarm_at_most() {
    let alarms = called_worse(20, None);
    assert!(alarms <= 1, "{alarms} of 20");
}

/// The same bars over a thousand comparisons, and what becomes of metrics that are noisier.
#[test]
#[ignore = "a minute: cargo test -p ssts-ctl --bins bars -- --ignored --nocapture"]
fn the_bars_hold_over_a_thousand_comparisons() {
    for (column, ..) in METRICS {
        eprintln!("{column}: a planted 5 % is found in {} of 1000", called_worse(1_000, Some(column)));
    }
    let found = called_worse(1_000, Some("operations_per_s"));
    let alarms = called_worse(1_000, None);
    eprintln!("false alarms in {alarms} of 1000, over {} metrics together", METRICS.len());
    assert!(found >= 950 && alarms <= 50, "{found} found, {alarms} false");
}
