//! What interrupts cost each core: how long handlers of devices run, how long soft interrupts wait from being raised to
//! running, and how long they run.
//!
//! irq_handler_entry and _exit: <https://github.com/torvalds/linux/blob/v6.18/kernel/irq/handle.c>, interrupts off;
//! softirq_raise, _entry and _exit: <https://github.com/torvalds/linux/blob/v6.18/kernel/softirq.c>. All of one interrupt
//! happen on one core. Needs Linux 5.8.
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
    kernel::{add, constant, count, count_in, cpu, now, read},
    shared::{Counts, HardInterrupts, SOFT_VECTORS, SoftInterrupts},
};

/// What one CPU is in the midst of. Times are CLOCK_MONOTONIC in ns; 0: nothing.
#[repr(C, align(64))]
struct Open {
    hard: u64,
    soft: u64,
    raised: [u64; RAISED],
}

/// Vectors, rounded up to a power of two: the verifier follows a mask.
const RAISED: usize = (SOFT_VECTORS as usize).next_power_of_two();

/// One a CPU.
#[map]
static OPEN: Array<Open> = Array::with_max_entries(1, 0);

/// One for each CPU and number of an interrupt, the number varying fastest; a CPU's last one takes what is too large.
#[map]
static HARD: Array<HardInterrupts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How long handlers ran: one histogram a CPU.
#[map]
static HARD_DURATION: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One for each CPU and vector, the vector varying fastest.
#[map]
static SOFT: Array<SoftInterrupts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Numbers of interrupts that are counted apart for each CPU.
#[unsafe(no_mangle)]
static NUMBERS: u32 = 1;
/// Fields of the records that tracepoint programs are given.
#[unsafe(no_mangle)]
static EXIT_IRQ: u32 = 0;
#[unsafe(no_mangle)]
static RAISE_VEC: u32 = 0;
#[unsafe(no_mangle)]
static ENTRY_VEC: u32 = 0;
#[unsafe(no_mangle)]
static EXIT_VEC: u32 = 0;

#[btf_tracepoint]
fn btf_hard_entry(_: BtfTracePointContext) -> i32 {
    hard_began();
    0
}

#[btf_tracepoint]
fn btf_hard_exit(ctx: BtfTracePointContext) -> i32 {
    hard_ended(ctx.arg::<u64>(0) as u32);
    0
}

#[btf_tracepoint]
fn btf_raise(ctx: BtfTracePointContext) -> i32 {
    raised(ctx.arg::<u64>(0) as u32);
    0
}

#[btf_tracepoint]
fn btf_soft_entry(ctx: BtfTracePointContext) -> i32 {
    soft_began(ctx.arg::<u64>(0) as u32);
    0
}

#[btf_tracepoint]
fn btf_soft_exit(ctx: BtfTracePointContext) -> i32 {
    soft_ended(ctx.arg::<u64>(0) as u32);
    0
}

#[raw_tracepoint]
fn raw_hard_entry(_: RawTracePointContext) -> i32 {
    hard_began();
    0
}

#[raw_tracepoint]
fn raw_hard_exit(ctx: RawTracePointContext) -> i32 {
    hard_ended(ctx.arg::<u64>(0) as u32);
    0
}

#[raw_tracepoint]
fn raw_raise(ctx: RawTracePointContext) -> i32 {
    raised(ctx.arg::<u64>(0) as u32);
    0
}

#[raw_tracepoint]
fn raw_soft_entry(ctx: RawTracePointContext) -> i32 {
    soft_began(ctx.arg::<u64>(0) as u32);
    0
}

#[raw_tracepoint]
fn raw_soft_exit(ctx: RawTracePointContext) -> i32 {
    soft_ended(ctx.arg::<u64>(0) as u32);
    0
}

#[tracepoint]
fn tp_hard_entry(_: TracePointContext) -> u32 {
    hard_began();
    0
}

#[tracepoint]
fn tp_hard_exit(ctx: TracePointContext) -> u32 {
    field(&ctx, constant(&EXIT_IRQ)).map_or(0, hard_ended)
}

#[tracepoint]
fn tp_raise(ctx: TracePointContext) -> u32 {
    field(&ctx, constant(&RAISE_VEC)).map_or(0, raised)
}

#[tracepoint]
fn tp_soft_entry(ctx: TracePointContext) -> u32 {
    field(&ctx, constant(&ENTRY_VEC)).map_or(0, soft_began)
}

#[tracepoint]
fn tp_soft_exit(ctx: TracePointContext) -> u32 {
    field(&ctx, constant(&EXIT_VEC)).map_or(0, soft_ended)
}

#[inline(always)]
fn field(ctx: &TracePointContext, offset: u32) -> Option<u32> {
    read(ctx.as_ptr() as u64, offset)
}

#[inline(always)]
fn hard_began() {
    if let Some(open) = OPEN.get_ptr_mut(cpu()) {
        // SAFETY: the element is there for as long as the map is, and no other CPU writes it.
        unsafe { ptr::write_volatile(&raw mut (*open).hard, now()) }
    }
}

#[inline(always)]
fn hard_ended(irq: u32) -> u32 {
    let cpu = cpu();
    let Some(open) = OPEN.get_ptr_mut(cpu) else { return 0 };
    // SAFETY: as in `hard_began`.
    let took = unsafe {
        let began = ptr::read_volatile(&raw const (*open).hard);
        if began == 0 {
            return 0;
        }
        ptr::write_volatile(&raw mut (*open).hard, 0);
        let took = now() - began;
        // What it interrupted did not run meanwhile.
        let soft = ptr::read_volatile(&raw const (*open).soft);
        if soft != 0 {
            ptr::write_volatile(&raw mut (*open).soft, soft + took);
        }
        took
    };
    let numbers = constant(&NUMBERS);
    let slot = if irq < numbers { irq } else { numbers - 1 };
    if let Some(hard) = HARD.get_ptr_mut(cpu * numbers + slot) {
        // SAFETY: as in `hard_began`. The time first: see HardInterrupts.
        unsafe {
            add(&raw mut (*hard).ns, took);
            add(&raw mut (*hard).count, 1);
        }
    }
    count(&HARD_DURATION, cpu, took);
    0
}

/// When the vector was raised.
///
/// # Safety
/// `open` must point into a map's element.
#[inline(always)]
unsafe fn raised_at(open: *mut Open, vector: u32) -> *mut u64 {
    // SAFETY: the caller's promise; the mask keeps it in bounds.
    unsafe { (&raw mut (*open).raised).cast::<u64>().add(vector as usize & (RAISED - 1)) }
}

/// A vector that is raised again before it runs waits since the first time.
#[inline(always)]
fn raised(vector: u32) -> u32 {
    if vector >= SOFT_VECTORS {
        return 0;
    }
    let Some(open) = OPEN.get_ptr_mut(cpu()) else { return 0 };
    // SAFETY: as in `hard_began`.
    unsafe {
        let raised = raised_at(open, vector);
        if ptr::read_volatile(raised) == 0 {
            ptr::write_volatile(raised, now());
        }
    }
    0
}

#[inline(always)]
fn soft_began(vector: u32) -> u32 {
    if vector >= SOFT_VECTORS {
        return 0;
    }
    let cpu = cpu();
    let Some(open) = OPEN.get_ptr_mut(cpu) else { return 0 };
    let now = now();
    // SAFETY: as in `hard_began`.
    let since = unsafe {
        ptr::write_volatile(&raw mut (*open).soft, now);
        let raised = raised_at(open, vector);
        let since = ptr::read_volatile(raised);
        if since == 0 {
            return 0;
        }
        ptr::write_volatile(raised, 0);
        since
    };
    if let Some(soft) = SOFT.get_ptr_mut(cpu * SOFT_VECTORS + vector) {
        // SAFETY: as in `hard_began`.
        unsafe { count_in(&raw mut (*soft).wait, now - since) }
    }
    0
}

#[inline(always)]
fn soft_ended(vector: u32) -> u32 {
    if vector >= SOFT_VECTORS {
        return 0;
    }
    let cpu = cpu();
    let Some(open) = OPEN.get_ptr_mut(cpu) else { return 0 };
    // SAFETY: as in `hard_began`.
    let began = unsafe {
        let began = ptr::read_volatile(&raw const (*open).soft);
        ptr::write_volatile(&raw mut (*open).soft, 0);
        began
    };
    let now = now();
    if began == 0 || began > now {
        return 0;
    }
    if let Some(soft) = SOFT.get_ptr_mut(cpu * SOFT_VECTORS + vector) {
        // SAFETY: as in `hard_began`.
        unsafe {
            add(&raw mut (*soft).ns, now - began);
            count_in(&raw mut (*soft).duration, now - began);
        }
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
