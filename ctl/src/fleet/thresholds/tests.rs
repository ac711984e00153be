use ssts_proto::v1::{
    BurnerOutcome, BurnerResult, Label, MetricSummary, OperationLatency, Run, ThresholdOutcome,
};

use super::*;
use crate::{
    error::Failure,
    fleet::{
        Fate,
        gate::tests::{member, ran},
    },
};

fn parse(text: &str) -> FleetThreshold {
    FleetThreshold::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

/// A host whose sensor was at most so hot.
fn hot(name: &str, celsius: f64) -> HostOutcome {
    let sensor = |name: &str, max: f64| MetricSummary {
        metric: "host.temperature".into(),
        labels: vec![Label { name: "sensor".into(), value: name.into() }],
        samples: 9,
        max,
        mean: max - 5.0,
        last: Some(max - 1.0),
        ..MetricSummary::default()
    };
    let mut outcome = ran(name, Verdict::Pass);
    if let Some(run) = &mut outcome.run {
        run.telemetry = vec![sensor("hwmon0/temp1", celsius), sensor("hwmon1/temp1", celsius - 20.0)];
    }
    outcome
}

fn judge(text: &str, outcomes: &[HostOutcome]) -> (ThresholdOutcome, Option<f64>, String) {
    let judged = parse(text).judge(outcomes);
    (judged.outcome, judged.value, judged.reason)
}

#[test]
fn what_people_write_is_read() {
    for (text, aggregate, reporting, metric, value) in [
        (
            "p95 across hosts of host.temperature.max < 85",
            Aggregate::Percentile(95),
            false,
            "host.temperature",
            85.0,
        ),
        (
            " p95 across hosts of host.temperature max < 85 ",
            Aggregate::Percentile(95),
            false,
            "host.temperature",
            85.0,
        ),
        ("max  across hosts of cpu.verify.errors == 0", Aggregate::Max, false, "burner.verify_errors", 0.0),
        ("min across reporting hosts of disk.bytes.mean >= 1GB/s", Aggregate::Min, true, "burner.bytes", 1e9),
        ("sum across hosts of cpu.flops > 1", Aggregate::Sum, false, "burner.flops", 1.0),
        ("mean across hosts of disk.read.latency p999<20ms", Aggregate::Mean, false, "burner.latency", 2e7),
    ] {
        let read = parse(text);
        let Subject::Across { aggregate: found, only_reporting, of } = &read.subject else {
            panic!("{read:?}")
        };
        assert_eq!(
            (*found, *only_reporting, of.metric.as_str(), of.value),
            (aggregate, reporting, metric, value)
        );
        assert_eq!(read.that, text.trim());
    }
    for (text, which, value, is_share) in [
        ("hosts failed <= 1 %", Which::Failed, 1.0, true),
        ("hosts passed>=90%", Which::Passed, 90.0, true),
        ("hosts lost == 0", Which::Lost, 0.0, false),
        ("hosts unready < 3", Which::Unready, 3.0, false),
        ("hosts aborted == 0%", Which::Aborted, 0.0, true),
    ] {
        let Subject::Hosts { which: found, value: bound, is_share: share, .. } = parse(text).subject else {
            panic!("{text}")
        };
        assert_eq!((found, bound, share), (which, value, is_share), "{text}");
    }
}

#[test]
fn what_can_not_be_read_is_told_with_its_part_and_what_was_meant() {
    for (text, part, words) in [
        ("", "", "condition on nothing"),
        ("host failed < 1", "host", "did you mean 'hosts'"),
        ("p95 accross hosts of host.temperature.max < 85", "accross", "'across' belongs"),
        ("p95 across", "", "it ends where 'hosts' belongs"),
        ("p100 across hosts of host.temperature.max < 85", "p100", "a percentile such as p95"),
        ("p0 across hosts of host.temperature.max < 85", "p0", "a percentile such as p95"),
        (
            "p95 across hosts of host.temprature.max < 85",
            "host.temprature.max",
            "did you mean 'host.temperature'",
        ),
        (
            "p95 across hosts of host.temprature max < 85",
            "host.temprature max",
            "did you mean 'host.temperature'",
        ),
        ("p95 across hosts of host.temperature.max < 85 F", "85 F", "°C"),
        ("p95 across hosts of host.temperature < 85", "host.temperature", "say which counts"),
        ("p95 across hosts of host.temperature.p90 < 85", "", "no p90 of host.temperature"),
        ("p95 across hosts of host.temperature.max within 5% of phase:a", "", "compared with a value"),
        ("p95 across hosts of runqueue.latency.last < 1ms", "", "no last of runqueue.latency"),
        ("hosts fialed < 1", "fialed", "did you mean 'failed'"),
        ("hosts failed 1", "1", "compares nothing"),
        ("hosts failed => 1", "=>", "compares nothing"),
        ("hosts failed < few", "few", "no number of hosts"),
        ("hosts failed < 1.5", "1.5", "no number of hosts"),
        ("hosts failed < 101%", "101%", "no number of hosts"),
        ("hosts failed <", "", "no number of hosts"),
    ] {
        let wrong = FleetThreshold::parse(text).expect_err(text);
        let told = format!("{}; {}", wrong.message, wrong.mend);
        assert!(told.contains(words), "{text}: {told}");
        let found = text.get(wrong.part.clone()).unwrap_or_else(|| panic!("{text}: {wrong:?}"));
        assert!(part.is_empty() || found == part, "{text}: {found}");
    }
    assert!(FleetThreshold::parse(&"x".repeat(300)).expect_err("it is long").message.contains("300 bytes"));
}

#[test]
fn any_text_is_read_or_refused() {
    for text in [
        "é",
        "hosts é",
        "hosts failed <é",
        "p95 across hosts of é<",
        "p95 across hosts of",
        "<",
        "hosts<",
        "\u{a0}",
    ] {
        if let Err(wrong) = FleetThreshold::parse(text) {
            assert!(wrong.part.start <= wrong.part.end && wrong.part.end <= text.len(), "{text}: {wrong:?}");
        }
    }
}

#[test]
fn a_figure_across_hosts_is_that_of_the_worst_column_of_each() {
    use ThresholdOutcome::{Fail, Pass};
    let hosts: Vec<_> = (0..20).map(|index| hot(&format!("n{index}"), 60.0 + f64::from(index))).collect();
    for (text, outcome, value) in [
        ("p95 across hosts of host.temperature.max < 79", Pass, 78.0),
        ("p95 across hosts of host.temperature.max < 78", Fail, 78.0),
        ("max across hosts of host.temperature max < 80", Pass, 79.0),
        ("mean across hosts of host.temperature.max <= 69.5", Pass, 69.5),
        ("p50 across hosts of host.temperature.last < 70", Pass, 68.0),
        // Of a floor the coldest sensor of each host counts.
        ("min across hosts of host.temperature.max > 39", Pass, 40.0),
    ] {
        assert_eq!((judge(text, &hosts).0, judge(text, &hosts).1), (outcome, Some(value)), "{text}");
    }
    let judged = parse("p95 across hosts of host.temperature.max < 78").judge(&hosts);
    assert_eq!(judged.worst, Some(("n19".into(), 79.0)));
    assert_eq!(judged.reason, "it is 78.0 °C across 20 hosts, the worst is n19 with 79.0 °C");
    assert_eq!((judged.hosts, judged.value_words().as_str(), judged.unit.as_str()), (20, "78.0 °C", "Cel"));
    let of_one = parse("max across hosts of host.temperature.max < 85")
        .with_labels(vec![LabelMatch { name: "sensor".into(), value: "hwmon1*".into() }]);
    assert_eq!(of_one.judge(&hosts).value, Some(59.0));
}

#[test]
fn a_host_that_measured_nothing_is_no_pass_unless_it_is_said() {
    use ThresholdOutcome::{Fail, Inconclusive, Pass};
    let mut hosts = vec![hot("a", 60.0), hot("b", 70.0), ran("bare", Verdict::Pass)];
    let (outcome, value, reason) = judge("p95 across hosts of host.temperature.max < 85", &hosts);
    assert_eq!((outcome, value), (Inconclusive, Some(70.0)));
    assert!(reason.contains("nothing was measured of it on bare"), "{reason}");
    assert_eq!(judge("p95 across reporting hosts of host.temperature.max < 85", &hosts).0, Pass);
    // What one host broke the others can't mend; of a percentile they could.
    assert_eq!(judge("max across hosts of host.temperature.max < 65", &hosts).0, Fail);
    assert_eq!(judge("p50 across hosts of host.temperature.max < 55", &hosts).0, Inconclusive);
    hosts.push(HostOutcome::failed(member("gone"), Fate::NotReady, Failure::agent("no answer", "")));
    let judged = parse("p95 across hosts of host.temperature.max < 85").judge(&hosts);
    assert_eq!((judged.hosts, judged.without.as_slice()), (2, &["bare".to_owned(), "gone".to_owned()][..]));
    let nobody =
        judge("p95 across reporting hosts of host.temperature.max < 85", &[ran("bare", Verdict::Pass)]);
    assert_eq!((nobody.0, nobody.1), (Inconclusive, None));
}

#[test]
fn a_run_that_was_cut_short_can_fail_a_threshold_and_not_pass_it() {
    use ThresholdOutcome::{Fail, Inconclusive};
    let mut short = hot("short", 50.0);
    if let Some(summary) = short.run.as_mut().and_then(|run| run.summary.as_mut()) {
        summary.set_verdict(Verdict::Aborted);
    }
    let hosts = [hot("a", 60.0), short];
    let (outcome, _, reason) = judge("p95 across hosts of host.temperature.max < 85", &hosts);
    assert_eq!(outcome, Inconclusive);
    assert!(reason.contains("before it could be judged on short"), "{reason}");
    assert_eq!(judge("max across hosts of host.temperature.max < 60", &hosts).0, Fail);
}

#[test]
fn what_burners_counted_themselves_is_told_of_them() {
    let burner = |kind: &str, p999_ns: u64, verify_errors: u64, outcome: BurnerOutcome| BurnerResult {
        kind: kind.into(),
        verify_errors,
        bytes: 7,
        target_load_percent: Some(50.0),
        outcome: outcome.into(),
        latencies: vec![OperationLatency {
            operation: "read".into(),
            count: 3,
            p999_ns,
            ..OperationLatency::default()
        }],
        ..BurnerResult::default()
    };
    let mut outcome = ran("a", Verdict::Pass);
    outcome.run = Some(Run {
        burners: vec![
            burner("disk", 900, 0, BurnerOutcome::Done),
            burner("disk", 1_200, 0, BurnerOutcome::Done),
            burner("cpu", 9_999, 2, BurnerOutcome::Missed),
        ],
        ..outcome.run.unwrap_or_default()
    });
    let hosts = [outcome];
    for (text, value) in [
        ("max across hosts of disk.read.latency.p999 < 1us", 1_200.0),
        ("max across hosts of disk.read.latency.p999 > 1ns", 900.0),
        ("max across hosts of cpu.verify.errors == 0", 2.0),
        ("sum across hosts of disk.bytes > 1", 14.0),
        ("max across hosts of disk.bytes > 1", 7.0),
        ("max across hosts of cpu.load.missed == 0", 1.0),
        ("max across hosts of disk.load.missed == 0", 0.0),
    ] {
        assert_eq!(judge(text, &hosts).1, Some(value), "{text}");
    }
    assert_eq!(judge("max across hosts of memory.load.missed == 0", &hosts).1, None);
}

#[test]
fn hosts_are_counted_over_those_that_were_tried() {
    use ThresholdOutcome::{Fail, Inconclusive, Pass};
    let mut hosts: Vec<_> = (0..98).map(|index| ran(&format!("n{index}"), Verdict::Pass)).collect();
    hosts.push(ran("bad", Verdict::Fail));
    hosts.push(ran("stopped", Verdict::Aborted));
    hosts.push(HostOutcome { fate: Fate::CalledOff, ..HostOutcome::of(member("off")) });
    for (text, outcome, value) in [
        ("hosts failed <= 2%", Pass, 2.0),
        ("hosts failed <= 1 %", Fail, 2.0),
        ("hosts failed < 3", Pass, 2.0),
        ("hosts passed >= 99%", Fail, 98.0),
        ("hosts aborted == 0", Fail, 1.0),
        ("hosts lost == 0", Pass, 0.0),
    ] {
        let judged = parse(text).judge(&hosts);
        assert_eq!((judged.outcome, judged.value), (outcome, Some(value)), "{text}");
        assert_eq!(judged.hosts, 100, "{text}");
    }
    assert_eq!(judge("hosts failed <= 1 %", &hosts).2, "2 of 100 hosts failed");
    assert_eq!(judge("hosts failed <= 1 %", &[]).0, Inconclusive);
    assert_eq!(parse("hosts failed <= 1 %").judge(&hosts).value_words(), "2.0 %");
    assert_eq!(parse("hosts failed < 3").judge(&hosts).value_words(), "2");
}
