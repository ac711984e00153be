//! A comparison for programs: JUnit's XML, comma-separated values, and the bars of its page.

use ::csv::Writer;

use super::{Change, Comparison, Judgement, Side};
use crate::{
    error::{Exit, Failure},
    page::{Bar, Look},
    report::junit_xml::{Case, Outcome, Suite},
    text,
};

const HEADING: [&str; 13] = [
    "metric",
    "labels",
    "statistic",
    "unit",
    "before",
    "after",
    "change_percent",
    "low_percent",
    "high_percent",
    "p",
    "p_adjusted",
    "judgement",
    "why",
];
/// More bars would not be read.
const MOST_BARS: usize = 200;

/// A case for each number: a regression fails, what can't be told is skipped with why, and a case of its own says whether anything
/// could be told at all.
pub(crate) fn comparison_junit(comparison: &Comparison, before: &Side, after: &Side) -> String {
    let told = match comparison.count(Judgement::Worse) {
        _ if !comparison.tells_something() => {
            Outcome::Error("inconclusive", "nothing could be told: compare more runs".into())
        }
        _ => Outcome::Passed,
    };
    let class = "ssts.compare";
    let mut cases =
        vec![Case { class: class.into(), name: "comparison".into(), seconds: None, outcome: told }];
    cases.extend(comparison.changes.iter().map(|change| Case {
        class: format!("{class}.{}", change.key.metric),
        name: format!("{} {}", change.key.statistic, change.key.labels()).trim_end().to_owned(),
        seconds: None,
        outcome: match change.judgement {
            Judgement::Worse => Outcome::Failed("regression", words(change)),
            Judgement::Better | Judgement::Changed | Judgement::Same => Outcome::Passed,
            Judgement::Unclear => Outcome::Skipped(change.why.clone()),
        },
    }));
    let hosts: Vec<_> = after.runs.iter().map(|run| run.host.as_str()).collect();
    Suite {
        name: format!("compare {} {}", before.name, after.name),
        seconds: 0.0,
        timestamp: after.runs.iter().map(|run| to_the_second(&run.started_at)).max().unwrap_or_default(),
        hostname: hosts
            .first()
            .filter(|first| hosts.iter().all(|host| host == *first))
            .map_or("", |it| it)
            .to_owned(),
        properties: vec![
            ("before", ids(before)),
            ("after", ids(after)),
            ("method", comparison.method.name().into()),
            ("material_percent", text::trimmed(comparison.material * 100.0, 2)),
        ],
        cases,
        told: comparison.notes.join("\n"),
    }
    .to_xml()
}

/// As servers read it.
fn to_the_second(rfc3339: &str) -> String {
    rfc3339.split_once('.').map_or_else(|| rfc3339.to_owned(), |(whole, _)| format!("{whole}Z"))
}

fn ids(side: &Side) -> String {
    side.runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>().join(",")
}

fn words(change: &Change) -> String {
    let quantity = |value: f64| text::quantity(value, &change.key.unit);
    let percent = |share: f64| format!("{:+.1} %", share * 100.0);
    let by = change.change.map(|share| format!(" ({})", percent(share))).unwrap_or_default();
    let between = change.interval.map(|it| format!(", between {} and {}", percent(it.low), percent(it.high)));
    let (before, after) = (quantity(change.before), quantity(change.after));
    format!("from {before} to {after}{by}{}", between.unwrap_or_default())
}

/// A line for each number, after a heading.
pub(crate) fn comparison_csv(comparison: &Comparison) -> Result<String, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Internal, format!("can't write comma-separated values: {error}"), "")
    };
    let mut lines = Writer::from_writer(Vec::new());
    lines.write_record(HEADING).map_err(|error| failure(&error))?;
    let maybe = |number: Option<f64>| {
        number.filter(|number| number.is_finite()).map(|number| number.to_string()).unwrap_or_default()
    };
    for change in &comparison.changes {
        let percent = |share: Option<f64>| maybe(share.map(|share| share * 100.0));
        let line = [
            change.key.metric.to_string(),
            change.key.labels(),
            change.key.statistic.to_string(),
            change.key.unit.to_string(),
            change.before.to_string(),
            change.after.to_string(),
            percent(change.change),
            percent(change.interval.map(|it| it.low)),
            percent(change.interval.map(|it| it.high)),
            maybe(change.p),
            maybe(change.p_adjusted),
            change.judgement.name().to_owned(),
            change.why.clone(),
        ];
        lines.write_record(line).map_err(|error| failure(&error))?;
    }
    let bytes = lines.into_inner().map_err(|error| failure(&error))?;
    String::from_utf8(bytes).map_err(|error| failure(&error))
}

/// Where each change lies, the worst first; with `all` also those that did not change.
pub(crate) fn comparison_bars(comparison: &Comparison, all: bool) -> Vec<Bar> {
    let shown = comparison.changes.iter().filter(|change| {
        all || matches!(change.judgement, Judgement::Worse | Judgement::Better | Judgement::Changed)
    });
    let bar = |change: &Change| {
        let labels: Vec<_> = change.key.labels.values().filter(|value| !value.is_empty()).cloned().collect();
        let name = format!("{} {} {}", change.key.metric, change.key.statistic, labels.join(" "));
        Some(Bar {
            name: name.trim_end().to_owned(),
            change: change.change? * 100.0,
            between: change.interval.map(|it| (it.low * 100.0, it.high * 100.0)),
            look: match change.judgement {
                Judgement::Worse => Look::Bad,
                Judgement::Better => Look::Good,
                Judgement::Changed | Judgement::Same => Look::Neither,
                Judgement::Unclear => Look::Unknown,
            },
        })
    };
    shown.filter_map(bar).take(MOST_BARS).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::{Key, Method, SideRun},
        *,
    };
    use crate::{report::junit_xml::tests::counted, stats::Interval};

    fn change(metric: &str, judgement: Judgement) -> Change {
        let key = Key {
            metric: metric.into(),
            labels: BTreeMap::from([("phase".into(), "a, b".into())]).into(),
            statistic: "p99".into(),
            unit: "ns".into(),
        };
        Change {
            key,
            before: 1e6,
            after: 2e6,
            change: Some(1.0),
            interval: Some(Interval { low: 0.9, high: 1.1 }),
            p: Some(0.01),
            p_adjusted: None,
            judgement,
            why: if judgement == Judgement::Unclear { "its noise".into() } else { String::new() },
        }
    }

    fn comparison(judgements: &[Judgement]) -> Comparison {
        Comparison {
            method: Method::Runs,
            material: 0.02,
            changes: judgements.iter().map(|judgement| change("block.latency", *judgement)).collect(),
            one_sided: 0,
            notes: vec!["hosts differ: a, b".into()],
        }
    }

    fn side(name: &str) -> Side {
        let run = SideRun { id: format!("{name}-1"), host: "a".into(), ..SideRun::default() };
        Side { name: name.into(), runs: vec![run] }
    }

    #[test]
    fn a_regression_fails_and_what_cannot_be_told_is_no_pass() {
        use Judgement::{Better, Same, Unclear, Worse};
        let junit = |judgements: &[Judgement]| {
            comparison_junit(&comparison(judgements), &side("before"), &side("after"))
        };
        let text = junit(&[Worse, Better, Same, Unclear]);
        assert_eq!(counted(&text), [5, 1, 0, 1]);
        for part in ["ms (+100.0 %), between +90.0 % and +110.0 %", "hosts differ", "before-1"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(counted(&junit(&[Unclear, Unclear])), [3, 0, 1, 2]);
    }

    #[test]
    fn each_number_is_a_line_and_what_is_unknown_is_empty() {
        let csv = comparison_csv(&comparison(&[Judgement::Worse])).unwrap();
        let line = csv.lines().nth(1).unwrap();
        assert_eq!(
            line,
            "block.latency,\"phase=a, b\",p99,ns,1000000,2000000,100,90,110.00000000000001,0.01,,worse,"
        );
    }

    #[test]
    fn bars_are_of_what_changed_unless_all_are_asked_for() {
        let comparison = comparison(&[Judgement::Worse, Judgement::Same]);
        let bars = comparison_bars(&comparison, false);
        assert_eq!((bars.len(), bars[0].look, bars[0].change), (1, Look::Bad, 100.0));
        assert_eq!(comparison_bars(&comparison, true).len(), 2);
    }
}
