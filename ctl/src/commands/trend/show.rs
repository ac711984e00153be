//! The forms of a trend.

use super::{
    super::{
        Session,
        form::{put, put_json, put_pdf},
    },
    CLEAR_P, SECONDS_A_MINUTE,
};
use crate::{
    cli::{ComparisonForm, TrendFlags},
    error::{Exit, Failure},
    json::{TrendOut, TrendPointOut, TrendSeriesOut},
    page::{LevelPoint, levels_svg, to_plotted_html},
    report::{Document, Tone, sparkline, to_markdown, to_pdf, to_terminal},
    text,
};

pub(super) fn print(out: &TrendOut, flags: &TrendFlags, session: &mut Session) -> Result<(), Failure> {
    let form = flags.form.format.unwrap_or(session.default_form());
    let (output, to) = (&mut session.output, flags.form.to.as_deref());
    match form {
        ComparisonForm::Text => {
            let in_color = output.in_color() && to.is_none();
            put(to_terminal(&document(out), in_color).as_bytes(), to, output)
        }
        ComparisonForm::Md => put(to_markdown(&document(out)).as_bytes(), to, output),
        ComparisonForm::Json => put_json(out, to, output),
        ComparisonForm::Csv => put(csv(out)?.as_bytes(), to, output),
        ComparisonForm::Html => {
            let plots: Vec<_> = out.series.iter().map(plot).collect();
            put(to_plotted_html(&document(out), &plots).as_bytes(), to, output)
        }
        ComparisonForm::Pdf => {
            put_pdf("trend METRIC", || to_pdf(&document(out), &ssts_proto::v1::Run::default()), to, output)
        }
        ComparisonForm::Junit => Err(Failure::usage(
            "a trend has no cases for JUnit's XML",
            "a scenario's [[trend]] has: see `sstsctl report RUN --format junit`; or compare runs",
        )),
    }
}

/// Under its labels, what its values were.
fn plot(series: &TrendSeriesOut) -> (String, String) {
    let name = |point: &TrendPointOut| match (&point.started_at, point.second) {
        (Some(started_at), _) => {
            format!("{started_at} {}", point.run_id.as_deref().unwrap_or_default()).trim_end().to_owned()
        }
        (None, Some(second)) => text::clock((second * 1e3) as u64),
        (None, None) => String::new(),
    };
    let points: Vec<_> = series
        .points
        .iter()
        .map(|point| LevelPoint { name: name(point), value: point.value, is_outlier: point.outlier })
        .collect();
    let changes: Vec<_> =
        series.changes.iter().map(|change| (change.index, change.before, change.after)).collect();
    (heading(series), levels_svg(&points, &series.unit, &changes))
}

/// A line for each value, after a heading.
fn csv(out: &TrendOut) -> Result<String, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Internal, format!("can't write comma-separated values: {error}"), "")
    };
    let mut lines = ::csv::Writer::from_writer(Vec::new());
    let heading = [
        "metric",
        "labels",
        "statistic",
        "unit",
        "run_id",
        "started_at",
        "second",
        "value",
        "outlier",
        "level",
    ];
    lines.write_record(heading).map_err(|error| failure(&error))?;
    for series in &out.series {
        let labels: Vec<_> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for (index, point) in series.points.iter().enumerate() {
            // How many levels came before.
            let level = series.changes.iter().filter(|change| change.index <= index).count();
            let line = [
                out.metric.clone(),
                labels.join(";"),
                series.statistic.clone(),
                series.unit.clone(),
                point.run_id.clone().unwrap_or_default(),
                point.started_at.clone().unwrap_or_default(),
                point.second.map(|second| second.to_string()).unwrap_or_default(),
                point.value.to_string(),
                point.outlier.to_string(),
                level.to_string(),
            ];
            lines.write_record(line).map_err(|error| failure(&error))?;
        }
    }
    let bytes = lines.into_inner().map_err(|error| failure(&error))?;
    String::from_utf8(bytes).map_err(|error| failure(&error))
}

fn heading(series: &TrendSeriesOut) -> String {
    let labels: Vec<_> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} {}", series.statistic, labels.join(" ")).trim_end().to_owned()
}

fn document(out: &TrendOut) -> Document {
    let mut document = Document::default();
    document.title(&out.metric, Tone::Plain);
    for series in &out.series {
        document.heading(&heading(series));
        let values: Vec<_> = series.points.iter().map(|point| point.value).collect();
        document.fact(&format!("{} values", values.len()), sparkline(&values));
        let quantity = |value: f64| text::quantity(value, &series.unit);
        if let (Some(first), Some(last)) = (values.first(), values.last()) {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ends = [*first, *last, least, most].map(quantity);
            let [first, last, least, most] = ends;
            document.fact("from, to", format!("{first}, {last}; least {least}, most {most}"));
        }
        if let (Some(slope), Some(p)) = (series.slope, series.p) {
            let per = if out.within.is_some() { "a minute" } else { "from run to run" };
            let slope = if out.within.is_some() { slope * SECONDS_A_MINUTE } else { slope };
            let words = match (p < CLEAR_P, slope > 0.0) {
                (false, _) => "no clear trend".to_owned(),
                (true, true) => format!("rises by {} {per}", quantity(slope)),
                (true, false) => format!("falls by {} {per}", quantity(-slope)),
            };
            document.fact("trend", format!("{words} (p {})", crate::compare::p_words(p)));
        }
        for change in &series.changes {
            let (from, to) = (quantity(change.before), quantity(change.after));
            document.fact("another level", format!("from {from} to {to} since run {}", change.run_id));
        }
        for point in series.points.iter().filter(|point| point.outlier && out.within.is_none()) {
            let run = point.run_id.clone().unwrap_or_default();
            document.fact("outlier", format!("{} in run {run}", quantity(point.value)));
        }
        if let Some(leak) = &series.leak {
            let slope = leak
                .slope_per_s
                .map(|slope| format!(" ({} a minute)", text::bytes(slope * SECONDS_A_MINUTE)));
            let verdict = leak.verdict.replace('_', " ");
            document.fact("leak", format!("{verdict}{}: {}", slope.unwrap_or_default(), leak.why));
        }
    }
    document
}
