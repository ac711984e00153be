//! A result as JUnit's XML, in the form that Jenkins, GitLab and others read: the elements and attributes of Jenkins' `junit-10.xsd`.
//!
//! The run is a suite. There is one case for the run as a whole, one for each burner of each phase, one for each threshold and one for
//! what was left afterwards. What did not begin is skipped, with why; what could not be told is an error, never a pass.

use std::fmt::Write as _;

use ssts_proto::v1::{
    BurnerOutcome, BurnerResult, Phase, ReceiptState, Run, RunSummary, ThresholdOutcome, ThresholdResult,
    Verdict, burner::Kind,
};

use super::{findings::Finding, receipt_words, verdict_line};
use crate::{json, text::printable};

/// How a case ended.
enum Outcome {
    Passed,
    /// It did not do what was asked.
    Failed(&'static str, String),
    /// It could not be told, or was kept from going on.
    Error(&'static str, String),
    /// It never began, or was ended with the run.
    Skipped(String),
}

struct Case {
    class: String,
    name: String,
    seconds: Option<f64>,
    outcome: Outcome,
}

/// The whole file.
pub(crate) fn to_junit(run: &Run, findings: &[Finding]) -> String {
    let summary = run.summary.clone().unwrap_or_default();
    let cases = cases(run, &summary);
    let count = |is: fn(&Outcome) -> bool| cases.iter().filter(|case| is(&case.outcome)).count();
    let tests = cases.len();
    let failures = count(|outcome| matches!(outcome, Outcome::Failed(..)));
    let errors = count(|outcome| matches!(outcome, Outcome::Error(..)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let host = run.host.clone().unwrap_or_default();
    let seconds = format!("{:.3}", summary.duration_ns as f64 / 1e9);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a string can't fail.
    let _ = writeln!(
        out,
        "<testsuites name=\"sstsctl\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds}\">"
    );
    let _ = writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
         time=\"{seconds}\" timestamp=\"{}\" hostname=\"{}\">",
        escaped(&summary.scenario),
        timestamp(&summary),
        escaped(&host.hostname),
    );
    out += "    <properties>\n";
    let seed = run.scenario.as_ref().map(|scenario| scenario.seed.to_string()).unwrap_or_default();
    for (name, value) in [
        ("run_id", summary.run_id.as_str()),
        ("verdict", &json::verdict(&summary).unwrap_or_default()),
        ("cause", &json::cause(&summary).unwrap_or_default()),
        ("seed", &seed),
        ("kernel_release", &host.kernel_release),
        ("agent_version", &host.agent_version),
    ] {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
    }
    out += "    </properties>\n";
    for case in &cases {
        write_case(&mut out, case);
    }
    let told: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
    let _ = writeln!(out, "    <system-out>{}</system-out>", escaped(&told.join("\n")));
    out += "  </testsuite>\n</testsuites>\n";
    out
}

fn write_case(out: &mut String, case: &Case) {
    let time = case.seconds.map(|seconds| format!(" time=\"{seconds:.3}\"")).unwrap_or_default();
    let (class, name) = (escaped(&case.class), escaped(&case.name));
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"{time}");
    let _ = match &case.outcome {
        Outcome::Passed => writeln!(out, "/>"),
        Outcome::Failed(kind, why) => {
            writeln!(out, ">\n      <failure type=\"{kind}\" message=\"{}\"/>\n    </testcase>", escaped(why))
        }
        Outcome::Error(kind, why) => {
            writeln!(out, ">\n      <error type=\"{kind}\" message=\"{}\"/>\n    </testcase>", escaped(why))
        }
        Outcome::Skipped(why) => {
            writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escaped(why))
        }
    };
}

fn cases(run: &Run, summary: &RunSummary) -> Vec<Case> {
    let class = format!("ssts.{}", summary.scenario);
    let line = verdict_line(summary);
    let outcome = match summary.verdict() {
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
    cases.extend(run.thresholds.iter().map(|result| of_threshold(result, &class)));
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
    let planned = phase.burners.iter().enumerate().map(|(number, burner)| {
        let is_it =
            |result: &&BurnerResult| (result.phase_index, result.burner_index) == (index, number as u32);
        match run.burners.iter().find(is_it) {
            Some(result) => of_burner(result, class, line),
            None => Case {
                class: format!("{class}.{}", phase.name),
                name: format!("burner {number} {}", kind(burner.kind.as_ref())),
                seconds: None,
                outcome: Outcome::Skipped(format!("it never began: {line}")),
            },
        }
    });
    planned.collect()
}

fn of_threshold(result: &ThresholdResult, class: &str) -> Case {
    let threshold = result.threshold.clone().unwrap_or_default();
    let class =
        if threshold.phase.is_empty() { class.to_owned() } else { format!("{class}.{}", threshold.phase) };
    let outcome = match result.outcome() {
        ThresholdOutcome::Pass => Outcome::Passed,
        ThresholdOutcome::Fail => Outcome::Failed("threshold", result.reason.clone()),
        ThresholdOutcome::Inconclusive | ThresholdOutcome::Unspecified => {
            Outcome::Error("inconclusive", result.reason.clone())
        }
    };
    Case { class, name: format!("threshold {}", threshold.that), seconds: None, outcome }
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

/// As text or an attribute's value; what XML can't hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};
    use ssts_proto::v1::{Burner, Cause, CpuBurner, DiskBurner, Receipt, RunState, Scenario, Threshold};

    use super::*;

    /// Of `junit-10.xsd`: what each element may hold, and its attributes, those that it must have first.
    const SCHEMA: [(&str, &[&str], &[&str], usize); 9] = [
        ("testsuites", &["testsuite"], &["name", "time", "tests", "failures", "errors"], 0),
        (
            "testsuite",
            &["testsuite", "properties", "testcase", "system-out", "system-err"],
            &["name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"],
            4,
        ),
        ("properties", &["property"], &[], 0),
        ("property", &[], &["name", "value"], 2),
        (
            "testcase",
            &["skipped", "error", "failure", "system-out", "system-err"],
            &["name", "time", "classname", "group"],
            1,
        ),
        ("failure", &[], &["type", "message"], 0),
        ("error", &[], &["type", "message"], 0),
        ("skipped", &[], &["type", "message"], 0),
        ("system-out", &[], &[], 0),
    ];

    fn assert_valid(node: Node<'_, '_>) {
        let name = node.tag_name().name();
        let (_, children, attributes, required) =
            SCHEMA.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("<{name}>"));
        for attribute in node.attributes() {
            assert!(attributes.contains(&attribute.name()), "{} of <{name}>", attribute.name());
        }
        for attribute in &attributes[..*required] {
            assert!(node.has_attribute(*attribute), "<{name}> lacks {attribute}");
        }
        for child in node.children().filter(Node::is_element) {
            assert!(children.contains(&child.tag_name().name()), "{child:?} in <{name}>");
            assert_valid(child);
        }
    }

    fn counted(text: &str) -> [usize; 4] {
        let document = Document::parse(text).unwrap();
        assert_valid(document.root_element());
        let of = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
        let counts = [of("testcase"), of("failure"), of("error"), of("skipped")];
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        let said = ["tests", "failures", "errors", "skipped"].map(|name| suite.attribute(name).unwrap());
        assert_eq!(said, counts.map(|count| count.to_string()).each_ref().map(String::as_str));
        counts
    }

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
