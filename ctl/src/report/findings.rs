//! What was found, in plain words: what a reader would come to after an hour with the tables. Every form of the report has it.

use ssts_proto::{
    catalogue::{self, Metric},
    v1::{
        BurnerOutcome, BurnerResult, Decision, DecisionAction, DecisionPoint, EventKind, GuardOrigin,
        GuardState, MetricSummary, ReceiptState, Run, RunState, WorkerLoad,
    },
};

use super::onset::Onset;
use crate::text;

/// Of the time that a worker or a core lost to something: less is not worth a word.
const WORTH_A_WORD_PERCENT: f64 = 1.0;
/// Cores that are named one by one.
const MOST_CORES: usize = 4;
/// A core that others took so much of is no test of the host alone.
const BUSY_PERCENT: f64 = 5.0;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Something is wrong with the host, or the run did not do what was asked.
    Bad,
    /// The figures may not mean what they seem to.
    Caution,
    /// Nothing is wrong.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) text: String,
}

/// All that was found, the worst first. `onsets` say since when loads were missed, where that is known.
pub(crate) fn findings(run: &Run, onsets: &[Onset]) -> Vec<Finding> {
    let mut found = Findings::default();
    for burner in &run.burners {
        // What a phase missed that was repeated was made good, or was missed again.
        if !burner.superseded || burner.verify_errors + burner.io_errors > 0 {
            found.burner(burner, onsets);
        }
    }
    found.decisions(run);
    found.hardware(&run.telemetry);
    found.heat(&run.telemetry);
    found.guards(run);
    found.others(&run.telemetry);
    found.events(run);
    found.receipt(run);
    let is_over = run.summary.as_ref().is_some_and(|summary| summary.state() == RunState::Finished);
    if is_over && !found.0.iter().any(|finding| finding.severity != Severity::Note) {
        let done = run.burners.iter().filter(|burner| burner.outcome() == BurnerOutcome::Done).count();
        let text = match (done, run.burners.len()) {
            (_, 0) => "nothing burned".to_owned(),
            (1, 1) => "the burner did what was asked, and nothing out of the ordinary was seen".to_owned(),
            (done, all) if done == all => {
                format!("all {all} burners did what was asked, and nothing out of the ordinary was seen")
            }
            (done, all) => format!("{done} of {all} burners came to their end"),
        };
        found.add(Severity::Note, text);
    }
    found.0.sort_by_key(|finding| finding.severity);
    found.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, text: impl Into<String>) {
        self.0.push(Finding { severity, text: text.into() });
    }

    fn burner(&mut self, burner: &BurnerResult, onsets: &[Onset]) {
        let BurnerResult { phase, kind, verify_errors, io_errors, .. } = burner;
        if *verify_errors > 0 {
            let cores = cores(&burner.wrong_cores);
            let by = if cores.is_empty() { format!("the {kind} burner") } else { cores };
            let times = if *verify_errors == 1 { "once" } else { &format!("{verify_errors} times") };
            self.add(Severity::Bad, format!("{by} gave wrong data {times} in phase {phase}"));
        }
        if *io_errors > 0 {
            let error = if burner.io_error.is_empty() { "" } else { &format!(": {}", burner.io_error) };
            self.add(Severity::Bad, format!("{io_errors} I/Os failed in phase {phase}{error}"));
        }
        match burner.outcome() {
            BurnerOutcome::Missed => self.missed(burner, onsets),
            BurnerOutcome::WrongData
            | BurnerOutcome::IoErrors
            | BurnerOutcome::Done
            | BurnerOutcome::Restarted
            | BurnerOutcome::Stopped
            | BurnerOutcome::Unspecified => {}
            outcome => {
                let outcome = outcome_words(outcome);
                let reason = &burner.outcome_reason;
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.add(Severity::Bad, format!("the {kind} burner of phase {phase} {outcome}{reason}"));
            }
        }
    }

    /// Phases that were left out or repeated: what is left may not be what was meant.
    fn decisions(&mut self, run: &Run) {
        for decision in &run.decisions {
            let Decision { phase, reason, .. } = decision;
            match (decision.point(), decision.action()) {
                (DecisionPoint::Before, DecisionAction::Skip) => {
                    self.add(Severity::Caution, format!("phase {phase} was skipped: {reason}"));
                }
                (DecisionPoint::After, DecisionAction::Repeat) => {
                    self.add(Severity::Caution, format!("phase {phase} was repeated: {reason}"));
                }
                _ => {}
            }
        }
    }

    /// Those that missed their load by half of the worst miss or more: others are near their goal.
    fn missed(&mut self, burner: &BurnerResult, onsets: &[Onset]) {
        let miss = |load: &WorkerLoad| (load.asked_percent - load.achieved_percent).abs();
        let mut loads: Vec<_> =
            burner.loads.iter().enumerate().filter(|(_, load)| miss(load).is_finite()).collect();
        loads.sort_by(|(_, one), (_, other)| miss(other).total_cmp(&miss(one)));
        let Some((_, worst)) = loads.first().copied() else {
            let reason = &burner.outcome_reason;
            self.add(
                Severity::Bad,
                format!("the {} burner of phase {} missed its load: {reason}", burner.kind, burner.phase),
            );
            return;
        };
        let most = miss(worst);
        let total = loads.len();
        loads.retain(|(_, load)| miss(load) >= most / 2.0);
        if loads.len() > MOST_CORES {
            let (core, points) = (worst.core, text::trimmed(most, 0));
            self.add(
                Severity::Bad,
                format!(
                    "{} of {total} workers missed their load in phase {} by up to {points} points, most on core {core}{}",
                    loads.len(),
                    burner.phase,
                    taken(worst)
                ),
            );
            return;
        }
        for (worker, load) in loads {
            let points = text::trimmed(miss(load), usize::from(miss(load) < 9.5));
            let exceeded = if load.achieved_percent > load.asked_percent { "exceeded" } else { "missed" };
            let (asked, had) =
                (text::trimmed(load.asked_percent, 1), text::trimmed(load.achieved_percent, 1));
            let since =
                onsets.iter().find(|onset| onset.is_of(burner, worker)).map(Onset::words).unwrap_or_default();
            self.add(
                Severity::Bad,
                format!(
                    "core {} {exceeded} its load by {points} points in phase {} ({had} % of {asked} %){since}{}",
                    load.core,
                    burner.phase,
                    taken(load)
                ),
            );
        }
    }

    fn hardware(&mut self, telemetry: &[MetricSummary]) {
        let counters: [(&Metric, &str); 7] = [
            (&catalogue::HOST_EDAC_UNCORRECTED, "memory errors that ECC could not correct"),
            (&catalogue::HOST_EDAC_CORRECTED, "memory errors that ECC corrected"),
            (&catalogue::HOST_PCIE_ERRORS, "PCIe errors"),
            (&catalogue::HOST_NVME_MEDIA_ERRORS, "media errors of an NVMe drive"),
            (&catalogue::BLOCK_ERRORS, "block requests that failed"),
            (&catalogue::HOST_NETWORK_FAULTS, "faults on network links"),
            (&catalogue::HOST_VM_OOM_KILLS, "processes killed for want of memory"),
        ];
        for (metric, what) in counters {
            for summary in of(telemetry, metric) {
                let Some(count) = summary.increase.filter(|count| *count > 0.0) else { continue };
                let labels: Vec<_> = summary
                    .labels
                    .iter()
                    .filter(|label| !label.value.is_empty())
                    .map(|label| format!("{} {}", label.name, label.value))
                    .collect();
                let at = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
                self.add(Severity::Bad, format!("{} {what}{at}", text::count(count)));
            }
        }
        let told = of(telemetry, &catalogue::KERNEL_LOG_MATCHES)
            .filter(|summary| label(summary, "kind") == "machine_check")
            .filter_map(|summary| summary.increase.filter(|lines| *lines > 0.0));
        for lines in told {
            // Not how many errors: the kernel writes several lines about one.
            let lines = text::count(lines);
            self.add(Severity::Bad, format!("machine checks in the kernel's log ({lines} messages)"));
        }
    }

    fn heat(&mut self, telemetry: &[MetricSummary]) {
        let hottest =
            of(telemetry, &catalogue::HOST_TEMPERATURE).map(|summary| summary.max).max_by(f64::total_cmp);
        let at = hottest.map(|celsius| format!(", at up to {celsius:.0} °C")).unwrap_or_default();
        for (metric, label, what) in [
            (&catalogue::HOST_PACKAGE_THROTTLES, "package", "package"),
            (&catalogue::HOST_CPU_THROTTLES, "cpu", "core"),
        ] {
            let mut slowed: Vec<_> = of(telemetry, metric)
                .filter_map(|summary| {
                    let times = summary.increase.filter(|times| *times > 0.0)?;
                    Some((self::label(summary, label).to_owned(), times))
                })
                .collect();
            slowed.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            match &slowed[..] {
                [] => {}
                [(name, times)] => self.add(
                    Severity::Bad,
                    format!("{what} {name} was slowed for heat {} times{at}", text::count(*times)),
                ),
                [(name, times), ..] => self.add(
                    Severity::Bad,
                    format!(
                        "{} {what}s were slowed for heat{at}, most {what} {name}, {} times",
                        slowed.len(),
                        text::count(*times)
                    ),
                ),
            }
        }
    }

    fn guards(&mut self, run: &Run) {
        for status in run.guards.iter().filter(|status| status.trips > 0) {
            let guard = status.guard.clone().unwrap_or_default();
            let reason =
                if status.reason.is_empty() { String::new() } else { format!(": {}", status.reason) };
            let times = if status.trips == 1 { "once" } else { &format!("{} times", status.trips) };
            self.add(Severity::Bad, format!("guard {} tripped {times}{reason}", guard.name));
        }
        // Of those that somebody asked for: one that looks at nothing is no guard.
        let asked = |status: &&ssts_proto::v1::GuardStatus| {
            status.state() == GuardState::Unguarded && status.origin() == GuardOrigin::Requested
        };
        for status in run.guards.iter().filter(asked) {
            let name = status.guard.as_ref().map_or("", |guard| guard.name.as_str());
            self.add(Severity::Caution, format!("guard {name} had nothing to look at: {}", status.reason));
        }
    }

    /// Who else used the host, the hypervisor included.
    fn others(&mut self, telemetry: &[MetricSummary]) {
        let mean_percent = |summaries: Vec<f64>| {
            (!summaries.is_empty()).then(|| summaries.iter().sum::<f64>() / summaries.len() as f64 * 100.0)
        };
        let stolen = of(telemetry, &catalogue::HOST_CPU_TIME)
            .filter(|summary| label(summary, "mode") == "steal")
            .map(|summary| summary.mean)
            .collect();
        if let Some(percent) = mean_percent(stolen).filter(|percent| *percent >= WORTH_A_WORD_PERCENT) {
            self.add(
                Severity::Caution,
                format!("the hypervisor gave {percent:.1} % of the cores' time to others: figures of loads are of what was left"),
            );
        }
        let others = of(telemetry, &catalogue::SCHED_TIME)
            .filter(|summary| label(summary, "who") == "others")
            .map(|summary| summary.mean)
            .collect();
        if let Some(percent) = mean_percent(others).filter(|percent| *percent >= BUSY_PERCENT) {
            self.add(Severity::Caution, format!("other processes used {percent:.0} % of the cores' time"));
        }
    }

    fn events(&mut self, run: &Run) {
        let of_kind = |kind: EventKind| run.events.iter().filter(move |event| event.kind() == kind);
        for (kind, one, many) in [
            (
                EventKind::HardwareError,
                "a counter of hardware errors rose",
                "counters of hardware errors rose",
            ),
            (EventKind::KernelLog, "the kernel logged a warning", "the kernel logged warnings"),
        ] {
            let count = of_kind(kind).count();
            if let Some(first) = of_kind(kind).next() {
                let what = if count == 1 { one.to_owned() } else { format!("{many}, {count} times") };
                let message = text::printable(&first.message).replace('\n', " ");
                self.add(Severity::Bad, format!("{what}: {message}"));
            }
        }
    }

    fn receipt(&mut self, run: &Run) {
        let Some(receipt) = &run.receipt else { return };
        for check in receipt.checks.iter().filter(|check| check.state() == ReceiptState::Left) {
            self.add(Severity::Bad, format!("the run left something: {}: {}", check.what, check.detail));
        }
        for check in receipt.checks.iter().filter(|check| check.state() == ReceiptState::Unknown) {
            let (what, detail) = (&check.what, &check.detail);
            self.add(
                Severity::Caution,
                format!("whether the run left something can't be told: {what}: {detail}"),
            );
        }
    }
}

/// Most of what a worker lacked, where it is known who had it.
fn taken(load: &WorkerLoad) -> String {
    let miss = load.asked_percent - load.achieved_percent;
    let parts = [
        (load.derated_percent.unwrap_or_default(), "guards took"),
        (load.others_percent.unwrap_or_default(), "others used"),
        (load.waited_percent, "it waited for its core for"),
    ];
    let most = parts
        .into_iter()
        .filter(|(percent, _)| percent.is_finite())
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match most {
        Some((percent, what)) if percent >= WORTH_A_WORD_PERCENT && percent >= miss / 2.0 => {
            format!("; {what} {percent:.0} % of the time")
        }
        _ => String::new(),
    }
}

fn outcome_words(outcome: BurnerOutcome) -> &'static str {
    match outcome {
        BurnerOutcome::NothingDone => "did not do a single operation",
        BurnerOutcome::Died => "died",
        BurnerOutcome::Failed => "failed",
        BurnerOutcome::MemoryShort => "could not have all its memory",
        BurnerOutcome::OutOfMemory => "was ended by the kernel's OOM killer",
        BurnerOutcome::DiskFull => "found no room left on its file system",
        BurnerOutcome::RequestsFailed => "had too many requests fail",
        BurnerOutcome::Unspecified
        | BurnerOutcome::Done
        | BurnerOutcome::Missed
        | BurnerOutcome::WrongData
        | BurnerOutcome::IoErrors
        | BurnerOutcome::Restarted
        | BurnerOutcome::Stopped => "ended otherwise",
    }
}

fn cores(cores: &[u32]) -> String {
    match cores {
        [] => String::new(),
        [core] => format!("core {core}"),
        cores => format!("cores {}", text::core_list(cores)),
    }
}

fn of<'a>(telemetry: &'a [MetricSummary], metric: &Metric) -> impl Iterator<Item = &'a MetricSummary> {
    let name = metric.name;
    telemetry.iter().filter(move |summary| summary.metric == name)
}

fn label<'a>(summary: &'a MetricSummary, name: &str) -> &'a str {
    summary.labels.iter().find(|label| label.name == name).map_or("", |label| label.value.as_str())
}

#[cfg(test)]
pub(super) mod tests {
    use ssts_proto::v1::{Label, RunSummary, Verdict};

    use super::*;

    pub(crate) fn over(burners: Vec<BurnerResult>) -> Run {
        let summary = RunSummary {
            state: RunState::Finished.into(),
            verdict: Verdict::Pass.into(),
            scenario: "s".into(),
            ..RunSummary::default()
        };
        Run { summary: Some(summary), burners, ..Run::default() }
    }

    pub(crate) fn missed() -> BurnerResult {
        let load = |core, achieved_percent| WorkerLoad {
            core,
            asked_percent: 60.0,
            achieved_percent,
            waited_percent: 0.3,
            ..WorkerLoad::default()
        };
        BurnerResult {
            kind: "cpu".into(),
            phase: "soak".into(),
            outcome: BurnerOutcome::Missed.into(),
            loads: vec![load(2, 59.9), load(3, 49.0)],
            cores: vec![2, 3],
            workers: 2,
            ..BurnerResult::default()
        }
    }

    fn texts(run: &Run) -> Vec<String> {
        findings(run, &[]).into_iter().map(|finding| finding.text).collect()
    }

    fn summary(metric: &Metric, labels: &[(&str, &str)], mean: f64, increase: Option<f64>) -> MetricSummary {
        let labels =
            labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() });
        MetricSummary {
            metric: metric.name.into(),
            labels: labels.collect(),
            mean,
            max: mean,
            increase,
            ..MetricSummary::default()
        }
    }

    #[test]
    fn a_clean_run_says_so_in_one_line() {
        let done = BurnerResult { outcome: BurnerOutcome::Done.into(), ..BurnerResult::default() };
        let told = texts(&over(vec![done.clone(), done]));
        assert_eq!(told, ["all 2 burners did what was asked, and nothing out of the ordinary was seen"]);
        assert_eq!(texts(&Run::default()), [""; 0], "a run that goes on has no end to tell of");
    }

    #[test]
    fn a_missed_load_names_the_core_the_points_and_who_had_the_rest() {
        assert_eq!(
            texts(&over(vec![missed()])),
            ["core 3 missed its load by 11 points in phase soak (49 % of 60 %)"]
        );
        let mut burner = missed();
        burner.loads[1].others_percent = Some(10.4);
        assert!(texts(&over(vec![burner]))[0].ends_with("; others used 10 % of the time"));
        let mut burner = missed();
        burner.loads = (0..8).map(|core| WorkerLoad { core, ..burner.loads[1] }).collect();
        let told = texts(&over(vec![burner]));
        assert_eq!(
            told,
            ["8 of 8 workers missed their load in phase soak by up to 11 points, most on core 0"]
        );
    }

    #[test]
    fn heat_errors_and_thieves_are_told_the_worst_first() {
        let mut run =
            over(vec![BurnerResult { outcome: BurnerOutcome::Done.into(), ..BurnerResult::default() }]);
        run.telemetry = vec![
            summary(&catalogue::HOST_CPU_TIME, &[("cpu", "0"), ("mode", "steal")], 0.03, Some(1.0)),
            summary(&catalogue::HOST_TEMPERATURE, &[("sensor", "x")], 97.2, None),
            summary(&catalogue::HOST_PACKAGE_THROTTLES, &[("package", "0"), ("die", "")], 0.1, Some(12.0)),
            summary(&catalogue::HOST_EDAC_CORRECTED, &[("controller", "mc0"), ("dimm", "")], 0.1, Some(2.0)),
            summary(&catalogue::HOST_EDAC_UNCORRECTED, &[("controller", "mc0")], 0.0, Some(0.0)),
            summary(&catalogue::KERNEL_LOG_MATCHES, &[("kind", "machine_check")], 0.1, Some(3.0)),
            summary(&catalogue::KERNEL_LOG_MATCHES, &[("kind", "link_reset")], 0.1, Some(4.0)),
        ];
        assert_eq!(
            texts(&run),
            [
                "2 memory errors that ECC corrected (controller mc0)",
                "machine checks in the kernel's log (3 messages)",
                "package 0 was slowed for heat 12 times, at up to 97 °C",
                "the hypervisor gave 3.0 % of the cores' time to others: figures of loads are of what was left",
            ]
        );
    }

    #[test]
    fn wrong_data_and_dead_burners_are_bad() {
        let wrong = BurnerResult {
            kind: "cpu".into(),
            phase: "p".into(),
            verify_errors: 2,
            wrong_cores: vec![5],
            outcome: BurnerOutcome::WrongData.into(),
            ..BurnerResult::default()
        };
        let died = BurnerResult {
            kind: "disk".into(),
            phase: "p".into(),
            outcome: BurnerOutcome::Died.into(),
            outcome_reason: "signal 9".into(),
            ..BurnerResult::default()
        };
        let found = findings(&over(vec![wrong, died]), &[]);
        assert!(found.iter().all(|finding| finding.severity == Severity::Bad));
        assert_eq!(found[0].text, "core 5 gave wrong data 2 times in phase p");
        assert_eq!(found[1].text, "the disk burner of phase p died: signal 9");
    }
}
