//! A comparison for people.

use super::{Change, Comparison, Judgement, Method, Side};
use crate::{
    report::{Align, Document, Table, Tone},
    text,
};

impl Method {
    /// As JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::OneAgainstRuns => "one_against_runs",
            Self::Windows => "windows",
            Self::Nothing => "nothing",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Runs => "several runs a side, by Mann and Whitney's test",
            Self::OneAgainstRuns => "one new run against several, by their prediction interval",
            Self::Windows => {
                "windows within one run a side, by the stationary bootstrap: how much runs differ is not known"
            }
            Self::Nothing => "one number a side, which does not show how much it varies",
        }
    }
}

impl Judgement {
    /// As JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Changed => "changed",
            Self::Unclear => "unclear",
            Self::Same => "same",
        }
    }
}

/// The comparison; with `all` also what did not change, or can't be told.
pub(crate) fn comparison_document(
    comparison: &Comparison,
    before: &Side,
    after: &Side,
    all: bool,
) -> Document {
    let mut document = Document::default();
    let (worse, better) = (comparison.count(Judgement::Worse), comparison.count(Judgement::Better));
    let (title, tone) = match (worse, better) {
        _ if !comparison.tells_something() => ("nothing can be told".to_owned(), Tone::Caution),
        (0, 0) => ("no regression".to_owned(), Tone::Good),
        (0, _) => (format!("no regression, {better} better"), Tone::Good),
        (1, _) => ("1 regression".to_owned(), Tone::Bad),
        _ => (format!("{worse} regressions"), Tone::Bad),
    };
    document.title(&title, tone);
    document.fact("before", side(before));
    document.fact("after", side(after));
    document.fact("judged by", comparison.method.words());
    document
        .fact("let be", format!("changes of less than {} %", text::trimmed(comparison.material * 100.0, 2)));
    let counts =
        [Judgement::Worse, Judgement::Better, Judgement::Changed, Judgement::Same, Judgement::Unclear]
            .map(|judgement| (comparison.count(judgement), judgement.name()));
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    document.fact("numbers", counts.collect::<Vec<_>>().join(", "));
    if comparison.one_sided > 0 {
        document.fact("left out", format!("{} numbers that only one side has", comparison.one_sided));
    }
    for note in &comparison.notes {
        document.fact("note", note);
    }
    let shown = comparison.changes.iter().filter(|change| {
        all || matches!(change.judgement, Judgement::Worse | Judgement::Better | Judgement::Changed)
    });
    document.section("Changes", table(shown));
    document
}

fn side(side: &Side) -> String {
    match &side.runs[..] {
        [run] => format!("{} ({}, {}, {})", run.id, run.scenario, run.host, run.started_at),
        runs => format!("{}: {} runs", side.name, runs.len()),
    }
}

fn table<'a>(changes: impl Iterator<Item = &'a Change>) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("judgement", Left),
        ("metric", Left),
        ("of", Left),
        ("", Left),
        ("before", Right),
        ("after", Right),
        ("change", Right),
        ("between", Right),
        ("p", Right),
        ("why", Left),
    ]);
    for change in changes {
        let percent = |share: f64| format!("{:+.1} %", share * 100.0);
        let between = change
            .interval
            .map(|interval| format!("{} and {}", percent(interval.low), percent(interval.high)));
        let labels: Vec<_> = change.key.labels.values().filter(|value| !value.is_empty()).cloned().collect();
        table.row([
            change.judgement.name().to_owned(),
            change.key.metric.to_string(),
            labels.join(" "),
            change.key.statistic.to_string(),
            text::quantity(change.before, &change.key.unit),
            text::quantity(change.after, &change.key.unit),
            change.change.map(percent).unwrap_or_default(),
            between.unwrap_or_default(),
            change.p_adjusted.map(p_words).unwrap_or_default(),
            change.why.clone(),
        ]);
    }
    table
}

/// A p-value as far as it matters.
pub(crate) fn p_words(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}
