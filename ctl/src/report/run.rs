//! The result of a run: verdict, burners, what the host showed meanwhile, probes, events.

use ssts_proto::v1::{
    BurnerOutcome, BurnerResult, EventKind, GuardState, OperationLatency, ProbeStatus, Run, RunState, Verdict,
};

use super::{
    decisions,
    document::{Align, Document, Table, Tone},
    findings::findings,
    guards, mismatch,
    onset::Onset,
    receipt::{receipt_section, receipt_words},
    search, telemetry, thresholds, trends, verdict_line,
};
use crate::{json, text};

/// Events shown: all of any usual run.
const MAX_EVENTS: usize = 200;

/// The whole result. `onsets` say since when loads were missed, where a record told.
pub(crate) fn run_document(run: &Run, onsets: &[Onset]) -> Document {
    let mut document = Document::default();
    let summary = run.summary.clone().unwrap_or_default();
    let tone = match summary.verdict() {
        Verdict::Pass => Tone::Good,
        Verdict::Fail | Verdict::Error => Tone::Bad,
        Verdict::Aborted => Tone::Caution,
        Verdict::Unspecified => Tone::Plain,
    };
    document.title(&format!("{} {}", summary.scenario, verdict_line(&summary)), tone);
    document.fact("run", &summary.run_id);
    if let Some(host) = &run.host {
        document.fact("host", format!("{} ({}, {})", host.hostname, host.cpu_model, host.kernel_release));
    }
    document.fact("started", json::rfc3339(summary.started_at_unix_ns));
    document.fact("duration", text::duration(summary.duration_ns / 1_000_000));
    if let Some(scenario) = &run.scenario {
        document.fact("seed", scenario.seed.to_string());
    }
    if let Some(receipt) = &run.receipt {
        document.fact("afterwards", receipt_words(receipt));
    }
    if summary.state() != RunState::Finished {
        document.fact("state", json::state_name(summary.state()));
    }
    document.section("Thresholds", thresholds::table(&run.thresholds));
    document.section("Trends", trends::table(&run.trends));
    document.section("Decisions", decisions::table(&run.decisions));
    search::sections(&run.searches, &mut document);
    document.section("Recoveries", search::recoveries(&run.recoveries));
    document.section("Settled again", search::settlings(&run.settlings));
    found(run, onsets, &mut document);
    burners(run, &mut document);
    mismatch::sections(&run.burners, &mut document);
    telemetry::host(&run.telemetry, &mut document);
    // What never had anything to look at is told in the JSON report.
    let looked: Vec<_> =
        run.guards.iter().filter(|guard| guard.state() != GuardState::Unguarded).cloned().collect();
    document.section("Guards", guards::table(&looked));
    document.section("Probes", probes(&run.probes));
    if let Some(receipt) = &run.receipt {
        receipt_section("What was left", receipt, &mut document);
    }
    events(run, &mut document);
    document
}

fn found(run: &Run, onsets: &[Onset], document: &mut Document) {
    let found = findings(run, onsets);
    if found.is_empty() {
        return;
    }
    document.heading("Found");
    for finding in found {
        document.line(&finding.text);
    }
}

fn burners(run: &Run, document: &mut Document) {
    use Align::{Left, Right};
    let mut loads = Table::new(&[
        ("phase", Left),
        ("burner", Left),
        ("variant", Left),
        ("workers", Right),
        ("cores", Left),
        ("target", Right),
        ("achieved", Right),
        ("operations", Right),
        ("operations/s", Right),
        ("bytes/s", Right),
        ("FLOP/s", Right),
        ("errors", Right),
        ("outcome", Left),
    ]);
    let mut latencies = Table::new(&[
        ("phase", Left),
        ("burner", Left),
        ("operation", Left),
        ("count", Right),
        ("p50", Right),
        ("p90", Right),
        ("p95", Right),
        ("p99", Right),
        ("p99.9", Right),
        ("max", Right),
    ]);
    let mut figures = Table::new(&[("phase", Left), ("burner", Left), ("figure", Left), ("value", Right)]);
    for burner in &run.burners {
        loads.row(load_row(burner));
        for figure in &burner.figures {
            let name = figure.name.replace('_', " ");
            let value = text::quantity(figure.value, &figure.unit);
            figures.row([burner.phase.clone(), burner.kind.clone(), name, value]);
        }
        for latency in burner.latencies.iter().filter(|latency| latency.count > 0) {
            let OperationLatency { p50_ns, p90_ns, p95_ns, p99_ns, p999_ns, max_ns, .. } = *latency;
            let times = [Some(p50_ns), Some(p90_ns), p95_ns, Some(p99_ns), Some(p999_ns), Some(max_ns)];
            let shown = |ns: Option<u64>| ns.map_or_else(|| "-".into(), |ns| text::nanoseconds(ns as f64));
            let head = [
                burner.phase.clone(),
                burner.kind.clone(),
                latency.operation.clone(),
                text::count(latency.count as f64),
            ];
            latencies.row(head.into_iter().chain(times.map(shown)));
        }
    }
    document.section("Burners", loads);
    document.section("Latency of the burners' operations", latencies);
    document.section("Figures", figures);
    document.section("Wrong words in memory", wrong_words(run));
}

fn wrong_words(run: &Run) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("phase", Left),
        ("core", Right),
        ("pattern", Left),
        ("address", Right),
        ("page frame", Right),
        ("expected", Right),
        ("got", Right),
        ("xor", Right),
        ("read again", Right),
    ]);
    for burner in &run.burners {
        for word in burner.wrong_words.iter().map(json::WrongWordOut::from) {
            table.row([
                burner.phase.clone(),
                word.core.to_string(),
                word.pattern,
                word.address,
                word.page_frame.unwrap_or_default(),
                word.expected,
                word.got.unwrap_or_default(),
                word.xor.unwrap_or_default(),
                word.again,
            ]);
        }
    }
    table
}

fn load_row(burner: &BurnerResult) -> [String; 13] {
    let measured = json::BurnerOut::from(burner);
    let rates = measured.rates();
    let achieved = burner.achieved_load_percent.filter(|mean| mean.is_finite()).map(|mean| {
        match burner.achieved_load_stddev_points {
            Some(stddev) if stddev.is_finite() => format!("{mean:.1} % ± {stddev:.1}"),
            _ => format!("{mean:.1} %"),
        }
    });
    let phase = match burner.attempt {
        attempt if attempt > 1 || burner.superseded => format!("{}, time {attempt}", burner.phase),
        _ => burner.phase.clone(),
    };
    [
        phase,
        burner.kind.clone(),
        burner.variant.clone(),
        burner.workers.to_string(),
        text::core_list(&burner.cores),
        burner
            .target_load_percent
            .map(|target| format!("{} %", text::trimmed(target, 1)))
            .unwrap_or_default(),
        achieved.unwrap_or_default(),
        text::count(burner.operations as f64),
        rates.map(|rates| text::count(rates.operations_per_s)).unwrap_or_default(),
        rates.and_then(|rates| rates.bytes_per_s).map(text::bytes).unwrap_or_default(),
        rates.and_then(|rates| rates.flops_per_s).map(text::count).unwrap_or_default(),
        errors(burner),
        outcome(burner),
    ]
}

/// In one word, and how its process ended where that was no ordinary end.
fn outcome(burner: &BurnerResult) -> String {
    let word = match burner.outcome() {
        BurnerOutcome::Unspecified => return burner.ended.clone(),
        outcome => json::plain(outcome.as_str_name(), "BURNER_OUTCOME_").replace('_', " "),
    };
    if burner.ended == "exit 0" { word } else { format!("{word}, {}", burner.ended) }
}

fn errors(burner: &BurnerResult) -> String {
    match (burner.verify_errors, burner.io_errors) {
        (0, 0) => "0".into(),
        (verify, 0) => format!("{verify} wrong results"),
        (0, io) => format!("{io} I/O"),
        (verify, io) => format!("{verify} wrong results, {io} I/O"),
    }
}

/// Which probes told the truth, and what they cost.
pub(super) fn probes(probes: &[ProbeStatus]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("probe", Left),
        ("state", Left),
        ("per event", Right),
        ("events/s", Right),
        ("of one core", Right),
        ("lost", Right),
        ("reason", Left),
    ]);
    for probe in probes {
        let state = match (probe.attached, probe.working) {
            (_, true) => "works",
            (true, false) => "attached, not seen to work",
            (false, false) => "not attached",
        };
        let cost = probe.cost.as_ref();
        table.row([
            probe.name.clone(),
            state.into(),
            cost.map(|cost| text::nanoseconds(cost.ns_per_event)).unwrap_or_default(),
            cost.map(|cost| text::count(cost.events_per_s)).unwrap_or_default(),
            cost.map(|cost| format!("{} %", text::trimmed(cost.core_share * 100.0, 3))).unwrap_or_default(),
            if probe.lost > 0 { text::count(probe.lost as f64) } else { String::new() },
            probe.reason.clone(),
        ]);
    }
    table
}

fn events(run: &Run, document: &mut Document) {
    let start = run.summary.as_ref().map_or(0, |summary| summary.started_at_unix_ns);
    let mut table = Table::new(&[("at", Align::Right), ("event", Align::Left), ("message", Align::Left)]);
    for event in run.events.iter().take(MAX_EVENTS) {
        let since = event.at_unix_ns.saturating_sub(start) as f64 / 1e9;
        let kind = match event.kind() {
            EventKind::Unspecified => String::new(),
            kind => json::plain(kind.as_str_name(), "EVENT_KIND_").replace('_', " "),
        };
        table.row([format!("{since:.3} s"), kind, event.message.clone()]);
    }
    document.section("Events", table);
    if run.events.len() > MAX_EVENTS {
        document.line(&format!("{} more: see the JSON report", run.events.len() - MAX_EVENTS));
    }
}
