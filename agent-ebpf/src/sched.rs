//! How long tasks that could run waited for a core: from the wake-up, or from the switch that preempted them, to the
//! switch that runs them, counted by the core it runs them on. The idle task doesn't count. And how long each core was not
//! idle.
//!
//! sched_wakeup and sched_wakeup_new note the start, sched_switch counts; all run with interrupts off:
//! <https://github.com/torvalds/linux/blob/v6.18/kernel/sched/core.c>. Needs Linux 5.8.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "map elements are reached by pointer; the verifier checks each access")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_MMAPABLE,
    macros::{map, raw_tracepoint, tracepoint},
    maps::Array,
    programs::{RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{constant, count, cpu, now, read},
    shared::{Busy, Counts},
};

/// Since when each task waits, by the low bits of its pid: the other bits of the pid, so that a task never takes
/// another's start for its own, above the time. One word, so that it is never seen half written. 0: nobody waits.
#[map]
static WAITING: Array<u64> = Array::with_max_entries(1 << SLOT_BITS, 0);

/// One histogram a CPU.
#[map]
static RUNQUEUE: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One a CPU.
#[map]
static BUSY: Array<Busy> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How often the canary's waits were counted.
#[map]
static CANARY: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

const SLOT_BITS: u32 = 16;
/// Linux caps pids at 2^22 (PID_MAX_LIMIT in include/linux/threads.h): 6 bits stay above the slot's.
const OWNER_SHIFT: u32 = 58;
/// Says that the task was preempted, and not woken.
const PREEMPTED: u64 = 1 << (OWNER_SHIFT - 1);
/// Four years of ns; differences survive the wrap.
const TIME: u64 = PREEMPTED - 1;

/// `task_struct.pid`.
#[unsafe(no_mangle)]
static TASK_PID: u32 = 0;
/// Whether the raw sched_switch passes the previous task's state (since Linux 5.18), and where else it stands in a task.
#[unsafe(no_mangle)]
static SWITCH_HAS_STATE: u32 = 0;
#[unsafe(no_mangle)]
static TASK_STATE: u32 = 0;
/// The size of that state in bytes: 4, and 8 before Linux 5.14.
#[unsafe(no_mangle)]
static TASK_STATE_SIZE: u32 = 0;
/// Fields of the records that tracepoint programs are given.
#[unsafe(no_mangle)]
static WAKEUP_PID: u32 = 0;
#[unsafe(no_mangle)]
static SWITCH_PREV_PID: u32 = 0;
#[unsafe(no_mangle)]
static SWITCH_PREV_STATE: u32 = 0;
#[unsafe(no_mangle)]
static SWITCH_NEXT_PID: u32 = 0;
/// The bit of the recorded state that says `preempted`.
#[unsafe(no_mangle)]
static SWITCH_PREEMPTED: u32 = 0;
/// The task whose waits are counted apart at the start, to see whether the probe tells the truth.
#[unsafe(no_mangle)]
static CANARY_PID: u32 = 0;

#[raw_tracepoint]
fn raw_wakeup(ctx: RawTracePointContext) -> i32 {
    raw_woken(&ctx)
}

#[raw_tracepoint]
fn raw_wakeup_new(ctx: RawTracePointContext) -> i32 {
    raw_woken(&ctx)
}

#[inline(always)]
fn raw_woken(ctx: &RawTracePointContext) -> i32 {
    if let Some(pid) = pid(ctx.arg(0)) {
        woken(pid);
    }
    0
}

#[raw_tracepoint]
fn raw_switch(ctx: RawTracePointContext) -> i32 {
    let (preempted, previous, next): (u64, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    // The tracepoint passes a bool: only its low byte is defined.
    let runnable = preempted as u8 != 0 || state(&ctx, previous) == Some(0);
    if let (Some(previous), Some(next)) = (pid(previous), pid(next)) {
        switched(previous, runnable, next);
    }
    0
}

#[inline(always)]
fn pid(task: u64) -> Option<u32> {
    read(task, constant(&TASK_PID))
}

#[inline(always)]
fn state(ctx: &RawTracePointContext, task: u64) -> Option<u64> {
    if constant(&SWITCH_HAS_STATE) != 0 {
        return Some(ctx.arg::<u64>(3) & 0xffff_ffff);
    }
    match constant(&TASK_STATE_SIZE) {
        4 => read::<u32>(task, constant(&TASK_STATE)).map(u64::from),
        _ => read(task, constant(&TASK_STATE)),
    }
}

#[tracepoint]
fn tp_wakeup(ctx: TracePointContext) -> u32 {
    recorded_woken(&ctx)
}

#[tracepoint]
fn tp_wakeup_new(ctx: TracePointContext) -> u32 {
    recorded_woken(&ctx)
}

#[inline(always)]
fn recorded_woken(ctx: &TracePointContext) -> u32 {
    if let Some(pid) = read(ctx.as_ptr() as u64, constant(&WAKEUP_PID)) {
        woken(pid);
    }
    0
}

#[tracepoint]
fn tp_switch(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    let previous = read(record, constant(&SWITCH_PREV_PID));
    let state: Option<u64> = read(record, constant(&SWITCH_PREV_STATE));
    let next = read(record, constant(&SWITCH_NEXT_PID));
    if let (Some(previous), Some(state), Some(next)) = (previous, state, next) {
        let runnable = state == 0 || state & u64::from(constant(&SWITCH_PREEMPTED)) != 0;
        switched(previous, runnable, next);
    }
    0
}

/// A task became runnable. If it was preempted on its way to sleep, it waits since then already.
#[inline(always)]
fn woken(pid: u32) {
    let Some(slot) = slot(pid) else { return };
    if !load(slot, pid).is_some_and(|word| word & PREEMPTED != 0) {
        store(slot, owner(pid) | now() & TIME);
    }
}

/// `previous` leaves the core, to wait for it again if `runnable`; `next` gets it.
///
/// A task that leaves to sleep may have been woken already: the scheduler gives up its lock while it looks for `next`
/// (delayed dequeue, Linux 6.12). So a wake-up's start stays. That of a preemption can be there only if the switch to
/// the task was missed.
#[inline(always)]
fn switched(previous: u32, runnable: bool, next: u32) {
    let now = now();
    count_busy(now, previous, next);
    if let Some(slot) = slot(previous) {
        if runnable {
            store(slot, owner(previous) | PREEMPTED | now & TIME);
        } else if load(slot, previous).is_some_and(|word| word & PREEMPTED != 0) {
            store(slot, 0);
        }
    }
    let Some(slot) = slot(next) else { return };
    let Some(word) = load(slot, next) else { return };
    store(slot, 0);
    let waited = now.wrapping_sub(word) & TIME;
    // Clocks of two cores may differ by a little.
    let waited = if waited > TIME / 2 { 0 } else { waited };
    count(&RUNQUEUE, cpu(), waited);
    if next == constant(&CANARY_PID) {
        seen_canary();
    }
}

/// The time since the latest switch belongs to `previous`. A switch that was missed in between makes that wrong once.
#[inline(always)]
fn count_busy(now: u64, previous: u32, next: u32) {
    let Some(busy) = BUSY.get_ptr_mut(cpu()) else { return };
    // SAFETY: the element is there for as long as the map is, and no other CPU writes it. Volatile, so that a reader who
    // finds the same `since_ns` twice has read what belongs to it.
    unsafe {
        let since = ptr::read_volatile(&raw const (*busy).since_ns);
        if previous != 0 && since != 0 {
            let before = ptr::read_volatile(&raw const (*busy).busy_ns);
            ptr::write_volatile(&raw mut (*busy).busy_ns, before + (now - since));
        }
        ptr::write_volatile(&raw mut (*busy).pid, u64::from(next));
        ptr::write_volatile(&raw mut (*busy).since_ns, now);
    }
}

/// Where the start of `pid`'s wait is kept. The idle task has none.
#[inline(always)]
fn slot(pid: u32) -> Option<*mut u64> {
    if pid == 0 { None } else { WAITING.get_ptr_mut(pid & ((1 << SLOT_BITS) - 1)) }
}

/// What the slot holds, if it is `pid`'s own.
#[inline(always)]
fn load(slot: *mut u64, pid: u32) -> Option<u64> {
    // SAFETY: `slot` came from a look-up; elements live as long as the map.
    let word = unsafe { ptr::read_volatile(slot) };
    (word != 0 && word & !(PREEMPTED | TIME) == owner(pid)).then_some(word)
}

#[inline(always)]
fn store(slot: *mut u64, word: u64) {
    // SAFETY: as in `load`; the word is aligned, so that the store is one.
    unsafe { ptr::write_volatile(slot, word) }
}

/// The bits of a pid that its slot doesn't tell.
#[inline(always)]
fn owner(pid: u32) -> u64 {
    u64::from(pid >> SLOT_BITS) << OWNER_SHIFT
}

#[inline(always)]
fn seen_canary() {
    if let Some(seen) = CANARY.get_ptr_mut(0) {
        // SAFETY: `seen` came from a look-up. One task runs on one core at a time, so that nobody else writes.
        unsafe { ptr::write_volatile(seen, ptr::read_volatile(seen) + 1) }
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
