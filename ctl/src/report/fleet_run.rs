//! The result of a run on several hosts: a line for each. What is wrong with one is not hidden by the others.

use std::collections::BTreeMap;

use super::{
    document::{Align, Document, Table, Tone},
    findings::{Severity, findings},
    verdict_line,
};
use crate::{
    fleet::{Fate, HostOutcome, skew_of_hosts},
    json, text,
};

/// Findings that are shown; each host's own result has all.
const MOST_FINDINGS: usize = 60;

/// The whole of it.
pub(crate) fn fleet_document(run_id: &str, outcomes: &[HostOutcome]) -> Document {
    let mut document = Document::default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(word(outcome)).or_default() += 1;
    }
    let runs = || outcomes.iter().filter_map(|outcome| outcome.run.as_ref());
    let scenario = runs().filter_map(|run| run.summary.as_ref()).map(|it| it.scenario.clone()).next();
    let counted: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let tone = if counts.len() == 1 && counts.contains_key("pass") { Tone::Good } else { Tone::Bad };
    let name = scenario.unwrap_or_else(|| "run".into());
    document.title(&format!("{name} on {} hosts: {}", outcomes.len(), counted.join(", ")), tone);
    document.fact("run", run_id);
    if let Some(started) = runs().filter_map(|run| run.summary.as_ref()).map(|it| it.started_at_unix_ns).min()
    {
        document.fact("started", json::rfc3339(started));
    }
    if let Some(seed) = runs().filter_map(|run| run.scenario.as_ref()).map(|scenario| scenario.seed).next() {
        document.fact("seed", seed.to_string());
    }
    if let Some(skew) = skew_of_hosts(outcomes) {
        let spread = text::nanoseconds(skew.spread_ns as f64);
        let error = text::nanoseconds(skew.error_ns as f64);
        document.fact("start skew", format!("{spread} over {} hosts, ± {error}", skew.hosts));
    }
    document.section("Hosts", hosts(outcomes));
    found(outcomes, &mut document);
    document
}

fn hosts(outcomes: &[HostOutcome]) -> Table {
    let mut table = Table::new(&[
        ("host", Align::Left),
        ("began", Align::Right),
        ("clock", Align::Right),
        ("duration", Align::Right),
        // Last, for it may be long.
        ("result", Align::Left),
    ]);
    for outcome in outcomes {
        let summary = outcome.run.as_ref().and_then(|run| run.summary.as_ref());
        let signed = |ns: i64| {
            let sign = if ns < 0 { "-" } else { "+" };
            format!("{sign}{}", text::nanoseconds(ns.unsigned_abs() as f64))
        };
        table.row([
            outcome.member.name.clone(),
            outcome.skew_ns.map(signed).unwrap_or_default(),
            outcome
                .clock_error_ns
                .map(|ns| format!("± {}", text::nanoseconds(ns as f64)))
                .unwrap_or_default(),
            summary.map(|it| text::duration(it.duration_ns / 1_000_000)).unwrap_or_default(),
            result(outcome),
        ]);
    }
    table
}

/// `pass: every phase came to its end`, `left out: no sstsd listens there`.
fn result(outcome: &HostOutcome) -> String {
    let why = outcome.failure.as_ref().and_then(|failure| failure.problems.first());
    let why = why.map(|problem| format!(": {}", problem.message)).unwrap_or_default();
    match (outcome.fate, outcome.ended().and_then(|run| run.summary.as_ref())) {
        (Fate::Ran, Some(summary)) => verdict_line(summary),
        (Fate::Ran, None) => format!("unknown{why}"),
        (Fate::NotReady, _) => format!("not ready{why}"),
        (Fate::CalledOff, _) => "called off: another was not ready, or the user wanted it".to_owned(),
        (Fate::Stopped, _) => "stopped: too many others failed".to_owned(),
        (Fate::Lost, _) => format!("lost{why}"),
        (Fate::GoesOn, _) => "goes on".to_owned(),
        (Fate::NotTried, _) => "not tried: its wave never started".to_owned(),
    }
}

/// As hosts are counted.
fn word(outcome: &HostOutcome) -> String {
    let verdict = outcome.ended().and_then(|run| run.summary.as_ref()).and_then(json::verdict);
    match outcome.fate {
        Fate::Ran => verdict.unwrap_or_else(|| "unknown".into()),
        Fate::NotReady => "not ready".into(),
        Fate::CalledOff => "called off".into(),
        Fate::Stopped => "stopped".into(),
        Fate::Lost => "lost".into(),
        Fate::GoesOn => "go on".into(),
        Fate::NotTried => "not tried".into(),
    }
}

/// What is bad, by host.
fn found(outcomes: &[HostOutcome], document: &mut Document) {
    let mut lines = Vec::new();
    for outcome in outcomes {
        let Some(run) = outcome.ended() else { continue };
        let bad = findings(run, &[]).into_iter().filter(|finding| finding.severity == Severity::Bad);
        lines.extend(bad.map(|finding| format!("{}: {}", outcome.member.name, finding.text)));
    }
    if lines.is_empty() {
        return;
    }
    document.heading("Found");
    let hidden = lines.len().saturating_sub(MOST_FINDINGS);
    lines.iter().take(MOST_FINDINGS).for_each(|line| document.line(line));
    if hidden > 0 {
        document.line(&format!("{hidden} more: --report DIR writes each host's own result"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Host, error::Failure, fleet::Fleet, report::to_terminal};

    #[test]
    fn a_host_that_was_left_out_is_named_with_the_reason_and_no_success_is_told_of_all() {
        let members = Fleet::of_hosts(&["a", "b"].map(|name| Host::Tls(name.into(), 1))).members;
        let mut outcomes: Vec<_> = members.into_iter().map(HostOutcome::of).collect();
        let failure = Failure::agent("no sstsd listens there", "");
        outcomes[1] = HostOutcome::failed(outcomes[1].member.clone(), Fate::NotReady, failure);
        outcomes[0].fate = Fate::CalledOff;
        let text = to_terminal(&fleet_document("r", &outcomes), false);
        assert!(text.contains("on 2 hosts: 1 called off, 1 not ready"), "{text}");
        assert!(text.contains("https://b:1") && text.contains("not ready: no sstsd listens there"), "{text}");
        assert!(!text.contains("pass"), "{text}");
    }
}
