//! Of thresholds, on frames as the tick brings them.

use std::sync::Arc;

use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::{
    catalogue::{BLOCK_LATENCY, BURNER_OPERATIONS, HOST_CPU_FORKS, HOST_TEMPERATURE},
    thresholds::parse,
    v1::{AbsenceReason, BurnerOutcome, OperationLatency},
};

use super::*;
use crate::observe::{frame::BucketGain, schema::Column};

/// A run of two phases of 10 s whose sensor is read ten times a second.
struct Stage {
    thresholds: Thresholds,
    phases: Vec<PlannedPhase>,
    schema: Arc<Schema>,
    sensor: Column,
    frame: Frame,
    tick: u64,
}

fn threshold(text: &str, phase: &str, change: impl FnOnce(&mut Threshold)) -> Threshold {
    let mut threshold = parse(text).unwrap();
    threshold.phase = phase.into();
    change(&mut threshold);
    threshold
}

impl Stage {
    fn new(thresholds: &[Threshold]) -> Self {
        let phase = |name: &str| PlannedPhase {
            name: name.into(),
            duration: Duration::from_secs(10),
            ..PlannedPhase::default()
        };
        let mut schema = Schema::new(1);
        let sensor = schema.column(&HOST_TEMPERATURE, &["hwmon0/temp1", "Core", "", ""]);
        Self {
            thresholds: Thresholds::new(thresholds, "mine"),
            phases: vec![phase("one"), phase("two")],
            schema: Arc::new(schema),
            sensor,
            frame: Frame::default(),
            tick: 0,
        }
    }

    /// One tick of 100 ms: the phase that burns, and what the sensor says.
    fn tick(&mut self, phase: Option<usize>, celsius: Result<f64, AbsenceReason>) -> Vec<Failed> {
        self.begin_frame();
        self.frame.set(self.sensor, celsius);
        self.look(phase)
    }

    fn begin_frame(&mut self) {
        self.tick += 1;
        self.frame.reset(&self.schema, self.tick);
        self.frame.end = Duration::from_secs(100) + Duration::from_millis(self.tick * 100);
    }

    fn look(&mut self, phase: Option<usize>) -> Vec<Failed> {
        let elapsed = Duration::from_millis(self.tick * 100);
        let burning = phase.map(|phase| Burning { phase, elapsed });
        self.thresholds.look(&self.schema, &self.frame, &self.phases, burning)
    }

    /// Both phases come to their end.
    fn outcomes(&mut self, results: &[BurnerResult]) -> Vec<(ThresholdOutcome, Option<f64>)> {
        self.thresholds.finish_phase(0);
        self.thresholds.finish_phase(1);
        self.judged(results)
    }

    fn judged(&mut self, results: &[BurnerResult]) -> Vec<(ThresholdOutcome, Option<f64>)> {
        let (all, _) = self.thresholds.outcomes(results, &self.phases);
        all.iter().map(|result| (result.outcome(), result.value)).collect()
    }
}

use ThresholdOutcome::{Fail, Inconclusive, Pass};

#[test]
fn each_is_judged_by_the_frames_of_its_phase() {
    let max = |phase| threshold("host.temperature.max < 85", phase, |_| {});
    let mut stage = Stage::new(&[
        max("one"),
        max("two"),
        max(""),
        threshold("host.temperature.min >= 60", "one", |_| {}),
    ]);
    stage.tick(None, Ok(99.0));
    for celsius in [60.0, 70.0, 84.9] {
        assert!(stage.tick(Some(0), Ok(celsius)).is_empty());
    }
    stage.tick(Some(1), Ok(85.0));
    stage.tick(None, Ok(99.0));
    assert_eq!(
        stage.outcomes(&[]),
        [(Pass, Some(84.9)), (Fail, Some(85.0)), (Fail, Some(85.0)), (Pass, Some(60.0))]
    );
}

#[test]
fn what_was_not_read_is_no_pass() {
    let mut stage = Stage::new(&[
        threshold("host.temperature.max < 85", "one", |_| {}),
        threshold("host.temperature.max < 85", "one", |one| one.for_ms = 1_000),
        threshold("host.fan.speed.min > 0", "", |_| {}),
        threshold("cpu.load.missed == 0", "", |_| {}),
    ]);
    for _ in 0..5 {
        stage.tick(Some(0), Err(AbsenceReason::ReadFailed));
    }
    let outcomes = stage.outcomes(&[]);
    assert_eq!(outcomes, [(Inconclusive, None); 4]);
    let (all, untold) = stage.thresholds.outcomes(&[], &stage.phases);
    assert!(untold.is_empty() && all.iter().all(|result| result.reason.contains("nothing was read")));
    assert_eq!(ending(&all).unwrap().cause, Cause::ThresholdInconclusive);
}

#[test]
fn the_grace_is_left_out() {
    let graced = |text| threshold(text, "one", |one| one.grace_ms = 300);
    let mut stage = Stage::new(&[
        graced("host.temperature.max < 85"),
        threshold("host.temperature.max < 85", "one", |_| {}),
    ]);
    for celsius in [99.0, 99.0, 70.0, 71.0] {
        stage.tick(Some(0), Ok(celsius));
    }
    assert_eq!(stage.outcomes(&[]), [(Pass, Some(71.0)), (Fail, Some(99.0))]);
}

#[test]
fn single_readings_fail_once_they_have_lasted() {
    let lasting = |ms: u64| threshold("host.temperature.max < 85", "", |one| one.for_ms = ms);
    let mut stage = Stage::new(&[lasting(300), lasting(2_000)]);
    let mut failed = Vec::new();
    for celsius in [90.0, 90.0, 84.0, 85.0, 85.0, 85.0, 85.0, 70.0] {
        failed.extend(stage.tick(Some(0), Ok(celsius)));
    }
    assert_eq!(failed.len(), 1);
    assert!(!failed[0].aborts && words(&failed[0].result).contains("85.0 °C"), "{failed:?}");
    assert_eq!(stage.outcomes(&[]), [(Fail, Some(85.0)), (Pass, Some(90.0))]);
}

#[test]
fn a_failure_that_ends_the_run_is_told_at_once_and_only_once() {
    let abort = |text: &str| threshold(text, "", |one| one.abort_on_fail = true);
    let mut stage = Stage::new(&[abort("host.temperature.max < 85"), abort("host.temperature.mean < 60")]);
    // A mean of few readings says little.
    let mut failed = Vec::new();
    for _ in 0..18 {
        failed.extend(stage.tick(Some(0), Ok(70.0)));
    }
    assert!(failed.is_empty(), "{failed:?}");
    for _ in 0..10 {
        failed.extend(stage.tick(Some(0), Ok(90.0)));
    }
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|failed| failed.aborts));
    // The run ended before its time: what failed has failed.
    assert_eq!(stage.judged(&[]).iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(), [Fail, Fail]);
}

#[test]
fn of_a_run_that_was_cut_short_only_what_can_not_be_made_good_has_failed() {
    let mut stage = Stage::new(&[
        threshold("host.temperature.max < 85", "", |_| {}),
        threshold("host.temperature.max > 95", "", |_| {}),
        threshold("host.temperature.max < 99", "", |_| {}),
    ]);
    stage.tick(Some(0), Ok(90.0));
    assert_eq!(
        stage.judged(&[]),
        [(Fail, Some(90.0)), (Inconclusive, Some(90.0)), (Inconclusive, Some(90.0))]
    );
}

#[test]
fn what_a_counter_gains_is_counted_from_the_last_reading_before() {
    let mut stage = Stage::new(&[
        threshold("host.cpu.forks == 0", "two", |_| {}),
        threshold("host.cpu.forks < 10", "one", |_| {}),
    ]);
    let mut schema = Schema::new(2);
    let forks = schema.column(&HOST_CPU_FORKS, &[]);
    stage.schema = Arc::new(schema);
    for (phase, count) in
        [(None, 100.0), (Some(0), 104.0), (Some(0), 109.0), (Some(1), 109.0), (Some(1), 109.0)]
    {
        stage.begin_frame();
        stage.frame.set(forks, Ok(count));
        stage.look(phase);
    }
    assert_eq!(stage.outcomes(&[]), [(Pass, Some(0.0)), (Pass, Some(9.0))]);
}

#[test]
fn the_worst_column_counts_and_others_runs_do_not() {
    let mut stage = Stage::new(&[
        threshold("block.latency.p99 < 1ms", "", |_| {}),
        threshold("block.latency.p99 < 1ms", "", |one| {
            one.labels = vec![ssts_proto::v1::LabelMatch { name: "device".into(), value: "vda".into() }];
        }),
        threshold("disk.operations.max < 1000", "", |_| {}),
    ]);
    let layout = Layout::new(4, 36);
    let mut schema = Schema::new(2);
    let [slow, fast] =
        ["vdb", "vda"].map(|device| schema.histogram(&BLOCK_LATENCY, &[device, "read"], layout));
    let [mine, yours] = ["mine", "yours"].map(|run| schema.column(&BURNER_OPERATIONS, &[run, "0.0", "disk"]));
    stage.schema = Arc::new(schema);
    for tick in 0..10 {
        stage.begin_frame();
        stage.frame.set(mine, Ok(f64::from(tick)));
        stage.frame.set(yours, Ok(f64::from(tick) * 1e6));
        for (column, value) in [(slow, 2_000_000), (fast, 1_000)] {
            stage.frame.gain(BucketGain { column, bucket: layout.index(value) as u32, count: 50 });
        }
        stage.look(Some(0));
    }
    let outcomes = stage.outcomes(&[]);
    assert_eq!(outcomes.iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(), [Fail, Pass, Pass]);
    assert!((outcomes[2].1.unwrap() - 10.0).abs() < 1e-6, "one in 100 ms: {outcomes:?}");
}

fn result(kind: &str, phase: (usize, &str), outcome: BurnerOutcome) -> BurnerResult {
    let mut result = BurnerResult {
        kind: kind.into(),
        phase: phase.1.into(),
        phase_index: phase.0 as u32,
        target_load_percent: (kind == "cpu").then_some(50.0),
        ..BurnerResult::default()
    };
    result.set_outcome(outcome);
    result
}

#[test]
fn what_burners_counted_themselves_is_judged_at_the_end() {
    let texts = [
        "cpu.load.missed == 0",
        "memory.verify.errors == 0",
        "disk.read.latency.p99 < 20ms",
        "disk.operations >= 100",
        "disk.write.latency.p99 < 20ms",
    ];
    let mut stage = Stage::new(&texts.map(|text| threshold(text, "", |_| {})));
    let latency = OperationLatency {
        operation: "read".into(),
        count: 9,
        p99_ns: 25_000_000,
        ..OperationLatency::default()
    };
    let disk = BurnerResult {
        operations: 150,
        latencies: vec![latency],
        ..result("disk", (1, "two"), BurnerOutcome::Done)
    };
    let memory = BurnerResult { verify_errors: 1, ..result("memory", (0, "one"), BurnerOutcome::WrongData) };
    let results = [
        result("cpu", (0, "one"), BurnerOutcome::Done),
        result("cpu", (1, "two"), BurnerOutcome::Missed),
        memory,
        disk,
    ];
    assert_eq!(
        stage.outcomes(&results),
        [
            (Fail, Some(1.0)),
            (Fail, Some(1.0)),
            (Fail, Some(2.5e7)),
            (Pass, Some(150.0)),
            (Inconclusive, None)
        ]
    );
    let (_, untold) = stage.thresholds.outcomes(&results, &stage.phases);
    assert!(untold.is_empty(), "each failure is told once");
}
