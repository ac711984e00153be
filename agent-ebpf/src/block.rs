//! What block devices do: how long requests wait to be issued and how long the device takes for them, by device and
//! operation; their sizes; errors and requeues; and the slowest request as an example.
//!
//! block_rq_issue notes the start, block_rq_complete counts, block_rq_requeue is rare:
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
    kernel::{add, constant, count_in, cpu, current, now, read},
    shared::{DEVICE_SLOTS, DiskCounts, Operation, REQUEST_HEAD, device_group, device_slots},
};

/// A request in flight.
#[repr(C)]
struct InFlight {
    /// What identifies it: its address, or a hash of device and sector. 0: none.
    key: u64,
    start: u64,
    /// Of the process that issued it.
    pid: u64,
}

/// A request that was completed.
struct Done {
    start: u64,
    end: u64,
    pid: u64,
}

/// What a request was for.
struct Asked {
    operation: Operation,
    /// When it was made; 0 where that is not known.
    made: u64,
    sector: u64,
    bytes: u64,
    error: bool,
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

/// One for each group, operation and CPU, the CPU varying fastest.
#[map]
static DISKS: Array<DiskCounts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Possible CPUs.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;
/// Which argument of the raw block_rq_issue is the request: the second before Linux 5.11, the first since.
#[unsafe(no_mangle)]
static ISSUE_REQUEST_ARG: u32 = 0;
/// `request.cmd_flags`.
#[unsafe(no_mangle)]
static REQUEST_FLAGS: u32 = 0;
/// `request.__data_len`.
#[unsafe(no_mangle)]
static REQUEST_BYTES: u32 = 0;
/// `request.__sector`.
#[unsafe(no_mangle)]
static REQUEST_SECTOR: u32 = 0;
/// `request.start_time_ns`: set where the disk keeps statistics.
#[unsafe(no_mangle)]
static REQUEST_MADE: u32 = 0;
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
static COMPLETE_SECTORS: u32 = 0;
#[unsafe(no_mangle)]
static COMPLETE_ERROR: u32 = 0;
#[unsafe(no_mangle)]
static COMPLETE_RWBS: u32 = 0;
#[unsafe(no_mangle)]
static REQUEUE_DEV: u32 = 0;
#[unsafe(no_mangle)]
static REQUEUE_RWBS: u32 = 0;

#[raw_tracepoint]
fn raw_issue(ctx: RawTracePointContext) -> i32 {
    issued(if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) });
    0
}

#[raw_tracepoint]
fn raw_complete(ctx: RawTracePointContext) -> i32 {
    let request: u64 = ctx.arg(0);
    if let Some(done) = completed(request)
        && let Some(head) = read::<Head>(request, 0)
        && let Some(dev) = disk_of(&head)
    {
        let asked = Asked {
            operation: operation_of_flags(head.get(constant(&REQUEST_FLAGS))),
            made: head.get(constant(&REQUEST_MADE)),
            sector: head.get(constant(&REQUEST_SECTOR)),
            bytes: head.get::<u32>(constant(&REQUEST_BYTES)).into(),
            // A blk_status_t of one byte, or an errno.
            error: ctx.arg::<u64>(1) as u8 != 0,
        };
        tally(dev, &done, &asked);
    }
    0
}

#[raw_tracepoint]
fn raw_requeue(ctx: RawTracePointContext) -> i32 {
    // It lost its queue argument with block_rq_issue.
    let request = if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) };
    if let Some(head) = read::<Head>(request, 0)
        && let Some(dev) = disk_of(&head)
    {
        requeued(dev, operation_of_flags(head.get(constant(&REQUEST_FLAGS))));
    }
    0
}

/// The beginning of a request, read at once: each read costs a call.
#[repr(C, align(8))]
struct Head([u8; REQUEST_HEAD as usize]);

impl Head {
    /// The member at an offset that the daemon has found to be in bounds.
    #[inline(always)]
    fn get<T>(&self, offset: u32) -> T {
        // SAFETY: the verifier refuses what is out of bounds.
        unsafe { ptr::read_volatile((&raw const self.0).byte_add(offset as usize).cast()) }
    }
}

/// The number of the whole disk, as `disk_devt()` makes it; nothing for a queue without a disk.
#[inline(always)]
fn disk_of(head: &Head) -> Option<u32> {
    let mut disk: u64 = head.get(constant(&REQUEST_OWNER));
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
        && let Some(done) = completed(key_of(dev, sector))
        && let Some(rwbs) = read(record, constant(&COMPLETE_RWBS))
        && let Some(sectors) = read::<u32>(record, constant(&COMPLETE_SECTORS))
        && let Some(error) = read::<u32>(record, constant(&COMPLETE_ERROR))
    {
        let operation = operation_of_rwbs(rwbs);
        let bytes = u64::from(sectors) << 9;
        tally(dev, &done, &Asked { operation, made: 0, sector, bytes, error: error != 0 });
    }
    0
}

#[tracepoint]
fn tp_requeue(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(dev) = read(record, constant(&REQUEUE_DEV))
        && let Some(rwbs) = read(record, constant(&REQUEUE_RWBS))
    {
        requeued(dev, operation_of_rwbs(rwbs));
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
            ptr::write_volatile(&raw mut (*slot).pid, u64::from(current().tgid));
            ptr::write_volatile(&raw mut (*slot).start, now());
        }
    }
}

/// When the request was issued, if the slot is still its own.
#[inline(always)]
fn completed(key: u64) -> Option<Done> {
    let slot = in_flight(key)?;
    // SAFETY: as in `issued`. Another request may take the slot over between the reads: its start is not ours, and its
    // key, written before, gives it away.
    let (start, pid) = unsafe {
        if ptr::read_volatile(&raw const (*slot).key) != key {
            return None;
        }
        let pid = ptr::read_volatile(&raw const (*slot).pid);
        let start = ptr::read_volatile(&raw const (*slot).start);
        if ptr::read_volatile(&raw const (*slot).key) != key {
            return None;
        }
        ptr::write_volatile(&raw mut (*slot).key, 0);
        (start, pid)
    };
    let now = now();
    // Clocks of two cores may differ by a little.
    Some(Done { start, end: if now > start { now } else { start }, pid })
}

#[inline(always)]
fn in_flight(key: u64) -> Option<*mut InFlight> {
    let slot = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - IN_FLIGHT_BITS);
    IN_FLIGHT.get_ptr_mut(slot as u32)
}

/// Counts for a device that the daemon knows.
#[inline(always)]
fn tally(dev: u32, done: &Done, asked: &Asked) {
    let Some(counts) = counts_of(dev, asked.operation) else { return };
    let service = done.end - done.start;
    // A disk without statistics leaves it 0; one that is stacked on others may pass theirs on.
    let waited =
        if asked.made != 0 && asked.made <= done.start { Some(done.start - asked.made) } else { None };
    // SAFETY: the element is there for as long as the map is, and no other CPU writes it.
    unsafe {
        count_in(&raw mut (*counts).service, service);
        if let Some(waited) = waited {
            count_in(&raw mut (*counts).queue, waited);
        }
        count_in(&raw mut (*counts).size, asked.bytes);
        if asked.error {
            add(&raw mut (*counts).errors, 1);
        }
        let slowest = &raw mut (*counts).slowest;
        let ns = service + waited.unwrap_or(0);
        if ns > ptr::read_volatile(&raw const (*slowest).ns) {
            add(&raw mut (*slowest).version, 1);
            ptr::write_volatile(&raw mut (*slowest).ns, ns);
            ptr::write_volatile(&raw mut (*slowest).sector, asked.sector);
            ptr::write_volatile(&raw mut (*slowest).bytes, asked.bytes);
            ptr::write_volatile(&raw mut (*slowest).pid, done.pid);
            add(&raw mut (*slowest).version, 1);
        }
    }
}

#[inline(always)]
fn requeued(dev: u32, operation: Operation) {
    if let Some(counts) = counts_of(dev, operation) {
        // SAFETY: as in `tally`.
        unsafe { add(&raw mut (*counts).requeues, 1) }
    }
}

/// What this CPU counts for a device that the daemon knows; shows it one that it doesn't.
#[inline(always)]
fn counts_of(dev: u32, operation: Operation) -> Option<*mut DiskCounts> {
    for slot in device_slots(dev) {
        if let Some(group) = DEVICES.get(slot).and_then(|entry| device_group(*entry, dev)) {
            let histogram = group * Operation::ALL.len() as u32 + operation as u32;
            return DISKS.get_ptr_mut(histogram * constant(&CPUS) + cpu());
        }
    }
    if let Some(stranger) = STRANGER.get_ptr_mut(0) {
        // SAFETY: `stranger` came from a look-up. Of several writers any may win.
        unsafe { ptr::write_volatile(stranger, u64::from(dev)) }
    }
    None
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
