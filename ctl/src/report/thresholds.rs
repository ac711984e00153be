//! What came of a run's thresholds, as a table.

use ssts_proto::{
    guards,
    thresholds::{metric, outcome_name, unit},
    v1::{Threshold, ThresholdOutcome, ThresholdResult},
};

use super::{Align, Table};
use crate::{json, store::BASELINE};

/// One line for each.
pub(super) fn table(results: &[ThresholdResult]) -> Table {
    let mut table = Table::new(&[
        ("threshold", Align::Left),
        ("of", Align::Left),
        ("bound", Align::Left),
        ("value", Align::Right),
        ("outcome", Align::Left),
        ("", Align::Left),
    ]);
    for result in results {
        let threshold = result.threshold.clone().unwrap_or_default();
        let labels: Vec<_> = result.labels.iter().map(|label| label.value.as_str()).collect();
        // A failure's reason is its value, which stands there.
        let remark = match result.outcome() {
            ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => result.reason.clone(),
            ThresholdOutcome::Pass | ThresholdOutcome::Fail => labels.join(" "),
        };
        table.row([
            threshold.that.clone(),
            if threshold.phase.is_empty() { "the run".into() } else { format!("phase {}", threshold.phase) },
            bound(&threshold).unwrap_or_default(),
            result.value.map(|value| guards::words(value, &result.unit)).unwrap_or_default(),
            outcome_name(result.outcome()).to_owned(),
            remark,
        ]);
    }
    table
}

/// The bound of one against a baseline, such as `>= 1.9 ms`: its text does not say it.
pub(crate) fn bound(threshold: &Threshold) -> Option<String> {
    let metric = metric(&threshold.metric).filter(|_| threshold.that.contains(BASELINE))?;
    let value = guards::words(threshold.value, &unit(metric, threshold.statistic()));
    Some(format!("{} {value}", json::comparison_sign(threshold)?))
}
