//! `compare`.

use super::{
    Session,
    form::{put, put_json, put_pdf},
    sides::{Wanted, gathered},
};
use crate::{
    cli::{CompareFlags, ComparisonForm},
    compare::{
        Comparison, Judgement, Settings, Side, comparison_bars, comparison_csv, comparison_document,
        comparison_junit, judge, without_unasked,
    },
    error::{Exit, Failure},
    json::comparison_out,
    page::{intervals_svg, to_plotted_html},
    report::{to_markdown, to_pdf, to_terminal},
};

/// `compare BEFORE AFTER`.
pub(super) async fn compare(flags: CompareFlags, session: &mut Session) -> Result<Exit, Failure> {
    let filter = flags.which.filter();
    let sides = [flags.before.0.clone(), flags.after.0.clone()];
    if !filter.is_empty() && !sides.iter().flatten().any(crate::compare::Item::is_narrowed) {
        return Err(Failure::usage(
            "--scenario, --on-host and the like narrow what 'latest' and tag:NAME mean, and neither is compared",
            "leave them out, or name a side so",
        ));
    }
    let wanted = Wanted { sides: &sides, filter, windows: Some(&flags.metric) };
    let mut sides = gathered(&wanted, session).await?;
    sides.iter_mut().flat_map(|side| &mut side.runs).for_each(|run| without_unasked(&mut run.figures));
    let [before, after] = &sides[..] else {
        return Err(Failure::new(Exit::Internal, "two sides were asked for and not two came", ""));
    };
    let settings = Settings {
        alpha: flags.false_alarms / 100.0,
        material: flags.change.map(|percent| percent / 100.0),
        seed: flags.seed,
    };
    let comparison = judge(before, after, settings, |key| {
        if flags.metric.is_empty() {
            key.is_judged()
        } else {
            flags.metric.iter().any(|prefix| key.metric.starts_with(prefix.as_str()))
        }
    });
    if comparison.changes.is_empty() {
        return Err(Failure::usage(
            "the two sides have no number in common that could be compared",
            "compare runs of one scenario, or name metrics with --metric",
        ));
    }
    print(&comparison, [before, after], settings, &flags, session)?;
    if comparison.count(Judgement::Worse) > 0 {
        Ok(Exit::ThresholdFailed)
    } else if comparison.tells_something() {
        Ok(Exit::Pass)
    } else {
        Err(Failure::usage(
            "nothing could be told: what there is does not show how much the numbers vary",
            "compare four runs a side or more, or two runs that an agent has the telemetry of",
        ))
    }
}

fn print(
    comparison: &Comparison,
    [before, after]: [&Side; 2],
    settings: Settings,
    flags: &CompareFlags,
    session: &mut Session,
) -> Result<(), Failure> {
    let form = flags.form.format.unwrap_or(session.default_form());
    let (output, to) = (&mut session.output, flags.form.to.as_deref());
    let document = |all: bool| comparison_document(comparison, before, after, all);
    match form {
        ComparisonForm::Text => {
            let in_color = output.in_color() && to.is_none();
            put(to_terminal(&document(flags.all), in_color).as_bytes(), to, output)
        }
        ComparisonForm::Md => put(to_markdown(&document(flags.all)).as_bytes(), to, output),
        ComparisonForm::Json => put_json(&comparison_out(comparison, before, after, settings), to, output),
        ComparisonForm::Csv => put(comparison_csv(comparison)?.as_bytes(), to, output),
        ComparisonForm::Junit => put(comparison_junit(comparison, before, after).as_bytes(), to, output),
        ComparisonForm::Html => {
            let mut plots = Vec::new();
            let (some, all) = (comparison_bars(comparison, false), comparison_bars(comparison, true));
            let plot = |bars| intervals_svg(bars, comparison.material * 100.0);
            if !some.is_empty() {
                plots.push(("What changed, and where the change lies".to_owned(), plot(&some)));
            }
            if all.len() > some.len() {
                plots.push(("All numbers that were judged".to_owned(), plot(&all)));
            }
            put(to_plotted_html(&document(true), &plots).as_bytes(), to, output)
        }
        ComparisonForm::Pdf => put_pdf(
            "compare BEFORE AFTER",
            || to_pdf(&document(flags.all), &ssts_proto::v1::Run::default()),
            to,
            output,
        ),
    }
}
