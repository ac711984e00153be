//! What memory costs those who ask for it: page faults of burners and others, how long tasks had to reclaim or compact memory
//! themselves, whom the OOM killer ended.
//!
//! page_fault_user: <https://github.com/torvalds/linux/blob/v6.18/arch/x86/mm/fault.c>, before the fault is handled;
//! mm_vmscan_direct_reclaim_begin and _end: mm/vmscan.c; mm_compaction_begin and _end: mm/compaction.c; mark_victim:
//! mm/oom_kill.c. Needs Linux 5.8.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "map elements are reached by pointer; the verifier checks each access")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_MMAPABLE,
    helpers,
    macros::{btf_tracepoint, map, raw_tracepoint, tracepoint},
    maps::{Array, RingBuf},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{
        add, constant, count, cpu, current, if_own_name, if_own_pid, is_burner, member, name, now, own_name,
        own_task, put_down, read,
    },
    shared::{BURNER_WORDS, Counts, Faults, Name, OomKill, Stall, own},
};

/// A task that reclaims or compacts.
#[repr(C)]
struct Open {
    /// 0: none.
    pid: u64,
    since: u64,
}

const OPEN_BITS: u32 = 12;

/// What [`raw_own`] found.
#[map]
static OWN: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// For each kind of stall, by the low bits of the task's number; of two that share a slot the later one is measured.
#[map]
static OPEN: Array<Open> = Array::with_max_entries(2 << OPEN_BITS, 0);

/// One a CPU.
#[map]
static FAULTS: Array<Faults> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One histogram for each stall and CPU, the CPU varying fastest.
#[map]
static STALLS: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Victims of the OOM killer.
#[map]
static OOM_KILLS: RingBuf = RingBuf::with_byte_size(4_096, 0);

/// Victims for whom the ring had no room.
#[map]
static OOM_KILLS_LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The thread groups of burners, set by the daemon.
#[map]
static BURNERS: Array<u64> = Array::with_max_entries(BURNER_WORDS, BPF_F_MMAPABLE);

/// Possible CPUs.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;
/// Whether the raw mark_victim passes a task (since Linux 6.9), else its number.
#[unsafe(no_mangle)]
static VICTIM_IS_TASK: u32 = 0;
/// `task_struct.pid`, `task_struct.comm`, `task_struct.mm`, `mm_struct.total_vm`.
#[unsafe(no_mangle)]
static TASK_PID: u32 = 0;
#[unsafe(no_mangle)]
static TASK_COMM: u32 = 0;
#[unsafe(no_mangle)]
static TASK_MM: u32 = 0;
#[unsafe(no_mangle)]
static MM_TOTAL_VM: u32 = 0;
/// A field of the record that a tracepoint program is given.
#[unsafe(no_mangle)]
static VICTIM_PID: u32 = 0;

#[btf_tracepoint]
fn btf_fault(_: BtfTracePointContext) -> i32 {
    fault();
    0
}

#[raw_tracepoint]
fn raw_fault(_: RawTracePointContext) -> i32 {
    fault();
    0
}

#[tracepoint]
fn tp_fault(_: TracePointContext) -> u32 {
    fault();
    0
}

#[inline(always)]
fn fault() {
    let Some(faults) = FAULTS.get_ptr_mut(cpu()) else { return };
    // SAFETY: the element is there for as long as the map is, and no other CPU writes it.
    unsafe {
        let counter = if is_burner(&BURNERS, current().tgid) {
            &raw mut (*faults).burners
        } else {
            &raw mut (*faults).others
        };
        add(counter, 1);
    }
}

#[btf_tracepoint]
fn btf_reclaim_begin(_: BtfTracePointContext) -> i32 {
    began(0);
    0
}

#[raw_tracepoint]
fn raw_reclaim_begin(_: RawTracePointContext) -> i32 {
    began(0);
    0
}

#[btf_tracepoint]
fn btf_reclaim_end(_: BtfTracePointContext) -> i32 {
    ended(0, Stall::Reclaim);
    0
}

#[raw_tracepoint]
fn raw_reclaim_end(_: RawTracePointContext) -> i32 {
    ended(0, Stall::Reclaim);
    0
}

#[btf_tracepoint]
fn btf_compaction_begin(_: BtfTracePointContext) -> i32 {
    began(1);
    0
}

#[raw_tracepoint]
fn raw_compaction_begin(_: RawTracePointContext) -> i32 {
    began(1);
    0
}

#[btf_tracepoint]
fn btf_compaction_end(_: BtfTracePointContext) -> i32 {
    compacted();
    0
}

#[raw_tracepoint]
fn raw_compaction_end(_: RawTracePointContext) -> i32 {
    compacted();
    0
}

#[tracepoint]
fn tp_reclaim_begin(_: TracePointContext) -> u32 {
    began(0);
    0
}

#[tracepoint]
fn tp_reclaim_end(_: TracePointContext) -> u32 {
    ended(0, Stall::Reclaim);
    0
}

#[tracepoint]
fn tp_compaction_begin(_: TracePointContext) -> u32 {
    began(1);
    0
}

#[tracepoint]
fn tp_compaction_end(_: TracePointContext) -> u32 {
    compacted();
    0
}

/// The kernel's own threads compact in the background: nobody waits for those.
#[inline(always)]
fn compacted() {
    let name = helpers::bpf_get_current_comm().unwrap_or_default();
    let background = name.starts_with(b"kcompactd");
    ended(1, if background { Stall::BackgroundCompaction } else { Stall::Compaction });
}

#[inline(always)]
fn open(kind: u32, pid: u32) -> Option<*mut Open> {
    OPEN.get_ptr_mut(kind << OPEN_BITS | pid & ((1 << OPEN_BITS) - 1))
}

#[inline(always)]
fn began(kind: u32) {
    let pid = current().pid;
    if let Some(open) = open(kind, pid) {
        // SAFETY: the element is there for as long as the map is. The number before the time: see `ended`.
        unsafe {
            ptr::write_volatile(&raw mut (*open).pid, u64::from(pid));
            ptr::write_volatile(&raw mut (*open).since, now());
        }
    }
}

#[inline(always)]
fn ended(kind: u32, stall: Stall) {
    let pid = current().pid;
    let Some(open) = open(kind, pid) else { return };
    // SAFETY: as in `began`. Another task may take the slot over between the reads: its number gives it away.
    let since = unsafe {
        let since = ptr::read_volatile(&raw const (*open).since);
        if ptr::read_volatile(&raw const (*open).pid) != u64::from(pid) {
            return;
        }
        ptr::write_volatile(&raw mut (*open).pid, 0);
        since
    };
    let now = now();
    // Clocks of two cores may differ by a little.
    let took = if now > since { now - since } else { 0 };
    count(&STALLS, stall as u32 * constant(&CPUS) + cpu(), took);
}

#[btf_tracepoint]
fn btf_victim(ctx: BtfTracePointContext) -> i32 {
    let victim: u64 = ctx.arg(0);
    if constant(&VICTIM_IS_TASK) == 0 {
        killed(victim as u32, [0; 2], 0);
    } else {
        let mm = member(victim, constant(&TASK_MM));
        killed(
            member(victim, constant(&TASK_PID)),
            name(victim, constant(&TASK_COMM)),
            member(mm, constant(&MM_TOTAL_VM)),
        );
    }
    0
}

#[raw_tracepoint]
fn raw_victim(ctx: RawTracePointContext) -> i32 {
    let victim: u64 = ctx.arg(0);
    if constant(&VICTIM_IS_TASK) == 0 {
        killed(victim as u32, [0; 2], 0);
        return 0;
    }
    let (Some(pid), Some(name)) = (read(victim, constant(&TASK_PID)), read(victim, constant(&TASK_COMM)))
    else {
        return 0;
    };
    let mm = read::<u64>(victim, constant(&TASK_MM)).unwrap_or(0);
    killed(pid, name, read(mm, constant(&MM_TOTAL_VM)).unwrap_or(0));
    0
}

/// Looks at the task that runs it as at a victim. Attached nowhere: the daemon has it run on a thread of its own, with masks
/// for its name and the least and the most of its pages.
#[raw_tracepoint]
fn raw_own(ctx: RawTracePointContext) -> i32 {
    let masks = [ctx.arg(0), ctx.arg(1)];
    let mm = read::<u64>(own_task(), constant(&TASK_MM)).unwrap_or(0);
    let pages = match read::<u64>(mm, constant(&MM_TOTAL_VM)) {
        Some(pages) if pages >= ctx.arg(2) && pages <= ctx.arg(3) => own::PAGES,
        _ => 0,
    };
    let found = if_own_pid(constant(&TASK_PID), own::PID)
        | if_own_name(constant(&TASK_COMM), masks, own::NAME)
        | pages;
    put_down(&OWN, found);
    0
}

#[tracepoint]
fn tp_victim(ctx: TracePointContext) -> u32 {
    if let Some(pid) = read(ctx.as_ptr() as u64, constant(&VICTIM_PID)) {
        killed(pid, [0; 2], 0);
    }
    0
}

#[inline(always)]
fn killed(pid: u32, name: Name, pages: u64) {
    let Some(mut record) = OOM_KILLS.reserve::<OomKill>(0) else {
        if let Some(lost) = OOM_KILLS_LOST.get_ptr_mut(0) {
            // SAFETY: `lost` came from a look-up; one victim is marked at a time (oom_lock of mm/oom_kill.c).
            unsafe { add(lost, 1) }
        }
        return;
    };
    record.write(OomKill { pid, asker_pid: current().tgid, name, asker_name: own_name(), pages });
    record.submit(0);
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
