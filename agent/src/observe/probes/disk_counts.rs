//! What the block probe counts of one operation of one disk, on its way from the kernel's memory into frames.
#![expect(unsafe_code, reason = "says what may stand in a mapping")]

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use ssts_agent_ebpf::shared::{DiskCounts, LATENCY, Name, Operation, SlowRequest};
use ssts_proto::catalogue;

use super::{
    gains::Gains,
    window::{Element, SharedCounts},
};
use crate::observe::{
    frame::{BucketGain, Frame},
    schema::{Column, HistogramColumn, Schema},
};

/// [`DiskCounts`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct SharedDisk {
    pub(super) service: SharedCounts,
    pub(super) queue: SharedCounts,
    pub(super) size: SharedCounts,
    errors: AtomicU64,
    requeues: AtomicU64,
    pub(super) slowest: SharedSlow,
}

/// [`SlowRequest`] that the kernel may write at any moment.
#[derive(Debug)]
#[repr(C)]
pub(super) struct SharedSlow {
    ns: AtomicU64,
    sector: AtomicU64,
    bytes: AtomicU64,
    process: AtomicU64,
    name: [AtomicU64; 2],
    version: AtomicU64,
}

const _: () = assert!(size_of::<SharedSlow>() == size_of::<SlowRequest>());
const _: () = assert!(size_of::<SharedDisk>() == size_of::<DiskCounts>());

// SAFETY: atomics, and the assertions above.
unsafe impl Element for SharedDisk {}

/// A request as an example: [`SlowRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slow {
    pub(super) ns: u64,
    pub(super) sector: u64,
    pub(super) bytes: u64,
    pub(super) pid: u64,
    /// Of the thread that issued it.
    pub(super) name: Name,
}

impl SharedSlow {
    /// Takes the example away, so that the next request is one. One that the kernel changes meanwhile is left for later.
    pub(super) fn take(&self) -> Option<Slow> {
        if self.ns.load(Relaxed) == 0 {
            return None;
        }
        let version = self.version.load(Acquire);
        let slow = Slow {
            ns: self.ns.load(Acquire),
            sector: self.sector.load(Acquire),
            bytes: self.bytes.load(Acquire),
            // The other half tells the cgroup.
            pid: self.process.load(Acquire) & u64::from(u32::MAX),
            name: [self.name[0].load(Acquire), self.name[1].load(Acquire)],
        };
        if version % 2 == 1 || self.version.load(Relaxed) != version {
            return None;
        }
        self.ns.store(0, Relaxed);
        Some(slow)
    }
}

/// What one operation of one disk came to so far.
#[derive(Debug)]
pub(super) struct Tally {
    service: Gains,
    queue: Gains,
    size: Gains,
    errors_before: u64,
    requeues_before: u64,
    columns: Option<Columns>,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    service: HistogramColumn,
    queue: HistogramColumn,
    size: HistogramColumn,
    errors: Column,
    requeues: Column,
}

impl Tally {
    /// Counts from now on. `cpus`: the operation's counts by CPU.
    pub(super) fn since_now(cpus: &[SharedDisk]) -> Self {
        Self {
            service: Gains::since_now(cpus.iter().map(|cpu| &cpu.service)),
            queue: Gains::since_now(cpus.iter().map(|cpu| &cpu.queue)),
            size: Gains::since_now(cpus.iter().map(|cpu| &cpu.size)),
            errors_before: sum(cpus, |cpu| &cpu.errors),
            requeues_before: sum(cpus, |cpu| &cpu.requeues),
            columns: None,
        }
    }

    pub(super) fn describe(&mut self, schema: &mut Schema, disk: &str, operation: Operation) {
        let labels = [disk, operation.name()];
        self.columns = Some(Columns {
            service: schema.histogram(&catalogue::BLOCK_LATENCY, &labels, LATENCY),
            queue: schema.histogram(&catalogue::BLOCK_QUEUE, &labels, LATENCY),
            size: schema.histogram(&catalogue::BLOCK_SIZE, &labels, LATENCY),
            errors: schema.column(&catalogue::BLOCK_ERRORS, &labels),
            requeues: schema.column(&catalogue::BLOCK_REQUEUES, &labels),
        });
    }

    /// Notes what was gained; gives the slowest request since the last look.
    pub(super) fn sample(&mut self, cpus: &[SharedDisk], frame: &mut Frame) -> Option<Slow> {
        let columns = self.columns?;
        frame.set(columns.errors, Ok((sum(cpus, |cpu| &cpu.errors) - self.errors_before) as f64));
        frame.set(columns.requeues, Ok((sum(cpus, |cpu| &cpu.requeues) - self.requeues_before) as f64));
        let services = || cpus.iter().map(|cpu| &cpu.service);
        let idle = self.service.idle(services());
        let gain = |column| move |bucket, count| BucketGain { column, bucket, count };
        let service = gain(columns.service);
        self.service.take(services(), |bucket, count| frame.gain(service(bucket, count)));
        let queue = gain(columns.queue);
        self.queue.take(cpus.iter().map(|cpu| &cpu.queue), |bucket, count| frame.gain(queue(bucket, count)));
        let size = gain(columns.size);
        self.size.take(cpus.iter().map(|cpu| &cpu.size), |bucket, count| frame.gain(size(bucket, count)));
        if idle {
            return None;
        }
        cpus.iter().filter_map(|cpu| cpu.slowest.take()).max_by_key(|slow| slow.ns)
    }
}

fn sum(cpus: &[SharedDisk], counter: fn(&SharedDisk) -> &AtomicU64) -> u64 {
    cpus.iter().map(|cpu| counter(cpu).load(Relaxed)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_taken_once_and_never_half_written() {
        // The second watched cgroup stands above the pid.
        let [ns, sector, bytes, process, version] = [7, 8, 4_096, 2 << 32 | 42, 2].map(AtomicU64::new);
        let name = [1, 2].map(AtomicU64::new);
        let slow = SharedSlow { ns, sector, bytes, process, name, version };
        slow.version.store(3, Relaxed);
        assert_eq!(slow.take(), None);
        slow.version.store(4, Relaxed);
        assert_eq!(slow.take(), Some(Slow { ns: 7, sector: 8, bytes: 4_096, pid: 42, name: [1, 2] }));
        assert_eq!(slow.take(), None);
    }
}
