//! The readings that a person wants to see, in words and figures.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue::{self, Metric},
    v1::{Event, Phase, RunState, RunSummary},
};

use super::Now;
use crate::{
    json, scenario,
    telemetry::{Labels, Telemetry},
    text,
};

/// The current phase.
#[derive(Debug, PartialEq)]
pub(super) struct PhaseView {
    /// `2/3 disk`.
    pub(super) title: String,
    pub(super) elapsed_ms: u64,
    pub(super) duration_ms: u64,
}

impl PhaseView {
    /// `0:07 left`, so that elapsed and left add up on a clock.
    pub(super) fn left(&self) -> String {
        let elapsed_ms = self.elapsed_ms / 1_000 * 1_000;
        format!("{} left", text::clock(self.duration_ms - elapsed_ms))
    }
}

/// The current phase, once one has begun.
pub(super) fn phase(now: &Now) -> Option<PhaseView> {
    let (index, phase) = current(now)?;
    let count = now.scenario.phases.len();
    Some(PhaseView {
        title: format!("{}/{count} {}", index + 1, text::printable(&phase.name)),
        elapsed_ms: now.phase_elapsed_ms().unwrap_or(0).min(phase.duration_ms),
        duration_ms: phase.duration_ms,
    })
}

/// What the run is doing, such as `running` or `paused`.
pub(super) fn state(now: &Now) -> String {
    match now.summary.state() {
        RunState::Unspecified => "starting".into(),
        state => json::state_name(state),
    }
}

/// A line for each burner of the current phase: what was asked of it, what it does.
pub(super) fn burners(now: &Now) -> Vec<String> {
    let Some((phase_index, phase)) = current(now) else { return Vec::new() };
    let line = |(index, burner)| {
        let kind = scenario::burner_kind(burner);
        let name = format!("{phase_index}.{index}");
        let readings = burner_readings(&now.telemetry, &name);
        let readings = if readings.is_empty() { "no reading yet".to_owned() } else { readings.join("  ") };
        format!("{kind}  {readings}")
    };
    phase.burners.iter().enumerate().map(line).collect()
}

/// What the host shows: load, memory, the hottest sensor, the latency of its disks.
pub(super) fn host(telemetry: &Telemetry) -> Vec<String> {
    if !telemetry.has_readings() {
        return Vec::new();
    }
    let mut parts = Vec::new();
    for (labels, prepared) in telemetry.values(&catalogue::BURNER_PREPARED).filter(|(_, done)| *done < 1.0) {
        parts.push(format!("{} {:.0} % ready", text::printable(labels.get("kind")), prepared * 100.0));
    }
    if let Some(busy) = cpu_busy_percent(telemetry) {
        parts.push(format!("CPU {busy:.0} %"));
    }
    if let Some((_, available)) = telemetry.values(&catalogue::HOST_MEMORY_AVAILABLE).next() {
        parts.push(format!("memory {} available", text::bytes(available)));
    }
    parts.push(hottest(telemetry));
    for (labels, counts) in telemetry.counts(&catalogue::BLOCK_LATENCY) {
        if let (Some(p50), Some(p99)) = (counts.quantile(0.5), counts.quantile(0.99)) {
            let (device, operation) = (labels.get("device"), labels.get("operation"));
            let name = format!("{device} {operation}");
            parts.push(format!("{} {}", text::printable(&name), quantiles(p50, p99)));
        }
    }
    parts
}

/// `+3.002 s  phase started: …`.
pub(super) fn event_line(event: &Event, summary: &RunSummary) -> String {
    let since = match summary.started_at_unix_ns {
        0 => String::new(),
        start => format!("+{:.3} s  ", event.at_unix_ns.saturating_sub(start) as f64 / 1e9),
    };
    format!("{since}{}", text::printable(&event.message))
}

fn current(now: &Now) -> Option<(usize, &Phase)> {
    let index = now.summary.phase_index? as usize;
    Some((index, now.scenario.phases.get(index)?))
}

fn burner_readings(telemetry: &Telemetry, name: &str) -> Vec<String> {
    let is_it = |labels: &Labels| labels.get("burner") == name;
    let mean = |readings: Vec<f64>| {
        let count = readings.len() as f64;
        (count > 0.0).then(|| readings.iter().sum::<f64>() / count * 100.0)
    };
    let rate = |metric: &Metric| {
        telemetry
            .rates(metric)
            .filter(|(labels, _)| is_it(labels))
            .map(|(_, rate)| rate)
            .reduce(|sum, rate| sum + rate)
    };
    let of = |readings: &mut dyn Iterator<Item = (&Labels, f64)>| {
        readings.filter(|(labels, _)| is_it(labels)).map(|(_, value)| value).collect()
    };
    let target = mean(of(&mut telemetry.values(&catalogue::BURNER_TARGET)));
    let achieved = mean(of(&mut telemetry.rates(&catalogue::BURNER_ON_CPU_TIME)));
    let errors: f64 = [&catalogue::BURNER_VERIFY_ERRORS, &catalogue::BURNER_IO_ERRORS]
        .into_iter()
        .flat_map(|metric| telemetry.values(metric))
        .filter(|(labels, _)| is_it(labels))
        .map(|(_, value)| value)
        .sum();

    let mut parts = Vec::new();
    match (target, achieved) {
        (Some(target), Some(achieved)) => {
            parts.push(format!("target {target:.0} %  achieved {achieved:.1} %"));
        }
        (Some(target), None) => parts.push(format!("target {target:.0} %")),
        (None, Some(achieved)) => parts.push(format!("on CPU {achieved:.1} %")),
        (None, None) => {}
    }
    parts.extend(rate(&catalogue::BURNER_OPERATIONS).map(|rate| format!("{} ops/s", text::count(rate))));
    let moving = rate(&catalogue::BURNER_BYTES).filter(|rate| *rate > 0.0);
    parts.extend(moving.map(|rate| format!("{}/s", text::bytes(rate))));
    let computing = rate(&catalogue::BURNER_FLOPS).filter(|rate| *rate > 0.0);
    parts.extend(computing.map(|rate| format!("{}FLOP/s", text::count(rate))));
    for (labels, counts) in telemetry.counts(&catalogue::BURNER_LATENCY).filter(|(labels, _)| is_it(labels)) {
        if let (Some(p50), Some(p99)) = (counts.quantile(0.5), counts.quantile(0.99)) {
            parts.push(format!("{} {}", labels.get("operation"), quantiles(p50, p99)));
        }
    }
    if errors > 0.0 {
        parts.push(format!("{errors} errors"));
    }
    parts
}

fn quantiles(p50_ns: u64, p99_ns: u64) -> String {
    format!("p50 {} p99 {}", text::nanoseconds(p50_ns as f64), text::nanoseconds(p99_ns as f64))
}

/// Mean over the cores of the time spent in any mode but idle and waiting for I/O.
fn cpu_busy_percent(telemetry: &Telemetry) -> Option<f64> {
    let mut cores: BTreeMap<&str, f64> = BTreeMap::new();
    for (labels, rate) in telemetry.rates(&catalogue::HOST_CPU_TIME) {
        let busy = cores.entry(labels.get("cpu")).or_default();
        if !matches!(labels.get("mode"), "idle" | "iowait") {
            *busy += rate;
        }
    }
    // The kernel counts in ticks of 10 ms: over a short window a core may seem to have had more than there was.
    (!cores.is_empty()).then(|| (cores.values().sum::<f64>() / cores.len() as f64 * 100.0).min(100.0))
}

fn hottest(telemetry: &Telemetry) -> String {
    let readings = telemetry.values(&catalogue::HOST_TEMPERATURE);
    readings.max_by(|a, b| a.1.total_cmp(&b.1)).map_or_else(
        || "no sensor".into(),
        |(labels, celsius)| format!("hottest {celsius:.1} °C ({})", text::printable(labels.get("sensor"))),
    )
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{
        Burner, CpuBurner, DiskBurner, Frame, HistogramDelta, HistogramLayout, Schema, burner,
    };

    use super::*;
    use crate::telemetry::tests::{column, histogram};

    fn in_phase_two() -> Now {
        let burners = [burner::Kind::Cpu(CpuBurner::default()), burner::Kind::Disk(DiskBurner::default())];
        let burners = burners.map(|kind| Burner { kind: Some(kind) }).to_vec();
        let phases = vec![
            Phase { name: "one".into(), duration_ms: 1_000, ..Phase::default() },
            Phase { name: "two".into(), duration_ms: 5_000, burners, ..Phase::default() },
        ];
        let mut now = Now::default();
        now.scenario.phases = phases;
        now.summary.phase_index = Some(1);
        now.summary.phase_elapsed_ns = Some(2_000_000_000);
        let workers = [["r", "1.0", "cpu", "0"], ["r", "1.0", "cpu", "1"]];
        let mut columns: Vec<_> =
            workers.iter().map(|labels| column(&catalogue::BURNER_TARGET, labels)).collect();
        columns.extend(workers.iter().map(|labels| column(&catalogue::BURNER_ON_CPU_TIME, labels)));
        columns.push(column(&catalogue::BURNER_FLOPS, &["r", "1.0", "cpu"]));
        columns.push(column(&catalogue::BURNER_OPERATIONS, &["r", "1.1", "disk"]));
        columns.push(column(&catalogue::HOST_CPU_TIME, &["0", "user"]));
        columns.push(column(&catalogue::HOST_CPU_TIME, &["0", "idle"]));
        now.telemetry.accept_schema(Schema {
            id: 1,
            columns,
            histograms: vec![histogram(&catalogue::BURNER_LATENCY, &["r", "1.1", "disk", "read"])],
            layouts: vec![HistogramLayout { upper_bounds: vec![1_000, 2_000] }],
            ..Schema::default()
        });
        for (end_ns, values) in [
            (1_000_000_000, vec![0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (2_000_000_000, vec![0.5, 0.5, 0.4, 0.5, 2e9, 500.0, 0.75, 0.25]),
        ] {
            let histograms = vec![HistogramDelta { column: 0, buckets: vec![0, 1], counts: vec![9, 1] }];
            now.telemetry
                .accept_frame(&Frame { schema_id: 1, end_ns, values, histograms, ..Frame::default() })
                .unwrap();
        }
        now
    }

    #[test]
    fn burners_of_the_current_phase_are_shown_with_target_and_achievement() {
        let lines = burners(&in_phase_two());
        assert_eq!(
            lines,
            [
                "cpu  target 50 %  achieved 45.0 %  2.00 GFLOP/s",
                "disk  500 ops/s  read p50 1.00 µs p99 2.00 µs"
            ]
        );
    }

    #[test]
    fn the_phase_is_shown_with_its_place_and_time() {
        let now = in_phase_two();
        let expected = PhaseView { title: "2/2 two".into(), elapsed_ms: 2_000, duration_ms: 5_000 };
        assert_eq!(phase(&now), Some(expected));
        assert_eq!(phase(&Now::default()), None);
    }

    #[test]
    fn a_burner_that_makes_ready_shows_how_far_it_is() {
        let mut telemetry = Telemetry::default();
        let columns = vec![column(&catalogue::BURNER_PREPARED, &["r", "0.0", "disk"])];
        telemetry.accept_schema(Schema { id: 1, columns, ..Schema::default() });
        let frame = |value| Frame { schema_id: 1, values: vec![value], ..Frame::default() };
        telemetry.accept_frame(&frame(0.45)).unwrap();
        assert_eq!(host(&telemetry), ["disk 45 % ready", "no sensor"]);
        telemetry.accept_frame(&frame(1.0)).unwrap();
        assert_eq!(host(&telemetry), ["no sensor"]);
    }

    #[test]
    fn a_host_without_sensor_says_so() {
        assert_eq!(host(&in_phase_two().telemetry), ["CPU 75 %", "no sensor"]);
        assert!(host(&Telemetry::default()).is_empty());
    }
}
