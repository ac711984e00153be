//! Reads what the programs of `agent-ebpf/src/memory.rs` count: page faults, stalls for memory, victims of the OOM killer.
#![expect(unsafe_code, reason = "says what may stand in a mapping; maps pages to touch")]

use std::{
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::sys::resource::{UsageWho, getrusage};
use ssts_agent_ebpf::shared::{BURNER_WORDS, Faults, LATENCY, Stall, own};
use ssts_proto::catalogue;

use super::{
    Attached, Canary, Target,
    burner_watch::{Shared, set_burner},
    error::ProbeError,
    gains::Gains,
    oom::OomBoard,
    own_task,
    program::{Constants, Definition, Hook, Programs},
    tracefs::Tracefs,
    types::KernelTypes,
    window::{Element, SharedCounts, Window},
};
use crate::observe::{
    frame::{BucketGain, Frame},
    schema::{Column, HistogramColumn, Schema},
    source::Source,
};

pub(super) const NAME: &str = "memory";

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/memory"));

static HOOKS: [Hook; 6] = [
    // Of x86 and RISC-V alone.
    Hook::new("exceptions", "page_fault_user", "fault").optional(),
    Hook::new("vmscan", "mm_vmscan_direct_reclaim_end", "reclaim_end"),
    Hook::new("vmscan", "mm_vmscan_direct_reclaim_begin", "reclaim_begin"),
    // CONFIG_COMPACTION.
    Hook::new("compaction", "mm_compaction_end", "compaction_end").optional(),
    Hook::new("compaction", "mm_compaction_begin", "compaction_begin").optional(),
    Hook::new("oom", "mark_victim", "victim"),
];

/// Pages that the canary touches.
const PAGES: usize = 64;
/// The smallest page of any architecture that we build for.
const PAGE: usize = 4_096;

/// [`Faults`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
struct SharedFaults {
    burners: AtomicU64,
    others: AtomicU64,
}

const _: () = assert!(size_of::<SharedFaults>() == size_of::<Faults>());

// SAFETY: atomics, and the assertion above.
unsafe impl Element for SharedFaults {}

/// Loads the probe and tests it.
pub(super) fn load(target: &Target) -> Result<Attached, ProbeError> {
    let (source, burners) = Memory::attach(target)?;
    let canary = source.canary(&burners)?;
    // There is no cheap way to cause a victim.
    if !source.programs.are_recorded() {
        own_task::look(&source.programs, &target.roots, &[own::PID, own::NAME, own::PAGES])?;
    }
    let shared = Shared { burners: Some(burners), oom: Some(source.oom.clone()), ..Shared::default() };
    Ok(Attached { name: NAME, programs: source.programs.clone(), source: Box::new(source), canary, shared })
}

/// The source of the metrics that begin with `memory.`.
#[derive(Debug)]
struct Memory {
    programs: Arc<Programs>,
    cpus: usize,
    has_faults: bool,
    /// By CPU.
    faults: Window<SharedFaults>,
    /// By stall, then CPU.
    stalls: Window<SharedCounts>,
    gains: Vec<Gains>,
    oom: Arc<OomBoard>,
    columns: Option<Columns>,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    burner: Column,
    others: Column,
    stalls: [HistogramColumn; Stall::ALL.len()],
    oom_kills: Column,
}

impl Memory {
    fn attach(target: &Target) -> Result<(Self, Window<AtomicU64>), ProbeError> {
        let cpus = target.cpus;
        let histograms = Stall::ALL.len() * cpus;
        let definition = Definition {
            name: NAME,
            object: OBJECT,
            hooks: &HOOKS,
            has_btf: true,
            maps: vec![("FAULTS", cpus as u32), ("STALLS", histograms as u32)],
            constants: vec![("CPUS", cpus as u32)],
            typed: typed_constants,
            recorded: recorded_constants,
        };
        let mut programs = Programs::attach(&definition, target)?;
        let oom = OomBoard::new(programs.ring("OOM_KILLS")?, programs.window("OOM_KILLS_LOST", 1)?);
        let stalls = programs.window::<SharedCounts>("STALLS", histograms)?;
        let burners = programs.window("BURNERS", BURNER_WORDS as usize)?;
        let source = Self {
            cpus,
            has_faults: programs.hooks.iter().any(|hook| hook.contains("page_fault_user")),
            faults: programs.window("FAULTS", cpus)?,
            gains: (0..Stall::ALL.len()).map(|stall| Gains::since_now(part(&stalls, stall, cpus))).collect(),
            stalls,
            oom: Arc::new(oom),
            columns: None,
            programs: Arc::new(programs),
        };
        Ok((source, burners))
    }

    /// Touches new memory as a burner would, and looks whether those faults were counted.
    fn canary(&self, burners: &[AtomicU64]) -> Result<Canary, ProbeError> {
        if !self.has_faults {
            return Ok(Canary::Untestable("this kernel has no tracepoint for page faults".into()));
        }
        let faults = || getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.minor_page_faults());
        let own = std::process::id();
        set_burner(burners, own, true);
        let (before, truth_before) = (self.faults(|cpu| &cpu.burners), faults());
        touch_new_pages();
        let (after, truth) = (self.faults(|cpu| &cpu.burners), faults() - truth_before);
        set_burner(burners, own, false);
        let (seen, truth) = (after - before, truth.unsigned_abs());
        // A large page takes one fault for many pages.
        if truth == 0 {
            return Ok(Canary::Untestable(format!("touching {PAGES} pages caused no page fault")));
        }
        // Faults in the kernel's own accesses are in the truth too, those of other threads in what was seen.
        if seen < truth / 2 {
            return Err(ProbeError::Canary(format!("{truth} page faults were caused, and {seen} seen")));
        }
        Ok(Canary::Working)
    }

    fn faults(&self, who: fn(&SharedFaults) -> &AtomicU64) -> u64 {
        self.faults.iter().map(|cpu| who(cpu).load(Relaxed)).sum()
    }
}

impl Source for Memory {
    fn describe(&mut self, schema: &mut Schema) {
        if self.columns.is_none() {
            for (stall, gains) in self.gains.iter_mut().enumerate() {
                *gains = Gains::since_now(part(&self.stalls, stall, self.cpus));
            }
        }
        self.columns = Some(Columns {
            burner: schema.column(&catalogue::MEMORY_FAULTS, &["burner"]),
            others: schema.column(&catalogue::MEMORY_FAULTS, &["others"]),
            stalls: Stall::ALL
                .map(|stall| schema.histogram(&catalogue::MEMORY_STALL, &[stall.name()], LATENCY)),
            oom_kills: schema.column(&catalogue::MEMORY_OOM_KILLS, &[]),
        });
    }

    fn sample(&mut self, frame: &mut Frame) {
        let Some(columns) = self.columns else { return };
        let reading = |count: u64| {
            if self.has_faults { Ok(count as f64) } else { Err(ssts_proto::v1::AbsenceReason::Unsupported) }
        };
        frame.set(columns.burner, reading(self.faults(|cpu| &cpu.burners)));
        frame.set(columns.others, reading(self.faults(|cpu| &cpu.others)));
        for (stall, (gains, column)) in self.gains.iter_mut().zip(columns.stalls).enumerate() {
            gains.take(part(&self.stalls, stall, self.cpus), |bucket, count| {
                frame.gain(BucketGain { column, bucket, count });
            });
        }
        frame.set(columns.oom_kills, Ok(self.oom.count() as f64));
        self.programs.note_lost(self.oom.lost());
    }
}

/// Page by page. What an allocator gives may have been touched before.
fn touch_new_pages() {
    let (len, none) = (PAGES * PAGE, ptr::null_mut());
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(none, len, access, kind, -1, 0) };
    if memory == libc::MAP_FAILED {
        return;
    }
    // SAFETY: within the mapping; nobody else knows it, and it ends here.
    unsafe {
        (0..PAGES).for_each(|page| memory.cast::<u8>().add(page * PAGE).write_volatile(1));
        libc::munmap(memory, len);
    }
}

/// The histograms of one kind of stall: one a CPU.
fn part(counts: &[SharedCounts], stall: usize, cpus: usize) -> &[SharedCounts] {
    &counts[stall * cpus..][..cpus]
}

fn typed_constants(types: &KernelTypes) -> Result<Constants, ProbeError> {
    // Before Linux 6.9 it passes the task's number.
    let is_task = types.argument("mark_victim", "task_struct").is_ok_and(|place| place == 0);
    Ok(vec![
        ("VICTIM_IS_TASK", is_task.into()),
        ("TASK_PID", types.member("task_struct", "pid")?),
        ("TASK_COMM", types.member("task_struct", "comm")?),
        ("TASK_MM", types.member("task_struct", "mm")?),
        ("MM_TOTAL_VM", types.member("mm_struct", "total_vm")?),
    ])
}

fn recorded_constants(tracefs: &Tracefs) -> Result<Constants, ProbeError> {
    Ok(vec![("VICTIM_PID", tracefs.format("oom/mark_victim", |format| format.offset("pid", 4))?)])
}
