//! What a probe writes and its reader reads.

use crate::histogram::Layout;

/// How the probes' histograms divide latencies in ns: within 6.25 %, up to 68 s.
pub const LATENCY: Layout = Layout::new(4, 36);

/// A task's name as the kernel has it, padded with zeros: its 16 bytes as two words.
pub type Name = [u64; 2];

/// One histogram of one CPU, written by that CPU alone and read by the daemon without a system call.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Counts {
    /// How many values were counted, after they were: when it stands still, so do the buckets.
    pub total: u64,
    /// How often each bucket of [`LATENCY`] was hit. They wrap; a reader takes differences.
    pub buckets: [u32; LATENCY.buckets()],
}

// A cache line belongs to one CPU, and the kernel lays array elements out by their size rounded up to 8.
const _: () = assert!(size_of::<Counts>() == 2176 && size_of::<Counts>().is_multiple_of(64));

/// What one CPU did, written by that CPU alone. A reader takes it for whole when it finds in `began` afterwards what it
/// found in `switches` before.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Core {
    /// Not idle, up to the latest switch.
    pub busy_ns: u64,
    /// When that was, CLOCK_MONOTONIC; 0 before the first one.
    pub since_ns: u64,
    /// The task that runs since: its thread group, where that is known, above its own number. 0 for the idle task.
    pub running: u64,
    /// Of `busy_ns`, that of burners.
    pub burner_ns: u64,
    /// Switches whose account was begun.
    pub began: u64,
    /// Switches whose account is done.
    pub switches: u64,
    /// Of them, those of tasks that would have gone on.
    pub preemptions: u64,
    /// One more than the slot in [`Preempters`] of the task that runs since; 0 when it took the core from no burner.
    pub preempter: u64,
}

const _: () = assert!(size_of::<Core>() == 64);

/// A task that took a core from a burner.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Preempter {
    /// 0: the slot is free.
    pub pid: u32,
    /// How often.
    pub count: u32,
    /// How long it then ran, up to its own next switch.
    pub ns: u64,
    /// Its name.
    pub name: Name,
}

/// A power of two.
pub const PREEMPTER_SLOTS: u32 = 32;

/// How many neighbouring slots a task may stand in, from the one that its number falls on.
pub const PREEMPTER_PROBES: u32 = 4;

/// Those of one CPU, written by that CPU; the daemon frees slots.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Preempters {
    /// Goes up with each change.
    pub changes: u64,
    /// Preemptions for which there was no slot.
    pub lost: u64,
    /// By task.
    pub slots: [Preempter; PREEMPTER_SLOTS as usize],
}

const _: () = assert!(size_of::<Preempters>() == 1_088);

/// A cgroup of version 2 whose tasks' waits are counted apart, set by the daemon.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Watched {
    /// The kernel's number of it; 0 for none.
    pub id: u64,
    /// How far below the root it is.
    pub level: u64,
}

/// How many can be watched.
pub const MOST_WATCHED: u32 = 8;

/// The histograms of one CPU: waits for it of tasks that are no burner's, then those of burners.
pub const WAIT_KINDS: u32 = 2;

/// How long the task that runs on one CPU had waited for it, written by that CPU.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Waited {
    /// One more than the time; 0 when that is not known, or was counted.
    pub ns: u64,
}

const _: () = assert!(size_of::<Waited>() == 64);

/// Thread groups of burners have a bit each: 2^22 of them, as Linux caps pids (PID_MAX_LIMIT in include/linux/threads.h).
pub const BURNER_WORDS: u32 = 1 << 16;

/// The word and the bit in it that belong to a thread group.
#[inline(always)]
pub const fn burner_bit(tgid: u32) -> (u32, u64) {
    (tgid >> 6, 1 << (tgid & 63))
}

/// What handlers of one device's interrupt did on one CPU, written by that CPU.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct HardInterrupts {
    /// How long they ran.
    pub ns: u64,
    /// How often, counted after the time.
    pub count: u64,
}

/// Vectors of soft interrupts: NR_SOFTIRQS of include/linux/interrupt.h, the same since Linux 4.2.
pub const SOFT_VECTORS: u32 = 10;

/// What one vector's soft interrupts did on one CPU, written by that CPU.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct SoftInterrupts {
    /// From being raised to running.
    pub wait: Counts,
    /// How long each ran, interrupts of devices left out.
    pub duration: Counts,
    /// All of that.
    pub ns: u64,
}

const _: () = assert!(size_of::<SoftInterrupts>() == 2 * 2_176 + 64);

/// Page faults that one CPU met in user space, written by that CPU.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Faults {
    /// Of burners.
    pub burners: u64,
    /// Of all else.
    pub others: u64,
}

/// For what a task had to wait when it asked for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stall {
    /// It had to free pages itself.
    Reclaim,
    /// It had to move pages together itself.
    Compaction,
    /// Nobody waited: a thread of the kernel moved pages together.
    BackgroundCompaction,
}

impl Stall {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 3] = [Self::Reclaim, Self::Compaction, Self::BackgroundCompaction];

    /// As the label `stall` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reclaim => "reclaim",
            Self::Compaction => "compaction",
            Self::BackgroundCompaction => "background_compaction",
        }
    }
}

/// What a probe's program finds where the daemon said it is, when it looks at the task that runs it: a bit for each.
pub mod own {
    /// The task's own number.
    pub const PID: u32 = 1;
    /// That of its process.
    pub const TGID: u32 = 2;
    /// Its name.
    pub const NAME: u32 = 4;
    /// How many pages its process has mapped.
    pub const PAGES: u32 = 8;
}

/// A process that the OOM killer chose.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct OomKill {
    /// The victim.
    pub pid: u32,
    /// The process that asked for memory when there was none.
    pub asker_pid: u32,
    /// The victim's name; empty where the kernel doesn't pass it.
    pub name: Name,
    /// The name of the thread that asked.
    pub asker_name: Name,
    /// Pages that the victim had mapped; 0 where the kernel doesn't pass it.
    pub pages: u64,
}

/// What hardware reported wrong. A machine check is told by a worker, on whatever core that runs: not by the core it was on.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct HardwareErrors {
    /// Machine checks, by [`MACHINE_CHECK_SEVERITIES`].
    pub machine_checks: [u64; MACHINE_CHECK_SEVERITIES.len()],
    /// Errors of memory, by [`MEMORY_SEVERITIES`].
    pub memory: [u64; MEMORY_SEVERITIES.len()],
    /// Errors of PCIe devices, by [`PCIE_SEVERITIES`].
    pub pcie: [u64; PCIE_SEVERITIES.len()],
}

/// By whether the processor says that it could not correct it: bit UC of MCi_STATUS.
pub const MACHINE_CHECK_SEVERITIES: [&str; 2] = ["corrected", "uncorrected"];
/// enum hw_event_mc_err_type of include/linux/edac.h.
pub const MEMORY_SEVERITIES: [&str; 5] = ["corrected", "uncorrected", "deferred", "fatal", "info"];
/// AER_NONFATAL and others of include/linux/aer.h, by the names that sysfs has for them.
pub const PCIE_SEVERITIES: [&str; 3] = ["nonfatal", "fatal", "correctable"];

const _: () = assert!(size_of::<HardwareErrors>() == 128);

/// The clock of one core, as cpufreq last set it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct CoreClock {
    /// How often it was set to another frequency.
    pub changes: u64,
    /// The latest one; 0 before the first.
    pub khz: u64,
}

/// The latest reading of a thermal zone that the kernel took for itself.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ZoneReading {
    /// How many there were.
    pub readings: u64,
    /// Thousandths of a degree Celsius, of 32 bits with a sign.
    pub millidegrees: u64,
}

/// Thermal zones that are kept apart: those whose numbers are below.
pub const MOST_ZONES: u32 = 128;

/// All that is counted of one disk's requests of one operation, by the CPU that completed them.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct DiskCounts {
    /// From issue to completion.
    pub service: Counts,
    /// From the request's making to its issue.
    pub queue: Counts,
    /// Bytes.
    pub size: Counts,
    /// Completions with an error.
    pub errors: u64,
    /// Requests that the driver gave back, to be issued again.
    pub requeues: u64,
    /// The slowest one since the daemon last looked.
    pub slowest: SlowRequest,
}

const _: () = assert!(size_of::<DiskCounts>() == 3 * 2_176 + 128);

/// How much of a `struct request` is read at once where its members can't be reached: all that are needed are at its
/// beginning.
pub const REQUEST_HEAD: u32 = 128;

/// One request, as an example.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct SlowRequest {
    /// From its making, where that is known, else from its issue, to its completion. 0: there is none.
    pub ns: u64,
    /// Its first sector, of 512 bytes.
    pub sector: u64,
    /// Its size.
    pub bytes: u64,
    /// Who issued it.
    pub issuer: Issuer,
    /// Goes up before and after a change: odd while there is one.
    pub version: u64,
}

/// What one CPU counts of TCP for one kind of sockets: those that burners connected, or all others.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct TcpCounts {
    /// From the call to connect to the established connection, in ns.
    pub connect: Counts,
    /// Smoothed round trips in ns: when a connection ended, and when it sent something again.
    pub rtt_at_end: Counts,
    /// The latter.
    pub rtt_at_retransmit: Counts,
    /// Segments.
    pub retransmits: u64,
    /// Connects that came to no connection.
    pub failed_connects: u64,
    /// Connections that came in.
    pub accepted: u64,
}

const _: () = assert!(size_of::<TcpCounts>() == 3 * 2_176 + 64);

/// Where a packet was dropped: the number of an interface, 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub u32);

impl Place {
    /// The packet belonged to no interface yet.
    pub const NOWHERE: Self = Self(0);
    /// An interface of another network namespace than the daemon's. Linux numbers interfaces with an `int`.
    pub const ELSEWHERE: Self = Self(u32::MAX);
    /// The program can't tell.
    pub const UNKNOWN: Self = Self(u32::MAX - 1);
}

/// What packets are looked at for while the daemon tests where their members stand.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct DropTest {
    /// The interface that they are dropped at; 0: no test goes on.
    pub interface: u64,
    /// How many had it for a device, in the daemon's own network namespace.
    pub by_device: u64,
    /// How many came in there.
    pub by_arrival: u64,
    /// How many were for a socket in the daemon's own network namespace.
    pub by_socket: u64,
}

/// How often packets were dropped in one place for one reason.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Dropped {
    /// See [`drop_key`]. 0: the slot is free.
    pub key: u64,
    /// It begins at 1.
    pub count: u64,
}

/// The number of slots as a power of two.
pub const DROP_SLOTS_BITS: u32 = 7;

/// Slots of one CPU.
pub const DROP_SLOTS: u32 = 1 << DROP_SLOTS_BITS;

/// How many neighbouring slots a place and reason may stand in.
pub const DROP_PROBES: u32 = 8;

/// Those of one CPU, written by that CPU; the daemon frees slots.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Drops {
    /// Goes up with each drop that has a slot.
    pub changes: u64,
    /// Drops for which there was no slot.
    pub lost: u64,
    /// By place and reason.
    pub slots: [Dropped; DROP_SLOTS as usize],
}

const _: () = assert!(size_of::<Drops>() == 2_112);

/// A place and the kernel's number of a reason, which is never 0.
#[inline(always)]
pub const fn drop_key(place: Place, reason: u32) -> u64 {
    (place.0 as u64) << 32 | reason as u64
}

/// Requests in flight stand in a table of so many sets, of [`IN_FLIGHT_WAYS`] slots each: 16,384 together.
pub const IN_FLIGHT_SETS: u32 = 1 << IN_FLIGHT_SET_BITS;

const IN_FLIGHT_SET_BITS: u32 = 11;

/// The slots that a request may stand in: their keys fill one cache line.
pub const IN_FLIGHT_WAYS: usize = 8;

/// Bits of a key in flight that tell the disk; those above tell the request.
const GROUP_BITS: u32 = 10;

/// Identifies a request in flight, with its disk's group of histograms. Never 0. Of `identity`, the low 54 bits count.
#[inline(always)]
pub const fn in_flight_key(identity: u64, group: u32) -> u64 {
    identity << GROUP_BITS | (group as u64 + 1)
}

/// The identity of a request by its address: what all addresses have in common is left out. The upper 7 bits of the
/// kernel's are alike on every architecture that we build for, and requests are aligned to 8 bytes.
#[inline(always)]
pub const fn identity_of_address(request: u64) -> u64 {
    request >> 3
}

/// The identity of a request by its disk and place, where no address is known. Sectors have fewer than 40 bits on all but the
/// largest disks; of the device, 13 bits of a hash. Never 0.
#[inline(always)]
pub const fn identity_of_sector(dev: u32, sector: u64) -> u64 {
    (((dev.wrapping_mul(0x9E37_79B1) >> 19) as u64) << 40 ^ sector) | 1 << 53
}

/// Whether a key is that of a request, whatever its disk. No `identity` is 0 in its low 54 bits.
#[inline(always)]
pub const fn is_key_of(key: u64, identity: u64) -> bool {
    (key ^ identity << GROUP_BITS) >> GROUP_BITS == 0
}

/// The group that a key tells; of an empty slot, none that there is.
#[inline(always)]
pub const fn group_of_key(key: u64) -> u32 {
    (key as u32 & ((1 << GROUP_BITS) - 1)).wrapping_sub(1)
}

/// The set that a request stands in.
#[inline(always)]
pub const fn in_flight_set(identity: u64) -> u32 {
    ((identity << GROUP_BITS).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - IN_FLIGHT_SET_BITS)) as u32
}

/// A request that stands in a slot. Its key stands apart: that stays when the request is over, for the same request comes
/// again, so that the line of keys is written seldom and every CPU keeps it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct InFlight {
    /// When it was issued, CLOCK_MONOTONIC in ns; 0 while it is not in flight.
    pub since_ns: u64,
    /// Who issued it.
    pub issuer: Issuer,
}

/// Who issued a request.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Issuer {
    /// The process, and above its 32 bits one more than the number of the [`Watched`] cgroup that it belongs to; 0 for none.
    pub process: u64,
    /// The thread's name.
    pub name: Name,
}

/// What a request to a block device asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Operation {
    /// Data from the device.
    Read,
    /// Data to the device.
    Write,
    /// Blocks that are no longer needed.
    Discard,
    /// The device's cache to stable storage.
    Flush,
    /// All else, such as a command passed through or zeroes to be written.
    Other,
}

impl Operation {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Discard, Self::Flush, Self::Other];

    /// As the label `operation` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Discard => "discard",
            Self::Flush => "flush",
            Self::Other => "other",
        }
    }
}

/// The table of known devices: a few times larger than what it has to hold, so that a search ends at once.
pub const DEVICE_SLOTS: u32 = 256;

/// How many neighbouring slots a device may stand in, from the one that its number hashes to.
pub const DEVICE_PROBES: u32 = 4;

/// The slots that device `dev` may stand in.
#[inline(always)]
pub fn device_slots(dev: u32) -> impl Iterator<Item = u32> {
    // Minor numbers of disks often step by 16: the multiplication spreads them.
    let first = dev.wrapping_mul(0x9E37_79B1) >> 16;
    (0..DEVICE_PROBES).map(move |probe| (first + probe) % DEVICE_SLOTS)
}

/// What stands in a device's slot: its number, and which group of histograms is its own. Never 0.
#[inline(always)]
pub const fn device_entry(dev: u32, group: u32) -> u64 {
    ((group as u64 + 1) << 32) | dev as u64
}

/// The group of histograms that `entry` gives to device `dev`, if it is that device's entry.
#[inline(always)]
pub const fn device_group(entry: u64, dev: u32) -> Option<u32> {
    if entry >> 32 != 0 && entry as u32 == dev { Some((entry >> 32) as u32 - 1) } else { None }
}

impl Issuer {
    /// Process `pid` of the cgroup that is watched as number `watched`.
    #[inline(always)]
    pub const fn new(pid: u32, watched: Option<u32>, name: Name) -> Self {
        let watched = match watched {
            Some(watched) => watched + 1,
            None => 0,
        };
        Self { process: (watched as u64) << 32 | pid as u64, name }
    }
}

/// The watched cgroup of an issuer's `process`.
#[inline(always)]
pub const fn watched_of(process: u64) -> Option<u32> {
    ((process >> 32) as u32).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_tells_its_process_and_its_watched_cgroup() {
        for watched in [None, Some(0), Some(MOST_WATCHED - 1)] {
            let issuer = Issuer::new(4_194_303, watched, [0; 2]);
            assert_eq!((watched_of(issuer.process), issuer.process as u32), (watched, 4_194_303));
        }
    }

    #[test]
    fn operations_stand_where_their_values_say() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index, "{}", operation.name());
        }
    }

    #[test]
    fn a_key_tells_a_request_from_its_neighbours_and_its_disk() {
        let [one, next] = [0xffff_8881_0123_4540, 0xffff_8881_0123_4548].map(identity_of_address);
        for group in [0, 63] {
            let key = in_flight_key(one, group);
            assert!(is_key_of(key, one) && !is_key_of(key, next));
            assert_eq!(group_of_key(key), group);
        }
        assert!(!is_key_of(0, one));
        assert_eq!(group_of_key(0), u32::MAX);
        assert!(in_flight_set(one) < IN_FLIGHT_SETS);
    }

    #[test]
    fn a_slot_belongs_to_the_device_that_stands_in_it() {
        assert_eq!(device_group(device_entry(0x0fe0_0000, 7), 0x0fe0_0000), Some(7));
        assert_eq!(device_group(device_entry(0x0fe0_0000, 7), 0x0fe0_0001), None);
        assert_eq!(device_group(0, 0), None);
    }
}
