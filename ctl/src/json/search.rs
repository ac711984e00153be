//! What came of a search for a load.

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{SearchResult, SearchStep};

use super::{known, plain, present, seconds};

/// A search for the load at which an objective breaks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Search")]
pub(crate) struct SearchOut {
    phase: String,
    /// What had to be met.
    objective: String,
    /// `found`, `never_broke`, `broken_at_once` or `inconclusive`.
    outcome: String,
    /// The greatest load at which the objective held, percent of each core.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<f64>,
    /// The least load above it at which the objective broke, percent of each core.
    #[serde(skip_serializing_if = "Option::is_none")]
    broke: Option<f64>,
    /// The load at which the objective holds as often as it breaks, percent of each core: between `held` and `broke`.
    #[serde(skip_serializing_if = "Option::is_none")]
    knee: Option<f64>,
    /// How many cores were loaded.
    cores: u32,
    /// How much more work the host takes, in cores: what the burners had at `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin_cores: Option<f64>,
    /// What has to be left of each core, percent: 100 less the knee. Absent where burners had much less than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserve: Option<f64>,
    /// The longest time without a pause in which the objective was broken.
    longest_broken_s: f64,
    /// Why it is inconclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// In the order in which loads were tried.
    steps: Vec<SearchStepOut>,
}

/// One load that was tried.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SearchStep")]
struct SearchStepOut {
    /// What was asked, percent of each core.
    load: f64,
    /// What the burners had of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    achieved: Option<f64>,
    held: bool,
    /// Readings that were judged, and those of them that broke the objective.
    readings: u32,
    broken: u32,
    watched_s: f64,
    decided_by: String,
    /// The middle one of the readings, in the objective's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<f64>,
    /// From when the load was taken away until the objective held again.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered_s: Option<f64>,
}

impl From<&SearchResult> for SearchOut {
    fn from(result: &SearchResult) -> Self {
        let objective = result.search.as_ref().and_then(|search| search.objective.as_ref());
        Self {
            phase: result.phase.clone(),
            objective: objective.map(|objective| objective.that.clone()).unwrap_or_default(),
            outcome: plain(result.outcome().as_str_name(), "SEARCH_OUTCOME_"),
            held: result.held_percent.and_then(known),
            broke: result.broke_percent.and_then(known),
            knee: result.knee_percent.and_then(known),
            cores: result.cores,
            margin_cores: result.margin_cores.and_then(known),
            reserve: result.reserve_percent.and_then(known),
            longest_broken_s: seconds(result.longest_broken_ns),
            reason: present(&result.reason),
            steps: result.steps.iter().map(SearchStepOut::from).collect(),
        }
    }
}

impl From<&SearchStep> for SearchStepOut {
    fn from(step: &SearchStep) -> Self {
        Self {
            load: step.load_percent,
            achieved: step.achieved_percent.and_then(known),
            held: step.held,
            readings: step.readings,
            broken: step.broken,
            watched_s: seconds(step.watched_ns),
            decided_by: step.decided_by.clone(),
            median: step.median.and_then(known),
            recovered_s: step.recovered_ns.map(seconds),
        }
    }
}
