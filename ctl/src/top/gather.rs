//! Gathers a frame's readings by core, disk, interface, sensor and burner.

use std::collections::BTreeMap;

use ssts_proto::{
    catalogue::{self as metrics, Metric},
    v1::{AbsenceReason, DescribeResponse},
};

use super::model::{BurnerShown, CoreShown, DiskShown, NicShown, PressureShown, Reading, Why};
use crate::telemetry::{Labels, Telemetry};

pub(super) fn first(telemetry: &Telemetry, metric: &'static Metric) -> Reading {
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

/// Of all packages.
pub(super) fn watts(telemetry: &Telemetry) -> Reading {
    sum(telemetry.latest(&metrics::HOST_POWER).filter(|(labels, _)| is_package(labels)))
}

/// RAPL's zones nest: a package's counts all that is below it.
fn is_package(labels: &Labels) -> bool {
    labels.get("name").starts_with("package") || labels.get("name").starts_with("psys")
}

pub(super) fn cores(telemetry: &Telemetry, host: &DescribeResponse) -> Vec<CoreShown> {
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

pub(super) fn disks(telemetry: &Telemetry) -> Vec<DiskShown> {
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

pub(super) fn nics(telemetry: &Telemetry) -> Vec<NicShown> {
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

pub(super) fn pressures(telemetry: &Telemetry) -> Vec<PressureShown> {
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

pub(super) fn sensors(telemetry: &Telemetry) -> Vec<(String, Reading)> {
    let name = |labels: &Labels| match (labels.get("sensor"), labels.get("label")) {
        (sensor, "") => sensor.to_owned(),
        (sensor, label) => format!("{sensor} {label}"),
    };
    let temperatures = telemetry.latest(&metrics::HOST_TEMPERATURE);
    temperatures.map(|(labels, celsius)| (name(labels), celsius.map_err(Why::from))).collect()
}

pub(super) fn burners(telemetry: &Telemetry) -> Vec<BurnerShown> {
    let mut kinds: BTreeMap<[String; 2], String> = BTreeMap::new();
    for (labels, _) in telemetry.latest(&metrics::BURNER_PREPARED) {
        let place = ["run", "burner"].map(|label| labels.get(label).to_owned());
        kinds.insert(place, labels.get("kind").to_owned());
    }
    let several = kinds.keys().any(|[run, _]| kinds.keys().any(|[other, _]| other != run));
    let shown = |(place, kind)| burner(telemetry, &place, kind, several);
    kinds.into_iter().map(shown).collect()
}

/// What tells runs apart where there is little room: the end of a run's id, which the clock has no part in.
pub(super) fn short_id(run_id: &str) -> &str {
    let from = run_id.char_indices().rev().nth(3).map_or(0, |(index, _)| index);
    &run_id[from..]
}

fn burner(telemetry: &Telemetry, [run, burner]: &[String; 2], kind: String, several: bool) -> BurnerShown {
    let is_it = |labels: &Labels| labels.get("run") == run && labels.get("burner") == burner;
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
        name: if several { format!("{}:{burner}", short_id(run)) } else { burner.clone() },
    }
}
