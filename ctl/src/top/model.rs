//! What one frame shows: figures by core, disk, interface, sensor and burner, made from the readings of a stream. A figure
//! that is missing says why.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue as metrics,
    v1::{AbsenceReason, DescribeResponse},
};

use super::gather;
use crate::{telemetry::Telemetry, text};

/// Beginnings of the metrics that are shown; the agent sends no others.
pub(super) const PREFIXES: [&str; 14] = [
    "agent.cpu_time",
    "block.errors",
    "block.latency",
    "burner.",
    "host.cpu.frequency",
    "host.cpu.throttled",
    "host.cpu.time",
    "host.disk.",
    "host.memory.",
    "host.network.",
    "host.power",
    "host.pressure.",
    "host.swap.",
    "host.temperature",
];
/// Whose time it was: the scheduler probe's.
pub(super) const SCHED_PREFIX: &str = "sched.time";

/// A figure, or why there is none.
pub(super) type Reading = Result<f64, Why>;

/// Why a figure is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The agent has a column for it and says why it is empty.
    Absent(i32),
    /// The agent has no column for it.
    NotReported,
}

impl Why {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotReported => "this host has none",
            Self::Absent(reason) => match AbsenceReason::try_from(reason).unwrap_or_default() {
                AbsenceReason::Unspecified => "no reason given",
                AbsenceReason::Unsupported => "not supported here",
                AbsenceReason::Denied => "denied to the agent",
                AbsenceReason::ReadFailed => "reading it failed",
                AbsenceReason::Gone => "gone",
                AbsenceReason::Malformed => "not understood",
                AbsenceReason::Pending => "not read yet",
                AbsenceReason::Stale => "stale",
            },
        }
    }

    /// What stands in place of the figure: `stale` where it was there and is too old, else `-`.
    pub(super) fn mark(self) -> &'static str {
        if self == Self::from(AbsenceReason::Stale) { "stale" } else { "-" }
    }
}

impl From<AbsenceReason> for Why {
    fn from(reason: AbsenceReason) -> Self {
        Self::Absent(reason.into())
    }
}

/// One core. Shares are of its time, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CoreShown {
    pub(super) cpu: u32,
    pub(super) burner: Reading,
    /// All that was no burner, interrupt or theft; with an unknown `burner` that is in here, too.
    pub(super) others: Reading,
    pub(super) irq: Reading,
    pub(super) steal: Reading,
    pub(super) celsius: Reading,
    pub(super) hertz: Reading,
    pub(super) throttled: bool,
}

impl CoreShown {
    /// Share of its time in which it was not idle.
    pub(super) fn busy(&self) -> Reading {
        let parts = [self.burner, self.irq, self.steal].map(|part| part.unwrap_or(0.0));
        self.others.map(|others| (others + parts.iter().sum::<f64>()).min(1.0))
    }
}

/// Memory of the host, bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MemoryShown {
    pub(super) total: Reading,
    pub(super) available: Reading,
    pub(super) dirty: Reading,
    pub(super) swap_used: Reading,
}

/// One disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskShown {
    pub(super) name: String,
    pub(super) read_bytes_per_s: Reading,
    pub(super) written_bytes_per_s: Reading,
    pub(super) operations_per_s: Reading,
    pub(super) in_flight: Reading,
    /// Share of the time with an I/O in flight.
    pub(super) busy: Reading,
    /// Service time of the requests of this window, all operations: p50, p99 and the largest. Pending without a request.
    pub(super) latency_ns: [Reading; 3],
    pub(super) errors_per_s: Reading,
}

/// One interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NicShown {
    pub(super) name: String,
    pub(super) received_bytes_per_s: Reading,
    pub(super) sent_bytes_per_s: Reading,
    pub(super) received_packets_per_s: Reading,
    pub(super) sent_packets_per_s: Reading,
    /// In both directions.
    pub(super) errors_per_s: Reading,
    pub(super) drops_per_s: Reading,
}

/// Share of the time in which some or all tasks waited for a resource.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PressureShown {
    pub(super) resource: String,
    pub(super) some: Reading,
    pub(super) full: Reading,
}

/// One burner.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BurnerShown {
    /// `<phase>.<burner>`, by their places in the scenario; after the end of the run's id where there are several runs.
    pub(super) name: String,
    pub(super) kind: String,
    /// Shares of a core, mean over workers.
    pub(super) target: Reading,
    pub(super) achieved: Reading,
    pub(super) prepared: Reading,
    pub(super) operations_per_s: Reading,
    pub(super) bytes_per_s: Reading,
    pub(super) flops_per_s: Reading,
    /// Since its start.
    pub(super) errors: f64,
    /// Operation, p50 and p99 in ns.
    pub(super) latencies: Vec<(String, u64, u64)>,
}

/// Everything of one instant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) at_unix_ns: i64,
    pub(super) cores: Vec<CoreShown>,
    pub(super) memory: MemoryShown,
    pub(super) disks: Vec<DiskShown>,
    pub(super) nics: Vec<NicShown>,
    pub(super) pressures: Vec<PressureShown>,
    /// Name and °C.
    pub(super) sensors: Vec<(String, Reading)>,
    /// Of all packages, watts.
    pub(super) watts: Reading,
    pub(super) burners: Vec<BurnerShown>,
    /// Of one core.
    pub(super) agent_share: Reading,
}

impl Shown {
    /// What the latest readings of a stream show.
    pub(super) fn of(telemetry: &Telemetry, host: &DescribeResponse, at_unix_ns: i64) -> Self {
        let single = |metric| gather::first(telemetry, metric);
        let swap_used = match (single(&metrics::HOST_SWAP_TOTAL), single(&metrics::HOST_SWAP_FREE)) {
            (Ok(total), Ok(free)) => Ok(total - free),
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
        Self {
            at_unix_ns,
            cores: gather::cores(telemetry, host),
            memory: MemoryShown {
                total: single(&metrics::HOST_MEMORY_TOTAL),
                available: single(&metrics::HOST_MEMORY_AVAILABLE),
                dirty: single(&metrics::HOST_MEMORY_DIRTY),
                swap_used,
            },
            disks: gather::disks(telemetry),
            nics: gather::nics(telemetry),
            pressures: gather::pressures(telemetry),
            sensors: gather::sensors(telemetry),
            watts: gather::watts(telemetry),
            burners: gather::burners(telemetry),
            agent_share: single(&metrics::AGENT_CPU_TIME),
        }
    }

    /// The hottest sensor that has a reading, and its °C.
    pub(super) fn hottest(&self) -> Result<(&str, f64), Why> {
        let read = self.sensors.iter().filter_map(|(name, celsius)| Some((name.as_str(), (*celsius).ok()?)));
        read.max_by(|a, b| a.1.total_cmp(&b.1)).ok_or_else(|| {
            self.sensors.iter().find_map(|(_, celsius)| celsius.err()).unwrap_or(Why::NotReported)
        })
    }

    /// What is shown as missing: for each reason the figures that it is the reason of.
    pub(super) fn missing(&self, host: &DescribeResponse) -> Vec<String> {
        let mut by_reason: BTreeMap<Why, Vec<String>> = BTreeMap::new();
        let mut note = |what: &str, why: Option<Why>| {
            if let Some(why) = why {
                by_reason.entry(why).or_default().push(what.to_owned());
            }
        };
        let of_cores =
            |reading: fn(&CoreShown) -> Reading| self.cores.iter().find_map(|core| reading(core).err());
        note("core time", of_cores(|core| core.others));
        let sensor = self.sensors.iter().find_map(|(_, celsius)| celsius.err());
        note("temperature", sensor.or(self.hottest().err()));
        note("core temperature", of_cores(|core| core.celsius).filter(|_| self.hottest().is_ok()));
        note("frequency", of_cores(|core| core.hertz));
        note("power", self.watts.err());
        note("memory", self.memory.available.err());
        note("stalls", self.pressures.is_empty().then_some(Why::NotReported));
        for pressure in &self.pressures {
            note(&format!("{} stalls", pressure.resource), pressure.some.and(pressure.full).err());
        }
        let mut off = Vec::new();
        let latency = self.disks.iter().find_map(|disk| disk.latency_ns[0].err());
        for (what, why, probe) in [
            ("burners' share", of_cores(|core| core.burner), "sched"),
            ("disk latency", latency.filter(|why| *why == Why::NotReported), "block"),
        ] {
            let status = host.probes.iter().find(|status| status.name == probe && !status.reason.is_empty());
            match (why, status) {
                (Some(_), Some(status)) => {
                    off.push(format!("{what} (probe {probe}: {})", text::printable(&status.reason)));
                }
                (why, None) => note(what, why),
                (None, Some(_)) => {}
            }
        }
        let words = |(why, what): (Why, Vec<String>)| format!("{} ({})", what.join(", "), why.words());
        by_reason.into_iter().map(words).chain(off).collect()
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(super) mod tests;
