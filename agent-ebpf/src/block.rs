//! What block devices do: how long requests wait to be issued and how long the device takes for them, by device and
//! operation; their sizes; errors and requeues; how many are in flight; and the slowest request as an example.
//!
//! block_rq_issue notes the start, block_rq_complete counts, block_rq_requeue is rare:
//! <https://github.com/torvalds/linux/blob/v6.18/block/blk-mq.c>. A request that is issued again (requeued) starts anew;
//! one that is completed in parts ends with the first. Needs Linux 5.8 by tracepoints, 5.12 else (atomic compare and
//! exchange in programs).
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "map elements are reached by pointer; the verifier checks each access")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_MMAPABLE,
    helpers,
    macros::{btf_tracepoint, map, raw_tracepoint, tracepoint},
    maps::Array,
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use ssts_agent_ebpf::{
    kernel::{
        add, constant, count, count_in, cpu, current, exchange, if_own_name, if_own_tgid, member, name, now,
        own_name, put_down, read, watched_cgroup,
    },
    shared::{
        Counts, DEVICE_SLOTS, DiskCounts, IN_FLIGHT_SETS, IN_FLIGHT_WAYS, InFlight, Issuer, MOST_WATCHED,
        Operation, REQUEST_HEAD, Watched, device_group, device_slots, group_of_key, identity_of_address,
        identity_of_sector, in_flight_key, in_flight_set, is_key_of, own, watched_of,
    },
};

/// A slot.
#[derive(Clone, Copy)]
struct Place {
    key: *mut u64,
    request: *mut InFlight,
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

/// What [`raw_own`] found.
#[map]
static OWN: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The keys of the slots: 0 in those that were never taken.
#[map]
static KEYS: Array<[u64; IN_FLIGHT_WAYS]> = Array::with_max_entries(IN_FLIGHT_SETS, BPF_F_MMAPABLE);

/// What is known of the requests in them. None that is in flight is overwritten; one for which there is no room is counted in
/// [`LOST`].
#[map]
static IN_FLIGHT: Array<[InFlight; IN_FLIGHT_WAYS]> = Array::with_max_entries(IN_FLIGHT_SETS, BPF_F_MMAPABLE);

/// By CPU: requests that were issued, and for which there was no room.
#[map]
static LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The whole disks to count for: the daemon sets a [`device_entry`](ssts_agent_ebpf::shared::device_entry) for each in one of its [`device_slots`].
#[map]
static DEVICES: Array<u64> = Array::with_max_entries(DEVICE_SLOTS, BPF_F_MMAPABLE);

/// By group: the queue whose requests were last found to be for its disk, so that those of the next ones that come again need
/// no look at the disk. The daemon takes it out with the disk.
#[map]
static OWNERS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The last device that was not in [`DEVICES`], for the daemon to look at.
#[map]
static STRANGER: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One for each group, operation and CPU, the CPU varying fastest.
#[map]
static DISKS: Array<DiskCounts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Cgroups whose tasks' requests are counted apart too.
#[map]
static WATCHED: Array<Watched> = Array::with_max_entries(MOST_WATCHED, BPF_F_MMAPABLE);

/// [`MOST_WATCHED`] histograms a CPU; one element where none is watched.
#[map]
static WATCHED_REQUESTS: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How many cgroups are watched.
#[unsafe(no_mangle)]
static WATCHED_COUNT: u32 = 0;
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
/// `task_struct.tgid`.
#[unsafe(no_mangle)]
static TASK_TGID: u32 = 0;
/// `task_struct.comm`.
#[unsafe(no_mangle)]
static TASK_COMM: u32 = 0;
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
static REQUEUE_SECTOR: u32 = 0;
#[unsafe(no_mangle)]
static REQUEUE_RWBS: u32 = 0;

/// Typed pointers: a member is a load.
mod typed {
    use super::*;

    #[btf_tracepoint]
    fn btf_issue(ctx: BtfTracePointContext) -> i32 {
        let request = if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) };
        let (identity, owner) = (identity_of(request), member(request, constant(&REQUEST_OWNER)));
        if let Some(place) = claim(identity, Some(number(owner)), || group_of(dev_of(owner)), exchange) {
            place.note(identity, issuer());
        }
        0
    }

    #[btf_tracepoint]
    fn btf_complete(ctx: BtfTracePointContext) -> i32 {
        let request: u64 = ctx.arg(0);
        if let Some(found) = find(identity_of(request)) {
            let asked = Asked {
                operation: operation_of_flags(member(request, constant(&REQUEST_FLAGS))),
                made: member(request, constant(&REQUEST_MADE)),
                sector: member(request, constant(&REQUEST_SECTOR)),
                bytes: member::<u32>(request, constant(&REQUEST_BYTES)).into(),
                // A blk_status_t of one byte, or an errno.
                error: ctx.arg::<u64>(1) as u8 != 0,
            };
            completed(found, &asked);
        }
        0
    }

    #[btf_tracepoint]
    fn btf_requeue(ctx: BtfTracePointContext) -> i32 {
        // It lost its queue argument with block_rq_issue.
        let request: u64 = if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) };
        let operation = operation_of_flags(member(request, constant(&REQUEST_FLAGS)));
        let dev = dev_of(member(request, constant(&REQUEST_OWNER)));
        requeued(identity_of(request), dev, operation);
        0
    }

    #[inline(always)]
    fn identity_of(request: u64) -> u64 {
        identity_of_address(number(request))
    }

    /// The verifier lets a typed pointer be used as a number only where it is less another pointer: the difference to one
    /// that never changes is as good. Never 0.
    #[inline(always)]
    fn number(pointer: u64) -> u64 {
        pointer.wrapping_sub(&raw const CPUS as u64)
    }

    /// The number of the whole disk, as `disk_devt()` makes it; 0 for a queue without a disk. `disk`: the disk, or its queue.
    #[inline(always)]
    fn dev_of(mut disk: u64) -> u32 {
        if constant(&DISK_OF_QUEUE) != 0 {
            disk = member(disk, constant(&QUEUE_DISK));
        }
        // Members one by one: the verifier wants each load to be of one.
        let major: u32 = member(disk, constant(&DISK_MAJOR));
        major << 20 | member::<u32>(disk, constant(&DISK_MAJOR) + 4)
    }

    #[inline(always)]
    fn issuer() -> Issuer {
        // SAFETY: the helper has no preconditions.
        let task = unsafe { helpers::bpf_get_current_task_btf() } as u64;
        let pid = member(task, constant(&TASK_TGID));
        Issuer::new(pid, watched(), name(task, constant(&TASK_COMM)))
    }
}

#[raw_tracepoint]
fn raw_issue(ctx: RawTracePointContext) -> i32 {
    let request = if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) };
    if let Some(owner) = owner_of(request) {
        let identity = identity_of_address(request);
        let group = || dev_of(owner).and_then(group_of);
        if let Some(place) = claim(identity, Some(owner), group, exchange) {
            place.note(identity, issuer());
        }
    }
    0
}

#[raw_tracepoint]
fn raw_complete(ctx: RawTracePointContext) -> i32 {
    let request: u64 = ctx.arg(0);
    if let Some(found) = find(identity_of_address(request))
        && let Some(head) = read::<Head>(request, 0)
    {
        let asked = Asked {
            operation: operation_of_flags(head.get(constant(&REQUEST_FLAGS))),
            made: head.get(constant(&REQUEST_MADE)),
            sector: head.get(constant(&REQUEST_SECTOR)),
            bytes: head.get::<u32>(constant(&REQUEST_BYTES)).into(),
            // A blk_status_t of one byte, or an errno.
            error: ctx.arg::<u64>(1) as u8 != 0,
        };
        completed(found, &asked);
    }
    0
}

#[raw_tracepoint]
fn raw_requeue(ctx: RawTracePointContext) -> i32 {
    // It lost its queue argument with block_rq_issue.
    let request = if constant(&ISSUE_REQUEST_ARG) == 0 { ctx.arg(0) } else { ctx.arg(1) };
    if let Some(flags) = read(request, constant(&REQUEST_FLAGS))
        && let Some(dev) = owner_of(request).and_then(dev_of)
    {
        requeued(identity_of_address(request), dev, operation_of_flags(flags));
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

/// The queue of a request, or its disk.
#[inline(always)]
fn owner_of(request: u64) -> Option<u64> {
    read(request, constant(&REQUEST_OWNER)).filter(|owner| *owner != 0)
}

/// The number of the whole disk, as `disk_devt()` makes it; nothing for a queue without a disk. `disk`: the disk, or its queue.
#[inline(always)]
fn dev_of(mut disk: u64) -> Option<u32> {
    if constant(&DISK_OF_QUEUE) != 0 {
        disk = read(disk, constant(&QUEUE_DISK))?;
    }
    if disk == 0 {
        return None;
    }
    let [major, minor]: [u32; 2] = read(disk, constant(&DISK_MAJOR))?;
    Some(major << 20 | minor)
}

/// Looks at the task that runs it as at one that issues a request. Attached nowhere: the daemon has it run on a thread of its
/// own, with masks for its name.
#[raw_tracepoint]
fn raw_own(ctx: RawTracePointContext) -> i32 {
    let found = if_own_tgid(constant(&TASK_TGID), own::TGID)
        | if_own_name(constant(&TASK_COMM), [ctx.arg(0), ctx.arg(1)], own::NAME);
    put_down(&OWN, found);
    0
}

/// The task that runs, by helpers.
#[inline(always)]
fn issuer() -> Issuer {
    Issuer::new(current().tgid, watched(), own_name())
}

/// The watched cgroup of the task that runs. Costs nothing where none is watched: the verifier leaves the look-up out.
#[inline(always)]
fn watched() -> Option<u32> {
    match constant(&WATCHED_COUNT) {
        0 => None,
        count => watched_cgroup(&WATCHED, count),
    }
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
    if let Some(sector) = read(record, constant(&ISSUE_SECTOR))
        && let Some(dev) = read(record, constant(&ISSUE_DEV))
    {
        let identity = identity_of_sector(dev, sector);
        if let Some(place) = claim(identity, None, || group_of(dev), put) {
            place.note(identity, issuer());
        }
    }
    0
}

#[tracepoint]
fn tp_complete(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(dev) = read(record, constant(&COMPLETE_DEV))
        && let Some(sector) = read(record, constant(&COMPLETE_SECTOR))
        && let Some(found) = find(identity_of_sector(dev, sector))
        && let Some(rwbs) = read(record, constant(&COMPLETE_RWBS))
        && let Some(sectors) = read::<u32>(record, constant(&COMPLETE_SECTORS))
        && let Some(error) = read::<u32>(record, constant(&COMPLETE_ERROR))
    {
        let operation = operation_of_rwbs(rwbs);
        let bytes = u64::from(sectors) << 9;
        completed(found, &Asked { operation, made: 0, sector, bytes, error: error != 0 });
    }
    0
}

#[tracepoint]
fn tp_requeue(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr() as u64;
    if let Some(dev) = read(record, constant(&REQUEUE_DEV))
        && let Some(sector) = read(record, constant(&REQUEUE_SECTOR))
        && let Some(rwbs) = read(record, constant(&REQUEUE_RWBS))
    {
        requeued(identity_of_sector(dev, sector), dev, operation_of_rwbs(rwbs));
    }
    0
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

/// The slot of a request that is issued: the one that it had before, else one that is free, else one whose request is over.
/// `owner`: its queue, or its disk, as a number, where that is known; `group` looks for its disk.
#[inline(always)]
fn claim(
    identity: u64,
    owner: Option<u64>,
    group: impl FnOnce() -> Option<u32>,
    take: unsafe fn(*mut u64, u64, u64) -> bool,
) -> Option<Place> {
    let found = find(identity);
    if let Some((place, key)) = found
        && owner.is_some_and(|owner| owns(owner, group_of_key(key)))
    {
        return Some(place);
    }
    let group = group()?;
    if let Some(owner) = owner {
        note_owner(owner, group);
    }
    let new = in_flight_key(identity, group);
    if let Some((place, key)) = found {
        if key != new {
            // The disk is another one than before.
            // SAFETY: as in `find`; the slot is this request's.
            unsafe { ptr::write_volatile(place.key, new) };
        }
        return Some(place);
    }
    let slots = slots_of(in_flight_set(identity))?;
    for was_taken in [false, true] {
        for way in 0..IN_FLIGHT_WAYS {
            // SAFETY: as in `find`.
            unsafe {
                let place = slots.at(way);
                let key = ptr::read_volatile(place.key);
                let is_over = ptr::read_volatile(&raw const (*place.request).since_ns) == 0;
                if is_over && (key != 0) == was_taken && take(place.key, key, new) {
                    return Some(place);
                }
            }
        }
    }
    lose();
    None
}

/// Whether the requests of a queue were found to be for the disk of a group.
#[inline(always)]
fn owns(owner: u64, group: u32) -> bool {
    // SAFETY: the element is there for as long as the map is; the daemon and other CPUs may write it, in one piece.
    OWNERS.get(group).is_some_and(|known| unsafe { ptr::read_volatile(known) } == owner)
}

#[inline(always)]
fn note_owner(owner: u64, group: u32) {
    if let Some(known) = OWNERS.get_ptr_mut(group) {
        // SAFETY: as in `owns`.
        unsafe { ptr::write_volatile(known, owner) }
    }
}

#[inline(always)]
fn lose() {
    if let Some(lost) = LOST.get_ptr_mut(cpu()) {
        // SAFETY: the element is there for as long as the map is, and no other CPU writes it.
        unsafe { add(lost, 1) }
    }
}

/// As [`exchange`], without what Linux has since 5.12 only: of two CPUs that take a slot at the same instant the later one
/// has it.
///
/// # Safety
/// `slot` must point into a map's element.
#[inline(always)]
unsafe fn put(slot: *mut u64, _: u64, new: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { ptr::write_volatile(slot, new) };
    true
}

/// The slot that a request has, in flight or not, and its key.
#[inline(always)]
fn find(identity: u64) -> Option<(Place, u64)> {
    let slots = slots_of(in_flight_set(identity))?;
    for way in 0..IN_FLIGHT_WAYS {
        // SAFETY: the slots came from look-ups, and elements live as long as the map; the way is in bounds. Other CPUs may
        // write the key: in one piece, and not with this request's.
        unsafe {
            let place = slots.at(way);
            let key = ptr::read_volatile(place.key);
            if is_key_of(key, identity) {
                return Some((place, key));
            }
        }
    }
    None
}

#[inline(always)]
fn slots_of(set: u32) -> Option<Place> {
    Some(Place { key: KEYS.get_ptr_mut(set)?.cast(), request: IN_FLIGHT.get_ptr_mut(set)?.cast() })
}

impl Place {
    /// Counted from this one, the first of its set.
    ///
    /// # Safety
    /// There must be so many.
    #[inline(always)]
    unsafe fn at(self, way: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { key: self.key.add(way), request: self.request.add(way) } }
    }

    /// Notes that the request is in flight. Should another have taken the slot meanwhile, for it seemed over: it is lost.
    #[inline(always)]
    fn note(self, identity: u64, issuer: Issuer) {
        // SAFETY: as in `find`. Who issued it before the time: a request is in flight once that is there.
        unsafe {
            ptr::write_volatile(&raw mut (*self.request).issuer, issuer);
            ptr::write_volatile(&raw mut (*self.request).since_ns, now());
            if !is_key_of(ptr::read_volatile(self.key), identity) {
                lose();
            }
        }
    }

    /// Notes that the request is over.
    #[inline(always)]
    fn release(self) {
        // SAFETY: as in `find`.
        unsafe { ptr::write_volatile(&raw mut (*self.request).since_ns, 0) }
    }
}

#[inline(always)]
fn completed((place, key): (Place, u64), asked: &Asked) {
    // SAFETY: as in `find`.
    let start = unsafe { ptr::read_volatile(&raw const (*place.request).since_ns) };
    // It was issued before the probe was there, or ended in parts.
    if start == 0 {
        return;
    }
    if let Some(counts) = counts_of(group_of_key(key), asked.operation) {
        tally(counts, place, start, asked);
    }
    place.release();
}

#[inline(always)]
fn tally(counts: *mut DiskCounts, place: Place, start: u64, asked: &Asked) {
    let now = now();
    // Clocks of two cores may differ by a little.
    let service = if now > start { now - start } else { 0 };
    // A disk without statistics leaves it 0; one that is stacked on others may pass theirs on.
    let waited = if asked.made != 0 && asked.made <= start { Some(start - asked.made) } else { None };
    // SAFETY: the element is there for as long as the map is, and no other CPU writes it; of `place` see `find`.
    unsafe {
        count_in(&raw mut (*counts).service, service);
        if let Some(waited) = waited {
            count_in(&raw mut (*counts).queue, waited);
        }
        count_in(&raw mut (*counts).size, asked.bytes);
        if asked.error {
            add(&raw mut (*counts).errors, 1);
        }
        let ns = service + waited.unwrap_or(0);
        if constant(&WATCHED_COUNT) != 0 {
            let process = ptr::read_volatile(&raw const (*place.request).issuer.process);
            if let Some(unit) = watched_of(process).filter(|unit| *unit < MOST_WATCHED) {
                count(&WATCHED_REQUESTS, cpu() * MOST_WATCHED + unit, ns);
            }
        }
        let slowest = &raw mut (*counts).slowest;
        if ns > ptr::read_volatile(&raw const (*slowest).ns) {
            add(&raw mut (*slowest).version, 1);
            ptr::write_volatile(&raw mut (*slowest).ns, ns);
            ptr::write_volatile(&raw mut (*slowest).sector, asked.sector);
            ptr::write_volatile(&raw mut (*slowest).bytes, asked.bytes);
            let issuer = ptr::read_volatile(&raw const (*place.request).issuer);
            ptr::write_volatile(&raw mut (*slowest).issuer, issuer);
            add(&raw mut (*slowest).version, 1);
        }
    }
}

/// Counts a request that the driver gave back: it is in flight no longer.
#[inline(always)]
fn requeued(identity: u64, dev: u32, operation: Operation) {
    if let Some((place, _)) = find(identity) {
        place.release();
    }
    if let Some(counts) = group_of(dev).and_then(|group| counts_of(group, operation)) {
        // SAFETY: as in `tally`.
        unsafe { add(&raw mut (*counts).requeues, 1) }
    }
}

/// What this CPU counts for a group.
#[inline(always)]
fn counts_of(group: u32, operation: Operation) -> Option<*mut DiskCounts> {
    let histogram = group * Operation::ALL.len() as u32 + operation as u32;
    DISKS.get_ptr_mut(histogram * constant(&CPUS) + cpu())
}

/// The group of a device that the daemon knows; shows it one that it doesn't.
#[inline(always)]
fn group_of(dev: u32) -> Option<u32> {
    for slot in device_slots(dev) {
        if let Some(group) = DEVICES.get(slot).and_then(|entry| device_group(*entry, dev)) {
            return Some(group);
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
