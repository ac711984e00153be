//! What a burner did, from its control block. It is there whatever the process died of.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::errno::Errno;
use ssts_proto::v1::{self, BurnerResult, Figure, OperationLatency, SensorReading, WorkerLoad, WrongWord};

use super::{child::BurnerProcess, telemetry::quantile};
use crate::{
    burn::{
        control::{ControlBlock, LATENCY, SHORT_TRANSFER, Slot},
        cpu::{Mismatch, Rerun},
        disk, http, memory, plan,
    },
    clock,
};

/// A share of the memory that was met for less of the time, in millionths, was not held.
const HELD_PPM: u64 = 500_000;

/// The cores that computed a wrong result.
pub(super) fn wrong_cores(burner: &BurnerProcess) -> Vec<u32> {
    let wrong = slots(&burner.block).map(|slot| slot.verify_errors.load(Ordering::Relaxed) > 0);
    let mut cores: Vec<u32> =
        burner.plan.cores.iter().zip(wrong).filter(|(_, wrong)| *wrong).map(|(core, _)| *core).collect();
    // Of a core that several workers share, they may all have found it.
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// What one burner did; `asked` is when it was asked for, CLOCK_BOOTTIME.
pub(super) fn of_burner(
    burner: &BurnerProcess,
    phase_index: usize,
    burner_index: usize,
    phase: &str,
    asked: Duration,
) -> BurnerResult {
    let block = &*burner.block;
    let read = |counter: fn(&Slot) -> &AtomicU64| sum(block, |slot| counter(slot).load(Ordering::Relaxed));
    let profile = burner.plan.load.profile();
    let of_core = profile.is_some_and(|profile| profile.of_core);
    let by_worker = burner.plan.cores.iter().zip(slots(block));
    let loads: Vec<WorkerLoad> =
        by_worker.filter_map(|(core, slot)| worker_load(*core, slot, of_core)).collect();
    let mean = |value: fn(&WorkerLoad) -> Option<f64>| {
        let values: Option<Vec<f64>> = loads.iter().map(value).collect();
        values
            .filter(|values| !values.is_empty())
            .map(|values| rounded(values.iter().sum::<f64>() / values.len() as f64))
    };
    // Workers that share a core have its load together.
    let burned: HashSet<u32> = loads.iter().map(|load| load.core).collect();
    let of_cores = |value: fn(&WorkerLoad) -> f64| {
        (!burned.is_empty()).then(|| rounded(loads.iter().map(value).sum::<f64>() / burned.len() as f64))
    };
    let start = clock::ns(block.start());
    let distance =
        |slot: &Slot| slot.first_burn_ns.load(Ordering::Relaxed).cast_signed() - start.cast_signed();
    let last_start =
        slots(block).map(|slot| slot.first_burn_ns.load(Ordering::Relaxed)).max().unwrap_or_default();
    let all_burned = slots(block).all(|slot| slot.first_burn_ns.load(Ordering::Relaxed) > 0);
    BurnerResult {
        phase_index: phase_index as u32,
        burner_index: burner_index as u32,
        kind: burner.plan.load.kind().into(),
        phase: phase.into(),
        workers: block.workers() as u32,
        cores: burner.plan.distinct_cores(),
        variant: burner.prepared.as_ref().map(|prepared| prepared.variant.clone()).unwrap_or_default(),
        target_load_percent: of_cores(|load| load.asked_percent).filter(|_| profile.is_some()),
        achieved_load_percent: of_cores(|load| load.achieved_percent),
        achieved_load_stddev_points: mean(|load| load.stddev_points).filter(|_| profile.is_some()),
        operations: read(|slot| &slot.operations),
        bytes: read(|slot| &slot.bytes),
        flops: read(|slot| &slot.flops),
        burning_ns: slots(block).map(|slot| burning_ns(slot, profile.is_some())).max().unwrap_or_default(),
        derated_percent: derated_percent(block, profile.is_some()),
        verify_errors: read(|slot| &slot.verify_errors),
        io_errors: read(|slot| &slot.io_errors),
        io_error: io_error(block),
        wrong_cores: wrong_cores(burner),
        latencies: (burner.plan.load.latencies().iter().enumerate())
            .filter_map(|(index, name)| latency(block, index, name))
            .collect(),
        figures: (burner.plan.load.figures().iter().enumerate())
            .map(|(index, kind)| figure(block, index, kind))
            .collect(),
        mismatches: burner.mismatches.iter().map(mismatch).collect(),
        wrong_words: burner.wrong_words.iter().map(word).collect(),
        ended: burner.ending(),
        start_skew_ns: all_burned.then(|| slots(block).map(distance).max_by_key(|skew| skew.abs())).flatten(),
        loads: if profile.is_some() { loads } else { Vec::new() },
        attempt: 1,
        superseded: false,
        // By `outcome`.
        outcome: 0,
        outcome_reason: String::new(),
        ready_after_ns: all_burned.then(|| last_start.saturating_sub(clock::ns(asked))),
    }
}

/// Whether an I/O failed for want of room.
pub(super) fn is_full(io_error: &str) -> bool {
    [Errno::ENOSPC, Errno::EDQUOT].iter().any(|errno| errno.desc() == io_error)
}

/// What a memory burner that was made ready could not have, or could not bring about.
pub(super) fn memory_shortage(burner: &BurnerProcess) -> Option<String> {
    let plan::Load::Memory(load) = &burner.plan.load else { return None };
    burner.prepared.as_ref()?;
    let figures = |index: usize| sum(&burner.block, |slot| slot.figures[index].load(Ordering::Relaxed));
    let (resident, asked) = (figures(memory::RESIDENT), load.size_bytes);
    if matches!(load.method, memory::Method::Pressure(_)) {
        let on_target = figures(memory::ON_TARGET);
        return (on_target == 0).then(|| {
            format!(
                "never reached the pressure that was asked for: it held {resident} bytes at the end, of {asked} that it was \
                 allowed; more would need a larger size, a longer phase or a smaller reserve"
            )
        });
    }
    if matches!(load.method, memory::Method::Occupy(_)) {
        let on_target = {
            let of = |slot: &Slot| slot.figures[memory::ON_TARGET].load(Ordering::Relaxed);
            slots(&burner.block).map(of).min().unwrap_or_default()
        };
        return (on_target < HELD_PPM).then(|| {
            format!(
                "kept the host's memory where it was asked to for only {:.0} % of the time: it held {resident} bytes at the \
                 end; others used more than the share leaves, or the reserve was reached",
                on_target as f64 / 1e4
            )
        });
    }
    (load.must_be_resident() && resident < asked)
        .then(|| format!("held {resident} bytes of {asked} that were asked for"))
}

/// More requests of an HTTP burner failed than may.
pub(super) fn failed_requests(result: &BurnerResult, burner: &BurnerProcess) -> Option<String> {
    let plan::Load::Http(load) = &burner.plan.load else { return None };
    let figure = |count: http::Count| &result.figures[count as usize];
    let failures = http::Count::FAILURES.map(figure);
    let failed: f64 = failures.iter().map(|figure| figure.value).sum();
    // An answer with an unexpected status is among the operations.
    let ended = result.operations as f64 + failed - figure(http::Count::UnexpectedStatus).value;
    let percent = 100.0 * failed / ended.max(1.0);
    if percent <= load.max_errors_percent {
        return None;
    }
    let parts: Vec<_> = failures
        .iter()
        .filter(|figure| figure.value > 0.0)
        .map(|figure| format!("{} {}", figure.value, figure.name.replace('_', " ")))
        .collect();
    Some(format!(
        "{failed} of {ended} requests failed, {percent:.2} %, where {} % may: {}",
        load.max_errors_percent,
        parts.join(", ")
    ))
}

/// Whether a burner was to mount its file system anew, and never came to read all back.
pub(super) fn never_remounted(burner: &BurnerProcess) -> bool {
    let plan::Load::Disk(load) = &burner.plan.load else { return false };
    load.remount().is_some()
        && sum(&burner.block, |slot| slot.figures[disk::REMOUNTS_FIGURE].load(Ordering::Relaxed)) == 0
}

fn word(word: &memory::WrongWord) -> WrongWord {
    WrongWord {
        core: word.core,
        pattern: word.pattern.clone(),
        address: word.address,
        page_frame: word.page_frame,
        expected: word.expected,
        got: word.got,
        again: word.again,
    }
}

/// What the first failed I/O of any worker failed with.
pub(super) fn io_error(block: &ControlBlock) -> String {
    let errno = slots(block).map(|slot| slot.io_errno.load(Ordering::Relaxed)).find(|errno| *errno != 0);
    match errno.map(u32::cast_signed) {
        None => String::new(),
        Some(SHORT_TRANSFER) => "fewer bytes were moved than asked".into(),
        Some(errno) => Errno::from_raw(errno).desc().into(),
    }
}

/// The core of a worker that did not execute a single burning instruction.
pub(super) fn never_burned(burner: &BurnerProcess) -> Option<u32> {
    let idle = |slot: &Slot| slot.first_burn_ns.load(Ordering::Relaxed) == 0;
    burner.plan.cores.iter().zip(slots(&burner.block)).find(|(_, slot)| idle(slot)).map(|(core, _)| *core)
}

/// How long a worker burned. One that is not paced rested where its load was derated: that is time in which it could have burned.
fn burning_ns(slot: &Slot, is_paced: bool) -> u64 {
    let rested = if is_paced { 0 } else { slot.withheld_ns.load(Ordering::Relaxed) };
    slot.burning_ns.load(Ordering::Relaxed) + rested
}

/// What guards took of the load, percent of what was asked: of CPU time, or of the time.
fn derated_percent(block: &ControlBlock, is_paced: bool) -> Option<f64> {
    let withheld = sum(block, |slot| slot.withheld_ns.load(Ordering::Relaxed));
    let left =
        sum(block, |slot| if is_paced { &slot.asked_ns } else { &slot.burning_ns }.load(Ordering::Relaxed));
    (withheld > 0).then(|| rounded(100.0 * withheld as f64 / (withheld + left) as f64))
}

/// Asked and achieved load of one worker; nothing of one that never burned.
fn worker_load(core: u32, slot: &Slot, of_core: bool) -> Option<WorkerLoad> {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let burning = read(&slot.burning_ns) as f64;
    if burning == 0.0 {
        return None;
    }
    // To a millionth of a core: what is beyond are the clocks' own nanoseconds.
    let percent = |time_ns: u64| rounded(time_ns as f64 / burning * 100.0);
    let points = |ppm: f64| rounded(ppm / 1e4);
    let windows = read(&slot.windows) as f64;
    let measured = windows > 0.0;
    let mean = read(&slot.window_errors_ppm).cast_signed() as f64 / windows;
    let variance = read(&slot.window_squares_ppm2) as f64 / windows - mean * mean;
    let others = if of_core { read(&slot.others_ns) } else { 0 };
    let withheld = read(&slot.withheld_ns);
    Some(WorkerLoad {
        core,
        asked_percent: percent(read(&slot.asked_ns) + withheld),
        derated_percent: (withheld > 0).then(|| percent(withheld)),
        achieved_percent: percent(read(&slot.on_cpu_ns) + others),
        stddev_points: measured.then(|| points(variance.max(0.0).sqrt())),
        worst_points: measured.then(|| points(read(&slot.window_worst_ppm).cast_signed() as f64)),
        others_percent: of_core.then(|| percent(others)),
        waited_percent: percent(read(&slot.waited_ns)),
        excused_percent: of_core.then(|| percent(read(&slot.excused_ns))),
    })
}

fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn figure(block: &ControlBlock, index: usize, kind: &plan::Figure) -> Figure {
    let numbers =
        (0..block.workers()).map(|worker| block.slot(worker).figures[index].load(Ordering::Relaxed));
    Figure { name: kind.name.into(), unit: kind.unit.into(), value: kind.sum.of(numbers) }
}

fn mismatch(found: &Mismatch) -> v1::Mismatch {
    let Mismatch { place, recipe, difference, .. } = found;
    let precision = recipe.kernel.has_precision().then(|| recipe.precision.name());
    let temperature = |(id, label, celsius): &(String, String, f64)| SensorReading {
        id: id.clone(),
        label: label.clone(),
        celsius: *celsius,
    };
    v1::Mismatch {
        worker: found.worker,
        at_unix_ns: found.at_unix_ns,
        core: place.core,
        core_id: place.core_id,
        package_id: place.package_id,
        microcode: place.microcode.clone().unwrap_or_default(),
        frequency_khz: place.frequency_khz,
        temperatures: found.temperatures.iter().map(temperature).collect(),
        kernel: recipe.kernel.name().into(),
        isa: recipe.isa.name().into(),
        precision: precision.unwrap_or_default().into(),
        seed: recipe.seed,
        unit: found.unit,
        word: difference.word,
        expected: difference.expected,
        got: difference.got,
        xor: difference.expected ^ difference.got,
        wrong_words: difference.wrong_words,
        wrong_bits: difference.wrong_bits,
        injected: found.injected,
        reruns: found.reruns.iter().flatten().map(rerun).collect(),
    }
}

fn rerun(rerun: &Rerun) -> v1::Rerun {
    let placement = rerun.placement.name().into();
    match &rerun.outcome {
        Err(reason) => v1::Rerun { placement, not_done: reason.clone(), ..v1::Rerun::default() },
        Ok(counted) => {
            let rate = counted.rate();
            v1::Rerun {
                placement,
                not_done: String::new(),
                core: Some(counted.core),
                isa: counted.isa.name().into(),
                units: counted.units,
                mismatches: counted.mismatches,
                rate: rate.map(|(rate, _, _)| rate),
                rate_low: rate.map(|(_, low, _)| low),
                rate_high: rate.map(|(_, _, high)| high),
            }
        }
    }
}

fn latency(block: &ControlBlock, operation: usize, name: &str) -> Option<OperationLatency> {
    let counts: Vec<u64> =
        (0..LATENCY.buckets()).map(|bucket| block.latency_sum(operation, bucket)).collect();
    let at = |share| quantile(LATENCY, &counts, share);
    Some(OperationLatency {
        operation: name.into(),
        count: counts.iter().sum(),
        p50_ns: at(0.5)?,
        p90_ns: at(0.9)?,
        p95_ns: Some(at(0.95)?),
        p99_ns: at(0.99)?,
        p999_ns: at(0.999)?,
        max_ns: at(1.0)?,
    })
}

fn slots(block: &ControlBlock) -> impl Iterator<Item = &Slot> {
    (0..block.workers()).map(|worker| block.slot(worker))
}

fn sum(block: &ControlBlock, value: impl Fn(&Slot) -> u64) -> u64 {
    slots(block).map(value).sum()
}
