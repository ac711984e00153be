//! What became better or worse, and trends.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{known, present};
use crate::compare::{Change, Comparison, Judgement, Settings, Side, SideRun};

/// Of `compare`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Compared")]
pub(crate) struct ComparedOut {
    /// `pass`, `fail` where something is worse, `inconclusive` where nothing could be told.
    verdict: String,
    /// `runs`, `one_against_runs`, `windows` or `nothing`.
    method: String,
    before: Vec<ComparedRunOut>,
    after: Vec<ComparedRunOut>,
    /// Changes of less were let be.
    material_percent: f64,
    /// How many of the changes that are told may be chance.
    false_alarms_percent: f64,
    /// Of the bootstrap.
    seed: u64,
    regressions: usize,
    /// The worst first.
    changes: Vec<ChangeOut>,
    /// Numbers that only one side has.
    left_out: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// One run of a side.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ComparedRun")]
struct ComparedRunOut {
    run_id: String,
    scenario: String,
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    /// RFC 3339.
    started_at: String,
}

/// One number before and after.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Change")]
struct ChangeOut {
    metric: String,
    labels: BTreeMap<String, String>,
    statistic: String,
    unit: String,
    /// Median of the runs, or mean or median of the windows.
    before: f64,
    after: f64,
    /// Of what was before. Absent where that was 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_percent: Option<f64>,
    /// Where the change lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    low_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_percent: Option<f64>,
    /// Two-sided, of this number alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    /// Corrected for all that were compared, after Benjamini and Hochberg.
    #[serde(skip_serializing_if = "Option::is_none")]
    p_adjusted: Option<f64>,
    /// `worse`, `better`, `changed`, `same` or `unclear`.
    judgement: String,
    /// Why it can't be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<&SideRun> for ComparedRunOut {
    fn from(run: &SideRun) -> Self {
        Self {
            run_id: run.id.clone(),
            scenario: run.scenario.clone(),
            host: run.host.clone(),
            verdict: present(&run.verdict),
            started_at: run.started_at.clone(),
        }
    }
}

impl From<&Change> for ChangeOut {
    fn from(change: &Change) -> Self {
        let percent = |share: f64| known(share * 100.0);
        Self {
            metric: change.key.metric.to_string(),
            labels: (*change.key.labels).clone(),
            statistic: change.key.statistic.to_string(),
            unit: change.key.unit.to_string(),
            before: change.before,
            after: change.after,
            change_percent: change.change.and_then(percent),
            low_percent: change.interval.and_then(|interval| percent(interval.low)),
            high_percent: change.interval.and_then(|interval| percent(interval.high)),
            p: change.p.and_then(known),
            p_adjusted: change.p_adjusted.and_then(known),
            judgement: change.judgement.name().to_owned(),
            why: present(&change.why),
        }
    }
}

/// The whole comparison.
pub(crate) fn comparison_out(
    comparison: &Comparison,
    before: &Side,
    after: &Side,
    settings: Settings,
) -> ComparedOut {
    let regressions = comparison.count(Judgement::Worse);
    let verdict = match regressions {
        _ if !comparison.tells_something() => "inconclusive",
        0 => "pass",
        _ => "fail",
    };
    ComparedOut {
        verdict: verdict.to_owned(),
        method: comparison.method.name().to_owned(),
        before: before.runs.iter().map(Into::into).collect(),
        after: after.runs.iter().map(Into::into).collect(),
        material_percent: comparison.material * 100.0,
        false_alarms_percent: settings.alpha * 100.0,
        seed: settings.seed,
        regressions,
        changes: comparison.changes.iter().map(Into::into).collect(),
        left_out: comparison.one_sided,
        notes: comparison.notes.clone(),
    }
}

/// Of `trend`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Trend")]
pub(crate) struct TrendOut {
    pub(crate) metric: String,
    /// The run whose windows they are, where they are of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) within: Option<String>,
    pub(crate) series: Vec<TrendSeriesOut>,
}

/// One number over runs, or over the time of one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TrendSeries")]
pub(crate) struct TrendSeriesOut {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) statistic: String,
    pub(crate) unit: String,
    /// The oldest first.
    pub(crate) points: Vec<TrendPointOut>,
    /// In the metric's unit, from one run to the next; within a run a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slope: Option<f64>,
    /// That chance made as clear a rise or fall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p: Option<f64>,
    /// How many times more that p-value's variance is than it would be if neighbours were not alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variance_correction: Option<f64>,
    /// Where another level begins. Only over runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<ChangePointOut>,
    /// Only of bytes within a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leak: Option<LeakOut>,
}

/// One value.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TrendPoint")]
pub(crate) struct TrendPointOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,
    /// Within a run, since its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) second: Option<f64>,
    pub(crate) value: f64,
    /// Whether it is far from all others.
    pub(crate) outlier: bool,
}

/// Another level begins.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChangePoint")]
pub(crate) struct ChangePointOut {
    /// The first run of it.
    pub(crate) run_id: String,
    /// Index of its point.
    pub(crate) index: usize,
    /// Medians of the levels.
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) p: f64,
}

/// Whether memory goes away for good.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Leak")]
pub(crate) struct LeakOut {
    /// `leaking`, `not_leaking` or `inconclusive`.
    pub(crate) verdict: String,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slope_per_s: Option<f64>,
    /// Where the slope lies, with a confidence of 99 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) high_per_s: Option<f64>,
    pub(crate) why: String,
}
