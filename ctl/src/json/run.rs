//! The result of a run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use ssts_proto::v1::{BurnerResult, Event, Limits, MetricSummary, OperationLatency, Run, WorkerLoad};

use super::{
    DecisionOut, GuardOut, PlatformOut, ProbeOut, ProcessOut, ReceiptOut, RecoveryOut, SearchOut,
    SettlingOut, ThresholdOut, TrendResultOut, WrongWordOut, cause, known, mismatch::MismatchOut, outcome,
    plain, present, resolved, rfc3339, seconds, verdict,
};
use crate::report::{Finding, Severity, findings};

/// Of `burn`, `run`, `watch RUN` and `report`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Result")]
pub(crate) struct ResultOut {
    run_id: String,
    scenario: String,
    /// `pass`, `fail`, `aborted` or `error`; absent while the run goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    /// Why it ended as it did, such as `completed` or `guard_tripped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// What it came to: `pass`, `fail_hw` (wrong results, I/O errors), `fail_sw`, `aborted_by`, `stopped_by`, `inconclusive` or `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The cause in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause_message: Option<String>,
    /// RFC 3339.
    started_at: String,
    duration_s: f64,
    /// Gives the same operations again on the same host.
    seed: u64,
    /// The scenario as it was carried out, every default filled in: protobuf's JSON of `Scenario` in `scenario.proto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_scenario: Option<serde_json::Value>,
    hosts: Vec<HostOut>,
    thresholds: Vec<ThresholdOut>,
    /// How what was measured went on, by the scenario's trends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trends: Vec<TrendResultOut>,
    /// What was decided between phases, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<DecisionOut>,
    /// Of phases that searched for a load.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    searches: Vec<SearchOut>,
    /// Burners that died and were started anew, in the order of their deaths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recoveries: Vec<RecoveryOut>,
    /// How soon the host was as it had been, in phases that are to settle like an earlier one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settlings: Vec<SettlingOut>,
    /// What was found, in plain words; the worst first.
    findings: Vec<FindingOut>,
}

/// One thing that was found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub(super) struct FindingOut {
    /// `bad`, `caution` or `note`.
    severity: String,
    text: String,
}

impl From<Finding> for FindingOut {
    fn from(finding: Finding) -> Self {
        let severity = match finding.severity {
            Severity::Bad => "bad",
            Severity::Caution => "caution",
            Severity::Note => "note",
        };
        Self { severity: severity.to_owned(), text: finding.text }
    }
}

/// What one host did.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HostResult")]
pub(super) struct HostOut {
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
    /// What it is made of and how it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformOut>,
    burners: Vec<BurnerOut>,
    /// By metric.
    telemetry: BTreeMap<String, Vec<SummaryOut>>,
    events: Vec<EventOut>,
    probes: Vec<ProbeOut>,
    /// What was seen of the host afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptOut>,
    /// Other processes that used the host: the busiest by CPU time first, then others by I/O.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<ProcessOut>,
    /// The limits that were enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsOut>,
    /// The run's own guards, then the host's, as they stood at its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guards: Vec<GuardOut>,
}

/// What one burner did in one phase.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Burner")]
pub(crate) struct BurnerOut {
    /// `cpu`, `disk` or `memory`.
    kind: String,
    phase: String,
    phase_index: u32,
    burner_index: u32,
    /// What it chose itself, such as `fma avx512`.
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    workers: u32,
    cores: Vec<u32>,
    /// Mean over workers and time, percent of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_load: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    achieved_load: Option<LoadOut>,
    /// For each worker that burned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    worker_loads: Vec<WorkerLoadOut>,
    operations: u64,
    /// Moved to and from a device or memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Floating-point operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    flops: Option<u64>,
    /// Between the first and the last burning instruction, pauses left out.
    burning_s: f64,
    /// Totals over the burning time.
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<RatesOut>,
    /// Of all its I/Os, where they are of one kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ns: Option<LatencyOut>,
    /// By `read` and `write`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    latency_by_operation: BTreeMap<String, LatencyOut>,
    /// What only burners of this kind count, or these settings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    figures: BTreeMap<String, FigureOut>,
    errors: ErrorsOut,
    /// Wrong results, one for each worker that found one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mismatches: Vec<MismatchOut>,
    /// Words of memory that were not what had been written: the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wrong_words: Vec<WrongWordOut>,
    /// What became of it: `done`, `missed`, `wrong_data`, `io_errors`, `nothing_done`, `died`, `restarted`, `failed`, `stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// Why, where it is not `done` and can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome_reason: Option<String>,
    /// How its process ended, such as `exit 0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// From the command to the first burning instruction of its last worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_after_s: Option<f64>,
    /// How far from the phase's start its workers began, the greatest distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_skew_s: Option<f64>,
    /// What guards took of the load, percent of what was asked, mean over workers and time.
    #[serde(skip_serializing_if = "Option::is_none")]
    derated_percent: Option<f64>,
    /// Which time of its phase it was, where that was carried out more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// The phase was repeated after it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    superseded: bool,
}

/// A number about a burner, all workers together.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Figure")]
struct FigureOut {
    value: f64,
    /// UCUM's short form: `By`, `s`, `ns`; `1` for a count or a ratio.
    unit: String,
}

/// Percent of a core, by the workers' own CPU clocks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Load")]
struct LoadOut {
    mean: f64,
    /// Over windows of 100 ms, percentage points.
    #[serde(skip_serializing_if = "Option::is_none")]
    stddev: Option<f64>,
}

/// Asked and achieved load of one worker, percent of its core. In mode `core` all that ran there counts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WorkerLoad")]
struct WorkerLoadOut {
    core: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    achieved: Option<f64>,
    /// Of what was achieved less what was asked, over windows of 100 ms, percentage points.
    #[serde(skip_serializing_if = "Option::is_none")]
    stddev: Option<f64>,
    /// The window that was off most: achieved less asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst: Option<f64>,
    /// What others used of the core. Only in mode `core`.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<f64>,
    /// Time that it could run and had to wait for its core, percent of the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<f64>,
    /// What guards took of the load that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    derated: Option<f64>,
}

impl From<&WorkerLoad> for WorkerLoadOut {
    fn from(load: &WorkerLoad) -> Self {
        Self {
            core: load.core,
            asked: known(load.asked_percent),
            achieved: known(load.achieved_percent),
            stddev: load.stddev_points.and_then(known),
            worst: load.worst_points.and_then(known),
            others: load.others_percent.and_then(known),
            waited: known(load.waited_percent),
            derated: load.derated_percent.and_then(known),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Rates")]
pub(crate) struct RatesOut {
    pub(crate) operations_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flops_per_s: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Latency")]
struct LatencyOut {
    count: u64,
    p50: u64,
    p90: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p95: Option<u64>,
    p99: u64,
    p999: u64,
    max: u64,
}

impl From<&OperationLatency> for LatencyOut {
    fn from(latency: &OperationLatency) -> Self {
        let OperationLatency { operation: _, count, p50_ns, p90_ns, p95_ns, p99_ns, p999_ns, max_ns } =
            *latency;
        Self { count, p50: p50_ns, p90: p90_ns, p95: p95_ns, p99: p99_ns, p999: p999_ns, max: max_ns }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Errors")]
struct ErrorsOut {
    /// Results that did not match their known answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<u64>,
    /// I/Os that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    io: Option<u64>,
}

impl From<&BurnerResult> for BurnerOut {
    fn from(burner: &BurnerResult) -> Self {
        let is_disk = burner.kind == "disk";
        let is_cpu = burner.kind == "cpu";
        let verifies_memory = burner.kind == "memory" && burner.variant.starts_with("verify");
        let applies = |number: u64, always: bool| (always || number > 0).then_some(number);
        let bytes = applies(burner.bytes, is_disk);
        let flops = applies(burner.flops, false);
        let burning_s = seconds(burner.burning_ns);
        let rates = (burner.burning_ns > 0).then(|| RatesOut {
            operations_per_s: burner.operations as f64 / burning_s,
            bytes_per_s: bytes.map(|bytes| bytes as f64 / burning_s),
            flops_per_s: flops.map(|flops| flops as f64 / burning_s),
        });
        let measured: Vec<_> = burner.latencies.iter().filter(|latency| latency.count > 0).collect();
        let latency_ns = match measured[..] {
            [only] => Some(only.into()),
            _ => None,
        };
        Self {
            kind: burner.kind.clone(),
            phase: burner.phase.clone(),
            phase_index: burner.phase_index,
            burner_index: burner.burner_index,
            variant: present(&burner.variant),
            workers: burner.workers,
            cores: burner.cores.clone(),
            target_load: burner.target_load_percent.and_then(known),
            achieved_load: burner
                .achieved_load_percent
                .and_then(known)
                .map(|mean| LoadOut { mean, stddev: burner.achieved_load_stddev_points.and_then(known) }),
            worker_loads: burner.loads.iter().map(WorkerLoadOut::from).collect(),
            operations: burner.operations,
            bytes,
            flops,
            burning_s,
            rates,
            latency_ns,
            latency_by_operation: measured
                .iter()
                .map(|latency| (latency.operation.clone(), (*latency).into()))
                .collect(),
            figures: (burner.figures.iter())
                .filter_map(|figure| {
                    let value = known(figure.value)?;
                    Some((figure.name.clone(), FigureOut { value, unit: figure.unit.clone() }))
                })
                .collect(),
            errors: ErrorsOut {
                verify: applies(burner.verify_errors, is_cpu || verifies_memory),
                io: applies(burner.io_errors, is_disk),
            },
            mismatches: burner.mismatches.iter().map(MismatchOut::from).collect(),
            wrong_words: burner.wrong_words.iter().map(WrongWordOut::from).collect(),
            outcome: Some(plain(burner.outcome().as_str_name(), "BURNER_OUTCOME_"))
                .filter(|outcome| outcome != "unspecified"),
            outcome_reason: present(&burner.outcome_reason),
            ended: present(&burner.ended),
            ready_after_s: burner.ready_after_ns.map(seconds),
            start_skew_s: burner.start_skew_ns.map(|ns| ns as f64 / 1e9),
            derated_percent: burner.derated_percent.and_then(known),
            attempt: Some(burner.attempt).filter(|attempt| *attempt > 1 || burner.superseded),
            superseded: burner.superseded,
        }
    }
}

impl BurnerOut {
    pub(crate) fn rates(&self) -> Option<&RatesOut> {
        self.rates.as_ref()
    }
}

/// One metric with one set of labels over the run. Of a counter, its rate.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MetricSummary")]
struct SummaryOut {
    labels: BTreeMap<String, String>,
    unit: String,
    samples: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p95: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<f64>,
    /// Of a counter: by how much it rose during the run, in the metric's own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    increase: Option<f64>,
}

impl From<&MetricSummary> for SummaryOut {
    fn from(summary: &MetricSummary) -> Self {
        Self {
            labels: summary.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect(),
            unit: summary.unit.clone(),
            samples: summary.samples,
            min: known(summary.min),
            mean: known(summary.mean),
            p50: known(summary.p50),
            p95: known(summary.p95),
            p99: known(summary.p99),
            max: known(summary.max),
            last: summary.last.and_then(known),
            increase: summary.increase.and_then(known),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
struct EventOut {
    /// RFC 3339.
    at: String,
    /// Such as `phase_started`.
    kind: String,
    /// For people.
    message: String,
    /// For programs, such as `phase`, `burner`, `signal`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
}

impl From<&Event> for EventOut {
    fn from(event: &Event) -> Self {
        Self {
            at: rfc3339(event.at_unix_ns),
            kind: plain(event.kind().as_str_name(), "EVENT_KIND_"),
            message: event.message.clone(),
            fields: event.fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Limits")]
pub(crate) struct LimitsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_duration_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_available_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_temperature_celsius: Option<f64>,
}

impl From<&Limits> for LimitsOut {
    fn from(limits: &Limits) -> Self {
        Self {
            max_duration_s: limits.max_duration_ms.map(|ms| ms as f64 / 1e3),
            min_available_memory_bytes: limits.min_available_memory_bytes,
            max_temperature_celsius: limits.max_temperature_celsius,
        }
    }
}

impl HostOut {
    /// Under a name of the caller's choice.
    pub(super) fn named(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }
}

impl From<&Run> for HostOut {
    fn from(run: &Run) -> Self {
        let host = run.host.clone().unwrap_or_default();
        let mut telemetry: BTreeMap<String, Vec<SummaryOut>> = BTreeMap::new();
        for metric in &run.telemetry {
            telemetry.entry(metric.metric.clone()).or_default().push(metric.into());
        }
        Self {
            platform: PlatformOut::of(&host),
            host: host.hostname,
            verdict: run.summary.as_ref().and_then(verdict),
            kernel_release: present(&host.kernel_release),
            agent_version: present(&host.agent_version),
            burners: run.burners.iter().map(BurnerOut::from).collect(),
            telemetry,
            events: run.events.iter().map(EventOut::from).collect(),
            probes: run.probes.iter().map(ProbeOut::from).collect(),
            receipt: run.receipt.as_ref().map(ReceiptOut::from),
            processes: run.processes.iter().map(ProcessOut::from).collect(),
            limits: run.limits.as_ref().map(LimitsOut::from),
            guards: run.guards.iter().map(GuardOut::from).collect(),
        }
    }
}

impl From<&Run> for ResultOut {
    fn from(run: &Run) -> Self {
        let summary = run.summary.clone().unwrap_or_default();
        Self {
            verdict: verdict(&summary),
            cause: cause(&summary),
            outcome: outcome(&summary).map(str::to_owned),
            cause_message: present(&summary.cause_message),
            started_at: rfc3339(summary.started_at_unix_ns),
            duration_s: seconds(summary.duration_ns),
            run_id: summary.run_id,
            scenario: summary.scenario,
            seed: run.scenario.as_ref().map_or(0, |scenario| scenario.seed),
            resolved_scenario: run.scenario.as_ref().and_then(resolved),
            hosts: vec![run.into()],
            thresholds: run.thresholds.iter().map(ThresholdOut::from).collect(),
            trends: run.trends.iter().map(TrendResultOut::from).collect(),
            decisions: run.decisions.iter().map(DecisionOut::from).collect(),
            searches: run.searches.iter().map(SearchOut::from).collect(),
            recoveries: run.recoveries.iter().map(RecoveryOut::from).collect(),
            settlings: run.settlings.iter().map(SettlingOut::from).collect(),
            findings: findings(run, &[]).into_iter().map(FindingOut::from).collect(),
        }
    }
}
