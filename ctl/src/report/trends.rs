//! What came of a run's trends, as a table, and which are asked for.

use ssts_proto::{
    thresholds::outcome_name,
    trends::tolerated,
    v1::{Trend, TrendKind, TrendResult},
};

use super::{Align, Table};
use crate::{text, trends};

/// One line for each.
pub(super) fn table(results: &[TrendResult]) -> Table {
    let mut table = Table::new(&[
        ("trend", Align::Left),
        ("column", Align::Left),
        ("value", Align::Right),
        ("tolerated", Align::Right),
        ("outcome", Align::Left),
        ("", Align::Left),
    ]);
    for result in results {
        let trend = result.trend.clone().unwrap_or_default();
        let labels: Vec<_> = result.labels.iter().map(|label| label.value.as_str()).collect();
        table.row([
            trends::subject(&trend),
            labels.join(" ").trim().to_owned(),
            trends::value_words(result).unwrap_or_default(),
            tolerated_words(&trend),
            outcome_name(result.outcome()).to_owned(),
            result.reason.clone(),
        ]);
    }
    table
}

/// Those that a scenario asks for.
pub(super) fn asked(trends: &[Trend]) -> Table {
    let mut table = Table::new(&[("trend", Align::Left), ("tolerated", Align::Right)]);
    for trend in trends {
        table.row([trends::subject(trend), tolerated_words(trend)]);
    }
    table
}

fn tolerated_words(trend: &Trend) -> String {
    let value = tolerated(trend);
    let unit = ssts_proto::catalogue::find(&trend.metric).map_or("1", |metric| metric.unit);
    match trend.kind() {
        TrendKind::Leak => format!("{} a minute", text::quantity(value, unit)),
        TrendKind::Drift => format!("{} % an hour", text::trimmed(value, 2)),
        TrendKind::Steady | TrendKind::Unspecified => String::new(),
    }
}
