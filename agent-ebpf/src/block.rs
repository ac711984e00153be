//! How long block devices take: from a request's issue to the device to its completion, by device and operation.
//!
//! block_rq_issue notes the start, block_rq_complete counts:
//! <https://github.com/torvalds/linux/blob/v6.18/block/blk-mq.c>. A request that is issued again (requeued) starts anew;
//! one that is completed in parts ends with the first. Needs Linux 5.8.
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
    shared::{Counts, DEVICE_SLOTS, Operation, device_group, device_slots},
};

/// A request in flight.
#[repr(C)]
struct InFlight {
    /// What identifies it: its address, or a hash of device and sector. 0: none.
    key: u64,
    start: u64,
}

const IN_FLIGHT_BITS: u32 = 14;

/// Requests in flight, by a hash of their keys; of two that share a slot the later one is measured.
#[map]
static IN_FLIGHT: Array<InFlight> = Array::with_max_entries(1 << IN_FLIGHT_BITS, 0);

/// The whole disks to count for: the daemon sets a [`device_entry`](ssts_agent_ebpf::shared::device_entry) for each in one of its [`device_slots`].
#[map]
static DEVICES: Array<u64> = Array::with_max_entries(DEVICE_SLOTS, BPF_F_MMAPABLE);

/// The last device that was not in [`DEVICES`], for the daemon to look at.
#[map]
static STRANGER: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One histogram for each group, operation and CPU, the CPU varying fastest.
#[map]
static LATENCY: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Possible CPUs.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;
/// Which argument of the raw block_rq_issue is the request: the second before Linux 5.11, the first since.
#[unsafe(no_mangle)]
static ISSUE_REQUEST_ARG: u32 = 0;
/// `request.cmd_flags`.
#[unsafe(no_mangle)]
static REQUEST_FLAGS: u32 = 0;
/// Whether the disk is `request.q->disk` (since Linux 5.15), else `request.rq_disk`.
#[unsafe(no_mangle)]
static DISK_OF_QUEUE: u32 = 0;
/// `request.q`, or `request.rq_disk`.
#[unsafe(no_mangle)]
static REQUEST_OWNER: u32 = 0;
/// `request_queue.disk`.
#[unsafe(no_mangle)]
static QUEUE_DISK: u32 = 0;
/// `gendisk.major`, which `gendisk.first_minor` follows.
#[unsafe(no_mangle)]
static DISK_MAJOR: u32 = 0;
/// Fields of the records that tracepoint programs are given.
#[unsafe(no_mangle)]
static ISSUE_DEV: u32 = 0;
#[unsafe(no_mangle)]
static ISSUE_SECTOR: u32 = 0;
#[unsafe(no_mangle)]
static COMPLETE_DEV: u32 = 0;
#[unsafe(no_mangle)]
static COMPLETE_SECTOR: u32 = 0;
#[unsafe(no_mangle)]
static COMPLETE_RWBS: u32 = 0;

#[raw_tracepoint]
fn raw_issue(ctx: RawTracePointContext) -> i32 {
    issued(if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) });
    0
}

#[raw_tracepoint]
fn raw_complete(ctx: RawTracePointContext) -> i32 {
    let request: u64 = ctx.arg(0);
    if let Some(latency) = completed(request)
        && let Some(dev) = disk_of(request)
        && let Some(flags) = read::<u32>(request, constant(&REQUEST_FLAGS))
    {
        tally(dev, operation_of_flags(flags), latency);
    }
    0
}

/// The number of the whole disk, as `disk_devt()` makes it; nothing for a queue without a disk.
#[inline(always)]
fn disk_of(request: u64) -> Option<u32> {
    let mut disk: u64 = read(request, constant(&REQUEST_OWNER))?;
    if constant(&DISK_OF_QUEUE) != 0 {
        disk = read(disk, constant(&QUEUE_DISK))?;
    }
    if disk == 0 {
        return None;
    }
    let [major, minor]: [u32; 2] = read(disk, constant(&DISK_MAJOR))?;
    Some(major << 20 | minor)
}

/// The operation is the low byte, and these four are the same since Linux 4.10: enum req_op of
/// include/linux/blk_types.h.
#[inline(always)]
fn operation_of_flags(flags: u32) -> Operation {
    match flags & 0xff {
        0 => Operation::Read,
        1 => Operation::Write,
        2 => Operation::Flush,
        3 => Operation::Discard,
        _ => Operation::Other,
    }
}

#[tracepoint]
fn tp_issue(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(dev) = read(record, constant(&ISSUE_DEV))
        && let Some(sector) = read(record, constant(&ISSUE_SECTOR))
    {
        issued(key_of(dev, sector));
    }
    0
}

#[tracepoint]
fn tp_complete(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(dev) = read(record, constant(&COMPLETE_DEV))
        && let Some(sector) = read(record, constant(&COMPLETE_SECTOR))
        && let Some(latency) = completed(key_of(dev, sector))
        && let Some(rwbs) = read(record, constant(&COMPLETE_RWBS))
    {
        tally(dev, operation_of_rwbs(rwbs), latency);
    }
    0
}

/// Odd, so never 0; sectors have far fewer than 64 bits.
#[inline(always)]
fn key_of(dev: u32, sector: u64) -> u64 {
    (u64::from(dev) << 44 ^ sector << 1) | 1
}

/// A leading F says that the cache is flushed first, or that nothing else is done: blk_fill_rwbs() in
/// kernel/trace/blktrace.c.
#[inline(always)]
fn operation_of_rwbs(rwbs: [u8; 2]) -> Operation {
    let flush_first = rwbs[0] == b'F';
    match if flush_first { rwbs[1] } else { rwbs[0] } {
        b'R' => Operation::Read,
        b'W' => Operation::Write,
        b'D' => Operation::Discard,
        _ if flush_first => Operation::Flush,
        _ => Operation::Other,
    }
}

#[inline(always)]
fn issued(key: u64) {
    if let Some(slot) = in_flight(key) {
        // SAFETY: `slot` came from a look-up; elements live as long as the map. Key before start: see `completed`.
        unsafe {
            ptr::write_volatile(&raw mut (*slot).key, key);
            ptr::write_volatile(&raw mut (*slot).start, now());
        }
    }
}

/// How long the request took, if the slot is still its own.
#[inline(always)]
fn completed(key: u64) -> Option<u64> {
    let slot = in_flight(key)?;
    // SAFETY: as in `issued`. Another request may take the slot over between the reads: its start is not ours, and its
    // key, written before, gives it away.
    let start = unsafe {
        if ptr::read_volatile(&raw const (*slot).key) != key {
            return None;
        }
        let start = ptr::read_volatile(&raw const (*slot).start);
        if ptr::read_volatile(&raw const (*slot).key) != key {
            return None;
        }
        ptr::write_volatile(&raw mut (*slot).key, 0);
        start
    };
    let now = now();
    // Clocks of two cores may differ by a little.
    Some(if now > start { now - start } else { 0 })
}

#[inline(always)]
fn in_flight(key: u64) -> Option<*mut InFlight> {
    let slot = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - IN_FLIGHT_BITS);
    IN_FLIGHT.get_ptr_mut(slot as u32)
}

/// Counts for a device that the daemon knows; shows it one that it doesn't.
#[inline(always)]
fn tally(dev: u32, operation: Operation, latency: u64) {
    for slot in device_slots(dev) {
        if let Some(group) = DEVICES.get(slot).and_then(|entry| device_group(*entry, dev)) {
            let histogram = group * Operation::ALL.len() as u32 + operation as u32;
            count(&LATENCY, histogram * constant(&CPUS) + cpu(), latency);
            return;
        }
    }
    if let Some(stranger) = STRANGER.get_ptr_mut(0) {
        // SAFETY: `stranger` came from a look-up. Of several writers any may win.
        unsafe { ptr::write_volatile(stranger, u64::from(dev)) }
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
