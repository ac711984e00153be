//! `trend`.

mod show;

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    sync::Arc,
};

use ssts_proto::{
    catalogue,
    v1::{ListRunsRequest, RunState},
};

use self::show::print;
use super::{
    Session,
    history::place,
    report::{fetch, side_run},
    sides::{Wanted, agent_of_records, gathered, kept, may_be_an_agents, open, record_windows},
};
use crate::{
    cli::TrendFlags,
    compare::{Item, Key, Side, SideRun, keyed},
    connect::Fallback,
    error::{Exit, Failure},
    json::{ChangePointOut, LeakOut, TrendOut, TrendPointOut, TrendSeriesOut, rfc3339},
    stats::{Leak, LeakTest, change_points, robust_z, trend as trend_of},
    status,
    store::{FigureQuery, Place, RunFilter, unknown},
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
    *key.metric == flags.metric
        && match &flags.statistic {
            Some(statistic) => *key.statistic == *statistic,
            None => key.is_judged() || (key.worse().is_none() && matches!(&*key.statistic, "mean" | "value")),
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
        labels: (*key.labels).clone(),
        statistic: key.statistic.to_string(),
        unit: key.unit.to_string(),
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
    let hosts: BTreeSet<_> = figures.iter().map(|kept| &*kept.figure.host).collect();
    let several = hosts.len() > 1;
    let mut runs: BTreeMap<(i64, Arc<str>), Vec<_>> = BTreeMap::new();
    for kept in figures {
        runs.entry((kept.started_at_ns, kept.run_id)).or_default().push(kept.figure);
    }
    let run = |((started_at_ns, id), figures): ((i64, Arc<str>), Vec<_>)| SideRun {
        id: id.to_string(),
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
        *key.metric == flags.metric
            && flags.statistic.as_ref().is_none_or(|statistic| *statistic == *key.statistic)
    };
    let asked = series.iter().filter(|(key, _)| is_asked(key));
    Ok(asked.map(|(key, points)| of_windows(key, points, flags)).collect())
}

fn of_windows(key: &Key, points: &[(f64, f64)], flags: &TrendFlags) -> TrendSeriesOut {
    let found = trend_of(points);
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let leak = (&*key.unit == "By").then(|| {
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
        labels: (*key.labels).clone(),
        statistic: key.statistic.to_string(),
        unit: key.unit.to_string(),
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
