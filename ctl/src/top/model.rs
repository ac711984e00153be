//! What one frame shows: figures by core, disk, interface, sensor and burner, made from the readings of a stream. A figure
//! that is missing says why.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue::{self as metrics, Metric},
    v1::{AbsenceReason, DescribeResponse},
};

use crate::{
    telemetry::{Labels, Telemetry},
    text,
};

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
    /// `<phase>.<burner>`, by their places in the scenario.
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
        let single = |metric| first(telemetry, metric);
        let swap_used = match (single(&metrics::HOST_SWAP_TOTAL), single(&metrics::HOST_SWAP_FREE)) {
            (Ok(total), Ok(free)) => Ok(total - free),
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
        Self {
            at_unix_ns,
            cores: cores(telemetry, host),
            memory: MemoryShown {
                total: single(&metrics::HOST_MEMORY_TOTAL),
                available: single(&metrics::HOST_MEMORY_AVAILABLE),
                dirty: single(&metrics::HOST_MEMORY_DIRTY),
                swap_used,
            },
            disks: disks(telemetry),
            nics: nics(telemetry),
            pressures: pressures(telemetry),
            sensors: sensors(telemetry),
            watts: sum(telemetry.latest(&metrics::HOST_POWER).filter(|(labels, _)| is_package(labels))),
            burners: burners(telemetry),
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

fn first(telemetry: &Telemetry, metric: &'static Metric) -> Reading {
    telemetry.latest(metric).next().map_or(Err(Why::NotReported), |(_, reading)| reading.map_err(Why::from))
}

/// Of what is there; missing only where nothing is.
fn sum<'a>(readings: impl Iterator<Item = (&'a Labels, Result<f64, AbsenceReason>)>) -> Reading {
    readings.map(|(_, reading)| reading.map_err(Why::from)).reduce(add).unwrap_or(Err(Why::NotReported))
}

/// `b` counted in, where it is there.
fn add(a: Reading, b: Reading) -> Reading {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok(a + b),
        (Ok(value), Err(_)) | (Err(_), Ok(value)) => Ok(value),
        (Err(why), Err(_)) => Err(why),
    }
}

/// RAPL's zones nest: a package's counts all that is below it.
fn is_package(labels: &Labels) -> bool {
    labels.get("name").starts_with("package") || labels.get("name").starts_with("psys")
}

fn cores(telemetry: &Telemetry, host: &DescribeResponse) -> Vec<CoreShown> {
    let nothing = Err(Why::NotReported);
    let mut cores: BTreeMap<u32, CoreShown> = BTreeMap::new();
    for (labels, share) in telemetry.latest(&metrics::HOST_CPU_TIME) {
        let Ok(cpu) = labels.get("cpu").parse() else { continue };
        let core = cores.entry(cpu).or_insert(CoreShown {
            cpu,
            burner: nothing,
            others: nothing,
            irq: nothing,
            steal: nothing,
            celsius: nothing,
            hertz: nothing,
            throttled: false,
        });
        let part = match labels.get("mode") {
            "user" | "nice" | "system" => &mut core.others,
            "irq" | "softirq" => &mut core.irq,
            "steal" => &mut core.steal,
            _ => continue,
        };
        // Ticks of 10 ms: over a short window a core may seem to have had more than there was.
        let share = share.map(|share| share.min(1.0)).map_err(Why::from);
        *part = if *part == nothing { share } else { add(*part, share) };
    }
    let mut of_core = |metric, take: fn(&mut CoreShown, &Labels, Reading)| {
        for (labels, reading) in telemetry.latest(metric) {
            if let Some(core) = labels.get("cpu").parse().ok().and_then(|cpu| cores.get_mut(&cpu)) {
                take(core, labels, reading.map_err(Why::from));
            }
        }
    };
    of_core(&metrics::SCHED_TIME, |core, labels, share| {
        if labels.get("who") == "burner" {
            core.burner = share.map(|share| share.min(1.0));
        }
    });
    of_core(&metrics::HOST_CPU_FREQUENCY, |core, _, hertz| core.hertz = hertz);
    of_core(&metrics::HOST_CPU_THROTTLED, |core, _, on| core.throttled = on.is_ok_and(|on| on > 0.0));
    for core in cores.values_mut() {
        if let (Ok(burner), Ok(others)) = (core.burner, core.others) {
            let rest = 1.0 - burner - core.irq.unwrap_or(0.0) - core.steal.unwrap_or(0.0);
            core.others = Ok((others - burner).min(rest).max(0.0));
        }
    }
    let places: BTreeMap<(u32, u32), Reading> = telemetry
        .latest(&metrics::HOST_TEMPERATURE)
        .filter_map(|(labels, celsius)| {
            let place = (labels.get("package").parse().ok()?, labels.get("core").parse().ok()?);
            Some((place, celsius.map_err(Why::from)))
        })
        .collect();
    for place in host.host.iter().flat_map(|host| &host.cores) {
        if let (Some(core), Some(package), Some(id)) =
            (cores.get_mut(&place.cpu), place.package_id, place.core_id)
            && let Some(celsius) = places.get(&(package, id))
        {
            core.celsius = *celsius;
        }
    }
    cores.into_values().collect()
}

fn disks(telemetry: &Telemetry) -> Vec<DiskShown> {
    let named = by_name(
        telemetry,
        "device",
        &[
            &metrics::HOST_DISK_READ_BYTES,
            &metrics::HOST_DISK_WRITTEN_BYTES,
            &metrics::HOST_DISK_READS,
            &metrics::HOST_DISK_WRITES,
            &metrics::HOST_DISK_IN_FLIGHT,
            &metrics::HOST_DISK_BUSY_TIME,
            &metrics::BLOCK_ERRORS,
        ],
    );
    named
        .into_iter()
        .map(|(name, figures)| {
            let latency_ns = latency(telemetry, &name);
            DiskShown {
                read_bytes_per_s: figures[0],
                written_bytes_per_s: figures[1],
                operations_per_s: add(figures[2], figures[3]),
                in_flight: figures[4],
                busy: figures[5].map(|share| share.min(1.0)),
                errors_per_s: figures[6],
                latency_ns,
                name,
            }
        })
        .collect()
}

fn latency(telemetry: &Telemetry, device: &str) -> [Reading; 3] {
    let is_it = |labels: &Labels| labels.get("device") == device;
    if !telemetry.histogram_labels(&metrics::BLOCK_LATENCY).any(is_it) {
        return [Err(Why::NotReported); 3];
    }
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (_, gained) in telemetry.counts(&metrics::BLOCK_LATENCY).filter(|(labels, _)| is_it(labels)) {
        for (bound, count) in gained.iter() {
            *counts.entry(bound).or_default() += count;
        }
    }
    let total: u64 = counts.values().sum();
    [0.5, 0.99, 1.0].map(|part| {
        let rank = ((total as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let bound = counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        bound.map(|(bound, _)| *bound as f64).ok_or(AbsenceReason::Pending.into())
    })
}

fn nics(telemetry: &Telemetry) -> Vec<NicShown> {
    let named = by_name(
        telemetry,
        "interface",
        &[
            &metrics::HOST_NETWORK_RECEIVED_BYTES,
            &metrics::HOST_NETWORK_SENT_BYTES,
            &metrics::HOST_NETWORK_RECEIVED_PACKETS,
            &metrics::HOST_NETWORK_SENT_PACKETS,
            &metrics::HOST_NETWORK_RECEIVE_ERRORS,
            &metrics::HOST_NETWORK_SEND_ERRORS,
            &metrics::HOST_NETWORK_RECEIVE_DROPS,
            &metrics::HOST_NETWORK_SEND_DROPS,
        ],
    );
    named
        .into_iter()
        .map(|(name, figures)| NicShown {
            name,
            received_bytes_per_s: figures[0],
            sent_bytes_per_s: figures[1],
            received_packets_per_s: figures[2],
            sent_packets_per_s: figures[3],
            errors_per_s: add(figures[4], figures[5]),
            drops_per_s: add(figures[6], figures[7]),
        })
        .collect()
}

/// By the value of one label the readings of some metrics, of several columns their sum.
fn by_name(telemetry: &Telemetry, label: &str, of: &[&'static Metric]) -> BTreeMap<String, Vec<Reading>> {
    let nothing = Err(Why::NotReported);
    let mut named: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for (index, metric) in of.iter().enumerate() {
        for (labels, reading) in telemetry.latest(metric) {
            let figures =
                named.entry(labels.get(label).to_owned()).or_insert_with(|| vec![nothing; of.len()]);
            let reading = reading.map_err(Why::from);
            figures[index] = if figures[index] == nothing { reading } else { add(figures[index], reading) };
        }
    }
    named
}

fn pressures(telemetry: &Telemetry) -> Vec<PressureShown> {
    let mut pressures: Vec<PressureShown> = Vec::new();
    for (labels, share) in telemetry.latest(&metrics::HOST_PRESSURE_STALLED) {
        let resource = labels.get("resource");
        let at = pressures.iter().position(|known| known.resource == resource).unwrap_or_else(|| {
            let nothing = Err(Why::NotReported);
            pressures.push(PressureShown { resource: resource.to_owned(), some: nothing, full: nothing });
            pressures.len() - 1
        });
        let share = share.map(|share| share.min(1.0)).map_err(Why::from);
        match labels.get("share") {
            "some" => pressures[at].some = share,
            _ => pressures[at].full = share,
        }
    }
    pressures
}

fn sensors(telemetry: &Telemetry) -> Vec<(String, Reading)> {
    let name = |labels: &Labels| match (labels.get("sensor"), labels.get("label")) {
        (sensor, "") => sensor.to_owned(),
        (sensor, label) => format!("{sensor} {label}"),
    };
    let temperatures = telemetry.latest(&metrics::HOST_TEMPERATURE);
    temperatures.map(|(labels, celsius)| (name(labels), celsius.map_err(Why::from))).collect()
}

fn burners(telemetry: &Telemetry) -> Vec<BurnerShown> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (labels, _) in telemetry.latest(&metrics::BURNER_PREPARED) {
        names.insert(labels.get("burner").to_owned(), labels.get("kind").to_owned());
    }
    names.into_iter().map(|(name, kind)| burner(telemetry, name, kind)).collect()
}

fn burner(telemetry: &Telemetry, name: String, kind: String) -> BurnerShown {
    let is_it = |labels: &Labels| labels.get("burner") == name;
    let of = |metric: &'static Metric| telemetry.latest(metric).filter(|(labels, _)| is_it(labels));
    let mean = |metric| {
        let workers = of(metric).filter(|(_, reading)| reading.is_ok()).count();
        sum(of(metric)).map(|sum| sum / workers as f64)
    };
    let errors = [&metrics::BURNER_VERIFY_ERRORS, &metrics::BURNER_IO_ERRORS];
    let errors = errors.into_iter().flat_map(|metric| telemetry.values(metric));
    let latencies = telemetry.counts(&metrics::BURNER_LATENCY).filter(|(labels, _)| is_it(labels));
    BurnerShown {
        target: mean(&metrics::BURNER_TARGET),
        achieved: mean(&metrics::BURNER_ON_CPU_TIME),
        prepared: sum(of(&metrics::BURNER_PREPARED)),
        operations_per_s: sum(of(&metrics::BURNER_OPERATIONS)),
        bytes_per_s: sum(of(&metrics::BURNER_BYTES)),
        flops_per_s: sum(of(&metrics::BURNER_FLOPS)),
        errors: errors.filter(|(labels, _)| is_it(labels)).map(|(_, count)| count).sum(),
        latencies: latencies
            .filter_map(|(labels, counts)| {
                Some((labels.get("operation").to_owned(), counts.quantile(0.5)?, counts.quantile(0.99)?))
            })
            .collect(),
        kind,
        name,
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(super) mod tests;
