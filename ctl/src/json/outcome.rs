//! What a run came to, in the one word that a machine sorts by.

use ssts_proto::v1::{Cause, RunSummary, Verdict};

/// `pass`; `fail_hw`: hardware computed, kept or moved something wrong; `fail_sw`: all else that failed or could not be carried
/// out; `aborted_by`: a guard, a halt, a lease or the agent ended it, as the cause tells; `stopped_by`: a user did;
/// `inconclusive`: nothing failed, and not everything could be judged, which is no pass; `skipped`: nothing failed, and phases were
/// left out, which is none either. None before the end.
pub(crate) fn outcome(summary: &RunSummary) -> Option<&'static str> {
    of(summary.verdict(), summary.cause())
}

/// The same of a run that is kept, by the names that JSON has for its verdict and its cause.
pub(super) fn outcome_of_names(verdict: &str, cause: Option<&str>) -> Option<&'static str> {
    let verdict = Verdict::from_str_name(&format!("VERDICT_{}", verdict.to_ascii_uppercase()))?;
    let cause =
        cause.and_then(|cause| Cause::from_str_name(&format!("CAUSE_{}", cause.to_ascii_uppercase())));
    of(verdict, cause.unwrap_or_default())
}

fn of(verdict: Verdict, cause: Cause) -> Option<&'static str> {
    use Cause::{
        AgentLost, AgentStopped, GuardTripped, Halted, IoErrors, LeaseExpired, PhaseSkipped, StoppedByUser,
        ThresholdInconclusive, WoundDown, WrongData,
    };
    Some(match (verdict, cause) {
        (Verdict::Unspecified, _) => return None,
        (Verdict::Pass, _) => "pass",
        (_, WrongData | IoErrors) => "fail_hw",
        (_, StoppedByUser) => "stopped_by",
        (_, ThresholdInconclusive) => "inconclusive",
        (_, PhaseSkipped) => "skipped",
        (Verdict::Aborted, _)
        | (_, Halted | GuardTripped | LeaseExpired | AgentStopped | AgentLost | WoundDown) => "aborted_by",
        (Verdict::Fail | Verdict::Error, _) => "fail_sw",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_word_and_nothing_unproven_is_a_pass() {
        for (verdict, cause, wanted) in [
            (Verdict::Pass, Cause::Completed, "pass"),
            (Verdict::Fail, Cause::WrongData, "fail_hw"),
            (Verdict::Error, Cause::IoErrors, "fail_hw"),
            (Verdict::Fail, Cause::ThresholdFailed, "fail_sw"),
            (Verdict::Error, Cause::LoadMissed, "fail_sw"),
            (Verdict::Error, Cause::BurnerDied, "fail_sw"),
            (Verdict::Error, Cause::LeftBehind, "fail_sw"),
            (Verdict::Fail, Cause::ThresholdInconclusive, "inconclusive"),
            (Verdict::Fail, Cause::PhaseSkipped, "skipped"),
            (Verdict::Aborted, Cause::WoundDown, "aborted_by"),
            (Verdict::Aborted, Cause::StoppedByUser, "stopped_by"),
            (Verdict::Aborted, Cause::GuardTripped, "aborted_by"),
            (Verdict::Aborted, Cause::LeaseExpired, "aborted_by"),
            (Verdict::Error, Cause::AgentLost, "aborted_by"),
        ] {
            assert_eq!(of(verdict, cause), Some(wanted), "{verdict:?} {cause:?}");
        }
        assert_eq!(of(Verdict::Unspecified, Cause::Unspecified), None);
        assert_ne!(of(Verdict::Error, Cause::Unspecified), Some("pass"));
        assert_eq!(outcome_of_names("fail", Some("wrong_data")), Some("fail_hw"));
        assert_eq!(outcome_of_names("error", Some("of a newer version")), Some("fail_sw"));
    }
}
