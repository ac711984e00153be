//! Reads what the programs of `agent-ebpf/src/sched.rs` count: waits for a core, what ran on it, who took it from burners.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::resource::{UsageWho, getrusage},
    unistd::gettid,
};
use ssts_agent_ebpf::shared::{BURNER_WORDS, LATENCY, WAIT_KINDS, own};
use ssts_proto::catalogue;

use super::{
    Attached, Canary, Target,
    burner_watch::{Shared, is_burner, set_burner},
    core_busy::SharedCore,
    cpus,
    error::ProbeError,
    gains::Gains,
    own_task,
    preemptions::{PreemptionReader, Taken},
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    watched::ByUnit,
    window::{SharedCounts, Window},
};
use crate::{
    clock,
    host::HostRoots,
    observe::{
        frame::{BucketGain, Frame},
        schema::{Column, HistogramColumn, Schema},
        source::Source,
    },
};

pub(super) const NAME: &str = "sched";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sched"));

static HOOKS: [Hook; 3] = [
    Hook::new("sched", "sched_switch", "switch"),
    Hook::new("sched", "sched_wakeup", "wakeup"),
    Hook::new("sched", "sched_wakeup_new", "wakeup_new"),
];

/// How often the canary sleeps, and for how long.
const SLEEPS: u32 = 20;
const SLEEP: Duration = Duration::from_millis(1);
/// Of its own core time, before it sleeps.
const SPIN: Duration = Duration::from_millis(3);
/// Names of tasks that took cores from burners have columns; one frame has no more of them.
const MOST_TASKS: usize = 16;

/// Loads the probe and tests it: the programs count the runs of one thread apart, which sleeps a known number of times.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    thread::scope(|scope| {
        let (say_pid, pid) = mpsc::sync_channel(1);
        let (start, started) = mpsc::sync_channel(1);
        let canary = scope.spawn(move || {
            // Nobody listens where the load failed.
            let _ = say_pid.send(gettid().as_raw());
            started.recv().map_or_else(|_| Did::default(), |()| run_and_sleep())
        });
        let died = || ProbeError::Canary("its thread ended early".into());
        let pid = pid.recv().map_err(|_| died())?;
        let source = Scheduler::attach(target, pid as u32)?;
        let burners = source.programs.window::<AtomicU64>("BURNERS", BURNER_WORDS as usize)?;
        let seen = source.programs.window::<AtomicU64>("CANARY", 1)?;
        let daemon = std::process::id();
        let (begin, before) = (Instant::now(), source.burner_ns());
        set_burner(&burners, daemon, true);
        start.send(()).map_err(|_| died())?;
        let did = canary.join().unwrap_or_default();
        set_burner(&burners, daemon, false);
        let burned = Duration::from_nanos(source.burner_ns() - before);
        let most = begin.elapsed() * target.cpus as u32;
        let seen = seen[0].load(Relaxed);
        // Some runs precede its first sleep. Some kernels skip a few: on a virtual machine with 6.18 perf missed as many.
        if seen < u64::from(SLEEPS / 2) || seen > did.switches + 3 {
            return Err(ProbeError::Canary(format!(
                "a thread slept {SLEEPS} times and left its core {} times, but was seen to get one {seen} times",
                did.switches
            )));
        }
        if burned < did.on_cpu / 2 || burned > most {
            return Err(ProbeError::Canary(format!(
                "a thread ran for {:?}, but its process was seen to run for {burned:?}",
                did.on_cpu
            )));
        }
        let programs = source.programs.clone();
        if !programs.are_recorded() {
            own_task::look(&programs, &target.roots, &[own::PID, own::TGID, own::NAME])?;
        }
        let shared = Shared {
            core_busy: Some(programs.share("CORES")?),
            burners: Some(burners),
            preemptions: Some(source.preemptions.board().clone()),
            ..Shared::default()
        };
        Ok(Attached { name: NAME, programs, source: Box::new(source), canary: Canary::Working, shared })
    })
}

/// The source of what begins with `runqueue.` and of the metrics that begin with `sched.`.
#[derive(Debug)]
struct Scheduler {
    programs: Arc<Programs>,
    roots: HostRoots,
    /// By CPU.
    waits: Vec<Waits>,
    counts: Window<SharedCounts>,
    /// Whether those of burners stand apart.
    tells_burners: bool,
    cores: Window<SharedCore>,
    burners: Window<AtomicU64>,
    cpus: Vec<Cpu>,
    preemptions: PreemptionReader,
    /// How many tasks' names have columns, and which.
    tasks: Vec<(Column, Column)>,
    watched: ByUnit,
    described: bool,
}

/// What is told of one CPU.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    /// Of a CPU that was online at the last look.
    columns: Option<Columns>,
    /// Where counting began.
    base: Split,
    /// What was told last: the task that runs may turn out to be something else than it seemed, and no count may fall.
    told: Split,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    latency: HistogramColumn,
    /// Where those of burners stand apart.
    latency_of_others: Option<HistogramColumn>,
    burner: Column,
    others: Column,
    idle: Column,
    switches: Column,
    preemptions: Column,
}

/// What tasks waited for one CPU.
#[derive(Debug)]
struct Waits {
    all: Gains,
    others: Gains,
}

impl Waits {
    /// Of a CPU's histograms.
    fn since_now(counts: &[SharedCounts]) -> Self {
        Self { all: Gains::since_now(counts), others: Gains::since_now(counts.iter().take(1)) }
    }
}

/// The histograms of one CPU: of others, then of burners.
fn of_cpu(counts: &[SharedCounts], cpu: usize) -> &[SharedCounts] {
    const EACH: usize = WAIT_KINDS as usize;
    &counts[cpu * EACH..][..EACH]
}

/// How a CPU's time was spent since the probe was attached, up to an instant of CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, Default)]
struct Split {
    at_ns: u64,
    burner_ns: u64,
    others_ns: u64,
    busy_ns: u64,
    switches: u64,
    preemptions: u64,
}

impl Scheduler {
    fn attach(target: &Target, canary: u32) -> Result<Self, ProbeError> {
        let possible = target.cpus;
        let each = |map| (map, possible as u32);
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: true,
            maps: vec![
                ("RUNQUEUE", possible as u32 * WAIT_KINDS),
                each("CORES"),
                each("PREEMPTERS"),
                each("WAITED"),
                ByUnit::map("WATCHED_WAITS", target),
            ],
            constants: vec![("CANARY_PID", canary), ByUnit::constant(target)],
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, target)?;
        let counts = programs.window::<SharedCounts>("RUNQUEUE", possible * WAIT_KINDS as usize)?;
        let waits = (0..possible).map(|cpu| Waits::since_now(of_cpu(&counts, cpu))).collect();
        Ok(Self {
            roots: target.roots.clone(),
            counts,
            waits,
            tells_burners: !programs.are_recorded(),
            cores: programs.window("CORES", possible)?,
            burners: programs.window("BURNERS", BURNER_WORDS as usize)?,
            cpus: vec![Cpu::default(); possible],
            preemptions: PreemptionReader::new(programs.window("PREEMPTERS", possible)?),
            tasks: Vec::new(),
            watched: ByUnit::open(
                &programs,
                target,
                "WATCHED_WAITS",
                &catalogue::PROTECTED_RUNQUEUE_LATENCY,
            )?,
            described: false,
            programs: Arc::new(programs),
        })
    }

    /// Of all CPUs, up to their latest switches.
    fn burner_ns(&self) -> u64 {
        self.cores.iter().filter_map(|core| Some(core.read()?.burner_ns)).sum()
    }

    /// Nothing for a CPU that never switched.
    fn split(&self, cpu: usize) -> Option<Split> {
        // Before what the kernel says: this thread may lose its core in between, and what came then is no time of the task
        // that ran.
        let at_ns = clock::ns(clock::monotonic());
        let core = self.cores[cpu].read().filter(|core| core.since_ns != 0)?;
        let current = if core.running == 0 { 0 } else { at_ns.saturating_sub(core.since_ns) };
        let (mut burner_ns, mut others_ns) = (core.burner_ns, core.busy_ns - core.burner_ns);
        // A tracepoint's record doesn't say whose thread runs next: its time is told once it has run.
        match (core.running >> 32) as u32 {
            0 => {}
            tgid if is_burner(&self.burners, tgid) => burner_ns += current,
            _ => others_ns += current,
        }
        Some(Split {
            at_ns,
            burner_ns,
            others_ns,
            busy_ns: core.busy_ns + current,
            switches: core.switches,
            preemptions: core.preemptions,
        })
    }

    fn sample_cpu(&mut self, cpu: usize, columns: Columns, frame: &mut Frame) {
        let Some(now) = self.split(cpu) else { return };
        let Cpu { base, told, .. } = &mut self.cpus[cpu];
        if base.at_ns == 0 {
            *base = now;
        }
        // The clocks of two cores may differ by a little.
        told.burner_ns = told.burner_ns.max(now.burner_ns.saturating_sub(base.burner_ns));
        told.others_ns = told.others_ns.max(now.others_ns.saturating_sub(base.others_ns));
        told.busy_ns = told.busy_ns.max(now.busy_ns.saturating_sub(base.busy_ns));
        told.at_ns = now.at_ns - base.at_ns;
        let idle_ns = told.at_ns.saturating_sub(told.busy_ns);
        let seconds = |ns: u64| Ok(ns as f64 * 1e-9);
        frame.set(columns.burner, seconds(told.burner_ns));
        frame.set(columns.others, seconds(told.others_ns));
        frame.set(columns.idle, seconds(idle_ns));
        frame.set(columns.switches, Ok((now.switches - base.switches) as f64));
        frame.set(columns.preemptions, Ok((now.preemptions - base.preemptions) as f64));
        let counts = of_cpu(&self.counts, cpu);
        let waits = &mut self.waits[cpu];
        waits.all.take(counts, |bucket, count| {
            frame.gain(BucketGain { column: columns.latency, bucket, count });
        });
        if let Some(column) = columns.latency_of_others {
            waits.others.take(counts.iter().take(1), |bucket, count| {
                frame.gain(BucketGain { column, bucket, count });
            });
        }
    }
}

impl Source for Scheduler {
    fn describe(&mut self, schema: &mut Schema) {
        // The first time, what was counted since the load is left out; later, nothing may get lost.
        if !self.described {
            self.described = true;
            for cpu in 0..self.cpus.len() {
                self.waits[cpu] = Waits::since_now(of_cpu(&self.counts, cpu));
                self.cpus[cpu].base = self.split(cpu).unwrap_or_default();
            }
        }
        self.cpus.iter_mut().for_each(|cpu| cpu.columns = None);
        self.watched.describe(schema);
        for cpu in cpus::online(&self.roots).filter(|cpu| *cpu < self.waits.len()) {
            let label = cpu.to_string();
            let mut time = |who| schema.column(&catalogue::SCHED_TIME, &[&label, who]);
            let (burner, others, idle) = (time("burner"), time("others"), time("idle"));
            let latency_of_others = self
                .tells_burners
                .then(|| schema.histogram(&catalogue::RUNQUEUE_OTHERS_LATENCY, &[&label], LATENCY));
            self.cpus[cpu].columns = Some(Columns {
                latency_of_others,
                latency: schema.histogram(&catalogue::RUNQUEUE_LATENCY, &[&label], LATENCY),
                burner,
                others,
                idle,
                switches: schema.column(&catalogue::SCHED_SWITCHES, &[&label]),
                preemptions: schema.column(&catalogue::SCHED_PREEMPTIONS, &[&label]),
            });
        }
        let column = |task: &str| {
            let count = schema.column(&catalogue::SCHED_BURNER_PREEMPTIONS, &[task]);
            (count, schema.column(&catalogue::SCHED_BURNER_PREEMPTED_TIME, &[task]))
        };
        let names: Vec<_> = self.preemptions.taken().iter().take(MOST_TASKS).map(Taken::task).collect();
        self.tasks = names.iter().map(String::as_str).map(column).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        for cpu in 0..self.cpus.len() {
            if let Some(columns) = self.cpus[cpu].columns {
                self.sample_cpu(cpu, columns, frame);
            }
        }
        self.watched.sample(frame);
        self.preemptions.read();
        self.programs.note_lost(self.preemptions.lost());
        for ((count, time), taken) in self.tasks.iter().zip(self.preemptions.taken()) {
            frame.set(*count, Ok(taken.count as f64));
            frame.set(*time, Ok(taken.ns as f64 * 1e-9));
        }
    }

    fn changed(&self) -> bool {
        let mut cpus = self.cpus.iter().zip(&self.waits).enumerate();
        let newcomer = self.preemptions.taken().len().min(MOST_TASKS) > self.tasks.len();
        newcomer
            || cpus.any(|(cpu, (told, waits))| {
                told.columns.is_none() && !waits.all.idle(of_cpu(&self.counts, cpu))
            })
    }
}

/// What the canary did.
#[derive(Debug, Default)]
struct Did {
    switches: u64,
    on_cpu: Duration,
}

/// What the canary does: it runs for a while, then sleeps some times.
fn run_and_sleep() -> Did {
    let switches = || {
        getrusage(UsageWho::RUSAGE_THREAD)
            .map_or(0, |usage| usage.voluntary_context_switches() + usage.involuntary_context_switches())
    };
    let (before, begin) = (switches(), clock::thread_cpu());
    while clock::thread_cpu() - begin < SPIN {
        std::hint::spin_loop();
    }
    (0..SLEEPS).for_each(|_| thread::sleep(SLEEP));
    Did { switches: (switches() - before) as u64, on_cpu: clock::thread_cpu() - begin }
}

fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
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
    let pid = types.member("task_struct", "pid")?;
    // One read takes both.
    if types.member("task_struct", "tgid")? != pid + 4 {
        return Err(ProbeError::Prototype { what: "a task's thread group" });
    }
    Ok(vec![
        ("TASK_PID", pid),
        ("TASK_COMM", types.member("task_struct", "comm")?),
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
            ("SWITCH_PREV_STATE", format.offset("prev_state", 8)?),
            ("SWITCH_NEXT_PID", format.offset("next_pid", 4)?),
            ("SWITCH_NEXT_COMM", format.offset("next_comm", 16)?),
            // TASK_REPORT_MAX, the bit above those of the states that have names.
            ("SWITCH_PREEMPTED", format.highest_flag("prev_state")? << 1),
        ])
    })
}
