//! Which figures tell of a bad host or part, what they are of, and how much of a difference matters.

use ssts_proto::{catalogue::Worse, result_figures};

use super::readings::Part;

/// On which side of its peers a value is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    More,
    Less,
}

/// How values are told apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// By their ratio; a difference matters from so many times the margin that is asked for.
    Ratio(f64),
    /// By their difference; it matters from so much on.
    Difference(f64),
    /// Of rare events, how often they happened: against all of them being shared out by chance.
    Count,
}

/// One figure of telemetry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aspect {
    pub(super) metric: &'static str,
    pub(super) statistic: &'static str,
    pub(super) part: Part,
    /// The labels that name the part.
    pub(super) named_by: &'static [&'static str],
    pub(super) way: Way,
    pub(super) measure: Measure,
    /// It says something only under a burner of this kind.
    pub(super) under: Option<&'static str>,
}

const fn aspect(
    (metric, statistic): (&'static str, &'static str),
    (part, named_by): (Part, &'static [&'static str]),
    (way, measure): (Way, Measure),
) -> Aspect {
    Aspect { metric, statistic, part, named_by, way, measure, under: None }
}

const fn under(kind: &'static str, aspect: Aspect) -> Aspect {
    Aspect { under: Some(kind), ..aspect }
}

const HOST: (Part, &[&str]) = (Part::Host, &[]);
const SOCKET: (Part, &[&str]) = (Part::Socket, &["package"]);
const CORE: (Part, &[&str]) = (Part::Core, &["cpu"]);
const DIMM: (Part, &[&str]) = (Part::Dimm, &["controller", "dimm"]);
const DISK: (Part, &[&str]) = (Part::Disk, &["device"]);
const LINK: (Part, &[&str]) = (Part::Link, &["interface"]);

const RISES: (Way, Measure) = (Way::More, Measure::Ratio(1.0));
const FALLS: (Way, Measure) = (Way::Less, Measure::Ratio(1.0));
/// A middle of times, of buckets some percent wide.
const SLOWS: (Way, Measure) = (Way::More, Measure::Ratio(2.0));
/// The end of a distribution varies more than its middle.
const TAIL: (Way, Measure) = (Way::More, Measure::Ratio(5.0));
const COUNTS: (Way, Measure) = (Way::More, Measure::Count);
/// °C.
const HEATS: (Way, Measure) = (Way::More, Measure::Difference(3.0));
/// Of the time.
const SHARE: (Way, Measure) = (Way::More, Measure::Difference(0.05));

/// Percent of a core: an achieved load, and the time that a worker had to wait.
pub(super) const LOAD: (Way, Measure) = (Way::Less, Measure::Difference(1.0));
pub(super) const WAITED: (Way, Measure) = (Way::More, Measure::Difference(2.0));

/// Of telemetry, all that is looked at.
pub(super) const ASPECTS: &[Aspect] = &[
    aspect(("host.pressure.stalled", "mean"), HOST, SHARE),
    aspect(("tcp.retransmits", "increase"), HOST, COUNTS),
    aspect(("host.pcie.errors", "increase"), HOST, COUNTS),
    aspect(("host.temperature", "p95"), SOCKET, HEATS),
    aspect(("host.power", "mean"), SOCKET, RISES),
    aspect(("host.package.throttles", "increase"), SOCKET, COUNTS),
    aspect(("host.cpu.throttles", "increase"), CORE, COUNTS),
    aspect(("host.cpu.frequency", "mean"), CORE, FALLS),
    aspect(("host.cpu.clock_ratio", "mean"), CORE, FALLS),
    aspect(("runqueue.latency", "p99"), CORE, TAIL),
    under("cpu", aspect(("sched.time", "mean"), CORE, SHARE)),
    aspect(("host.edac.corrected", "increase"), DIMM, COUNTS),
    aspect(("host.edac.uncorrected", "increase"), DIMM, COUNTS),
    under("disk", aspect(("block.latency", "p50"), DISK, SLOWS)),
    under("disk", aspect(("block.latency", "p99"), DISK, TAIL)),
    aspect(("block.errors", "increase"), DISK, COUNTS),
    aspect(("block.requeues", "increase"), DISK, COUNTS),
    aspect(("host.nvme.media_errors", "increase"), DISK, COUNTS),
    aspect(("host.nvme.temperature", "p95"), DISK, HEATS),
    under("network", aspect(("host.network.received_bytes", "mean"), LINK, FALLS)),
    under("network", aspect(("host.network.sent_bytes", "mean"), LINK, FALLS)),
    aspect(("host.network.receive_errors", "increase"), LINK, COUNTS),
    aspect(("host.network.send_errors", "increase"), LINK, COUNTS),
    aspect(("host.network.faults", "increase"), LINK, COUNTS),
    aspect(("host.network.link_downs", "increase"), LINK, COUNTS),
];

/// Of a burner's rates and latencies.
pub(super) fn of_burner(metric: &str, statistic: &str) -> Option<(Way, Measure)> {
    match (metric, statistic) {
        ("result.achieved_load", _) => Some(LOAD),
        ("result.latency", "p50") => Some(SLOWS),
        ("result.latency", "p99") => Some(TAIL),
        ("result.latency", _) => None,
        ("result.verify_errors" | "result.io_errors", _) => Some(COUNTS),
        _ => match result_figures::worse(metric)? {
            Worse::Falling => Some(FALLS),
            // Such as how far behind its rate a burner was.
            Worse::Rising => Some(TAIL),
            Worse::Present => Some(COUNTS),
        },
    }
}

#[cfg(test)]
mod tests {
    use ssts_proto::catalogue::{self, Kind};

    use super::*;

    #[test]
    fn every_aspect_is_of_the_catalogue_and_its_labels_and_statistics_are_there() {
        for aspect in ASPECTS {
            let metric = catalogue::find(aspect.metric).unwrap_or_else(|| panic!("{}", aspect.metric));
            for label in aspect.named_by {
                assert!(metric.labels.contains(label), "{}: {label}", aspect.metric);
            }
            let is_there = match metric.kind {
                Kind::Counter => matches!(aspect.statistic, "mean" | "increase"),
                Kind::Gauge => matches!(aspect.statistic, "mean" | "p95"),
                Kind::Histogram => matches!(aspect.statistic, "p50" | "p99"),
            };
            assert!(is_there, "{} {}", aspect.metric, aspect.statistic);
            if let (Some(worse), Measure::Ratio(_)) = (metric.worse, aspect.measure) {
                let way = if worse == Worse::Falling { Way::Less } else { Way::More };
                assert_eq!(aspect.way, way, "{}", aspect.metric);
            }
        }
    }

    #[test]
    fn a_burners_figures_have_their_way() {
        assert_eq!(of_burner("result.operations_per_s", "mean"), Some(FALLS));
        assert_eq!(of_burner("result.latency", "p999"), None);
        assert_eq!(of_burner("result.figure.triad", "value"), Some(FALLS));
        assert_eq!(of_burner("result.operations", "value"), None);
    }
}
