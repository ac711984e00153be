//! How long tasks that could run waited for a core: from the wake-up, or from the switch that preempted them, to the
//! switch that runs them, counted by the core it runs them on. The idle task doesn't count. And what each core did: how long
//! burners and others ran, how often it switched, who took it from a burner.
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
    macros::{btf_tracepoint, map, raw_tracepoint, tracepoint},
    maps::Array,
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{
        Task, add, constant, count, cpu, current, if_own_name, if_own_pid, if_own_tgid, is_burner, member,
        name, now, put_down, read, watched_cgroup,
    },
    shared::{
        BURNER_WORDS, Core, Counts, MOST_WATCHED, Name, PREEMPTER_PROBES, PREEMPTER_SLOTS, Preempter,
        Preempters, WAIT_KINDS, Waited, Watched, own,
    },
};

/// What [`raw_own`] found.
#[map]
static OWN: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Since when each task waits, by the low bits of its pid: the other bits of the pid, so that a task never takes
/// another's start for its own, above the time. One word, so that it is never seen half written. 0: nobody waits.
#[map]
static WAITING: Array<u64> = Array::with_max_entries(1 << SLOT_BITS, 0);

/// [`WAIT_KINDS`] histograms a CPU. A tracepoint's record doesn't tell whose thread it was that waited: then it counts as one
/// that is no burner's.
#[map]
static RUNQUEUE: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One a CPU.
#[map]
static CORES: Array<Core> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One a CPU.
#[map]
static PREEMPTERS: Array<Preempters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The thread groups of burners, set by the daemon.
#[map]
static BURNERS: Array<u64> = Array::with_max_entries(BURNER_WORDS, BPF_F_MMAPABLE);

/// How often the canary's waits were counted.
#[map]
static CANARY: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Cgroups whose tasks' waits are counted apart too.
#[map]
static WATCHED: Array<Watched> = Array::with_max_entries(MOST_WATCHED, BPF_F_MMAPABLE);

/// [`MOST_WATCHED`] histograms a CPU; one element where none is watched.
#[map]
static WATCHED_WAITS: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One a CPU.
#[map]
static WAITED: Array<Waited> = Array::with_max_entries(1, BPF_F_MMAPABLE);

const SLOT_BITS: u32 = 16;
/// Linux caps pids at 2^22 (PID_MAX_LIMIT in include/linux/threads.h): 6 bits stay above the slot's.
const OWNER_SHIFT: u32 = 58;
/// Says that the task was preempted, and not woken.
const PREEMPTED: u64 = 1 << (OWNER_SHIFT - 1);
/// Four years of ns; differences survive the wrap.
const TIME: u64 = PREEMPTED - 1;

/// `task_struct.pid`, which `task_struct.tgid` follows.
#[unsafe(no_mangle)]
static TASK_PID: u32 = 0;
/// `task_struct.comm`.
#[unsafe(no_mangle)]
static TASK_COMM: u32 = 0;
/// Whether sched_switch passes the previous task's state (since Linux 5.18), and where else it stands in a task.
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
static SWITCH_PREV_STATE: u32 = 0;
#[unsafe(no_mangle)]
static SWITCH_NEXT_PID: u32 = 0;
#[unsafe(no_mangle)]
static SWITCH_NEXT_COMM: u32 = 0;
/// The bit of the recorded state that says `preempted`.
#[unsafe(no_mangle)]
static SWITCH_PREEMPTED: u32 = 0;
/// How many cgroups are watched.
#[unsafe(no_mangle)]
static WATCHED_COUNT: u32 = 0;
/// The task whose waits are counted apart at the start, to see whether the probe tells the truth.
#[unsafe(no_mangle)]
static CANARY_PID: u32 = 0;

#[btf_tracepoint]
fn btf_wakeup(ctx: BtfTracePointContext) -> i32 {
    woken(member(ctx.arg(0), constant(&TASK_PID)));
    0
}

#[btf_tracepoint]
fn btf_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    woken(member(ctx.arg(0), constant(&TASK_PID)));
    0
}

#[btf_tracepoint]
fn btf_switch(ctx: BtfTracePointContext) -> i32 {
    let (preempted, previous, next): (u64, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let state = if constant(&SWITCH_HAS_STATE) != 0 {
        ctx.arg::<u64>(3) & 0xffff_ffff
    } else if constant(&TASK_STATE_SIZE) == 4 {
        member::<u32>(previous, constant(&TASK_STATE)).into()
    } else {
        member(previous, constant(&TASK_STATE))
    };
    let task =
        |task| Task { tgid: member(task, constant(&TASK_PID) + 4), pid: member(task, constant(&TASK_PID)) };
    // The tracepoint passes a bool: only its low byte is defined.
    let runnable = preempted as u8 != 0 || state == 0;
    switched(task(previous), runnable, task(next), || Some(name(next, constant(&TASK_COMM))));
    0
}

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
    if let Some([pid, tgid]) = read::<[u32; 2]>(next, constant(&TASK_PID)) {
        // The tracepoint comes before the switch.
        switched(current(), runnable, Task { tgid, pid }, || read(next, constant(&TASK_COMM)));
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
    let state: Option<u64> = read(record, constant(&SWITCH_PREV_STATE));
    let next = read(record, constant(&SWITCH_NEXT_PID));
    if let (Some(state), Some(pid)) = (state, next) {
        let runnable = state == 0 || state & u64::from(constant(&SWITCH_PREEMPTED)) != 0;
        let next = Task { tgid: 0, pid };
        switched(current(), runnable, next, || read(record, constant(&SWITCH_NEXT_COMM)));
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

/// `previous` leaves the core, to wait for it again if `runnable`; `next` gets it. `name`: that of `next`, asked for where a
/// burner loses its core.
///
/// A task that leaves to sleep may have been woken already: the scheduler gives up its lock while it looks for `next`
/// (delayed dequeue, Linux 6.12). So a wake-up's start stays. That of a preemption can be there only if the switch to
/// the task was missed.
#[inline(always)]
fn switched(previous: Task, runnable: bool, next: Task, name: impl FnOnce() -> Option<Name>) {
    let now = now();
    let watches = constant(&WATCHED_COUNT) != 0;
    if watches {
        attribute();
    }
    account(now, previous, runnable, next, name);
    let of_burner = next.tgid != 0 && is_burner(&BURNERS, next.tgid);
    let (previous, next) = (previous.pid, next.pid);
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
    count(&RUNQUEUE, cpu() * WAIT_KINDS + u32::from(of_burner), waited);
    if watches {
        set_waited(waited + 1);
    }
    if next == constant(&CANARY_PID) {
        seen_canary();
    }
}

/// Counts what the task that leaves this core had waited for it, if its cgroup, or one above, is watched. Only now, for the
/// kernel tells the cgroup of the task that runs without a look into its memory.
#[inline(always)]
fn attribute() {
    let waited = set_waited(0);
    if waited == 0 {
        return;
    }
    if let Some(slot) = watched_cgroup(&WATCHED, constant(&WATCHED_COUNT)) {
        count(&WATCHED_WAITS, cpu() * MOST_WATCHED + slot, waited - 1);
    }
}

/// Notes what the task that gets this core had waited; gives what was noted before.
#[inline(always)]
fn set_waited(ns: u64) -> u64 {
    let Some(waited) = WAITED.get_ptr_mut(cpu()) else { return 0 };
    // SAFETY: the element is there for as long as the map is, and no other CPU writes it.
    unsafe {
        let before = ptr::read_volatile(&raw const (*waited).ns);
        ptr::write_volatile(&raw mut (*waited).ns, ns);
        before
    }
}

/// The time since the latest switch belongs to `previous`. A switch that was missed in between makes that wrong once.
#[inline(always)]
fn account(now: u64, previous: Task, runnable: bool, next: Task, name: impl FnOnce() -> Option<Name>) {
    let Some(core) = CORES.get_ptr_mut(cpu()) else { return };
    // SAFETY: the element is there for as long as the map is, and no other CPU writes it. Volatile, for readers see the
    // writes in this order: `began` before, `switches` after all others.
    unsafe {
        let switches = ptr::read_volatile(&raw const (*core).switches) + 1;
        ptr::write_volatile(&raw mut (*core).began, switches);
        let since = ptr::read_volatile(&raw const (*core).since_ns);
        let preempter = ptr::read_volatile(&raw const (*core).preempter);
        let mut new_preempter = 0;
        if previous.pid != 0 {
            let elapsed = if since != 0 { now - since } else { 0 };
            add(&raw mut (*core).busy_ns, elapsed);
            if preempter != 0 {
                end_preemption(preempter, elapsed);
            }
            if runnable {
                add(&raw mut (*core).preemptions, 1);
            }
            if is_burner(&BURNERS, previous.tgid) {
                add(&raw mut (*core).burner_ns, elapsed);
                if runnable && next.pid != 0 {
                    new_preempter = begin_preemption(next.pid, name());
                }
            }
        }
        if preempter != new_preempter {
            ptr::write_volatile(&raw mut (*core).preempter, new_preempter);
        }
        let running = u64::from(next.tgid) << 32 | u64::from(next.pid);
        ptr::write_volatile(&raw mut (*core).running, running);
        ptr::write_volatile(&raw mut (*core).since_ns, now);
        ptr::write_volatile(&raw mut (*core).switches, switches);
    }
}

/// Counts that task `pid` took this core from a burner. Gives one more than its slot, 0 if there is none for it.
#[inline(always)]
fn begin_preemption(pid: u32, name: Option<Name>) -> u64 {
    let Some(preempters) = PREEMPTERS.get_ptr_mut(cpu()) else { return 0 };
    for probe in 0..PREEMPTER_PROBES {
        let slot = (pid + probe) & (PREEMPTER_SLOTS - 1);
        // SAFETY: as in `account`; the slot is in bounds.
        unsafe {
            let preempter = (&raw mut (*preempters).slots).cast::<Preempter>().add(slot as usize);
            let owner = ptr::read_volatile(&raw const (*preempter).pid);
            if owner == 0 {
                ptr::write_volatile(&raw mut (*preempter).count, 0);
                ptr::write_volatile(&raw mut (*preempter).ns, 0);
                ptr::write_volatile(&raw mut (*preempter).pid, pid);
            }
            if owner == 0 || owner == pid {
                // Tasks begin with the name of another.
                if let Some(name) = name {
                    ptr::write_volatile(&raw mut (*preempter).name, name);
                }
                let count = &raw mut (*preempter).count;
                ptr::write_volatile(count, ptr::read_volatile(count).wrapping_add(1));
                add(&raw mut (*preempters).changes, 1);
                return u64::from(slot) + 1;
            }
        }
    }
    // SAFETY: as in `account`.
    unsafe { add(&raw mut (*preempters).lost, 1) }
    0
}

/// The task in a slot leaves the core that it took.
#[inline(always)]
fn end_preemption(preempter: u64, elapsed: u64) {
    let Some(preempters) = PREEMPTERS.get_ptr_mut(cpu()) else { return };
    let slot = (preempter - 1) as u32 & (PREEMPTER_SLOTS - 1);
    // SAFETY: as in `account`; the slot is in bounds.
    unsafe {
        let preempter = (&raw mut (*preempters).slots).cast::<Preempter>().add(slot as usize);
        add(&raw mut (*preempter).ns, elapsed);
        add(&raw mut (*preempters).changes, 1);
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

/// Looks at the task that runs it as at one that gets a core. Attached nowhere: the daemon has it run on a thread of its own,
/// with masks for its name.
#[raw_tracepoint]
fn raw_own(ctx: RawTracePointContext) -> i32 {
    let pid = constant(&TASK_PID);
    let found = if_own_pid(pid, own::PID)
        | if_own_tgid(pid + 4, own::TGID)
        | if_own_name(constant(&TASK_COMM), [ctx.arg(0), ctx.arg(1)], own::NAME);
    put_down(&OWN, found);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
