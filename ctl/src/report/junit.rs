//! A result as JUnit's XML.
//!
//! The run is a suite. There is one case for the run as a whole, one for each burner of each phase, one for each threshold and one for
//! what was left afterwards. What did not begin is skipped, with why; what could not be told is an error, never a pass.

use ssts_proto::v1::{
    BurnerOutcome, BurnerResult, Cause, Phase, ReceiptState, Run, RunSummary, ThresholdOutcome,
    ThresholdResult, TrendResult, Verdict, burner::Kind,
};

use super::{
    decisions,
    findings::Finding,
    junit_xml::{Case, Outcome, Suite},
    receipt_words, verdict_line,
};
use crate::{json, trends};

/// The whole file.
pub(crate) fn to_junit(run: &Run, findings: &[Finding]) -> String {
    let summary = run.summary.clone().unwrap_or_default();
    let cases = cases(run, &summary);
    let host = run.host.clone().unwrap_or_default();
    let seed = run.scenario.as_ref().map(|scenario| scenario.seed.to_string()).unwrap_or_default();
    let told: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
    Suite {
        name: summary.scenario.clone(),
        seconds: summary.duration_ns as f64 / 1e9,
        timestamp: timestamp(&summary),
        hostname: host.hostname.clone(),
        properties: vec![
            ("run_id", summary.run_id.clone()),
            ("verdict", json::verdict(&summary).unwrap_or_default()),
            ("cause", json::cause(&summary).unwrap_or_default()),
            ("outcome", json::outcome(&summary).unwrap_or_default().to_owned()),
            ("seed", seed),
            ("kernel_release", host.kernel_release.clone()),
            ("agent_version", host.agent_version.clone()),
        ],
        cases,
        told: told.join("\n"),
    }
    .to_xml()
}

fn cases(run: &Run, summary: &RunSummary) -> Vec<Case> {
    let class = format!("ssts.{}", summary.scenario);
    let line = verdict_line(summary);
    let outcome = match summary.verdict() {
        _ if summary.cause() == Cause::PhaseSkipped => Outcome::Error("inconclusive", line.clone()),
        Verdict::Pass => Outcome::Passed,
        Verdict::Fail => Outcome::Failed("fail", line.clone()),
        Verdict::Aborted => Outcome::Error("aborted", line.clone()),
        Verdict::Error => Outcome::Error("error", line.clone()),
        Verdict::Unspecified => Outcome::Error("inconclusive", format!("the run is not over: {line}")),
    };
    let seconds = Some(summary.duration_ns as f64 / 1e9);
    let mut cases = vec![Case { class: class.clone(), name: "run".into(), seconds, outcome }];
    let phases = run.scenario.as_ref().map(|scenario| &scenario.phases[..]).unwrap_or_default();
    for (index, phase) in phases.iter().enumerate() {
        cases.extend(of_phase(run, phase, index as u32, &class, &line));
    }
    // Of a scenario that is not known any more.
    let is_unknown = |burner: &&BurnerResult| burner.phase_index as usize >= phases.len();
    cases.extend(run.burners.iter().filter(is_unknown).map(|burner| of_burner(burner, &class, &line)));
    cases.extend(run.thresholds.iter().map(|result| of_threshold(run, result, &class)));
    cases.extend(run.trends.iter().map(|result| of_trend(result, &class)));
    if let Some(receipt) = &run.receipt {
        let words = receipt_words(receipt);
        let outcome = match receipt.state() {
            ReceiptState::Clean => Outcome::Passed,
            ReceiptState::Left => Outcome::Failed("left", words),
            ReceiptState::Unknown | ReceiptState::Unspecified => Outcome::Error("inconclusive", words),
        };
        cases.push(Case { class, name: "host is clean afterwards".into(), seconds: None, outcome });
    }
    cases
}

/// Every burner that the scenario has there, whether it came to burn or not.
fn of_phase(run: &Run, phase: &Phase, index: u32, class: &str, line: &str) -> Vec<Case> {
    let why = decisions::skipped(run, index);
    let class_of_phase = || format!("{class}.{}", phase.name);
    if let Some(why) = why
        && phase.burners.is_empty()
    {
        let outcome = Outcome::Skipped(format!("the phase was skipped: {why}"));
        return vec![Case { class: class_of_phase(), name: "phase".into(), seconds: None, outcome }];
    }
    let planned = phase.burners.iter().enumerate().map(|(number, burner)| {
        let is_it =
            |result: &&BurnerResult| (result.phase_index, result.burner_index) == (index, number as u32);
        // Of a phase that was repeated the last time counts.
        match run.burners.iter().rfind(is_it) {
            Some(result) => of_burner(result, class, line),
            None => Case {
                class: class_of_phase(),
                name: format!("burner {number} {}", kind(burner.kind.as_ref())),
                seconds: None,
                outcome: Outcome::Skipped(match why {
                    Some(why) => format!("the phase was skipped: {why}"),
                    None => format!("it never began: {line}"),
                }),
            },
        }
    });
    let superseded = run.burners.iter().filter(|result| result.phase_index == index && result.superseded);
    planned.chain(superseded.map(|result| of_superseded(result, class))).collect()
}

/// A burner of a phase that was repeated: wrong data and failed I/Os remain what they are.
fn of_superseded(burner: &BurnerResult, class: &str) -> Case {
    let mut case = of_burner(burner, class, "");
    case.name = format!("{}, time {}", case.name, burner.attempt);
    if burner.verify_errors + burner.io_errors == 0 {
        case.outcome = Outcome::Skipped("the phase was repeated".to_owned());
    }
    case
}

fn of_threshold(run: &Run, result: &ThresholdResult, class: &str) -> Case {
    let threshold = result.threshold.clone().unwrap_or_default();
    let class =
        if threshold.phase.is_empty() { class.to_owned() } else { format!("{class}.{}", threshold.phase) };
    let phases = run.scenario.as_ref().map(|scenario| &scenario.phases[..]).unwrap_or_default();
    let index = phases.iter().position(|phase| phase.name == threshold.phase);
    let is_skipped = index.is_some_and(|index| decisions::skipped(run, index as u32).is_some());
    let outcome = match result.outcome() {
        _ if is_skipped => Outcome::Skipped(result.reason.clone()),
        ThresholdOutcome::Pass => Outcome::Passed,
        ThresholdOutcome::Fail => Outcome::Failed("threshold", result.reason.clone()),
        ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => {
            Outcome::Error("inconclusive", result.reason.clone())
        }
    };
    // One against a baseline is two, with the same text.
    let bound = super::threshold_bound(&threshold).map(|bound| format!(" ({bound})")).unwrap_or_default();
    Case { class, name: format!("threshold {}{bound}", threshold.that), seconds: None, outcome }
}

fn of_trend(result: &TrendResult, class: &str) -> Case {
    let trend = result.trend.clone().unwrap_or_default();
    let class = if trend.phase.is_empty() { class.to_owned() } else { format!("{class}.{}", trend.phase) };
    let outcome = match result.outcome() {
        ThresholdOutcome::Pass => Outcome::Passed,
        ThresholdOutcome::Fail => Outcome::Failed("trend", trends::words(result)),
        ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => {
            Outcome::Error("inconclusive", trends::words(result))
        }
    };
    Case { class, name: format!("trend {}", trends::subject(&trend)), seconds: None, outcome }
}

fn of_burner(burner: &BurnerResult, class: &str, line: &str) -> Case {
    let reason = |what: &str| match (burner.outcome_reason.as_str(), burner.ended.as_str()) {
        ("", "" | "exit 0") => what.to_owned(),
        ("", ended) => format!("{what}: {ended}"),
        (reason, _) => format!("{what}: {reason}"),
    };
    let outcome = match burner.outcome() {
        // Whatever else is said of it.
        _ if burner.verify_errors > 0 => {
            Outcome::Failed("wrong_data", reason(&format!("{} results were wrong", burner.verify_errors)))
        }
        // Whether the next one came back is told by the run's outcome.
        BurnerOutcome::Done | BurnerOutcome::Restarted => Outcome::Passed,
        BurnerOutcome::Missed => Outcome::Failed("missed", reason("its load was not what was asked")),
        BurnerOutcome::WrongData => Outcome::Failed("wrong_data", reason("a result was wrong")),
        BurnerOutcome::IoErrors => Outcome::Failed("io_errors", reason("I/Os failed")),
        BurnerOutcome::NothingDone => {
            Outcome::Failed("nothing_done", reason("it did not do a single operation"))
        }
        BurnerOutcome::MemoryShort => {
            Outcome::Failed("memory_short", reason("it could not have all its memory"))
        }
        BurnerOutcome::RequestsFailed => {
            Outcome::Failed("requests_failed", reason("too many requests failed"))
        }
        BurnerOutcome::DiskFull => Outcome::Failed("disk_full", reason("no room was left")),
        BurnerOutcome::OutOfMemory => Outcome::Error("out_of_memory", reason("the OOM killer ended it")),
        BurnerOutcome::Died => Outcome::Error("died", reason("it ended unasked")),
        BurnerOutcome::Failed => Outcome::Error("failed", reason("it could not go on")),
        BurnerOutcome::Stopped => Outcome::Skipped(format!("the run ended before its phase did: {line}")),
        BurnerOutcome::Unspecified => {
            Outcome::Error("inconclusive", reason("what became of it is not known"))
        }
    };
    Case {
        class: format!("{class}.{}", burner.phase),
        name: format!("burner {} {}", burner.burner_index, burner.kind),
        seconds: Some(burner.burning_ns as f64 / 1e9),
        outcome,
    }
}

fn kind(kind: Option<&Kind>) -> &'static str {
    match kind {
        Some(Kind::Cpu(_)) => "cpu",
        Some(Kind::Memory(_)) => "memory",
        Some(Kind::Disk(_)) => "disk",
        Some(Kind::Network(_)) => "network",
        Some(Kind::Http(_)) => "http",
        None => "unknown",
    }
}

/// ISO 8601 to the second, as servers read it.
fn timestamp(summary: &RunSummary) -> String {
    json::rfc3339(summary.started_at_unix_ns.div_euclid(1_000_000_000) * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;
    use ssts_proto::v1::{
        Burner, CpuBurner, Decision, DecisionAction, DecisionPoint, DiskBurner, Receipt, RunState, Scenario,
        Threshold,
    };

    use super::{super::junit_xml::tests::counted, *};

    fn run(verdict: Verdict, cause: Cause, outcomes: &[BurnerOutcome]) -> Run {
        let cpu = Burner { kind: Some(Kind::Cpu(CpuBurner::default())) };
        let disk = Burner { kind: Some(Kind::Disk(DiskBurner::default())) };
        let phase =
            |name: &str, burners| Phase { name: name.into(), duration_ms: 1, burners, ..Phase::default() };
        let burner = |(index, outcome): (usize, &BurnerOutcome)| BurnerResult {
            kind: "cpu".into(),
            phase: format!("p{index}"),
            phase_index: index as u32,
            outcome: (*outcome).into(),
            burning_ns: 1_500_000_000,
            ..BurnerResult::default()
        };
        Run {
            summary: Some(RunSummary {
                scenario: "a <b> & \"c\"".into(),
                state: RunState::Finished.into(),
                verdict: verdict.into(),
                cause: cause.into(),
                duration_ns: 2_000_000_000,
                ..RunSummary::default()
            }),
            scenario: Some(Scenario {
                phases: vec![phase("p0", vec![cpu.clone()]), phase("p1", vec![cpu]), phase("p2", vec![disk])],
                ..Scenario::default()
            }),
            burners: outcomes.iter().enumerate().map(burner).collect(),
            receipt: Some(Receipt { state: ReceiptState::Clean.into(), ..Receipt::default() }),
            ..Run::default()
        }
    }

    #[test]
    fn a_run_that_passed_has_nothing_but_passes() {
        let done = [BurnerOutcome::Done; 3];
        let text = to_junit(&run(Verdict::Pass, Cause::Completed, &done), &[]);
        assert_eq!(counted(&text), [5, 0, 0, 0]);
        let document = Document::parse(&text).unwrap();
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert_eq!(suite.attribute("name"), Some("a <b> & \"c\""));
        assert_eq!(suite.attribute("time"), Some("2.000"));
    }

    #[test]
    fn a_threshold_that_nothing_was_read_of_is_no_pass() {
        let mut run = run(Verdict::Fail, Cause::Completed, &[BurnerOutcome::Done; 3]);
        let outcomes = [ThresholdOutcome::Pass, ThresholdOutcome::Fail, ThresholdOutcome::Inconclusive];
        run.thresholds = outcomes
            .into_iter()
            .map(|outcome| ThresholdResult {
                threshold: Some(Threshold {
                    that: "disk.read.latency.p99 < 20ms".into(),
                    phase: "p1".into(),
                    ..Threshold::default()
                }),
                outcome: outcome.into(),
                reason: "so it is".into(),
                ..ThresholdResult::default()
            })
            .collect();
        let text = to_junit(&run, &[]);
        assert_eq!(counted(&text), [8, 2, 1, 0]);
        assert!(text.contains("threshold disk.read.latency.p99 &lt; 20ms"), "{text}");
    }

    #[test]
    fn what_never_began_is_skipped_with_why_and_what_was_missed_fails() {
        let run =
            run(Verdict::Aborted, Cause::GuardTripped, &[BurnerOutcome::Missed, BurnerOutcome::Stopped]);
        let text = to_junit(&run, &[]);
        assert_eq!(counted(&text), [5, 1, 1, 2]);
        assert!(text.contains("it never began: aborted: a guard tripped"), "{text}");
        assert!(text.contains("burner 0 disk"), "{text}");
    }

    #[test]
    fn a_skipped_phase_is_skipped_with_why_and_a_repeated_one_is_its_last_time() {
        let done = [BurnerOutcome::Done, BurnerOutcome::Done];
        let mut run = run(Verdict::Fail, Cause::PhaseSkipped, &done);
        run.decisions = vec![Decision {
            phase_index: 2,
            phase: "p2".into(),
            point: DecisionPoint::Before.into(),
            action: DecisionAction::Skip.into(),
            reason: "it was hot".into(),
            ..Decision::default()
        }];
        let first = BurnerResult {
            outcome: BurnerOutcome::Missed.into(),
            superseded: true,
            attempt: 1,
            ..run.burners[1].clone()
        };
        run.burners[1].attempt = 2;
        run.burners.insert(1, first);
        run.thresholds = vec![ThresholdResult {
            threshold: Some(Threshold { phase: "p2".into(), ..Threshold::default() }),
            outcome: ThresholdOutcome::Inconclusive.into(),
            ..ThresholdResult::default()
        }];
        let text = to_junit(&run, &[]);
        // The run could not be judged; the phase, its threshold and the first time of the other are skipped.
        assert_eq!(counted(&text), [7, 0, 1, 3]);
        assert!(text.contains("the phase was skipped: it was hot") && text.contains("cpu, time 1"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_no_pass() {
        let mut run = run(Verdict::Unspecified, Cause::Unspecified, &[BurnerOutcome::Unspecified]);
        run.receipt = Some(Receipt { state: ReceiptState::Unknown.into(), ..Receipt::default() });
        let text = to_junit(&run, &[]);
        assert_eq!(counted(&text), [5, 0, 3, 2]);
        assert!(text.contains("inconclusive"), "{text}");
    }

    #[test]
    fn wrong_data_fails_whatever_else_is_said() {
        let mut run = run(Verdict::Fail, Cause::WrongData, &[BurnerOutcome::Done; 3]);
        run.burners[1].verify_errors = 3;
        assert_eq!(counted(&to_junit(&run, &[]))[1], 2);
    }

    #[test]
    fn what_xml_cannot_hold_does_not_break_it() {
        let mut run = run(Verdict::Fail, Cause::BurnerDied, &[BurnerOutcome::Died]);
        run.burners[0].outcome_reason = "\u{1b}[2J\u{0}\u{ffff} ]]> </testsuite>".into();
        let finding =
            Finding { severity: super::super::findings::Severity::Bad, text: "a\nb\u{7} & <c>".into() };
        let text = to_junit(&run, &[finding]);
        assert_eq!(counted(&text), [5, 1, 1, 2]);
        let document = Document::parse(&text).unwrap();
        let out = document.descendants().find(|node| node.has_tag_name("system-out")).unwrap();
        assert_eq!(out.text(), Some("a\nb\u{fffd} & <c>"));
    }
}
