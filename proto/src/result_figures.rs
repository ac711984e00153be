//! The figures of a run's result that are no metric of the [catalogue](crate::catalogue): which change of each is one for the worse.
//!
//! They are named `result.NAME`; what burners count beyond what all do (`Figure` in a burner's result) is `result.figure.NAME`.

use crate::catalogue::{self, Worse};

const RESULT: &str = "result.";
const FIGURE: &str = "result.figure.";

/// Of all burners.
const OF_ALL: &[(&str, Worse)] = &[
    ("achieved_load", Worse::Falling),
    ("bytes_per_s", Worse::Falling),
    ("flops_per_s", Worse::Falling),
    ("io_errors", Worse::Present),
    ("latency", Worse::Rising),
    ("operations_per_s", Worse::Falling),
    ("verify_errors", Worse::Present),
];
const RISING: &[&str] = &[
    // disk: how far behind its rate it was.
    "lag",
    // network
    "duplicates",
    "jitter",
    "lost",
    "no_buffers",
    "reordered",
    "retransmits",
    "returned_jitter",
    "returned_lost",
    "returned_reordered",
    "sink_cpu",
    "tcp_rtt",
    "unanswered",
    // HTTP
    "behind",
    "broken_answers",
    "connect_errors",
    "handshake_errors",
    "retries",
    "status_5xx",
    "timeouts",
    "unexpected_status",
];
/// Of memory.
const FALLING: &[&str] = &["add", "copy", "on_target", "scale", "sweeps", "triad"];

/// Which change of a figure or metric is one for the worse; none where that depends on what was asked.
pub fn worse(metric: &str) -> Option<Worse> {
    if let Some(name) = metric.strip_prefix(FIGURE) {
        let is_in = |names: &[&str]| names.contains(&name);
        return is_in(RISING).then_some(Worse::Rising).or_else(|| is_in(FALLING).then_some(Worse::Falling));
    }
    if let Some(name) = metric.strip_prefix(RESULT) {
        return OF_ALL.iter().find(|(known, _)| *known == name).map(|(_, worse)| *worse);
    }
    catalogue::find(metric).and_then(|metric| metric.worse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_worse_when_there_are_more_and_bandwidth_when_there_is_less() {
        assert_eq!(worse("result.figure.lost"), Some(Worse::Rising));
        assert_eq!(worse("result.figure.triad"), Some(Worse::Falling));
        assert_eq!(worse("result.figure.resident"), None);
        assert_eq!(worse("result.operations_per_s"), Some(Worse::Falling));
        assert_eq!(worse("result.verify_errors"), Some(Worse::Present));
        assert_eq!(worse("result.duration"), None);
        assert_eq!(worse("block.latency"), Some(Worse::Rising));
        assert_eq!(worse("no.such"), None);
    }
}
