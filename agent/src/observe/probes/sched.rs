//! Reads what the programs of `agent-ebpf/src/sched.rs` count: waits for a core, by the core.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use nix::{
    sys::resource::{UsageWho, getrusage},
    unistd::gettid,
};
use ssts_agent_ebpf::shared::LATENCY;
use ssts_proto::catalogue;

use super::{
    Attached, Canary, HookChoice, cpus,
    error::ProbeError,
    gains::Gains,
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    window::{SharedCounts, Window},
};
use crate::{
    host::HostRoots,
    observe::{
        frame::{BucketGain, Frame},
        schema::{HistogramColumn, Schema},
        source::Source,
    },
};

pub(super) const NAME: &str = "sched";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sched"));

static HOOKS: [Hook; 3] = [
    Hook { category: "sched", event: "sched_switch", raw: "raw_switch", recorded: "tp_switch" },
    Hook { category: "sched", event: "sched_wakeup", raw: "raw_wakeup", recorded: "tp_wakeup" },
    Hook { category: "sched", event: "sched_wakeup_new", raw: "raw_wakeup_new", recorded: "tp_wakeup_new" },
];

/// How often the canary sleeps, and for how long.
const SLEEPS: u32 = 20;
const SLEEP: Duration = Duration::from_millis(1);

/// Loads the probe and tests it: the programs count the runs of one thread apart, which sleeps a known number of times.
pub(super) fn load(roots: &HostRoots, choice: HookChoice, possible: usize) -> Result<Attached, ProbeError> {
    thread::scope(|scope| {
        let (say_pid, pid) = mpsc::sync_channel(1);
        let (start, started) = mpsc::sync_channel(1);
        let canary = scope.spawn(move || {
            // Nobody listens where the load failed.
            let _ = say_pid.send(gettid().as_raw());
            started.recv().map_or(0, |()| sleep_and_count_switches())
        });
        let died = || ProbeError::Canary("its thread ended early".into());
        let pid = pid.recv().map_err(|_| died())?;
        let source = RunqueueLatency::attach(roots, choice, possible, pid as u32)?;
        let seen = source.programs.window::<AtomicU64>("CANARY", 1)?;
        start.send(()).map_err(|_| died())?;
        let switches = canary.join().unwrap_or(0);
        let seen = seen[0].load(Relaxed);
        // Some runs precede its first sleep. Some kernels skip a few: on a virtual machine with 6.18 perf missed as many.
        if seen >= u64::from(SLEEPS / 2) && seen <= switches + 3 {
            let programs = source.programs.clone();
            let core_busy = programs.share("BUSY")?;
            return Ok(Attached {
                name: NAME,
                programs,
                source: Box::new(source),
                canary: Canary::Working,
                core_busy: Some(core_busy),
            });
        }
        Err(ProbeError::Canary(format!(
            "a thread slept {SLEEPS} times and left its core {switches} times, but was seen to get one {seen} times"
        )))
    })
}

/// The source of `runqueue.latency`.
#[derive(Debug)]
struct RunqueueLatency {
    programs: Arc<Programs>,
    roots: HostRoots,
    /// By CPU.
    counts: Window<SharedCounts>,
    gains: Vec<Gains>,
    /// Of the CPUs that were online at the last look.
    columns: Vec<Option<HistogramColumn>>,
}

impl RunqueueLatency {
    fn attach(
        roots: &HostRoots,
        choice: HookChoice,
        possible: usize,
        canary: u32,
    ) -> Result<Self, ProbeError> {
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            maps: vec![("RUNQUEUE", possible as u32), ("BUSY", possible as u32)],
            constants: vec![("CANARY_PID", canary)],
            raw: raw_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, roots, choice)?;
        let counts = programs.window::<SharedCounts>("RUNQUEUE", possible)?;
        let gains = (0..possible).map(|cpu| Gains::since_now(&counts[cpu..=cpu])).collect();
        Ok(Self {
            programs: Arc::new(programs),
            roots: roots.clone(),
            counts,
            gains,
            columns: vec![None; possible],
        })
    }
}

impl Source for RunqueueLatency {
    fn describe(&mut self, schema: &mut Schema) {
        // The first time, what was counted since the load is left out; later, nothing may get lost.
        if self.columns.iter().all(Option::is_none) {
            for (cpu, gains) in self.gains.iter_mut().enumerate() {
                *gains = Gains::since_now(&self.counts[cpu..=cpu]);
            }
        }
        self.columns.fill(None);
        for cpu in cpus::online(&self.roots).filter(|cpu| *cpu < self.gains.len()) {
            let label = cpu.to_string();
            self.columns[cpu] = Some(schema.histogram(&catalogue::RUNQUEUE_LATENCY, &[&label], LATENCY));
        }
    }

    fn sample(&mut self, frame: &mut Frame) {
        for (cpu, (gains, column)) in self.gains.iter_mut().zip(&self.columns).enumerate() {
            let Some(column) = *column else { continue };
            gains.take(&self.counts[cpu..=cpu], |bucket, count| {
                frame.gain(BucketGain { column, bucket, count });
            });
        }
    }

    fn changed(&self) -> bool {
        let mut cpus = self.columns.iter().zip(&self.gains).enumerate();
        cpus.any(|(cpu, (column, gains))| column.is_none() && !gains.idle(&self.counts[cpu..=cpu]))
    }
}

/// What the canary does; returns how often it left its core meanwhile.
fn sleep_and_count_switches() -> u64 {
    let switches = || {
        getrusage(UsageWho::RUSAGE_THREAD)
            .map_or(0, |usage| usage.voluntary_context_switches() + usage.involuntary_context_switches())
    };
    let before = switches();
    (0..SLEEPS).for_each(|_| thread::sleep(SLEEP));
    (switches() - before) as u64
}

fn raw_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    // Linux 5.18.0 alone passed the state before the tasks.
    if types.argument("sched_switch", "task_struct")? != 1 {
        return Err(ProbeError::Prototype { what: "sched_switch's tasks" });
    }
    if types.argument("sched_wakeup", "task_struct")? != 0 {
        return Err(ProbeError::Prototype { what: "sched_wakeup's task" });
    }
    let has_state = types.argument_count("sched_switch")? > 3;
    let (state, size) = match types.find_member("task_struct", "__state")? {
        Some(offset) => (offset, 4),
        None => (types.member("task_struct", "state")?, 8),
    };
    Ok(vec![
        ("TASK_PID", types.member("task_struct", "pid")?),
        ("SWITCH_HAS_STATE", has_state.into()),
        ("TASK_STATE", state),
        ("TASK_STATE_SIZE", size),
    ])
}

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    let pid = |event| tracefs.format(event, |format| format.offset("pid", 4));
    let wakeup = pid("sched/sched_wakeup")?;
    if pid("sched/sched_wakeup_new")? != wakeup {
        return Err(ProbeError::Prototype { what: "sched_wakeup_new's pid" });
    }
    tracefs.format("sched/sched_switch", |format| {
        Ok(vec![
            ("WAKEUP_PID", wakeup),
            ("SWITCH_PREV_PID", format.offset("prev_pid", 4)?),
            ("SWITCH_PREV_STATE", format.offset("prev_state", 8)?),
            ("SWITCH_NEXT_PID", format.offset("next_pid", 4)?),
            // TASK_REPORT_MAX, the bit above those of the states that have names.
            ("SWITCH_PREEMPTED", format.highest_flag("prev_state")? << 1),
        ])
    })
}
