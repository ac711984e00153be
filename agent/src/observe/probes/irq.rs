//! Reads what the programs of `agent-ebpf/src/irq.rs` count: time of interrupts by core and source, waits, durations.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use ssts_agent_ebpf::shared::{HardInterrupts, LATENCY, SOFT_VECTORS, SoftInterrupts};
use ssts_proto::catalogue;
use tracing::warn;

use super::{
    Attached, Canary, Target,
    burner_watch::Shared,
    cpus,
    error::ProbeError,
    gains::Gains,
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    window::{Element, SharedCounts, Window},
};
use crate::{
    host::HostRoots,
    observe::{
        frame::{BucketGain, Frame},
        lookout::Lookout,
        schema::{Column, HistogramColumn, Schema},
        source::Source,
    },
};

mod canary;

use self::canary::{Counted, Truth};

pub(super) const NAME: &str = "irq";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/irq"));

static HOOKS: [Hook; 5] = [
    Hook::new("irq", "irq_handler_exit", "hard_exit"),
    Hook::new("irq", "irq_handler_entry", "hard_entry"),
    Hook::new("irq", "softirq_exit", "soft_exit"),
    Hook::new("irq", "softirq_entry", "soft_entry"),
    Hook::new("irq", "softirq_raise", "raise"),
];

/// Names of the vectors, as /proc/softirqs has them: softirq_to_name of kernel/softirq.c.
const VECTORS: [&str; SOFT_VECTORS as usize] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];

/// Numbers of interrupts that are kept apart: those of devices are small.
const MOST_NUMBERS: usize = 1_024;
/// For devices that come later.
const SPARE_NUMBERS: usize = 64;
/// Pairs of a core and an interrupt that have columns.
const MOST_PAIRS: usize = 1_024;

/// How often the names of handlers are looked up.
const NAMES_EVERY: Duration = Duration::from_secs(10);

/// For how long the canary keeps a core busy, so that its timer raises soft interrupts.
const SPIN: Duration = Duration::from_millis(20);
/// When it gives up.
const LONGEST: Duration = Duration::from_secs(1);

/// [`HardInterrupts`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
struct SharedHard {
    ns: AtomicU64,
    count: AtomicU64,
}

const _: () = assert!(size_of::<SharedHard>() == size_of::<HardInterrupts>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedHard {}

/// [`SoftInterrupts`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
struct SharedSoft {
    wait: SharedCounts,
    duration: SharedCounts,
    ns: AtomicU64,
}

const _: () = assert!(size_of::<SharedSoft>() == size_of::<SoftInterrupts>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedSoft {}

/// Loads the probe and tests it.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    let source = Interrupts::attach(target)?;
    let canary = source.canary()?;
    Ok(Attached {
        name: NAME,
        programs: source.programs.clone(),
        source: Box::new(source),
        canary,
        shared: Shared::default(),
    })
}

/// The source of the metrics that begin with `irq.`.
#[derive(Debug)]
struct Interrupts {
    programs: Arc<Programs>,
    roots: HostRoots,
    cpus: usize,
    numbers: usize,
    /// By CPU, then number.
    hard: Window<SharedHard>,
    /// By CPU.
    hard_duration: Window<SharedCounts>,
    hard_gains: Vec<Gains>,
    /// By CPU, then vector.
    soft: Window<SharedSoft>,
    vectors: Vec<Vector>,
    online: Vec<OnlineCpu>,
    /// Pairs that have columns: index in `hard`, count, time.
    pairs: Vec<(usize, Column, Column)>,
    /// How many pairs had an interrupt when they were last described.
    seen: usize,
    /// Of handlers, by number. Without a thread for them numbers have to do.
    names: Option<Lookout<Vec<String>>>,
    /// The names that the present columns show.
    named: u64,
}

/// What all CPUs did for one vector.
#[derive(Debug)]
struct Vector {
    wait: Gains,
    duration: Gains,
    columns: Option<(HistogramColumn, HistogramColumn)>,
}

#[derive(Debug)]
struct OnlineCpu {
    cpu: usize,
    hard_duration: HistogramColumn,
    soft: [Column; VECTORS.len()],
}

impl Interrupts {
    fn attach(target: &Target) -> Result<Self, ProbeError> {
        let (roots, cpus) = (&target.roots, target.cpus);
        let numbers = (highest_number(roots) + 1 + SPARE_NUMBERS).min(MOST_NUMBERS);
        let vectors = VECTORS.len();
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: true,
            maps: vec![
                ("OPEN", cpus as u32),
                ("HARD", (cpus * numbers) as u32),
                ("HARD_DURATION", cpus as u32),
                ("SOFT", (cpus * vectors) as u32),
            ],
            constants: vec![("NUMBERS", numbers as u32)],
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let programs = Programs::attach(&definition, target)?;
        let hard_duration = programs.window::<SharedCounts>("HARD_DURATION", cpus)?;
        let soft = programs.window::<SharedSoft>("SOFT", cpus * vectors)?;
        let vector = |vector| Vector {
            wait: Gains::since_now(of_vector(&soft, vector).map(|soft| &soft.wait)),
            duration: Gains::since_now(of_vector(&soft, vector).map(|soft| &soft.duration)),
            columns: None,
        };
        Ok(Self {
            roots: roots.clone(),
            cpus,
            numbers,
            hard: programs.window("HARD", cpus * numbers)?,
            hard_gains: hard_duration.iter().map(|cpu| Gains::since_now([cpu])).collect(),
            hard_duration,
            vectors: (0..vectors).map(vector).collect(),
            soft,
            online: Vec::new(),
            pairs: Vec::new(),
            seen: 0,
            names: handlers(roots.clone(), numbers)
                .inspect_err(
                    |error| warn!(%error, "interrupts are shown without the names of their handlers"),
                )
                .ok(),
            named: 0,
            programs: Arc::new(programs),
        })
    }

    /// Causes interrupts, keeps a core busy, and looks whether what was counted is what the kernel itself counts.
    fn canary(&self) -> Result<Canary, ProbeError> {
        let truth = || Truth::read(&self.roots);
        let before = match truth() {
            Ok(before) => before,
            Err(reason) => return Ok(Canary::Untestable(reason)),
        };
        let counted_before = self.counted();
        canary::cause(&self.roots);
        let begin = Instant::now();
        // An idle host may take its time.
        while begin.elapsed() < LONGEST && truth().is_ok_and(|now| now.soft == before.soft) {
            let begin = Instant::now();
            while begin.elapsed() < SPIN {
                std::hint::spin_loop();
            }
            thread::sleep(Duration::from_millis(1));
        }
        // What was raised last may still run.
        thread::sleep(Duration::from_millis(1));
        let counted_after = self.counted();
        let after = match truth() {
            Ok(after) => after,
            Err(reason) => return Ok(Canary::Untestable(reason)),
        };
        match canary::judge(&VECTORS, [&before, &after], [&counted_before, &counted_after]) {
            Err(reason) => Err(ProbeError::Canary(reason)),
            Ok(0) => Ok(Canary::Untestable("there was no soft interrupt to test with".into())),
            Ok(_) => Ok(Canary::Working),
        }
    }

    fn counted(&self) -> Counted {
        let of_each = |of: fn(&SharedSoft) -> &SharedCounts| {
            let of_all =
                |vector| of_vector(&self.soft, vector).map(|soft| of(soft).total.load(Relaxed)).sum();
            (0..VECTORS.len()).map(of_all).collect()
        };
        let of_number =
            |number| self.hard.iter().skip(number).step_by(self.numbers).map(|hard| hard.count.load(Relaxed));
        Counted {
            ran: of_each(|soft| &soft.duration),
            waited: of_each(|soft| &soft.wait),
            hard: (0..self.numbers).map(|number| of_number(number).sum()).collect(),
        }
    }

    fn active(&self) -> impl Iterator<Item = usize> {
        let active = |(index, hard): (usize, &SharedHard)| (hard.count.load(Relaxed) > 0).then_some(index);
        self.hard.iter().enumerate().filter_map(active).take(MOST_PAIRS)
    }
}

impl Source for Interrupts {
    fn describe(&mut self, schema: &mut Schema) {
        if self.online.is_empty() {
            // What was counted since the load is left out.
            self.hard_gains = self.hard_duration.iter().map(|cpu| Gains::since_now([cpu])).collect();
            for (vector, gains) in self.vectors.iter_mut().enumerate() {
                gains.wait = Gains::since_now(of_vector(&self.soft, vector).map(|soft| &soft.wait));
                gains.duration = Gains::since_now(of_vector(&self.soft, vector).map(|soft| &soft.duration));
            }
        }
        self.online = cpus::online(&self.roots)
            .filter(|cpu| *cpu < self.cpus)
            .map(|cpu| {
                let label = cpu.to_string();
                OnlineCpu {
                    cpu,
                    hard_duration: schema.histogram(&catalogue::IRQ_HARD_DURATION, &[&label], LATENCY),
                    soft: VECTORS.map(|name| schema.column(&catalogue::IRQ_SOFT_TIME, &[&label, name])),
                }
            })
            .collect();
        for (name, vector) in VECTORS.iter().zip(&mut self.vectors) {
            let wait = schema.histogram(&catalogue::IRQ_SOFT_WAIT, &[name], LATENCY);
            vector.columns = Some((wait, schema.histogram(&catalogue::IRQ_SOFT_DURATION, &[name], LATENCY)));
        }
        let active: Vec<_> = self.active().collect();
        self.seen = active.len();
        self.named = self.names.as_ref().map_or(0, Lookout::generation);
        let names = self.names.as_ref().map(Lookout::found);
        let column = |index: usize| {
            let (cpu, irq) = ((index / self.numbers).to_string(), index % self.numbers);
            let known = names.as_ref().and_then(|names| names.get(irq));
            let name = known.cloned().unwrap_or_else(|| irq.to_string());
            let labels = [&*cpu, &*name];
            let count = schema.column(&catalogue::IRQ_HARD_COUNT, &labels);
            (index, count, schema.column(&catalogue::IRQ_HARD_TIME, &labels))
        };
        self.pairs = active.into_iter().map(column).collect();
    }

    fn sample(&mut self, frame: &mut Frame) {
        let gain = |column| move |bucket, count| BucketGain { column, bucket, count };
        for online in &self.online {
            let cpu = online.cpu;
            let hard = gain(online.hard_duration);
            self.hard_gains[cpu]
                .take([&self.hard_duration[cpu]], |bucket, count| frame.gain(hard(bucket, count)));
            let soft = &self.soft[cpu * VECTORS.len()..][..VECTORS.len()];
            for (column, soft) in online.soft.iter().zip(soft) {
                frame.set(*column, Ok(soft.ns.load(Relaxed) as f64 * 1e-9));
            }
        }
        for (index, vector) in self.vectors.iter_mut().enumerate() {
            let Some((wait, duration)) = vector.columns else { continue };
            let (wait, duration) = (gain(wait), gain(duration));
            let waits = of_vector(&self.soft, index).map(|soft| &soft.wait);
            vector.wait.take(waits, |bucket, count| frame.gain(wait(bucket, count)));
            let durations = of_vector(&self.soft, index).map(|soft| &soft.duration);
            vector.duration.take(durations, |bucket, count| frame.gain(duration(bucket, count)));
        }
        for (index, count, time) in &self.pairs {
            let hard = &self.hard[*index];
            frame.set(*count, Ok(hard.count.load(Relaxed) as f64));
            frame.set(*time, Ok(hard.ns.load(Relaxed) as f64 * 1e-9));
        }
    }

    fn changed(&self) -> bool {
        self.active().count() > self.seen
            || self.names.as_ref().is_some_and(|names| names.generation() != self.named)
    }
}

/// What each CPU did for a vector.
fn of_vector(soft: &[SharedSoft], vector: usize) -> impl Iterator<Item = &SharedSoft> + Clone {
    soft.iter().skip(vector).step_by(VECTORS.len())
}

/// The names of all, looked for beside the tick: a host has hundreds.
fn handlers(roots: HostRoots, numbers: usize) -> io::Result<Lookout<Vec<String>>> {
    let find = move || (0..numbers).map(|irq| name_of(&roots, irq, numbers)).collect();
    Lookout::start("irq-names", NAMES_EVERY, find)
}

/// The number of an interrupt with the names of its handlers, as sysfs shows them since Linux 4.9. The last of `numbers`
/// stands for all that are too large to be kept apart.
fn name_of(roots: &HostRoots, irq: usize, numbers: usize) -> String {
    if irq + 1 == numbers {
        return "other".into();
    }
    let actions = fs::read_to_string(roots.sys(format!("kernel/irq/{irq}/actions"))).unwrap_or_default();
    format!("{irq} {}", actions.trim()).trim_end().to_owned()
}

fn highest_number(roots: &HostRoots) -> usize {
    let Ok(entries) = fs::read_dir(roots.sys("kernel/irq")) else { return 0 };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(number).max().unwrap_or(0)
}

/// All arguments are plain numbers.
fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    if types.argument_count("softirq_entry")? != 1 || types.argument("irq_handler_exit", "irqaction")? != 1 {
        return Err(ProbeError::Prototype { what: "the number of an interrupt" });
    }
    Ok(Vec::new())
}

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    let vector = |event| tracefs.format(event, |format| format.offset("vec", 4));
    Ok(vec![
        ("EXIT_IRQ", tracefs.format("irq/irq_handler_exit", |format| format.offset("irq", 4))?),
        ("RAISE_VEC", vector("irq/softirq_raise")?),
        ("ENTRY_VEC", vector("irq/softirq_entry")?),
        ("EXIT_VEC", vector("irq/softirq_exit")?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_too_large_to_be_kept_apart_share_a_label_that_says_so() {
        let sys = tempfile::tempdir().unwrap();
        let roots = HostRoots { sys: sys.path().into(), ..HostRoots::default() };
        for irq in [9, 99] {
            fs::create_dir_all(sys.path().join(format!("kernel/irq/{irq}"))).unwrap();
            fs::write(sys.path().join(format!("kernel/irq/{irq}/actions")), "acpi\n").unwrap();
        }
        assert_eq!(highest_number(&roots), 99);
        assert_eq!([9, 10, 99].map(|irq| name_of(&roots, irq, 100)), ["9 acpi", "10", "other"]);
    }
}
