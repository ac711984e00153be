//! How guards stand.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::{guards, v1::GuardStatus};

use super::{known, plain, present};

/// A limit with a reaction.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Guard")]
pub(crate) struct GuardOut {
    name: String,
    metric: String,
    /// `shipped`, `configured` or `requested`.
    origin: String,
    /// `unguarded`, `clear`, `pending` or `tripped`.
    state: String,
    /// `warn`, `throttle`, `pause`, `stop` or `halt`.
    reaction: String,
    /// In words, such as `above 80.0 °C`.
    limit: String,
    /// Of `limit_value`, `value` and `headroom`.
    unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_value: Option<f64>,
    /// The worst of what it looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// How far the value is from the limit; negative beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    headroom: Option<f64>,
    /// Where the value is, by the metric's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    trips: u64,
    /// Why it tripped, or why there is nothing to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What it left of the run's load, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_percent: Option<f64>,
}

impl From<&GuardStatus> for GuardOut {
    fn from(status: &GuardStatus) -> Self {
        let guard = status.guard.clone().unwrap_or_default();
        Self {
            origin: plain(status.origin().as_str_name(), "GUARD_ORIGIN_"),
            state: plain(status.state().as_str_name(), "GUARD_STATE_"),
            reaction: guards::reaction_name(guard.reaction()).to_owned(),
            limit: guards::limit(&guard, &status.unit),
            unit: status.unit.clone(),
            limit_value: known(guard.value),
            value: status.value.and_then(known),
            headroom: status.headroom.and_then(known),
            labels: status.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect(),
            trips: status.trips,
            reason: present(&status.reason),
            load_percent: status.load_percent,
            name: guard.name,
            metric: guard.metric,
        }
    }
}
