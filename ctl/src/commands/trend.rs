//! `trend`.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue,
    v1::{ListRunsRequest, RunState},
};

use super::{
    Session,
    compare::{gathered, of_agent, windows},
};
use crate::{
    cli::TrendFlags,
    compare::{Key, Side, SideRun},
    connect::Fallback,
    error::{Exit, Failure},
    json::{ChangePointOut, LeakOut, TrendOut, TrendPointOut, TrendSeriesOut},
    report::{Document, Tone, sparkline, to_terminal},
    stats::{Leak, LeakTest, change_points, robust_z, trend as trend_of},
    status, text,
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
    let out = TrendOut { metric: flags.metric, within: flags.within, series };
    if session.wants_json() {
        session.output.json(&out)?;
    } else {
        let text = to_terminal(&document(&out), session.output.in_color());
        session.output.result(&text)?;
    }
    Ok(if is_leaking { Exit::ThresholdFailed } else { Exit::Pass })
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
        gathered(&[flags.runs.clone(), Vec::new()], &[], session).await?.swap_remove(0)
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

/// The agent's latest runs that are over.
async fn latest(flags: &TrendFlags, session: &mut Session) -> Result<Side, Failure> {
    let mut side = Side::default();
    let gather = async |agent: &mut crate::connect::Agent, _: &mut _, _| {
        let response = agent.client.list_runs(ListRunsRequest { limit: None }).await;
        let runs = response.map_err(|status| status::failure(&status))?.into_inner().runs;
        let is_meant = |scenario: &str| flags.scenario.as_ref().is_none_or(|wanted| wanted == scenario);
        let ids = runs
            .iter()
            .filter(|run| run.state() == RunState::Finished && is_meant(&run.scenario))
            .map(|run| run.run_id.as_str());
        for id in ids.take(flags.limit as usize) {
            side.add(of_agent(&mut agent.client, id).await?)?;
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
    let mut series = Vec::new();
    let gather = async |agent: &mut crate::connect::Agent, output: &mut _, _| {
        let run = of_agent(&mut agent.client, run).await?;
        let windows = windows(&mut agent.client, &run, std::slice::from_ref(&flags.metric), output).await?;
        for (key, points) in windows.whole() {
            let is_asked = flags.statistic.as_ref().is_none_or(|statistic| *statistic == key.statistic);
            if key.metric == flags.metric && is_asked {
                series.push(of_windows(&key, &points, flags));
            }
        }
        Ok(())
    };
    session.with_agent(Fallback::Private, gather).await?;
    Ok(series)
}

fn of_windows(key: &Key, points: &[(f64, f64)], flags: &TrendFlags) -> TrendSeriesOut {
    let found = trend_of(points);
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let leak = (key.unit == "By").then(|| {
        let mut test = LeakTest::default();
        if let Some(bytes) = flags.tolerate {
            test.tolerated_bytes_per_s = bytes as f64 / SECONDS_A_MINUTE;
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
        let labels: Vec<_> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        document.heading(format!("{} {}", series.statistic, labels.join(" ")).trim_end());
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
