//! How soon the host is as it was before a spike: in phases that are to settle like an earlier one. The tick reads.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ssts_agent_ebpf::histogram::Layout;
use ssts_proto::{
    catalogue::{HOST_CPU_TIME, RUNQUEUE_LATENCY},
    v1::{RunState, Settling},
};

use super::{active::ActiveRun, admit::PlannedPhase, telemetry::quantile};
use crate::{
    clock,
    observe::{
        frame::Frame,
        schema::{Column, Schema},
    },
};

/// Over which each reading is taken.
const WINDOW: Duration = Duration::from_millis(500);
/// A reading that is greater than before by this share is back.
const BACK: f64 = 1.2;
/// Next to nothing is back, too: 2 % of the cores' time, and what waking up takes by itself.
const LITTLE: [f64; 2] = [0.02, 100_000.0];
const NAMES: [(&str, &str); 2] = [("cpu.busy", "1"), ("runqueue.latency", "ns")];
/// Readings of a phase that it is compared with.
const MOST_KEPT: usize = 4_096;

/// The settlings of a run.
#[derive(Debug, Default)]
pub(super) struct Settlings {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    schema: Option<u32>,
    /// Columns of time, and whether it is idle time.
    times: Vec<(Column, bool)>,
    /// How the buckets of the scheduler probe's latency divide the values.
    layout: Option<Layout>,
    window: VecDeque<Slice>,
    /// By phase, each metric's readings.
    seen: Vec<[Seen; 2]>,
    results: Vec<Settling>,
}

/// What one tick brought.
#[derive(Debug, Default)]
struct Slice {
    /// When it ended, CLOCK_MONOTONIC.
    at: Duration,
    /// All time of all cores, and the idle part of it, in s.
    all: f64,
    idle: f64,
    /// Buckets and counts.
    latencies: Vec<(u32, u64)>,
}

#[derive(Debug, Default)]
struct Seen {
    readings: Vec<f32>,
    greatest: Option<f64>,
    settled: Option<Duration>,
}

impl State {
    fn follow(&mut self, schema: &Schema) {
        if self.schema.replace(schema.id) == Some(schema.id) {
            return;
        }
        let of_time = schema.columns().filter(|(_, column)| *column.metric == HOST_CPU_TIME);
        // What a core waits with for a disk is idle time, too.
        self.times = of_time
            .map(|(column, description)| {
                (column, matches!(description.labels[1].as_str(), "idle" | "iowait"))
            })
            .collect();
        let mut latency = schema.histogram_columns().filter(|(_, of)| *of.column.metric == RUNQUEUE_LATENCY);
        self.layout = latency.next().map(|(_, of)| of.layout);
        self.window.clear();
    }

    /// The readings at the end of this frame: the busy share, and the latency's percentile.
    fn read(&mut self, schema: &Schema, frame: &Frame) -> [Option<f64>; 2] {
        self.follow(schema);
        let mut slice = Slice { at: frame.end, ..Slice::default() };
        for (column, is_idle) in &self.times {
            let Ok(time) = frame.reading(*column) else { continue };
            slice.all += time;
            slice.idle += if *is_idle { time } else { 0.0 };
        }
        let is_latency = |index: usize| {
            schema.histograms.get(index).is_some_and(|of| *of.column.metric == RUNQUEUE_LATENCY)
        };
        let gains = frame.gains().iter().filter(|gain| is_latency(gain.column.index()));
        slice.latencies.extend(gains.map(|gain| (gain.bucket, gain.count)));
        self.window.push_back(slice);
        while self.window.get(1).is_some_and(|next| frame.end.saturating_sub(next.at) >= WINDOW) {
            self.window.pop_front();
        }
        let (Some(first), Some(last)) = (self.window.front(), self.window.back()) else { return [None; 2] };
        if last.at.saturating_sub(first.at) < WINDOW {
            return [None; 2];
        }
        let all = last.all - first.all;
        let busy = (all > 0.0).then(|| (1.0 - (last.idle - first.idle) / all).clamp(0.0, 1.0));
        let latency = self.layout.and_then(|layout| {
            let mut counts = vec![0u64; layout.buckets()];
            for (bucket, count) in self.window.iter().skip(1).flat_map(|slice| &slice.latencies) {
                if let Some(sum) = counts.get_mut(*bucket as usize) {
                    *sum += count;
                }
            }
            quantile(layout, &counts, 0.99).map(|ns| ns as f64)
        });
        [busy, latency]
    }

    fn look(&mut self, phases: &[PlannedPhase], index: usize, elapsed: Duration, readings: [Option<f64>; 2]) {
        if self.seen.len() < phases.len() {
            self.seen.resize_with(phases.len(), Default::default);
        }
        for (metric, value) in readings.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let limit = self.reference(phases, index, metric).map(|before| limit(before, metric));
            let seen = &mut self.seen[index][metric];
            if seen.readings.len() < MOST_KEPT {
                seen.readings.push(value as f32);
            }
            seen.greatest = Some(seen.greatest.map_or(value, |greatest| greatest.max(value)));
            // A reading is of the half second before it, and that has to lie in the phase.
            if let Some(begun) = elapsed.checked_sub(WINDOW)
                && limit.is_some_and(|limit| value <= limit)
            {
                seen.settled.get_or_insert(begun);
            }
        }
    }

    /// The middle reading of the phase that another one is compared with.
    fn reference(&mut self, phases: &[PlannedPhase], index: usize, metric: usize) -> Option<f64> {
        let like = like(phases, index)?;
        let readings = &mut self.seen.get_mut(like)?[metric].readings;
        readings.sort_unstable_by(f32::total_cmp);
        readings.get(readings.len() / 2).map(|value| f64::from(*value))
    }

    fn finish(&mut self, phases: &[PlannedPhase], index: usize) {
        let Some(like) = like(phases, index) else { return };
        for (metric, (name, unit)) in NAMES.into_iter().enumerate() {
            let Some(before) = self.reference(phases, index, metric) else { continue };
            let between = self.seen.get(like + 1..index).unwrap_or_default();
            let peak = between.iter().filter_map(|seen| seen[metric].greatest).reduce(f64::max);
            let settled = self.seen.get(index).and_then(|seen| seen[metric].settled);
            self.results.push(Settling {
                phase: phases[index].name.clone(),
                like: phases[like].name.clone(),
                metric: name.into(),
                unit: unit.into(),
                before,
                peak,
                limit: limit(before, metric),
                settled_after_ns: settled.map(clock::ns),
            });
        }
    }
}

fn limit(before: f64, metric: usize) -> f64 {
    (before * BACK).max(before + LITTLE[metric])
}

/// The place of the phase that another one is compared with.
fn like(phases: &[PlannedPhase], index: usize) -> Option<usize> {
    let name = phases.get(index).map(|phase| phase.settles_like.as_str()).filter(|name| !name.is_empty())?;
    phases.iter().take(index).position(|phase| phase.name == name)
}

impl ActiveRun {
    /// Called by the tick with every frame.
    pub(super) fn settle(&self, state: RunState, schema: &Schema, frame: &Frame) {
        let phases = &self.admitted.phases;
        if state != RunState::Running || phases.iter().all(|phase| phase.settles_like.is_empty()) {
            return;
        }
        let now = clock::boottime();
        let Some(phase) = self.phase_clock().filter(|phase| phase.has_begun(now)) else { return };
        let mut state = self.settlings.state.lock().unwrap_or_else(PoisonError::into_inner);
        let readings = state.read(schema, frame);
        state.look(phases, phase.index(), phase.elapsed(now), readings);
    }

    /// Notes that a phase came to its end.
    pub(super) fn finish_settling(&self, index: usize) {
        let mut state = self.settlings.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.finish(&self.admitted.phases, index);
    }

    /// How soon the host was as it was before.
    pub(super) fn settlings(&self) -> Vec<Settling> {
        self.settlings.state.lock().unwrap_or_else(PoisonError::into_inner).results.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn phase(name: &str, settles_like: &str) -> PlannedPhase {
        PlannedPhase { name: name.into(), settles_like: settles_like.into(), ..PlannedPhase::default() }
    }

    /// A core of which so much is busy, tick by tick.
    fn run(busy: &[(usize, u32, f64)]) -> Vec<Settling> {
        let phases = [phase("before", ""), phase("spike", ""), phase("after", "before")];
        let mut schema = Schema::new(1);
        let user = schema.column(&HOST_CPU_TIME, &["0", "user"]);
        let idle = schema.column(&HOST_CPU_TIME, &["0", "idle"]);
        let mut state = State::default();
        let mut frame = Frame::default();
        let (mut used, mut unused, mut now) = (0.0, 0.0, Duration::from_secs(100));
        let mut begun = (usize::MAX, Duration::ZERO);
        for (index, ticks, share) in busy {
            if begun.0 != *index {
                begun = (*index, now);
            }
            for _ in 0..*ticks {
                now += TICK;
                used += share * 0.1;
                unused += (1.0 - share) * 0.1;
                frame.reset(&schema, 1);
                frame.end = now;
                frame.set(user, Ok(used));
                frame.set(idle, Ok(unused));
                let readings = state.read(&schema, &frame);
                state.look(&phases, *index, now - begun.1, readings);
            }
        }
        state.finish(&phases, 2);
        state.results
    }

    #[test]
    fn the_time_is_told_from_the_end_of_the_spike() {
        let told = run(&[(0, 30, 0.1), (1, 20, 0.9), (2, 8, 0.5), (2, 30, 0.11)]);
        let [busy] = &told[..] else { panic!("no probe counts latencies: {told:?}") };
        assert_eq!(
            (busy.metric.as_str(), busy.phase.as_str(), busy.like.as_str()),
            ("cpu.busy", "after", "before")
        );
        assert!(
            (busy.before - 0.1).abs() < 1e-6 && busy.peak.is_some_and(|peak| (peak - 0.9).abs() < 1e-6),
            "{busy:?}"
        );
        assert_eq!(busy.settled_after_ns, Some(800_000_000), "{busy:?}");
    }

    #[test]
    fn what_stays_as_it_was_in_the_spike_has_not_settled() {
        let told = run(&[(0, 30, 0.1), (1, 20, 0.9), (2, 30, 0.5)]);
        assert_eq!(told[0].settled_after_ns, None, "{told:?}");
        // A host that was idle is back when it is next to idle.
        let told = run(&[(0, 30, 0.001), (1, 20, 0.9), (2, 30, 0.015)]);
        assert_eq!(told[0].settled_after_ns, Some(0), "{told:?}");
    }
}
