//! What the host showed during a run, in the few lines that a reader wants first.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue::{self, Metric},
    v1::MetricSummary,
};

use super::document::{Align, Document, Table};
use crate::text;

/// Load and who took from it, memory, temperature, pressure; latencies of block devices and of the run queue.
pub(super) fn host(telemetry: &[MetricSummary], document: &mut Document) {
    if telemetry.is_empty() {
        return;
    }
    document.heading("Host");
    document.fact("CPU busy", cpu_busy(telemetry));
    document.fact("CPU stolen", stolen(telemetry));
    document.fact("cores' time", core_time(telemetry));
    document.fact("taken from burners by", preempters(telemetry));
    document.fact("interrupts", interrupts(telemetry));
    document.fact("TCP of burners", tcp(telemetry, "burner"));
    document.fact("TCP of others", tcp(telemetry, "others"));
    document.fact("packets dropped", drops(telemetry));
    document.fact("memory available", memory(telemetry));
    document.fact("temperature", temperature(telemetry));
    document.fact("waiting for", pressure(telemetry));
    let device = [("device", "device"), ("operation", "operation")];
    document.section("Latency of block devices", latencies(telemetry, &catalogue::BLOCK_LATENCY, &device));
    document.section("Waits before that", latencies(telemetry, &catalogue::BLOCK_QUEUE, &device));
    let core = [("cpu", "core")];
    document.section("Run-queue latency", latencies(telemetry, &catalogue::RUNQUEUE_LATENCY, &core));
    let who = [("who", "sockets of")];
    document.section("TCP connects", latencies(telemetry, &catalogue::TCP_CONNECT_LATENCY, &who));
    let trip = [("who", "sockets of"), ("at", "at")];
    document.section("TCP round trips", latencies(telemetry, &catalogue::TCP_RTT, &trip));
}

/// Of a core: all modes but idle and waiting for I/O.
fn cpu_busy(telemetry: &[MetricSummary]) -> String {
    let mut cores: BTreeMap<u32, f64> = BTreeMap::new();
    for summary in of(telemetry, &catalogue::HOST_CPU_TIME) {
        if let Ok(cpu) = label(summary, "cpu").parse() {
            let busy = cores.entry(cpu).or_default();
            if !matches!(label(summary, "mode"), "idle" | "iowait") {
                *busy += summary.mean * 100.0;
            }
        }
    }
    let shown: Vec<_> = cores.iter().take(16).map(|(cpu, busy)| format!("{cpu}: {busy:.0} %")).collect();
    let mean = cores.values().sum::<f64>() / cores.len() as f64;
    match cores.len() {
        0 => String::new(),
        1..=16 => format!("mean {mean:.1} % (by core {})", shown.join(", ")),
        cores => format!("mean {mean:.1} % of {cores} cores"),
    }
}

/// Said only where it matters: a burner can't have what the hypervisor gave to others.
fn stolen(telemetry: &[MetricSummary]) -> String {
    let stolen: Vec<_> = of(telemetry, &catalogue::HOST_CPU_TIME)
        .filter(|summary| label(summary, "mode") == "steal")
        .map(|summary| summary.mean * 100.0)
        .collect();
    let mean = stolen.iter().sum::<f64>() / stolen.len() as f64;
    if mean >= 0.1 { format!("mean {mean:.1} % of a core, by the hypervisor") } else { String::new() }
}

/// What ran, as the scheduler probe splits it: mean over cores.
fn core_time(telemetry: &[MetricSummary]) -> String {
    let share = |who: &str| {
        let of_cores = of(telemetry, &catalogue::SCHED_TIME).filter(|summary| label(summary, "who") == who);
        let shares: Vec<_> = of_cores.map(|summary| summary.mean * 100.0).collect();
        (!shares.is_empty())
            .then(|| format!("{who} {:.1} %", shares.iter().sum::<f64>() / shares.len() as f64))
    };
    ["burner", "others", "idle"].into_iter().filter_map(share).collect::<Vec<_>>().join(", ")
}

/// Those who took most of a core from a burner first.
fn preempters(telemetry: &[MetricSummary]) -> String {
    let mut tasks: Vec<_> =
        of(telemetry, &catalogue::SCHED_BURNER_PREEMPTED_TIME).filter(|summary| summary.mean > 0.0).collect();
    tasks.sort_by(|one, other| other.mean.total_cmp(&one.mean));
    let told = |summary: &&MetricSummary| {
        let task = label(summary, "task");
        let often =
            of(telemetry, &catalogue::SCHED_BURNER_PREEMPTIONS).find(|other| label(other, "task") == task);
        let often = often.map_or(0.0, |often| often.mean);
        format!("{task} ({often:.1} times/s, {:.2} % of a core)", summary.mean * 100.0)
    };
    tasks.iter().take(3).map(told).collect::<Vec<_>>().join(", ")
}

/// All of them together, and which took most on one core.
fn interrupts(telemetry: &[MetricSummary]) -> String {
    let hard = of(telemetry, &catalogue::IRQ_HARD_TIME).map(|summary| (summary, label(summary, "irq")));
    let soft = of(telemetry, &catalogue::IRQ_SOFT_TIME).map(|summary| (summary, label(summary, "vector")));
    let all: Vec<_> = hard.chain(soft).collect();
    let total: f64 = all.iter().map(|(summary, _)| summary.mean).sum();
    all.iter()
        .max_by(|(one, _), (other, _)| one.mean.total_cmp(&other.mean))
        .map(|(most, name)| {
            let (total, share, core) = (total * 100.0, most.mean * 100.0, label(most, "cpu"));
            format!("{total:.2} % of a core; most by {name} on core {core}, {share:.2} %")
        })
        .unwrap_or_default()
}

/// What went wrong on connections; nothing where nothing did.
fn tcp(telemetry: &[MetricSummary], who: &str) -> String {
    let sum = |metric| {
        let of_them = of(telemetry, metric).filter(|summary| label(summary, "who") == who);
        of_them.filter_map(|summary| summary.increase).sum::<f64>()
    };
    let counts = [
        (sum(&catalogue::TCP_RETRANSMITS), "segments sent again"),
        (sum(&catalogue::TCP_FAILED_CONNECTS), "connects failed"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0.0);
    told.map(|(count, what)| format!("{} {what}", text::count(*count))).collect::<Vec<_>>().join(", ")
}

/// Most frequent first.
fn drops(telemetry: &[MetricSummary]) -> String {
    let mut pairs: Vec<_> = of(telemetry, &catalogue::NETWORK_DROPS)
        .filter_map(|summary| Some((summary, summary.increase.filter(|count| *count > 0.0)?)))
        .collect();
    pairs.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let told = |(summary, count): &(&MetricSummary, f64)| {
        format!("{} {} at {}", text::count(*count), label(summary, "reason"), label(summary, "interface"))
    };
    pairs.iter().take(3).map(told).collect::<Vec<_>>().join(", ")
}

fn memory(telemetry: &[MetricSummary]) -> String {
    let available = of(telemetry, &catalogue::HOST_MEMORY_AVAILABLE).next();
    available
        .map(|summary| format!("least {}, mean {}", text::bytes(summary.min), text::bytes(summary.mean)))
        .unwrap_or_default()
}

fn temperature(telemetry: &[MetricSummary]) -> String {
    of(telemetry, &catalogue::HOST_TEMPERATURE).max_by(|a, b| a.max.total_cmp(&b.max)).map_or_else(
        || "no sensor".into(),
        |summary| {
            let (sensor, name) = (label(summary, "sensor"), label(summary, "label"));
            format!("highest {:.1} °C, mean {:.1} °C ({sensor} {name})", summary.max, summary.mean)
        },
    )
}

/// The share of time that some task waited for a resource.
fn pressure(telemetry: &[MetricSummary]) -> String {
    let shares: Vec<_> = of(telemetry, &catalogue::HOST_PRESSURE_STALLED)
        .filter(|summary| label(summary, "share") == "some")
        .map(|summary| format!("{} {:.1} %", label(summary, "resource"), summary.mean * 100.0))
        .collect();
    shares.join(", ")
}

/// A row for each histogram of the metric. `labels`: the label's name, and the column's.
fn latencies(telemetry: &[MetricSummary], metric: &Metric, labels: &[(&str, &str)]) -> Table {
    let left = labels.iter().map(|(_, column)| (*column, Align::Left));
    let right = ["samples", "p50", "p95", "p99", "max"].map(|column| (column, Align::Right));
    let mut table = Table::new(&left.chain(right).collect::<Vec<_>>());
    for summary in of(telemetry, metric).filter(|summary| summary.samples > 0) {
        let names = labels.iter().map(|(name, _)| label(summary, name).to_owned());
        let times = [summary.p50, summary.p95, summary.p99, summary.max].map(text::nanoseconds);
        table.row(names.chain([text::count(summary.samples as f64)]).chain(times));
    }
    table
}

fn of<'a>(telemetry: &'a [MetricSummary], metric: &Metric) -> impl Iterator<Item = &'a MetricSummary> {
    let name = metric.name;
    telemetry.iter().filter(move |summary| summary.metric == name)
}

fn label<'a>(summary: &'a MetricSummary, name: &str) -> &'a str {
    summary.labels.iter().find(|label| label.name == name).map_or("", |label| label.value.as_str())
}
