//! What a probe writes and its reader reads.

use crate::histogram::Layout;

/// How the probes' histograms divide latencies in ns: within 6.25 %, up to 68 s.
pub const LATENCY: Layout = Layout::new(4, 36);

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

/// How long one CPU was not idle, written by that CPU alone. A reader takes it for whole when `since_ns` did not change
/// while it read.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Busy {
    /// Up to the latest switch.
    pub busy_ns: u64,
    /// When that was, CLOCK_MONOTONIC; 0 before the first one.
    pub since_ns: u64,
    /// The task that runs since; 0 for the idle task.
    pub pid: u64,
}

const _: () = assert!(size_of::<Busy>() == 64);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stand_where_their_values_say() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index, "{}", operation.name());
        }
    }

    #[test]
    fn a_slot_belongs_to_the_device_that_stands_in_it() {
        assert_eq!(device_group(device_entry(0x0fe0_0000, 7), 0x0fe0_0000), Some(7));
        assert_eq!(device_group(device_entry(0x0fe0_0000, 7), 0x0fe0_0001), None);
        assert_eq!(device_group(0, 0), None);
    }
}
