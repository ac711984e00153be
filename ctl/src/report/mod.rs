//! Results for people: built once as a document, then written for a terminal or as Markdown; and for CI servers and spreadsheets.

mod csv;
mod decisions;
mod document;
mod files;
mod findings;
mod fleet_plan;
mod fleet_run;
mod guards;
mod host;
mod junit;
pub(crate) mod junit_xml;
mod markdown;
mod mismatch;
mod onset;
mod pdf;
mod plan;
mod receipt;
mod run;
mod search;
mod sparkline;
mod telemetry;
mod terminal;
mod thresholds;
mod trends;
mod waves;

use ssts_proto::v1::{Cause, Run, RunSummary, Verdict};

pub(crate) use self::{
    csv::to_csv,
    decisions::{failure_words, requirement_words},
    document::{Align, Block, Document, Table, Tone},
    files::{prepare_folder, replace_file, write_files},
    findings::{Finding, Severity, findings},
    fleet_plan::fleet_plan_document,
    fleet_run::fleet_document,
    guards::table as guards_table,
    host::host_document,
    junit::to_junit,
    markdown::to_markdown,
    onset::{METRICS as ONSET_METRICS, Onset, onsets, wants_record},
    pdf::to_pdf,
    plan::{burner_words, plan_document},
    receipt::{receipt_section, receipt_words},
    run::run_document,
    sparkline::sparkline,
    terminal::to_terminal,
    thresholds::bound as threshold_bound,
    waves::{fleet_thresholds_table, waves_table},
};
use crate::error::Exit;

/// What a run's end means to whoever started it.
pub(crate) fn exit(run: &Run) -> Exit {
    let Some(summary) = &run.summary else { return Exit::Internal };
    let wrong_data = run.burners.iter().any(|burner| burner.verify_errors > 0);
    if wrong_data || summary.cause() == Cause::WrongData {
        return Exit::WrongData;
    }
    match summary.verdict() {
        Verdict::Pass => Exit::Pass,
        Verdict::Fail => Exit::ThresholdFailed,
        Verdict::Aborted => Exit::Aborted,
        Verdict::Error => Exit::AgentFailed,
        Verdict::Unspecified => Exit::Internal,
    }
}

/// The verdict and why, such as `aborted: a guard tripped: …`.
pub(crate) fn verdict_line(summary: &RunSummary) -> String {
    let cause =
        if summary.cause_message.is_empty() { cause_words(summary.cause()) } else { &summary.cause_message };
    match crate::json::verdict(summary) {
        Some(verdict) if cause.is_empty() => verdict,
        Some(verdict) => format!("{verdict}: {cause}"),
        None => crate::json::state_name(summary.state()),
    }
}

/// The cause, where the agent did not put it into words.
fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Unspecified => "",
        Cause::Completed => "every phase came to its end",
        Cause::StoppedByUser => "stopped by a user",
        Cause::Halted => "halted",
        Cause::GuardTripped => "a guard tripped",
        Cause::LeaseExpired => "its lease was not renewed",
        Cause::Released => "it was prepared, and released before it began",
        Cause::NotBegun => "it was prepared, and nobody began it in time",
        Cause::AgentStopped => "the agent was told to stop",
        Cause::BurnerDied => "a burner died",
        Cause::BurnerFailed => "a burner failed",
        Cause::PeerLost => "the host at the other end was lost",
        Cause::WrongData => "wrong data was found",
        Cause::AgentLost => "the agent died during the run",
        Cause::IoErrors => "I/O errors",
        Cause::DiskFull => "no room left on a file system",
        Cause::ThresholdFailed => "what was measured is not what a threshold asks for",
        Cause::ThresholdInconclusive => "a threshold could not be judged",
        Cause::PhaseSkipped => "phases were skipped, and what is left proves nothing",
        Cause::WoundDown => "it was wound down, because what a phase requires did not hold",
        Cause::RequirementFailed => "what a phase requires did not hold",
        Cause::LeftBehind => "the host was not seen to be clean afterwards",
        Cause::RequestsFailed => "too many requests failed",
        Cause::LoadMissed => "a load was not what was asked",
        Cause::NothingDone => "a burner did not do a single operation",
        Cause::MemoryShort => "not all the memory could be had",
        Cause::OutOfMemory => "a burner was ended by the kernel's OOM killer",
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::BurnerResult;

    use super::*;

    fn ended(verdict: Verdict, cause: Cause) -> Run {
        let summary = RunSummary { verdict: verdict.into(), cause: cause.into(), ..RunSummary::default() };
        Run { summary: Some(summary), ..Run::default() }
    }

    #[test]
    fn each_end_has_its_exit_status() {
        for (verdict, cause, status) in [
            (Verdict::Pass, Cause::Completed, 0),
            (Verdict::Fail, Cause::WrongData, 6),
            (Verdict::Fail, Cause::Completed, 3),
            (Verdict::Fail, Cause::LoadMissed, 3),
            (Verdict::Aborted, Cause::GuardTripped, 4),
            (Verdict::Aborted, Cause::Halted, 4),
            (Verdict::Aborted, Cause::LeaseExpired, 4),
            (Verdict::Aborted, Cause::StoppedByUser, 4),
            (Verdict::Error, Cause::BurnerDied, 5),
            (Verdict::Unspecified, Cause::Unspecified, 1),
        ] {
            assert_eq!(exit(&ended(verdict, cause)).code(), status, "{verdict:?} {cause:?}");
        }
    }

    #[test]
    fn wrong_data_outweighs_every_verdict() {
        let mut run = ended(Verdict::Aborted, Cause::StoppedByUser);
        run.burners.push(BurnerResult { verify_errors: 1, ..BurnerResult::default() });
        assert_eq!(exit(&run).code(), 6);
    }
}
