//! Whether a burner kept its rate, and if not, what held it up as far as that can be known.

use std::{sync::atomic::Ordering, time::Duration};

use ssts_proto::v1::BurnerResult;

use crate::{
    burn::{control::Slot, disk, http, network, plan},
    run::child::BurnerProcess,
};

/// What was missed so shortly before the end could not be made good.
const LAST_STRETCH: Duration = Duration::from_millis(250);
/// Of a short phase, the part of it that is as long at most.
const LAST_PART: u32 = 4;

/// What one worker did of its rate, in time of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kept {
    core: u32,
    /// What is undone at the end.
    behind: Duration,
    /// What guards took of it.
    withheld: Duration,
    /// Phase, without pauses.
    whole: Duration,
}

impl Kept {
    fn of(core: u32, slot: &Slot) -> Self {
        let time = |ns: &std::sync::atomic::AtomicU64| Duration::from_nanos(ns.load(Ordering::Relaxed));
        let withheld = time(&slot.withheld_ns);
        Self { core, behind: time(&slot.behind_ns), withheld, whole: time(&slot.burning_ns) + withheld }
    }

    /// A share of the whole.
    fn undone(&self) -> f64 {
        (self.behind + self.withheld).as_secs_f64() / self.whole.as_secs_f64().max(1e-9)
    }

    fn is_missed(&self, tolerance: f64) -> bool {
        let excused = LAST_STRETCH.min(self.whole / LAST_PART);
        let undone = self.behind.saturating_sub(excused) + self.withheld;
        undone > self.whole.mul_f64(tolerance)
    }
}

/// The reason, where a rate was asked and not kept.
pub(super) fn missed(result: &BurnerResult, burner: &BurnerProcess, derated_by: &[String]) -> Option<String> {
    let tolerance = burner.plan.rate_tolerance?;
    let slots = (0..burner.block.workers()).map(|worker| burner.block.slot(worker));
    let worst = burner
        .plan
        .cores
        .iter()
        .zip(slots)
        .map(|(core, slot)| Kept::of(*core, slot))
        .filter(|kept| kept.is_missed(tolerance))
        .max_by(|one, other| one.undone().total_cmp(&other.undone()))?;
    Some(told(&worst, tolerance, derated_by, &held_up(result, &burner.plan.load)))
}

fn told(worst: &Kept, tolerance: f64, derated_by: &[String], held_up: &str) -> String {
    let mut reason = format!(
        "core {} left {:.1} % of its rate undone, where {:.1} % may be",
        worst.core,
        100.0 * worst.undone(),
        100.0 * tolerance
    );
    let mut parts = Vec::new();
    if !worst.withheld.is_zero() {
        let share = 100.0 * worst.withheld.as_secs_f64() / worst.whole.as_secs_f64().max(1e-9);
        let guards = derated_by.join(", ");
        parts.push(format!("{guards} derated the load by {share:.1} % (guards, see the events)"));
    }
    if !worst.behind.is_zero() {
        parts.push(format!("it was {:.2} s behind at the end: {held_up}", worst.behind.as_secs_f64()));
    }
    reason += ": ";
    reason += &parts.join("; ");
    reason
}

/// What a burner that can do no more waits for.
fn held_up(result: &BurnerResult, load: &plan::Load) -> String {
    let slowest =
        result.latencies.iter().filter(|latency| latency.count > 0).max_by_key(|latency| latency.p99_ns);
    let figure = |name: &str| {
        result.figures.iter().find(|figure| figure.name == name).map_or(0.0, |figure| figure.value)
    };
    let took = slowest.map_or(String::new(), |latency| {
        let ms = |ns: u64| ns as f64 / 1e6;
        format!(
            "; {} took {:.2} ms at p50, {:.2} at p99",
            latency.operation,
            ms(latency.p50_ns),
            ms(latency.p99_ns)
        )
    });
    match load {
        plan::Load::Disk(disk::DiskLoad { depth, .. }) => {
            format!("the device did no more with {depth} I/Os in flight (I/O bound){took}")
        }
        plan::Load::Network(network::NetworkLoad { peer, protocol, .. }) => match protocol {
            network::Protocol::Tcp => {
                let retransmits = figure("retransmits");
                format!(
                    "the path to {peer}, or the sink there, took no more; {retransmits} segments were sent again"
                )
            }
            network::Protocol::Udp => {
                let full = figure("no_buffers");
                format!("the kernel took no more datagrams in time; {full} times it had no buffers")
            }
            network::Protocol::RequestResponse | network::Protocol::Connect => {
                format!("{} were due and had no answer from {peer}{took}", figure("unanswered"))
            }
        },
        plan::Load::Http(http::HttpLoad { .. }) => {
            format!("{} requests were due and had no answer{took}", figure("unanswered"))
        }
        plan::Load::Cpu(_) | plan::Load::Memory(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(behind_ms: u64, withheld_ms: u64, whole_ms: u64) -> Kept {
        let [behind, withheld, whole] = [behind_ms, withheld_ms, whole_ms].map(Duration::from_millis);
        Kept { core: 3, behind, withheld, whole }
    }

    #[test]
    fn a_rate_is_missed_beyond_the_tolerance_and_what_nobody_could_make_good() {
        for (behind_ms, whole_ms, missed) in [
            (0, 10_000, false),
            // 2 % of it, and a quarter of a second.
            (450, 10_000, false),
            (451, 10_000, true),
            // Of a short phase 2 %, and a quarter.
            (54, 200, false),
            (55, 200, true),
        ] {
            assert_eq!(kept(behind_ms, 0, whole_ms).is_missed(0.02), missed, "{behind_ms} of {whole_ms} ms");
        }
        assert!(!kept(10_000, 0, 10_000).is_missed(1.0));
        // Guards take no less for its being short.
        assert!(kept(0, 21, 1_000).is_missed(0.02));
    }

    #[test]
    fn a_reason_says_how_much_and_what_held_it_up() {
        let by = ["hot".to_owned()];
        let text = told(&kept(1_000, 500, 10_000), 0.02, &by, "the device did no more");
        assert_eq!(
            text,
            "core 3 left 15.0 % of its rate undone, where 2.0 % may be: hot derated the load by 5.0 % (guards, see the \
             events); it was 1.00 s behind at the end: the device did no more"
        );
        let text = told(&kept(1_000, 0, 10_000), 0.02, &[], "the device did no more");
        assert!(!text.contains("derated"), "{text}");
    }
}
