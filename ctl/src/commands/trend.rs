//! `trend`.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use ssts_proto::{
    catalogue,
    v1::{ListRunsRequest, RunState},
};

use super::{
    Session,
    form::{put, put_json, put_pdf},
    history::place,
    report::{fetch, side_run},
    sides::{Wanted, agent_of_records, gathered, kept, may_be_an_agents, open, record_windows},
};
use crate::{
    cli::{ComparisonForm, TrendFlags},
    compare::{Item, Key, Side, SideRun, keyed},
    connect::Fallback,
    error::{Exit, Failure},
    json::{ChangePointOut, LeakOut, TrendOut, TrendPointOut, TrendSeriesOut, rfc3339},
    page::{LevelPoint, levels_svg, to_plotted_html},
    report::{Document, Tone, sparkline, to_markdown, to_pdf, to_terminal},
    stats::{Leak, LeakTest, change_points, robust_z, trend as trend_of},
    status,
    store::{FigureQuery, Place, RunFilter, unknown},
    text,
};

/// A value farther from the median is an outlier, in robust standard deviations: Iglewicz and Hoaglin's own limit.
const OUTLIER_Z: f64 = 3.5;
/// Of a trend: less is called so.
const CLEAR_P: f64 = 0.01;
const SECONDS_A_MINUTE: f64 = 60.0;

/// `trend METRIC [RUN...]`.
pub(super) async fn trend(flags: TrendFlags, session: &mut Session) -> Result<Exit, Failure> {
    let series = match &flags.within {
        Some(run) => within(run, &flags, session).await?,
        None => over_runs(&flags, session).await?,
    };
    if series.is_empty() {
        return Err(nothing(&flags));
    }
    let leaks = series.iter().filter_map(|series| series.leak.as_ref());
    let is_leaking = leaks.into_iter().any(|leak| leak.verdict == leak_name(Leak::Leaking));
    let out = TrendOut { metric: flags.metric.clone(), within: flags.within.clone(), series };
    print(&out, &flags, session)?;
    Ok(if is_leaking { Exit::ThresholdFailed } else { Exit::Pass })
}

fn print(out: &TrendOut, flags: &TrendFlags, session: &mut Session) -> Result<(), Failure> {
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

fn nothing(flags: &TrendFlags) -> Failure {
    let TrendFlags { metric, statistic, .. } = flags;
    let what = statistic.as_ref().map(|statistic| format!("{statistic} of ")).unwrap_or_default();
    Failure::usage(
        format!("no run has {what}{metric}"),
        "`sstsctl report RUN --format csv` lists a run's metrics and their statistics",
    )
}

async fn over_runs(flags: &TrendFlags, session: &mut Session) -> Result<Vec<TrendSeriesOut>, Failure> {
    let mut side = if flags.runs.is_empty() {
        latest(flags, session).await?
    } else {
        let filter = flags.which.filter();
        if !filter.is_empty() && !flags.runs.iter().any(Item::is_narrowed) {
            return Err(Failure::usage(
                "--scenario, --on-host and the like narrow what 'latest' and tag:NAME mean, and neither is named",
                "leave them out, or leave the runs out",
            ));
        }
        let wanted = Wanted { sides: slice::from_ref(&flags.runs), filter, windows: None };
        gathered(&wanted, session).await?.pop().unwrap_or_default()
    };
    side.runs.sort_by(|one, other| one.started_at.cmp(&other.started_at));
    let mut all: BTreeMap<&Key, Vec<(&SideRun, f64)>> = BTreeMap::new();
    for run in &side.runs {
        for (key, value) in run.figures.iter().filter(|(key, _)| is_asked(key, flags)) {
            all.entry(key).or_default().push((run, *value));
        }
    }
    Ok(all.into_iter().map(|(key, points)| of_runs(key, &points, flags.seed)).collect())
}

fn is_asked(key: &Key, flags: &TrendFlags) -> bool {
    key.metric == flags.metric
        && match &flags.statistic {
            Some(statistic) => key.statistic == *statistic,
            None => {
                key.is_judged()
                    || (key.worse().is_none() && matches!(key.statistic.as_str(), "mean" | "value"))
            }
        }
}

fn of_runs(key: &Key, points: &[(&SideRun, f64)], seed: u64) -> TrendSeriesOut {
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let numbered: Vec<_> = values.iter().enumerate().map(|(index, value)| (index as f64, *value)).collect();
    let found = trend_of(&numbered);
    let distances = robust_z(&values);
    let changes = change_points(&values, seed)
        .into_iter()
        .map(|change| ChangePointOut {
            run_id: points[change.at].0.id.clone(),
            index: change.at,
            before: change.before,
            after: change.after,
            p: change.p,
        })
        .collect();
    TrendSeriesOut {
        labels: key.labels.clone(),
        statistic: key.statistic.clone(),
        unit: key.unit.clone(),
        points: points
            .iter()
            .zip(distances)
            .map(|((run, value), distance)| TrendPointOut {
                run_id: Some(run.id.clone()),
                started_at: Some(run.started_at.clone()),
                second: None,
                value: *value,
                outlier: distance.abs() > OUTLIER_Z,
            })
            .collect(),
        slope: found.as_ref().map(|found| found.slope),
        p: found.as_ref().map(|found| found.p),
        variance_correction: found.as_ref().map(|found| found.correction),
        changes,
        leak: None,
    }
}

/// The newest runs of the history; of an agent where there is no history, or nothing in it yet.
async fn latest(flags: &TrendFlags, session: &mut Session) -> Result<Side, Failure> {
    let filter = flags.which.filter();
    if matches!(place(session.global.store.as_ref()), Ok(Place::Nowhere)) {
        return latest_of_agent(&filter, flags.limit, session).await;
    }
    let mut store = open(session).await?;
    let runs = RunFilter { limit: Some(flags.limit), ..filter.clone() };
    let query = FigureQuery {
        runs,
        metric: Some(flags.metric.clone()),
        statistic: flags.statistic.clone(),
        ..FigureQuery::default()
    };
    let figures = store.figures(&query).await?;
    if figures.is_empty() && store.runs(&RunFilter { limit: Some(1), ..filter.clone() }).await?.is_empty() {
        return latest_of_agent(&filter, flags.limit, session).await;
    }
    // What one host does says nothing of another.
    let hosts: BTreeSet<_> = figures.iter().map(|kept| kept.figure.host.as_str()).collect();
    let several = hosts.len() > 1;
    let mut runs: BTreeMap<(i64, String), Vec<_>> = BTreeMap::new();
    for kept in figures {
        runs.entry((kept.started_at_ns, kept.run_id)).or_default().push(kept.figure);
    }
    let run = |((started_at_ns, id), figures): ((i64, String), Vec<_>)| SideRun {
        id,
        started_at: rfc3339(started_at_ns),
        figures: keyed(figures, several),
        ..SideRun::default()
    };
    Ok(Side { name: String::new(), runs: runs.into_iter().map(run).collect() })
}

/// Its latest runs that are over.
async fn latest_of_agent(filter: &RunFilter, limit: u32, session: &mut Session) -> Result<Side, Failure> {
    let mut side = Side::default();
    let gather = async |agent: &mut crate::connect::Agent, _: &mut _, _| {
        let response = agent.client.list_runs(ListRunsRequest { limit: None }).await;
        let runs = response.map_err(|status| status::failure(&status))?.into_inner().runs;
        let is_meant = |scenario: &str| filter.scenario.as_ref().is_none_or(|wanted| wanted == scenario);
        let ids = runs
            .iter()
            .filter(|run| run.state() == RunState::Finished && is_meant(&run.scenario))
            .map(|run| run.run_id.as_str());
        for id in ids.take(limit as usize) {
            side.add(side_run(&fetch(&mut agent.client, id).await?)?)?;
        }
        Ok(())
    };
    session.with_agent(Fallback::Private, gather).await?;
    Ok(side)
}

async fn within(
    run: &str,
    flags: &TrendFlags,
    session: &mut Session,
) -> Result<Vec<TrendSeriesOut>, Failure> {
    let of_history = match open(session).await {
        Ok(mut store) => kept(&mut store, run, &flags.which.filter()).await?.map(|run| run.run_id),
        Err(_) => None,
    };
    let is_over = of_history.is_some();
    let id = match of_history {
        Some(id) => id,
        None if may_be_an_agents(run) => run.to_owned(),
        None => return Err(unknown(run)),
    };
    let not_kept = || {
        Failure::usage(
            format!("the telemetry of run {id} is not kept, or not any more"),
            "name a later run, or the agent that it was of with --host",
        )
    };
    let agent = if is_over {
        agent_of_records(&[&id], session).await?
    } else {
        Some(session.agent(Fallback::Private).await?)
    };
    let Some(mut agent) = agent else { return Err(not_kept()) };
    let interrupts = &mut session.interrupts;
    let prefixes = slice::from_ref(&flags.metric);
    let asked = async {
        let is_over = is_over || {
            let run = fetch(&mut agent.client, &id).await?;
            run.summary.is_some_and(|summary| summary.state() == RunState::Finished)
        };
        record_windows(&mut agent.client, &id, is_over, prefixes).await
    };
    let windows = tokio::select! {
        windows = asked => windows,
        () = interrupts.next() => Err(Failure::interrupted()),
    };
    agent.close().await;
    let series = windows?.ok_or_else(not_kept)?.whole();
    let is_asked = |key: &Key| {
        key.metric == flags.metric
            && flags.statistic.as_ref().is_none_or(|statistic| *statistic == key.statistic)
    };
    let asked = series.iter().filter(|(key, _)| is_asked(key));
    Ok(asked.map(|(key, points)| of_windows(key, points, flags)).collect())
}

fn of_windows(key: &Key, points: &[(f64, f64)], flags: &TrendFlags) -> TrendSeriesOut {
    let found = trend_of(points);
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let leak = (key.unit == "By").then(|| {
        let mut test = LeakTest::default();
        if let Some(bytes) = flags.tolerate {
            test.tolerated_per_s = bytes as f64 / SECONDS_A_MINUTE;
        }
        // Of what there should be much of, less is what leaks.
        let falls = catalogue::find(&key.metric)
            .is_some_and(|metric| metric.worse == Some(catalogue::Worse::Falling));
        let used: Vec<_> =
            points.iter().map(|(time, bytes)| (*time, if falls { -bytes } else { *bytes })).collect();
        let finding = test.judge(&used);
        LeakOut {
            verdict: leak_name(finding.leak).to_owned(),
            slope_per_s: finding.slope.map(|(slope, _)| slope),
            low_per_s: finding.slope.map(|(_, interval)| interval.low),
            high_per_s: finding.slope.map(|(_, interval)| interval.high),
            why: finding.why,
        }
    });
    TrendSeriesOut {
        labels: key.labels.clone(),
        statistic: key.statistic.clone(),
        unit: key.unit.clone(),
        points: points
            .iter()
            .zip(robust_z(&values))
            .map(|((second, value), distance)| TrendPointOut {
                run_id: None,
                started_at: None,
                second: Some(*second),
                value: *value,
                outlier: distance.abs() > OUTLIER_Z,
            })
            .collect(),
        slope: found.as_ref().map(|found| found.slope),
        p: found.as_ref().map(|found| found.p),
        variance_correction: found.as_ref().map(|found| found.correction),
        changes: Vec::new(),
        leak,
    }
}

fn leak_name(leak: Leak) -> &'static str {
    match leak {
        Leak::Leaking => "leaking",
        Leak::NotLeaking => "not_leaking",
        Leak::Inconclusive => "inconclusive",
    }
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
