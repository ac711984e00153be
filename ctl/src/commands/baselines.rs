//! Thresholds against baselines become bounds, from the figures of the history.

use ssts_proto::{
    guards::label_fits,
    thresholds::STATISTICS,
    v1::{Threshold, ThresholdStatistic, Violation},
};

use super::{Session, sides::open};
use crate::{
    error::Failure,
    scenario::{Against, Plan},
    store::{BASELINE, Figure, FigureQuery, RunFilter, Store},
};

/// Gives every such threshold of the plan its bounds.
///
/// # Errors
/// A baseline is missing, or has no such figure: with the place where the threshold was written.
pub(super) async fn resolve(plan: &mut Plan, session: &Session) -> Result<(), Failure> {
    if plan.against().is_empty() {
        return Ok(());
    }
    let mut store = open(session).await?;
    let mut violations = Vec::new();
    for against in plan.against().to_vec() {
        let Some(threshold) = plan.scenario.thresholds.get(against.index) else { continue };
        match range(&mut store, threshold, &against).await? {
            Ok((least, most)) => plan.bound(&against, least, most),
            Err((message, mend)) => violations.push(Violation {
                field: format!("thresholds[{}].that", against.index),
                message,
                mend,
                ..Violation::default()
            }),
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(plan.refusal(&violations)) }
}

/// What is wrong, and the mend.
type Missing = (String, String);

/// The least and the greatest value that the baseline had, of all columns that the threshold looks at.
async fn range(
    store: &mut Store,
    threshold: &Threshold,
    against: &Against,
) -> Result<Result<(f64, f64), Missing>, Failure> {
    let name = &against.baseline;
    let Some(run) = store.lookup(&format!("{BASELINE}{name}")).await? else {
        return Ok(Err((
            format!("no baseline is named '{name}' in the history"),
            format!("`sstsctl runs baseline RUN {name}` makes a run one; `sstsctl runs baseline` lists them"),
        )));
    };
    let (metric, statistic) = match figure(threshold) {
        Ok(figure) => figure,
        Err(missing) => return Ok(Err(missing)),
    };
    let query = FigureQuery {
        runs: RunFilter::run(&run.run_id),
        metric: Some(metric.clone()),
        statistic: Some(statistic.clone()),
        ..FigureQuery::default()
    };
    let figures = store.figures(&query).await?;
    let fitting = figures.iter().map(|kept| &kept.figure).filter(|figure| fits(threshold, figure));
    let values = fitting.map(|figure| figure.value);
    let range = values.fold(None, |range: Option<(f64, f64)>, value| {
        Some(range.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
    });
    Ok(range.ok_or_else(|| {
        let of = if threshold.phase.is_empty() { String::new() } else { format!(" in phase {}", threshold.phase) };
        (
            format!("run {}, which is baseline '{name}', has no {statistic} of {metric}{of}", run.run_id),
            format!(
                "name a baseline whose scenario measures it; `sstsctl report {BASELINE}{name} --format csv` lists its figures"
            ),
        )
    }))
}

/// Metric and statistic of the figure that is what the threshold judges.
fn figure(threshold: &Threshold) -> Result<(String, String), Missing> {
    use ThresholdStatistic::{Last, Max, Mean, Min, P50, P90, P95, P99, P999, Total};
    let statistic = threshold.statistic();
    let name = STATISTICS.iter().find(|(_, known)| *known == statistic).map_or("", |(name, _)| *name);
    let rate = |metric: &str| Some((format!("result.{metric}_per_s"), "mean".to_owned()));
    let value = |metric: &str| Some((format!("result.{metric}"), "value".to_owned()));
    let found = match (threshold.metric.as_str(), statistic) {
        ("burner.latency", P50 | P90 | P95 | P99 | P999 | Max) => {
            Some(("result.latency".into(), name.into()))
        }
        ("burner.operations", Mean) => rate("operations"),
        ("burner.operations", Total) => value("operations"),
        ("burner.bytes", Mean) => rate("bytes"),
        ("burner.bytes", Total) => value("bytes"),
        ("burner.flops", Mean) => rate("flops"),
        ("burner.flops", Total) => value("flops"),
        ("burner.verify_errors", Total) => value("verify_errors"),
        ("burner.io_errors", Total) => value("io_errors"),
        (metric, _) if metric.starts_with("burner.") => None,
        // What the host shows is kept of the whole run.
        _ if !threshold.phase.is_empty() => {
            return Err((
                format!("the history has {} of whole runs, not of phases", threshold.metric),
                "put the threshold at the top as [[threshold]]; of burners there are figures of each phase"
                    .into(),
            ));
        }
        (metric, Total) => Some((metric.into(), "increase".into())),
        (metric, Min | Mean | P50 | P95 | P99 | Max | Last) => Some((metric.into(), name.into())),
        _ => None,
    };
    found.ok_or_else(|| {
        (
            format!("the history keeps no {name} of {}", threshold.metric),
            "use another statistic: docs/history.md lists what is kept".into(),
        )
    })
}

fn fits(threshold: &Threshold, figure: &Figure) -> bool {
    let label = |name: &str| figure.labels.get(name).map_or("", String::as_str);
    let is_of_phase = threshold.phase.is_empty()
        || !figure.metric.starts_with("result.")
        || label("phase") == threshold.phase;
    is_of_phase && threshold.labels.iter().all(|wanted| label_fits(&wanted.value, label(&wanted.name)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ssts_proto::thresholds::parse;

    use super::*;

    #[test]
    fn what_a_threshold_judges_has_its_figure() {
        for (text, metric, statistic) in [
            ("disk.read.latency.p99 >= 0", "result.latency", "p99"),
            ("disk.bytes.mean >= 0", "result.bytes_per_s", "mean"),
            ("cpu.operations >= 0", "result.operations", "value"),
            ("host.temperature.max >= 0", "host.temperature", "max"),
            ("host.cpu.throttles >= 0", "host.cpu.throttles", "increase"),
            ("runqueue.latency.p99 >= 0", "runqueue.latency", "p99"),
        ] {
            assert_eq!(figure(&parse(text).unwrap()), Ok((metric.into(), statistic.into())), "{text}");
        }
        for text in ["runqueue.latency.p999 >= 0", "disk.read.latency.mean >= 0", "cpu.operations.max >= 0"] {
            let (message, mend) = figure(&parse(text).unwrap()).unwrap_err();
            assert!(message.contains("keeps no") && mend.contains("history.md"), "{text}: {message}");
        }
        let of_phase = Threshold { phase: "a".into(), ..parse("host.temperature.max >= 0").unwrap() };
        assert!(figure(&of_phase).unwrap_err().0.contains("of whole runs"));
    }

    #[test]
    fn labels_and_the_phase_pick_figures() {
        let figure = |phase: &str, operation: &str| Figure {
            host: "a".into(),
            metric: "result.latency".into(),
            labels: Arc::new(
                [("kind", "disk"), ("operation", operation), ("phase", phase)]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
            statistic: "p99".into(),
            unit: "ns".into(),
            value: 1.0,
        };
        let mut threshold = parse("disk.read.latency.p99 >= 0").unwrap();
        assert!(fits(&threshold, &figure("a", "read")) && !fits(&threshold, &figure("a", "write")));
        threshold.phase = "b".into();
        assert!(fits(&threshold, &figure("b", "read")) && !fits(&threshold, &figure("a", "read")));
    }
}
