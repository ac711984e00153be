//! `compare`.

use super::{
    Session,
    report::{fetch, side_run},
};
use crate::{
    cli::CompareFlags,
    compare::{Item, Judgement, Settings, Side, SideRun, Windows, comparison_document, judge, result_files},
    connect::{Client, Fallback},
    error::{Exit, Failure},
    json::comparison_out,
    output::Output,
    record::{Source, fetch as fetch_record},
    report::to_terminal,
};

/// `compare BEFORE AFTER`.
pub(super) async fn compare(flags: CompareFlags, session: &mut Session) -> Result<Exit, Failure> {
    let CompareFlags { before, after, metric, change, false_alarms, all, seed } = flags;
    let sides = gathered(&[before.0, after.0], &metric, session).await?;
    let [before, after] = &sides[..] else {
        return Err(Failure::new(Exit::Internal, "two sides were asked for and not two came", ""));
    };
    let settings =
        Settings { alpha: false_alarms / 100.0, material: change.map(|percent| percent / 100.0), seed };
    let comparison = judge(before, after, settings, |key| {
        if metric.is_empty() {
            key.is_judged()
        } else {
            metric.iter().any(|prefix| key.metric.starts_with(prefix.as_str()))
        }
    });
    if comparison.changes.is_empty() {
        return Err(Failure::usage(
            "the two sides have no number in common that could be compared",
            "compare runs of one scenario, or name metrics with --metric",
        ));
    }
    if session.wants_json() {
        session.output.json(&comparison_out(&comparison, before, after, settings))?;
    } else {
        let document = comparison_document(&comparison, before, after, all);
        let text = to_terminal(&document, session.output.in_color());
        session.output.result(&text)?;
    }
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

/// All runs of the sides. What is in files needs no agent.
pub(super) async fn gathered(
    sides: &[Vec<Item>],
    prefixes: &[String],
    session: &mut Session,
) -> Result<Vec<Side>, Failure> {
    let is_run = |item: &Item| matches!(item, Item::Run(_));
    if !sides.iter().flatten().any(is_run) {
        let mut all = Vec::new();
        for items in sides {
            all.push(of_files(items)?);
        }
        return Ok(all);
    }
    let one_each = sides.iter().all(|items| matches!(&items[..], [Item::Run(_)]));
    let mut all = Vec::new();
    let gather = async |agent: &mut crate::connect::Agent, output: &mut Output, _| {
        for items in sides {
            let mut side = named(items);
            for item in items {
                match item {
                    Item::Path(path) => result_files(path)?.into_iter().try_for_each(|run| side.add(run))?,
                    Item::Run(id) => {
                        let mut run = of_agent(&mut agent.client, id).await?;
                        if one_each {
                            let windows = windows(&mut agent.client, &run, prefixes, output).await?;
                            run.windows = windows.by_phase();
                        }
                        side.add(run)?;
                    }
                }
            }
            all.push(side);
        }
        Ok(())
    };
    session.with_agent(Fallback::Private, gather).await?;
    Ok(all)
}

/// A run's figures, from its result.
pub(super) async fn of_agent(client: &mut Client, id: &str) -> Result<SideRun, Failure> {
    side_run(&fetch(client, id).await?)
}

/// What a run's record shows; nothing where it is not kept any more.
pub(super) async fn windows(
    client: &mut Client,
    run: &SideRun,
    prefixes: &[String],
    output: &mut Output,
) -> Result<Windows, Failure> {
    let mut windows = Windows::new(prefixes.to_vec());
    // The record of a run that has just ended is closed a moment later.
    let is_over = !run.verdict.is_empty();
    let source = if is_over { Source::RunToItsEnd(run.id.clone()) } else { Source::Run(run.id.clone()) };
    match fetch_record(client, &source, |item| windows.take(item)).await {
        Ok(_) => Ok(windows),
        Err(failure) if failure.exit == Exit::Usage => {
            output.message(&format!("the telemetry of run {} is not kept, or not any more", run.id));
            Ok(Windows::default())
        }
        Err(failure) => Err(failure),
    }
}

fn of_files(items: &[Item]) -> Result<Side, Failure> {
    let mut side = named(items);
    for item in items {
        if let Item::Path(path) = item {
            result_files(path)?.into_iter().try_for_each(|run| side.add(run))?;
        }
    }
    Ok(side)
}

fn named(items: &[Item]) -> Side {
    let name = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Side { name, runs: Vec::new() }
}
